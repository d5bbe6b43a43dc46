"""Fat in front of vertebral bodies."""

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, IGNORE, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.intensity.cortex import depths
from synthspine.gen.tissues.fat import FrontFatConfig, FrontFatParams, paint_front_fat
from synthspine.gen.tissues.palette import FAT, FIRST_COARSE, OUTSIDE, SACRAL_DISC, SACRUM

FRONT = 30
"""First column of the bodies."""


def _codes():
    """Two bodies of 30 rows with a disc between them, 30 columns deep, and the canal behind."""
    codes = torch.zeros(1, 90, 100, dtype=torch.uint8)
    codes[:, 5:35, FRONT:60], codes[:, 36:44, FRONT:60], codes[:, 45:75, FRONT:60] = (
        vertebra_code(2),
        disc_code(2),
        vertebra_code(1),
    )
    codes[:, :, 64:78] = CANAL
    return codes


def _fat(codes, thickness_mm, painted=None, spacing_mm=(1.0, 1.0)):
    painted = torch.full_like(codes, FIRST_COARSE) if painted is None else painted
    frame, depth = find_spine(codes, spacing_mm), depths(codes, painted, spacing_mm)
    params = FrontFatParams(thickness_mm=torch.full((len(codes),), thickness_mm))
    return paint_front_fat(painted, codes, depth, frame, params, spacing_mm) == FAT


@pytest.mark.parametrize("thickness", [2.0, 3.0, 4.0, 5.0, 8.0])
def test_fat_lies_in_front_of_bodies_as_thick_as_drawn_and_ends_at_discs(thickness):
    fat = _fat(_codes(), thickness)[0]
    width = fat.sum(1)
    for middle in (20, 60):
        assert width[middle] == thickness and fat[middle, FRONT - int(thickness) : FRONT].all()
    assert not fat[:5].any() and not fat[35:45].any() and not fat[75:].any() and not fat[:, FRONT:].any()
    assert (width[22:35].diff() <= 0).all() and (width[45:60].diff() >= 0).all()


def test_it_covers_no_label_and_nothing_outside_of_the_view():
    codes = _codes()
    codes[:, 10:20, :FRONT], codes[:, 20:25, FRONT - 3 : FRONT] = IGNORE, CANAL
    painted = torch.full_like(codes, FIRST_COARSE)
    painted[:, 50:55] = OUTSIDE
    fat = _fat(codes, 4.0, painted)
    assert (
        not fat[(codes > 0) & (codes != IGNORE)].any()
        and not fat[painted == OUTSIDE].any()
        and fat[:, 58:].any()
    )


def test_the_painted_sacrum_stays_and_a_gap_between_body_and_disc_has_no_fat():
    codes = _codes()
    codes[:, 31:39] = torch.where(codes[:, 31:39] == CANAL, CANAL, 0)
    painted = torch.full_like(codes, FIRST_COARSE)
    painted[:, 40:, :28], painted[:, 70:, 10:] = SACRAL_DISC, SACRUM
    fat = _fat(codes, 8.0, painted)
    assert fat[:, 5:31].any() and not fat[:, 31:45].any()
    assert not fat[(painted == SACRUM) | (painted == SACRAL_DISC)].any()


def test_its_thickness_is_in_mm():
    wide = _codes().repeat_interleave(2, -1)
    assert _fat(wide, 4.0, spacing_mm=(1.0, 0.5))[0, 20].sum() == 8


def test_a_sample_alone_is_the_same_as_in_a_batch_and_none_has_no_fat():
    codes = _codes().expand(3, -1, -1)
    painted = torch.full_like(codes, FIRST_COARSE)
    frame, depth = find_spine(codes, (1.0, 1.0)), depths(codes, painted, (1.0, 1.0))
    params = FrontFatParams(thickness_mm=torch.tensor([0.0, 3.0, 5.0]))
    whole = paint_front_fat(painted, codes, depth, frame, params, (1.0, 1.0))
    assert params.touched().tolist() == [False, True, True] and torch.equal(whole[0], painted[0])
    alone = paint_front_fat(painted[1:2], codes[1:2], depth[1:2], frame[1:2], params[1:2], (1.0, 1.0))
    assert torch.equal(alone, whole[1:2])


def test_a_picture_without_vertebrae_has_none():
    codes = _codes()
    codes[codes < CANAL] = 0
    assert not _fat(codes, 5.0).any()
    painted = torch.full_like(codes, FIRST_COARSE)
    assert (
        paint_front_fat(painted, codes, depths(codes, painted, (1.0, 1.0)), None, None, (1.0, 1.0)) is painted
    )


def test_drawn_fat_has_the_probability_and_range_of_its_configuration():
    thickness = FrontFatConfig().draw(SampleRandom(sample_keys(3, torch.arange(3000)))).thickness_mm
    drawn = thickness[thickness > 0]
    assert 0.72 < len(drawn) / 3000 < 0.78 and 2.0 <= drawn.min() < 2.1 and 6.9 < drawn.max() <= 7.0
    assert FrontFatConfig(probability=0.0).draw(SampleRandom(sample_keys(3, torch.arange(3)))) is None
    with pytest.raises(ValueError, match="thickness_mm"):
        FrontFatConfig(thickness_mm=(-1.0, 6.0))


def test_volumes_have_it_in_every_slice():
    codes = _codes()
    flat = _fat(codes, 4.0)
    volume = _fat(codes[:, None].expand(-1, 3, -1, -1), 4.0, spacing_mm=(4.0, 1.0, 1.0))
    assert torch.equal(volume, flat[:, None].expand_as(volume))
