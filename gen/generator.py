"""The generator: draw every random decision of a sample, then render it.

Sample ``i`` is a function of (configuration, label bank, seed, ``i``) alone: the same picture alone or
inside any batch, on any worker or rank.
"""

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from synthspine.gen.config import GeneratorConfig
from synthspine.gen.core.anatomy import BACKGROUND
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.core.feature import whole_number
from synthspine.gen.core.masks import has_code, overpaint
from synthspine.gen.geometry.affine import draw_affine
from synthspine.gen.geometry.deformation import draw_deformation
from synthspine.gen.geometry.field_of_view import draw_view, limit_view
from synthspine.gen.geometry.flip import draw_flip
from synthspine.gen.geometry.refine import refine
from synthspine.gen.geometry.spine_frame import find_spine, nowhere
from synthspine.gen.geometry.warp import deform, draw_map
from synthspine.gen.intensity.contrast import RECIPES, colour, draw_contrast
from synthspine.gen.intensity.cortex import add_cortex, depths, draw_cortex
from synthspine.gen.intensity.flow_void import add_flow_void, draw_flow_void
from synthspine.gen.intensity.hidden_labels import draw_hidden, hide, unless_hidden, without_lines
from synthspine.gen.intensity.partial_volume import blur_tissues, draw_partial_volume
from synthspine.gen.intensity.posterior_arch import draw_arches, lose_lines, mix_arches
from synthspine.gen.intensity.texture import add_texture, draw_texture
from synthspine.gen.params import Params
from synthspine.gen.scanner.acquisition import acquire, draw_resolution
from synthspine.gen.scanner.chemical_shift import draw_chemical_shift, shift_fat
from synthspine.gen.scanner.display import (
    apply_tone,
    display,
    draw_clip,
    draw_curve,
    draw_gamma,
    draw_inversion,
)
from synthspine.gen.scanner.implant import add_implant, draw_implant
from synthspine.gen.scanner.kspace import distort_kspace, draw_gibbs, draw_spike
from synthspine.gen.scanner.motion import draw_ghosting, draw_kspace_motion, draw_motion_blur
from synthspine.gen.scanner.noise import add_zipper, draw_noise, draw_zipper
from synthspine.gen.scanner.shading import add_bias, add_coil, draw_bias, draw_coil
from synthspine.gen.scanner.wrap import draw_wrap, wrap_around
from synthspine.gen.tissues.background import draw_background, paint_background
from synthspine.gen.tissues.body_layers import draw_body_layers, paint_body_layers
from synthspine.gen.tissues.bowel import draw_bowel, paint_bowel
from synthspine.gen.tissues.canal import (
    draw_canal,
    draw_epidural_fat,
    draw_fat_pads,
    paint_canal,
    paint_epidural_fat,
    paint_fat_pads,
)
from synthspine.gen.tissues.discs import add_nucleus, darken_discs, draw_discs, thin_discs
from synthspine.gen.tissues.lesions import draw_haemangioma, draw_modic, draw_schmorl, paint_lesions
from synthspine.gen.tissues.pelvis import (
    draw_floor,
    draw_sacrum,
    paint_annotated_sacrum,
    paint_floor,
    paint_sacrum,
    painted_sacrum,
)
from synthspine.gen.tissues.unannotated import black_pixels, draw_outside, paint_outside

CHUNK = {"cpu": 2**20, "cuda": 2**24}
"""Voxels rendered at once: what the working memory is proportional to."""
MOST_MAPS = 2**24
"""What a random number of 24 bits can choose from."""


@lru_cache(maxsize=64)
def _memory(config: GeneratorConfig, dims: int) -> dict[str, int]:
    """Names and counts of the random numbers of a configuration, filled by its first batch."""
    return {}


def draw(
    config: GeneratorConfig,
    seed: int,
    indices: Tensor,
    *,
    maps: int,
    dims: int = 2,
    device: torch.device | str = "cpu",
) -> Params:
    """Draw every random decision of samples ``indices``.

    Args:
        config: what may be drawn.
        seed: seed of the series of samples.
        indices: sample numbers, int64, shape ``(B,)``.
        maps: number of maps in the label bank.
        dims: 2 for slices ``(H, W)``, 3 for volumes ``(Z, H, W)``.
        device: where the result lies.

    Raises:
        TypeError: an argument of another kind; indices that are not whole numbers.
        ValueError: no sample, a negative index (where indices lie on the CPU), no map, or a wrong number of
            dimensions.
    """
    _check_draw(config, seed, indices, maps, dims)
    keys = sample_keys(seed, indices.to(device=device, dtype=torch.int64))
    random = SampleRandom(keys, _memory(config, dims))
    spacing_mm = (config.slice_spacing_mm, config.spacing_mm, config.spacing_mm)[-dims:]
    contrast = draw_contrast(config.contrast, random)
    gamma = draw_gamma(config.gamma, random)
    fully_random = (contrast.recipe == RECIPES.index("random")).unsqueeze(1)
    discs = draw_discs(config.discs, random, contrast.alpha, fully_random)
    hidden = draw_hidden(config.hidden, random)
    return Params(
        spacing_mm=spacing_mm,
        map_index=draw_map(random, maps),
        affine=draw_affine(config.affine, random, dims),
        deformation=draw_deformation(config.deformation, random),
        flip=draw_flip(config.flip, random, dims),
        view=draw_view(config.view, random),
        background=draw_background(config.background, random),
        body_layers=draw_body_layers(config.body_layers, random),
        bowel=draw_bowel(config.bowel, random),
        sacrum=draw_sacrum(config.sacrum, random),
        floor=draw_floor(config.floor, random),
        canal=draw_canal(config.canal, random),
        epidural_fat=unless_hidden(draw_epidural_fat(config.epidural_fat, random), hidden, "canal", "share"),
        fat_pads=unless_hidden(draw_fat_pads(config.fat_pads, random), hidden, "canal", "thickness_mm"),
        discs=discs,
        modic=draw_modic(config.modic, random),
        haemangioma=draw_haemangioma(config.haemangioma, random),
        schmorl=draw_schmorl(config.schmorl, random),
        hidden=hidden,
        outside=draw_outside(config.outside, random),
        contrast=replace(contrast, mean=darken_discs(contrast.mean, discs)),
        arches=unless_hidden(draw_arches(config.arches, random), hidden, "vertebra", "blur_mm", "through"),
        partial_volume=draw_partial_volume(config.partial_volume, random),
        texture=draw_texture(config.texture, random),
        cortex=without_lines(draw_cortex(config.cortex, random), hidden),
        implant=draw_implant(config.implant, random),
        flow_void=draw_flow_void(config.flow_void, random),
        chemical_shift=draw_chemical_shift(config.chemical_shift, random),
        coil=draw_coil(config.coil, random),
        bias=draw_bias(config.bias, random),
        tone=gamma if config.gamma.before_acquisition else None,
        wrap=draw_wrap(config.wrap, random),
        kspace_motion=draw_kspace_motion(config.kspace_motion, random),
        ghosting=draw_ghosting(config.ghosting, random),
        gibbs=draw_gibbs(config.gibbs, random),
        spike=draw_spike(config.spike, random),
        motion_blur=draw_motion_blur(config.motion_blur, random),
        resolution=draw_resolution(config.resolution, random, spacing_mm),
        noise=draw_noise(config.noise, random),
        zipper=draw_zipper(config.zipper, random),
        clip=draw_clip(config.clip, random),
        gamma=None if config.gamma.before_acquisition else gamma,
        curve=draw_curve(config.curve, random),
        inversion=draw_inversion(config.inversion, random),
    )


def render(bank: Tensor, params: Params, *, refined: bool = False) -> tuple[Tensor, Tensor]:
    """Render a batch of samples.

    Args:
        bank: label maps, dense codes, uint8, shape ``(N, *grid)``, on the device of ``params``.
        params: what was drawn for ``B`` samples.
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
    size = max(1, CHUNK.get(bank.device.type, 2**20) // bank[0].numel())
    if len(params) <= size:
        return _render(bank, params, refined)
    parts = [_render(bank, params[start : start + size], refined) for start in range(0, len(params), size)]
    images, codes = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(codes)


def _render(bank: Tensor, params: Params, refined: bool) -> tuple[Tensor, Tensor]:
    """What :func:`render` does, all samples at once."""
    p, mm = params, params.spacing_mm

    codes = deform(bank, p.map_index, p.affine, p.deformation, p.flip, mm)
    codes = limit_view(codes, p.view, mm)
    codes = thin_discs(codes, p.discs, mm)
    frame = find_spine(codes, mm) if refined or p.follow_the_spine() else nowhere(codes)

    around = paint_background(codes, p.background, mm)
    around = paint_body_layers(around, p.body_layers, frame, mm)
    around = paint_bowel(around, p.bowel, frame, mm)
    around = paint_sacrum(around, p.sacrum, codes, frame, mm)
    around = paint_floor(around, p.floor, frame, mm)
    depth_mm = depths(codes, around, mm) if p.look_at_borders() else frame.behind_mm.unsqueeze(1)
    around = paint_epidural_fat(around, codes, depth_mm, frame, p.epidural_fat, mm)
    around = paint_fat_pads(around, codes, frame, p.fat_pads, mm)
    painted = overpaint(codes, around, has_code(codes, BACKGROUND))
    painted = paint_annotated_sacrum(painted, codes)
    painted = paint_canal(painted, codes, frame, p.canal, mm)
    painted = paint_lesions(painted, codes, depth_mm, frame.behind_mm, mm,
                            modic=p.modic, haemangioma=p.haemangioma, schmorl=p.schmorl)  # fmt: skip
    painted = hide(painted, codes, around, p.hidden)
    black = black_pixels(codes, p.outside)
    painted = paint_outside(painted, around, codes, black)

    image = colour(painted, p.contrast)
    image = mix_arches(image, codes, around, p.contrast, frame, p.arches, mm)
    image = add_nucleus(image, painted, depth_mm, p.discs, mm)
    image = blur_tissues(image, p.partial_volume, mm)
    image = add_texture(image, painted, p.texture, mm)
    image = lose_lines(add_cortex(image, depth_mm, p.cortex), image, frame, p.arches)
    image = add_implant(image, frame, p.implant, mm)

    image = add_flow_void(image, painted, p.flow_void, mm)
    image = shift_fat(image, painted, p.chemical_shift, mm)
    image = add_coil(image, p.coil, frame.behind_mm)
    image = add_bias(image, p.bias, mm)
    image = apply_tone(image, p.tone)
    image = wrap_around(image, p.wrap)
    image = distort_kspace(image, p.kspace_motion, p.ghosting, p.gibbs, p.spike, p.motion_blur, mm)
    image = acquire(image, p.resolution, p.noise, mm)
    image = add_zipper(image, p.zipper, mm)
    image = display(image, None if black is None else black == 0, p.clip, p.gamma, p.curve, p.inversion)
    if refined:
        codes = refine(codes, mm, frame=frame, painted_sacrum=painted_sacrum(around))
    return image.unsqueeze(1), codes


def _check_draw(config: GeneratorConfig, seed: int, indices: Tensor, maps: int, dims: int) -> None:
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
    if bank.device != params.map_index.device:
        raise ValueError(f"the label bank lies on {bank.device}, the parameters on {params.map_index.device}")
