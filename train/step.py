"""One step of training: forward, backward, sum over ranks, clip, update, average.

A step whose loss or gradient is not finite changes nothing but the tally. Loss and gradients have been summed
over ranks when they are judged, so all ranks come to the same verdict, and the verdict stays on the device:
the fused optimiser takes it as ``found_inf``, as it does from torch's gradient scaler, and leaves weights,
moments and its count of steps alone; the average takes in nothing. So no GPU is made to wait.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gen import LabelScheme
from train.distributed import Ranks, SharedGradients
from train.ema import WeightAverage
from train.loss import count_valid, segmentation_loss
from train.plan import Plan
from train.precision import autocast
from train.schedule import learning_rate
from train.structure_loss import structure_loss
from train.tally import Tally
from train.unet import UNet

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
        ranks.send_state(network.state_dict().values())
        self.scheme = scheme
        self.plan = plan
        self.ranks = ranks
        self.average = WeightAverage(network, plan.ema_decay)
        self.gradients = SharedGradients(network)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=plan.highest_rate, weight_decay=plan.weight_decay, fused=True
        )
        self.tally = Tally(ranks.device)
        self._forward: Callable[[Tensor], Tensor] = torch.compile(network) if plan.compiled else network

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
        target = self.scheme.encode(codes)
        shared = torch.stack((count_valid(target), torch.full((), int(stop), device=target.device)))
        valid_pixels, asked = self.ranks.sum_(shared).unbind()

        self.gradients.clear()
        parts = zip(images.chunk(self.plan.accumulate), target.chunk(self.plan.accumulate), strict=True)
        for part, part_target in parts:
            self._add_gradient(part, part_target, valid_pixels)
        self.gradients.sum_(self.ranks)
        self._update(step)
        return asked

    def _add_gradient(self, images: Tensor, target: Tensor, valid_pixels: Tensor) -> None:
        with autocast(self.plan.bf16, self.ranks.device):
            logits = self._forward(images.contiguous(memory_format=torch.channels_last))
        samples = self.plan.batch_size
        loss = segmentation_loss(logits, target, valid_pixels=valid_pixels, samples=samples)
        if (weight := self.plan.structure_loss) > 0:
            merged = structure_loss(logits, target, self.scheme, valid_pixels=valid_pixels, samples=samples)
            loss = loss + weight * merged
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
