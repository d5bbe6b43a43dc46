"""Muscles, bones and organs beside the spine, in slices that do not show the canal.

Every row of a picture is a sequence of intervals: from front to back fat, a vessel, psoas, quadratus
lumborum, the back muscles, the fat under the skin and air; over them kidney and bones, which are transverse
processes, ribs and, below, the iliac wing. Lines of fat run through the muscles. Borders are computed row by
row, and running sums along the rows fill the pixels between them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom, uniform_field
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import gaussian_blur
from synthspine.gen.core.masks import at_most, has_code, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import NEVER_MM, SpineFrame, is_beside
from synthspine.gen.tissues.palette import (
    AIR,
    CORTICAL_BONE,
    FAT,
    FLUID,
    KIDNEY,
    MARROW,
    MUSCLE,
    MUSCLE_FAT,
    VESSEL,
)

TISSUES = (FAT, MUSCLE, VESSEL, KIDNEY, FAT, MUSCLE_FAT)
"""What planes of fat, psoas, vessel, kidney, the fat under the skin and lines usually are."""
LINES = 24
"""Lines of fat; a quarter of them run through the psoas."""
_LENGTHS = ("scale", "shift_mm", "down_mm", "tilt", "bow_mm", "psoas_mm", "lean", "muscle_mm", "fat_mm",
            "step_mm", "line_mm")  # fmt: skip
_ORGANS = ("quadratus", "vessel", "kidney", "ilium")
_PROCESSES, _WAVES = 12, 9
_KEPT = 128
"""What counts as being where nothing is painted; lines are fewer."""
_SKIN = 8
"""Number of the border behind the back muscles."""
_LEAST_MM = 0.1
"""Nothing is shorter; this avoids a division by 0."""
_SMOOTH_MM = 20.0
"""Standard deviation of the Gaussian that smooths the course of the spine."""
_STEADY = 0.3
"""Share of shift, tilt and bow that is left where vertebrae or discs show the course of the spine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BesideParams(Batch):
    """What lies beside the spine, of a batch; a probability of the configuration is 1 or 0 here."""

    key: Tensor
    side: Tensor  # 1 where slices without canal are painted, ``(B,)``
    away: Tensor  # 1 where slices with a canal are painted away from it, ``(B,)``
    keep_mm: Tensor  # from the canal's middle to where painting begins, before and behind, ``(B, 2)``
    scale: Tensor
    shift_mm: Tensor
    down_mm: Tensor
    tilt: Tensor
    bow_mm: Tensor
    psoas_mm: Tensor
    lean: Tensor
    muscle_mm: Tensor
    fat_mm: Tensor
    step_mm: Tensor
    line_mm: Tensor
    quadratus: Tensor
    vessel: Tensor
    kidney: Tensor
    ilium: Tensor
    codes: Tensor  # painted codes in place of ``TISSUES``, ``(B, 6)``


@dataclass(frozen=True, kw_only=True, slots=True)
class BesideConfig(Feature[BesideParams]):
    """Muscles, kidney, ends of ribs and iliac wing in slices beside the spine."""

    probability: float = 0.85
    """Probability in slices without canal."""
    away_probability: float = 0.25
    """Of these samples, share that is painted away from the canal in slices that show it."""
    before_mm: Range = (55.0, 90.0)
    """In slices with a canal: from its middle forward to where painting begins, mm."""
    behind_mm: Range = (28.0, 60.0)
    """The same backwards, mm."""
    scale: Range = (0.8, 1.2)
    """Factor on all sizes and places."""
    shift_mm: Range = (-30.0, 30.0)
    """From the spine, or else the middle of the picture, back to the transverse processes, mm."""
    down_mm: Range = (-50.0, 50.0)
    """From the middle of the picture down to the height of the third lumbar vertebra, mm."""
    tilt: Range = (-0.3, 0.15)
    """Way backwards of the line of transverse processes, mm per mm downwards."""
    bow_mm: Range = (-5.0, 15.0)
    """Way backwards of this line 100 mm above and below that height, mm."""
    psoas_mm: Range = (12.0, 60.0)
    """Greatest thickness of the psoas, mm."""
    lean: Range = (0.0, 0.35)
    """Way forwards of the psoas, mm per mm downwards."""
    muscle_mm: Range = (25.0, 65.0)
    """From the transverse processes to the end of the back muscles, mm."""
    fat_mm: Range = (2.0, 45.0)
    """Thickness of the fat under the skin, mm; air follows."""
    step_mm: Range = (28.0, 40.0)
    """Distance of transverse processes, mm."""
    line_mm: Range = (0.5, 1.8)
    """Greatest width of the lines of fat in the muscles, mm."""
    quadratus_probability: float = 0.5
    """Probability of quadratus lumborum."""
    vessel_probability: float = 0.4
    """Probability of a vessel in front of the psoas."""
    kidney_probability: float = 0.5
    """Probability of a kidney."""
    ilium_probability: float = 0.6
    """Probability of an iliac wing."""
    alike_probability: float = 0.25
    """Probability that a tissue has the grey of marrow, or of fluid, in place of its own."""

    bounds = within(
        scale=(0.3, 3.0), shift_mm=(-1e3, 1e3), down_mm=(-1e3, 1e3), tilt=(-2.0, 2.0), bow_mm=(-100.0, 100.0),
        psoas_mm=(0.0, 200.0), lean=(-2.0, 2.0), muscle_mm=(0.0, 300.0), fat_mm=(0.0, 300.0),
        step_mm=(5.0, 100.0), line_mm=(0.0, 20.0),
    )  # fmt: skip
    along_spine = True
    shown = showcase(away_probability=1.0, before_mm=(50.0, 50.0), behind_mm=(25.0, 25.0), line_mm=(1.0, 1.0))

    def sample(self, random: SampleRandom) -> BesideParams:
        """Draw what lies beside the spine in every sample."""

        def uniform(name: str) -> Tensor:
            return random.uniform(f"beside_{name}", *getattr(self, name))

        def chance(name: str, probability: float) -> Tensor:
            return random.chance(f"beside_{name}", probability).float()

        side = chance("side", self.probability)
        alike = random.uniform("beside_alike", shape=(len(TISSUES),)) - self.alike_probability
        usual = torch.tensor(TISSUES, device=alike.device)
        other = torch.where(alike < -0.5 * self.alike_probability, MARROW, FLUID)
        return BesideParams(
            key=random.key("beside_key"),
            side=side,
            away=side * chance("away", self.away_probability),
            keep_mm=torch.stack((uniform("before_mm"), uniform("behind_mm")), dim=1),
            **{name: uniform(name) for name in _LENGTHS},
            **{name: chance(name, getattr(self, f"{name}_probability")) for name in _ORGANS},
            codes=torch.where(alike < 0, other, usual).float(),
        )


def paint_beside(
    painted: Tensor, params: BesideParams | None, frame: SpineFrame, spacing_mm: Spacing
) -> Tensor:
    """Paint slices without canal, and others away from the canal, over background and body layers."""
    if params is None:
        return painted
    shape = _Shape(params, frame.rows_mm)
    layers = shape.layers()
    borders = torch.cat((layers, shape.organs(layers[..., _SKIN]), shape.lines()), dim=-1)
    slices = [1] * (painted.dim() - 3)
    course = shape.course_mm().view(len(painted), *slices, -1)
    borders = (borders * per_sample(params.scale, borders)).view(len(painted), *slices, *borders.shape[1:])

    spine = frame.columns_mm[0] - frame.behind_mm[..., 0]
    smooth = torch.full_like(params.scale, _SMOOTH_MM).unsqueeze(1)
    spine = gaussian_blur(spine, smooth, spacing_mm[-2:-1], 2.5 * _SMOOTH_MM)
    loose = torch.where(frame.has_bodies | ~is_beside(frame), _STEADY, 1.0).unsqueeze(-1)
    borders = borders + (spine + loose * course).unsqueeze(-1)
    kept = _kept(params, frame).unsqueeze(-2) + spine.unsqueeze(-1)
    borders = torch.cat((borders, kept), dim=-1)

    # A running sum along the rows of layers, of organs, and of lines with where nothing is painted.
    count = painted.shape[-1]
    first = ((borders - frame.columns_mm[0]) / spacing_mm[-1]).ceil_().clamp_(0, count).long()
    steps = _steps(params.codes.int())
    parts = first.split([part.shape[1] for part in steps], dim=-1)
    blank = torch.zeros((*painted.shape[:-1], count + 1), dtype=torch.uint8, device=painted.device)
    found, organs, lines = (
        blank.scatter_add(-1, at, part.view(len(at), *slices, 1, -1).expand(at.shape)).cumsum(
            -1, dtype=torch.uint8
        )
        for at, part in zip(parts, steps, strict=True)
    )
    line = per_sample(params.codes[:, -1].to(torch.uint8), painted)
    found = overpaint(found, line, has_code(found, MUSCLE) * (lines & (_KEPT - 1)).clamp(max=1))
    found = overpaint(found, organs, organs.clamp(max=1))
    shown = found.clamp(max=1) * at_most(lines, _KEPT - 1)
    return overpaint(painted, found[..., :count], shown[..., :count])


def _kept(params: BesideParams, frame: SpineFrame) -> Tensor:
    """Where painting ends and begins again, mm behind the canal's middle, ``(B, *grid[:-2], 2)``."""
    shown = ~is_beside(frame)
    away, side, before, behind = (
        per_sample(values, shown) for values in (params.away, params.side, *params.keep_mm.unbind(1))
    )
    painted = torch.where(shown, away, side) > 0
    before, behind = (torch.where(painted, end * shown, NEVER_MM) for end in (before, behind))
    return torch.stack((-before, behind), dim=-1)


def _steps(codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What borders of layers, of organs and of lines add to their sums, uint8 ``(B, borders)`` each."""
    plane, psoas, vessel, kidney, skin, _ = codes.unbind(1)
    one = torch.ones_like(plane)
    bone, muscle, fat = CORTICAL_BONE * one, MUSCLE * one, FAT * one
    layers = (plane, vessel, plane, psoas, plane, muscle, plane, muscle, bone, skin, muscle, AIR * one)
    organs = (fat, bone, kidney, fat, kidney, bone, fat, 0 * one, bone, MARROW * one, bone, 0 * one)
    line, kept = one.unsqueeze(1).expand(-1, LINES), _KEPT * one.unsqueeze(1)
    # Sums of uint8 are those of integers modulo 256.
    first, second = (
        torch.diff(torch.stack((0 * one, *chain), dim=1), dim=1).to(torch.uint8) for chain in (layers, organs)
    )
    return first, second, torch.cat((line, -line, kept, -kept), dim=1).to(torch.uint8)


class _Shape:
    """Borders on every row, mm behind the line of transverse processes, before they are scaled."""

    def __init__(self, params: BesideParams, rows_mm: Tensor) -> None:
        self._key = params.key
        self._p = params.map(lambda value: value.unsqueeze(1))
        self._down = (rows_mm - self._p.down_mm) / self._p.scale
        waves = uniform_field(params.key, "waves", 3 * _WAVES).view(-1, 3, _WAVES, 1)
        size, length, phase = waves.unbind(1)
        angle = self._down.unsqueeze(1) / (5 + 20 * length) + 6.3 * phase
        self._waves = ((0.2 + 1.5 * size) * torch.sin(angle)).unbind(1)

    def _uniform(self, name: str, count: int) -> tuple[Tensor, ...]:
        """Uniform numbers, ``count`` of ``(B, 1)``."""
        return uniform_field(self._key, name, count).unsqueeze(1).unbind(2)

    def _lens(self, middle_mm: Tensor, length_mm: Tensor, width_mm: Tensor, blunt: float = 0.5) -> Tensor:
        """Half the width on every row, ``(B, H)``, of what has this half length and half width.

        ``blunt`` is the exponent of its ends: 0.5 for an ellipse, less for blunt, more for pointed ends.
        """
        place = (self._down - middle_mm) / length_mm.clamp(min=_LEAST_MM)
        return width_mm.clamp(min=0) * (1 - place.square()).clamp(min=0) ** blunt

    def course_mm(self) -> Tensor:
        """Way of the line of transverse processes behind the course of the spine, mm, ``(B, H)``."""
        bow = self._p.bow_mm * (self._down / 100).square().clamp(max=4)
        return self._p.shift_mm + self._p.tilt * self._down + bow

    def layers(self) -> Tensor:
        """Borders of what fills a slice from front to back, ``(B, H, 12)``."""
        p, down = self._p, self._down
        gap, at, high, thick, near, wide, plane, growth, line, bundle, apart = self._uniform("layers", 11)
        wave = self._waves

        middle = -4 - 9 * gap - 0.5 * p.psoas_mm - p.lean * down
        half = self._lens(40 * at - 15, 75 + 90 * high, 0.5 * p.psoas_mm, 0.7)
        psoas = (middle - half - wave[0], middle + half + 0.4 * wave[1])
        vessel = psoas[0] - 1 - 8 * near
        width = self._lens(160 * wide - 80, 40 + 120 * high, (5 + 18 * wide) * p.vessel, 0.25)
        front = vessel - width - 2 - 25 * plane.square() + wave[2]
        begin = psoas[1] + 1.5
        quadratus = self._lens(-50 + 40 * at, 50 + 30 * wide, (4 + 12 * thick) * p.quadratus)
        front_of_back = torch.minimum(1 + 9 * bundle + wave[3], begin + quadratus + 3 + 60 * apart.square())
        back = torch.maximum(begin + quadratus + 1.5, front_of_back)
        end = p.muscle_mm + wave[4] + wave[5]
        fascia = end + (2 * line - 0.5).clamp(min=0)
        fat = fascia + p.fat_mm * (1 + 0.006 * growth * down.clamp(-60, 150)) + wave[6]
        skin = fat + (5 * line - 2).clamp(min=0)
        layers = (
            front,
            vessel - width,
            vessel,
            *psoas,
            begin,
            begin + quadratus,
            back,
            end,
            fascia,
            fat,
            skin,
        )
        return torch.stack(layers, dim=-1).cummax(-1).values

    def organs(self, end_mm: Tensor) -> Tensor:
        """Borders of kidney and bone, ``(B, H, 12)``, none behind ``end_mm``, ``(B, H)``."""
        p, down = self._p, self._down
        at, place, high, wide, lean, capsule, rim, pelvis, sinus = self._uniform("kidney", 9)
        middle, length, width = 75 * at - 105, 38 + 22 * high, (14 + 16 * wide) * p.kidney
        axis = -25 - 45 * place - 0.4 * lean * (down - middle)
        inset, width = 2.5 * rim, width * (1 + 0.07 * self._waves[7])
        fat = self._lens(middle, length + 16 * capsule, width + 16 * capsule * p.kidney)
        outer, inner = self._lens(middle, length, width), self._lens(middle, length - inset, width - inset)
        hollow = self._lens(middle, (0.3 + 0.4 * sinus) * length, (0.6 * pelvis) * width)
        hilus = axis - 0.7 * lean * width
        bones = self._bones()
        kidney = (axis - fat, axis - outer, axis - inner, hilus - hollow, hilus + hollow, axis + inner,
                  axis + outer, axis + fat)  # fmt: skip
        before = torch.minimum(torch.stack(kidney, dim=-1), (bones[0] - 2).unsqueeze(-1))
        borders = torch.cat((before, torch.stack(bones, dim=-1)), dim=-1).cummax(-1).values
        return torch.minimum(borders, (end_mm - 4).unsqueeze(-1))

    def _bones(self) -> tuple[Tensor, ...]:
        """Borders of transverse processes and ribs, and of the iliac wing, which ends their row."""
        p, down = self._p, self._down
        phase, wide, high, rim, at, place, length, width, tilt = self._uniform("bones", 9)
        number = (down / p.step_mm + phase).round()
        index = (number + _PROCESSES // 2).clamp(0, _PROCESSES - 1).long()
        size, aside = (
            uniform_field(self._key, name, _PROCESSES).gather(1, index) for name in ("size", "aside")
        )
        size = 1.3 * size + 0.2
        middle = (number - phase) * p.step_mm
        axis, reach, half = 10 * aside - 4, (4 + 7 * high) * size, (2.5 + 6 * wide) * size

        wing, wing_reach = 75 + 55 * at, 28 + 30 * length
        below = (down > wing - wing_reach - 3) & (p.ilium > 0)
        middle = torch.where(below, wing, middle)
        reach = torch.where(below, wing_reach, reach)
        half = torch.where(below, 14 + 26 * width, half) * (1 + 0.07 * self._waves[8])
        axis = torch.where(below, 35 * place - 10 + (0.9 * tilt - 0.1) * (down - wing), axis)
        rim_mm = 0.8 + 1.4 * rim
        outer, inner = self._lens(middle, reach, half), self._lens(middle, reach - rim_mm, half - rim_mm)
        return axis - outer, axis - inner, axis + inner, axis + outer

    def lines(self) -> Tensor:
        """Borders of lines of fat: the beginning of each, then the end of each, ``(B, H, 2 LINES)``."""
        p = self._p
        at, place, length, slope = (
            uniform_field(self._key, name, LINES) for name in ("at", "place", "length", "slope")
        )
        common = self._uniform("slope of all", 1)[0] - 0.5
        of_psoas = torch.arange(LINES, device=at.device) < LINES // 4
        middle = 340 * at - 170
        slope = torch.where(of_psoas, 0.2 * slope - 0.1 - p.lean, common + 0.5 * slope - 0.25)
        start = torch.where(of_psoas, -7 - place * p.psoas_mm - p.lean * middle, place * p.muscle_mm)
        down = self._down.unsqueeze(2) - middle.unsqueeze(1)
        axis = start.unsqueeze(1) + slope.unsqueeze(1) * down
        near = 1 - (down / (12 + 48 * length).unsqueeze(1)).square()
        half = near.clamp_(min=0).sqrt_().sqrt_() * (0.5 * p.line_mm).unsqueeze(2)
        return torch.cat((axis - half, axis + half), dim=-1)
