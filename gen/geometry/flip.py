"""Mirror images, with a swap of the codes of left and right where a scheme has sides."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CODES, IGNORE
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, check


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipConfig:
    """Mirror images.

    Patients are alike from left to right only; the other flips make other anatomy, and what is painted along
    the spine (body layers, bowel, sacrum) keeps to a front on the left and a head at the top.
    """

    left_right_probability: float = 0.5
    """Probability of a flip of the slice axis (3D; without effect in 2D)."""
    head_foot_probability: float = 0.0
    """Probability of a flip of the rows."""
    front_back_probability: float = 0.0
    """Probability of a flip of the columns."""
    sides: tuple[tuple[int, int], ...] = ()
    """Pairs of dense codes (left, right) that change places in a left-right flip."""

    def __post_init__(self) -> None:
        check(self)
        codes = [code for pair in self.sides for code in pair]
        pairs = all(len(pair) == 2 for pair in self.sides) and len(set(codes)) == len(codes)
        if not pairs or not all(isinstance(code, int) and 0 < code < IGNORE for code in codes):
            raise ValueError(
                f"FlipConfig.sides is {self.sides}; want pairs of dense codes in 1..254, every code once"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FlipParams(Batch):
    """Which axes are mirrored: 1 or 0, ``(B,)``; None for an axis that never is.

    Attributes:
        left_right: slices.
        head_foot: rows.
        front_back: columns.
        code_table: what takes the place of every dense code, ``(B, 256)``; None if no code has a side.
    """

    left_right: Tensor | None
    head_foot: Tensor | None
    front_back: Tensor | None
    code_table: Tensor | None


def draw_flip(config: FlipConfig, random: SampleRandom, dims: int) -> FlipParams | None:
    """Draw the flips in ``dims`` (2 or 3) dimensions; None if the configuration never has one."""

    def flips(name: str, probability: float) -> Tensor | None:
        return random.chance(name, probability).float() if probability else None

    left_right = flips("flip_left_right", config.left_right_probability) if dims == 3 else None
    head_foot = flips("flip_head_foot", config.head_foot_probability)
    front_back = flips("flip_front_back", config.front_back_probability)
    if left_right is None and head_foot is None and front_back is None:
        return None
    code_table = None
    if config.sides and left_right is not None:
        tables = torch.arange(CODES, dtype=torch.float32, device=random.keys.device).repeat(2, 1)
        for left, right in config.sides:
            tables[1, left], tables[1, right] = right, left
        code_table = tables[left_right.long()]
    return FlipParams(
        left_right=left_right, head_foot=head_foot, front_back=front_back, code_table=code_table
    )


def mirror(codes: Tensor, params: FlipParams | None) -> Tensor:
    """Mirror label maps, dense codes, uint8, shape ``(B, *grid)``; the same shape back."""
    if params is None:
        return codes
    dims = codes.dim() - 1
    for axis, flipped in ((-3, params.left_right), (-2, params.head_foot), (-1, params.front_back)):
        if flipped is not None:
            codes = torch.where(flipped.view(-1, *[1] * dims) > 0, codes.flip(axis), codes)
    if params.code_table is None:
        return codes
    return params.code_table.to(torch.uint8).gather(1, codes.flatten(1).long()).reshape(codes.shape)
