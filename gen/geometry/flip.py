"""Mirror images of label maps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.drawing import Drawing, Feature, showcase
from synthspine.gen.core.feature import Batch
from synthspine.gen.core.masks import per_sample


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipParams(Batch):
    """Which axes are mirrored: 1 or 0, ``(B,)``; None for an axis that never is."""

    left_right: Tensor | None  # slices
    head_foot: Tensor | None  # rows
    front_back: Tensor | None  # columns


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipConfig(Feature[FlipParams]):
    """Mirror images.

    Only left and right of a patient are alike. The other flips give impossible anatomy, because body layers,
    bowel and sacrum keep the front on the left and the head at the top.
    """

    left_right_probability: float = 0.5
    """Probability of a flip of the slice axis (3D; without effect in 2D)."""
    head_foot_probability: float = 0.0
    """Probability of a flip of the rows."""
    front_back_probability: float = 0.0
    """Probability of a flip of the columns."""

    shown = showcase(
        front_back_probability=1.0, also={"body_layers": {"probability": 0.0}, "sacrum": {"probability": 0.0}}
    )

    def sample(self, random: Drawing) -> FlipParams | None:
        """Draw the flips."""

        def flips(name: str, probability: float) -> Tensor | None:
            return random.chance(name, probability).float() if probability else None

        left_right = (
            flips("flip_left_right", self.left_right_probability) if len(random.spacing_mm) == 3 else None
        )
        head_foot = flips("flip_head_foot", self.head_foot_probability)
        front_back = flips("flip_front_back", self.front_back_probability)
        if left_right is None and head_foot is None and front_back is None:
            return None
        return FlipParams(left_right=left_right, head_foot=head_foot, front_back=front_back)


def mirror(codes: Tensor, params: FlipParams | None) -> Tensor:
    """Mirror label maps, dense codes, uint8, shape ``(B, *grid)``; the same shape back."""
    if params is None:
        return codes
    for axis, flipped in ((-3, params.left_right), (-2, params.head_foot), (-1, params.front_back)):
        if flipped is not None:
            codes = torch.where(per_sample(flipped, codes) > 0, codes.flip(axis), codes)
    return codes
