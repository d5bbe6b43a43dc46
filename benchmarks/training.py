"""Images per second of training: the network alone, and with everything that feeds it, in turns.

    python benchmarks/training.py [--steps 8] [--repeats 5] [--output-dir DIR]
                                  [--base-features 8] [--batch-size 8] [--compile] [flags of train/main.py]

Without data it takes the phantom. Every round begins with another way, and compares each way with (a) of
the same round, so that a machine that slows down meanwhile slows both. Writes training_DEVICE.md.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import tyro
from torch import Tensor

from synthspine.gen import label_scheme
from synthspine.shards.command import run_command
from synthspine.train.data.feed import Feed
from synthspine.train.model.unet import UNet
from synthspine.train.options import TrainOptions
from synthspine.train.plan import Plan
from synthspine.train.runtime.distributed import Ranks, join_ranks
from synthspine.train.runtime.precision import use_bf16
from synthspine.train.sources import Sources
from synthspine.train.step import Stepper


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure training."""

    steps: int = 8
    """Steps that each way takes in a round."""
    repeats: int = 5
    """Rounds."""
    output_dir: Path = Path(__file__).parent / "results"
    """Where to write."""
    train: tyro.conf.OmitArgPrefixes[TrainOptions] = field(
        default_factory=lambda: TrainOptions(batch_size=8, num_classes=4)
    )


class FixedFeed:
    """The same batch at every step: what is left is the network."""

    def __init__(self, feed: Feed) -> None:
        self._batch = feed.batch(0)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """See :class:`train.data.feed.Feed`."""
        return self._batch


@dataclass(slots=True)
class Way:
    """One way of training, and the images per second of every round."""

    name: str
    open_feed: Callable[[], AbstractContextManager[Feed]]
    stepper: Stepper
    step: int = 0
    rates: list[float] = field(default_factory=list)

    def run(self, steps: int) -> float:
        """Take steps; images per second."""
        with self.open_feed() as feed:
            # Steps pay for as many batches as they use: the first is there, one more is waited for.
            batch = feed.batch(self.step)
            self._wait()
            start = time.perf_counter()
            for _ in range(steps):
                self.stepper.take(self.step, *batch)
                self.step += 1
                batch = feed.batch(self.step)
            self._wait()
            return steps * self.stepper.plan.batch_size / (time.perf_counter() - start)

    def _wait(self) -> None:
        device = self.stepper.ranks.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def ways(options: TrainOptions, ranks: Ranks, steps: int) -> list[Way]:
    """All ways of training, each with a network of its own."""
    rendered = Sources.open(replace(options, model="both", feed="render"), ranks)
    stored = Sources.open(replace(options, model="A", feed="shards"), ranks)

    def stepper() -> Stepper:
        network = UNet(num_classes=options.num_classes, base_features=options.base_features)
        return Stepper(network.to(ranks.device), label_scheme(options.num_classes), plan, ranks)

    def way(name: str, open_feed: Callable[[], AbstractContextManager[Feed]]) -> Way:
        return Way(name, open_feed, stepper())

    plan = Plan(
        title="benchmark",
        steps=steps,
        steps_per_epoch=steps,
        batch_size=options.batch_size,
        highest_rate=options.lr,
        weight_decay=options.weight_decay,
        ema_decay=options.ema_decay,
        bf16=use_bf16(options.precision, ranks.device),
        compiled=options.compile,
        decisive={},
        stem=Path("benchmark"),
    )
    fixed, in_step = FixedFeed(rendered.feed_in_step("A")), rendered.feed_in_step("A")
    found = [
        way("(a) the network alone, one batch again and again", lambda: nullcontext(fixed)),
        way("(b) Model A, rendered a batch ahead (what training does)", partial(rendered.feed, "A")),
        way("(b) Model A, rendered in the step", lambda: nullcontext(in_step)),
        way("(c) Model A, from shards, a batch ahead", partial(stored.feed, "A")),
    ]
    if rendered.can_train("B"):
        found.append(way("(d) Model B, real slices, a batch ahead", partial(rendered.feed, "B")))
    return found


def measure(arguments: Arguments) -> None:
    """Measure and write the report."""
    options = arguments.train
    with join_ranks(options.shards.device) as ranks:
        total = arguments.steps * (arguments.repeats + 1)
        found = ways(options, ranks, total)
        for way in found:
            way.run(arguments.steps)
        for number in range(arguments.repeats):
            for way in in_turn(found, number):
                way.rates.append(way.run(arguments.steps))
        bf16 = found[0].stepper.plan.bf16
        device = torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else "cpu"
    shape = " x ".join(map(str, options.shards.grid.shape))
    lines = [
        "# Training: images per second",
        "",
        f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, device {device}; "
        f"Python {platform.python_version()}, torch {torch.__version__}.",
        "",
        "```sh",
        f"python benchmarks/training.py {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"Slices of {shape}, batch {options.batch_size}, {options.base_features} features, "
        f"{options.num_classes} classes, {'bf16' if bf16 else 'float32'}"
        f"{', compiled' if options.compile else ''}. Whole steps: batch, forward, backward, update, average. "
        f"Medians of {arguments.repeats} rounds of {arguments.steps} steps; every round takes the ways in "
        "another order, and compares each with (a) of that round.",
        "",
        "| way | images/s, median | least | most | against (a), median | least | most |",
        "|---|---|---|---|---|---|---|",
        *(_row(way, found[0]) for way in found),
        "",
    ]
    path = arguments.output_dir / f"training_{'cpu' if device == 'cpu' else 'cuda'}.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    print(f"wrote {path}")


def in_turn(found: list[Way], number: int) -> list[Way]:
    """The ways in the order of a round: each round begins with the second of the one before."""
    first = number % len(found)
    return found[first:] + found[:first]


def _row(way: Way, alone: Way) -> str:
    ratios = [rate / other for rate, other in zip(way.rates, alone.rates, strict=True)]
    told = (statistics.median, min, max)
    rates = " | ".join(f"{choose(way.rates):,.1f}" for choose in told)
    shares = " | ".join(f"{100 * choose(ratios):.0f} %" for choose in told)
    return f"| {way.name} | {rates} | {shares} |"


def main() -> int:
    """Parse the command line, measure; the exit status."""
    return run_command(lambda: measure(tyro.cli(Arguments, description=__doc__)))


if __name__ == "__main__":
    sys.exit(main())
