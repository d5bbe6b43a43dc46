import math

import numpy as np
import pytest
import SimpleITK as sitk
import surface_distance
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from synthspine.eval.metrics.distances import border_distances, pooled

SHAPE = (40, 32)
SPACING = (0.7, 1.3)
ORDINARY = (*((seed, spacing) for seed in range(6) for spacing in ((1.0, 1.0), SPACING)),)


def blobs(seed, shape=SHAPE):
    """Two random masks that overlap in part and touch the edges of the slice."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), 3)
    moved = field + 0.4 * gaussian_filter(rng.normal(size=shape), 3)
    return field > np.quantile(field, 0.6), moved > np.quantile(moved, 0.6)


def rectangle(top, bottom, left, right, shape=SHAPE):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


PAIRS = {
    "touching the edges": (rectangle(0, 40, 0, 10), rectangle(0, 12, 0, 32)),
    "single pixels": (rectangle(3, 4, 5, 6), rectangle(20, 21, 30, 31)),
    "one inside the other": (rectangle(2, 38, 2, 30), rectangle(15, 20, 15, 20)),
    "the whole slice": (rectangle(0, 40, 0, 32), rectangle(1, 40, 0, 31)),
    "a line": (rectangle(10, 11, 0, 32), rectangle(0, 40, 7, 8)),
}


def by_formula(prediction, truth, spacing):
    """Borders by looking at every neighbour, distances by all pairs."""
    points = []
    for mask in (prediction, truth):
        padded = np.pad(mask, 1)
        border = [
            (row, column)
            for row, column in np.argwhere(mask)
            if not all(
                padded[row + 1 + down, column + 1 + right]
                for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
            )
        ]
        points.append(np.array(border) * spacing)
    table = cdist(*points)
    return table.min(axis=1), table.min(axis=0)


def by_simpleitk(prediction, truth, spacing):
    """Borders by LabelContour, distances by the Maurer transform, on slices with a margin."""
    images = []
    for mask in (prediction, truth):
        image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        images.append(sitk.LabelContour(image))
    maps = []
    for image in images:
        signed = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
        # Negative where a corner of the border is two pixels thick.
        maps.append(np.maximum(sitk.GetArrayFromImage(signed), 0))
    borders = [sitk.GetArrayFromImage(image) > 0 for image in images]
    return maps[1][borders[0]], maps[0][borders[1]], images


def pairs():
    for seed, spacing in ORDINARY:
        yield pytest.param(*blobs(seed), spacing, id=f"blobs {seed} {spacing}")
    for name, masks in PAIRS.items():
        yield pytest.param(*masks, SPACING, id=name)


def directed_of(distances):
    return distances.from_prediction, distances.from_truth


def one_hot(mask):
    return torch.from_numpy(mask)[None, None].float()


@pytest.mark.parametrize(("prediction", "truth", "spacing"), pairs())
def test_equals_formulas_written_out(prediction, truth, spacing):
    ours = border_distances(prediction, truth, spacing)
    there, back = by_formula(prediction, truth, spacing)
    assert ours.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    assert ours.assd_mm == pytest.approx(np.concatenate((there, back)).mean(), rel=1e-5)
    for tolerance in (1.0, 2.0):
        share = np.mean(np.concatenate((there, back)) <= tolerance)
        assert ours.nsd(tolerance) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(("prediction", "truth", "spacing"), pairs())
def test_equals_simpleitk(prediction, truth, spacing):
    ours = border_distances(prediction, truth, spacing)
    there, back, borders = by_simpleitk(prediction, truth, spacing)
    np.testing.assert_allclose(np.sort(ours.from_prediction), np.sort(there), rtol=1e-5)
    np.testing.assert_allclose(np.sort(ours.from_truth), np.sort(back), rtol=1e-5)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*borders)
    farthest = max(ours.from_prediction.max(), ours.from_truth.max())
    assert hausdorff.GetHausdorffDistance() == pytest.approx(farthest, rel=1e-5)


@pytest.mark.parametrize(("prediction", "truth", "spacing"), pairs())
def test_equals_monai_metrics_end_to_end(prediction, truth, spacing):
    ours = border_distances(prediction, truth, spacing)
    both = {
        "y_pred": one_hot(prediction),
        "y": one_hot(truth),
        "include_background": True,
        "spacing": spacing,
    }
    assert ours.hd95_mm == pytest.approx(compute_hausdorff_distance(percentile=95, **both).item(), rel=1e-5)
    assert ours.assd_mm == pytest.approx(
        compute_average_surface_distance(symmetric=True, **both).item(), rel=1e-5
    )
    for tolerance in (1.0, 2.0):
        theirs = compute_surface_dice(class_thresholds=[tolerance], **both).item()
        assert ours.nsd(tolerance) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_deepmind_within_their_other_border(seed):
    """Their border runs between pixels and weighs by length: half a pixel of difference, no more."""
    prediction, truth = blobs(seed, (80, 64))
    theirs = surface_distance.compute_surface_distances(truth, prediction, SPACING)
    ours = border_distances(prediction, truth, SPACING)
    half_pixel = max(SPACING) / 2
    # Where the distances jump, other weights reach another one: it must lie among the percentiles near 95.
    low, high = (max(np.percentile(part, q) for part in directed_of(ours)) for q in (92, 98))
    assert low - half_pixel < surface_distance.compute_robust_hausdorff(theirs, 95) < high + half_pixel
    directed = surface_distance.compute_average_surface_distance(theirs)
    assert min(directed) - half_pixel < ours.assd_mm < max(directed) + half_pixel
    for tolerance in (1.0, 2.0):
        share = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert ours.nsd(tolerance) == pytest.approx(share, abs=0.1)


def test_shifted_square_by_hand():
    ours = border_distances(rectangle(10, 20, 10, 20), rectangle(10, 20, 13, 23), (2.0, 0.5))
    assert max(ours.from_prediction) == pytest.approx(1.5)
    assert ours.from_prediction.size == ours.from_truth.size == 36


def test_hd95_is_the_larger_direction_and_not_the_percentile_of_both_together():
    # 2 far pixels of 22 reach the 95th percentile of their own direction, but not that of all 42.
    truth = rectangle(5, 6, 2, 22)
    prediction = truth | rectangle(25, 26, 2, 4)
    ours = border_distances(prediction, truth, (1.0, 1.0))
    together = np.percentile(np.concatenate((ours.from_prediction, ours.from_truth)), 95)
    assert ours.hd95_mm == pytest.approx(19.0)
    assert together == 0


def test_a_distance_that_equals_the_tolerance_is_within():
    prediction, truth = rectangle(5, 6, 5, 6), rectangle(5, 6, 8, 9)
    ours = border_distances(prediction, truth, (0.1, 0.1))
    assert (ours.nsd(0.3), ours.nsd(0.2999)) == (1.0, 0.0)


def test_both_empty_have_no_value():
    ours = border_distances(*(np.zeros(SHAPE, dtype=bool),) * 2, SPACING)
    assert math.isnan(ours.hd95_mm) and math.isnan(ours.assd_mm) and math.isnan(ours.nsd(1.0))


@pytest.mark.parametrize("missed", [True, False])
def test_one_empty_is_as_far_as_the_diagonal(missed):
    masks = [rectangle(10, 20, 10, 20), np.zeros(SHAPE, dtype=bool)]
    ours = border_distances(*(masks[::-1] if missed else masks), SPACING)
    diagonal = math.hypot(40 * 0.7, 32 * 1.3)
    assert ours.hd95_mm == ours.assd_mm == pytest.approx(diagonal)
    assert ours.nsd(2.0) == 0.0


def test_slices_are_pooled_by_their_border():
    large, small, nothing = rectangle(5, 30, 5, 30), rectangle(5, 6, 5, 6), np.zeros(SHAPE, dtype=bool)
    pairs = [(large, large), (nothing, small)]
    pool = pooled([border_distances(*masks, (1.0, 1.0)) for masks in pairs])
    assert pool.nsd(1.0) == pytest.approx(192 / 193)
    assert pool.assd_mm == pytest.approx(math.hypot(*SHAPE) / 193)
    assert pool.hd95_mm == 0.0
    assert math.isnan(pooled([border_distances(nothing, nothing, (1.0, 1.0))]).assd_mm)
    assert math.isnan(pooled([]).assd_mm)


def test_a_cut_that_both_reach_is_border_of_both():
    inside = np.zeros(SHAPE, dtype=bool)
    inside[:20] = True
    prediction, truth = rectangle(5, 30, 5, 15) & inside, rectangle(5, 35, 5, 15) & inside
    assert border_distances(prediction, truth, SPACING).hd95_mm == 0.0


MASKS = arrays(np.bool_, st.tuples(st.just(7), st.just(9)))
SIZES = st.floats(0.2, 5.0)


@given(MASKS, MASKS, SIZES, SIZES)
def test_swapping_the_masks_changes_nothing(first, second, height, width):
    one, other = (border_distances(*masks, (height, width)) for masks in ((first, second), (second, first)))
    np.testing.assert_equal((one.hd95_mm, one.nsd(1.0)), (other.hd95_mm, other.nsd(1.0)))
    np.testing.assert_allclose(one.assd_mm, other.assd_mm, rtol=1e-12)


@given(MASKS, MASKS, SIZES, SIZES, st.floats(0.5, 4.0))
def test_distances_grow_with_the_spacing(first, second, height, width, factor):
    small = border_distances(first, second, (height, width))
    large = border_distances(first, second, (height * factor, width * factor))
    np.testing.assert_allclose(large.hd95_mm, small.hd95_mm * factor, rtol=1e-5)
    np.testing.assert_allclose(large.assd_mm, small.assd_mm * factor, rtol=1e-5)


@given(MASKS, MASKS, st.lists(st.floats(0, 20), min_size=2, max_size=5))
def test_nsd_never_falls_with_the_tolerance(first, second, tolerances):
    distances = border_distances(first, second, SPACING)
    shares = [distances.nsd(tolerance) for tolerance in sorted(tolerances)]
    if first.any() or second.any():
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)


@given(MASKS)
def test_the_mask_itself_is_perfect(mask):
    distances = border_distances(mask, mask, SPACING)
    if mask.any():
        assert (distances.hd95_mm, distances.assd_mm, distances.nsd(0.0)) == (0.0, 0.0, 1.0)


@given(MASKS, MASKS, st.integers(0, 5), st.integers(0, 5))
def test_a_margin_around_both_changes_nothing(first, second, above, left):
    if first.any() and second.any():
        margin = ((above, 3), (left, 2))
        moved = border_distances(np.pad(first, margin), np.pad(second, margin), SPACING)
        np.testing.assert_array_equal(
            moved.from_prediction, border_distances(first, second, SPACING).from_prediction
        )


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (rectangle(1, 2, 1, 2), rectangle(1, 2, 1, 2, (8, 8)), "slices of one shape"),
        (rectangle(1, 2, 1, 2).astype(np.uint8), rectangle(1, 2, 1, 2), "must be bool"),
    ],
)
def test_what_does_not_fit_is_refused(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        border_distances(prediction, truth, SPACING)
