import gzip
import pickle
import time

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.gen.core.anatomy import spider_values
from synthspine.shards.readers.folder import NotUsedError, SpiderError, find_series
from synthspine.shards.readers.spider import (
    STORAGES,
    check_pair,
    read_image,
    read_mask,
    write_like,
    write_mha,
)

SPACING_MM = (4.0, 2.0, 1.5)


def ramps(shape=(4, 30, 20)):
    """An array that tells left from right, top from bottom and front from back."""
    z, h, w = np.indices(shape)
    return (100 * z + 3 * h + w).astype(np.int16)


@pytest.mark.parametrize("storage", [*STORAGES, "RAS", "AIL", "SLP"])
def test_any_storage_layout_is_read_in_one_orientation(tmp_path, storage):
    write_mha(ramps(), SPACING_MM, storage, tmp_path / "1_t1.mha")
    volume = read_image(tmp_path / "1_t1.mha")
    assert (volume.array == ramps()).all()
    assert volume.array.dtype == np.float32
    assert volume.spacing_mm == pytest.approx(SPACING_MM)
    stored = sitk.ReadImage(str(tmp_path / "1_t1.mha"))
    assert sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(stored.GetDirection()) == storage


def test_orientation_agrees_with_itk(tmp_path):
    write_mha(ramps(), SPACING_MM, "LPS", tmp_path / "1_t1.mha")
    # Array axes of ITK run z, y, x: slices to the right, rows to inferior, columns to posterior.
    oriented = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "1_t1.mha")), "PIR")
    assert (sitk.GetArrayFromImage(oriented) == read_image(tmp_path / "1_t1.mha").array).all()


def test_lps_storage_is_what_spider_has(tmp_path):
    write_mha(ramps(), SPACING_MM, "LPS", tmp_path / "1_t1.mha")
    stored = sitk.ReadImage(str(tmp_path / "1_t1.mha"))
    assert stored.GetSize() == (4, 20, 30)
    assert np.allclose(stored.GetDirection(), np.eye(3).ravel())
    # FACTS of SPIDER: the array is (inferior to superior, anterior to posterior, slice).
    assert sitk.GetArrayFromImage(stored)[0, 0, 0] == ramps()[-1, -1, 0]


def test_a_slightly_oblique_volume_is_read(tmp_path):
    image = sitk.GetImageFromArray(ramps().transpose(1, 2, 0)[::-1])
    turn = np.radians(20)
    c, s = np.cos(turn), np.sin(turn)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    image.SetSpacing((4, 1.5, 2))
    sitk.WriteImage(image, str(tmp_path / "1_t1.mha"))
    assert (read_image(tmp_path / "1_t1.mha").array == ramps()[::-1]).all()


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz"])
@pytest.mark.parametrize("storage", STORAGES)
def test_writing_restores_the_grid(tmp_path, suffix, storage):
    write_mha(ramps(), SPACING_MM, storage, tmp_path / "1_t1.mha")
    image = sitk.ReadImage(str(tmp_path / "1_t1.mha"))
    image.SetOrigin((-12.5, 30.25, 7.0))
    sitk.WriteImage(image, str(tmp_path / f"in{suffix}"))
    reference = sitk.ReadImage(str(tmp_path / f"in{suffix}"))
    volume = read_image(tmp_path / f"in{suffix}")
    write_like(volume.array.astype(np.int16), volume.reference, tmp_path / f"out{suffix}")
    written = sitk.ReadImage(str(tmp_path / f"out{suffix}"))
    assert (sitk.GetArrayFromImage(written) == sitk.GetArrayFromImage(reference)).all()
    assert written.GetSize() == reference.GetSize()
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(written, name)(), getattr(reference, name)(), atol=1e-5), name


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz"])
@pytest.mark.parametrize("storage", STORAGES)
def test_one_slice_is_a_volume_too(tmp_path, suffix, storage):
    write_mha(ramps()[:1], SPACING_MM, storage, tmp_path / "1_t1.mha")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "1_t1.mha")), str(tmp_path / f"in{suffix}"))
    assert (read_image(tmp_path / f"in{suffix}").array == ramps()[:1]).all()


def test_an_array_that_does_not_fit_is_refused(tmp_path):
    write_mha(ramps(), SPACING_MM, "LPS", tmp_path / "1_t1.mha")
    reference = read_image(tmp_path / "1_t1.mha").reference
    with pytest.raises(ValueError, match="30 x 4 x 20 does not fit a reference of 4 x 30 x 20"):
        write_like(ramps().transpose(1, 0, 2), reference, tmp_path / "out.mha")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("cut", [1, 60])
def test_a_truncated_mha_is_named(tmp_path, spine_mask, compressed, cut, capfd):
    path = tmp_path / "7_t1.mha"
    sitk.WriteImage(sitk.GetImageFromArray(spine_mask()), str(path), compressed)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SpiderError, match=rf"7_t1\.mha: is truncated: {cut} bytes are missing"):
        read_mask(path)
    assert capfd.readouterr().err == ""


def test_a_truncated_nifti_is_named(tmp_path):
    path = tmp_path / "7_t1.nii.gz"
    path.write_bytes(gzip.compress(bytes(5000))[:-9])
    with pytest.raises(SpiderError, match=r"7_t1\.nii\.gz: is truncated"):
        read_image(path)


@pytest.mark.parametrize("name", ["7_t1.mha", "7_t1.nii.gz"])
def test_text_instead_of_an_image_is_named(tmp_path, name):
    (tmp_path / name).write_text("this is not an image\n")
    with pytest.raises(SpiderError, match=name):
        read_image(tmp_path / name)


def test_a_header_alone_is_named(tmp_path):
    (tmp_path / "7_t1.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = nonsense\nElementDataFile = LOCAL\n"
    )
    with pytest.raises(SpiderError, match=r"7_t1\.mha: cannot be read as an image"):
        read_image(tmp_path / "7_t1.mha")


def test_a_missing_file_and_another_suffix_are_named(tmp_path):
    with pytest.raises(SpiderError, match="no such file"):
        read_image(tmp_path / "7_t1.mha")
    (tmp_path / "7_t1.png").touch()
    with pytest.raises(SpiderError, match=r"does not end in \.mha or \.nii\.gz"):
        read_image(tmp_path / "7_t1.png")


def test_an_unknown_label_is_named(tmp_path, spine_mask):
    mask = spine_mask()
    mask[0, 0, 0] = 300
    write_mha(mask, SPACING_MM, "LPS", tmp_path / "7_t1.mha")
    with pytest.raises(SpiderError, match=r"7_t1\.mha: label 300 is not a SPIDER value"):
        read_mask(tmp_path / "7_t1.mha")


def test_an_empty_mask_is_named(tmp_path, spine_mask):
    write_mha(np.zeros_like(spine_mask()), SPACING_MM, "LPS", tmp_path / "7_t1.mha")
    with pytest.raises(SpiderError, match=r"7_t1\.mha: nothing is labelled"):
        read_mask(tmp_path / "7_t1.mha")


def test_a_mask_of_whole_floats_is_read_and_one_of_fractions_is_not(tmp_path, spine_mask):
    mask = spine_mask().astype(np.float32)
    write_mha(mask, SPACING_MM, "LPS", tmp_path / "7_t1.mha")
    assert (spider_values()[read_mask(tmp_path / "7_t1.mha").array] == mask).all()
    write_mha(mask + 0.5, SPACING_MM, "LPS", tmp_path / "8_t1.mha")
    with pytest.raises(SpiderError, match="fractions"):
        read_mask(tmp_path / "8_t1.mha")


def test_a_volume_tilted_away_from_left_right_has_no_sagittal_axis(tmp_path):
    image = sitk.GetImageFromArray(np.arange(27000, dtype=np.int16).reshape(30, 30, 30))
    # Left-right is the body diagonal of the grid: every axis is 55 degrees away from it.
    direction = np.stack([np.ones(3) / 3**0.5, np.array([1, -1, 0]) / 2**0.5, np.array([1, 1, -2]) / 6**0.5])
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "7_t1.mha"))
    with pytest.raises(SpiderError, match=r"7_t1\.mha: has no sagittal axis: .* degrees off left-right"):
        read_image(tmp_path / "7_t1.mha")


def test_an_axial_stack_has_no_sagittal_slices(tmp_path):
    write_mha(ramps((30, 20, 30)), (0.6, 4.0, 0.6), "LPS", tmp_path / "7_t1.mha")
    with pytest.raises(SpiderError, match=r"no sagittal slices: 4\.00 mm in-plane but 0\.60 mm"):
        read_image(tmp_path / "7_t1.mha")


def test_a_flat_picture_has_no_sagittal_axis(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ramps()[0]), str(tmp_path / "7_t1.mha"))
    with pytest.raises(SpiderError, match="2 dimensions"):
        read_image(tmp_path / "7_t1.mha")


def test_a_constant_image_and_one_with_nan_are_named(tmp_path):
    write_mha(np.full((4, 30, 20), 7, np.int16), SPACING_MM, "LPS", tmp_path / "7_t1.mha")
    with pytest.raises(SpiderError, match="every voxel is 7"):
        read_image(tmp_path / "7_t1.mha")
    image = ramps().astype(np.float32)
    image[0, 0, 0] = np.nan
    write_mha(image, SPACING_MM, "LPS", tmp_path / "8_t1.mha")
    with pytest.raises(SpiderError, match="not finite"):
        read_image(tmp_path / "8_t1.mha")


def test_a_mask_of_another_size_or_spacing_is_named(tmp_path, spine_mask):
    write_mha(spine_mask(), SPACING_MM, "LPS", tmp_path / "mask.mha")
    mask = read_mask(tmp_path / "mask.mha")
    image = np.random.default_rng(0).integers(0, 99, (5, 60, 50)).astype(np.int16)
    write_mha(image, SPACING_MM, "PIR", tmp_path / "7_t1.mha")
    with pytest.raises(
        SpiderError, match=r"mask\.mha: shape 5 x 60 x 48 differs from its image's 5 x 60 x 50"
    ):
        check_pair(read_image(tmp_path / "7_t1.mha"), mask, tmp_path / "mask.mha")
    write_mha(image[:, :, :48], (4.0, 2.0, 1.6), "PIR", tmp_path / "8_t1.mha")
    with pytest.raises(SpiderError, match=r"spacing 4\.000 x 2\.000 x 1\.500 mm differs"):
        check_pair(read_image(tmp_path / "8_t1.mha"), mask, tmp_path / "mask.mha")


def test_a_mask_stored_in_another_layout_than_its_image_fits(tmp_path, spine_mask):
    write_mha(spine_mask(), SPACING_MM, "LPS", tmp_path / "mask.mha")
    write_mha(spine_mask() + 1, SPACING_MM, "PIR", tmp_path / "7_t1.mha")
    mask, image = read_mask(tmp_path / "mask.mha"), read_image(tmp_path / "7_t1.mha")
    check_pair(image, mask, tmp_path / "mask.mha")
    assert ((image.array > 1) == (mask.array > 0)).all()


def test_real_pairs_fit_and_real_masks_are_read_in_seconds(spider_mini):
    start = time.process_time()
    shapes = [read_mask(series.mask).array.shape for series in find_series(spider_mini / "labels")]
    assert time.process_time() - start < 20
    # Sagittal slices: the first axis is the short one in every storage layout.
    assert len(shapes) == 29 and all(shape[0] < min(shape[1:]) for shape in shapes)
    for series in find_series(spider_mini / "pairs"):
        check_pair(read_image(series.image), read_mask(series.mask), series.mask)


def test_errors_keep_kind_path_and_reason_between_processes():
    error = pickle.loads(pickle.dumps(NotUsedError("a", "b")))
    assert type(error) is NotUsedError and str(error) == "a: b" and error.reason == "b"
