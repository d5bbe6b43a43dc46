"""What is painted: background, body layers, sacrum, and what lies inside the labelled structures."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from gen.anatomy import BACKGROUND, CANAL, DISC_OFFSET, IGNORE, MAX_RANK, STRUCTURES, disc_code, vertebra_code
from gen.config import FINEST_COARSE_MM, FINEST_FINE_MM, FINEST_MEDIUM_MM, TissueConfig
from gen.counter_rng import SampleRandom
from gen.palette import (
    AIR,
    COARSE_REGIONS,
    CORD,
    EPIDURAL_FAT,
    FAT,
    FINE_REGIONS,
    FIRST_COARSE,
    FIRST_FINE,
    FIRST_MEDIUM,
    MEDIUM_REGIONS,
    MUSCLE,
    MUSCLE_FAT,
    OUTSIDE,
    ROOTS,
    SACRAL_DISC,
    SACRUM,
    VESSEL,
)
from gen.params import TissueParams
from gen.separable import smooth_field
from gen.spine_frame import SpineFrame, find_spine

EDGE_MM = 2.0
"""Standard deviation of the blur that turns masks into distances to their borders."""
SEGMENTS = 3
NEVER_MM = 1e4


def draw_tissues(config: TissueConfig, random: SampleRandom) -> TissueParams:
    """Draw what is painted in every sample."""
    layers = random.chance("layers", config.layers_probability)
    vessel = random.chance("vessel", config.vessel_probability) & layers
    near = random.uniform("vessel_near", 40.0, 58.0)
    far = near + random.uniform("vessel_width", 8.0, 24.0)
    sacrum = random.chance("sacrum", config.sacrum_probability).unsqueeze(1)
    shrink = random.uniform("sacrum_shrink", 0.70, 0.95, shape=(SEGMENTS,)).cumprod(1)
    last = random.integer("segments", SEGMENTS).unsqueeze(1)
    segments = torch.arange(SEGMENTS, device=shrink.device) <= last
    cord = random.chance("cord", config.cord_probability)
    epidural = random.chance("epidural_fat", config.epidural_fat_probability)
    return TissueParams(
        key=random.key("tissues"),
        region_mm=torch.stack(
            [
                random.uniform("coarse_mm", *config.coarse_mm),
                random.uniform("medium_mm", *config.medium_mm),
                random.uniform("fine_mm", *config.fine_mm),
            ],
            dim=1,
        ),
        clutter=random.uniform("clutter", *config.clutter, shape=(2,)),
        muscle_mm=torch.where(layers, random.uniform("muscle_mm", *config.muscle_mm), NEVER_MM),
        fat_mm=random.uniform("fat_mm", *config.fat_mm),
        front_mm=torch.where(layers, random.uniform("front_mm", *config.front_mm), NEVER_MM),
        vessel_mm=torch.stack((near, far), dim=1) * vessel.unsqueeze(1),
        sacrum_deg=random.uniform("sacrum_deg", 5.0, 28.0, shape=(SEGMENTS,)),
        sacrum_scale=shrink * (sacrum & segments),
        cord_mm=random.uniform("cord_mm", 2.0, 5.0) * cord,
        cord_offset_mm=random.uniform("cord_offset", -3.0, 3.0),
        conus_mm=random.uniform("conus", 70.0, 170.0),
        roots=random.uniform("roots", 0.0, 0.7) * random.chance("roots_on", config.roots_probability),
        epidural_fat=random.uniform("epidural_share", 0.2, 0.8) * epidural,
        outside=random.chance("outside", config.outside_probability).float(),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Painting:
    """Painted tissues of a batch.

    Attributes:
        codes: painted codes (``gen.palette``), uint8 ``(B, *grid)``.
        depth_mm: distance inside the border of vertebra (with sacrum), disc and canal, negative outside,
            true within about 2 blur widths, ``(B, 3, *grid)``.
        behind_mm: distance behind the middle of the canal, ``(B, *grid)``.
    """

    codes: Tensor
    depth_mm: Tensor
    behind_mm: Tensor


def paint(codes: Tensor, params: TissueParams, spacing_mm: Sequence[float]) -> Painting:
    """Paint tissues into and around the structures of dense codes, uint8 ``(B, *grid)``."""
    frame = find_spine(codes, spacing_mm)
    around = _regions(codes, params, spacing_mm)
    around = _layers(around, params, frame, spacing_mm)
    around = _sacrum(around, codes, params, frame)
    depth = _depth(codes, around, spacing_mm)
    around = _epidural_fat(around, depth, params, spacing_mm)
    inside = torch.where(codes == CANAL, _canal(codes, params, frame, spacing_mm), codes)
    painted = torch.where(codes == BACKGROUND, around, inside)
    beyond = torch.where(_each(params.outside, codes) > 0, OUTSIDE, around)
    return Painting(
        codes=torch.where(codes == IGNORE, beyond, painted).to(torch.uint8),
        depth_mm=depth,
        behind_mm=frame.behind_mm,
    )


def _each(values: Tensor, like: Tensor) -> Tensor:
    """Per-sample values ``(B,)``, shaped to broadcast over ``(B, *grid)``."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _field(params: TissueParams, name: str, codes: Tensor, spacing_mm: Sequence[float], size_mm: Tensor,
           smallest_mm: float) -> Tensor:  # fmt: skip
    size = size_mm.unsqueeze(1).expand(-1, len(spacing_mm))
    return smooth_field(params.key, name, codes.shape[1:], spacing_mm, size, smallest_mm)


def _regions(codes: Tensor, params: TissueParams, spacing_mm: Sequence[float]) -> Tensor:
    """Background of many random regions of three sizes, uint8."""
    names = (("coarse", FINEST_COARSE_MM), ("medium", FINEST_MEDIUM_MM), ("fine", FINEST_FINE_MM))
    coarse, medium, fine = (
        torch.special.ndtr(_field(params, name, codes, spacing_mm, params.region_mm[:, i], smallest))
        for i, (name, smallest) in enumerate(names)
    )
    regions = FIRST_COARSE + (coarse * COARSE_REGIONS).clamp(0, COARSE_REGIONS - 1).to(torch.uint8)
    for share, first, level, count in (
        (params.clutter[:, 0], FIRST_MEDIUM, medium, MEDIUM_REGIONS),
        (params.clutter[:, 1], FIRST_FINE, fine, FINE_REGIONS),
    ):
        # The two tails of the field make spots on either side of its mean, a centre and a border each.
        tail = torch.minimum(level, 1 - level) / (_each(share, codes) / 2).clamp(min=1e-6)
        kind = (tail < 0.4).to(torch.uint8) + (count // 2) * (level > 0.5).to(torch.uint8)
        regions = torch.where(tail < 1, first + kind, regions)
    return regions


def _layers(around: Tensor, params: TissueParams, frame: SpineFrame, spacing_mm: Sequence[float]) -> Tensor:
    """Muscle with fat between, subcutaneous fat and air behind; vessel and air in front."""
    behind = frame.behind_mm
    wave = 4.0 * _field(params, "wave", around, spacing_mm, params.region_mm[:, 0], FINEST_COARSE_MM)
    strands = _field(params, "strands", around, spacing_mm, params.region_mm[:, 1], FINEST_MEDIUM_MM)
    muscle_end = _each(params.muscle_mm, around) + wave
    skin = muscle_end + _each(params.fat_mm, around)
    flesh = torch.where(strands > 0.8, MUSCLE_FAT, torch.where(strands < -1.2, around, MUSCLE))
    on = _each(params.muscle_mm, around) < NEVER_MM
    around = torch.where(on & (behind > 6.0), flesh, around)
    around = torch.where(on & (behind > muscle_end), FAT, around)
    around = torch.where(on & (behind > skin), AIR, around)
    near, far = (_each(edge, around) for edge in params.vessel_mm.unbind(1))
    front = -behind + wave
    around = torch.where((front > near) & (front < far), VESSEL, around)
    return torch.where(front > _each(params.front_mm, around) + wave, AIR, around).to(torch.uint8)


def _sacrum(around: Tensor, codes: Tensor, params: TissueParams, frame: SpineFrame) -> Tensor:
    """Unlabelled repeats of the lowest vertebra and its disc below it, each turned further backwards."""
    angle = torch.zeros_like(params.roots)
    centre = frame.body_mm + frame.step_mm
    step = frame.step_mm
    for segment in range(SEGMENTS):
        scale = params.sacrum_scale[:, segment]
        shown = (scale > 0) & frame.has_lowest
        angle = angle + torch.deg2rad(params.sacrum_deg[:, segment])
        direction = turn(frame.step_mm, angle) * scale.clamp(min=0.1).unsqueeze(1)
        centre = centre + direction
        bone = _moved(codes, vertebra_code(1), frame.body_mm, centre, angle, scale, shown, frame)
        around = torch.where(bone, SACRUM, around)
        centre = centre + direction
        disc_at = frame.body_mm + step
        disc = _moved(codes, disc_code(1), disc_at, centre, angle, 0.75 * scale, shown, frame)
        around = torch.where(disc, SACRAL_DISC, around)
    return around.to(torch.uint8)


def turn(vector: Tensor, angle: Tensor) -> Tensor:
    """Rotate (row, column) vectors from down towards back; vectors ``(B, 2)``, radians ``(B,)``."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    row, column = vector.unbind(1)
    return torch.stack((row * cosine - column * sine, row * sine + column * cosine), dim=1)


def _moved(codes: Tensor, code: int, centre: Tensor, target: Tensor, angle: Tensor, scale: Tensor,
           shown: Tensor, frame: SpineFrame) -> Tensor:  # fmt: skip
    """Mask of the pixels that a turned and scaled copy of one structure covers, bool ``(B, *grid)``."""
    rows, columns = len(frame.rows_mm), len(frame.columns_mm)
    cosine, sine = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    size = scale.clamp(min=1e-3)[:, None, None]
    down = (frame.rows_mm - target[:, :1]).unsqueeze(2) / size
    back = (frame.columns_mm - target[:, 1:]).unsqueeze(1) / size
    row = centre[:, :1, None] + down * cosine + back * sine
    column = centre[:, 1:, None] - down * sine + back * cosine
    row_index, in_rows = _index(row, frame.rows_mm)
    column_index, in_columns = _index(column, frame.columns_mm)
    flat = (row_index * columns + column_index).flatten(1)
    plane = codes.reshape(len(codes), -1, rows * columns)
    found = plane.gather(2, flat.unsqueeze(1).expand(-1, plane.shape[1], -1)).reshape(codes.shape) == code
    valid = in_rows & in_columns & shown[:, None, None]
    return found & (valid if codes.dim() == 3 else valid.unsqueeze(1))


def _index(position_mm: Tensor, grid_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest grid index of a position, clamped, and whether it lies inside."""
    step = grid_mm[1] - grid_mm[0] if len(grid_mm) > 1 else torch.ones_like(grid_mm[0])
    index = torch.round((position_mm - grid_mm[0]) / step).long()
    return index.clamp(0, len(grid_mm) - 1), (index >= 0) & (index < len(grid_mm))


def _depth(codes: Tensor, around: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Distance inside the border of each structure, from its blurred mask.

    A straight border blurred with sigma has the value Phi(depth / sigma), which is inverted here.
    """
    free = codes == BACKGROUND
    vertebra = ((codes >= 1) & (codes <= MAX_RANK)) | (free & (around == SACRUM))
    disc = ((codes > DISC_OFFSET) & (codes <= DISC_OFFSET + MAX_RANK)) | (free & (around == SACRAL_DISC))
    masks = torch.stack((vertebra, disc, codes == CANAL), dim=1).float()
    planes = masks.flatten(1, -3)
    half = [int(2.5 * EDGE_MM / spacing + 0.5) for spacing in spacing_mm[-2:]]
    # kornia reflects at borders: half a kernel must fit into the picture.
    size = [2 * min(h, n - 1) + 1 for h, n in zip(half, planes.shape[-2:], strict=True)]
    sigma = torch.tensor([[EDGE_MM / s for s in spacing_mm[-2:]]], device=codes.device).expand(len(codes), 2)
    blurred = gaussian_blur2d(planes, size, sigma).reshape(masks.shape)
    return EDGE_MM * torch.special.ndtri(blurred.clamp(1e-4, 1 - 1e-4))


def _epidural_fat(around: Tensor, depth: Tensor, params: TissueParams, spacing_mm: Sequence[float]) -> Tensor:
    """Patches of fat close outside the canal."""
    patches = torch.special.ndtr(
        _field(params, "patches", around, spacing_mm, params.region_mm[:, 1], FINEST_MEDIUM_MM)
    )
    near = (depth[:, STRUCTURES.index("canal")] > -2.5) & (patches < _each(params.epidural_fat, around))
    return torch.where(near, EPIDURAL_FAT, around).to(torch.uint8)


def _canal(codes: Tensor, params: TissueParams, frame: SpineFrame, spacing_mm: Sequence[float]) -> Tensor:
    """Cord above the conus, nerve roots below it, cerebrospinal fluid elsewhere."""
    conus = frame.body_mm[:, 0] - params.conus_mm
    above = (conus.unsqueeze(1) - frame.rows_mm).unsqueeze(2)
    if codes.dim() == 4:
        above = above.unsqueeze(1)
    half_width = _each(params.cord_mm, codes) * (above / 30.0).clamp(0, 1)
    away = (frame.behind_mm - _each(params.cord_offset_mm, codes)).abs()
    cord = away < half_width
    size = torch.tensor([14.0] * (len(spacing_mm) - 1) + [1.2], device=codes.device).expand(len(codes), -1)
    strands = smooth_field(params.key, "roots", codes.shape[1:], spacing_mm, size, 1.0)
    filled = torch.special.ndtr(strands) < _each(params.roots, codes)
    roots = filled & (frame.behind_mm > -3.0) & (above < 10.0)
    return torch.where(cord, CORD, torch.where(roots, ROOTS, CANAL))
