"""Smooth invertible deformation: the exponential of a stationary random velocity field.

Following the velocity for one unit of time gives a diffeomorphism: no tissue folds over another, and
small random fields make small deformations, large ones large (Arsigny et al. 2006).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthspine.gen.core.counter_rng import SampleRandom, named_keys
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Config, Range, Spacing, check_within, within
from synthspine.gen.core.filters import WIDEST, smooth_field

FINEST_VELOCITY_MM = 12.0
"""Least correlation length of the velocity field: it is drawn on a grid this coarse."""
STRONGEST_VELOCITY = 0.5
"""Greatest ratio of amplitude to correlation length; tests show that nothing folds up to here."""
SQUARINGS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class DeformationParams(Batch):
    """The velocity field: ``key`` is int32 ``(B, 2)``, the others are ``(B,)``."""

    key: Tensor
    velocity_mm: Tensor  # 0 without a deformation
    velocity_correlation_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class DeformationConfig(Feature[DeformationParams]):
    """Local, smooth, invertible deformation."""

    probability: float = 1.0
    """Probability of a deformation."""
    velocity_mm: Range = (0.0, 5.0)
    """Standard deviation of the velocity field, mm; at most half of the least correlation length."""
    velocity_correlation_mm: Range = (16.0, 48.0)
    """Standard deviation of the kernel that smooths the velocity field, mm; 12 to 48."""

    bounds = within(velocity_correlation_mm=(FINEST_VELOCITY_MM, WIDEST * FINEST_VELOCITY_MM))
    shown = showcase(velocity_mm=(8.0, 8.0), velocity_correlation_mm=(16.0, 16.0))

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_within(self, velocity_mm=(0.0, STRONGEST_VELOCITY * self.velocity_correlation_mm[0]))

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.probability == 0 or self.velocity_mm[1] == 0

    def sample(self, random: SampleRandom) -> DeformationParams:
        """Draw the velocity field."""
        on = random.chance("deformation", self.probability)
        return DeformationParams(
            key=random.key("deformation_field"),
            velocity_mm=random.uniform("deformation_velocity", *self.velocity_mm) * on,
            velocity_correlation_mm=random.uniform("deformation_correlation", *self.velocity_correlation_mm),
        )


def node_displacement(params: DeformationParams, nodes: Sequence[int], step_mm: Spacing) -> list[Tensor]:
    """Where the tissue seen at a node of a coarse grid comes from, in steps: ``(B, *nodes)`` per axis.

    It is the exponential of the velocity field. There are at least 2 ``nodes`` per axis, ``step_mm`` apart,
    at most half of ``FINEST_VELOCITY_MM`` to be exact.

    Source: scaling and squaring after Arsigny et al. 2006, from a first step by the midpoint rule, which
    makes two squarings as accurate as ten after an Euler step.
    """
    velocity = _velocity(params, nodes, step_mm)
    axes = [torch.linspace(-1, 1, n, device=velocity.device) for n in nodes]
    here = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    moved = _sample(velocity, here, velocity * 0.5**SQUARINGS / 2) * 0.5**SQUARINGS
    for _ in range(SQUARINGS):
        moved = moved + _sample(moved, here, moved)
    return [part * ((n - 1) / 2) for part, n in zip(moved.flip(1).unbind(1), nodes, strict=True)]


def _velocity(params: DeformationParams, nodes: Sequence[int], step_mm: Spacing) -> Tensor:
    """The field in the units and the order of ``grid_sample``: half extents, last axis first."""
    dims = len(nodes)
    keys = torch.cat([named_keys(params.key, f"axis{axis}") for axis in reversed(range(dims))])
    correlation_mm = params.velocity_correlation_mm.repeat(dims)
    field = smooth_field(keys, "velocity", nodes, step_mm, correlation_mm, smallest_mm=FINEST_VELOCITY_MM)
    per_axis = zip(field.chunk(dims), reversed(nodes), reversed(step_mm), strict=True)
    amplitude = params.velocity_mm.view(-1, *[1] * dims)
    return torch.stack([part * (amplitude * (2 / ((n - 1) * step))) for part, n, step in per_axis], dim=1)


def _sample(field: Tensor, here: Tensor, moved: Tensor) -> Tensor:
    """The velocity at the end point of each node; it continues constantly beyond the border."""
    there = here + moved.movedim(1, -1)
    return functional.grid_sample(field, there, mode="bilinear", padding_mode="border", align_corners=True)
