"""The service under load, on this machine alone: throughput, latency, a kill under load, memory.

    python benchmarks/service.py [--shards 20] [--seconds 30] [--device auto|cpu|cuda] [--output-dir DIR]

Writes service_DEVICE.md. Clients and service share the machine, so what clients do is paid for as well.
"""

import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import tyro
import webdataset

from benchmarks.service_process import Client, Service
from shards import ShardOptions, open_place, open_set
from shards.build import build_set
from shards.command import run_command
from shards.sample import Sample
from shards.synthetic_samples import SyntheticSamples
from shards.workers import ALONE

CLIENTS = 32
PER_SHARD = 64
SMALL = 16
"""Samples of a shard where the service is killed."""
TARGET = 0.85
"""Throughput of the service over that of rendering alone, at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure the service."""

    shards: int = 20
    """Shards of 64 samples of 320 x 256 that are rendered, once for every measurement."""
    seconds: float = 30.0
    """How long 32 clients ask for shards that are in the spool, and for how long memory is watched."""
    rounds: int = 3
    """Rounds of rendering alone and through the service, in turns."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where samples are rendered."""
    output_dir: Path = Path(__file__).parent / "results"
    """Where to write."""


class Blocks:
    """Label maps of 320 x 256: blocks, which cost the renderer as much as anatomy."""

    left_out = ()

    def identity(self) -> dict[str, object]:
        """Enough for a manifest."""
        grid = {"spacing_mm": 1.0, "shape": [320, 256]}
        return {"version": 2, "set": "labels", "samples_per_shard": PER_SHARD, "grid": grid}

    def made_with(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def prepare(self, *_: object) -> None:
        """Nothing to do."""

    def __len__(self) -> int:
        return 4

    def begin(self, start: int, stop: int) -> Callable[[], list[Sample]]:
        """They are there."""
        labels = np.zeros((320, 256), np.uint8)
        for rank in range(1, 7):
            labels[320 - 45 * rank : 320 - 45 * rank + 32, 100:140] = rank
            labels[320 - 45 * rank + 32 : 320 - 45 * rank + 41, 100:140] = 30 + rank
        labels[20:300, 150:165] = 60
        origin = {"source": "1_t1", "patient": "1", "slice": 0}
        return lambda: [Sample(f"{n:08d}", None, np.roll(labels, n, 0), origin) for n in range(start, stop)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        alone_s: seconds to render the samples, nothing else, of every round.
        served_s: seconds until clients had read them through the service, of every round.
        latencies_s: of requests for shards in the spool, by number of clients.
        rates: bytes a second of those.
        kill: what the reader saw of a kill under load.
        memory: resident bytes of the service, time after time under load.
        plain: samples that a plain WebDataset reader read.
    """

    alone_s: list[float]
    served_s: list[float]
    latencies_s: dict[int, list[float]]
    rates: dict[int, float]
    kill: dict[str, float]
    memory: list[int]
    plain: int


def rendering_alone(samples: SyntheticSamples, shards: int) -> float:
    """Seconds to render so many shards' samples, with their records; not packed, not written."""
    start = time.perf_counter()
    for number in range(shards):
        list(samples.begin(number * PER_SHARD, (number + 1) * PER_SHARD)())
    return time.perf_counter() - start


def through_the_service(options: ShardOptions, folder: Path, shards: int, clients: int) -> float:
    """Seconds until clients have every shard, each asked for once, with nothing in the spool."""
    with Service(options, folder) as service:
        names = [f"shard-{number:06d}.tar" for number in range(shards)]
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            sizes = list(pool.map(lambda name: len(Client(service.url).shard(name)), names))
        seconds = time.perf_counter() - start
    if min(sizes) < 1:
        raise ValueError("an empty shard came")
    return seconds


def under_load(service: Service, clients: int, seconds: float, shards: int) -> tuple[list[float], float]:
    """Latencies of whole shards out of the spool, and bytes a second of all clients together."""
    stop = time.perf_counter() + seconds

    def ask(number: int) -> tuple[list[float], int]:
        client, taken, count, latencies = Client(service.url), 0, number, []
        while time.perf_counter() < stop:
            start = time.perf_counter()
            taken += len(client.shard(f"shard-{count % shards:06d}.tar"))
            latencies.append(time.perf_counter() - start)
            count += 1
        return latencies, taken

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(ask, range(clients)))
    elapsed = time.perf_counter() - start
    return [second for latencies, _ in found for second in latencies], sum(
        size for _, size in found
    ) / elapsed


def kill_under_load(options: ShardOptions, folder: Path) -> dict[str, float]:
    """Kill the service with SIGKILL while a reader and other clients use it, and start it again.

    Shards are small here, so that the reader still has most of them to ask for.
    """
    options = replace(options, samples_per_shard=SMALL)
    total = options.synthetic_samples
    first = Service(options, folder).__enter__()
    seen: list[str] = []
    gaps, last = [0.0], time.perf_counter()
    services = [first]
    stopped = threading.Event()

    def press() -> None:
        client, number = Client(first.url), 0
        while not stopped.is_set():
            try:
                client.shard(f"shard-{number % (total // SMALL):06d}.tar")
            except OSError:
                stopped.wait(0.2)
            number += 1

    others = [threading.Thread(target=press, daemon=True) for _ in range(4)]
    for thread in others:
        thread.start()
    try:
        for sample in open_set(f"{first.url}/v1/sets/synthetic").stream(seed=1, stop=total):
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
            seen.append(sample.key)
            if len(seen) == total // 4:
                first.kill()
                services.append(Service(options, folder, port=first.port).__enter__())
    finally:
        stopped.set()
        for thread in others:
            thread.join(60)
        for service in services:
            service.__exit__()
    return {
        "samples": total,
        "seen": len(seen),
        "different": len(set(seen)),
        "longest wait, s": max(gaps),
    }


def plain_reader(service: Service, shards: int) -> int:
    """Samples that WebDataset reads, by curl, with no code of ours."""
    urls = f"{service.url}/v1/sets/synthetic/shard-{{000000..{shards - 1:06d}}}.tar"
    keys = [sample["__key__"] for sample in webdataset.WebDataset(urls, shardshuffle=False).decode()]
    if len(set(keys)) != len(keys):
        raise ValueError("WebDataset read a sample twice")
    return len(keys)


def measure(arguments: Arguments) -> None:
    """Measure everything and write the page."""
    os.environ["SYNTHSPINE_CACHE"] = ""
    with tempfile.TemporaryDirectory(prefix="service-") as name:
        folder = Path(name)
        for set_name in ("labels", "labels_val"):
            place = open_place(folder / "sets" / set_name)
            blocks = Blocks()
            identity = blocks.identity() | {"set": set_name}
            build_set(place, blocks, identity, phantom=True, samples_per_shard=PER_SHARD, workers=ALONE)
        options = replace(
            ShardOptions(device=arguments.device),
            shards_dir=str(folder / "sets"),
            samples_per_shard=PER_SHARD,
            synthetic_samples=PER_SHARD * arguments.shards,
        )
        samples = SyntheticSamples(open_place(folder / "sets" / "labels"), options)
        rendering_alone(samples, 1)
        alone_s, served_s = [], []
        for number in range(arguments.rounds):
            alone_s.append(rendering_alone(samples, arguments.shards))
            spool = folder / f"spool{number}"
            served_s.append(through_the_service(options, spool, arguments.shards, CLIENTS))
        with Service(options, folder / "spool0") as service:
            plain = plain_reader(service, arguments.shards)
            latencies_s, rates, memory = {}, {}, []
            watching = threading.Event()

            def watch() -> None:
                while not watching.wait(max(0.2, arguments.seconds / 40)):
                    memory.append(service.resident_bytes())

            for clients in (1, CLIENTS):
                if clients == CLIENTS:
                    threading.Thread(target=watch, daemon=True).start()
                share = arguments.seconds * (0.25 if clients == 1 else 0.75)
                latencies_s[clients], rates[clients] = under_load(service, clients, share, arguments.shards)
            watching.set()
        kill = kill_under_load(options, folder / "kill")
        measured = Measured(
            alone_s=alone_s,
            served_s=served_s,
            latencies_s=latencies_s,
            rates=rates,
            kill=kill,
            memory=memory,
            plain=plain,
        )
        device = samples.made_with()["device"]
    page = "\n".join(report(measured, arguments, device))
    path = arguments.output_dir / f"service_{'cpu' if device == 'cpu' else 'cuda'}.md"
    path.write_text(page, encoding="utf-8")
    print(page)
    print(f"wrote {path}")


def report(measured: Measured, arguments: Arguments, device: str) -> list[str]:
    """The page."""
    samples = PER_SHARD * arguments.shards
    alone, served = statistics.median(measured.alone_s), statistics.median(measured.served_s)
    rows = [
        f"| {clients} | {len(seconds):,} | {1e3 * _quantile(seconds, 0.5):,.1f} | "
        f"{1e3 * _quantile(seconds, 0.99):,.1f} | {measured.rates[clients] / 1e6:,.0f} |"
        for clients, seconds in measured.latencies_s.items()
    ]
    # Buffers of the connections are filled in the first quarter of the load.
    part = max(1, len(measured.memory) // 4)
    early, late = (
        statistics.median(values) / 1e6
        for values in (measured.memory[part : 2 * part], measured.memory[-part:])
    )
    kill = measured.kill
    return [
        "# The service under load",
        "",
        f"{os.cpu_count()} CPU cores, device {device}; Python {platform.python_version()}, "
        f"torch {torch.__version__}; service and clients on the same machine, over loopback.",
        "",
        "```sh",
        f"python benchmarks/service.py {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"Samples of 320 x 256 of the preset spine, {PER_SHARD} in a shard. "
        f"Medians of {arguments.rounds} rounds, in turns.",
        "",
        "## Throughput",
        "",
        "| work | samples/s | of rendering alone |",
        "|---|---|---|",
        f"| rendering alone, with records, nothing packed or written | {samples / alone:,.1f} | 100 % |",
        f"| rendered, packed, hashed, spooled, sent to {CLIENTS} clients | {samples / served:,.1f} | "
        f"{100 * alone / served:.0f} % |",
        "",
        f"Aimed at: {100 * TARGET:.0f} %. Reached: {'yes' if alone / served >= TARGET else 'no'}.",
        "",
        "## Latency of a whole shard that is in the spool",
        "",
        "| clients | requests | p50, ms | p99, ms | MB/s together |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "## Killed under load",
        "",
        f"Shards of {SMALL} samples; SIGKILL at a quarter of an epoch, with 4 more clients; started again. "
        f"Of {kill['samples']:,} samples the reader had {kill['seen']:,}, "
        f"{kill['different']:,} of them different. "
        f"It waited at most {kill['longest wait, s']:.1f} s, the start of the new process included.",
        "",
        "## Memory",
        "",
        f"Resident under the load of {CLIENTS} clients: {early:,.0f} MB in the second quarter of the time, "
        f"{late:,.0f} MB in the last.",
        "",
        "## A plain WebDataset reader",
        "",
        f"Read {measured.plain:,} of {samples:,} samples, by curl.",
        "",
    ]


def _quantile(values: list[float], share: float) -> float:
    return float(np.quantile(values, share))


def main() -> int:
    """Parse the command line, measure; the exit status."""
    return run_command(lambda: measure(tyro.cli(Arguments, description=__doc__)))


if __name__ == "__main__":
    sys.exit(main())
