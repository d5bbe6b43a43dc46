"""Slipped and broken vertebrae, and arches taken out."""

from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.affine import AffineParams
from synthspine.gen.geometry.pathology import PathologyConfig, PathologyParams, open_canal
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.geometry.warp import deform

SPACING = (1.0, 1.0)
ALWAYS = PathologyConfig(slip_probability=1.0, wedge_probability=1.0, laminectomy_probability=1.0)


def _map(columns=120):
    """Vertebrae 1 to 4 of 24 rows with discs of 8 rows below them, a canal behind, an arch at each."""
    codes = torch.zeros(1, 160, columns, dtype=torch.uint8)
    codes[:, 10:156, 64:80] = CANAL
    for rank in range(1, 5):
        bottom = 150 - 32 * (rank - 1)
        codes[:, bottom - 8 : bottom, 26:60] = disc_code(rank)
        codes[:, bottom - 32 : bottom - 8, 26:60] = vertebra_code(rank)
        codes[:, bottom - 25 : bottom - 12, 84:100] = vertebra_code(rank)
    return codes


def _params(count=1, **values):
    wanted = {"rank": 2.0, "slip_mm": 0.0, "wedge": 0.0, "opened_rank": 1.0, "opened": 0.0} | values
    return PathologyParams(**{name: torch.full((count,), value) for name, value in wanted.items()})


def _changed(codes, params, spacing=SPACING):
    count, dims = len(params.rank), len(spacing)
    still = AffineParams(
        matrix=torch.eye(dims).expand(count, dims, dims), translation_mm=torch.zeros(count, dims)
    )
    chosen = torch.arange(count) % len(codes)
    codes = deform(codes, chosen, still, None, None, spacing, params)
    return open_canal(codes, find_spine(codes, spacing), params)


def _columns(codes, code):
    seen = torch.nonzero((codes == code).any(0)).flatten()
    return int(seen[0]), int(seen[-1])


def test_a_slip_moves_a_vertebra_and_all_above_it_forward_and_nothing_below():
    before = _map()
    after = _changed(before, _params(slip_mm=6.0))[0]
    assert torch.equal(after[120:], before[0, 120:])
    assert torch.equal(after[:108, :114], before[0, :108, 6:])
    # The disc between reaches from one to the other.
    first, last = _columns(after, disc_code(2))
    assert 20 <= first <= 22 and 57 <= last <= 59
    # The canal stays in one piece.
    assert (after[12:150] == CANAL).any(1).all()


def test_a_slip_is_forward_where_the_front_is_on_the_right():
    after = _changed(_map().flip(-1), _params(slip_mm=6.0))
    torch.testing.assert_close(after.flip(-1), _changed(_map(), _params(slip_mm=6.0)))


def test_a_wedge_fracture_takes_its_share_of_the_height_in_front_and_none_behind():
    before, after = _map()[0], _changed(_map(), _params(wedge=0.3))[0]
    height = (after == vertebra_code(2)).sum(0)
    # The body is 23 mm high between end plates 4.5 mm from the middles of its discs.
    assert abs(int(height[26]) - (24 - 0.3 * 23)) <= 1.5 and abs(int(height[59]) - 24) <= 1
    assert (height[26:60].diff() >= -1).all()
    assert torch.equal(after[:, 61:], before[:, 61:]) and torch.equal(after[115:], before[115:])
    for code in (vertebra_code(3), disc_code(3)):
        # What lies above comes along and keeps most of its height.
        rest = (after == code).sum(0)[26] / (before == code).sum(0)[26]
        assert 1 <= rest < 1.25


@pytest.mark.parametrize("count", [1, 2])
def test_a_laminectomy_takes_the_posterior_elements_of_neighbours_alone(count):
    before, after = _map(), _changed(_map(), _params(opened_rank=2.0, opened=float(count)))
    taken = before != after
    ranks = {vertebra_code(2 + number) for number in range(count)}
    assert set(before[taken].tolist()) == ranks and (after[taken] == BACKGROUND).all()
    assert not torch.isin(after[..., 72:], torch.tensor(sorted(ranks))).any() and not taken[..., :70].any()


@pytest.mark.parametrize("missing", [CANAL, disc_code(2), disc_code(3)])
def test_maps_without_canal_or_disc_keep_their_shape(missing):
    codes = torch.where(_map() == missing, BACKGROUND, _map())
    assert torch.equal(_changed(codes, _params(slip_mm=8.0, wedge=0.4)), codes)


def test_slices_without_canal_keep_their_arches_and_a_volume_changes_as_one():
    codes = _map().unsqueeze(1).repeat(1, 3, 1, 1)
    codes[:, 0] = torch.where(codes[:, 0] == CANAL, BACKGROUND, codes[:, 0])
    params = _params(slip_mm=6.0, opened=1.0)
    after = _changed(codes, params, (4.0, *SPACING))
    assert torch.equal(after[:, 1], _changed(_map(), params)) and torch.equal(after[:, 1], after[:, 2])
    assert (after[0, 0, :, 80:] == vertebra_code(1)).any() and not (
        after[0, 1, :, 80:] == vertebra_code(1)
    ).any()


def test_samples_without_a_change_stay_bit_for_bit_and_others_do_not_depend_on_their_batch():
    maps = torch.cat((_map(), _map().roll(7, -1)))
    params = ALWAYS.draw(SampleRandom(sample_keys(3, torch.arange(6))))
    on = torch.tensor([1.0, 0.0] * 3)
    params = replace(params, slip_mm=params.slip_mm * on, wedge=params.wedge * on, opened=params.opened * on)
    whole = _changed(maps, params)
    assert torch.equal(whole[1], maps[1]) and not torch.equal(whole[0], maps[0])
    for i in range(6):
        assert torch.equal(_changed(maps[i % 2 : i % 2 + 1], params[i : i + 1])[0], whole[i])


def test_draws_have_their_probabilities_ranks_and_counts():
    config = PathologyConfig(slip_probability=0.5, wedge_probability=0.4, laminectomy_probability=0.3)
    params = config.draw(SampleRandom(sample_keys(5, torch.arange(4000))))
    for values, probability in ((params.slip_mm, 0.5), (params.wedge, 0.4), (params.opened, 0.3)):
        assert abs(float((values > 0).float().mean()) - probability) < 0.03
    slips = params.slip_mm > 0
    assert set(params.rank[slips].tolist()) == {1, 2, 3} and set(params.rank[~slips].tolist()) == {
        2,
        3,
        4,
        5,
        6,
    }
    assert set(params.opened_rank.tolist()) == {1, 2, 3, 4} and set(params.opened.tolist()) == {0, 1, 2}
    never = PathologyConfig(slip_probability=0.0, wedge_probability=0.0, laminectomy_probability=0.0)
    assert never.draw(SampleRandom(sample_keys(5, torch.arange(2)))) is None


@pytest.mark.parametrize("grid", [(1, 2), (7, 1), (3, 5, 9)])
def test_any_grid_will_do_and_nothing_waits_for_the_device(grid):
    spacing, params = (
        (4.0, 1.0, 0.7)[-len(grid) :],
        ALWAYS.draw(SampleRandom(sample_keys(1, torch.arange(2)))),
    )
    for device in ("cpu", "meta"):
        codes = torch.full((2, *grid), CANAL, dtype=torch.uint8, device=device)
        opened = open_canal(codes, find_spine(codes, spacing), params.to(device))
        assert opened.shape == codes.shape and opened.dtype == torch.uint8
