"""Resolution: blur by the point-spread function, sampling, noise, interpolation back to the grid.

Along every axis the image is blurred by a Gaussian on the fine grid, sampled at the acquired points by linear
interpolation, and interpolated back. Noise is added in between, at the acquired resolution. The acquired
points lie symmetrically about the centre of the grid, so the image does not shift.
"""

import math
import typing
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from synthspine.gen.core.drawing import Drawing, Feature, showcase
from synthspine.gen.core.feature import Batch, Config, Range, Spacing, within
from synthspine.gen.core.filters import gaussian_blur
from synthspine.gen.core.touched import where_changed
from synthspine.gen.scanner.noise import NoiseParams, add_noise

FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""
REACH = 4.5
"""Reach of the point-spread function, in standard deviations of the widest one the configuration allows."""

Scale = Literal["reciprocal", "factor"]
Thickness = Literal["share_of_spacing", "grid_to_spacing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolutionParams(Batch):
    """Acquired spacing, slice thickness, standard deviation of the point-spread function, all ``(B, D)``."""

    spacing_mm: Tensor
    thickness_mm: Tensor
    sigma_mm: Tensor
    reach_mm: tuple[float, ...]  # of that function per axis, common to the batch


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolutionConfig(Feature[ResolutionParams]):
    """Resolution of the acquisition: the grid's own, coarser along all axes, or coarser along one axis."""

    native_probability: float = 0.5
    """Probability of the grid's own spacing along all axes."""
    isotropic_probability: float = 0.5
    """Of the others: probability that all axes are coarser by the same factor, instead of one axis alone."""
    isotropic: Range = (1.0, 4.0)
    """Acquired spacing over grid spacing where all axes are coarser."""
    single_axis: Range = (1.0, 4.0)
    """Acquired spacing over grid spacing where one axis is coarser."""
    uniform_in: Scale = "reciprocal"
    """Whether the factor is uniform in its range, or its reciprocal (more mild losses than strong ones)."""
    thickness_from: Thickness = "share_of_spacing"
    """Slice thickness: a share of the acquired spacing, or uniform from the grid's spacing to the acquired
    spacing, independently per axis (which leaves gaps)."""
    thickness_share: Range = (0.6, 1.2)
    """Thickness over acquired spacing with ``share_of_spacing``; above 1 slices overlap."""
    sigma_per_thickness: float = 1 / FWHM
    """Standard deviation of the point-spread function over the thickness; by default the thickness is the
    full width at half maximum."""
    native_sigma: float | None = None
    """Standard deviation along axes of the grid's own spacing, grid spacings; none to use the thickness."""
    sigma_factor: Range = (1.0, 1.0)
    """Random factor on every standard deviation."""

    bounds = within(
        isotropic=(1.0, 100.0),
        single_axis=(1.0, 100.0),
        thickness_share=(0.0, 10.0),
        sigma_per_thickness=(0.0, 10.0),
        native_sigma=(0.0, 10.0),
        sigma_factor=(0.0, 10.0),
    )
    shown = showcase(native_probability=0.0, isotropic_probability=1.0, isotropic=(4.0, 4.0))

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        for name, allowed in (("uniform_in", Scale), ("thickness_from", Thickness)):
            value, choices = getattr(self, name), typing.get_args(allowed)
            if value not in choices:
                raise ValueError(f"ResolutionConfig.{name} is {value!r}; want one of {', '.join(choices)}")

    def widest(self) -> float:
        """Greatest standard deviation that may be drawn, in grid spacings."""
        factor = 1.0
        if self.native_probability < 1:
            factor = max(
                self.isotropic[1] if self.isotropic_probability > 0 else 1.0,
                self.single_axis[1] if self.isotropic_probability < 1 else 1.0,
            )
        share = self.thickness_share[1] if self.thickness_from == "share_of_spacing" else 1.0
        own = share * self.sigma_per_thickness if self.native_sigma is None else self.native_sigma
        coarse = share * self.sigma_per_thickness * factor if factor > 1 else 0.0
        return self.sigma_factor[1] * max(own, coarse)

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.native_probability == 1 and self.widest() == 0

    def sample(self, random: Drawing) -> ResolutionParams:
        """Draw the resolution.

        Source: Billot et al. 2023 (native, all axes alike, or one axis; thickness apart from spacing).
        """
        spacing_mm, dims = random.spacing_mm, len(random.spacing_mm)
        # Filled on the device: a tensor made from a list would be copied, and the host would wait.
        grid_mm = torch.stack([torch.full((), step, device=random.keys.device) for step in spacing_mm])
        native = random.chance("resolution_native", self.native_probability).unsqueeze(1)
        isotropic = random.chance("resolution_isotropic", self.isotropic_probability).unsqueeze(1)
        unit = random.uniform("resolution_factor", shape=(1,))
        along_all, along_one = (
            _spacing_factor(limits, unit, self.uniform_in) for limits in (self.isotropic, self.single_axis)
        )
        axis = torch.arange(dims, device=grid_mm.device) == random.integer("resolution_axis", dims).unsqueeze(
            1
        )
        coarser = ~native & (isotropic | axis)
        spacing = grid_mm * torch.where(coarser, torch.where(isotropic, along_all, along_one), 1.0)

        if self.thickness_from == "share_of_spacing":
            thickness = spacing * random.uniform("resolution_thickness", *self.thickness_share, shape=(1,))
        else:
            share = random.uniform("resolution_thickness", shape=(dims,))
            thickness = torch.lerp(grid_mm.expand_as(spacing), spacing, share)
        sigma = self.sigma_per_thickness * thickness
        if self.native_sigma is not None:
            sigma = torch.where(coarser, sigma, self.native_sigma * grid_mm)
        return ResolutionParams(
            spacing_mm=spacing,
            thickness_mm=thickness,
            sigma_mm=sigma * random.uniform("resolution_sigma", *self.sigma_factor, shape=(dims,)),
            reach_mm=tuple(REACH * self.widest() * step for step in spacing_mm),
        )


def _spacing_factor(limits: Range, unit: Tensor, uniform_in: Scale) -> Tensor:
    low, high = limits
    if uniform_in == "factor":
        return low + (high - low) * unit
    return 1 / (1 / high + (1 / low - 1 / high) * unit)


def acquire(
    image: Tensor, resolution: ResolutionParams | None, noise: NoiseParams | None, spacing_mm: Spacing
) -> Tensor:
    """Acquire the image, with noise, at the drawn resolution (None: the grid's own), and interpolate back."""
    if resolution is None:
        rows, columns = (_positions(count, image.device) for count in image.shape[-2:])
        return add_noise(image, noise, rows, columns)
    # In grid spacings, so that one reach holds for all axes.
    sigma = torch.stack([resolution.sigma_mm[:, axis] / step for axis, step in enumerate(spacing_mm)], dim=1)
    reach = max(reach / step for reach, step in zip(resolution.reach_mm, spacing_mm, strict=True))
    samples = gaussian_blur(image, sigma, (1.0,) * len(spacing_mm), reach) if reach > 0 else image
    axes = [
        acquired_points(count, step, resolution.spacing_mm[:, axis])
        for axis, (count, step) in enumerate(zip(image.shape[1:], spacing_mm, strict=True))
    ]
    in_place = samples is not image and not samples.requires_grad
    # At the grid's own spacing every point is acquired where it is.
    coarser = [(points.grid_places != torch.arange(points.grid_places.shape[1], device=image.device)).any(1)
               for points in axes]  # fmt: skip
    for axis, points in enumerate(axes):
        last = image.shape[axis + 1] - 1
        samples = where_changed(_interpolate, coarser[axis], samples, points.grid_places, last, axis,
                                in_place=in_place)  # fmt: skip
    samples = add_noise(samples, noise, axes[-2].position, axes[-1].position)
    for axis, points in enumerate(axes):
        samples = where_changed(_interpolate, coarser[axis], samples, points.places, points.last, axis,
                                in_place=in_place)  # fmt: skip
    return samples


class AcquiredPoints(NamedTuple):
    """Acquired points of an axis, symmetric about its centre; entries after the last point repeat it."""

    last: Tensor  # number of the last acquired point, counted from 0, float, (B, 1)
    grid_places: Tensor  # of every acquired point on the grid, in grid points, (B, n)
    places: Tensor  # of every grid point among the acquired points, in acquired points, (B, n)
    position: Tensor  # of every acquired point from the centre, share of the field of view, (B, n)


def acquired_points(count: int, grid_mm: float, spacing_mm: Tensor) -> AcquiredPoints:
    """Acquired points, ``spacing_mm`` ``(B,)`` apart, of an axis of ``count`` points ``grid_mm`` apart."""
    # The grid's own spacing must give the factor 1 exactly, however the division rounds.
    factor = (spacing_mm / grid_mm).unsqueeze(1)
    factor = torch.where(factor < 1 + 1e-5, 1.0, factor)
    # The tolerance keeps a point that rounding would put just beyond the border.
    last = torch.floor((count - 1) / factor + 1e-4)
    first = ((count - 1) - last * factor) / 2
    ordinal = torch.arange(count, device=spacing_mm.device, dtype=torch.float32)
    grid_places = torch.minimum(ordinal, last) * factor + first
    return AcquiredPoints(
        last=last,
        grid_places=grid_places.clamp(0, count - 1),
        places=torch.minimum(((ordinal - first) / factor).clamp(min=0), last),
        position=(grid_places - (count - 1) / 2) / count,
    )


def _positions(count: int, device: torch.device) -> Tensor:
    """Positions of grid points from the centre of their axis, share of the field of view, ``(count,)``."""
    return (torch.arange(count, device=device, dtype=torch.float32) - (count - 1) / 2) / count


def _interpolate(values: Tensor, places: Tensor, last: Tensor | int, axis: int) -> Tensor:
    """Linear interpolation of ``(B, *grid)`` along a grid axis at ``places`` ``(B, n)``, in its points.

    No point beyond ``last``, ``(B, 1)`` or one number, is read.
    """
    batch, length = values.shape[0], values.shape[axis + 1]
    lower = places.floor()
    weight = (places - lower).view(batch, *[1] * axis, -1, *[1] * (values.dim() - axis - 2))
    upper = (lower + 1).clamp(max=last)
    if axis == values.dim() - 2:
        shape = (batch, *[1] * axis, length)
        ends = [values.gather(-1, end.long().view(shape).expand(values.shape)) for end in (lower, upper)]
        return torch.lerp(ends[0], ends[1], weight)
    # Whole lines are copied: far faster than a gather of single points.
    lines = values.reshape(-1, values.shape[axis + 2 :].numel())
    lead = values.shape[1 : axis + 1].numel()
    start = torch.arange(batch * lead, device=values.device).view(batch, lead, 1) * length
    ends = [
        lines.index_select(0, (start + end.long().unsqueeze(1)).flatten()).view(values.shape)
        for end in (lower, upper)
    ]
    return torch.lerp(ends[0], ends[1], weight)
