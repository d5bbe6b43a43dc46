"""Haemangioma-like spots, and all lesions together."""

import pytest
import torch

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.intensity.cortex import depths
from synthspine.gen.tissues.lesions import (
    PITCH_MM,
    SHELL_MM,
    SPOTS,
    HaemangiomaConfig,
    HaemangiomaParams,
    ModicConfig,
    SchmorlConfig,
    paint_end_plates,
    paint_haemangioma,
)
from synthspine.gen.tissues.palette import FIRST_COARSE, HAEMANGIOMA, MODIC, SCHMORL, VERTEBRAE

SPACING = (1.0, 1.0)


def _random(count, seed=4):
    return SampleRandom(sample_keys(seed, torch.arange(count)))


def _spots(count=1, **one):
    """One spot per sample, of radius 6 in the middle of the picture, or as said."""
    values = {"radius_mm": 6.0, "above_mm": 0.0, "behind_mm": 0.0, "across_mm": 0.0} | one
    tensors = {name: torch.zeros(count, SPOTS) for name in values}
    for name, value in values.items():
        tensors[name][:, 4] = value
    return HaemangiomaParams(**tensors)


def _bone(*grid):
    """Nothing but bone, with the canal's middle in the middle column."""
    behind = (torch.arange(grid[-1]) - (grid[-1] - 1) / 2.0).expand(1, *grid)
    return torch.ones(1, *grid, dtype=torch.uint8), torch.full((1, 3, *grid), 9.0), behind


def _scene(codes):
    painted = torch.where(codes == 0, FIRST_COARSE, codes).to(torch.uint8)
    return painted, depths(codes, painted, SPACING), find_spine(codes, SPACING).behind_mm


def test_a_spot_is_a_disc_where_it_was_drawn():
    bone, depth, behind = _bone(41, 31)
    shown = paint_haemangioma(bone, depth, behind, _spots(above_mm=5.0, behind_mm=-3.0), SPACING)
    row, column = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(31.0) - 15, indexing="ij")
    assert torch.equal(shown[0] == HAEMANGIOMA, (row + 5) ** 2 + (column + 3) ** 2 < 36)


def test_in_a_volume_a_spot_is_a_ball():
    bone, depth, behind = _bone(7, 21, 31)
    shown = paint_haemangioma(bone, depth, behind, _spots(across_mm=3.0), (3.0, 1.0, 1.0))
    z, row, column = torch.meshgrid(
        3.0 * (torch.arange(7.0) - 3), torch.arange(21.0) - 10, torch.arange(31.0) - 15, indexing="ij"
    )
    assert torch.equal(shown[0] == HAEMANGIOMA, (z - 3) ** 2 + row**2 + column**2 < 36)


def test_spots_never_leave_the_inside_of_bones(bank):
    params = HaemangiomaConfig(probability=1.0, spot_probability=1.0).draw(_random(3))
    painted, depth, behind = _scene(bank)
    spot = paint_haemangioma(painted, depth, behind, params, SPACING) == HAEMANGIOMA
    assert spot.any()
    assert ((bank[spot] >= VERTEBRAE.start) & (bank[spot] < VERTEBRAE.stop)).all()
    assert (depth[:, 0][spot] > SHELL_MM).all()


def test_no_two_spots_share_a_row():
    params = HaemangiomaConfig(probability=1.0, spot_probability=1.0).draw(_random(200))
    low = (params.above_mm - params.radius_mm)[:, 1:]
    high = (params.above_mm + params.radius_mm)[:, :-1]
    assert (low > high - 1e-3).all()
    assert (params.above_mm.diff(dim=1).mean(0) - PITCH_MM).abs().max() < 2.0


def test_draws_keep_to_their_ranges_and_probabilities():
    params = HaemangiomaConfig(probability=0.3, spot_probability=0.5).draw(_random(3000))
    on = params.radius_mm > 0
    assert on.any(1).float().mean() == pytest.approx(0.3, abs=0.03)
    assert on.float().mean() == pytest.approx(0.15, abs=0.015)
    assert params.radius_mm[on].min() >= 2.0 and params.radius_mm.max() <= 8.0
    assert params.behind_mm.min() >= -38 and params.behind_mm.max() <= -14


@pytest.mark.parametrize("field", ["probability", "spot_probability"])
def test_without_a_probability_nothing_is_drawn(field):
    assert HaemangiomaConfig(**{field: 0.0}).draw(_random(2)) is None


def test_no_lesion_changes_nothing(bank):
    painted, depth, behind = _scene(bank)
    assert paint_haemangioma(painted, depth, behind, None, SPACING) is painted
    assert paint_end_plates(painted, bank, behind, (None, None), SPACING) is painted
    none = _spots(3, radius_mm=0.0)
    assert torch.equal(paint_haemangioma(painted, depth, behind, none, SPACING), painted)


def _all_lesions(painted, bank, depth, behind, spots, plates):
    with_spots = paint_haemangioma(painted, depth, behind, spots, SPACING)
    return paint_end_plates(with_spots, bank, behind, plates, SPACING)


def test_all_lesions_together_are_the_same_alone_and_in_a_batch(bank):
    painted, depth, behind = _scene(bank)
    spots = HaemangiomaConfig(probability=1.0, spot_probability=1.0).draw(_random(3))
    modic = ModicConfig(probability=1.0).draw(_random(3))
    nodes = SchmorlConfig(probability=1.0, plate_probability=0.5).draw(_random(3))
    together = _all_lesions(painted, bank, depth, behind, spots, (modic, nodes))
    assert {MODIC, HAEMANGIOMA, SCHMORL} <= set(together.unique().tolist())
    for i in range(3):
        one = slice(i, i + 1)
        scene = painted[one], bank[one], depth[one], behind[one]
        shown = _all_lesions(*scene, spots[one], (modic[one], nodes[one]))
        assert torch.equal(shown, together[one])


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (1, 1, 2)])
def test_tiny_grids_and_tensors_without_values_pass(grid):
    params = HaemangiomaConfig(probability=1.0).draw(_random(1))
    for device in ("cpu", "meta"):
        bone, depth, behind = (values.to(device) for values in _bone(*grid))
        shown = paint_haemangioma(bone, depth, behind, params.to(device), (1.0,) * len(grid))
        assert shown.shape == bone.shape and shown.dtype == torch.uint8


def test_params_come_back_from_their_records_bit_for_bit():
    params = HaemangiomaConfig(probability=1.0).draw(_random(4))
    again = HaemangiomaParams.from_records(params.to_records())
    for name in ("radius_mm", "above_mm", "behind_mm", "across_mm"):
        assert torch.equal(getattr(again, name), getattr(params, name))


def test_spots_that_would_overlap_are_refused():
    with pytest.raises(ValueError, match="radius_mm"):
        HaemangiomaConfig(radius_mm=(2.0, 13.0))
