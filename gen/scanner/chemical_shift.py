"""Chemical shift: fat resonates about 3.5 ppm below water, so its signal is displaced along the readout."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import per_code, per_sample
from synthspine.gen.scanner.lines import phase_along_rows, take
from synthspine.gen.tissues.palette import FAT_FRACTION


@dataclass(frozen=True, kw_only=True, slots=True)
class ChemicalShiftParams(Batch):
    """Displacement and amount of fat."""

    displacement_mm: Tensor  # along rows and columns, ``(B, 2)``; one of them is 0, both without a shift
    fat_fraction: Tensor  # share of the signal of every painted code that is fat, ``(B, PAINT_CODES)``

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.displacement_mm.any(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChemicalShiftConfig(Feature[ChemicalShiftParams]):
    """Displacement of fat along the readout axis.

    At 1.5 T fat is 220 Hz off; at 150-400 Hz per pixel of 0.8 mm that is 0.4-1.2 mm, twice that at 3 T.
    """

    probability: float = 0.15
    """Probability of a visible shift."""
    displacement_mm: Range = (0.5, 2.5)
    """Displacement of fat, in either direction, mm."""
    fatness: Range = (0.7, 1.2)
    """Factor on the usual fat fraction of the tissues (marrow turns fatty with age)."""

    bounds = within(displacement_mm=(0.0, 20.0), fatness=(0.0, 5.0))
    shown = showcase("middle_disc", displacement_mm=(2.5, 2.5))

    def sample(self, random: SampleRandom) -> ChemicalShiftParams:
        """Draw the shift."""
        on = random.chance("chemical_shift", self.probability)
        sign = 1 - 2 * random.integer("chemical_shift_sign", 2)
        displacement = random.uniform("chemical_shift_mm", *self.displacement_mm) * sign * on
        rows = phase_along_rows(random)
        fatness = random.uniform("chemical_shift_fatness", *self.fatness).unsqueeze(1)
        return ChemicalShiftParams(
            displacement_mm=torch.stack((displacement * ~rows, displacement * rows), dim=1),
            fat_fraction=(fatness * _usual_fractions(random.keys.device)).clamp(max=1.0),
        )


@cache
def _usual_fractions(device: torch.device) -> Tensor:
    return torch.tensor(FAT_FRACTION, device=device)


def shift_fat(
    image: Tensor, painted: Tensor, params: ChemicalShiftParams | None, spacing_mm: Spacing
) -> Tensor:
    """Move the fat part of the image: ``image * (1 - f) + moved(image * f)``, linearly interpolated.

    Beyond the border the last pixel repeats. ``painted`` holds painted codes, uint8 ``(B, *grid)``.
    """
    if params is None:
        return image
    fat = image * per_code(params.fat_fraction, painted)
    near, far, share = [], [], torch.zeros_like(params.displacement_mm[:, 0])
    for axis in (0, 1):
        displacement = params.displacement_mm[:, axis] / spacing_mm[axis - 2]
        whole = torch.floor(displacement)
        share = share + (displacement - whole)
        count = image.shape[axis - 2]
        source = torch.arange(count, device=image.device) - whole.unsqueeze(1)
        before = source - (displacement != 0).float().unsqueeze(1)
        near.append(source.clamp(0, count - 1).long())
        far.append(before.clamp(0, count - 1).long())
    moved = torch.lerp(take(fat, *near), take(fat, *far), per_sample(share, image))
    return image + (moved - fat)
