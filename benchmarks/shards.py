"""Reading and writing shards, next to the bare disk, the bare hash and plain WebDataset, in one run.

    python benchmarks/shards.py [--samples 1024] [--repeats 5] [--device auto|cpu|cuda] [--output-dir DIR]

Writes shards_DEVICE.md. The files lie in a temporary folder and in the page cache: it measures software.
"""

import contextlib
import hashlib
import io
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import tyro
import webdataset

from benchmarks.shuffling import shuffle_quality
from synthspine.shards import ShardOptions, ShardSet, ShardStream, open_place, open_set
from synthspine.shards.building.build import build_set
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.building.workers import ALONE
from synthspine.shards.command import run_command
from synthspine.shards.format.sample import Sample

BATCH = 16
WRITTEN = 256
"""Samples of the sets that are rendered while they are written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure reading and writing."""

    samples: int = 1024
    """Samples of 320 x 256 in the set that is read and written."""
    repeats: int = 5
    """Rounds; in each, everything is done once, in turns."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where samples are rendered."""
    output_dir: Path = Path(__file__).parent / "results"
    """Where to write."""


@dataclass(slots=True)
class Row:
    """One way of doing the work.

    Attributes:
        name: what is done.
        run: does it once, in a new folder if it writes.
        wall_s: seconds of every round.
        cpu_s: seconds of all processors together of every round.
    """

    name: str
    run: Callable[[Path], object]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.wall_s)


class Ready:
    """Samples that lie in memory, as a source of a set."""

    left_out = ()

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def identity(self) -> dict[str, object]:
        """Enough for a manifest."""
        return {"version": 2, "set": "ready", "samples_per_shard": 64}

    def made_with(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def prepare(self, *_: object) -> None:
        """Nothing to do."""

    def __len__(self) -> int:
        return len(self._samples)

    def begin(self, start: int, stop: int) -> Callable[[], list[Sample]]:
        """They are there."""
        return lambda: self._samples[start:stop]


def in_turns(rows: list[Row], repeats: int) -> list[Row]:
    """Run all rows in turns, so that what slows the machine slows all of them; the first round warms up."""
    for number in range(repeats + 1):
        for row in rows:
            with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
                os.sync()
                wall, cpu = time.perf_counter(), time.process_time()
                row.run(Path(folder))
                if number:
                    row.wall_s.append(time.perf_counter() - wall)
                    row.cpu_s.append(time.process_time() - cpu)
    return rows


def reading(folder: Path) -> list[Row]:
    """Ways of reading a set."""
    opened = open_set(folder)
    files = [folder / entry.name for entry in opened.manifest.shards]
    batches = len(opened) // BATCH

    def hashed(_: Path) -> None:
        for file in files:
            hashlib.sha256(file.read_bytes()).hexdigest()

    def stored_order(_: Path) -> None:
        for sample in opened.samples():
            _touch(sample.image, sample.label)

    def with_records(_: Path) -> None:
        for sample in opened.samples():
            _touch(sample.image, sample.label)
            _ = sample.record["source"]

    def shuffled(_: Path) -> None:
        for sample in opened.epoch(0, 0):
            _touch(sample.image, sample.label)

    def batched(_: Path) -> None:
        for images, codes in islice(ShardStream(opened, BATCH), batches):
            _touch(images.numpy(), codes.numpy())

    def plain(_: Path) -> None:
        urls = [str(file) for file in files]
        for sample in webdataset.WebDataset(urls, shardshuffle=False).decode():
            _touch(sample["image.npy"], sample["label.npy"])

    return [
        Row("read and SHA-256 of the files, nothing else", hashed),
        Row("ours, stored order", stored_order),
        Row("ours, shuffled", shuffled),
        Row(f"ours, shuffled, batches of {BATCH} (copied)", batched),
        Row("ours, stored order, records parsed", with_records),
        Row("plain WebDataset(...).decode(), nothing verified", plain),
    ]


def writing(samples: list[Sample], content: list[bytes]) -> list[Row]:
    """Ways of writing samples that lie in memory; ``content`` is what arrives on the disk."""

    def raw(folder: Path) -> None:
        for number, shard in enumerate(content):
            with (folder / f"{number}").open("wb") as file:
                file.write(shard)
                file.flush()
                os.fsync(file.fileno())

    def ours(folder: Path) -> None:
        source = Ready(samples)
        identity = source.identity()
        build_set(
            open_place(folder / "ready"),
            source,
            identity,
            phantom=True,
            samples_per_shard=64,
            workers=ALONE,
        )

    def plain(folder: Path) -> None:
        with webdataset.ShardWriter(str(folder / "%06d.tar"), maxcount=64, verbose=0) as writer:
            for sample in samples:
                writer.write(
                    {
                        "__key__": sample.key,
                        "image.npy": sample.image,
                        "label.npy": sample.label,
                        "json": sample.record,
                    }
                )

    return [
        Row("the same bytes, written and flushed, nothing else", raw),
        Row("ours: packed, hashed, flushed, renamed, noted, manifest", ours),
        Row("plain webdataset.ShardWriter, nothing flushed", plain),
    ]


def rendering(source: SyntheticSamples) -> list[Row]:
    """The renderer alone, and with its samples written."""

    def alone(_: Path) -> None:
        for start in range(0, len(source), 64):
            list(source.begin(start, start + 64)())

    def written(folder: Path) -> None:
        build_set(
            open_place(folder / "synthetic"),
            source,
            {"version": 2, "set": "synthetic", "samples_per_shard": 64},
            phantom=True,
            samples_per_shard=64,
            workers=ALONE,
        )

    return [Row("rendered, with records, not written", alone), Row("rendered and written", written)]


def report(title: str, rows: list[Row], samples: int, size: int) -> list[str]:
    """A table of what was measured; the first row is what the others are compared with."""
    lines = [
        f"## {title}",
        "",
        f"{samples} samples, {size / 1e6:.0f} MB.",
        "",
        "| work | samples/s | MB/s | speed against the first | CPU seconds against the first |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        speed = rows[0].median_s / row.median_s
        cpu = statistics.median(row.cpu_s) / statistics.median(rows[0].cpu_s)
        rate, bytes_rate = samples / row.median_s, size / row.median_s / 1e6
        lines.append(f"| {row.name} | {rate:,.0f} | {bytes_rate:,.0f} | {speed:.2f} | {cpu:.2f} |")
    return [*lines, ""]


def _touch(image: np.ndarray, label: np.ndarray) -> None:
    # Lazy readers must not win by not reading.
    assert image.flat[-1] >= 0 and label.flat[-1] >= 0


def _maps(folder: Path) -> ShardSet:
    """Label maps of 320 x 256 for the renderer: blocks, which cost it as much as anatomy."""
    labels = np.zeros((320, 256), np.uint8)
    for rank in range(1, 7):
        labels[320 - 45 * rank : 320 - 45 * rank + 32, 100:140] = rank
        labels[320 - 45 * rank + 32 : 320 - 45 * rank + 41, 100:140] = 30 + rank
    labels[20:300, 150:165] = 60
    origin = {"source": "1_t1", "patient": "1", "slice": 0}
    maps = [Sample(f"{index:08d}", None, np.roll(labels, index, 0), origin) for index in range(4)]
    source = Ready(maps)
    place = open_place(folder / "labels")
    build_set(place, source, source.identity(), phantom=True, samples_per_shard=64, workers=ALONE)
    return open_set(place)


def _copies(samples: list[Sample], count: int) -> list[Sample]:
    """As many samples, each with content of its own."""
    return [
        Sample(f"{index:08d}", np.roll(first.image, index, 0), np.roll(first.label, index, 0), first.record)
        for index in range(count)
        for first in (samples[index % len(samples)],)
        if first.image is not None
    ]


def measure(arguments: Arguments) -> None:
    """Measure everything and write the report."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(name)
        labels = _maps(folder)
        options = replace(
            ShardOptions(device=arguments.device), synthetic_samples=WRITTEN, render_batch=2 * BATCH
        )
        source = SyntheticSamples(labels.place, options)
        rendered = list(source.begin(0, 64)())
        samples = _copies(rendered, arguments.samples)
        ready = Ready(samples)
        place = open_place(folder / "ready")
        build_set(place, ready, ready.identity(), phantom=True, samples_per_shard=64, workers=ALONE)
        entries = open_set(place).manifest.shards
        content = [place.read(entry.name) for entry in entries]
        size = sum(map(len, content))
        tables = [
            *report("Reading", in_turns(reading(folder / "ready"), arguments.repeats), len(samples), size),
            *report("Writing", in_turns(writing(samples, content), arguments.repeats), len(samples), size),
            *report(
                "Rendering and writing",
                in_turns(rendering(source), arguments.repeats),
                WRITTEN,
                WRITTEN * size // len(samples),
            ),
        ]
        device = source.made_with()["device"]
    lines = [
        "# Shards: reading and writing",
        "",
        f"{os.cpu_count()} CPU cores, device {device}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, webdataset {webdataset.__version__}.",
        "",
        "```sh",
        f"python benchmarks/shards.py {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"Samples of 320 x 256 with the records of preset spine, 64 in a shard, in the page cache. Medians "
        f"of {arguments.repeats} rounds, everything in turns, one process. MB/s are bytes of shard files.",
        "",
        *tables,
        "## Shuffling",
        "",
        *shuffle_quality(1000, 64),
        "",
    ]
    path = arguments.output_dir / f"shards_{'cpu' if device == 'cpu' else 'cuda'}.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    print(f"wrote {path}")


def main() -> int:
    """Parse the command line, measure; the exit status."""
    return run_command(lambda: measure(tyro.cli(Arguments, description=__doc__)))


if __name__ == "__main__":
    sys.exit(main())
