"""One step of training: forward, backward, sum over ranks, clip, update, average; schedules and statistics.

A step whose loss or gradient is not finite changes the statistics alone. The verdict is about sums over
ranks, so all ranks agree, and it stays on the device: the fused optimiser takes it as ``found_inf``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.train.config import Plan
from synthspine.train.losses import LossContext, count_pixels, find_loss, structure_loss
from synthspine.train.model.deep_supervision import DeepSupervision
from synthspine.train.model.ema import WeightAverage
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks, SharedGradients
from synthspine.train.runtime.precision import autocast

LARGEST_GRADIENT_NORM = 5.0
MOST_SKIPS_IN_A_ROW = 10
WARM_UP_SHARE = 0.05
FINAL_SHARE = 0.01
BALANCED_SHARE, BALANCED_STEPS = 0.9, 1000
"""All pixels count alike after this share of a run, or after this number of steps if that is earlier."""


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Learning rate of a step 0..steps-1: linear warm-up to ``highest``, half a cosine to a hundredth."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return highest * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up - 1)
    return highest * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress)))


def class_balance(step: int, steps: int) -> float:
    """How far the cross-entropy of a step 0..steps-1 lifts small classes: 1 at first, in a line down to 0."""
    return max(0.0, 1 - step / min(BALANCED_SHARE * steps, BALANCED_STEPS))


@dataclass(kw_only=True, slots=True)
class Counts:
    """Statistics of steps.

    Attributes:
        loss_sum: loss of the epoch's good steps, summed.
        steps: good steps of the epoch.
        skipped: steps of the whole run whose loss or gradient was not finite.
        in_a_row: such steps since the last good one; it stays from ``MOST_SKIPS_IN_A_ROW`` on, so that a
            reading at intervals does not miss it.
    """

    loss_sum: float = 0.0
    steps: float = 0.0
    skipped: float = 0.0
    in_a_row: float = 0.0

    @property
    def loss(self) -> float:
        """Mean loss of the epoch's good steps; nan without any."""
        return self.loss_sum / self.steps if self.steps else float("nan")


class StepStatistics:
    """Counts on the device of the losses. A step only adds, because reading waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self._values = torch.zeros(len(Counts.__slots__), dtype=torch.float64, device=device)

    def add(self, loss: Tensor, finite: Tensor) -> None:
        """Count a step by its loss (of the global batch) and whether it was good (bool), both scalars."""
        good = finite.to(self._values.dtype)
        bad = 1 - good
        loss_sum, steps, skipped, in_a_row = self._values.unbind()
        stuck = in_a_row >= MOST_SKIPS_IN_A_ROW
        self._values = torch.stack(
            (
                loss_sum + torch.where(finite, loss.double(), 0.0),
                steps + good,
                skipped + bad,
                torch.where(stuck, in_a_row, (in_a_row + 1) * bad),
            )
        )

    def read(self) -> Counts:
        """The numbers; waits for the device."""
        return Counts(**dict(zip(Counts.__slots__, self._values.tolist(), strict=True)))

    def set(self, counts: Counts) -> None:
        """Go on from these numbers."""
        values = [getattr(counts, name) for name in Counts.__slots__]
        self._values = torch.tensor(values, dtype=torch.float64, device=self._values.device)

    def new_epoch(self) -> None:
        """Forget the loss of the epoch."""
        self._values = self._values * self._values.new_tensor([0.0, 0.0, 1.0, 1.0])


class Stepper:
    """The state that a step changes: weights, moments of the optimiser, average, statistics.

    The network is on its device. All ranks make their stepper together, and get the weights of rank 0.
    """

    def __init__(self, network: UNet, scheme: LabelScheme, plan: Plan, ranks: Ranks) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.supervised = DeepSupervision(self.network)
        ranks.send_state(self.supervised.state_dict().values())
        self.scheme = scheme
        self.plan = plan
        self.loss = find_loss(plan.loss)
        self.ranks = ranks
        self.average = WeightAverage(network, plan.ema_decay)
        self.gradients = SharedGradients(self.supervised)
        parameters = list(self.supervised.parameters())
        # Kernels decay, scales and offsets do not.
        groups: list[dict[str, Any]] = [
            {"params": [value for value in parameters if value.ndim > 1], "weight_decay": plan.weight_decay},
            {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=plan.highest_rate, fused=True)
        self.statistics = StepStatistics(ranks.device)
        self._forward: Callable[[Tensor], list[Tensor]] = (
            torch.compile(self.supervised) if plan.compiled else self.supervised
        )

    def take(self, step: int, images: Tensor, codes: Tensor, *, stop: bool = False) -> Tensor:
        """Take step number ``step`` on this rank's share of the batch, as a feed gives it.

        Args:
            step: number of the step, 0..
            images: float32 in [0, 1], shape ``(B, 1, H, W)``.
            codes: dense codes, uint8, shape ``(B, H, W)``.
            stop: whether this rank was requested to stop.

        Returns:
            How many ranks were requested to stop, a scalar on the device.
        """
        targets = self.supervised.targets(self.scheme.encode(codes))
        counts = [count_pixels(target, self.scheme.num_classes) for target in targets]
        shared = torch.cat((*counts, counts[0].new_full((1,), int(stop))))
        *counts, requested = self.ranks.sum_(shared).split([len(count) for count in counts] + [1])

        self.gradients.clear()
        chunks = [target.chunk(self.plan.accumulate) for target in targets]
        for part, *part_targets in zip(images.chunk(self.plan.accumulate), *chunks, strict=True):
            self._add_gradient(step, part, part_targets, counts)
        self.gradients.sum_(self.ranks)
        self._update(step)
        return requested.squeeze(0)

    def _add_gradient(self, step: int, images: Tensor, targets: list[Tensor], counts: list[Tensor]) -> None:
        plan = self.plan
        with autocast(plan.bf16, self.ranks.device):
            outputs = self._forward(images.contiguous(memory_format=torch.channels_last))
        balance = class_balance(step, plan.steps) if plan.balanced else 0.0
        loss = self.gradients.loss.new_zeros(())
        contexts = [
            LossContext(class_pixels=pixels, samples=plan.batch_size, balance=balance) for pixels in counts
        ]
        levels = zip(self.supervised.weights, outputs, targets, contexts, strict=True)
        for weight, logits, target, context in levels:
            loss = loss + weight * self.loss(logits, target, context)
        if plan.structure_loss > 0:
            second = structure_loss(self.loss, outputs[0], targets[0], self.scheme, contexts[0])
            loss = loss + plan.structure_loss * second
        loss.backward()
        self.gradients.loss += loss.detach()

    def _update(self, step: int) -> None:
        norm = self.gradients.clip_(LARGEST_GRADIENT_NORM)
        finite = (norm + self.gradients.loss).isfinite()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.plan.steps, self.plan.highest_rate)
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.average.update(step, finite)
        self.statistics.add(self.gradients.loss, finite)
