"""Training one arm: the project's own steps, without validation and snapshots."""

import hashlib
import json
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.reality_arms import Arm
from benchmarks.reality_inputs import ChangedFeed
from benchmarks.reality_patients import Fold
from benchmarks.reality_slices import CONTRASTS, Slices, join, select, take
from synthspine.gen import label_scheme
from synthspine.shards.reading.open import SampleArrays
from synthspine.train.data.augment import AUGMENTATIONS
from synthspine.train.data.feed import Feed, PrefetchedFeed, RealFeed, RenderFeed
from synthspine.train.model.checkpoint import Checkpoint, bare_state, load_checkpoint, save_checkpoint
from synthspine.train.model.unet import UNet, seeded_unet
from synthspine.train.options import TrainOptions
from synthspine.train.plan import Plan, TrainingError
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.runtime.precision import use_bf16
from synthspine.train.runtime.stop import Stopped, StopRequest
from synthspine.train.step import Stepper
from synthspine.train.step_statistics import MOST_SKIPS_IN_A_ROW

REPORT_INTERVAL = 100
WEIGHT_DECAY = TrainOptions().weight_decay
EMA, RAW = "ema", "raw"
"""The two kinds of weights of a run: their average, and those of the last step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One run of an arm.

    Attributes:
        arm: what is trained.
        fold: on whom.
        seed: of the first weights and of the stream of samples.
        budget: steps of the study.
        batch: samples of a step of the study.
    """

    arm: Arm
    fold: Fold
    seed: int
    budget: int
    batch: int

    @property
    def title(self) -> str:
        """What messages call the run."""
        return f"{self.arm.name}, seed {self.seed}, fold {self.fold.name}"

    @property
    def steps(self) -> int:
        """Steps of this run."""
        return max(1, round(self.budget * self.arm.training.steps_factor))

    @property
    def batch_size(self) -> int:
        """Samples of a step of this run."""
        return max(1, round(self.batch * self.arm.training.batch_factor))


class ImpossibleTask(ValueError):
    """A fold has not what an arm needs; the message says what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained network.

    Attributes:
        weights: by kind, ``EMA`` and ``RAW``, each a network on the device.
        loss: mean loss of the last steps.
        minutes: time of the steps.
        samples: label maps or slices that it learned from.
    """

    weights: dict[str, UNet]
    loss: float
    minutes: float
    samples: int


def samples_of(task: Task, slices: Slices) -> SampleArrays:
    """What a run learns from.

    Raises:
        ImpossibleTask: the fold has no such samples, or fewer than are asked for.
    """
    training, fold = task.arm.training, task.fold
    if training.learns_from == "phantom":
        return slices.phantom
    if training.learns_from == "mixed":
        return _half_each(slices.phantom, select(slices.maps, fold.train))
    if training.learns_from == "maps":
        found = select(slices.maps, fold.train)
    elif training.learns_from == "t1+t2":
        found = join(*(select(slices.real[contrast], fold.train) for contrast in CONTRASTS))
    else:
        found = select(slices.real["t1"], fold.train)
    if training.shots:
        order = sorted(range(len(found.labels)), key=lambda i: _lot(found.records[i]["source"], task.seed))
        found = take(found, order[: training.shots])
    if len(found.labels) < max(1, training.shots):
        raise ImpossibleTask(
            f"fold {fold.name} has {len(found.labels)} slices to learn from, "
            f"and arm {task.arm.name} needs {max(1, training.shots)}"
        )
    return found


def train(task: Task, slices: Slices, ranks: Ranks, stop: StopRequest, start: Path | None) -> Trained:
    """Train one run.

    Args:
        task: what.
        slices: the data.
        ranks: this process.
        stop: asked to stop, the run is dropped after the step.
        start: checkpoint that it begins with; None for random weights.

    Raises:
        ImpossibleTask: the fold has not what the arm needs.
        TrainingError: the loss was not finite in many steps in a row.
        CheckpointError: the checkpoint cannot be used.
        Stopped: it was asked to stop.
    """
    training = task.arm.training
    samples = samples_of(task, slices)
    network = seeded_unet(
        task.seed,
        num_classes=training.num_classes,
        base_features=training.base_features,
        levels=training.levels,
    ).to(ranks.device)
    if start is not None:
        network.load_state_dict(load_checkpoint(start).state_dict)
    network.train()
    stepper = Stepper(network, label_scheme(training.num_classes), _plan(task, ranks), ranks)
    with closing(PrefetchedFeed(_feed(task, samples, slices.spacing_mm, ranks), ranks.device)) as feed:
        began = time.monotonic()
        loss = _loop(task, stepper, feed, stop)
        minutes = (time.monotonic() - began) / 60
    return Trained(
        weights={EMA: stepper.average.network, RAW: stepper.network},
        loss=loss,
        minutes=minutes,
        samples=len(samples.labels),
    )


def _loop(task: Task, stepper: Stepper, feed: Feed, stop: StopRequest) -> float:
    """Take all steps; the mean loss of the last up to ``REPORT_INTERVAL`` of them."""
    loss, began = float("nan"), time.monotonic()
    for step in range(task.steps):
        if stop.asked:
            raise Stopped(
                f"{task.arm.name}: stopped after step {step} of {task.steps}; nothing is kept of it"
            )
        images, codes = feed.batch(step)
        stepper.take(step, images, codes)
        done = step + 1
        if done % REPORT_INTERVAL == 0 or done == task.steps:
            counts = stepper.tally.read()
            if counts.in_a_row >= MOST_SKIPS_IN_A_ROW:
                raise TrainingError(f"{task.title}: the loss is not finite in step {done}")
            loss = counts.loss
            stepper.tally.new_epoch()
            rate = done * task.batch_size / (time.monotonic() - began)
            print(
                f"{task.title}: step {done} of {task.steps}, loss {loss:.3f}, {rate:.1f} images/s",
                flush=True,
            )
    return loss


def _plan(task: Task, ranks: Ranks) -> Plan:
    training = task.arm.training
    return Plan(
        title=task.arm.name,
        steps=task.steps,
        steps_per_epoch=task.steps,
        batch_size=task.batch_size,
        highest_rate=training.lr,
        weight_decay=WEIGHT_DECAY,
        ema_decay=training.ema_decay,
        structure_loss=TrainOptions(
            num_classes=training.num_classes, structure_loss=training.structure_loss
        ).structure_weight,
        balanced=training.balanced,
        coarse_levels=training.coarse_levels,
        bf16=use_bf16("auto", ranks.device),
        decisive={},
        stem=Path(task.arm.name),
    )


def _feed(task: Task, samples: SampleArrays, spacing_mm: float, ranks: Ranks) -> Feed:
    training = task.arm.training
    feed: Feed
    if training.renders:
        feed = RenderFeed(
            samples.labels,
            task.arm.generator(spacing_mm),
            seed=task.seed,
            batch_size=task.batch_size,
            ranks=ranks,
        )
    else:
        feed = RealFeed(
            samples,
            AUGMENTATIONS[training.augmentation],
            seed=task.seed,
            batch_size=task.batch_size,
            ranks=ranks,
        )
    return ChangedFeed(feed, training.input)


def save(task: Task, trained: Trained, slices: Slices, paths: dict[str, Path]) -> None:
    """Write checkpoints of both kinds of weights, which eval reads too.

    Raises:
        OSError: one cannot be written.
    """
    config = task.arm.settings(slices.spacing_mm) | {
        "arm": task.arm.name,
        "changes": task.arm.changes,
        "preset": task.arm.preset,
        "seed": task.seed,
        "fold": task.fold.name,
        "steps": task.steps,
        "batch_size": task.batch_size,
        "train_patients": sorted(task.fold.train),
    }
    for kind, path in paths.items():
        network = trained.weights[kind]
        checkpoint = Checkpoint(
            state_dict=bare_state(network.state_dict()),
            architecture=network.architecture,
            model="A" if task.arm.training.renders else "B",
            config=json.dumps(config),
            step=task.steps,
            validation_dice=float("nan"),
            spacing_mm=slices.spacing_mm,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, checkpoint)


def _half_each(first: SampleArrays, second: SampleArrays) -> SampleArrays:
    """Label maps of both, those of the smaller set repeated, so that each is drawn about as often."""
    size = max(len(first.labels), len(second.labels))
    parts = [take(part, np.resize(np.arange(len(part.labels)), size).tolist()) for part in (first, second)]
    return SampleArrays(
        None,
        np.concatenate([part.labels for part in parts]),
        parts[0].records + parts[1].records,
    )


def _lot(source: str, seed: int) -> str:
    return hashlib.sha256(f"shots:{seed}:{source}".encode()).hexdigest()
