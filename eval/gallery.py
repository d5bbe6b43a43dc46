"""Gallery of the generator: a contact sheet per preset, every feature off and on, the way from T1 to T2."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthspine.eval.sheets import contact_sheet, pair_sheet, phantom_maps
from synthspine.gen import GeneratorConfig, SpineSynthGenerator, draw, render
from synthspine.gen.config import plain
from synthspine.gen.core.anatomy import CANAL, disc_code
from synthspine.gen.geometry.affine import AffineConfig
from synthspine.gen.geometry.deformation import DeformationConfig
from synthspine.gen.geometry.field_of_view import FieldOfViewConfig
from synthspine.gen.geometry.flip import FlipConfig
from synthspine.gen.intensity.contrast import measured_contrast
from synthspine.gen.intensity.cortex import CortexConfig
from synthspine.gen.intensity.flow_void import FlowVoidConfig
from synthspine.gen.intensity.hidden_labels import HiddenConfig
from synthspine.gen.intensity.partial_volume import PartialVolumeConfig
from synthspine.gen.intensity.posterior_arch import ArchConfig
from synthspine.gen.intensity.texture import TextureConfig
from synthspine.gen.presets import PRESETS
from synthspine.gen.scanner.acquisition import ResolutionConfig
from synthspine.gen.scanner.chemical_shift import ChemicalShiftConfig
from synthspine.gen.scanner.display import ClipConfig, CurveConfig, GammaConfig, InversionConfig
from synthspine.gen.scanner.ghosting import GhostingConfig
from synthspine.gen.scanner.gibbs import GibbsConfig
from synthspine.gen.scanner.implant import ImplantConfig
from synthspine.gen.scanner.kspace_motion import KSpaceMotionConfig
from synthspine.gen.scanner.motion_blur import MotionBlurConfig
from synthspine.gen.scanner.noise import NoiseConfig
from synthspine.gen.scanner.shading import BiasConfig, CoilConfig
from synthspine.gen.scanner.spike import SpikeConfig
from synthspine.gen.scanner.wrap import WrapConfig
from synthspine.gen.scanner.zipper import ZipperConfig
from synthspine.gen.tissues.background import BackgroundConfig
from synthspine.gen.tissues.body_layers import BodyLayersConfig
from synthspine.gen.tissues.bowel import BowelConfig
from synthspine.gen.tissues.canal import CanalConfig, EpiduralFatConfig, FatPadsConfig
from synthspine.gen.tissues.discs import DiscConfig
from synthspine.gen.tissues.lesions import HaemangiomaConfig, ModicConfig, SchmorlConfig
from synthspine.gen.tissues.pelvis import FloorConfig, SacrumConfig
from synthspine.gen.tissues.unannotated import OutsideConfig

ROWS, COLUMNS = 3, 6
"""Pictures of a preset's sheet."""
STEPS = 5
"""Pictures from T1 to T2."""
PAIRS_PER_ROW = 6
INDEX = 7
"""The sample that shows most features."""
CLOSE_SHARE = 0.4
"""Height and width of a close view, share of the picture's."""
MIDDLE, LOWEST = disc_code(3), disc_code(1)
"""Discs in the middle of close views."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Showcase:
    """How a feature is shown.

    Attributes:
        on: its configuration, strong enough to be seen.
        close: code of the structure in the middle of a close view; None for the whole picture.
        also: what else both pictures of the pair have, by name in ``GeneratorConfig``.
    """

    on: Any
    close: int | None = None
    also: dict[str, Any] = field(default_factory=dict)


def calm() -> GeneratorConfig:
    """A still T2-weighted picture with the body around the spine and nothing else."""
    return replace(
        plain(GeneratorConfig()),
        contrast=replace(measured_contrast(1.0), spread=0.3, instance_jitter=(0.0, 0.02)),
        background=BackgroundConfig(medium_share=(0.1, 0.1), fine_share=(0.05, 0.05)),
        body_layers=BodyLayersConfig(probability=1.0, fat_mm=(15.0, 20.0), vessel_probability=0.0),
        sacrum=SacrumConfig(probability=1.0, turn_deg=(12.0, 16.0), shrink=(0.8, 0.85)),
        canal=CanalConfig(cord_probability=1.0, roots_probability=0.0),
        discs=DiscConfig(degenerated_probability=0.0, cleft_probability=0.0, health=(0.8, 1.0)),
        outside=OutsideConfig(probability=1.0),
        partial_volume=PartialVolumeConfig(probability=1.0),
        texture=TextureConfig(strength=(0.02, 0.03)),
        cortex=CortexConfig(probability=1.0, strength=(0.8, 0.8), end_plate_probability=0.0),
        clip=ClipConfig(low=(0.005, 0.005), high=(0.03, 0.03)),
    )


STRONG: dict[str, Showcase] = {
    "affine": Showcase(
        on=AffineConfig(
            scale=(0.85, 0.85), rotation_deg=(12.0, 12.0), shear=(0.05, 0.05), translation_mm=(8.0, 8.0)
        )
    ),
    "deformation": Showcase(
        on=DeformationConfig(velocity_mm=(8.0, 8.0), velocity_correlation_mm=(16.0, 16.0))
    ),
    "flip": Showcase(
        on=FlipConfig(front_back_probability=1.0),
        # What is painted around the spine looks for the back where it usually is.
        also={"body_layers": BodyLayersConfig(probability=0.0), "sacrum": SacrumConfig(probability=0.0)},
    ),
    "view": Showcase(on=FieldOfViewConfig(probability=1.0, crop_mm=(40.0, 60.0))),
    "background": Showcase(on=BackgroundConfig(medium_share=(0.3, 0.3), fine_share=(0.3, 0.3))),
    "body_layers": Showcase(on=BodyLayersConfig(probability=1.0, vessel_probability=1.0)),
    "bowel": Showcase(on=BowelConfig(probability=1.0, head_probability=1.0, gas_share=(0.2, 0.2))),
    "sacrum": Showcase(
        on=SacrumConfig(probability=1.0, turn_deg=(12.0, 16.0), shrink=(0.8, 0.85)), close=LOWEST
    ),
    "floor": Showcase(on=FloorConfig(probability=1.0, below_mm=(10.0, 10.0), fat_probability=0.0)),
    "canal": Showcase(
        on=CanalConfig(
            cord_probability=1.0, cord_mm=(3.0, 4.0), roots_probability=1.0, roots_share=(0.5, 0.5)
        ),
        close=MIDDLE,
    ),
    "epidural_fat": Showcase(on=EpiduralFatConfig(probability=1.0, share=(0.7, 0.8)), close=MIDDLE),
    "fat_pads": Showcase(
        on=FatPadsConfig(probability=1.0, share=(0.8, 0.8), thickness_mm=(8.0, 9.0), length_mm=(5.0, 5.0)),
        close=CANAL,
        # Dark fluid, against which fat stands out.
        also={"contrast": replace(calm().contrast, alpha=(0.0, 0.0))},
    ),
    "discs": Showcase(
        on=DiscConfig(
            cleft_probability=1.0,
            health=(1.0, 1.0),
            nucleus_t2=1.0,
            degenerated_probability=0.3,
            lost_mm=(2.0, 2.0),
            darkness=(0.5, 0.5),
        ),
        close=MIDDLE,
    ),
    "modic": Showcase(on=ModicConfig(probability=1.0, plate_probability=0.7), close=MIDDLE),
    "haemangioma": Showcase(
        on=HaemangiomaConfig(probability=1.0, spot_probability=0.8, radius_mm=(4.0, 8.0)), close=MIDDLE
    ),
    "schmorl": Showcase(
        on=SchmorlConfig(probability=1.0, plate_probability=0.6, radius_mm=(4.0, 6.0)), close=MIDDLE
    ),
    "hidden": Showcase(on=HiddenConfig(probability=1.0)),
    "outside": Showcase(on=OutsideConfig(probability=1.0), also={"view": FieldOfViewConfig(probability=1.0)}),
    "contrast": Showcase(on=replace(calm().contrast, alpha=(0.0, 0.0))),
    "arches": Showcase(
        on=ArchConfig(probability=1.0, blur_mm=(1.8, 1.8), through=(0.8, 0.8), lines_lost=(1.0, 1.0)),
        close=CANAL,
    ),
    "partial_volume": Showcase(
        on=PartialVolumeConfig(probability=1.0, sigma_mm=(0.7, 0.7)),
        close=MIDDLE,
        also={"cortex": CortexConfig(probability=0.0, end_plate_probability=0.0)},
    ),
    "texture": Showcase(on=TextureConfig(strength=(0.08, 0.10), correlated=(0.7, 0.7)), close=MIDDLE),
    "cortex": Showcase(
        on=CortexConfig(probability=1.0, strength=(0.9, 1.0), end_plate_probability=0.0), close=MIDDLE
    ),
    "implant": Showcase(
        on=ImplantConfig(probability=1.0, second_probability=1.0, displacement_mm=(5.0, 8.0))
    ),
    "flow_void": Showcase(
        on=FlowVoidConfig(probability=1.0, depth=(0.8, 0.9), threshold=(0.2, 0.3)), close=MIDDLE
    ),
    "chemical_shift": Showcase(
        on=ChemicalShiftConfig(probability=1.0, displacement_mm=(2.5, 2.5)), close=MIDDLE
    ),
    "coil": Showcase(on=CoilConfig(probability=1.0, floor=(0.1, 0.1), width_mm=(20.0, 30.0))),
    "bias": Showcase(on=BiasConfig(probability=1.0, log_std=(0.5, 0.5), correlation_mm=(60.0, 60.0))),
    "wrap": Showcase(
        on=WrapConfig(probability=1.0, strength=(0.8, 0.8), width=(0.2, 0.2), both_probability=1.0)
    ),
    "kspace_motion": Showcase(
        on=KSpaceMotionConfig(
            probability=1.0, swing_probability=0.0, jump_mm=(2.5, 2.5), jump_time=(0.1, 0.2)
        )
    ),
    "ghosting": Showcase(on=GhostingConfig(probability=1.0, strength=(0.15, 0.15))),
    "gibbs": Showcase(on=GibbsConfig(probability=1.0, phase_kept=(0.4, 0.4)), close=MIDDLE),
    "spike": Showcase(on=SpikeConfig(probability=1.0, strength=(0.1, 0.1))),
    "motion_blur": Showcase(on=MotionBlurConfig(probability=1.0, length_mm=(6.0, 6.0)), close=MIDDLE),
    "resolution": Showcase(
        on=ResolutionConfig(native_probability=0.0, isotropic_probability=1.0, isotropic=(4.0, 4.0))
    ),
    "noise": Showcase(
        on=NoiseConfig(probability=1.0, level=(0.08, 0.08), g_factor_probability=1.0, g_factor=(1.0, 1.0))
    ),
    "zipper": Showcase(on=ZipperConfig(probability=1.0, strength=(1.0, 1.0), width_mm=(1.5, 1.5))),
    "clip": Showcase(on=ClipConfig(probability=1.0, low=(0.03, 0.03), high=(0.2, 0.2))),
    "gamma": Showcase(on=GammaConfig(log_gamma=(0.5, 0.5))),
    "curve": Showcase(on=CurveConfig(probability=1.0, strength=(1.2, 1.2))),
    "inversion": Showcase(on=InversionConfig(probability=1.0)),
}
"""Every feature of the generator at its strongest, or nearly so."""


def gallery(output_dir: Path) -> list[Path]:
    """All sheets."""
    maps = phantom_maps(COLUMNS)
    presets = [preset_sheet(name, maps, output_dir) for name in PRESETS]
    return [*presets, feature_sheet(maps[:1], output_dir), interpolation_strip(maps[:2], output_dir)]


def contrast(output_dir: Path) -> list[Path]:
    """The way from T1 to T2 alone."""
    return [interpolation_strip(phantom_maps(2), output_dir)]


def preset_sheet(name: str, maps: torch.Tensor, output_dir: Path) -> Path:
    """What a preset makes of label maps, dense codes ``(N, H, W)``: one map a column."""
    generator = SpineSynthGenerator(labels="dense", config=PRESETS[name])
    rows = []
    for row in range(ROWS):
        indices = range(row * len(maps), (row + 1) * len(maps))
        image, _ = generator.sample(maps[:, None], indices=indices, maps=range(len(maps)))
        rows.append(("", [picture.numpy() for picture in image[:, 0]]))
    return contact_sheet(rows, output_dir / f"preset_{name}.png", f"Preset {name}: one label map a column")


def feature_sheet(codes: torch.Tensor, output_dir: Path) -> Path:
    """Every feature off and on, on one map, dense codes ``(1, H, W)``."""
    title = "Every feature off (left) and on (right)"
    return pair_sheet(feature_pairs(codes), output_dir / "features.png", title, PAIRS_PER_ROW)


def feature_pairs(codes: torch.Tensor) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, picture without and picture with every feature, from the same draw of everything else."""
    pairs = []
    for name, shown in STRONG.items():
        base = replace(calm(), **shown.also)
        without = replace(base, **{name: getattr(plain(base), name)})
        pair = (_picture(codes, config) for config in (without, replace(base, **{name: shown.on})))
        off, on = (picture[close_view(codes, shown.close)] for picture in pair)
        pairs.append((name, off, on))
    return pairs


def interpolation_strip(maps: torch.Tensor, output_dir: Path) -> Path:
    """The same anatomy from T1 to T2: nothing moves, only the contrast does."""
    alphas = np.linspace(0, 1, STEPS)
    generator = SpineSynthGenerator(labels="dense", config=calm())
    rows = []
    for index, codes in enumerate(maps):
        images = [generator.generate_synthetic_mri(codes, float(alpha), index=index) for alpha in alphas]
        rows.append((f"map {index + 1}", [image.numpy() for image in images]))
    titles = [f"alpha = {alpha:g}" for alpha in alphas]
    titles[0], titles[-1] = f"{titles[0]} (T1)", f"{titles[-1]} (T2)"
    return contact_sheet(rows, output_dir / "contrast.png", "From T1 to T2 on a still label map", titles)


def close_view(codes: torch.Tensor, middle: int | None) -> tuple[slice, slice]:
    """Rows and columns of a close view of the code ``middle`` in a map ``(1, H, W)``, or all of them."""
    if middle is None:
        return slice(None), slice(None)
    places = (codes[0] == middle).nonzero().float().mean(0).tolist()
    sizes = [round(CLOSE_SHARE * count) for count in codes.shape[1:]]
    starts = [
        min(max(round(place - size / 2), 0), count - size)
        for place, size, count in zip(places, sizes, codes.shape[1:], strict=True)
    ]
    rows, columns = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return rows, columns


def _picture(codes: torch.Tensor, config: GeneratorConfig) -> np.ndarray:
    params = draw(config, 0, torch.tensor([INDEX]), maps=len(codes))
    return render(codes, params)[0][0, 0].numpy()
