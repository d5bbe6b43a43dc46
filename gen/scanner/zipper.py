"""Zipper: a radio signal from outside the scanner, one noisy line of dashes across the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom, uniform_field
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.scanner.lines import phase_along_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipperConfig:
    """A line of noise along the phase-encoding axis, at the place of one frequency of the readout."""

    probability: float = 0.02
    """Probability of a zipper."""
    strength: Range = (0.1, 0.5)
    """Greatest brightness it adds, share of the brightest pixel."""
    width_mm: Range = (0.5, 1.5)
    """Half of its width, mm; at least one pixel is hit."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, strength=(0.0, 10.0), width_mm=(0.0, 50.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipperParams(Batch):
    """The line.

    Attributes:
        key: key of its noise, int32 ``(B, 2)``.
        along_rows: 1 where the line runs along the rows' axis (is a column), else 0, ``(B,)``.
        strength: greatest brightness, share of the brightest pixel, 0 without a zipper, ``(B,)``.
        place: where it crosses the other axis, share of the field of view, ``(B,)``.
        width_mm: half width, mm, ``(B,)``.
    """

    key: Tensor
    along_rows: Tensor
    strength: Tensor
    place: Tensor
    width_mm: Tensor


def draw_zipper(config: ZipperConfig, random: SampleRandom) -> ZipperParams | None:
    """Draw the zipper of every sample; None if there is never one."""
    if config.probability == 0:
        return None
    on = random.chance("zipper", config.probability)
    return ZipperParams(
        key=random.key("zipper_noise"),
        along_rows=phase_along_rows(random).float(),
        strength=random.uniform("zipper_strength", *config.strength) * on,
        place=random.uniform("zipper_place"),
        width_mm=random.uniform("zipper_width_mm", *config.width_mm),
    )


def add_zipper(image: Tensor, params: ZipperParams | None, spacing_mm: Sequence[float]) -> Tensor:
    """Add the line: dashes of uniform brightness, one per pixel of its length, with linear flanks.

    Args:
        image: ``(B, *grid)``.
        params: what was drawn, or None.
        spacing_mm: grid spacing per axis.

    Returns:
        ``(B, *grid)``; every slice of a volume has dashes of its own.
    """
    if params is None:
        return image
    brightness = params.strength * image.flatten(1).amax(dim=1)
    height, width = image.shape[-2:]
    lead = image.shape[1:-2]
    down = uniform_field(params.key, "zipper_down", lead.numel() * height).view(-1, *lead, height, 1)
    across = uniform_field(params.key, "zipper_across", lead.numel() * width).view(-1, *lead, 1, width)
    at_column = _profile(params, brightness * params.along_rows, width, spacing_mm[-1]).unsqueeze(1)
    at_row = _profile(params, brightness * (1 - params.along_rows), height, spacing_mm[-2]).unsqueeze(2)
    if image.dim() == 4:
        at_column, at_row = at_column.unsqueeze(1), at_row.unsqueeze(1)
    return torch.addcmul(torch.addcmul(image, down, at_column), at_row, across)


def _profile(params: ZipperParams, brightness: Tensor, count: int, spacing_mm: float) -> Tensor:
    """Brightness across the line, ``(B, count)``."""
    place = torch.floor(params.place * count).unsqueeze(1)
    distance = (torch.arange(count, device=place.device) - place).abs() * spacing_mm
    reach = params.width_mm.clamp(min=0.5 * spacing_mm).unsqueeze(1)
    return (1 - distance / reach).clamp(min=0) * brightness.unsqueeze(1)
