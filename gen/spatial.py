"""Geometry: affine and diffeomorphic deformation of the label maps, in one nearest-neighbour gather."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from gen.anatomy import IGNORE
from gen.config import FINEST_VELOCITY_MM, GeometryConfig
from gen.counter_rng import SampleRandom
from gen.params import SpatialParams
from gen.separable import centred_positions, smooth_field

SQUARINGS = 5
COARSENING = 4
MOST_CROPPED = 0.3
"""Greatest share of an axis that a smaller field of view loses at one side."""


def draw_spatial(config: GeometryConfig, random: SampleRandom, maps: int, dims: int) -> SpatialParams:
    """Draw map and deformation of every sample; ``maps`` is the size of the bank, ``dims`` 2 or 3."""
    pairs = dims * (dims - 1) // 2
    angles = [torch.deg2rad(random.uniform("rotation", *config.rotation_deg))]
    angles += [torch.deg2rad(random.uniform(f"tilt{axis}", *config.tilt_deg)) for axis in range(pairs - 1)]
    crop = random.chance("crop", config.crop_probability).unsqueeze(1)
    return SpatialParams(
        map_index=random.integer("map", maps),
        key=random.key("velocity_field"),
        matrix=_affine(
            angles,
            random.uniform("scale", *config.scale, shape=(dims,)),
            random.uniform("shear", *config.shear, shape=(pairs,)),
        ),
        translation_mm=random.uniform("translation", *config.translation_mm, shape=(dims,)),
        velocity_mm=random.uniform("velocity", *config.velocity_mm),
        velocity_correlation_mm=random.uniform("velocity_smoothness", *config.velocity_correlation_mm),
        crop_mm=random.uniform("crop_mm", *config.crop_mm, shape=(3,)) * crop,
    )


def _affine(angles: list[Tensor], scale: Tensor, shear: Tensor) -> Tensor:
    """Rotation, shear and inverse magnification, shape ``(B, D, D)``; the last two axes are in-plane."""
    dims = scale.shape[1]
    planes = [(dims - 2, dims - 1), (0, 1), (0, 2)]
    matrix = torch.diag_embed(1 / scale)
    for index, (angle, (i, j)) in enumerate(zip(angles, planes, strict=False)):
        turn = torch.eye(dims, device=scale.device).repeat(len(scale), 1, 1)
        turn[:, i, i] = turn[:, j, j] = torch.cos(angle)
        turn[:, i, j] = -torch.sin(angle) + shear[:, index]
        turn[:, j, i] = torch.sin(angle)
        matrix = turn @ matrix
    return matrix


def deform(bank: Tensor, params: SpatialParams, spacing_mm: Sequence[float]) -> Tensor:
    """Move the anatomy of the drawn maps.

    Args:
        bank: dense codes, uint8, shape ``(N, *grid)``.
        params: what was drawn for ``B`` samples.
        spacing_mm: spacing per grid axis, mm.

    Returns:
        Dense codes, uint8, shape ``(B, *grid)``; 255 where the map or the field of view ends.
    """
    grid = bank.shape[1:]
    batch = len(params)
    axes = [centred_positions(n, s, bank.device) for n, s in zip(grid, spacing_mm, strict=True)]
    position = torch.stack(torch.meshgrid(*axes, indexing="ij")) + displacement(params, grid, spacing_mm)
    source = torch.bmm(params.matrix, position.flatten(2)) + params.translation_mm.unsqueeze(-1)

    flat = params.map_index.unsqueeze(1)
    inside = torch.ones(batch, source.shape[2], dtype=torch.bool, device=bank.device)
    for axis, (count, spacing) in enumerate(zip(grid, spacing_mm, strict=True)):
        index = torch.round(source[:, axis] / spacing + (count - 1) / 2).long()
        inside &= (index >= 0) & (index < count)
        flat = flat * count + index.clamp(0, count - 1)
    codes = torch.where(inside, bank.reshape(-1)[flat], IGNORE).reshape(batch, *grid)
    return _crop(codes, params.crop_mm, axes[-2], axes[-1])


def displacement(params: SpatialParams, grid: Sequence[int], spacing_mm: Sequence[float]) -> Tensor:
    """Exponential of the stationary velocity field, mm, shape ``(B, D, *grid)``.

    Integrated by scaling and squaring on a coarser grid (Arsigny et al. 2006), then interpolated.
    """
    dims, batch = len(grid), len(params)
    coarse = [max(2, n // COARSENING + 1) if n > 1 else 1 for n in grid]
    extent = [max(n - 1, 1) * s for n, s in zip(grid, spacing_mm, strict=True)]
    step = [e / max(n - 1, 1) for n, e in zip(coarse, extent, strict=True)]
    correlation = params.velocity_correlation_mm.unsqueeze(1).expand(batch, dims)
    velocity = torch.stack(
        [
            smooth_field(params.key, f"axis{axis}", coarse, step, correlation, smallest_mm=FINEST_VELOCITY_MM)
            for axis in range(dims)
        ],
        dim=1,
    )
    velocity = velocity * params.velocity_mm.view(-1, *[1] * (dims + 1))
    to_unit = torch.tensor([2 / e for e in extent], device=velocity.device)
    here = torch.stack(
        torch.meshgrid(*[torch.linspace(-1, 1, n, device=velocity.device) for n in coarse], indexing="ij"), -1
    )
    moved = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        there = here + moved.movedim(1, -1) * to_unit
        moved = moved + functional.grid_sample(
            moved, there.flip(-1), mode="bilinear", padding_mode="border", align_corners=True
        )
    mode = "bilinear" if dims == 2 else "trilinear"
    return functional.interpolate(moved, size=tuple(grid), mode=mode, align_corners=True)


def _crop(codes: Tensor, crop_mm: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Set codes outside a smaller field of view to 255; no side loses more than ``MOST_CROPPED``."""
    lost = torch.minimum(
        crop_mm, MOST_CROPPED * torch.stack((rows[-1] - rows[0], *2 * [columns[-1] - columns[0]]))
    )
    head, front, back = lost.unsqueeze(2).unbind(1)
    seen_rows = rows - rows[0] >= head
    seen_columns = (columns - columns[0] >= front) & (columns[-1] - columns >= back)
    seen = seen_rows.unsqueeze(2) & seen_columns.unsqueeze(1)
    return torch.where(seen if codes.dim() == 3 else seen.unsqueeze(1), codes, IGNORE)


def identity_geometry() -> GeometryConfig:
    """The geometry that leaves every pixel where it is."""
    still = (0.0, 0.0)
    return GeometryConfig(
        scale=(1.0, 1.0),
        rotation_deg=still,
        tilt_deg=still,
        shear=still,
        translation_mm=still,
        velocity_mm=still,
        crop_probability=0.0,
    )
