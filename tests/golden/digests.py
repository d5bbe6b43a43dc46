"""Golden digests: the SHA-256 of what the generator, the phantom and the shards make from fixed seeds.

    python tests/golden/digests.py                       # print the digests of this code
    python tests/golden/digests.py --only 2d sets        # of some groups alone
    python tests/golden/digests.py --write               # write digests.txt anew
    python tests/golden/digests.py --save before.npz     # save the arrays behind the digests
    python tests/golden/digests.py --compare before.npz  # largest differences from saved arrays

A change of ``digests.txt`` means that users get other samples from the same seed. The file is written anew
only in the commit that changes the samples, and the message of that commit says why they change. Where the
arithmetic alone changes, ``--save`` before and ``--compare`` after show by how much: 1e-5 at most in images.

Last bits depend on the versions of the libraries and on the processor, so the file records both, and
``test_golden.py`` compares only where they are the same. All arithmetic runs on one thread of the CPU.
"""

import argparse
import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthspine.gen.config import GeneratorConfig
from synthspine.gen.generator import draw, render
from synthspine.gen.presets import PRESETS, preset
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.manifest import load_manifest, manifest_json
from synthspine.shards.readers.phantom import FIRST_PATIENT, write_phantom
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import read_image, read_mask
from synthspine.shards.reading.open import open_set

FILE = Path(__file__).parent / "digests.txt"
COMMAND = "python tests/golden/digests.py --write"
LIBRARIES = ("torch", "numpy", "scipy", "SimpleITK", "kornia")
SETS = ("labels", "synthetic", "real_t1_train")
SEED = 42
LABEL_MAP_PATIENTS = 3

Product = np.ndarray | bytes
"""An array, which can be compared by value, or text and files, which are equal or not."""


class Phantom:
    """The phantom's files that the digests are made from; each part is written at first use.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def scans(self) -> Path:
        """One patient in T1 and T2, in SPIDER layout."""
        write_phantom(self.folder / "scans", patients=1, processes=1)
        return self.folder / "scans"

    @cached_property
    def label_maps(self) -> list[np.ndarray]:
        """Dense codes of the label maps of some patients, uint8, each ``(Z, H, W)``."""
        folder = self.folder / "label_maps"
        write_phantom(folder, patients=LABEL_MAP_PATIENTS, processes=1, images=False)
        return [read_mask(file).array for file in sorted(folder.rglob("*.mha"))]

    def bank(self, dims: int) -> torch.Tensor:
        """Small label maps: uint8 ``(9, 96, 80)`` at about 2.4 mm, or ``(3, 8, 64, 48)`` at about 4 mm."""
        if dims == 3:
            maps = [_centre(codes[:, ::5, ::5], (8, 64, 48)) for codes in self.label_maps]
        else:
            small = [_centre(codes[:, ::3, ::3], (7, 96, 80)) for codes in self.label_maps]
            maps = [plane for codes in small for plane in codes[::3]]
        return torch.from_numpy(np.stack(maps))


def _centre(codes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A box of that shape around the middle of the annotated structures."""
    box = []
    for places, size, length in zip(np.nonzero(codes), shape, codes.shape, strict=True):
        start = (int(places.min()) + int(places.max()) + 1 - size) // 2
        start = min(max(start, 0), length - size)
        box.append(slice(start, start + size))
    return codes[tuple(box)]


def _half(config: Any) -> Any:
    """The configuration with every probability at one half: each feature is drawn, and left out."""
    changes: dict[str, Any] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            changes[entry.name] = _half(value)
        elif entry.name.endswith("probability"):
            changes[entry.name] = 0.5
    return replace(config, **changes)


def _configurations() -> dict[str, GeneratorConfig]:
    """Every preset, and ``spine`` with its rare features drawn often."""
    return {name: preset(name) for name in PRESETS} | {"every_feature": _half(preset("spine"))}


def _rendered(phantom: Phantom, dims: int, samples: int) -> Iterator[tuple[str, Product]]:
    bank = phantom.bank(dims)
    for name, config in _configurations().items():
        config = replace(config, spacing_mm=2.4 if dims == 2 else 4.0, slice_spacing_mm=4.0)
        params = draw(config, SEED, torch.arange(samples), maps=len(bank), dims=dims)
        images, codes = render(bank, params)
        yield f"{name}/images", images.numpy()
        yield f"{name}/codes", codes.numpy()
        yield f"{name}/params", json.dumps(params.to_records(), sort_keys=True).encode()


def _phantom(phantom: Phantom) -> Iterator[tuple[str, Product]]:
    for contrast in ("t1", "t2"):
        name = f"{FIRST_PATIENT}_{contrast}.mha"
        yield f"{contrast}/image", read_image(phantom.scans / "images" / "images" / name).array
        yield f"{contrast}/mask", read_mask(phantom.scans / "masks" / "masks" / name).array
    for number, codes in enumerate(phantom.label_maps):
        yield f"label_map_{number}", codes


def _sets(phantom: Phantom) -> Iterator[tuple[str, Product]]:
    split = phantom.folder / "split.json"
    split.write_text(json.dumps({"train": [str(FIRST_PATIENT)]}))
    options = ShardOptions(
        data_dir=phantom.scans,
        shards_dir=str(phantom.folder / "shards"),
        split=split,
        grid=Grid(spacing_mm=2.5, shape=(112, 96)),
        samples_per_shard=8,
        synthetic_samples=20,
        device="cpu",
    )
    places = ensure_sets(SETS, options)
    for name in SETS:
        manifest = load_manifest(places[name])
        arrays = open_set(places[name]).read()
        if arrays.images is not None:
            yield f"{name}/images", arrays.images
        yield f"{name}/codes", arrays.labels
        yield f"{name}/tars", b"".join(places[name].read(entry.name) for entry in manifest.shards)
        lasting = manifest_json(manifest)
        del lasting["made_with"]
        yield f"{name}/manifest", json.dumps(lasting, sort_keys=True).encode()


GROUPS: dict[str, Callable[[Phantom], Iterator[tuple[str, Product]]]] = {
    "2d": lambda phantom: _rendered(phantom, dims=2, samples=32),
    "3d": lambda phantom: _rendered(phantom, dims=3, samples=4),
    "phantom": _phantom,
    "sets": _sets,
}


def products(groups: Iterable[str], phantom: Phantom) -> dict[str, Product]:
    """Everything that some of ``GROUPS`` digest, by name: ``group/what/kind``."""
    with one_thread():
        return {f"{group}/{name}": value for group in groups for name, value in GROUPS[group](phantom)}


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: with more, sums come out in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def digest(product: Product) -> str:
    """SHA-256 of bytes, or of an array with its type and shape."""
    if isinstance(product, bytes):
        return hashlib.sha256(product).hexdigest()
    whole = hashlib.sha256(f"{product.dtype.str} {product.shape}".encode())
    whole.update(product.tobytes())
    return whole.hexdigest()


def this_platform() -> dict[str, str]:
    """What last bits depend on: versions of the libraries, machine, and instructions of the processor."""
    versions = {library: metadata.version(library) for library in LIBRARIES}
    # The version that torch itself gives also names its build.
    return versions | {
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
    }


def write_digests(file: Path, digests: dict[str, str]) -> None:
    """Write digests with this platform and the command."""
    lines = [f"# command: {COMMAND}", *(f"# {name}: {value}" for name, value in this_platform().items())]
    lines += [f"{name} {value}" for name, value in digests.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_digests(file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Platform and digests of a file of :func:`write_digests`."""
    lines = file.read_text(encoding="utf-8").splitlines()
    header = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    del header["command"]
    return header, dict(line.split(" ", 1) for line in lines if not line.startswith("#"))


def differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Names of the entries that differ, or that only one has."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def difference(before: np.ndarray, after: np.ndarray) -> str:
    """Largest absolute difference of two arrays and how many values differ, in words."""
    if before.shape != after.shape or before.dtype != after.dtype:
        return f"{before.dtype} {before.shape} became {after.dtype} {after.shape}"
    unequal = np.count_nonzero(before != after)
    if not unequal:
        return "equal"
    largest = np.abs(after.astype(np.float64) - before.astype(np.float64)).max()
    return f"largest difference {largest:.3g}; {unequal} of {before.size} values differ"


def compare(file: Path, arrays: dict[str, np.ndarray], groups: Iterable[str]) -> Iterator[str]:
    """One line about every array of some groups: how it differs from that of a file of ``--save``."""
    with np.load(file) as saved:
        before = [name for name in saved.files if name.split("/")[0] in groups]
        for name in dict.fromkeys([*before, *arrays]):
            if name not in arrays or name not in before:
                yield f"{name}: only {'after' if name in arrays else 'before'}"
            else:
                yield f"{name}: {difference(saved[name], arrays[name])}"


def main() -> None:
    """Make the requested groups and print, write, save or compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="groups to make")
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name} anew; needs all groups")
    parser.add_argument("--save", type=Path, metavar="FILE.npz", help="save the arrays behind the digests")
    parser.add_argument("--compare", type=Path, metavar="FILE.npz", help="compare with saved arrays")
    choices = parser.parse_args()
    if choices.write and len(choices.only) < len(GROUPS):
        parser.error("--write needs all groups; leave out --only")
    with tempfile.TemporaryDirectory() as folder:
        made = products(choices.only, Phantom(Path(folder)))
    digests = {name: digest(product) for name, product in made.items()}
    arrays = {name: product for name, product in made.items() if isinstance(product, np.ndarray)}
    if choices.save:
        np.savez_compressed(choices.save, allow_pickle=False, **arrays)
    if choices.compare:
        print("\n".join(compare(choices.compare, arrays, choices.only)))
    if choices.write:
        write_digests(FILE, digests)
    if not (choices.save or choices.compare or choices.write):
        print("\n".join(f"{name} {value}" for name, value in digests.items()))


if __name__ == "__main__":
    main()
