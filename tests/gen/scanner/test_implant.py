"""Metal and the distortion around it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.scanner.implant import FAR_MM, ImplantConfig, ImplantParams, add_implant

SPACING = (1.0, 1.0)


def _random(count, seed=5):
    return SampleRandom(sample_keys(seed, torch.arange(count)))


def _implant(count=1, second=False, **changes):
    """A lying screw of length 20 in the middle of the lowest vertebra, without distortion, or as said."""
    values = {
        "rise_mm": torch.zeros(count),
        "up_mm": torch.tensor([0.0, 20.0 if second else FAR_MM]).expand(count, 2),
        "behind_mm": torch.full((count, 2), -20.0),
        "across_mm": torch.zeros(count, 2),
        "half_mm": torch.full((count, 2), 10.0),
        "axis_deg": torch.zeros(count, 2),
        "radius_mm": torch.full((count,), 3.0),
        "halo_mm": torch.full((count,), 8.0),
        "displacement_mm": torch.zeros(count),
        "along_rows": torch.zeros(count),
    }
    return ImplantParams(**values | {name: torch.as_tensor(value) for name, value in changes.items()})


def _distance(codes, params, piece=0):
    """Distance from the axis of a piece by the definition of a capsule, NumPy, ``(H, W)``."""
    frame = find_spine(codes, SPACING)
    row_of = float(frame.body_mm[0, 0] - params.rise_mm[0])
    nearest = int((frame.rows_mm - row_of).clamp(min=0).bool().int().argmax())
    canal = float(frame.columns_mm[0] - frame.behind_mm[0, nearest, 0])
    centre = np.array([row_of - float(params.up_mm[0, piece]), canal + float(params.behind_mm[0, piece])])
    angle = np.deg2rad(float(params.axis_deg[0, piece]))
    axis = np.array([np.sin(angle), np.cos(angle)])
    half = float(params.half_mm[0, piece])
    points = np.stack(np.meshgrid(frame.rows_mm, frame.columns_mm, indexing="ij"), axis=-1) - centre
    along = np.clip(points @ axis, -half, half)
    return torch.from_numpy(np.linalg.norm(points - along[..., None] * axis, axis=-1)).float()


@pytest.mark.parametrize("degrees", [0.0, 90.0, -20.0, 75.0])
def test_signal_is_lost_inside_capsules_and_kept_outside(bank, degrees):
    params = _implant(second=True, axis_deg=[[degrees, degrees]])
    shown = add_implant(torch.ones(1, 96, 80), find_spine(bank[:1], SPACING), params, SPACING)
    away = torch.minimum(_distance(bank[:1], params), _distance(bank[:1], params, piece=1)) - 3.0
    assert (away < -1).any() and shown[0, away < -0.6].max() == 0
    assert shown[0, away > 0.6].min() == 1
    passage = (away + 0.5).clamp(0, 1)
    assert (shown[0] - passage).abs().max() < 0.1


@pytest.mark.parametrize(("along_rows", "axis"), [(0.0, 1), (1.0, 0)])
@pytest.mark.parametrize(
    "place",
    [
        {},
        {"behind_mm": [[-50.0, 0.0]], "displacement_mm": [3.0]},
        {"behind_mm": [[28.0, 0.0]], "displacement_mm": [-3.0]},
        {"rise_mm": [64.0], "displacement_mm": [3.0]},
        {"rise_mm": [-28.0], "displacement_mm": [-3.0]},
    ],
    ids=["inside", "left border", "right border", "top border", "bottom border"],
)
def test_the_picture_is_displaced_along_the_readout_and_weighted_by_its_density(
    bank, along_rows, axis, place
):
    params = _implant(**{"displacement_mm": [3.0], "along_rows": [along_rows]} | place)
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(80.0), indexing="ij")
    ramp, across = (rows, columns / 10) if axis == 0 else (columns, rows / 10)
    shown = add_implant((1 + ramp + across).unsqueeze(0), find_spine(bank[:1], SPACING), params, SPACING)[0]
    squared = _distance(bank[:1], params) ** 2
    near = ((121 - squared) / (121 - 9)).clamp(0, 1) ** 2
    source = -float(params.displacement_mm) * near
    packed = 1 + torch.diff(source, dim=axis, prepend=source.narrow(axis, 0, 1))
    tissue = ((squared - 9) / 6 + 0.5).clamp(0, 1)
    # Beyond the border the picture repeats its last pixel.
    expected = (1 + (ramp + source).clamp(0, ramp.max()) + across) * packed.clamp(0.2, 2.5) * tissue
    assert torch.allclose(shown, expected, atol=1e-2)
    assert place or (packed.max() > 1.3 and packed.min() < 0.7)


def test_signal_piles_up_on_one_side_and_on_the_other_with_the_other_sense(bank):
    frame = find_spine(bank[:1], SPACING)
    sides = []
    for sense in (3.0, -3.0):
        params = _implant(displacement_mm=[sense], half_mm=[[0.0, 0.0]])
        shown = add_implant(torch.ones(1, 96, 80), frame, params, SPACING)[0]
        bright = (shown > 1.2).nonzero()[:, 1].float()
        sides.append(bright.mean() - (shown < 0.1).nonzero()[:, 1].float().mean())
    assert sides[0] * sides[1] < 0 and min(abs(side) for side in sides) > 2


def test_nothing_changes_without_an_implant(bank):
    frame = find_spine(bank, SPACING)
    image = torch.rand(3, 96, 80, generator=torch.Generator().manual_seed(0))
    assert add_implant(image, frame, None, SPACING) is image
    off = ImplantConfig(probability=1e-9).draw(_random(3))
    assert torch.equal(add_implant(image, frame, off, SPACING), image)


def test_draws_keep_to_their_ranges_and_probabilities():
    params = ImplantConfig(probability=0.4, second_probability=0.5).draw(_random(3000))
    on = params.up_mm < FAR_MM
    assert on[:, 0].float().mean() == pytest.approx(0.4, abs=0.03)
    assert on[:, 1].float().mean() == pytest.approx(0.2, abs=0.03)
    assert not (on[:, 1] & ~on[:, 0]).any()
    assert torch.equal(params.displacement_mm != 0, on[:, 0])
    rod = params.axis_deg > 45
    assert rod.float().mean() == pytest.approx(0.35, abs=0.03)
    assert params.behind_mm[rod].min() >= 12 and params.behind_mm[~rod].max() <= -5
    assert params.half_mm[rod].min() >= 15 and params.half_mm[~rod].max() <= 25
    assert ImplantConfig(probability=0.0).draw(_random(2)) is None


def test_the_window_holds_everything_that_can_be_drawn():
    extreme = {"rod_mm": (60.0, 60.0), "screw_mm": (50.0, 50.0), "second_rise_mm": (40.0, 40.0)}
    params = ImplantConfig(probability=1.0, second_probability=1.0, **extreme).draw(_random(60))
    codes = torch.zeros(1, 301, 281, dtype=torch.uint8)
    codes[:, :, 139:142] = 60
    codes[:, 150:170, 100:125] = 1
    codes = codes.expand(60, -1, -1)
    shown = add_implant(torch.ones(60, 301, 281), find_spine(codes, SPACING), params, SPACING)
    for i in range(60):
        one = params[i : i + 1]
        away = torch.minimum(_distance(codes[:1], one), _distance(codes[:1], one, piece=1))
        assert (shown[i][away < float(one.radius_mm) - 1] == 0).all()
        assert (shown[i][away > float(one.radius_mm + one.halo_mm) + 1] == 1).all()


def test_a_sample_is_the_same_alone_and_in_a_batch(bank):
    params = ImplantConfig(probability=0.7).draw(_random(3))
    image = torch.rand(3, 96, 80, generator=torch.Generator().manual_seed(0))
    together = add_implant(image, find_spine(bank, SPACING), params, SPACING)
    for i in range(3):
        one = slice(i, i + 1)
        assert torch.equal(
            add_implant(image[one], find_spine(bank[one], SPACING), params[one], SPACING), together[one]
        )


def test_in_a_volume_only_slices_near_the_metal_change(bank):
    volume = bank[:1].unsqueeze(1).expand(-1, 9, -1, -1).contiguous()
    spacing = (4.0, *SPACING)
    params = _implant(displacement_mm=[3.0], across_mm=[[4.0, 0.0]])
    image = torch.rand(96, 80, generator=torch.Generator().manual_seed(0)).expand(1, 9, 96, 80)
    frame, slice_frame = find_spine(volume, spacing), find_spine(bank[:1], SPACING)
    behind = slice_frame.behind_mm.unsqueeze(1).expand(1, 9, 96, 80)
    # The position of the canal is a sum over all slices, rounded to float32: 1e-4 mm is its precision. The
    # pictures are compared with the metal in one position, or noise would turn this into grey values.
    assert (frame.behind_mm - behind).abs().max() < 1e-4
    shown = add_implant(image, replace(frame, behind_mm=behind), params, spacing)
    flat = add_implant(image[:, 0], slice_frame, params, SPACING)
    assert torch.equal(shown[:, 5], flat)
    assert torch.equal(shown[:, :2], image[:, :2])
    assert torch.equal(shown[:, 8:], image[:, 8:])


@pytest.mark.parametrize("grid", [(1, 2), (2, 2), (5, 3), (1, 1, 2)])
def test_tiny_grids_and_tensors_without_values_pass(grid):
    params = ImplantConfig(probability=1.0).draw(_random(2))
    spacing = (1.0,) * len(grid)
    for device in ("cpu", "meta"):
        frame = find_spine(torch.zeros(2, *grid, dtype=torch.uint8, device=device), spacing)
        image = torch.ones(2, *grid, device=device)
        shown = add_implant(image, frame, params.to(device), spacing)
        assert shown.shape == image.shape
        assert device == "meta" or shown.isfinite().all()


@pytest.mark.parametrize(
    "wrong", [{"rod_mm": (30.0, 100.0)}, {"halo_mm": (4.0, 20.0)}, {"radius_mm": (0.0, 2.0)}]
)
def test_an_implant_beyond_its_window_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(ImplantConfig(), **wrong)
