"""The service under load, on this machine alone: throughput, latency, a kill under load, memory.

    python benchmarks/service.py [--shards 20] [--seconds 30] [--device auto|cpu|cuda] [--output-dir DIR]

Writes service_DEVICE.md. Clients and service share the machine, so what clients do is paid for as well.
"""

import os
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
import tyro
import webdataset

from benchmarks.service_process import Client, Service
from benchmarks.service_report import PER_SHARD, SMALL, Kill, Load, Measured, Work, report
from synthspine.gen.core.device import keep_freed_memory
from synthspine.shards import ShardOptions, open_place, open_set
from synthspine.shards.building.build import build_set
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.building.workers import ALONE
from synthspine.shards.command import run_command
from synthspine.shards.format.sample import Sample

CLIENTS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure the service."""

    shards: int = 40
    """Shards of 64 samples of 320 x 256 that are rendered for every measurement, after one to warm up."""
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


def rendering_alone(samples: SyntheticSamples, shards: int) -> Work:
    """Render so many shards' samples, with their records; nothing is packed or written."""
    start, cpu_s = time.perf_counter(), time.process_time()
    for number in range(shards):
        list(samples.begin(number * PER_SHARD, (number + 1) * PER_SHARD)())
    return Work(seconds=time.perf_counter() - start, cpu_s=time.process_time() - cpu_s)


def through_the_service(options: ShardOptions, folder: Path, shards: int) -> Work:
    """Have clients ask for every shard but the last, each once, with nothing in the spool.

    The last shard is asked for before: rendering alone does not begin with a process that was just started,
    either.
    """
    with Service(options, folder) as service:
        Client(service.url).shard(shard_name(shards))
        clients = [Client(service.url) for _ in range(shards)]
        start, client_cpu_s, cpu_s = time.perf_counter(), time.process_time(), service.cpu_seconds()
        with ThreadPoolExecutor(CLIENTS) as pool:
            sizes = list(pool.map(Client.shard, clients, map(shard_name, range(shards))))
        seconds = time.perf_counter() - start
        work = Work(
            seconds=seconds,
            cpu_s=service.cpu_seconds() - cpu_s,
            client_cpu_s=time.process_time() - client_cpu_s,
        )
    if min(sizes) < 1:
        raise ValueError("an empty shard came")
    return work


def shard_name(number: int) -> str:
    """Name of a shard of the set."""
    return f"shard-{number:06d}.tar"


def under_load(service: Service, clients: int, seconds: float, shards: int) -> Load:
    """Have clients ask for shards that are in the spool, again and again."""
    stop = time.perf_counter() + seconds

    def ask(number: int) -> tuple[list[float], int]:
        client, taken, count, latencies = Client(service.url), 0, number, []
        while time.perf_counter() < stop:
            start = time.perf_counter()
            taken += client.shard(shard_name(count % shards))
            latencies.append(time.perf_counter() - start)
            count += 1
        return latencies, taken

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(ask, range(clients)))
    elapsed = time.perf_counter() - start
    return Load(
        latencies_s=[second for latencies, _ in found for second in latencies],
        bytes_per_s=sum(size for _, size in found) / elapsed,
    )


def kill_under_load(options: ShardOptions, folder: Path) -> Kill:
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
                client.shard(shard_name(number % (total // SMALL)))
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
    return Kill(samples=total, seen=len(seen), different=len(set(seen)), longest_wait_s=max(gaps))


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
            synthetic_samples=PER_SHARD * (arguments.shards + 1),
        )
        samples = SyntheticSamples(open_place(folder / "sets" / "labels"), options)
        rendering_alone(samples, 1)
        usual = [rendering_alone(samples, arguments.shards) for _ in range(arguments.rounds)]
        # As the service does: what is compared with it renders under the same conditions.
        keep_freed_memory()
        rendering_alone(samples, 1)
        alone, served = [], []
        for number in range(arguments.rounds):
            alone.append(rendering_alone(samples, arguments.shards))
            served.append(through_the_service(options, folder / f"spool{number}", arguments.shards))
        with Service(options, folder / "spool0") as service:
            plain = plain_reader(service, arguments.shards)
            loads, memory = {}, []
            watching = threading.Event()

            def watch() -> None:
                while not watching.wait(max(0.2, arguments.seconds / 40)):
                    memory.append(service.resident_bytes())

            for clients in (1, CLIENTS):
                if clients == CLIENTS:
                    threading.Thread(target=watch, daemon=True).start()
                share = arguments.seconds * (0.25 if clients == 1 else 0.75)
                loads[clients] = under_load(service, clients, share, arguments.shards)
            watching.set()
        kill = kill_under_load(
            replace(options, synthetic_samples=PER_SHARD * arguments.shards), folder / "kill"
        )
        measured = Measured(
            samples=PER_SHARD * arguments.shards,
            usual=usual,
            alone=alone,
            served=served,
            clients=CLIENTS,
            loads=loads,
            kill=kill,
            memory=memory,
            plain=plain,
        )
        device = samples.made_with()["device"]
    page = "\n".join(report(measured, device))
    path = arguments.output_dir / f"service_{'cpu' if device == 'cpu' else 'cuda'}.md"
    path.write_text(page, encoding="utf-8")
    print(page)
    print(f"wrote {path}")


def main() -> int:
    """Parse the command line, measure; the exit status."""
    return run_command(lambda: measure(tyro.cli(Arguments, description=__doc__)))


if __name__ == "__main__":
    sys.exit(main())
