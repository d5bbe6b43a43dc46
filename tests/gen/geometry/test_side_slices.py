"""Side slices: which maps they are, and how often they are drawn."""

import pytest
import torch

from synthspine.gen import draw, preset
from synthspine.gen.core.anatomy import CANAL, IGNORE, disc_code
from synthspine.gen.geometry.side_slices import map_odds, side_slices

CONFIG = preset("spine")


def drawn(odds, indices=range(4000)):
    return draw(CONFIG, 3, torch.tensor(indices), maps=odds).map_index


def test_side_slices_show_less_than_5_cm2_of_vertebrae_and_canal():
    maps = torch.zeros(5, 40, 40, dtype=torch.uint8)
    maps[1, :10], maps[1, 10:20] = 3, CANAL
    maps[2, :20, :31] = 3
    maps[3, :], maps[4, :] = IGNORE, disc_code(1)
    # 800 and 620 pixels of .64 mm2 are 5.12 and 3.97 cm2.
    assert side_slices(maps, 0.8).tolist() == [True, False, True, True, True]
    assert side_slices(maps, 1.0).tolist() == [True, False, False, True, True]


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_side_slices_have_their_share_and_all_of_a_kind_are_drawn_alike(share):
    side = torch.tensor([True, False, False, True, False, True, True])
    counts = torch.bincount(drawn(map_odds(side, share)), minlength=7) / 4000
    wanted = torch.where(side, share / 4, (1 - share) / 3)
    torch.testing.assert_close(counts, wanted, atol=0.02, rtol=0)
    assert not counts[wanted == 0].any()


@pytest.mark.parametrize("kind", [True, False])
def test_where_a_kind_is_missing_all_maps_are_drawn_alike(kind):
    counts = torch.bincount(drawn(map_odds(torch.full((3,), kind), 0.2)), minlength=3) / 4000
    torch.testing.assert_close(counts, torch.full((3,), 1 / 3), atol=0.03, rtol=0)


def test_the_map_of_a_sample_depends_on_its_index_alone():
    odds = map_odds(torch.arange(9) % 3 == 0, 0.4)
    whole = drawn(odds, range(40))
    assert torch.equal(drawn(odds, range(20, 40)), whole[20:])
    assert torch.equal(drawn(odds, [7]), whole[7:8])


def test_a_share_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"side_share 1\.5"):
        map_odds(torch.tensor([True, False]), 1.5)
