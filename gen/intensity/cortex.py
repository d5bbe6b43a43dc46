"""Borders of the structures: distance to them, the dark line of cortical bone on them, end plates.

Distances come from blurred masks: across a straight border the blurred mask is a function of the distance
alone, which is inverted. The blur counts pixels in integers, so it is exact and the same on every device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from synthspine.gen.core import anatomy
from synthspine.gen.core.anatomy import BACKGROUND, CODES, STRUCTURE_CODES, STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Drawing, Feature, showcase
from synthspine.gen.core.feature import Batch, Config, Range, Spacing, within
from synthspine.gen.core.masks import per_sample
from synthspine.gen.core.touched import where_changed
from synthspine.gen.geometry.spine_frame import BODY_TO_CANAL_MM
from synthspine.gen.intensity.hidden_labels import HiddenConfig, unless_hidden
from synthspine.gen.tissues.palette import SACRAL_DISC, SACRUM

BLUR_MM = 2.0
"""Approximate standard deviation of the blur; distances are accurate within twice of it."""
FARTHEST = 3.0
"""Distances end at this many standard deviations of the blur."""
REACH_MM = 5.5
"""Greatest distance of a line from its border: distances end soon after."""

_STAGES = 5
_BITS, _TOGETHER = 10, 3
"""Bits of the count of a structure, and structures whose counts share an int32."""
_ALIKE = {"vertebra": (SACRUM, anatomy.SACRUM), "disc": (SACRAL_DISC,)}
"""Codes that count as a structure beside its own: the painted and the annotated sacrum, sacral discs."""
_SLOPE, _POLE = 1.4113, 0.9217
"""Fitted to the kernel of a 1 mm grid, see :func:`_distance`."""
_FACING_MM = (3.0, 1.0)
"""Distances of a disc at which a vertebra's border begins to face it, and faces it wholly: SPIDER's masks
leave a gap of 1 to 2 mm between the two."""
_FRONT_MM = 8.0
"""The line of vertebrae widens evenly from the middle of bodies to this far in front of it."""
_PROFILE_END = 3.0
"""Standard deviations at which the profile of a line ends."""


def depths(codes: Tensor, painted: Tensor, spacing_mm: Spacing) -> Tensor:
    """Distance inside the borders of the structures, in the sagittal plane.

    On grids of 1 mm, within 3.5 mm of a straight border along rows or columns, the error is 0.05 mm at most;
    a border of radius R reads 2 / R mm too little inside. The edge of the grid is no border. In-plane
    spacings should stay below 2.5 mm and not differ by more than half between rows and columns.
    ``painted`` (painted codes) is used where ``codes`` (dense codes) is background.

    Returns:
        Distance inside each of ``STRUCTURES``, mm, negative outside, float32 ``(B, S, *grid)``: vertebra
        with painted sacrum, disc with sacral disc, and canal. It saturates at about 6 mm.
    """
    # Arithmetic on bytes is several times faster than torch.where; BACKGROUND is 0.
    tissue = codes + painted * (1 - codes.clamp(max=BACKGROUND + 1))
    found = [
        _depths(STRUCTURES[start : start + _TOGETHER], tissue, spacing_mm)
        for start in range(0, len(STRUCTURES), _TOGETHER)
    ]
    return found[0] if len(found) == 1 else torch.cat(found, dim=1)


def _depths(structures: Sequence[str], tissue: Tensor, spacing_mm: Spacing) -> Tensor:
    """Distance inside each of up to ``_TOGETHER`` structures, mm, ``(B, structures, *grid)``."""
    down, across = (_shifts(spacing) for spacing in spacing_mm[-2:])
    counts = _packed_masks(structures, _pad(_pad(tissue, -1, sum(across) // 2), -2, sum(down) // 2))
    for shift in across:
        counts = _add_shifted(counts, -1, shift)
    # The last sum would overflow the 10 bits of a structure, so it follows when they are apart.
    *packed, last = down
    for shift in packed:
        counts = _add_shifted(counts, -2, shift)
    half = 2 ** (len(down) + len(across) - 1)
    variances = [sum(s * s for s in shifts) / 4 for shifts in (down, across)]
    sigma_mm = math.sqrt(sum(v * s * s for v, s in zip(variances, spacing_mm[-2:], strict=True)) / 2)
    place = torch.arange(len(structures), dtype=torch.int32, device=tissue.device)
    fields = (counts.unsqueeze(1) >> (place * _BITS).view(-1, *[1] * (counts.dim() - 1))).bitwise_and_(
        (1 << _BITS) - 1
    )
    fields = _add_shifted(fields, -2, last)
    excess = torch.arange(-half, half + 1, dtype=torch.float32, device=tissue.device)
    return _distance(excess, half, sigma_mm).index_select(0, fields.flatten()).view(fields.shape)


def _packed_masks(structures: Sequence[str], tissue: Tensor) -> Tensor:
    """One bit per structure, ``_BITS`` apart in their order, int32 ``(B, *grid)``."""
    code = torch.arange(CODES, device=tissue.device, dtype=torch.int32)
    table = torch.zeros_like(code)
    for place, name in enumerate(structures):
        first, last = STRUCTURE_CODES[name]
        mask = (code >= first) & (code <= last)
        for like in _ALIKE.get(name, ()):
            mask |= code == like
        table += mask.int() << place * _BITS
    return table.index_select(0, tissue.flatten().int()).reshape(tissue.shape)


def _shifts(spacing_mm: float) -> tuple[int, ...]:
    """Steps of the blur: each pass adds values one step apart; the step grows from pass to pass.

    A sum of two values ``k`` apart has the variance ``k ** 2 / 4``. No step is larger than twice the one
    before, so that none leaves gaps; their sum is even, so that the blur has a middle pixel.
    """
    rest = max(2, 2 * round(2 * (BLUR_MM / spacing_mm) ** 2))
    shifts: list[int] = []
    while rest > 0 and len(shifts) < _STAGES:
        fair = round(math.sqrt(rest / (_STAGES - len(shifts))))
        shift = max(1, min(fair, 2 ** len(shifts)))
        if len(shifts) == _STAGES - 1 and (rest - shift) % 2:
            shift += 1 if shift == 1 else -1
        shifts.append(shift)
        rest -= shift * shift
    return tuple(shifts)


def _pad(values: Tensor, axis: int, count: int) -> Tensor:
    """Repeat the first and last row or column ``count`` times."""
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
    shape = list(values.shape)
    shape[axis] = count
    return torch.cat((first.expand(shape), values, last.expand(shape)), dim=axis)


def _add_shifted(values: Tensor, axis: int, shift: int) -> Tensor:
    count = values.shape[axis] - shift
    return values.narrow(axis, 0, count) + values.narrow(axis, shift, count)


def _distance(excess: Tensor, half: int, sigma_mm: float) -> Tensor:
    """Distance inside a border from the pixels counted beyond one half of the blur's window.

    With x the share of the pixels inside less the share outside, the distance is
    x (a + b x^2) / (1 - c x^2) standard deviations: a and c are fitted to straight borders on 1 mm grids, b
    such that it ends at ``FARTHEST``. It stands for the inverse of the normal distribution function.
    ``excess`` is the number of pixels inside less ``half`` of the window's; the blur has ``sigma_mm``.
    """
    bend = FARTHEST * (1 - _POLE) - _SLOPE
    unit = sigma_mm / half
    slope, one = excess.new_full((), _SLOPE * unit), excess.new_full((), 1.0)
    above = torch.addcmul(slope, excess, excess, value=bend * unit / half**2)
    below = torch.addcmul(one, excess, excess, value=-_POLE / half**2)
    return above.mul_(excess).div_(below)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndPlateParams(Batch):
    """Lines where vertebrae face discs."""

    strength: Tensor
    level: Tensor
    width_mm: Tensor
    offset_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class CortexParams(Batch):
    """Lines on the borders of ``STRUCTURES``; ``strength`` and ``offset_mm`` are ``(B, S)``."""

    strength: Tensor
    level: Tensor
    width_mm: Tensor
    offset_mm: Tensor
    facing_mm: Tensor
    front_widening: Tensor
    end_plates: EndPlateParams | None  # None if the configuration never has them


@dataclass(frozen=True, kw_only=True, slots=True)
class CortexConfig(Feature[CortexParams]):
    """Dark lines on borders (cortical bone, annulus, dura) and end plates."""

    probability: float = 0.9
    """Probability of dark lines on the borders of vertebrae, discs and canal."""
    strength: Range = (0.3, 1.0)
    """Share of the signal above ``level`` that a line takes away, per structure."""
    level: Range = (0.0, 0.15)
    """Intensity of a full line, share of full scale."""
    width_mm: Range = (0.6, 1.0)
    """Standard deviation of the profile of a line, mm."""
    vertebra_offset_mm: Range = (-1.2, 0.6)
    """Position of the line of vertebrae, mm inside the border."""
    facing_mm: Range = (-1.3, -0.5)
    """What is added to it where a vertebra faces a disc: SPIDER masks leave the end plate out."""
    front_widening: Range = (1.0, 1.4)
    """How many times as wide the line is at the front of bodies, where a ligament covers the bone."""
    disc_offset_mm: Range = (-1.9, -0.1)
    """Position of the line of discs, mostly outside the annotated disc."""
    canal_offset_mm: Range = (-1.5, 0.3)
    """Position of the line of the canal."""
    end_plate_probability: float = 0.3
    """Probability that vertebrae have a line of its own, dark or bright, where they face a disc."""
    end_plate_strength: Range = (0.2, 0.9)
    """Share of the way that this line takes the intensity to its own."""
    end_plate_level: Range = (0.0, 0.6)
    """Intensity of a full end plate, share of full scale."""
    end_plate_width_mm: Range = (0.5, 1.2)
    """Standard deviation of the profile of an end plate, mm."""
    end_plate_offset_mm: Range = (-1.2, 1.0)
    """Position of the end plates of a sample, mm inside the vertebra's border."""

    bounds = within(
        "strength",
        "level",
        "end_plate_strength",
        "end_plate_level",
        width_mm=(0.1, REACH_MM),
        end_plate_width_mm=(0.1, REACH_MM),
        front_widening=(1.0, 3.0),
    )
    along_spine = near_borders = True
    shown = showcase("middle_disc", strength=(0.9, 1.0), end_plate_probability=0.0)

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        for line, name in (*(("", name) for name in STRUCTURES), ("end_plate_", "end_plate")):
            width, offset = getattr(self, f"{line}width_mm"), getattr(self, f"{name}_offset_mm")
            half, more = _PROFILE_END * width[1], ""
            reach = half + max(map(abs, offset))
            if name == "vertebra":
                facing, front = self.facing_mm, self.front_widening
                facing_disc = max(abs(offset[0] + min(facing[0], 0.0)), abs(offset[1] + max(facing[1], 0.0)))
                reach = max(half + facing_disc, reach + half * (front[1] - 1))
                more = f", facing_mm {facing}, front_widening {front}"
            if reach > REACH_MM + 1e-9:
                raise ValueError(
                    f"CortexConfig.{line}width_mm {width}, {name}_offset_mm {offset}{more} make lines that "
                    f"reach {reach:.2f} mm from the border; distances are known to {REACH_MM} mm"
                )

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.probability == 0 and self.end_plate_probability == 0

    def sample(self, random: SampleRandom) -> CortexParams:
        """Draw the lines on borders."""
        structures = (len(STRUCTURES),)
        on = random.chance("cortex", self.probability).unsqueeze(1)
        offsets = (
            (share * (high - low) + low).clamp(low, high)
            for share, (low, high) in zip(
                random.uniform("cortex_offset", shape=structures).unbind(1),
                (getattr(self, f"{name}_offset_mm") for name in STRUCTURES),
                strict=True,
            )
        )
        return CortexParams(
            strength=random.uniform("cortex_strength", *self.strength, shape=structures) * on,
            level=random.uniform("cortex_level", *self.level),
            width_mm=random.uniform("cortex_width", *self.width_mm),
            offset_mm=torch.stack(list(offsets), dim=1),
            facing_mm=random.uniform("cortex_facing", *self.facing_mm),
            front_widening=random.uniform("cortex_front", *self.front_widening),
            end_plates=_draw_end_plates(self, random),
        )

    def settle(self, own: CortexParams, drawing: Drawing) -> CortexParams:
        """Hidden structures have no lines; end plates belong to vertebrae."""
        if (hidden := drawing[HiddenConfig]) is None:
            return own
        plates = own.end_plates
        plates = None if plates is None else unless_hidden(plates, hidden, "vertebra", "strength")
        return replace(own, strength=own.strength * (1 - hidden.hidden), end_plates=plates)


def _draw_end_plates(config: CortexConfig, random: SampleRandom) -> EndPlateParams | None:
    if config.end_plate_probability == 0:
        return None
    on = random.chance("end_plate", config.end_plate_probability)
    return EndPlateParams(
        strength=random.uniform("end_plate_strength", *config.end_plate_strength) * on,
        level=random.uniform("end_plate_level", *config.end_plate_level),
        width_mm=random.uniform("end_plate_width", *config.end_plate_width_mm),
        offset_mm=random.uniform("end_plate_offset", *config.end_plate_offset_mm),
    )


def add_cortex(image: Tensor, depth_mm: Tensor, behind_mm: Tensor, params: CortexParams | None) -> Tensor:
    """Draw the lines on the borders of the structures, at the distances ``depth_mm`` of :func:`depths`.

    ``behind_mm`` is that of ``gen.geometry.spine_frame``, in the shape of the image; it tells where the front
    of bodies lies.

    A line only darkens: tissue that is darker than the line stays. An end plate takes the intensity towards
    its own, up or down.
    """
    if params is None:
        return image
    image = torch.addcmul(
        image,
        _line_strength(depth_mm, behind_mm, params),
        (image - per_sample(params.level, image)).clamp_(min=0),
        value=-1,
    )
    if params.end_plates is None:
        return image
    plates = params.end_plates
    vertebra, disc = (depth_mm[:, STRUCTURES.index(name)] for name in ("vertebra", "disc"))
    return where_changed(_face_discs, plates.strength > 0, image, vertebra, disc, plates,
                         in_place=not image.requires_grad)  # fmt: skip


def _line_strength(depth_mm: Tensor, behind_mm: Tensor, params: CortexParams) -> Tensor:
    """Strength of the strongest line at every pixel, in the shape of the image."""
    strength = None
    for i, name in enumerate(STRUCTURES):
        depth = depth_mm[:, i]
        if name == "vertebra":
            facing = _facing(depth_mm[:, STRUCTURES.index("disc")])
            depth = torch.addcmul(depth, facing, per_sample(params.facing_mm, facing), value=-1)
            # A line is wider where depths change more slowly around its middle.
            front = (behind_mm * (-1 / _FRONT_MM) - BODY_TO_CANAL_MM / _FRONT_MM).clamp_(0, 1)
            slower = front.mul_(1 - facing).mul_(1 - 1 / per_sample(params.front_widening, front))
            middle = per_sample(params.offset_mm[:, i], depth)
            depth = torch.addcmul(depth, slower, depth - middle, value=-1)
            del facing, front, slower
        line = _line(depth, params.strength[:, i], params.offset_mm[:, i], params.width_mm)
        strength = line if strength is None else torch.maximum(strength, line, out=strength)
    assert strength is not None
    return strength


def _face_discs(image: Tensor, vertebra: Tensor, disc: Tensor, plates: EndPlateParams) -> Tensor:
    """Draw the lines where vertebrae face discs; depths inside of both, mm, in the shape of the image."""
    share = _line(vertebra, plates.strength, plates.offset_mm, plates.width_mm).mul_(_facing(disc))
    return torch.addcmul(image, share, per_sample(plates.level, image) - image)


def _facing(disc_mm: Tensor) -> Tensor:
    """How much a vertebra's border faces a disc at a pixel, 0..1, by the distance inside the disc, mm."""
    away, near = _FACING_MM
    return ((disc_mm + away) * (1 / (away - near))).clamp_(0, 1)


def _line(depth_mm: Tensor, strength: Tensor, offset_mm: Tensor, width_mm: Tensor) -> Tensor:
    """Strength times the profile of a line, (1 - u^2 / 9)^4 with u the distance in standard deviations.

    It stays within 0.045 of exp(-u^2 / 2) and ends at three standard deviations.
    """
    # The eighth root of the strength goes into u, so that it costs no pass over the pixels.
    root = strength.sqrt().sqrt()
    scale = root.sqrt() / (_PROFILE_END * width_mm)
    place = (depth_mm * per_sample(scale, depth_mm)).sub_(per_sample(offset_mm * scale, depth_mm))
    # The profile's negative, which an even power takes away.
    return place.square_().sub_(per_sample(root, depth_mm)).clamp_(max=0).square_().square_()
