"""Gallery of the generator: a contact sheet per preset, every feature off and on, the way from T1 to T2."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from synthspine.gen import GeneratorConfig, SpineSynthGenerator, draw, render
from synthspine.gen.config import plain
from synthspine.gen.core.anatomy import CANAL, disc_code
from synthspine.gen.intensity.contrast import measured_contrast
from synthspine.gen.presets import PRESETS
from synthspine.shards.building.options import DEFAULT_DATA_DIR, ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.checking.contact_sheet import Tile, side_by_side, write_sheet
from synthspine.shards.checking.overlay import grey_picture
from synthspine.shards.readers.phantom import PHANTOM_FOLDER
from synthspine.shards.reading.open import open_set

PHANTOM = ShardOptions(use_dummy_data=True, shards_dir=str(DEFAULT_DATA_DIR / PHANTOM_FOLDER / "shards"))
ROWS, COLUMNS = 3, 6
"""Pictures of a preset's sheet."""
STEPS = 5
"""Pictures from T1 to T2."""
PAIRS_PER_ROW = 6
INDEX = 7
"""The sample that shows most features."""
CLOSE_SHARE = 0.4
"""Height and width of a close view, share of the picture's."""
PICTURE_ROWS = 180
"""Height of a picture in a sheet, pixels."""
GREY_STEP = 5
"""Step of grey values in a sheet, a divisor of 255: grain takes most of the space of a PNG."""
MIDDLE, LOWEST = disc_code(3), disc_code(1)
"""Discs at the centre of close views."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Showcase:
    """How a feature is shown.

    Attributes:
        on: its settings, strong enough to be seen; the others have their defaults (contrast: those of
            ``CALM_CONTRAST``).
        close: code of the structure at the centre of a close view; None for the whole picture.
        also: settings of other features in both pictures of the pair, by name in ``GeneratorConfig``.
    """

    on: dict[str, Any]
    close: int | None = None
    also: dict[str, dict[str, Any]] = field(default_factory=dict)


CALM: dict[str, dict[str, Any]] = {
    "background": {"medium_share": (0.1, 0.1), "fine_share": (0.05, 0.05)},
    "body_layers": {"probability": 1.0, "fat_mm": (15.0, 20.0), "vessel_probability": 0.0},
    "sacrum": {"probability": 1.0, "turn_deg": (12.0, 16.0), "shrink": (0.8, 0.85)},
    "canal": {"cord_probability": 1.0, "roots_probability": 0.0},
    "discs": {"degenerated_probability": 0.0, "cleft_probability": 0.0, "health": (0.8, 1.0)},
    "outside": {"probability": 1.0},
    "partial_volume": {"probability": 1.0},
    "texture": {"strength": (0.02, 0.03)},
    "cortex": {"probability": 1.0, "strength": (0.8, 0.8), "end_plate_probability": 0.0},
    "clip": {"low": (0.005, 0.005), "high": (0.03, 0.03)},
}


CALM_CONTRAST = replace(measured_contrast(1.0), spread=0.3, instance_jitter=(0.0, 0.02))


def calm() -> GeneratorConfig:
    """A still T2-weighted picture with the body around the spine and nothing else."""
    return _with(replace(plain(GeneratorConfig()), contrast=CALM_CONTRAST), CALM)


def strong(
    *, close: int | None = None, also: dict[str, dict[str, Any]] | None = None, **settings: Any
) -> Showcase:
    """A showcase with these settings of its feature."""
    return Showcase(on=settings, close=close, also=also or {})


STRONG: dict[str, Showcase] = {
    "affine": strong(
        scale=(0.85, 0.85), rotation_deg=(12.0, 12.0), shear=(0.05, 0.05), translation_mm=(8.0, 8.0)
    ),
    "deformation": strong(velocity_mm=(8.0, 8.0), velocity_correlation_mm=(16.0, 16.0)),
    "flip": strong(
        front_back_probability=1.0,
        # Tissue around the spine is painted behind it, where the back usually is.
        also={"body_layers": {"probability": 0.0}, "sacrum": {"probability": 0.0}},
    ),
    "view": strong(probability=1.0, crop_mm=(40.0, 60.0)),
    "background": strong(medium_share=(0.3, 0.3), fine_share=(0.3, 0.3)),
    "body_layers": strong(probability=1.0, vessel_probability=1.0),
    "bowel": strong(probability=1.0, head_probability=1.0, gas_share=(0.2, 0.2)),
    "sacrum": strong(probability=1.0, turn_deg=(12.0, 16.0), shrink=(0.8, 0.85), close=LOWEST),
    "floor": strong(probability=1.0, below_mm=(15.0, 20.0), fat_probability=0.0),
    "canal": strong(
        cord_probability=1.0,
        cord_mm=(3.0, 4.0),
        roots_probability=1.0,
        roots_share=(0.5, 0.5),
        close=MIDDLE,
    ),
    "epidural_fat": strong(probability=1.0, share=(0.7, 0.8), close=MIDDLE),
    "fat_pads": strong(
        probability=1.0,
        share=(0.8, 0.8),
        thickness_mm=(8.0, 9.0),
        length_mm=(5.0, 5.0),
        close=CANAL,
        # Fat stands out against dark fluid.
        also={"contrast": {"alpha": (0.0, 0.0)}},
    ),
    "discs": strong(
        cleft_probability=1.0,
        health=(1.0, 1.0),
        nucleus_t2=1.0,
        degenerated_probability=0.3,
        lost_mm=(2.0, 2.0),
        darkness=(0.5, 0.5),
        close=MIDDLE,
    ),
    "modic": strong(probability=1.0, plate_probability=0.7, close=MIDDLE),
    "haemangioma": strong(probability=1.0, spot_probability=0.8, radius_mm=(4.0, 8.0), close=MIDDLE),
    "schmorl": strong(probability=1.0, plate_probability=0.6, radius_mm=(4.0, 6.0), close=MIDDLE),
    "hidden": strong(probability=1.0),
    "outside": strong(probability=1.0, also={"view": {"probability": 1.0}}),
    "contrast": strong(alpha=(0.0, 0.0)),
    "arches": strong(
        probability=1.0,
        blur_mm=(1.8, 1.8),
        through=(0.8, 0.8),
        lines_lost=(1.0, 1.0),
        close=CANAL,
    ),
    "partial_volume": strong(
        probability=1.0,
        sigma_mm=(0.7, 0.7),
        close=MIDDLE,
        also={"cortex": {"probability": 0.0, "end_plate_probability": 0.0}},
    ),
    "texture": strong(strength=(0.08, 0.10), correlated=(0.7, 0.7), close=MIDDLE),
    "cortex": strong(probability=1.0, strength=(0.9, 1.0), end_plate_probability=0.0, close=MIDDLE),
    "implant": strong(probability=1.0, second_probability=1.0, displacement_mm=(5.0, 8.0)),
    "flow_void": strong(probability=1.0, depth=(0.8, 0.9), threshold=(0.2, 0.3), close=MIDDLE),
    "chemical_shift": strong(probability=1.0, displacement_mm=(2.5, 2.5), close=MIDDLE),
    "coil": strong(probability=1.0, floor=(0.1, 0.1), width_mm=(20.0, 30.0)),
    "bias": strong(probability=1.0, log_std=(0.5, 0.5), correlation_mm=(60.0, 60.0)),
    "wrap": strong(probability=1.0, strength=(0.8, 0.8), width=(0.2, 0.2), both_probability=1.0),
    "kspace_motion": strong(probability=1.0, swing_probability=0.0, jump_mm=(2.5, 2.5), jump_time=(0.1, 0.2)),
    "ghosting": strong(probability=1.0, strength=(0.15, 0.15)),
    "gibbs": strong(probability=1.0, phase_kept=(0.4, 0.4), close=MIDDLE),
    "spike": strong(probability=1.0, strength=(0.1, 0.1)),
    "motion_blur": strong(probability=1.0, length_mm=(6.0, 6.0), close=MIDDLE),
    "resolution": strong(native_probability=0.0, isotropic_probability=1.0, isotropic=(4.0, 4.0)),
    "noise": strong(probability=1.0, level=(0.08, 0.08), g_factor_probability=1.0, g_factor=(1.0, 1.0)),
    "zipper": strong(probability=1.0, strength=(1.0, 1.0), width_mm=(1.5, 1.5)),
    "clip": strong(probability=1.0, low=(0.03, 0.03), high=(0.2, 0.2)),
    "gamma": strong(log_gamma=(0.5, 0.5)),
    "curve": strong(probability=1.0, strength=(1.2, 1.2)),
    "inversion": strong(probability=1.0),
}
"""Every feature of the generator at or near its strongest."""


def phantom_maps(count: int) -> torch.Tensor:
    """Mid-sagittal label maps of ``count`` phantom patients, dense codes, uint8 ``(count, H, W)``."""
    bank = open_set(ensure_sets(("labels",), PHANTOM)["labels"]).read()
    by_patient: dict[str, list[int]] = {}
    for index, record in enumerate(bank.records):
        by_patient.setdefault(str(record["patient"]), []).append(index)
    middles = [indices[len(indices) // 4] for indices in by_patient.values()]
    return torch.from_numpy(bank.labels[middles[:count]])


def gallery(output_dir: Path) -> list[Path]:
    """All sheets."""
    maps = phantom_maps(COLUMNS)
    presets = [preset_sheet(name, maps, output_dir) for name in PRESETS]
    return [*presets, feature_sheet(maps[:1], output_dir), interpolation_strip(maps[:2], output_dir)]


def contrast(output_dir: Path) -> list[Path]:
    """The sheet from T1 to T2 alone."""
    return [interpolation_strip(phantom_maps(2), output_dir)]


def preset_sheet(name: str, maps: torch.Tensor, output_dir: Path) -> Path:
    """Samples of a preset from label maps, dense codes ``(N, H, W)``: one map a column."""
    generator = SpineSynthGenerator(labels="dense", config=PRESETS[name])
    tiles = []
    for row in range(ROWS):
        indices = range(row * len(maps), (row + 1) * len(maps))
        image, _ = generator.sample(maps[:, None], indices=indices, maps=range(len(maps)))
        tiles += [tile([image[k, 0].numpy()], f"sample {index}") for k, index in enumerate(indices)]
    title = f"Preset {name}: one label map a column"
    return write_sheet(tiles, output_dir / f"preset_{name}.png", title, columns=len(maps))


def feature_sheet(codes: torch.Tensor, output_dir: Path) -> Path:
    """Every feature off and on, on one map, dense codes ``(1, H, W)``."""
    tiles = [tile([off, on], name) for name, off, on in feature_pairs(codes)]
    title = "Every feature off (left) and on (right)"
    return write_sheet(tiles, output_dir / "features.png", title, columns=PAIRS_PER_ROW)


def feature_pairs(codes: torch.Tensor) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, picture without and picture with every feature; all other random numbers are the same."""
    pairs = []
    for name, shown in STRONG.items():
        base = _with(calm(), shown.also)
        without = replace(base, **{name: getattr(plain(base), name)})
        pair = (_picture(codes, config) for config in (without, _with(base, {name: shown.on})))
        off, on = (picture[close_view(codes, shown.close)] for picture in pair)
        pairs.append((name, off, on))
    return pairs


def interpolation_strip(maps: torch.Tensor, output_dir: Path) -> Path:
    """The same anatomy from T1 to T2: only the contrast changes."""
    alphas = np.linspace(0, 1, STEPS)
    generator = SpineSynthGenerator(labels="dense", config=calm())
    ends = {0.0: " (T1)", 1.0: " (T2)"}
    tiles = []
    for index, codes in enumerate(maps):
        for alpha in map(float, alphas):
            image = generator.generate_synthetic_mri(codes, alpha, index=index)
            tiles.append(tile([image.numpy()], f"alpha = {alpha:g}{ends.get(alpha, '')}", f"map {index + 1}"))
    title = "From T1 to T2 on a still label map"
    return write_sheet(tiles, output_dir / "contrast.png", title, columns=STEPS)


def tile(pictures: Sequence[np.ndarray], name: str, note: str = "") -> Tile:
    """Images in [0, 1], ``(H, W)``, or pictures in colour, uint8 ``(H, W, 3)``, as one picture of a sheet."""
    scaled = []
    for picture in pictures:
        colours = picture if picture.dtype == np.uint8 else grey_picture(picture)
        width = round(colours.shape[1] * PICTURE_ROWS / colours.shape[0])
        resized = Image.fromarray(colours).resize((width, PICTURE_ROWS), Image.Resampling.LANCZOS)
        coarse = (np.asarray(resized).astype(np.uint16) + GREY_STEP // 2) // GREY_STEP * GREY_STEP
        scaled.append(coarse.astype(np.uint8))
    return Tile(picture=side_by_side(scaled), name=name, note=note)


def close_view(codes: torch.Tensor, middle: int | None) -> tuple[slice, slice]:
    """Rows and columns of a close view of the code ``middle`` in a map ``(1, H, W)``; all for None."""
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


def _with(config: GeneratorConfig, features: dict[str, dict[str, Any]]) -> GeneratorConfig:
    """The configuration with other features: their settings, and defaults for the others."""
    made = {
        name: replace(CALM_CONTRAST, **settings)
        if name == "contrast"
        else type(getattr(config, name))(**settings)
        for name, settings in features.items()
    }
    return replace(config, **made)
