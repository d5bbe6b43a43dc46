"""Metal: screws and rods without signal, and the distortion of the image around them.

Metal shifts the resonance frequency nearby, and the scanner takes frequency along the readout direction for
position. Signal at ``x`` therefore appears at ``x + u(x)``: where the displacement ``u`` grows the image is
stretched and faint, where it falls signal piles up in a bright rim. Here ``u`` falls off with the distance
from the metal; the image is taken from ``x - u(x)`` and weighted with ``1 - du/dx``.

Pieces are straight and lie near each other, so only a window of fixed size about them is computed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Config, Range, Spacing, within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import per_sample
from synthspine.gen.geometry.spine_frame import SpineFrame
from synthspine.gen.scanner.lines import phase_along_rows

PIECES = 2
WINDOW_MM = 136.0
"""Side of the window around an implant."""
FAR_MM = 1e4
"""Height of an absent piece."""
EDGE_MM = 1.0
"""Width of the transition from tissue to void."""
WEIGHTS = (0.2, 2.5)
"""Least and greatest factor on the brightness of stretched and piled-up signal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImplantParams(Batch):
    """Two straight capsules beside the canal."""

    rise_mm: Tensor
    up_mm: Tensor  # height of each piece above the first, ``(B, 2)``; ``FAR_MM`` if it is absent
    behind_mm: Tensor  # each piece behind the middle of the canal at the height of the first, ``(B, 2)``
    across_mm: Tensor  # position across the slices, ``(B, 2)``
    half_mm: Tensor  # half the length of the axis, ``(B, 2)``
    axis_deg: Tensor  # direction of the axis, 0 from front to back, 90 from head to foot, ``(B, 2)``
    radius_mm: Tensor
    halo_mm: Tensor
    displacement_mm: Tensor  # displacement next to the void, ``(B,)``; its sign is the sense of the readout
    along_rows: Tensor  # 1 if the readout runs from row to row, 0 from column to column, ``(B,)``

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.up_mm[:, 0] < FAR_MM


@dataclass(frozen=True, kw_only=True, slots=True)
class ImplantConfig(Feature[ImplantParams]):
    """One or two pieces of metal, each a screw across the spine or a rod along it."""

    probability: float = 0.03
    """Probability of an implant."""
    second_probability: float = 0.6
    """Probability that it has a second piece."""
    rod_probability: float = 0.35
    """Probability that a piece is a rod; otherwise it is a screw."""
    rise_mm: Range = (-10.0, 110.0)
    """Height of the first piece above the middle of the lowest vertebra, mm."""
    second_rise_mm: Range = (15.0, 40.0)
    """Height of the second piece above the first, mm."""
    screw_mm: Range = (20.0, 50.0)
    """Length of a screw, mm."""
    screw_behind_mm: Range = (-25.0, -5.0)
    """Middle of a screw behind the middle of the canal, mm; negative is in front."""
    rod_mm: Range = (30.0, 60.0)
    """Length of a rod, mm."""
    rod_behind_mm: Range = (12.0, 25.0)
    """Middle of a rod behind the middle of the canal, mm."""
    tilt_deg: Range = (-20.0, 20.0)
    """Rotation of a piece away from the row or column of the image, degrees."""
    across_mm: Range = (-20.0, 20.0)
    """Position of a piece across the slices, from the middle of the volume, mm (3D only)."""
    radius_mm: Range = (2.5, 6.0)
    """Radius of the void, mm: greater than that of the metal."""
    halo_mm: Range = (4.0, 10.0)
    """Distance over which the distortion falls off, mm."""
    displacement_mm: Range = (2.0, 8.0)
    """Displacement of the image next to the void, mm."""

    bounds = within(
        second_rise_mm=(-WINDOW_MM, WINDOW_MM),
        screw_mm=(0.0, WINDOW_MM),
        rod_mm=(0.0, WINDOW_MM),
        radius_mm=(0.1, WINDOW_MM),
        halo_mm=(0.1, WINDOW_MM),
        displacement_mm=(0.0, WINDOW_MM),
    )
    along_spine = True
    shown = showcase(second_probability=1.0, displacement_mm=(5.0, 8.0))

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        behind = (*self.screw_behind_mm, *self.rod_behind_mm)
        apart = max(max(abs(rise) for rise in self.second_rise_mm) + self.rod_mm[1],
                    max(behind) - min(behind) + self.screw_mm[1])  # fmt: skip
        reach = apart / 2 + self.radius_mm[1] + self.halo_mm[1]
        if reach > WINDOW_MM / 2:
            raise ValueError(
                f"ImplantConfig: pieces with their halo reach {reach:g} mm from their middle; want "
                f"{WINDOW_MM / 2:g} at most (second_rise_mm, rod_mm, screw_behind_mm, rod_behind_mm, "
                "screw_mm, radius_mm, halo_mm)"
            )

    def sample(self, random: SampleRandom) -> ImplantParams:
        """Draw implants."""

        def of_pieces(name: str, limits: Range) -> Tensor:
            return random.uniform(f"implant_{name}", *limits, shape=(PIECES,))

        on = random.chance("implant_on", self.probability)
        second = on & random.chance("implant_second", self.second_probability)
        up = random.uniform("implant_second_rise", *self.second_rise_mm)
        rod = of_pieces("rod", (0.0, 1.0)) < self.rod_probability
        rod_mm, rod_behind = of_pieces("rod_length", self.rod_mm), of_pieces("rod_behind", self.rod_behind_mm)
        screw_mm = of_pieces("screw_length", self.screw_mm)
        screw_behind = of_pieces("screw_behind", self.screw_behind_mm)
        sense = torch.where(random.chance("implant_sense", 0.5), 1.0, -1.0)
        return ImplantParams(
            rise_mm=random.uniform("implant_rise", *self.rise_mm),
            up_mm=torch.stack((torch.where(on, 0.0, FAR_MM), torch.where(second, up, FAR_MM)), dim=1),
            behind_mm=torch.where(rod, rod_behind, screw_behind),
            across_mm=of_pieces("across", self.across_mm),
            half_mm=torch.where(rod, rod_mm, screw_mm) / 2,
            axis_deg=of_pieces("tilt", self.tilt_deg) + 90.0 * rod,
            radius_mm=random.uniform("implant_radius", *self.radius_mm),
            halo_mm=random.uniform("implant_halo", *self.halo_mm),
            displacement_mm=random.uniform("implant_displacement", *self.displacement_mm) * sense * on,
            along_rows=(~phase_along_rows(random)).float(),
        )


def add_implant(
    image: Tensor, frame: SpineFrame, params: ImplantParams | None, spacing_mm: Spacing
) -> Tensor:
    """Remove the signal inside the metal and distort the image around it; ``frame`` locates the spine.

    A sample without an implant keeps its values bit for bit.
    """
    if params is None:
        return image
    columns = image.shape[-1]
    rows_mm, columns_mm, present = _pieces_mm(frame, params)
    row, row_mm = _window(frame.rows_mm, rows_mm, present, spacing_mm[-2])
    column, column_mm = _window(frame.columns_mm, columns_mm, present, spacing_mm[-1])
    squared = _squared_distance(row_mm, column_mm, rows_mm, columns_mm, params)
    if image.dim() == 4:
        squared = torch.stack([squared] * image.shape[1], dim=2)
        slices = centred_positions(image.shape[1], spacing_mm[0], image.device)
        across = (slices - params.across_mm.unsqueeze(2)).square()
        squared = squared + across[:, :, :, None, None]
    else:
        squared = squared.unsqueeze(2)
    nearest = squared.amin(1)  # (B, slices, window rows, window columns)

    radius = per_sample(params.radius_mm, nearest)
    # Near the surface of the metal the squares differ by 2 r times the distance.
    tissue = ((nearest - radius.square()) / (2 * EDGE_MM * radius) + 0.5).clamp(0, 1)
    # 1 at the void and inside, 0 beyond the halo, smooth where it ends.
    far = (radius + per_sample(params.halo_mm, nearest)).square()
    near = ((far - nearest) / (far - radius.square())).clamp(0, 1).square()
    along = per_sample(params.along_rows, nearest)
    spacing = along * spacing_mm[-2] + (1 - along) * spacing_mm[-1]
    source = near * (per_sample(-params.displacement_mm, nearest) / spacing)
    weight = tissue * _density(source, along).clamp(*WEIGHTS)

    plane = image.reshape(len(image), -1, image.shape[-2] * columns)
    place = row.unsqueeze(2) * columns + column.unsqueeze(1)
    stride = per_sample(params.along_rows * (columns - 1) + 1, nearest).int()
    # Beyond the border the image repeats its last pixel along the readout.
    at = along * row[:, None, :, None] + (1 - along) * column[:, None, None, :]
    last = along * (image.shape[-2] - 1) + (1 - along) * (columns - 1)
    source = torch.clamp(source, -at, last - at)
    whole = source.floor()
    first = place.int().unsqueeze(1) + whole.int() * stride
    # At the last pixel the second one has no weight.
    second = (first + stride).clamp(max=plane.shape[2] - 1)
    before, after = (plane.gather(2, pixel.flatten(2).long()) for pixel in (first, second))
    shown = torch.lerp(before, after, (source - whole).flatten(2)) * weight.flatten(2)
    place = place.flatten(1).unsqueeze(1).expand(-1, plane.shape[1], -1)
    return plane.scatter(2, place, shown).reshape(image.shape)


def _pieces_mm(frame: SpineFrame, params: ImplantParams) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column of the middle of each piece, mm, and whether it is present, all ``(B, 2)``."""
    rows, columns = frame.behind_mm.shape[-2:]
    row = (frame.body_mm[:, 0] - params.rise_mm).unsqueeze(1)
    above = (frame.rows_mm < row).sum(1, keepdim=True).clamp(max=rows - 1)
    # The middle slice; the first pixel of a row tells where its canal is.
    behind = frame.behind_mm.reshape(len(row), -1, rows, columns)
    first = behind[:, behind.shape[1] // 2, :, 0].gather(1, above)
    column = frame.columns_mm[0] - first + params.behind_mm
    return row - params.up_mm, column, params.up_mm < FAR_MM / 2


def _window(grid_mm: Tensor, pieces_mm: Tensor, present: Tensor, spacing_mm: float) -> tuple[Tensor, Tensor]:
    """Indices of the grid points of a window about the pieces, and their positions, both ``(B, n)``."""
    count = min(int(WINDOW_MM / spacing_mm) + 1, len(grid_mm))
    first, second = pieces_mm.unbind(1)
    middle = torch.where(present[:, 1], (first + second) / 2, first)
    start = ((middle - grid_mm[0]) / spacing_mm - (count - 1) / 2).round()
    index = start.clamp(0, len(grid_mm) - count).long().unsqueeze(1)
    index = index + torch.arange(count, device=grid_mm.device)
    return index, grid_mm[index]


def _squared_distance(
    row_mm: Tensor, column_mm: Tensor, rows_mm: Tensor, columns_mm: Tensor, params: ImplantParams
) -> Tensor:
    """Squared distance from the axis of each piece, mm^2, ``(B, 2, rows, columns)``."""
    down = row_mm.unsqueeze(1) - rows_mm.unsqueeze(2)
    back = column_mm.unsqueeze(1) - columns_mm.unsqueeze(2)
    angle = torch.deg2rad(params.axis_deg).unsqueeze(2)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    along = (down * sine).unsqueeze(3) + (back * cosine).unsqueeze(2)
    across = (down * cosine).unsqueeze(3) - (back * sine).unsqueeze(2)
    beyond = (along.abs() - params.half_mm[:, :, None, None]).clamp(min=0)
    return across.square() + beyond.square()


def _density(source: Tensor, along: Tensor) -> Tensor:
    """Density of the displaced signal: 1 plus the derivative of the source along the readout."""
    weight = torch.ones_like(source)
    for axis, share in ((-2, along), (-1, 1 - along)):
        count = source.shape[axis] - 1
        step = source.narrow(axis, 1, count) - source.narrow(axis, 0, count)
        weight.narrow(axis, 1, count).addcmul_(step, share)
    return weight
