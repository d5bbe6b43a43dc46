"""Displacement of fat against SciPy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from synthspine.gen.scanner.chemical_shift import ChemicalShiftParams, shift_fat
from synthspine.gen.tissues.palette import FAT, FAT_FRACTION, MUSCLE, PAINT_CODES


def _params(*displacement_mm: float) -> ChemicalShiftParams:
    return ChemicalShiftParams(
        displacement_mm=torch.tensor([displacement_mm]), fat_fraction=torch.tensor([FAT_FRACTION])
    )


@pytest.mark.parametrize(
    "displacement_mm", [(1.9, 0.0), (-1.9, 0.0), (0.0, 0.6), (0.0, -2.5), (3.0, 0.0), (0.0, 60.0)]
)
@pytest.mark.parametrize("grid", [(31, 26), (2, 31, 26)])
def test_the_fat_part_moves_and_the_water_part_stays(displacement_mm, grid):
    rng = np.random.default_rng(0)
    image = rng.random((1, *grid), dtype=np.float32)
    painted = rng.integers(0, PAINT_CODES, (1, *grid), dtype=np.uint8)
    spacing = (4.0, 1.5, 0.5)[-len(grid) :]
    moved = shift_fat(torch.from_numpy(image), torch.from_numpy(painted), _params(*displacement_mm), spacing)
    fraction = np.array(FAT_FRACTION, dtype=np.float32)[painted]
    pixels = [0] * (len(grid) - 1) + [displacement_mm[0] / 1.5, displacement_mm[1] / 0.5]
    shifted = ndimage.shift(image * fraction, pixels, order=1, mode="nearest")
    assert np.abs(moved.numpy() - (image * (1 - fraction) + shifted)).max() < 1e-5


def test_water_and_fat_meet_in_a_bright_and_a_dark_line():
    painted = torch.full((1, 1, 30), MUSCLE, dtype=torch.uint8)
    painted[..., 10:20] = FAT
    moved = shift_fat(torch.ones(1, 1, 30), painted, _params(0.0, 2.0), (1.0, 1.0))[0, 0]
    assert moved.tolist() == [1.0] * 10 + [0.0] * 2 + [1.0] * 8 + [2.0] * 2 + [1.0] * 8
