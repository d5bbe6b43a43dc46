import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from synthspine.gen import label_scheme
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import write_mha
from synthspine.train.config import Plan, TrainOptions
from synthspine.train.model.unet import LEVELS, UNet
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.step import Stepper

ROOT = Path(__file__).parents[2]
SPACING_MM = (4.0, 4.0, 4.0)
SHAPE = (3, 32, 32)


def spine_mask() -> np.ndarray:
    """Three block vertebrae with discs and a canal, SPIDER values."""
    mask = np.zeros(SHAPE, dtype=np.int16)
    for number in (1, 2, 3):
        bottom = SHAPE[1] - 2 - 9 * (number - 1)
        mask[:, bottom - 8 : bottom - 2, 8:18] = number
        mask[:, bottom - 2 : bottom, 8:18] = 200 + number
    mask[:, 2:-2, 20:24] = 100
    return mask


def write_folder(folder: Path, *, patients: int = 4, images: bool = True) -> Path:
    """A folder in SPIDER layout with block spines."""
    mask = spine_mask()
    for patient in range(1, patients + 1):
        random = np.random.default_rng(patient)
        image = (40 * (mask % 97) ** 0.5 + random.integers(1, 50, SHAPE)).astype(np.int16)
        write_mha(mask, SPACING_MM, "LPS", folder / "masks" / f"{patient}_t1.mha")
        if images:
            write_mha(image, SPACING_MM, "LPS", folder / "images" / f"{patient}_t1.mha")
    return folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients with T1 images."""
    return write_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def masks_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients without images."""
    return write_folder(tmp_path_factory.mktemp("masks"), images=False)


@pytest.fixture
def options(tmp_path: Path, data_dir: Path) -> Callable[..., TrainOptions]:
    """Options of a training of some seconds on small slices."""

    def make(**changes: object) -> TrainOptions:
        shards = {
            "data_dir": data_dir,
            "shards_dir": str(tmp_path / "shards"),
            "grid": Grid(spacing_mm=4.0, shape=(32, 32)),
            "device": "cpu",
            "synthetic_samples": 6,
        }
        names = {option.name for option in fields(ShardOptions)}
        shared = {name: changes.pop(name) for name in names & changes.keys()}
        own = {
            "save_dir": tmp_path / "saved",
            "epochs": 2,
            "num_classes": 4,
            "base_features": 4,
            "batch_size": 2,
            "validation_samples": 4,
            "precision": "fp32",
            "tensorboard": False,
        }
        return TrainOptions(**(own | changes), shards=ShardOptions(**(shards | shared)))

    return make


@pytest.fixture
def alone() -> Ranks:
    """A run of one process on the CPU."""
    return Ranks(rank=0, world_size=1, device=torch.device("cpu"))


@pytest.fixture
def make_stepper(tmp_path: Path, alone: Ranks) -> Callable[..., Stepper]:
    """Steppers of a small network for batches of 3, with other choices of the plan on request."""
    torch.manual_seed(0)

    def make(*, num_classes: int = 4, levels: int = LEVELS, **changes: object) -> Stepper:
        choices = {
            "title": "test",
            "steps": 10,
            "steps_per_epoch": 10,
            "batch_size": 3,
            "highest_rate": 1e-2,
            "weight_decay": 0.1,
            "ema_decay": 0.9,
            "bf16": False,
            "run_identity": {},
            "stem": tmp_path / "run",
        }
        network = UNet(num_classes=num_classes, base_features=4, levels=levels)
        return Stepper(network, label_scheme(num_classes), Plan(**(choices | changes)), alone)

    return make


@pytest.fixture
def small_files():
    """A disk that takes no file longer than so many bytes: writing more fails as on a full disk."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture
def python() -> Callable[..., subprocess.Popen[str]]:
    """Starts Python, or torchrun with ``ranks`` processes, in the repository; one thread a process."""

    def start(*arguments: object, ranks: int | None = None, restarts: int = 0) -> subprocess.Popen[str]:
        runner = [sys.executable]
        if ranks is not None:
            runner += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
            runner += [f"--max-restarts={restarts}"]
        return subprocess.Popen(
            [*runner, *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def flags(tmp_path: Path, data_dir: Path) -> list[str]:
    """The options of :func:`options` as flags of ``train/main.py``."""
    values = {
        "data-dir": data_dir,
        "shards-dir": tmp_path / "shards",
        "save-dir": tmp_path / "saved",
        "device": "cpu",
        "epochs": 2,
        "num-classes": 4,
        "base-features": 4,
        "batch-size": 2,
        "validation-samples": 4,
        "precision": "fp32",
    }
    pairs = [(f"--{name}", str(value)) for name, value in values.items()]
    grid = ["--spacing-mm", "4", "--shape", "32", "32", "--no-tensorboard"]
    return [text for pair in pairs for text in pair] + grid
