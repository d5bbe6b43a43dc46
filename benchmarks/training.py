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
from types import SimpleNamespace
from typing import Any

# Packages are imported from the repository, not from this folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from benchmarks.page import RESULTS, markdown_table, page, save
from benchmarks.timing import Task, Times, time_in_turns
from synthspine.shards.command import run_command
from synthspine.train.config import Plan, TrainOptions
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks, join_ranks
from synthspine.train.runtime.precision import use_bf16
from synthspine.train.sources import Sources
from synthspine.train.step import Stepper


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure training."""

    steps: int = 8
    """Steps of each way in a round; on a GPU several times the 16 that are rendered together."""
    repeats: int = 5
    """Rounds."""
    output_dir: Path = RESULTS
    """Folder of the result file."""
    train: tyro.conf.OmitArgPrefixes[TrainOptions] = field(
        default_factory=lambda: TrainOptions(batch_size=8, num_classes=4)
    )


@contextmanager
def training(
    stepper: Stepper, open_feed: Callable[[], Any], numbers: Iterator[int], steps: int
) -> Iterator[Callable[[], None]]:
    """Yield a function that takes ``steps`` steps, numbered by ``numbers``, and waits for as many batches.

    The first batch is ready before the function is called. Leaving the context of ``open_feed`` waits for the
    batch that was prefetched last, so that its work falls into no measured time.
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
    """The ways of training, so many steps each, the network alone first."""
    rendered = Sources.open(replace(options, feed="render"), ranks)
    stored = Sources.open(replace(options, model="A", feed="shards"), ranks)
    in_step = rendered.feed_in_step("A")
    first = in_step.batch(0)
    fixed = SimpleNamespace(batch=lambda _step: first)
    ways: dict[str, Callable[[], Any]] = {
        "(a) the network alone, always the same batch": partial(nullcontext, fixed),
        "(b) Model A, rendered one batch ahead (as in training)": partial(rendered.feed, "A"),
        "(b) Model A, rendered in the step": partial(nullcontext, in_step),
        "(c) Model A, from shards, one batch ahead": partial(stored.feed, "A"),
    }
    if "B" in options.models and rendered.can_train("B"):
        ways["(d) Model B, real slices, one batch ahead"] = partial(rendered.feed, "B")

    def stepper() -> Stepper:
        scheme = options.label_scheme
        network = UNet(num_classes=scheme.num_classes, base_features=options.base_features)
        return Stepper(network.to(ranks.device), scheme, plan, ranks)

    return [
        Task(name=name, prepare=partial(training, stepper(), open_feed, count(), steps))
        for name, open_feed in ways.items()
    ]


def rows(found: list[Times], images: int) -> list[list[str]]:
    """Images per second of ways with so many images, and the share of the first way in the same round."""
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
    text = page("Training: images per second", device, parts)
    save(text, arguments.output_dir / f"training_{device.type}.md")


if __name__ == "__main__":
    sys.exit(run_command(_measure))
