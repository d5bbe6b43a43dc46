"""Brightness of vertebrae, discs and canal in real images: the source of the means in gen/tissues/palette.py.

    python benchmarks/tissue_means.py data --split benchmarks/spider_mini_split.json --part train

Every series of the SPIDER folder counts once, with the slice that shows most of the canal. Its image is
scaled as for training. A structure is measured 2 mm inside its border, where there is no partial volume. The
darker and the brighter half of its pixels tell nerve tissue from fluid in the canal.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from scipy.ndimage import distance_transform_edt

from synthspine.gen.core.anatomy import CANAL, CODES, STRUCTURES, structure_of
from synthspine.shards.readers.folder import Series, find_series
from synthspine.shards.readers.slices import normalise
from synthspine.shards.readers.spider import read_image, read_mask

INSIDE_MM = 2.0
KINDS = ("mean", "darker half", "brighter half")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What is measured."""

    data: tyro.conf.Positional[Path]
    """Folder in SPIDER layout with images and masks."""
    split: Path | None = None
    """JSON file with the patients of every part; without it all patients count."""
    part: str = "train"
    """Part of the split."""


def measure(data: Path, patients: Collection[str] | None) -> dict[tuple[str, str], np.ndarray]:
    """Mean, and means of the darker and the brighter half, by contrast and structure, ``(series, 3)``.

    The data are a folder in SPIDER layout; None for the patients means all.
    """
    found = defaultdict(list)
    for series in find_series(data):
        if patients is None or series.patient in patients:
            for name, values in _brightness(series):
                found[series.contrast, name].append(values)
    return {key: np.array(values) for key, values in found.items()}


def _brightness(series: Series) -> Iterator[tuple[str, tuple[float, float, float]]]:
    if series.image is None or series.mask is None:
        return
    image, codes = normalise(read_image(series.image).array), read_mask(series.mask)
    middle = int((codes.array == CANAL).sum((1, 2)).argmax())
    for name in STRUCTURES:
        shown = np.isin(codes.array[middle], [code for code in range(CODES) if structure_of(code) == name])
        depth_mm = np.asarray(distance_transform_edt(shown, sampling=codes.spacing_mm[1:]))
        values = np.sort(image[middle][depth_mm > INSIDE_MM])
        half = len(values) // 2
        if half:
            yield name, (float(values.mean()), float(values[:half].mean()), float(values[half:].mean()))


def main() -> None:
    """Print means and their standard deviations between series."""
    options = tyro.cli(Options, description=__doc__)
    patients = None if options.split is None else json.loads(options.split.read_text())[options.part]
    for (contrast, name), values in sorted(measure(options.data, patients).items()):
        cells = zip(KINDS, values.mean(0), values.std(0), strict=True)
        text = ", ".join(f"{kind} {mean:.2f} +- {deviation:.2f}" for kind, mean, deviation in cells)
        print(f"{contrast} {name}, {len(values)} series: {text}")


if __name__ == "__main__":
    main()
