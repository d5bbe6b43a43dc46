"""Modic-like bands and Schmorl nodes."""

from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.anatomy import MAX_RANK, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.tissues.lesions import (
    GAP_MM,
    GREATEST_MM,
    ModicConfig,
    ModicParams,
    SchmorlConfig,
    SchmorlParams,
    end_plates,
    paint_modic,
    paint_schmorl,
)
from synthspine.gen.tissues.palette import FIRST_COARSE, MODIC, SACRUM, SCHMORL

SPACING = (1.0, 1.0)
ABOVE, BELOW = 0, 1  # the plate above a disc, the plate below it


def _random(count, seed=3):
    return SampleRandom(sample_keys(seed, torch.arange(count)))


def _modic(extents, count=1, patchiness=0.0):
    extent = torch.zeros(count, 2, MAX_RANK)
    for (side, rank), value in extents.items():
        extent[:, side, rank - 1] = value
    waves = ModicConfig().draw(_random(count))
    return replace(waves, extent_mm=extent, patchiness_mm=torch.full((count,), patchiness))


def _schmorl(nodes, count=1):
    radius, behind = torch.zeros(2, count, 2, MAX_RANK)
    for (side, rank), (size, place) in nodes.items():
        radius[:, side, rank - 1], behind[:, side, rank - 1] = size, place
    return SchmorlParams(radius_mm=radius, behind_mm=behind, across_mm=torch.zeros_like(radius))


def _scene(codes, spacing=SPACING):
    painted = torch.where(codes == 0, FIRST_COARSE, codes).to(torch.uint8)
    return painted, end_plates(codes, painted, spacing)


def _paint_modic(codes, params, spacing=SPACING):
    return paint_modic(*_scene(codes, spacing), params, spacing)


def _paint_schmorl(codes, params, spacing=SPACING):
    return paint_schmorl(*_scene(codes, spacing), find_spine(codes, spacing).behind_mm, params, spacing)


def test_every_pixel_knows_the_nearest_disc_of_its_column_and_its_side(bank):
    _, plates = _scene(bank, (0.8, 1.0))
    reach = round(GREATEST_MM / 0.8)
    entry = plates.entry.reshape(bank.shape)
    for row in range(0, 96, 3):
        found = {}
        for step in range(reach, -1, -1):
            for place, side in ((row + step, 0), (row - step, 64)):
                if 0 <= place < 96 and disc_code(1) <= bank[0, place, 30] <= disc_code(3):
                    found[step] = found.get(step, set()) | {int(bank[0, place, 30]) + side}
        away = min(found, default=reach + 1)
        assert plates.away_mm[0, row, 30] == pytest.approx(0.8 * away, abs=1e-4)
        bone = 1 <= bank[0, row, 30] <= MAX_RANK
        assert int(entry[0, row, 30]) in (found.get(away, {0, 64}) if bone else {0})


def test_a_band_without_waves_is_as_high_as_drawn_and_lies_at_its_plate_alone(bank):
    codes = bank[:1]
    painted = _paint_modic(codes, _modic({(ABOVE, 2): 4.2, (BELOW, 2): 6.5}))
    band = painted == MODIC
    rows = (codes[0, :, 30] == disc_code(2)).nonzero().flatten()
    expected = torch.zeros(96, dtype=torch.bool)
    expected[rows[0] - 4 : rows[0]] = True
    expected[rows[-1] + 1 : rows[-1] + 7] = True
    assert torch.equal(band[0, :, 30], expected)
    assert (codes[band] <= MAX_RANK).all() and (codes[band] > 0).all()


def test_bands_waver_along_their_plate_as_much_as_drawn(bank):
    codes = bank[:1].expand(40, -1, -1)
    bands = _paint_modic(codes, _modic({(ABOVE, 2): 6.0}, 40, patchiness=1.5)) == MODIC
    heights = bands.sum(1)[:, 21:41].float()
    assert heights.mean() == pytest.approx(5.5, abs=0.5)
    assert heights.std() == pytest.approx(1.5, abs=0.3)
    assert heights.diff(dim=1).abs().mean() < 0.3


def test_the_sacrum_has_the_plate_below_the_lowest_disc(bank):
    codes = bank[:1]
    painted = _scene(codes)[0]
    painted[:, 80:, 20:42] = SACRUM
    shown = paint_modic(painted, end_plates(codes, painted, SPACING), _modic({(BELOW, 1): 3.5}), SPACING)
    assert (shown == MODIC).sum(1)[0, 20:42].tolist() == [3] * 22


def test_a_node_is_half_round_and_open_to_its_disc(bank):
    codes = bank[:1]
    behind = find_spine(codes, SPACING).behind_mm[0, 40]
    node = _paint_schmorl(codes, _schmorl({(ABOVE, 2): (5.2, float(behind[30]))}))[0] == SCHMORL
    top = int((codes[0, :, 30] == disc_code(2)).nonzero()[0])
    row, column = torch.meshgrid(torch.arange(96.0), behind, indexing="ij")
    deep = (top - row - GAP_MM).clamp(min=0)
    ball = (deep**2 + (column - behind[30]) ** 2 < 5.2**2) & (row < top) & (row > top - 12)
    assert torch.equal(node, ball)


def test_a_node_leaves_disc_and_canal_alone(bank):
    codes = bank[:1]
    behind = find_spine(codes, SPACING).behind_mm[0, 40]
    nodes = _schmorl(
        {(side, rank): (6.0, float(behind[42])) for side in (ABOVE, BELOW) for rank in (1, 2, 3)}
    )
    node = _paint_schmorl(codes, nodes) == SCHMORL
    assert node.any()
    assert ((codes[node] > 0) & (codes[node] <= MAX_RANK)).all()


def test_off_changes_nothing(bank):
    painted = _scene(bank)[0]
    assert torch.equal(_paint_modic(bank, _modic({}, 3, patchiness=3.0)), painted)
    assert torch.equal(_paint_schmorl(bank, _schmorl({}, 3)), painted)
    plates = end_plates(bank, painted, SPACING)
    assert paint_modic(painted, plates, None, SPACING) is painted
    assert paint_schmorl(painted, plates, painted, None, SPACING) is painted


def test_draws_keep_to_their_ranges_and_probabilities():
    modic = ModicConfig(probability=0.3, plate_probability=0.5).draw(_random(3000))
    on = modic.extent_mm > 0
    assert on.flatten(1).any(1).float().mean() == pytest.approx(0.3, abs=0.03)
    assert on.float().mean() == pytest.approx(0.15, abs=0.015)
    assert modic.extent_mm[on].min() >= 3.5 and modic.extent_mm.max() <= 11.0
    schmorl = SchmorlConfig(probability=0.3, plate_probability=0.5).draw(_random(3000))
    on = schmorl.radius_mm > 0
    assert on.flatten(1).any(1).float().mean() == pytest.approx(0.3, abs=0.03)
    assert schmorl.radius_mm[on].min() >= 2.5 and schmorl.radius_mm.max() <= 6.0
    assert schmorl.behind_mm.min() >= -36 and schmorl.behind_mm.max() <= -16


@pytest.mark.parametrize("field", ["probability", "plate_probability"])
def test_without_a_probability_nothing_is_drawn(field):
    assert ModicConfig(**{field: 0.0}).draw(_random(2)) is None
    assert SchmorlConfig(**{field: 0.0}).draw(_random(2)) is None


def test_a_sample_is_the_same_alone_and_in_a_batch(bank):
    modic = ModicConfig(probability=1.0, plate_probability=0.8).draw(_random(3))
    schmorl = SchmorlConfig(probability=1.0, plate_probability=0.8).draw(_random(3))
    bands, nodes = _paint_modic(bank, modic), _paint_schmorl(bank, schmorl)
    assert (bands == MODIC).any() and (nodes == SCHMORL).any()
    for i in range(3):
        one = slice(i, i + 1)
        assert torch.equal(_paint_modic(bank[one], modic[one]), bands[one])
        assert torch.equal(_paint_schmorl(bank[one], schmorl[one]), nodes[one])


def test_in_a_volume_nodes_are_balls_and_bands_lie_in_every_slice(bank):
    volume = bank[:1].unsqueeze(1).expand(-1, 5, -1, -1).contiguous()
    spacing = (2.0, *SPACING)
    behind = float(find_spine(bank[:1], SPACING).behind_mm[0, 40, 30])
    nodes = _paint_schmorl(volume, _schmorl({(ABOVE, 2): (5.0, behind)}), spacing) == SCHMORL
    area = nodes.sum((0, 2, 3)).tolist()
    assert area[0] == area[4] < area[1] == area[3] < area[2]
    flat = _paint_schmorl(bank[:1], _schmorl({(ABOVE, 2): (5.0, behind)})) == SCHMORL
    assert torch.equal(nodes[:, 2], flat)
    bands = _paint_modic(volume, _modic({(ABOVE, 2): 4.2}), spacing)
    assert torch.equal(bands[:, 3], _paint_modic(bank[:1], _modic({(ABOVE, 2): 4.2})))
    wavy = _paint_modic(volume, _modic({(ABOVE, 2): 6.0}, patchiness=3.0), spacing)
    assert not torch.equal(wavy[:, 0], wavy[:, 4])


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (5, 3), (1, 1, 2)])
def test_tiny_grids_and_tensors_without_values_pass(grid):
    spacing = (1.0,) * len(grid)
    for device in ("cpu", "meta"):
        codes = torch.full((2, *grid), vertebra_code(1), dtype=torch.uint8, device=device)
        behind = torch.ones(2, *grid, device=device)
        modic = ModicConfig(probability=1.0).draw(_random(2)).to(device)
        schmorl = SchmorlConfig(probability=1.0).draw(_random(2)).to(device)
        plates = end_plates(codes, codes, spacing)
        assert paint_modic(codes, plates, modic, spacing).shape == codes.shape
        assert paint_schmorl(codes, plates, behind, schmorl, spacing).shape == codes.shape


def test_params_come_back_from_their_records_bit_for_bit(bank):
    modic = ModicConfig(probability=1.0).draw(_random(3))
    again = ModicParams.from_records(modic.to_records())
    assert torch.equal(_paint_modic(bank, again), _paint_modic(bank, modic))
    schmorl = SchmorlConfig(probability=1.0).draw(_random(3))
    again = SchmorlParams.from_records(schmorl.to_records())
    assert torch.equal(again.radius_mm, schmorl.radius_mm) and torch.equal(again.behind_mm, schmorl.behind_mm)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [(ModicConfig, {"extent_mm": (1.0, 13.0)}), (SchmorlConfig, {"radius_mm": (1.0, 11.0)})],
)
def test_what_reaches_too_far_is_refused(config, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(config(), **wrong)
