"""The moving average of the weights, which is validated and saved in place of the weights themselves."""

import copy

import torch
from torch import Tensor

from synthspine.train.model.unet import UNet

REACH_SHARE = 0.05
"""Share of the steps done that the average reaches back over, until the largest decay says less."""


def decay_of(step: int, largest: float) -> float:
    """Decay of the average after ``step`` steps: ``step / (step + 1 / REACH_SHARE)``, at most ``largest``.

    At 0 the decay is 0: the first average is the first weights themselves, and needs no correction.
    """
    return min(largest, step / (step + 1 / REACH_SHARE))


class WeightAverage:
    """An exponential moving average of the weights of a network, in ``network``, without gradients.

    It starts at the weights; ``decay`` is the largest decay, and 0 makes it equal to the weights.
    """

    def __init__(self, network: UNet, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self._averages: list[Tensor] = list(self.network.parameters())
        self._weights: list[Tensor] = list(network.parameters())

    @torch.no_grad()
    def update(self, step: int, finite: Tensor) -> None:
        """Add the weights after step number ``step`` to the average; nothing waits for the device.

        ``finite``, a bool scalar on the device: whether the step changed them; if not, the average stays.
        """
        share = 1 - decay_of(step, self.decay)
        if share == 1:
            # The average was equal to the weights before the step, so a copy is right in both cases.
            torch._foreach_copy_(self._averages, self._weights)
            return
        changes = torch._foreach_sub(self._weights, self._averages)
        torch._foreach_mul_(changes, finite * share)
        torch._foreach_add_(self._averages, changes)
