"""What the benchmark of the service measured, and the page about it."""

import os
import platform
import statistics
import sys
from dataclasses import dataclass

import numpy as np
import torch

PER_SHARD = 64
SMALL = 16
"""Samples of a shard where the service is killed."""
TARGET = 0.85
"""Throughput of the service over that of rendering alone, at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What it took to have all samples once.

    Attributes:
        seconds: by the clock.
        cpu_s: CPU time of the process that renders, all its threads together.
        client_cpu_s: CPU time of the clients.
    """

    seconds: float
    cpu_s: float
    client_cpu_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Clients that ask for shards in the spool, again and again.

    Attributes:
        latencies_s: of whole shards.
        bytes_per_s: of all clients together.
    """

    latencies_s: list[float]
    bytes_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """What the reader saw of a kill under load.

    Attributes:
        samples: that there are.
        seen: that it had.
        different: of those.
        longest_wait_s: between two of them.
    """

    samples: int
    seen: int
    different: int
    longest_wait_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        samples: that were rendered for every measurement.
        usual: rendering them, nothing else, in every round.
        alone: the same in a process that keeps the memory it freed, as the service does.
        served: until clients had read them through the service, in every round.
        clients: that asked at a time.
        loads: of shards in the spool, by number of clients.
        kill: under load.
        memory: resident bytes of the service, time after time under load.
        plain: samples that a plain WebDataset reader read.
    """

    samples: int
    usual: list[Work]
    alone: list[Work]
    served: list[Work]
    clients: int
    loads: dict[int, Load]
    kill: Kill
    memory: list[int]
    plain: int


def report(measured: Measured, device: str) -> list[str]:
    """The page."""
    usual, alone, served = _median(measured.usual), _median(measured.alone), _median(measured.served)
    reached = alone.seconds >= TARGET * served.seconds
    loads = [
        f"| {clients} | {len(load.latencies_s):,} | {1e3 * _quantile(load.latencies_s, 0.5):,.1f} | "
        f"{1e3 * _quantile(load.latencies_s, 0.99):,.1f} | {load.bytes_per_s / 1e6:,.0f} |"
        for clients, load in measured.loads.items()
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
        f"Medians of {len(measured.alone)} rounds, in turns, each after a shard to warm up.",
        "",
        "## Throughput",
        "",
        "| work | samples/s | of rendering alone | CPU ms a sample | those of the clients |",
        "|---|---|---|---|---|",
        _row("rendering alone, with records, nothing packed or written", usual, alone, measured.samples),
        _row("the same, freed memory kept as the service keeps it", alone, alone, measured.samples),
        _row(
            f"rendered, packed, hashed, spooled, sent to {measured.clients} clients",
            served,
            alone,
            measured.samples,
        ),
        "",
        f"Aimed at: {100 * TARGET:.0f} %. Reached: {'yes' if reached else 'no'}. {_shared(alone, served)}",
        "",
        "## Latency of a whole shard that is in the spool",
        "",
        "| clients | requests | p50, ms | p99, ms | MB/s together |",
        "|---|---|---|---|---|",
        *loads,
        "",
        "## Killed under load",
        "",
        f"Shards of {SMALL} samples; SIGKILL at a quarter of an epoch, with 4 more clients; started again. "
        f"Of {kill.samples:,} samples the reader had {kill.seen:,}, {kill.different:,} of them different. "
        f"It waited at most {kill.longest_wait_s:.1f} s, the start of the new process included.",
        "",
        "## Memory",
        "",
        f"Resident under the load of {measured.clients} clients: {early:,.0f} MB in the second quarter of "
        f"the time, {late:,.0f} MB in the last.",
        "",
        "## A plain WebDataset reader",
        "",
        f"Read {measured.plain:,} of {measured.samples:,} samples, by curl.",
        "",
    ]


def _row(name: str, work: Work, alone: Work, samples: int) -> str:
    clients = f"{1e3 * work.client_cpu_s / samples:.2f}" if work.client_cpu_s else ""
    return (
        f"| {name} | {samples / work.seconds:,.1f} | {100 * alone.seconds / work.seconds:.0f} % | "
        f"{1e3 * work.cpu_s / samples:.2f} | {clients} |"
    )


def _shared(alone: Work, served: Work) -> str:
    """How much of the difference is CPU time, and whose."""
    cores = os.cpu_count() or 1
    busy = 100 * (served.cpu_s + served.client_cpu_s) / (served.seconds * cores)
    return (
        f"Service and clients kept {busy:.0f} % of the {cores} cores busy (rendering alone "
        f"{100 * alone.cpu_s / (alone.seconds * cores):.0f} %). CPU time of rendering alone over that of the "
        f"service: {100 * alone.cpu_s / served.cpu_s:.0f} %; over that of service and clients: "
        f"{100 * alone.cpu_s / (served.cpu_s + served.client_cpu_s):.0f} %."
    )


def _median(works: list[Work]) -> Work:
    """The round of median length."""
    return sorted(works, key=lambda work: work.seconds)[len(works) // 2]


def _quantile(values: list[float], share: float) -> float:
    return float(np.quantile(values, share))
