import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from synthspine.gen.core.anatomy import CANAL, IGNORE, disc_code, vertebra_code
from synthspine.shards.readers.folder import find_series
from synthspine.shards.readers.slices import (
    Grid,
    chosen_slices,
    image_slices,
    label_slices,
    normalise,
    resample_back,
    resample_in_plane,
    resampled_size,
)
from synthspine.shards.readers.spider import Volume, read_mask


def blob(shape, spacing_mm, centre_mm, sigma_mm=9.0):
    """A Gaussian at a place given in mm from the centre of the field of view."""
    axes = [
        (np.arange(n) - (n - 1) / 2) * s - c for n, s, c in zip(shape, spacing_mm, centre_mm, strict=True)
    ]
    squares = axes[0][:, None] ** 2 + axes[1][None, :] ** 2
    return np.exp(-squares / (2 * sigma_mm**2))


def centroid_mm(picture, spacing_mm):
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(picture.shape, spacing_mm, strict=True)]
    total = picture.sum()
    return (picture.sum(1) @ axes[0]) / total, (picture.sum(0) @ axes[1]) / total


def volume_of(array, spacing_mm):
    return Volume(array, spacing_mm, sitk.Image(1, 1, sitk.sitkUInt8))


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(150, 201), st.integers(150, 201)),
    spacing=st.tuples(st.floats(0.6, 1.3), st.floats(0.6, 1.3)),
    target=st.floats(0.5, 3.0),
)
def test_resampling_keeps_centroids(shape, spacing, target):
    picture = blob(shape, spacing, (8.0, -6.0))
    for labels in (False, True):
        resampled = resample_in_plane(picture.astype(np.float32), spacing, target, labels=labels)
        found = centroid_mm(resampled, (target, target))
        assert found == pytest.approx((8.0, -6.0), abs=0.3 if labels else 0.02)


@pytest.mark.parametrize("size", [64, 65])
def test_labels_at_half_the_resolution_are_not_shifted(size):
    # With an even factor every sample lies on a tie between two pixels.
    disc = (blob((size, size), (0.5, 0.5), (0.0, 0.0), 5.0) > 0.4).astype(np.uint8)
    found = resample_in_plane(disc, (0.5, 0.5), 1.0, labels=True)
    assert centroid_mm(found.astype(float), (1.0, 1.0)) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert (found == found[::-1]).all() and (found == found[:, ::-1]).all()


def test_the_working_grid_keeps_the_centre_for_any_parity():
    for shape in ((151, 160), (160, 151), (333, 345)):
        image = blob(shape, (0.9, 0.8), (11.0, 7.0)).astype(np.float32) * 1000
        volume = volume_of(image[None], (4.0, 0.9, 0.8))
        assert centroid_mm(image_slices(volume, Grid(), [0])[0], (1.0, 1.0)) == pytest.approx(
            (11.0, 7.0), abs=0.3
        )


def test_images_and_labels_stay_aligned():
    mask = (blob((200, 180), (0.7, 1.1), (20.0, -15.0)) > 0.5).astype(np.uint8)
    spacing = (4.0, 0.7, 1.1)
    label = label_slices(volume_of(mask[None], spacing), Grid(), [0])[0] == 1
    image = image_slices(volume_of(mask[None].astype(np.float32), spacing), Grid(), [0])[0] > 0.5
    assert (label ^ image).sum() < 0.03 * label.sum()


def test_downsampling_an_image_is_antialiased():
    # Every sample lies on a stripe, so plain interpolation would see nothing but stripes.
    stripes = np.tile(np.array([0.0, 1.0], dtype=np.float32), (63, 32))[:, :63]
    resampled = resample_in_plane(stripes, (0.5, 0.5), 1.5, labels=False)
    assert np.abs(resampled[2:-2, 2:-2] - 0.5).max() < 0.06


def test_resampling_keeps_a_constant():
    assert resample_in_plane(np.full((3, 50, 40), 0.3, np.float32), (0.7, 1.3), 1.0, labels=False) == (
        pytest.approx(0.3, abs=1e-6)
    )


def test_labels_and_probabilities_are_resampled_to_the_native_grid():
    mask = (blob((231, 190), (0.6, 0.8), (10.0, 5.0), 15.0) > 0.5).astype(np.uint8)
    there = resample_in_plane(mask, (0.6, 0.8), 1.0, labels=True)
    back = resample_back(there, 1.0, (231, 190), (0.6, 0.8), labels=True)
    assert back.shape == mask.shape and back.dtype == np.uint8
    assert (back != mask).sum() < 0.06 * mask.sum()
    probabilities = np.stack([1.0 - there, there])[None].astype(np.float32)
    returned = resample_back(probabilities, 1.0, (231, 190), (0.6, 0.8), labels=False)
    assert returned.shape == (1, 2, 231, 190)
    assert np.allclose(returned.sum(1), 1.0, atol=1e-5)
    assert ((returned[0, 1] > 0.5) != mask).sum() < 0.06 * mask.sum()


def test_outside_of_the_field_of_view_images_are_black_and_labels_ignored():
    volume = volume_of(np.ones((1, 100, 80), np.uint8), (4.0, 1.0, 2.0))
    label = label_slices(volume, Grid(spacing_mm=1.0, shape=(160, 176)), [0])[0]
    assert (label[30:130, 8:168] == 1).all()
    assert (label == IGNORE).sum() == label.size - 100 * 160
    bright = np.ones((1, 100, 80), np.float32)
    bright[0, 0, 0] = 0
    image = image_slices(volume_of(bright, (4.0, 1.0, 2.0)), Grid(shape=(160, 176)), [0])[0]
    assert (image[label == IGNORE] == 0).all()


def test_a_large_field_of_view_is_cropped_about_its_centre():
    marked = np.zeros((1, 400, 400), np.uint8)
    marked[0, 199:201, 199:201] = 1
    label = label_slices(volume_of(marked, (4.0, 1.0, 1.0)), Grid(shape=(320, 256)), [0])[0]
    assert (np.argwhere(label) == [[159, 127], [159, 128], [160, 127], [160, 128]]).all()


def test_normalisation_ignores_a_constant_floor():
    random = np.random.default_rng(0)
    tissue = random.uniform(200, 1000, 10_000)
    padded = np.concatenate([np.full(70_000, -1000.0), tissue])
    found = normalise(padded)
    assert found.dtype == np.float32
    assert (found[:70_000] == 0).all()
    assert np.median(found[70_000:]) == pytest.approx(0.5, abs=0.02)


def test_normalisation_survives_spikes_and_scaling():
    random = np.random.default_rng(0)
    raw = random.uniform(1, 100, 10_000)
    raw[0] = 1e6
    assert np.median(normalise(raw)) == pytest.approx(0.5, abs=0.02)
    assert normalise(raw) == pytest.approx(normalise(raw * 37 - 1000), abs=1e-4)


@pytest.mark.parametrize("array", [np.full(9, 5.0), np.array([0.0, 1.0, 1.0]), np.array([0, 255], np.uint8)])
def test_normalisation_of_few_values_stays_in_range(array):
    found = normalise(array)
    assert found.min() >= 0 and found.max() <= 1 and np.isfinite(found).all()


def test_slices_are_kept_where_a_vertebra_or_the_canal_is_chosen_slices():
    codes = np.zeros((6, 4, 4), np.uint8)
    codes[1, 0, 0], codes[2, 0, 0], codes[4, 0, 0] = vertebra_code(3), CANAL, disc_code(1)
    codes[5, 0, 0] = IGNORE
    assert chosen_slices(codes, (4.0, 1.0, 1.0)) == [1, 2]


@pytest.mark.parametrize(("spacing_mm", "step"), [(0.9, 4), (3.0, 1), (3.15, 1), (1.5, 2), (1.0, 3)])
def test_thin_slices_are_thinned(spacing_mm, step):
    assert chosen_slices(np.ones((30, 2, 2), np.uint8), (spacing_mm, 1.0, 1.0)) == list(range(0, 30, step))


def test_slices_beside_the_spine_are_kept_on_request_but_none_outside_the_scan_or_without_a_spine():
    codes = np.zeros((6, 4, 4), np.uint8)
    codes[2, 0, 0], codes[3, 0, 0], codes[5] = CANAL, disc_code(1), IGNORE
    assert chosen_slices(codes, (4.0, 1.0, 1.0), beside=True) == [0, 1, 2, 3, 4]
    assert chosen_slices(codes, (1.5, 1.0, 1.0), beside=True) == [0, 2, 4]
    codes[2] = 0
    assert chosen_slices(codes, (4.0, 1.0, 1.0), beside=True) == []


@pytest.mark.parametrize("change", [{"spacing_mm": 0.0}, {"shape": (300, 256)}, {"shape": (0, 16)}])
def test_an_impossible_grid_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Grid(**change)


def test_the_default_grid_holds_every_labelled_pixel_of_real_masks(spider_mini):
    for series in find_series(spider_mini / "pairs"):
        mask = read_mask(series.mask)
        rows, columns = (np.flatnonzero(mask.array.any(axis=(0, other))) for other in (2, 1))
        for axis, places in ((1, rows), (2, columns)):
            offset = (places - (mask.array.shape[axis] - 1) / 2) * mask.spacing_mm[axis]
            assert np.abs(offset).max() < Grid().shape[axis - 1] / 2


def test_the_size_after_resampling_is_bounded_before_anything_is_allocated():
    assert resampled_size((512, 512), (0.5, 0.5), 1.0) == (256, 256)
    message = "512 x 512 pixels of 20 x 20 mm would become 10240 x 10240 at 1 mm; at most 4194304 pixels"
    with pytest.raises(ValueError, match=message):
        resampled_size((512, 512), (20.0, 20.0), 1.0)
    array = np.broadcast_to(np.float32(1), (1, 512, 512))
    with pytest.raises(ValueError, match=message):
        resample_in_plane(array, (20.0, 20.0), 1.0, labels=False)
