"""Mirror images of label maps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Config
from synthspine.gen.core.masks import per_sample


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipConfig(Config):
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


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipParams(Batch):
    """Which axes are mirrored: 1 or 0, ``(B,)``; None for an axis that never is."""

    left_right: Tensor | None  # slices
    head_foot: Tensor | None  # rows
    front_back: Tensor | None  # columns


def draw_flip(config: FlipConfig, random: SampleRandom, dims: int) -> FlipParams | None:
    """Draw the flips in ``dims`` (2 or 3) dimensions; None if the configuration never has one."""

    def flips(name: str, probability: float) -> Tensor | None:
        return random.chance(name, probability).float() if probability else None

    left_right = flips("flip_left_right", config.left_right_probability) if dims == 3 else None
    head_foot = flips("flip_head_foot", config.head_foot_probability)
    front_back = flips("flip_front_back", config.front_back_probability)
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
