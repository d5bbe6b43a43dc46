"""Reading and writing shards, next to the bare disk, the bare hash and plain WebDataset.

    python benchmarks/shards.py [--samples 1024] [--repeats 5] [--device auto|cpu|cuda] [--output-dir DIR]

Writes shards_DEVICE.md. The files lie in a temporary folder and in the page cache, so that software is
measured and not the disk.
"""

import contextlib
import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

# Packages are imported from the repository, not from this folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro
import webdataset

from benchmarks.label_maps import PER_SHARD, write_label_maps, write_samples
from benchmarks.page import RESULTS, markdown_table, page, save
from benchmarks.timing import Task, Times, time_in_turns
from synthspine.gen.core.device import pick_device
from synthspine.shards import ShardOptions, ShardStream, open_place, open_set
from synthspine.shards.building.build import build_set
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.building.workers import ALONE
from synthspine.shards.command import run_command
from synthspine.shards.format.order import Order
from synthspine.shards.format.sample import Sample, sample_key

BATCH = 16
MOST_RENDERED = 256
"""Samples of the sets that are rendered while they are written, at most."""
SHUFFLED_BATCH, BUFFER = 64, 1000
"""Batch size and WebDataset's buffer where orders are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure reading and writing."""

    samples: int = 1024
    """Samples of 320 x 256 in the set that is read and written."""
    repeats: int = 5
    """Rounds; in each, every task runs once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where samples are rendered."""
    output_dir: Path = RESULTS
    """Folder of the result file."""


def task(name: str, work: Callable[[Path], object]) -> Task:
    """A task that writes into a new folder, which is deleted at the end; earlier writes are flushed first."""

    @contextlib.contextmanager
    def prepare() -> Iterator[Callable[[], object]]:
        with tempfile.TemporaryDirectory() as folder:
            os.sync()
            yield partial(work, Path(folder))

    return Task(name=name, prepare=prepare)


def reading(folder: Path) -> list[Task]:
    """Ways of reading a set."""
    opened = open_set(folder)
    files = [folder / entry.name for entry in opened.manifest.shards]

    def hashed() -> None:
        for file in files:
            hashlib.sha256(file.read_bytes()).hexdigest()

    def decoded(samples: Callable[[], Iterable[Sample]], *, records: bool = False) -> None:
        for sample in samples():
            _touch(sample.image, sample.label)
            if records:
                _ = sample.record["source"]

    def batched() -> None:
        for images, codes, *_rest in islice(ShardStream(opened, BATCH), len(opened) // BATCH):
            _touch(images.numpy(), codes.numpy())

    def plain() -> None:
        for sample in webdataset.WebDataset([str(file) for file in files], shardshuffle=False).decode():
            _touch(sample["image.npy"], sample["label.npy"])

    return [
        Task.of("read and SHA-256 of the files, nothing else", hashed),
        Task.of("ours, stored order", partial(decoded, opened.samples)),
        Task.of("ours, shuffled", partial(decoded, partial(opened.epoch, 0, 0))),
        Task.of(f"ours, shuffled, batches of {BATCH} (copied)", batched),
        Task.of("ours, stored order, records parsed", partial(decoded, opened.samples, records=True)),
        Task.of("plain WebDataset(...).decode(), nothing verified", plain),
    ]


def writing(samples: list[Sample], content: list[bytes]) -> list[Task]:
    """Ways of writing samples in memory; ``content`` holds the bytes of the resulting shards."""

    def raw(folder: Path) -> None:
        for number, shard in enumerate(content):
            with (folder / f"{number}").open("wb") as file:
                file.write(shard)
                file.flush()
                os.fsync(file.fileno())

    def ours(folder: Path) -> None:
        write_samples(folder / "copied", samples)

    def plain(folder: Path) -> None:
        with webdataset.ShardWriter(str(folder / "%06d.tar"), maxcount=PER_SHARD, verbose=0) as writer:
            for sample in samples:
                files = {"image.npy": sample.image, "label.npy": sample.label, "json": sample.record}
                writer.write({"__key__": sample.key, **files})

    return [
        task("the same bytes, written and flushed, nothing else", raw),
        task("ours: packed, hashed, flushed, renamed, recorded, manifest", ours),
        task("plain webdataset.ShardWriter, nothing flushed", plain),
    ]


def rendering(source: SyntheticSamples) -> list[Task]:
    """The renderer alone, and with its samples written."""

    def alone(_: Path) -> None:
        for start in range(0, len(source), PER_SHARD):
            list(source.begin(start, min(start + PER_SHARD, len(source)))())

    def written(folder: Path) -> None:
        identity = {"version": 2, "set": "synthetic", "samples_per_shard": PER_SHARD}
        place = open_place(folder / "synthetic")
        build_set(place, source, identity, phantom=True, samples_per_shard=PER_SHARD, workers=ALONE)

    return [task("rendered, with records, not written", alone), task("rendered and written", written)]


def section(title: str, found: list[Times], samples: int, size: int) -> list[str]:
    """Heading, size and table of tasks with so many samples in ``size`` bytes; the first row is the unit."""
    head = ["work", "samples/s", "MB/s", "speed against the first", "CPU seconds against the first"]
    rows = [
        [
            times.name,
            f"{samples / times.median_s:,.0f}",
            f"{size / times.median_s / 1e6:,.0f}",
            f"{found[0].median_s / times.median_s:.2f}",
            f"{times.median_cpu_s / found[0].median_cpu_s:.2f}",
        ]
        for times in found
    ]
    return [f"## {title}", f"{samples:,} samples, {size / 1e6:.0f} MB.", markdown_table(head, rows)]


def shuffle_quality(shards: int, per_shard: int) -> str:
    """Table of how well orders mix the shards: ours, WebDataset's buffer, a full permutation."""
    random = np.random.default_rng(0)
    places = Order([per_shard] * shards, 0).epoch(0)
    orders = {
        "ours": places.shards * per_shard + places.rows,
        f"shards shuffled, then a buffer of {BUFFER:,}": _buffered(shards, per_shard, random),
        "full permutation": random.permutation(shards * per_shard),
    }
    rows = []
    for name, order in orders.items():
        shard = order // per_shard
        batches = shard[: len(shard) // SHUFFLED_BATCH * SHUFFLED_BATCH].reshape(-1, SHUFFLED_BATCH)
        distinct = [len(set(batch)) for batch in batches.tolist()]
        most = [int(np.bincount(batch).max()) for batch in batches]
        distinct_cells = f"{np.mean(distinct):.1f}", f"{min(distinct)}"
        most_cells = f"{np.mean(most):.1f}", f"{max(most)}"
        rows.append([name, *distinct_cells, *most_cells, f"{100 * np.mean(np.diff(shard) == 0):.2f} %"])
    head = ["order", "different shards in a batch, mean", "least", "most of one shard in a batch, mean"]
    return markdown_table([*head, "worst", "neighbours of the same shard"], rows)


def _buffered(shards: int, per_shard: int, random: np.random.Generator) -> np.ndarray:
    """Shards in random order whose samples go through a buffer; each new sample pushes a random one out."""
    buffer: list[int] = []
    order = []
    for number in (random.permutation(shards)[:, None] * per_shard + np.arange(per_shard)).ravel().tolist():
        buffer.append(number)
        if len(buffer) >= BUFFER:
            order.append(buffer.pop(int(random.integers(len(buffer)))))
    return np.array(order + [buffer[index] for index in random.permutation(len(buffer))])


def _touch(image: np.ndarray | None, label: np.ndarray) -> None:
    # A reader that decodes lazily must decode here.
    assert image is not None and image.flat[-1] >= 0 and label.flat[-1] >= 0


def _copies(samples: list[Sample], count: int) -> list[Sample]:
    """That many samples, each with content of its own."""
    copies = []
    for index in range(count):
        first = samples[index % len(samples)]
        assert first.image is not None
        image, label = np.roll(first.image, index, 0), np.roll(first.label, index, 0)
        copies.append(Sample(sample_key(index), image, label, first.record))
    return copies


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    # Progress bars of the sets would cover the page.
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(name)
        rendered = min(MOST_RENDERED, arguments.samples)
        options = replace(
            ShardOptions(device=arguments.device), synthetic_samples=rendered, render_batch=2 * BATCH
        )
        source = SyntheticSamples(write_label_maps(folder / "labels"), options)
        samples = _copies(list(source.begin(0, min(PER_SHARD, rendered))()), arguments.samples)
        place = write_samples(folder / "stored", samples)
        content = [place.read(entry.name) for entry in open_set(place).manifest.shards]
        size = sum(map(len, content))
        parts = [
            f"Samples of 320 x 256 with the records of preset spine, {PER_SHARD} in a shard, in the page "
            f"cache. Medians of {arguments.repeats} rounds, all tasks in turns, one process. MB/s counts "
            "bytes of shard files."
        ]
        for title, work, count in (
            ("Reading", reading(folder / "stored"), arguments.samples),
            ("Writing", writing(samples, content), arguments.samples),
            ("Rendering and writing", rendering(source), rendered),
        ):
            found = time_in_turns(work, arguments.repeats, device=device)
            parts += section(title, found, count, count * size // arguments.samples)
    parts += [
        "## Shuffling",
        f"1,000 shards of 64 samples, batches of {SHUFFLED_BATCH}. A window is as large as the buffer.",
        shuffle_quality(1000, 64),
    ]
    text = page("Shards: reading and writing", device, parts, ["webdataset"])
    save(text, arguments.output_dir / f"shards_{device.type}.md")


if __name__ == "__main__":
    sys.exit(run_command(_measure))
