"""The generator: draw every random decision of a sample, then render it.

Sample ``i`` is a function of (configuration, label bank, seed, ``i``) alone: the same picture alone or
inside any batch, on any worker or rank.
"""

from functools import lru_cache

import torch
from torch import Tensor

from synthspine.gen.config import GeneratorConfig
from synthspine.gen.core.anatomy import BACKGROUND
from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.core.device import in_float32
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.core.feature import whole_number
from synthspine.gen.core.masks import has_code, overpaint
from synthspine.gen.core.memory import use_freed_memory
from synthspine.gen.core.touched import Steps
from synthspine.gen.geometry.affine import AffineConfig
from synthspine.gen.geometry.deformation import DeformationConfig
from synthspine.gen.geometry.field_of_view import FieldOfViewConfig, limit_view
from synthspine.gen.geometry.flip import FlipConfig
from synthspine.gen.geometry.pathology import PathologyConfig, open_canal
from synthspine.gen.geometry.refine import refine
from synthspine.gen.geometry.spine_frame import find_spine, nowhere
from synthspine.gen.geometry.warp import deform, draw_map
from synthspine.gen.intensity.contrast import ContrastConfig, colour
from synthspine.gen.intensity.cortex import CortexConfig, add_cortex, depths
from synthspine.gen.intensity.flow_void import FlowVoidConfig, add_flow_void
from synthspine.gen.intensity.hidden_labels import HiddenConfig, hide
from synthspine.gen.intensity.partial_volume import PartialVolumeConfig, blur_tissues
from synthspine.gen.intensity.posterior_arch import ArchConfig, lose_lines, mix_arches
from synthspine.gen.intensity.texture import TextureConfig, add_texture
from synthspine.gen.params import FEATURES, Params
from synthspine.gen.scanner.acquisition import ResolutionConfig, acquire
from synthspine.gen.scanner.chemical_shift import ChemicalShiftConfig, shift_fat
from synthspine.gen.scanner.display import (
    ClipConfig,
    CurveConfig,
    GammaConfig,
    InversionConfig,
    Tone,
    apply_tone,
    display,
)
from synthspine.gen.scanner.implant import ImplantConfig, add_implant
from synthspine.gen.scanner.kspace import GibbsConfig, SpikeConfig, distort_kspace
from synthspine.gen.scanner.motion import GhostingConfig, KSpaceMotionConfig, MotionBlurConfig
from synthspine.gen.scanner.noise import NoiseConfig, ZipperConfig, add_zipper
from synthspine.gen.scanner.shading import BiasConfig, CoilConfig, add_bias, add_coil
from synthspine.gen.scanner.wrap import WrapConfig, wrap_around
from synthspine.gen.tissues.background import BackgroundConfig, paint_background
from synthspine.gen.tissues.beside import BesideConfig, paint_beside
from synthspine.gen.tissues.body_layers import BodyLayersConfig, paint_body_layers
from synthspine.gen.tissues.bowel import BowelConfig, paint_bowel
from synthspine.gen.tissues.canal import CanalConfig, paint_canal
from synthspine.gen.tissues.discs import DiscConfig, add_nucleus, thin_discs
from synthspine.gen.tissues.fat import (
    EpiduralFatConfig,
    FatPadsConfig,
    FrontFatConfig,
    paint_epidural_fat,
    paint_fat_pads,
    paint_front_fat,
)
from synthspine.gen.tissues.lesions import (
    HaemangiomaConfig,
    ModicConfig,
    SchmorlConfig,
    paint_end_plates,
    paint_haemangioma,
)
from synthspine.gen.tissues.pelvis import (
    FloorConfig,
    SacrumConfig,
    paint_annotated_sacrum,
    paint_floor,
    paint_sacrum,
    painted_sacrum,
)
from synthspine.gen.tissues.rim import RimConfig, paint_rim
from synthspine.gen.tissues.unannotated import OutsideConfig, black_pixels, paint_outside
from synthspine.gen.tissues.waist import WaistConfig, paint_waist

CHUNK = {"cpu": 2**20, "cuda": 2**24}
"""Voxels rendered at once, which the working memory is proportional to: docs/performance.md."""
MOST_MAPS = 2**24
"""What a random number of 24 bits can choose from."""


@lru_cache(maxsize=64)
def _memory(config: GeneratorConfig, dims: int) -> dict[str, int]:
    """Names and counts of the random numbers of a configuration, filled by its first batch."""
    return {}


@in_float32
def draw(
    config: GeneratorConfig,
    seed: int,
    indices: Tensor,
    *,
    maps: int | Tensor,
    dims: int = 2,
    device: torch.device | str = "cpu",
) -> Params:
    """Draw every random decision of samples ``indices``.

    Args:
        config: what may be drawn.
        seed: seed of the series of samples.
        indices: sample numbers, int64, shape ``(B,)``.
        maps: number of maps in the label bank, which are then equally likely; or their cumulative
            probabilities, float64 ``(N,)`` on ``device``, of ``gen.geometry.side_slices.map_odds``.
        dims: 2 for slices ``(H, W)``, 3 for volumes ``(Z, H, W)``.
        device: where the numbers are drawn, and lie. For ``render`` the CPU is best, whatever device renders.

    Raises:
        TypeError: an argument of another kind; indices that are not whole numbers.
        ValueError: no sample, a negative index (where indices lie on the CPU), no map, or a wrong number of
            dimensions.
    """
    _check_draw(config, seed, indices, maps, dims)
    keys = sample_keys(seed, indices.to(device=device, dtype=torch.int64))
    spacing_mm = (config.slice_spacing_mm, config.spacing_mm, config.spacing_mm)[-dims:]
    features = {name: getattr(config, name) for name in FEATURES}
    drawing = Drawing(keys, _memory(config, dims), features, spacing_mm)
    return Params(spacing_mm=spacing_mm, map_index=draw_map(drawing, maps), **drawing.all())


@in_float32
def render(bank: Tensor, params: Params, *, refined: bool = False) -> tuple[Tensor, Tensor]:
    """Render a batch of samples.

    Args:
        bank: label maps, dense codes, uint8, shape ``(N, *grid)``, on the device of the rendering.
        params: what was drawn for ``B`` samples, on this device or on the CPU. On the CPU it is known which
            samples a feature changes, and its step runs on these alone; the result is the same.
        refined: whether codes tell posterior elements and the painted sacrum apart, see
            ``gen.geometry.refine``. Of the sacrum the visible part counts, rudimentary discs included: what
            the floor or fat pads cover is background, what lesions replace is sacrum.

    Returns:
        Image, float32 in [0, 1], shape ``(B, 1, *grid)``, and the dense codes it shows, uint8, shape
        ``(B, *grid)``, 255 outside the field of view.

    Raises:
        TypeError: the bank does not hold uint8, or ``params`` is something else.
        ValueError: no sample, a bank of other dimensions than ``params``, or on another device.
    """
    _check_bank(bank, params)
    use_freed_memory()
    size = samples_at_once(bank)
    if len(params) <= size:
        return _render(bank, params, refined)
    parts = [_render(bank, params[start : start + size], refined) for start in range(0, len(params), size)]
    images, codes = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(codes)


def samples_at_once(bank: Tensor) -> int:
    """How many samples of a bank ``render`` renders at once; a larger batch is cut."""
    return max(1, CHUNK["cuda" if bank.device.type == "cuda" else "cpu"] // bank[0].numel())


def _render(bank: Tensor, params: Params, refined: bool) -> tuple[Tensor, Tensor]:
    """What :func:`render` does, all samples at once."""
    p, mm = params.to(bank.device), params.spacing_mm
    on = Steps(params.features(), p.features())

    codes = deform(bank, p.map_index, p[AffineConfig], p[DeformationConfig], p[FlipConfig], mm,
                   p[PathologyConfig])  # fmt: skip
    codes = limit_view(codes, p[FieldOfViewConfig], mm)
    codes = thin_discs(codes, p[DiscConfig], mm)
    frame = find_spine(codes, mm) if refined or p.follow_the_spine() else nowhere(codes)
    codes = on(open_canal, codes, frame, PathologyConfig)

    around = paint_background(codes, p[BackgroundConfig], mm)
    around = on(paint_body_layers, around, BodyLayersConfig, frame, mm)
    around = on(paint_beside, around, BesideConfig, frame, mm)
    around = on(paint_bowel, around, BowelConfig, frame, mm)
    around = on(paint_sacrum, around, SacrumConfig, codes, frame, mm)
    around = on(paint_floor, around, FloorConfig, frame, mm)
    depth_mm = depths(codes, around, mm) if p.look_at_borders() else frame.behind_mm.unsqueeze(1)
    around = on(paint_epidural_fat, around, codes, depth_mm, frame, EpiduralFatConfig, mm)
    around = on(paint_fat_pads, around, codes, depth_mm, frame, FatPadsConfig, mm)
    around = on(paint_front_fat, around, codes, depth_mm, frame, FrontFatConfig, mm)
    painted = overpaint(codes, around, has_code(codes, BACKGROUND))
    painted = on(paint_rim, painted, codes, RimConfig, mm)
    painted = on(paint_waist, painted, codes, around, frame, WaistConfig, mm)
    painted = paint_annotated_sacrum(painted, codes)
    painted = paint_canal(painted, codes, depth_mm, frame, p[CanalConfig], mm)
    painted = on(paint_haemangioma, painted, depth_mm, frame.behind_mm, HaemangiomaConfig, mm)
    painted = on(paint_end_plates, painted, codes, frame.behind_mm, (ModicConfig, SchmorlConfig), mm)
    painted = on(hide, painted, codes, around, HiddenConfig)
    black = black_pixels(codes, p[OutsideConfig])
    painted = paint_outside(painted, around, codes, black)

    image = colour(painted, p[ContrastConfig])
    image = on(mix_arches, image, codes, around, p[ContrastConfig], frame, ArchConfig, mm)
    image = add_nucleus(image, painted, depth_mm, p[DiscConfig], mm)
    image = blur_tissues(image, p[PartialVolumeConfig], mm)
    image = add_texture(image, painted, p[TextureConfig], mm)
    lined = add_cortex(image, depth_mm, frame.behind_mm, p[CortexConfig])
    image = lose_lines(lined, image, frame, p[ArchConfig])
    del lined
    del depth_mm  # the largest tensor, which nothing below needs
    image = on(add_implant, image, frame, ImplantConfig, mm)

    image = on(add_flow_void, image, painted, FlowVoidConfig, mm)
    image = on(shift_fat, image, painted, ChemicalShiftConfig, mm)
    image = add_coil(image, p[CoilConfig], frame.behind_mm)
    image = add_bias(image, p[BiasConfig], mm)
    image = apply_tone(image, p[Tone])
    image = on(wrap_around, image, WrapConfig)
    in_kspace = GibbsConfig, GhostingConfig, KSpaceMotionConfig, MotionBlurConfig, SpikeConfig
    image = on(distort_kspace, image, in_kspace, mm)
    image = acquire(image, p[ResolutionConfig], p[NoiseConfig], mm)
    image = on(add_zipper, image, ZipperConfig, mm)
    in_view = None if black is None else black ^ 1
    image = display(image, in_view, p[ClipConfig], p[GammaConfig], p[CurveConfig], p[InversionConfig])
    if refined:
        codes = refine(codes, mm, frame=frame, painted_sacrum=painted_sacrum(around))
    return image.unsqueeze(1), codes


def _check_draw(config: GeneratorConfig, seed: int, indices: Tensor, maps: int | Tensor, dims: int) -> None:
    maps = len(maps) if isinstance(maps, Tensor) else maps
    if not isinstance(config, GeneratorConfig):
        raise TypeError(f"config is {config!r}; want a GeneratorConfig")
    whole_number("seed", seed)
    if not isinstance(indices, Tensor):
        raise TypeError(f"indices are {indices!r}; want a tensor")
    if indices.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"indices are {indices.dtype}; want int64")
    if indices.dim() != 1 or len(indices) == 0 or indices.is_meta:
        raise ValueError(f"indices have shape {tuple(indices.shape)} on {indices.device}; "
                         "need (B,) with B at least 1, on a device that holds values")  # fmt: skip
    # Indices on a GPU are not looked at: that would wait for the device.
    if indices.device.type == "cpu" and (least := int(indices.min())) < 0:
        raise ValueError(f"indices begin at {least}; none may be negative")
    if whole_number("maps", maps) < 1 or whole_number("dims", dims) not in (2, 3):
        raise ValueError(f"got {maps} maps of {dims} dimensions; need a map or more, of 2 or 3 dimensions")
    if maps > MOST_MAPS:
        raise ValueError(f"got {maps} maps; a label bank holds {MOST_MAPS} at most")


def _check_bank(bank: Tensor, params: Params) -> None:
    if not isinstance(bank, Tensor) or bank.dtype != torch.uint8:
        found = getattr(bank, "dtype", type(bank).__name__)
        raise TypeError(f"the label bank is {found}; want a tensor of uint8 codes (gen.core.anatomy)")
    if not isinstance(params, Params):
        raise TypeError(f"params are {type(params).__name__}; want the Params of draw")
    if len(params.map_index) == 0:
        raise ValueError("params hold no sample")
    if not all(isinstance(step, int | float) and step > 0 for step in params.spacing_mm):
        raise ValueError(f"params.spacing_mm is {params.spacing_mm}; want lengths above 0")
    dims = len(params.spacing_mm)
    if bank.dim() != dims + 1 or bank.numel() == 0:
        raise ValueError(f"label bank of shape {tuple(bank.shape)}; want (N, *grid) with {dims} grid axes")
    if params.map_index.device.type != "cpu" and bank.device != params.map_index.device:
        raise ValueError(f"the label bank lies on {bank.device}, the parameters on {params.map_index.device}")
