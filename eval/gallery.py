"""Gallery of the generator: a contact sheet per preset, every feature off and on, the way from T1 to T2."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image

from synthspine.gen import GeneratorConfig, SpineSynthGenerator, draw, render
from synthspine.gen.config import config_from_text, plain
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, disc_code
from synthspine.gen.core.drawing import Feature
from synthspine.gen.core.feature import Range
from synthspine.gen.intensity.contrast import measured_contrast
from synthspine.gen.phantom.series import PhantomMask, phantom_mask
from synthspine.gen.presets import PRESETS
from synthspine.shards.checking.contact_sheet import Tile, side_by_side, write_sheet
from synthspine.shards.checking.overlay import grey_picture
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.readers.phantom import FIRST_PATIENT, PHANTOM_SEED
from synthspine.shards.readers.slices import Grid, label_slices
from synthspine.shards.readers.spider import Volume

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
STRUCTURES = {"middle_disc": disc_code(3), "lowest_disc": disc_code(1), "canal": CANAL}
"""Structures at the centre of close views."""
CALM_CONTRAST = replace(measured_contrast(1.0), spread=0.3, instance_jitter=(0.0, 0.02))


@cache
def calm() -> GeneratorConfig:
    """The picture of ``gallery.yaml``: still, T2-weighted, the body around the spine and nothing else."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    return config_from_text(text, replace(plain(GeneratorConfig()), contrast=CALM_CONTRAST))


def shown_off(feature: Feature[Any]) -> Feature[Any]:
    """A feature that is always on, with the settings of its showcase, or else the upper end of each range."""
    settings = dict(feature.shown.settings)
    for entry in fields(feature):
        value = getattr(feature, entry.name)
        if entry.name == "probability":
            settings.setdefault(entry.name, 1.0)
        elif not feature.shown.settings and entry.type == Range:
            settings[entry.name] = (value[1], value[1])
    return replace(feature, **settings)


def phantom_maps(count: int) -> torch.Tensor:
    """Mid-sagittal label maps of ``count`` phantom patients, dense codes, uint8 ``(count, H, W)``."""
    patients = range(FIRST_PATIENT, FIRST_PATIENT + count)
    masks = [phantom_mask(PHANTOM_SEED, patient, "t1") for patient in patients]
    return torch.from_numpy(np.concatenate([_middle(mask) for mask in masks]))


def _middle(mask: PhantomMask) -> np.ndarray:
    volume = Volume(dense_codes(mask.mask), mask.spacing_mm, reference=sitk.Image())
    return label_slices(volume, Grid(), [len(mask.mask) // 2])


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
    defaults = replace(GeneratorConfig(), contrast=CALM_CONTRAST)
    for entry in fields(defaults):
        name, feature = entry.name, getattr(defaults, entry.name)
        if not isinstance(feature, Feature):
            continue
        also = feature.shown.also
        others = {other: replace(getattr(defaults, other), **also[other]) for other in also}
        base = replace(calm(), **others)
        without = replace(base, **{name: getattr(plain(base), name)})
        shown: dict[str, Any] = {name: shown_off(feature)}
        label_map = codes.masked_fill((codes == CANAL) & feature.shown.without_canal, BACKGROUND)
        view = close_view(label_map, STRUCTURES.get(feature.shown.close))
        off, on = (_picture(label_map, config)[view] for config in (without, replace(base, **shown)))
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


def tile(pictures: Sequence[np.ndarray], name: str, note: str = "", *, height: int = PICTURE_ROWS) -> Tile:
    """Images in [0, 1], ``(H, W)``, or pictures in colour, uint8 ``(H, W, 3)``, as one picture of a sheet."""
    scaled = []
    for picture in pictures:
        colours = picture if picture.dtype == np.uint8 else grey_picture(picture)
        width = round(colours.shape[1] * height / colours.shape[0])
        resized = Image.fromarray(colours).resize((width, height), Image.Resampling.LANCZOS)
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
