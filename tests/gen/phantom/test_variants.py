from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import label as components

from synthspine.gen.phantom.anatomy import Points
from synthspine.gen.phantom.paint import paint
from synthspine.gen.phantom.patient import phantom_patient
from synthspine.gen.phantom.shapes import arch_distance, end_plate
from synthspine.gen.phantom.soft import draw_soft_tissue
from synthspine.gen.phantom.tissues import MARROW, code
from synthspine.gen.phantom.variants import PROBABILITY, Variants, draw_variants

PLAIN = Variants()


@pytest.fixture(scope="module")
def plain():
    return phantom_patient(42, 1, PLAIN)


def labels_of(anatomy, x, step_mm=2.0):
    top = anatomy.vertebrae[anatomy.visible - 1].centre[1]
    points = Points(x=np.atleast_1d(x), y=np.arange(top, 60, step_mm), z=np.arange(-100.0, 90, step_mm))
    return paint(anatomy, None, points)[1], points


def test_every_variant_is_drawn_as_often_as_said():
    drawn = [draw_variants(np.random.default_rng(number), 50.0) for number in range(2000)]
    shares = {
        "scoliosis": np.mean([found.cobb_deg != 0 for found in drawn]),
        "sacralised": np.mean([found.sacralised for found in drawn]),
        "lumbarised": np.mean([found.lumbarised for found in drawn]),
        "remnant": np.mean([found.remnant[0] > 10.5 for found in drawn]),
        "lysis": np.mean([found.lysis for found in drawn]),
        "fractures": np.mean([bool(found.losses) for found in drawn]),
        "laminectomy": np.mean([bool(found.laminectomy) for found in drawn]),
    }
    assert shares == pytest.approx(PROBABILITY, abs=0.025)
    assert {len(found.laminectomy) for found in drawn} == {0, 1, 2}
    assert {len(found.losses) for found in drawn} == {0, 1, 2, 3}
    assert not any(found.sacralised and found.lumbarised for found in drawn)
    bends = [abs(found.cobb_deg) for found in drawn if found.cobb_deg]
    assert 10 <= min(bends) < 12 and 33 < max(bends) <= 35


def test_a_variant_leaves_the_rest_of_a_patient_as_it_is(plain):
    other = phantom_patient(42, 1, Variants(laminectomy=(2,), remnant=(14.0, 3.0)))
    assert other.surroundings == plain.surroundings and other.visible == plain.visible
    for vertebra, same in zip(other.vertebrae, plain.vertebrae, strict=True):
        np.testing.assert_array_equal(vertebra.centre, same.centre)
        assert vertebra.width == same.width and vertebra.nodes == same.nodes


def test_l5_and_l4_slip_forward_by_up_to_11_mm():
    slips = []
    for patient in range(150):
        anatomy = phantom_patient(6, patient)
        for lower, upper in ((anatomy.sacrum[0], anatomy.vertebrae[0]), anatomy.vertebrae[:2]):
            below = lower.centre + lower.axes[1] * lower.height / 2
            above = upper.centre - upper.axes[1] * upper.height / 2
            slips.append(float(-(above - below) @ lower.axes[2]))
    # Half way through a wedged disc a body lies a little further forward.
    assert 8 < max(slips) < 14
    assert 0.015 < np.mean(np.array(slips) > 4.5) < 0.1


def test_lysis_leaves_the_rear_of_the_arch_behind_a_gap(plain):
    vertebra = plain.vertebrae[0]
    u, v, w = np.meshgrid(np.arange(-40.0, 41), np.arange(-40.0, 30), np.arange(-5.0, 70), indexing="ij")
    local = tuple(axis.astype(np.float32) for axis in (u, v, w))
    whole, _ = components(arch_distance(vertebra, local) < 0)
    parted, _ = components(arch_distance(replace(vertebra, left_behind=7.0), local) < 0)
    assert np.sort(np.bincount(whole.ravel())[1:])[-1] > 0.95 * (whole > 0).sum()
    left = [part for part in (parted == number for number in range(1, parted.max() + 1)) if part.sum() > 500]
    middles = sorted(w[part].mean() for part in left)
    assert len(left) >= 2 and middles[-1] - middles[0] > 8


def test_fractures_are_wedges_at_several_levels(plain):
    broken = phantom_patient(42, 1, Variants(losses=((4, 0.4), (6, 0.2))))
    losses = {}
    for vertebra, whole in zip(broken.vertebrae, plain.vertebrae, strict=True):
        for name, w in (("front", -0.4), ("back", 0.4)):
            heights = []
            for one in (vertebra, whole):
                rim = tuple(
                    np.full((1, 1, 1), value, dtype=np.float32) for value in (0.0, 0.0, w * whole.depth)
                )
                bare = replace(one, nodes=(), concavity_top=0.0, concavity_bottom=0.0)
                heights.append(float((end_plate(bare, rim, 1) - end_plate(bare, rim, -1)).item()))
            losses[vertebra.rank, name] = 1 - heights[0] / heights[1]
    assert 0.33 < losses[4, "front"] < 0.45 and losses[4, "back"] < 0.24
    assert 0.15 < losses[6, "front"] < 0.25
    assert {rank for (rank, _), loss in losses.items() if loss > 0.01} == {4, 6}


@pytest.mark.parametrize("cobb_deg", [-35.0, 35.0])
def test_scoliosis_has_its_angle_and_leaves_the_middle_slice(plain, cobb_deg):
    anatomy = phantom_patient(42, 1, Variants(cobb_deg=cobb_deg, curve_mm=290.0))

    def tilts(one):
        return np.rad2deg([np.arctan2(v.axes[1][0], -v.axes[1][1]) for v in one.vertebrae[:8]])

    assert np.ptp(tilts(anatomy) - tilts(plain)) == pytest.approx(35, abs=5)
    across = anatomy.canal[(anatomy.canal[:, 1] < 0) & (anatomy.canal[:, 1] > -250), 0]
    assert np.ptp(across) > 15 and np.sign(across[np.argmax(np.abs(across))]) == np.sign(cobb_deg)
    middle, points = labels_of(anatomy, across.mean())
    straight, _ = labels_of(plain, plain.canal[:, 0].mean())
    lost = [((plane[0] != 100).all(axis=1) & (points.y < 0)).sum() for plane in (middle, straight)]
    assert 2 * lost[0] >= 12 and lost[1] == 0
    flank, _ = labels_of(anatomy, across.mean() + np.array([-12.0, 12]))
    assert (flank == 100).any(axis=(1, 2)).all()


def test_a_sacralised_l5_reaches_down_to_the_sacrum_over_a_low_narrow_disc(plain):
    fused = phantom_patient(42, 1, Variants(sacralised=True))
    x = np.array([-38.0, 38.0])
    for anatomy, expected in ((plain, False), (fused, True)):
        label, points = labels_of(anatomy, x)
        lowest = points.y[np.flatnonzero((label == 1).any(axis=(0, 2)))].max()
        assert (lowest > -4) == expected
    heights, depths = [], []
    for anatomy in (plain, fused):
        label, _ = labels_of(anatomy, 0.0, step_mm=1.0)
        disc = label[0] == 201
        heights.append(np.median(disc.sum(axis=0)[disc.any(axis=0)]))
        depths.append(np.argwhere(disc)[:, 1].max() - np.argwhere(disc)[:, 1].min())
    assert heights[1] < 0.75 * heights[0] and depths[1] < 0.9 * depths[0]


def test_a_free_s1_is_the_lowest_of_six_lumbar_vertebrae(plain):
    six = phantom_patient(42, 1, Variants(lumbarised=True))
    label, _ = labels_of(six, np.arange(-20.0, 21, 10))
    assert set(range(1, six.visible + 1)) <= set(np.unique(label))
    for shifted, same in zip(six.vertebrae[1:], plain.vertebrae, strict=False):
        assert shifted.width == pytest.approx(same.width, rel=0.1)
    # The cord ends and the ribs begin one vertebra higher when counted from the bottom.
    assert six.lumbar == 6 and plain.lumbar == 5
    assert six.conus < plain.conus - 15


@pytest.mark.parametrize("size", [(9.0, 1.6), (14.0, 3.0)])
def test_the_disc_within_the_sacrum_is_not_labelled(size):
    anatomy = phantom_patient(42, 1, Variants(remnant=size))
    first = anatomy.sacrum[0]
    middle = first.centre - first.axes[1] * (first.height / 2 + 1.5)
    points = Points(**{name: c + np.arange(-6.0, 7) for name, c in zip("xyz", middle, strict=True)})
    tissue, label = paint(anatomy, draw_soft_tissue(anatomy), points)
    assert (tissue == code("nucleus dry")).any() and not label.any()
    assert (tissue == code("nucleus hydrated")).any() == (size[1] > 2)


def test_a_laminectomy_leaves_facets_scar_and_perhaps_fluid(plain):
    operated = phantom_patient(42, 1, Variants(laminectomy=(2, 3), seroma=7.0))
    soft, vertebra = draw_soft_tissue(operated), operated.vertebrae[2]
    behind = vertebra.centre + vertebra.axes[2] * (vertebra.depth / 2 + vertebra.canal_depth + 6)
    points = Points(
        x=behind[0] + np.arange(-24.0, 25, 4),
        y=behind[1] + np.arange(-25.0, 25),
        z=behind[2] + np.arange(-12.0, 34),
    )
    tissue, label = paint(operated, soft, points)
    before, labelled = paint(plain, soft, points)
    middle = slice(5, 8)
    assert (labelled[middle] == 3).sum() > 300 and not np.isin(label[middle], (2, 3)).any()
    assert np.isin(label, (2, 3)).sum() > 100
    assert (tissue == code("fibrous")).sum() > 2 * (before == code("fibrous")).sum()
    pocket, nothing = ((one[..., 14:] == code("cerebrospinal fluid")) for one in (tissue, before))
    assert pocket.sum() > nothing.sum() + 200 and not label[..., 14:][pocket].any()
    assert (tissue[middle] >= MARROW).sum() < (before[middle] >= MARROW).sum()
