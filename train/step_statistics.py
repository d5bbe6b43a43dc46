"""What the steps of an epoch add up to, counted on the device and read now and then.

Reading makes a GPU wait for all that was asked of it, so that a step only adds, and the loop reads at
intervals.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_SKIPS_IN_A_ROW = 10


@dataclass(kw_only=True, slots=True)
class Counts:
    """Numbers of a tally.

    Attributes:
        loss_sum: loss of the epoch's good steps, summed.
        steps: good steps of the epoch.
        skipped: steps of the whole run whose loss or gradient was not finite.
        in_a_row: such steps since the last good one; stays where it is from ``MOST_SKIPS_IN_A_ROW`` on, so
            that a reading at intervals does not miss it.
    """

    loss_sum: float = 0.0
    steps: float = 0.0
    skipped: float = 0.0
    in_a_row: float = 0.0

    @property
    def loss(self) -> float:
        """Mean loss of the epoch's good steps; nan without any."""
        return self.loss_sum / self.steps if self.steps else float("nan")


class Tally:
    """Counts on a device.

    Args:
        device: where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self._values = torch.zeros(len(Counts.__slots__), dtype=torch.float64, device=device)

    def add(self, loss: Tensor, finite: Tensor) -> None:
        """Count a step.

        Args:
            loss: loss of the global batch, a scalar.
            finite: whether the step was good, bool, a scalar.
        """
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
