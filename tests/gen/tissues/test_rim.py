"""The rim of bodies that annotations leave out."""

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.tissues.palette import FAT
from synthspine.gen.tissues.rim import RimConfig, RimParams, paint_rim

VERTEBRA, DISC = vertebra_code(2), disc_code(2)
HEIGHTS = (0.0, 0.4, 0.6, 1.4, 1.6)


def _codes():
    """A body, two rows of background, a disc, two rows, a body, in columns 4 to 15; a canal beside them."""
    codes = torch.zeros(40, 24, dtype=torch.uint8)
    codes[4:14, 4:16], codes[16:22, 4:16], codes[24:34, 4:16] = VERTEBRA, DISC, vertebra_code(1)
    codes[:, 18:21] = CANAL
    return codes.expand(len(HEIGHTS), -1, -1)


def _paint(codes, heights=HEIGHTS, spacing_mm=(1.0, 1.0)):
    painted = torch.where(codes == 0, FAT, codes)
    return painted, paint_rim(painted, codes, RimParams(height_mm=torch.tensor(heights)), spacing_mm)


def test_the_rim_has_its_height_in_whole_rows_and_faces_the_disc_alone():
    codes = _codes()
    before, after = _paint(codes)
    for sample, rows in enumerate((0, 0, 1, 1, 2)):
        expected = before[sample].clone()
        expected[14 : 14 + rows, 4:16], expected[24 - rows : 24, 4:16] = VERTEBRA, vertebra_code(1)
        assert torch.equal(after[sample], expected)


@pytest.mark.parametrize(("spacing", "rows"), [(0.5, 3), (2.0, 1)])
def test_its_height_is_in_mm(spacing, rows):
    codes = torch.zeros(1, 30, 8, dtype=torch.uint8)
    codes[:, :10], codes[:, 10 + rows :] = VERTEBRA, DISC
    _, after = _paint(codes, (1.5,), (spacing, 1.0))
    assert (after[0, :, 3] == VERTEBRA).sum() == 10 + rows


def test_it_covers_no_label_and_is_nowhere_without_discs():
    codes = _codes()
    before, after = _paint(codes)
    assert torch.equal(after[codes > 0], before[codes > 0])
    alone = torch.where(codes == DISC, 0, codes)
    assert torch.equal(*_paint(alone))
    assert paint_rim(before, codes, None, (1.0, 1.0)) is before


def test_drawn_rims_have_the_probability_and_range_of_their_configuration():
    heights = RimConfig().draw(SampleRandom(sample_keys(3, torch.arange(3000)))).height_mm
    assert 0.77 < (heights > 0).float().mean() < 0.83 and 1.35 < heights.max() <= 1.4
    assert RimConfig(probability=0.0).draw(SampleRandom(sample_keys(3, torch.arange(3)))) is None


def test_volumes_have_it_in_every_slice():
    codes = _codes()[:1, None].expand(-1, 3, -1, -1)
    _, flat = _paint(_codes()[:1], (1.0,))
    _, volume = _paint(codes, (1.0,), (4.0, 1.0, 1.0))
    assert torch.equal(volume, flat[:, None].expand_as(volume))
