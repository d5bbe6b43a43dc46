"""The training loop of one model, the same for A and B, alone or on several ranks."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import TypeVar

from synthspine.gen import LabelScheme
from synthspine.train.config import Plan, TrainingError
from synthspine.train.data.feed import Feed
from synthspine.train.model.unet import UNet
from synthspine.train.reporting import Epoch, Reporter, validation_picture
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.runtime.stop import StopRequest, TrainingStopped
from synthspine.train.snapshots import Progress, SnapshotFolder, pack_snapshot, restore, unpack_snapshot
from synthspine.train.step import MOST_SKIPS_IN_A_ROW, Counts, Stepper, learning_rate
from synthspine.train.validation import Score, ValidationSet, validate

Result = TypeVar("Result")

# Reading statistics and stop flag makes a GPU wait, so they are read at intervals there.
CUDA_READING_INTERVAL = 10


@dataclass
class Trainer:
    """Trains one network.

    Args:
        network: on its device. Rank 0's weights are given to all ranks.
        feed: where batches come from.
        validation: samples that choose the checkpoint; None keeps the last weights.
        save_model: called on rank 0 with (ending of the file, averaged network, step, validation Dice): the
            best so far as ``best.pth``, that of a stopped run as ``stopped.pth``, with nan.
    """

    network: InitVar[UNet]
    feed: Feed
    validation: ValidationSet | None
    scheme: LabelScheme
    plan: Plan
    ranks: Ranks
    save_model: Callable[[str, UNet, int, float], None]

    def __post_init__(self, network: UNet) -> None:
        self.stepper = Stepper(network, self.scheme, self.plan, self.ranks)
        self.progress = Progress()
        self.snapshots = SnapshotFolder(self.plan, self.ranks.log)
        self._reading_interval = CUDA_READING_INTERVAL if self.ranks.device.type == "cuda" else 1

    def run(self, *, stop: StopRequest | None = None) -> Progress:
        """Train to the end of the plan, from the newest snapshot with the same run identity if there is one.

        When ``stop`` is requested, all ranks stop after the same step.

        Raises:
            CheckpointError: the snapshot cannot be used.
            TrainingError: the loss was not finite in many steps in a row.
            OSError: the checkpoint or the last snapshot cannot be written.
            TrainingStopped: this or another rank was requested to stop; the state is saved.
        """
        if self.ranks.is_main:
            self.snapshots.clear_unfinished()
        self._resume()
        self.ranks.barrier()
        names = self.scheme.structure_names
        self._report = Reporter(self.plan, self.progress.step, names, active=self.ranks.is_main)
        try:
            self.stepper.network.train()
            self._loop(stop or StopRequest())
        finally:
            self._report.close()
        return self.progress

    def _resume(self) -> None:
        """Restore the newest good snapshot of rank 0; other machines do not need the folder."""
        found = self._newest_good() if self.ranks.is_main else None
        data = self.ranks.from_main(lambda: found[1] if found else None)
        if data is None:
            if self.ranks.is_main:
                self.snapshots.set_aside()
            return
        name = found[0] if found else "the snapshot of rank 0"
        payload = unpack_snapshot(data, name, self.plan.run_identity)
        self.progress = restore(payload, name, self.stepper)
        plan, step, log = self.plan, self.progress.step, self.ranks.log
        log(f"{plan.title}: going on from step {step} ({name})")
        if (code := payload["code"]) != plan.code:
            made_by = ", ".join(f"{name} {text}" for name, text in code.items() if name != "changes")
            log(
                f"warning: {plan.title}: its {step} steps were made by other code ({made_by}); to train "
                f"anew: --resume never (with make, first remove {plan.file('last-*.pth')})"
            )
        if payload["validated_on"] != plan.validated_on:
            log(
                f"{plan.title}: the validation samples are others than before, so the best score starts "
                f"anew: the next one replaces {plan.file('best.pth')}"
            )

    def _newest_good(self) -> tuple[Path, bytes] | None:
        """The newest snapshot of which the stepper of this rank takes the state."""
        return self.snapshots.newest_good(
            self.plan.run_identity, lambda payload, path: restore(payload, path, self.stepper)
        )

    def _loop(self, stop: StopRequest) -> None:
        progress, plan = self.progress, self.plan
        self._started = time.monotonic() - progress.seconds
        self._saved = time.monotonic()
        while progress.step < plan.steps:
            images, codes = self.feed.batch(progress.step)
            requested = self.stepper.take(progress.step, images, codes, stop=stop.requested)
            progress.step += 1
            end_of_epoch = progress.step % plan.steps_per_epoch == 0 or progress.step == plan.steps
            reading = progress.step % self._reading_interval == 0
            if not (reading or end_of_epoch):
                continue
            stopping = reading and bool(requested.item()) and progress.step < plan.steps
            counts = self._read_counts()
            if end_of_epoch:
                self._end_epoch(counts)
            if stopping:
                raise self._stop()
            if time.monotonic() - self._saved >= 60 * plan.snapshot_minutes:
                self._save_snapshot()

    def _read_counts(self) -> Counts:
        """Read statistics and time into the progress; one wait for the device."""
        progress, before = self.progress, self.progress.counts.skipped
        counts = progress.counts = self.stepper.statistics.read()
        progress.seconds = time.monotonic() - self._started
        if counts.in_a_row >= MOST_SKIPS_IN_A_ROW:
            raise TrainingError(
                f"{self.plan.title}: loss or gradient not finite in {counts.in_a_row:.0f} steps in a row, "
                f"up to step {progress.step}; try --precision fp32, which with --resume auto goes on from "
                "the last snapshot, or a lower --lr, which starts anew from step 0"
            )
        if counts.skipped > before:
            self._report.log(
                f"warning: {self.plan.title}: skipped {counts.skipped - before:.0f} step(s) up to step "
                f"{progress.step}, loss or gradient not finite; {counts.skipped:.0f} in all"
            )
        self._report.advance(progress.step, counts.loss)
        return counts

    def _end_epoch(self, counts: Counts) -> None:
        progress, plan = self.progress, self.plan
        rate = self._report.images_per_second
        last = progress.step == plan.steps
        due = plan.is_validated(progress.step)
        score = self.validate() if due else None
        better = score is not None and score.mean > progress.best
        # Without a score (no validation patients, or no structure in them) the last weights are kept.
        if better or (last and math.isinf(progress.best)):
            better = self._save_best(score.mean if better and score is not None else None)
        self._report.add(
            Epoch(
                step=progress.step,
                epoch=math.ceil(progress.step / plan.steps_per_epoch),
                samples=progress.step * plan.batch_size,
                minutes=progress.seconds / 60,
                learning_rate=learning_rate(progress.step - 1, plan.steps, plan.highest_rate),
                loss=counts.loss,
                images_per_second=rate,
                skipped=int(counts.skipped),
                score=score,
                best=better,
            ),
            lambda: self._with_average(validation_picture) if due else None,
        )
        self.stepper.statistics.new_epoch()
        progress.counts = self.stepper.statistics.read()
        if due:
            self._save_snapshot()
        self._report.restart_clock()

    def validate(self) -> Score | None:
        """Score the averaged weights; None without validation samples. All ranks call it together."""
        return self._with_average(validate)

    def _with_average(self, function: Callable[..., Result]) -> Result | None:
        """Result of ``validate`` or ``validation_picture`` for the averaged weights."""
        if self.validation is None:
            return None
        network = self.stepper.average.network
        return function(network, self.validation, self.scheme, self.ranks, bf16=self.plan.bf16)

    def _save_best(self, score: float | None) -> bool:
        """Save the average and remember its score, if it has one; whether it is the best.

        If it cannot be saved, the score is not remembered, so that the next good one is saved. At the last
        step this is an error.
        """
        progress = self.progress
        if self.ranks.is_main:
            try:
                dice = math.nan if score is None else score
                self.save_model("best.pth", self.stepper.average.network, progress.step, dice)
            except OSError as error:
                if progress.step == self.plan.steps:
                    raise
                self._report.log(f"warning: the best weights could not be saved ({error}); training goes on")
                return False
        progress.best = progress.best if score is None else score
        return score is not None

    def _save_snapshot(self) -> None:
        """Save the state on rank 0; in the middle of a run a failure is a warning."""
        self._saved = time.monotonic()
        if not self.ranks.is_main:
            return
        last = self.progress.step == self.plan.steps
        with nullcontext() if last else self._report.going_on_without("the snapshot"):
            self.snapshots.save(self.progress.step, pack_snapshot(self.stepper, self.progress))

    def _stop(self) -> TrainingStopped:
        """Save the state, and the averaged weights as a model; the error to raise."""
        progress = self.progress
        path = self.snapshots.file(progress.step)
        if self.ranks.is_main and not path.is_file():
            path = self.snapshots.save(progress.step, pack_snapshot(self.stepper, progress))
        if self.ranks.is_main and progress.step:
            with self._report.going_on_without("the model of the stopped run"):
                self.save_model("stopped.pth", self.stepper.average.network, progress.step, math.nan)
        return TrainingStopped(
            f"{self.plan.title}: stopped after step {progress.step} of {self.plan.steps}, "
            f"state saved in {path}; go on with the same command and --resume auto"
        )
