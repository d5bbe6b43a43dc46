"""A dry run: one batch through everything, and what the whole run would take."""

import time
from dataclasses import dataclass

from synthspine.train.plan import TrainingError
from synthspine.train.trainer import Trainer

STEPS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What a dry run found.

    Attributes:
        loss: mean loss of the first batches.
        step_seconds: time of a step, the feed included.
        validation_seconds: time of a validation.
        minutes: what the whole run would take.
    """

    loss: float
    step_seconds: float
    validation_seconds: float
    minutes: float


def rehearse(trainer: Trainer) -> Rehearsal:
    """Take some steps and a validation, and write nothing; the trainer is of no use after it.

    The first step warms up (and compiles), so the last one is timed. All ranks call it together.

    Raises:
        TrainingError: loss or gradient of a step is not finite.
    """
    plan, tally = trainer.plan, trainer.stepper.tally
    for step in range(STEPS):
        started = time.monotonic()
        images, codes = trainer.feed.batch(step)
        trainer.stepper.take(step, images, codes)
        counts = tally.read()
        step_seconds = time.monotonic() - started
        if counts.skipped:
            raise TrainingError(
                f"{plan.title}: dry run: loss or gradient of step {step + 1} is not finite; "
                "try --precision fp32 or another --preset, and python shards/main.py verify on the sets"
            )
    started = time.monotonic()
    trainer.validate()
    validation_seconds = time.monotonic() - started
    seconds = plan.steps * step_seconds + plan.validations * validation_seconds
    return Rehearsal(
        loss=counts.loss,
        step_seconds=step_seconds,
        validation_seconds=validation_seconds,
        minutes=seconds / 60,
    )
