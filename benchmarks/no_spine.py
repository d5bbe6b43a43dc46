"""Scans that show no spine: in how many of them something is labelled.

    python benchmarks/no_spine.py VOLUMES [--checkpoint MODEL.pth] [--drawn 90] [--output FILE.md]

VOLUMES is the folder of ``benchmarks/whole_scans.py``. From its scans come slices beside the spine (two or
more beside the annotated ones), and what lies in front of the annotated objects or behind them, cut out.
Drawn scans are noise, smooth noise, checks, shapes with rims and bundles of lines.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

# Packages are imported from the repository, not from this folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import SimpleITK as sitk
import torch
import tyro
from scipy.ndimage import gaussian_filter

from benchmarks.page import markdown_table, page, save
from synthspine.eval.segmentation.segment import segment_volume
from synthspine.shards.command import run_command
from synthspine.shards.readers.spider import Volume, read_image, read_values
from synthspine.train.model.checkpoint import load_model
from synthspine.train.model.pretrained import PRETRAINED

SIZE, CUT_MM = 256, 60
DISTANCE_MM = 15
"""From the annotated objects to what lies in front of them."""
ARCHES_MM = 60
"""The same behind them, where they have arches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Segment scans without a spine."""

    volumes: Annotated[Path, tyro.conf.Positional]
    """Folder with images/ and masks/."""
    checkpoint: Path = PRETRAINED
    """A model that the trainer saved."""
    drawn: int = 90
    """Number of drawn scans."""
    seed: int = 0
    """Seed of the drawn scans."""
    output: Path | None = None
    """Markdown file to write; without it the table is only printed."""


def drawn_scan(seed: int, index: int) -> Volume:
    """A scan of three slices of nothing in particular, the same for the same seed and index."""
    rng = np.random.default_rng([seed, index])
    noise = rng.standard_normal((3, SIZE, SIZE))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    kind = index % 6
    if kind == 0:
        image = np.abs(noise)
    elif kind == 1:
        image = gaussian_filter(noise, (0, rng.uniform(2, 20), rng.uniform(2, 20)))
    elif kind == 2:
        edge = rng.integers(8, 60)
        image = 0.1 * noise + ((rows // edge + columns // edge) % 2)
    elif kind == 3:
        image = 0.05 * noise
        for _ in range(rng.integers(1, 9)):
            centre, radius = rng.uniform(40, SIZE - 40, 2), rng.uniform(15, 80, 2)
            away = np.hypot((rows - centre[0]) / radius[0], (columns - centre[1]) / radius[1])
            image = np.where(away < 1, rng.uniform(0, 1) + 0.05 * noise, image)
            image = np.where(np.abs(away - 1) < 0.06, rng.uniform(0, 1), image)
    elif kind == 4:
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
        image = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * 2 * np.pi / period) + 0.3 * noise
    else:
        image = sum(gaussian_filter(noise, (0, width, width)) * width for width in (1, 4, 16))
    image = (image - image.min()) / np.ptp(image) * 1000
    reference = sitk.GetImageFromArray(image.astype(np.float32))
    return Volume(array=image.astype(np.float32), spacing_mm=(4.0, 1.0, 1.0), reference=reference)


def parts(folder: Path) -> Iterator[tuple[str, Volume]]:
    """Kind and scan of all parts of real scans that show no spine."""
    for path in sorted((folder / "images").glob("*.mha")):
        volume, mask = read_image(path), read_values(folder / "masks" / path.name).array > 0
        annotated = np.flatnonzero(mask.any(axis=(1, 2)))
        if not len(annotated):
            continue
        left, right = slice(0, max(0, annotated[0] - 1)), slice(annotated[-1] + 2, None)
        for kind, where in (("left", left), ("right", right)):
            if len(volume.array[where]):
                yield f"slices beside the spine ({kind})", replace(volume, array=volume.array[where])
        columns = np.flatnonzero(mask.any(axis=(0, 1)))
        column_mm = volume.spacing_mm[2]
        front = columns[0] - round(DISTANCE_MM / column_mm)
        back = columns[-1] + round(ARCHES_MM / column_mm)
        for kind, where in (("in front of", slice(0, max(0, front))), ("behind", slice(back, None))):
            array = volume.array[:, :, where]
            if array.shape[2] * column_mm >= CUT_MM and np.ptp(array):
                yield f"{kind} the spine", replace(volume, array=array)


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    model = load_model(arguments.checkpoint)
    if not any((arguments.volumes / "images").glob("*.mha")):
        raise ValueError(f"{arguments.volumes / 'images'}: no .mha volume in it")
    scans = [("drawn", drawn_scan(arguments.seed, index)) for index in range(arguments.drawn)]
    scans += parts(arguments.volumes)
    total, labelled = Counter[str](), Counter[str]()
    for kind, scan in scans:
        answer = segment_volume(model, scan, scheme=model.scheme, spacing_mm=model.checkpoint.spacing_mm)
        total[kind] += 1
        labelled[kind] += bool(answer.codes.any())
    rows = [[kind, str(count), str(labelled[kind])] for kind, count in total.items()]
    table = markdown_table(["scans", "number", "labelled"], rows)
    save(page("Scans without a spine", torch.device("cpu"), [table]), arguments.output)


if __name__ == "__main__":
    sys.exit(run_command(_measure, less_memory="smaller volumes"))
