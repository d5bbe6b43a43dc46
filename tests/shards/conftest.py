import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import servers

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.storage import auth

SPACING_MM = (4.0, 2.0, 1.5)
SHAPE = (5, 60, 48)


@pytest.fixture(autouse=True)
def no_server_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server was opened and none has asked for the token."""
    monkeypatch.setattr(auth, "_first_origin", "")
    monkeypatch.setattr(auth, "_receivers", set())


@pytest.fixture
def spine_mask() -> Callable[..., np.ndarray]:
    """A block spine: vertebrae 1.. from the bottom, the disc below each, a canal; SPIDER values."""

    def make(vertebrae: int = 3, renumber: Callable[[int], int] = lambda number: number) -> np.ndarray:
        mask = np.zeros(SHAPE, dtype=np.int16)
        for number in range(1, vertebrae + 1):
            bottom = SHAPE[1] - 8 - 12 * (number - 1)
            mask[1:-1, bottom - 8 : bottom, 16:26] = renumber(number)
            mask[1:-1, bottom : bottom + 3, 16:26] = 200 + renumber(number)
        mask[2, 6:-4, 27:31] = 100
        return mask

    return make


@pytest.fixture
def spider_folder(tmp_path: Path, spine_mask: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes a small folder in SPIDER layout: T1 and T2 of some patients, both storage layouts."""

    def make(patients: int = 6, name: str = "spider", images: bool = True, nested: bool = True) -> Path:
        folder = tmp_path / name
        for patient in range(1, patients + 1):
            random = np.random.default_rng(patient)
            mask = spine_mask(3 + patient % 2)
            for contrast in ("t1", "t2"):
                image = (100 * (mask > 0) + random.integers(1, 50, SHAPE)).astype(np.int16)
                storage = "PIR" if patient % 2 else "LPS"
                for kind, array in (("images", image), ("masks", mask)):
                    place = folder / kind / kind if nested else folder / kind
                    if images or kind == "masks":
                        write_mha(array, SPACING_MM, storage, place / f"{patient}_{contrast}.mha")
        return folder

    return make


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., ShardOptions]:
    """Options for small sets on a small grid."""

    def make(data_dir: Path, **changes: object) -> ShardOptions:
        defaults = {
            "shards_dir": str(tmp_path / "shards"),
            "grid": Grid(spacing_mm=2.0, shape=(64, 48)),
            "samples_per_shard": 5,
            "synthetic_samples": 7,
            "device": "cpu",
        }
        return ShardOptions(data_dir=data_dir, **(defaults | changes))

    return make


@pytest.fixture
def spider_mini() -> Path:
    """Real series, where the environment names them."""
    path = os.environ.get("SPIDER_MINI")
    if not path or not Path(path).is_dir():
        pytest.skip("SPIDER_MINI does not name a folder with real series")
    return Path(path)


@pytest.fixture(scope="session")
def web_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nginx serves."""
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="session")
def web_url(web_folder: Path) -> Iterator[str]:
    """URL of a real nginx."""
    with servers.nginx(web_folder) as url:
        yield url


@pytest.fixture(scope="session")
def bucket_url() -> Iterator[str]:
    """URL of an empty bucket on a real S3 server."""
    with servers.s3() as url:
        yield url


@pytest.fixture
def nnunet_folder(tmp_path: Path, spine_mask: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes a small nnU-Net raw dataset with named vertebrae, discs, canal and sacrum."""

    def make(channels: tuple[str, ...] = ("T1", "T2"), cases: int = 6, **changes: object) -> Path:
        folder = tmp_path / "Dataset007_Spine"
        names = {0: "background", 1: "L5", 2: "vertebra_L4", 3: "L3", 4: "L2", 5: "disc_L5_S1", 6: "L4/L5"}
        names |= {7: "L3-L4", 8: "disc L2/L3", 9: "spinal canal", 10: "sacrum"}
        values = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 201: 5, 202: 6, 203: 7, 204: 8, 100: 9}
        for case in range(1, cases + 1):
            random = np.random.default_rng(case)
            spine = spine_mask(3 + case % 2)
            mask = np.zeros_like(spine)
            for value, own in values.items():
                mask[spine == value] = own
            mask[1:-1, -5:, 16:26] = 10
            write_mha(mask, SPACING_MM, "LPS", folder / f"labelsTr/spine_{case:03d}.nii.gz")
            for number in range(len(channels)):
                image = (100 * (mask > 0) + random.integers(1, 50, SHAPE)).astype(np.int16)
                path = folder / f"imagesTr/spine_{case:03d}_{number:04d}.nii.gz"
                write_mha(image, SPACING_MM, "PIR", path)
        content = {
            "channel_names": {str(number): name for number, name in enumerate(channels)},
            "labels": {name: value for value, name in names.items()},
            "numTraining": cases,
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(content | changes))
        return folder

    return make
