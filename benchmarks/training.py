"""Images per second of training: the network alone, and with everything that feeds it.

    python benchmarks/training.py [--steps 8] [--repeats 5] [--output-dir DIR]
                                  [--base-features 8] [--batch-size 8] [--compile] [flags of train/main.py]

Without data it uses the phantom. Every way of feeding is compared with the network alone in the same round.
Writes training_DEVICE.md.
"""

import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

# Packages are imported from the repository, not from this folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from benchmarks.page import RESULTS, markdown_table, page, save
from benchmarks.timing import Task, Times, time_in_turns
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
    """Steps of each way in a round."""
    repeats: int = 5
    """Rounds."""
    output_dir: Path = RESULTS
    """Folder of the result file."""
    train: tyro.conf.OmitArgPrefixes[TrainOptions] = field(
        default_factory=lambda: TrainOptions(batch_size=8, num_classes=4)
    )


class FixedFeed:
    """The same batch at every step: the time that is left is the network's.

    Args:
        feed: source of the batch.
    """

    def __init__(self, feed: Feed) -> None:
        self._batch = feed.batch(0)

    def batch(self, step: int) -> Any:
        """See :class:`train.data.feed.Feed`."""
        return self._batch


@contextmanager
def training(
    stepper: Stepper, open_feed: Callable[[], Any], numbers: Iterator[int], steps: int
) -> Iterator[Callable[[], None]]:
    """Yield a function that takes steps and waits for as many batches.

    The first batch is ready before the function is called. Leaving the context waits for the batch that was
    prefetched last, so that its work falls into no measured time.

    Args:
        stepper: takes the steps.
        open_feed: returns a context manager that yields the feed and stops it at the end.
        numbers: numbers of the steps.
        steps: steps to take.
    """
    with open_feed() as feed:
        step = next(numbers)
        batch = feed.batch(step)

        def take_steps() -> None:
            nonlocal step, batch
            for _ in range(steps):
                stepper.take(step, *batch)
                step = next(numbers)
                batch = feed.batch(step)

        yield take_steps


def tasks(options: TrainOptions, plan: Plan, ranks: Ranks, steps: int) -> list[Task]:
    """The ways of training, the network alone first.

    Args:
        options: data, batch size and network.
        plan: of every training.
        ranks: this process.
        steps: steps of a task.
    """
    rendered = Sources.open(replace(options, model="both", feed="render"), ranks)
    stored = Sources.open(replace(options, model="A", feed="shards"), ranks)
    in_step = rendered.feed_in_step("A")
    ways: dict[str, Callable[[], Any]] = {
        "(a) the network alone, always the same batch": partial(nullcontext, FixedFeed(in_step)),
        "(b) Model A, rendered one batch ahead (as in training)": partial(rendered.feed, "A"),
        "(b) Model A, rendered in the step": partial(nullcontext, in_step),
        "(c) Model A, from shards, one batch ahead": partial(stored.feed, "A"),
    }
    if rendered.can_train("B"):
        ways["(d) Model B, real slices, one batch ahead"] = partial(rendered.feed, "B")

    def stepper() -> Stepper:
        network = UNet(num_classes=options.num_classes, base_features=options.base_features)
        return Stepper(network.to(ranks.device), label_scheme(options.num_classes), plan, ranks)

    return [
        Task(name=name, prepare=partial(training, stepper(), open_feed, count(), steps))
        for name, open_feed in ways.items()
    ]


def rows(found: list[Times], images: int) -> list[list[str]]:
    """Rows of the table: images per second, and the share of the first way's rate in the same round.

    Args:
        found: times of the ways, the network alone first.
        images: images of one run.
    """
    lines = []
    for times in found:
        shares = [alone / wall for alone, wall in zip(found[0].wall_s, times.wall_s, strict=True)]
        rates = [images / wall for wall in times.wall_s]
        choices = (statistics.median, min, max)
        lines.append(
            [
                times.name,
                *(f"{choose(rates):,.1f}" for choose in choices),
                *(f"{100 * choose(shares):.0f} %" for choose in choices),
            ]
        )
    return lines


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    options, steps = arguments.train, arguments.steps
    with join_ranks(options.shards.device) as ranks:
        total = (steps + 1) * (arguments.repeats + 1)
        plan = Plan(
            title="benchmark",
            steps=total,
            steps_per_epoch=total,
            batch_size=options.batch_size,
            highest_rate=options.lr,
            weight_decay=options.weight_decay,
            ema_decay=options.ema_decay,
            bf16=use_bf16(options.precision, ranks.device),
            compiled=options.compile,
            run_identity={},
            stem=Path("benchmark"),
        )
        found = time_in_turns(tasks(options, plan, ranks, steps), arguments.repeats, device=ranks.device)
        device = ranks.device
    parts = [
        f"Slices of {' x '.join(map(str, options.shards.grid.shape))}, batch {options.batch_size}, "
        f"{options.base_features} features, {options.num_classes} classes, "
        f"{'bf16' if plan.bf16 else 'float32'}{', compiled' if options.compile else ''}. A step is batch, "
        f"forward, backward, update and average. Medians of {arguments.repeats} rounds of {steps} steps; "
        "every round begins with another way, and compares each with (a) of that round.",
        markdown_table(
            ["way", "images/s, median", "least", "most", "against (a), median", "least", "most"],
            rows(found, steps * options.batch_size),
        ),
    ]
    save(
        page("Training: images per second", device, parts),
        arguments.output_dir / f"training_{device.type}.md",
    )


if __name__ == "__main__":
    sys.exit(run_command(_measure))
