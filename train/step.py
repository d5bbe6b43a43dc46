"""One step of training: forward, backward, sum over ranks, clip, update, average.

A step whose loss or gradient is not finite changes nothing but the tally. Loss and gradients have been summed
over ranks when they are judged, so all ranks come to the same verdict, and the verdict stays on the device:
the fused optimiser takes it as ``found_inf``, as it does from torch's gradient scaler, and leaves weights,
moments and its count of steps alone; the average takes in nothing. So no GPU is made to wait.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from synthspine.gen import LabelScheme
from synthspine.train.losses import count_pixels, segmentation_loss
from synthspine.train.model.deep_supervision import DeepSupervision
from synthspine.train.model.ema import WeightAverage
from synthspine.train.model.unet import UNet
from synthspine.train.plan import Plan
from synthspine.train.runtime.distributed import Ranks, SharedGradients
from synthspine.train.runtime.precision import autocast
from synthspine.train.schedule import class_balance, learning_rate
from synthspine.train.step_statistics import Tally
from synthspine.train.structure_loss import structure_loss

LARGEST_GRADIENT_NORM = 5.0


class Stepper:
    """What a step changes: the weights, the moments of the optimiser, the average, the tally.

    Args:
        network: on its device. Rank 0's weights are given to all ranks.
        scheme: classes of the network.
        plan: what the run does.
        ranks: place of this process; all ranks make their stepper at the same time.
    """

    def __init__(self, network: UNet, scheme: LabelScheme, plan: Plan, ranks: Ranks) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.supervised = DeepSupervision(self.network, plan.coarse_levels)
        ranks.send_state(self.supervised.state_dict().values())
        self.scheme = scheme
        self.plan = plan
        self.ranks = ranks
        self.average = WeightAverage(network, plan.ema_decay)
        self.gradients = SharedGradients(self.supervised)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.supervised, plan.weight_decay), lr=plan.highest_rate, fused=True
        )
        self.tally = Tally(ranks.device)
        self._forward: Callable[[Tensor], list[Tensor]] = (
            torch.compile(self.supervised) if plan.compiled else self.supervised
        )

    def take(self, step: int, images: Tensor, codes: Tensor, *, stop: bool = False) -> Tensor:
        """Take one step.

        Args:
            step: number of the step, 0..
            images: this rank's share of the batch, float32 in [0, 1], shape ``(B, 1, H, W)``.
            codes: dense codes, uint8, shape ``(B, H, W)``.
            stop: whether this rank was asked to stop.

        Returns:
            How many ranks were asked to stop, a scalar on the device.
        """
        targets = self.supervised.targets(self.scheme.encode(codes))
        counts = [count_pixels(target, self.scheme.num_classes) for target in targets]
        shared = torch.cat((*counts, counts[0].new_full((1,), int(stop))))
        *counts, asked = self.ranks.sum_(shared).split([len(count) for count in counts] + [1])

        self.gradients.clear()
        chunks = [target.chunk(self.plan.accumulate) for target in targets]
        for part, *part_targets in zip(images.chunk(self.plan.accumulate), *chunks, strict=True):
            self._add_gradient(step, part, part_targets, counts)
        self.gradients.sum_(self.ranks)
        self._update(step)
        return asked.squeeze(0)

    def _add_gradient(self, step: int, images: Tensor, targets: list[Tensor], counts: list[Tensor]) -> None:
        plan = self.plan
        with autocast(plan.bf16, self.ranks.device):
            answers = self._forward(images.contiguous(memory_format=torch.channels_last))
        balance = class_balance(step, plan.steps) if plan.balanced else 0.0
        loss = self.gradients.loss.new_zeros(())
        for weight, logits, target, pixels in zip(
            self.supervised.weights, answers, targets, counts, strict=True
        ):
            loss = loss + weight * segmentation_loss(
                logits, target, class_pixels=pixels, samples=plan.batch_size, balance=balance
            )
        if plan.structure_loss > 0:
            loss = loss + plan.structure_loss * structure_loss(
                answers[0],
                targets[0],
                self.scheme,
                class_pixels=counts[0],
                samples=plan.batch_size,
                balance=balance,
            )
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
        self.tally.add(self.gradients.loss, finite)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Kernels, which decay, and scales and offsets, which do not."""
    parameters = list(network.parameters())
    return [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
