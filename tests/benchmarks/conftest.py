import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reality_slices import Places, Slices
from benchmarks.reality_study import Study
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import write_mha

SPACING_MM = (4.0, 4.0, 4.0)
SHAPE = (3, 32, 32)
GRID = Grid(spacing_mm=4.0, shape=(32, 32))
SPLIT = '{"train": ["1", "2", "3"], "validation": ["4", "5"], "test": ["6"]}'
BORROWED = "4_t2"


def block_spine() -> np.ndarray:
    """Three block vertebrae with discs and a canal, SPIDER values."""
    mask = np.zeros(SHAPE, dtype=np.int16)
    for number in (1, 2, 3):
        bottom = SHAPE[1] - 2 - 9 * (number - 1)
        mask[:, bottom - 8 : bottom - 2, 8:18] = number
        mask[:, bottom - 2 : bottom, 8:18] = 200 + number
    mask[:, 2:-2, 20:24] = 100
    return mask


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients in T1 and T2: pairs, the masks that were annotated (one fewer), and a split."""
    folder = tmp_path_factory.mktemp("reality")
    mask = block_spine()
    for patient in range(1, 7):
        for contrast in ("t1", "t2"):
            name = f"{patient}_{contrast}.mha"
            random = np.random.default_rng(patient)
            image = (40 * (mask % 97) ** 0.5 + random.integers(1, 50, SHAPE)).astype(np.int16)
            write_mha(mask, SPACING_MM, "LPS", folder / "pairs" / "masks" / name)
            write_mha(image, SPACING_MM, "LPS", folder / "pairs" / "images" / name)
            if f"{patient}_{contrast}" != BORROWED:
                write_mha(mask, SPACING_MM, "LPS", folder / "labels" / "masks" / name)
    (folder / "split.json").write_text(SPLIT)
    return folder


@pytest.fixture(scope="session")
def sets(folder: Path) -> Path:
    """A work folder with the sets of slices, to be copied."""
    places = Places(
        data_dir=folder / "pairs",
        labels_dir=folder / "labels",
        split=folder / "split.json",
        work_dir=folder / "work",
        grid=GRID,
    )
    Slices(places)
    return folder / "work"


@pytest.fixture
def study(tmp_path: Path, folder: Path, sets: Path) -> Callable[..., Study]:
    """A study of a few steps on small slices."""
    shutil.copytree(sets, tmp_path / "work")

    def make(**changes: object) -> Study:
        places = Places(
            data_dir=folder / "pairs",
            labels_dir=folder / "labels",
            split=folder / "split.json",
            work_dir=tmp_path / "work",
            phantom_dir=tmp_path / "phantom",
            grid=GRID,
        )
        own = {"steps": 2, "batch_size": 2, "folds": 2, "csv": tmp_path / "found.csv", "device": "cpu"}
        return Study(**(own | changes), places=places)

    return make
