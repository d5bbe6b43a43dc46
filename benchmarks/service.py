"""The service under load on one machine: throughput, latency, a kill under load, memory.

    python benchmarks/service.py [--shards 40] [--seconds 30] [--rounds 3] [--clients 32]
                                 [--device auto|cpu|cuda] [--output-dir DIR]

Writes service_DEVICE.md. Clients and service share the machine, so the clients' work is included.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Literal, Self
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

# Packages are imported from the repository, not from this folder.
ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import numpy as np
import tyro

from benchmarks.label_maps import PER_SHARD, write_label_maps
from benchmarks.page import RESULTS, markdown_table, page, save
from benchmarks.timing import Task, Times, time_in_turns
from synthspine.gen.core.device import pick_device
from synthspine.shards import ShardOptions, open_set
from synthspine.shards.building.synthetic_samples import SyntheticSamples
from synthspine.shards.command import run_command

SMALL = 16
"""Samples per shard where the service is killed: the reader then has many shards left to request."""
TARGET = 0.85
"""Required throughput of the service as a share of that of rendering alone."""
_START_S = 120
_PIECE = 2**20
_DIRECT = build_opener(ProxyHandler({}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure the service."""

    shards: int = 40
    """Shards of 64 samples of 320 x 256 that every task renders."""
    seconds: float = 30.0
    """Duration of the requests for stored shards, and of the watch over memory."""
    clients: int = 32
    """Clients that read at the same time."""
    rounds: int = 3
    """Rounds of rendering alone and through the service, in turns."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where samples are rendered."""
    output_dir: Path = RESULTS
    """Folder of the result file."""


class Service:
    """``python shards/serve.py`` on loopback; a context manager that waits until the service is ready.

    ``options`` name the sets; rendered shards are stored in the folder ``cache``. A ``port`` of 0 stands for
    any, and is replaced by the one that the service listens on.
    """

    def __init__(self, options: ShardOptions, cache: Path, port: int = 0) -> None:
        self._command = [
            *(sys.executable, str(ROOT / "shards" / "serve.py"), "--port", str(port)),
            *("--shards-dir", options.shards_dir, "--device", options.device),
            *("--synthetic-samples", str(options.synthetic_samples)),
            *("--samples-per-shard", str(options.samples_per_shard), "--cache-dir", str(cache)),
        ]
        self._folder = Path(options.shards_dir).parent
        self.url, self.port = "", port

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if name != "SYNTHSPINE_TOKEN"}
        # In a folder without data, the sets that exist are served.
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True, env=environment, cwd=self._folder
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"(http://[^/\s]+)/", line):
                self.url = found[1]
                break
        else:
            raise OSError(f"the service does not start (status {self._process.wait()})")
        self.port = urlsplit(self.url).port or 0
        deadline = time.monotonic() + _START_S
        while True:
            try:
                _DIRECT.open(f"{self.url}/readyz", timeout=_START_S).close()
                return self
            except OSError as error:
                if time.monotonic() > deadline:
                    raise OSError(f"{self.url}: not ready after {_START_S} s") from error
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(60)

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        self._process.kill()
        self._process.wait(60)

    def resident_bytes(self) -> int:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """CPU time of the process so far, in user and in kernel mode, all threads together."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_shard(service: Service, number: int) -> int:
    """Read a shard of the synthetic set, later where the service asks for it; returns the number of bytes.

    Raises:
        OSError: the shard could not be read.
    """
    url = f"{service.url}/v1/sets/synthetic/shard-{number:06d}.tar"
    while True:
        try:
            with _DIRECT.open(url, timeout=_START_S) as response:
                size = sum(map(len, iter(partial(response.read, _PIECE), b"")))
                if size < int(response.headers["Content-Length"]):
                    raise OSError(f"{url}: cut short after {size:,} bytes")
                return size
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            time.sleep(int(error.headers["Retry-After"]))


def render_alone(samples: SyntheticSamples, shards: int) -> None:
    """Render the samples of shards with their records; nothing is packed or written."""
    for number in range(shards):
        list(samples.begin(number * PER_SHARD, (number + 1) * PER_SHARD)())


@contextmanager
def rendering_service(
    options: ShardOptions, cache: Path, shards: int, clients: int, cpu_s: list[float]
) -> Iterator[Callable[[], object]]:
    """Start the service with an empty cache; yield a function with which clients read every shard once.

    One shard more than those is read before, to warm up. CPU seconds of the service are added to ``cpu_s``.
    """
    shutil.rmtree(cache, ignore_errors=True)
    with Service(options, cache) as service, ThreadPoolExecutor(clients) as pool:
        read_shard(service, shards)
        before = service.cpu_seconds()
        yield lambda: list(pool.map(partial(read_shard, service), range(shards)))
        cpu_s.append(service.cpu_seconds() - before)


def throughput(samples: int, clients: int, alone: Times, served: Times, service_cpu_s: float) -> list[str]:
    """Table of rendering so many samples alone and through the service, and whether the target is reached.

    The CPU seconds in ``served`` are those of the clients; the service has the median ``service_cpu_s``.
    """
    cores, alone_cpu_s, client_cpu_s = os.cpu_count() or 1, alone.median_cpu_s, served.median_cpu_s
    both_cpu_s = service_cpu_s + client_cpu_s
    reached = "yes" if alone.median_s >= TARGET * served.median_s else "no"
    works = {
        "rendering alone, with records, nothing packed or written": (alone, alone_cpu_s),
        f"rendered, packed, hashed, stored, sent to {clients} clients": (served, service_cpu_s),
        "the same, CPU time of the clients included": (served, both_cpu_s),
    }
    rows = [
        [
            name,
            f"{samples / times.median_s:,.1f}",
            f"{100 * alone.median_s / times.median_s:.0f} %",
            f"{1e3 * cpu_s / samples:.2f}",
            f"{100 * alone_cpu_s / cpu_s:.0f} %",
            f"{100 * cpu_s / (times.median_s * cores):.0f} %",
        ]
        for name, (times, cpu_s) in works.items()
    ]
    head = ["work", "samples/s", "share of alone", "CPU ms a sample", "CPU time of alone / own", "cores busy"]
    return [markdown_table(head, rows), f"Target: {100 * TARGET:.0f} % of alone. Reached: {reached}."]


def load_row(service: Service, clients: int, seconds: float, shards: int) -> list[str]:
    """Have clients read stored shards again and again; a row of latencies and of bytes per second."""
    stop = time.perf_counter() + seconds

    def read(number: int) -> tuple[list[float], int]:
        taken, latencies = 0, list[float]()
        while time.perf_counter() < stop:
            start = time.perf_counter()
            taken += read_shard(service, (number + len(latencies)) % shards)
            latencies.append(time.perf_counter() - start)
        return latencies, taken

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(read, range(clients)))
    elapsed = time.perf_counter() - start
    latencies = np.concatenate([own for own, _ in found])
    rate = sum(taken for _, taken in found) / elapsed / 1e6
    middle, high = 1e3 * np.quantile(latencies, (0.5, 0.99))
    return [f"{clients}", f"{len(latencies):,}", f"{middle:,.1f}", f"{high:,.1f}", f"{rate:,.0f}"]


def memory_under_load(service: Service, clients: int, seconds: float, shards: int) -> tuple[list[str], str]:
    """Row of :func:`load_row` for these clients, and a sentence about the memory of the service meanwhile."""
    sizes: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        row = pool.submit(load_row, service, clients, seconds, shards)
        while not row.done():
            sizes.append(service.resident_bytes())
            time.sleep(seconds / 30)
    # In the first quarter the buffers of the connections are filled.
    part = max(1, len(sizes) // 4)
    early, late = (statistics.median(own) / 1e6 for own in (sizes[part : 2 * part], sizes[-part:]))
    return row.result(), (
        f"Resident under the load of {clients} clients: {early:,.0f} MB in the second quarter of the time, "
        f"{late:,.0f} MB in the last."
    )


def kill_under_load(options: ShardOptions, cache: Path) -> str:
    """Kill the service with SIGKILL while a reader and four clients use it, start it again; the outcome."""
    options = replace(options, samples_per_shard=SMALL)
    total = options.synthetic_samples
    service = Service(options, cache).__enter__()
    stopped = threading.Event()
    keys: list[str] = []
    longest_s, last = 0.0, time.perf_counter()

    def press() -> None:
        numbers = cycle(range(total // SMALL))
        while not stopped.is_set():
            try:
                read_shard(service, next(numbers))
            except OSError:
                stopped.wait(0.2)

    pool = ThreadPoolExecutor(4)
    for _ in range(4):
        pool.submit(press)
    try:
        for sample in open_set(f"{service.url}/v1/sets/synthetic").stream(seed=1, stop=total):
            now = time.perf_counter()
            longest_s, last = max(longest_s, now - last), now
            keys.append(sample.key)
            if len(keys) == total // 4:
                service.kill()
                service = Service(options, cache, port=service.port).__enter__()
    finally:
        stopped.set()
        pool.shutdown()
        service.__exit__()
    return (
        f"Shards of {SMALL} samples; SIGKILL after a quarter of an epoch, under the load of 4 more clients, "
        f"then a new start. Of {total:,} samples the reader received {len(keys):,}, {len(set(keys)):,} of "
        f"them different. Its longest wait was {longest_s:.1f} s, the start of the new process included."
    )


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    shards, seconds = arguments.shards, arguments.seconds
    os.environ["SYNTHSPINE_CACHE"] = ""
    with tempfile.TemporaryDirectory(prefix="service-") as name:
        folder = Path(name)
        labels = write_label_maps(folder / "sets" / "labels")
        write_label_maps(folder / "sets" / "labels_val")
        options = replace(
            ShardOptions(device=arguments.device),
            shards_dir=str(folder / "sets"),
            samples_per_shard=PER_SHARD,
            synthetic_samples=PER_SHARD * (shards + 1),
        )
        cache, cpu_s = folder / "cache", list[float]()
        samples = SyntheticSamples(labels, options)
        alone, served = time_in_turns(
            [
                Task.of("alone", partial(render_alone, samples, shards)),
                Task(
                    name="served",
                    prepare=partial(rendering_service, options, cache, shards, arguments.clients, cpu_s),
                ),
            ],
            arguments.rounds,
            device=device,
        )
        with Service(options, cache) as service:
            one_client = load_row(service, 1, seconds / 4, shards)
            many_clients, memory = memory_under_load(service, arguments.clients, 3 * seconds / 4, shards)
        kill = kill_under_load(replace(options, synthetic_samples=PER_SHARD * shards), folder / "kill")
    count = PER_SHARD * shards
    parts = [
        f"Samples of 320 x 256 of preset spine, {PER_SHARD} in a shard; service and clients on one machine, "
        f"over loopback. Medians of {arguments.rounds} rounds, in turns, after one to warm up.",
        "## Throughput",
        *throughput(count, arguments.clients, alone, served, statistics.median(cpu_s[1:])),
        "## Latency of a whole stored shard",
        markdown_table(
            ["clients", "requests", "p50, ms", "p99, ms", "MB/s together"], [one_client, many_clients]
        ),
        *("## Killed under load", kill),
        *("## Memory", memory),
    ]
    text = page("The service under load", device, parts)
    save(text, arguments.output_dir / f"service_{device.type}.md")


if __name__ == "__main__":
    sys.exit(run_command(_measure))
