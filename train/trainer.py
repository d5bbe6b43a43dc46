"""The training loop of one model, the same for A and B, alone or on several ranks."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen import LabelScheme
from train.distributed import Ranks, SharedGradients
from train.feed import Feed
from train.log import TrainingLog, progress_bar
from train.loss import count_valid, segmentation_loss
from train.precision import autocast
from train.schedule import learning_rate
from train.snapshot import OtherRunError, Progress, load_snapshot, save_snapshot
from train.stop import Stopped, StopRequest, watch_for_stop
from train.unet import UNet
from train.validation import Score, ValidationSet, validate

LARGEST_GRADIENT_NORM = 5.0
# Reading the stop flag makes a GPU wait, so it is read only now and then there.
CUDA_STOP_INTERVAL = 10
# Short epochs are not all validated: rendering and scoring would take the time of the steps.
LEAST_STEPS_BETWEEN_VALIDATIONS = 100


class TrainingError(ValueError):
    """A training cannot start or go on; the text is one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        title: name of the model, for the progress bar.
        steps: steps of the run.
        steps_per_epoch: steps of an epoch.
        batch_size: samples of a step, all ranks together.
        highest_rate: learning rate after the warm-up.
        weight_decay: of AdamW.
        bf16: whether the network runs under bf16 autocast.
        decisive: choices that a run must share to go on from its snapshot.
        snapshot_file: where the last state is kept.
        log_file: the CSV log.
    """

    title: str
    steps: int
    steps_per_epoch: int
    batch_size: int
    highest_rate: float
    weight_decay: float
    bf16: bool
    decisive: dict[str, Any]
    snapshot_file: Path
    log_file: Path

    @property
    def steps_between_validations(self) -> int:
        """Whole epochs, together at least ``LEAST_STEPS_BETWEEN_VALIDATIONS`` steps."""
        return self.steps_per_epoch * math.ceil(LEAST_STEPS_BETWEEN_VALIDATIONS / self.steps_per_epoch)


class Trainer:
    """Trains one network.

    Args:
        network: on its device. Rank 0's weights are given to all ranks.
        feed: where batches come from.
        validation: what chooses the checkpoint; None keeps the last weights.
        scheme: classes of the network.
        plan: what to do.
        ranks: place of this process.
        save_best: called on rank 0 with (step, validation Dice) when the weights are the best so far.
    """

    def __init__(
        self,
        network: UNet,
        feed: Feed,
        validation: ValidationSet | None,
        scheme: LabelScheme,
        plan: Plan,
        ranks: Ranks,
        save_best: Callable[[int, float], None],
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.feed = feed
        self.validation = validation
        self.scheme = scheme
        self.plan = plan
        self.ranks = ranks
        self.save_best = save_best
        self.gradients = SharedGradients(network)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=plan.highest_rate, weight_decay=plan.weight_decay, fused=True
        )
        self.progress = Progress()

    def run(self, *, resume: bool) -> Progress:
        """Train to the end of the plan.

        Args:
            resume: go on from the snapshot, if there is one.

        Raises:
            CheckpointError: the snapshot cannot be used.
            TrainingError: the loss is not finite.
            Stopped: SIGTERM came; the state is saved.
        """
        self.ranks.send_state(self.network.state_dict().values())
        if resume and self.plan.snapshot_file.is_file():
            self._resume()
        self.ranks.wait()
        is_main = self.ranks.is_main
        log = TrainingLog(self.plan.log_file if is_main else None, self.progress.step)
        bar = progress_bar(self.plan.title, self.plan.steps, self.progress.step, shown=is_main)
        with bar, watch_for_stop() as stop:
            self._loop(log, bar.update, stop)
        return self.progress

    def _resume(self) -> None:
        """Take up the snapshot; one of another run is set aside, and training starts anew."""
        path = self.plan.snapshot_file
        try:
            self.progress = load_snapshot(path, self.network, self.optimizer, self.plan.decisive)
        except OtherRunError as error:
            self.ranks.wait()
            if self.ranks.is_main:
                kept = path.with_suffix(".previous.pth")
                path.replace(kept)
                print(f"{error}; it is kept as {kept.name}, and training starts anew", flush=True)

    def _loop(self, log: TrainingLog, advance: Callable[[], object], stop: StopRequest) -> None:
        progress, plan = self.progress, self.plan
        started = time.monotonic() - progress.seconds
        loss_sum = torch.tensor(
            progress.loss_sum if self.ranks.is_main else 0.0, dtype=torch.float64, device=self.ranks.device
        )
        stop_interval = CUDA_STOP_INTERVAL if self.ranks.device.type == "cuda" else 1
        self.network.train()
        while progress.step < plan.steps:
            loss, asked = self._step(progress.step, stop.asked)
            loss_sum += loss
            progress.step += 1
            advance()
            stopping = progress.step % stop_interval == 0 and bool(asked.item())
            end_of_epoch = progress.step % plan.steps_per_epoch == 0 or progress.step == plan.steps
            if not (end_of_epoch or stopping):
                continue
            progress.loss_sum = float(self.ranks.sum_(loss_sum).item())
            progress.seconds = time.monotonic() - started
            if not math.isfinite(progress.loss_sum):
                raise TrainingError(
                    f"the loss became {progress.loss_sum} before step {progress.step}; lower --lr"
                )
            if end_of_epoch:
                self._end_epoch(log)
            loss_sum.fill_(progress.loss_sum if self.ranks.is_main else 0.0)
            if stopping and progress.step < plan.steps:
                self._save_snapshot()
                raise Stopped(
                    f"stopped after step {progress.step} of {plan.steps}, "
                    f"state saved in {plan.snapshot_file}; go on with --resume"
                )

    def _step(self, step: int, stop: bool) -> tuple[Tensor, Tensor]:
        """One step; returns this rank's share of the loss and whether any rank was asked to stop."""
        images, codes = self.feed.batch(step)
        target = self.scheme.encode(codes)
        shared = torch.stack((count_valid(target), torch.full((), int(stop), device=target.device)))
        valid_pixels, asked = self.ranks.sum_(shared).unbind()

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.plan.steps, self.plan.highest_rate)
        with autocast(self.plan.bf16, self.ranks.device):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = segmentation_loss(logits, target, valid_pixels=valid_pixels, samples=self.plan.batch_size)
        self.gradients.clear()
        loss.backward()
        self.ranks.sum_(self.gradients.buffer)
        self.gradients.clip_(LARGEST_GRADIENT_NORM)
        self.optimizer.step()
        return loss.detach(), asked

    def _end_epoch(self, log: TrainingLog) -> None:
        progress, plan = self.progress, self.plan
        last = progress.step == plan.steps
        due = last or progress.step % plan.steps_between_validations == 0
        score: Score | None = None
        better = False
        if due and self.validation is not None:
            score = validate(self.network, self.validation, self.scheme, self.ranks, bf16=plan.bf16)
            better = score.mean > progress.best
        # Without a score (no validation patients, or no structure in them) the last weights are kept.
        keep_last = last and math.isinf(progress.best) and not better
        if better and score is not None:
            progress.best = score.mean
        if (better or keep_last) and self.ranks.is_main:
            self.save_best(progress.step, progress.best if better else float("nan"))
        log.add(
            step=progress.step,
            epoch=math.ceil(progress.step / plan.steps_per_epoch),
            samples=progress.step * plan.batch_size,
            seconds=progress.seconds,
            learning_rate=learning_rate(progress.step - 1, plan.steps, plan.highest_rate),
            loss=progress.loss_sum / ((progress.step - 1) % plan.steps_per_epoch + 1),
            score=score,
            best=better,
        )
        progress.loss_sum = 0.0
        if due:
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        if self.ranks.is_main:
            save_snapshot(
                self.plan.snapshot_file, self.network, self.optimizer, self.progress, self.plan.decisive
            )
