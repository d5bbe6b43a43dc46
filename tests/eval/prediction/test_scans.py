import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, write_series

from synthspine.eval.prediction.ownership import is_own, mask_mark, mask_note
from synthspine.eval.prediction.scans import ScanError, find_scans
from synthspine.shards.readers.folder import NotUsedError
from synthspine.shards.readers.spider import SpiderError, UnsuitableError, read_image, write_like, write_mha

SPACING = (4.0, 1.0, 1.0)


def volume(path):
    write_mha(np.arange(2 * 20 * 20, dtype=np.int16).reshape(2, 20, 20), SPACING, "LPS", path)
    return path


def series(folder, **more):
    array = np.random.Generator(np.random.PCG64(0)).integers(0, 100, (3, 20, 20)).astype(np.int16)
    return write_series(folder, array, **more)


def masks(found, out):
    return [str(scan.mask.relative_to(out)) for scan in found[0]]


def test_a_file_is_itself(tmp_path):
    out = tmp_path / "out"
    (scan,) = find_scans([volume(tmp_path / "a.mha")], out)[0]
    assert scan.named
    assert scan.mask == out / "a_seg.mha"
    assert scan.beside(".csv") == out / "a_seg.csv"
    assert scan.read().array.shape == (2, 20, 20)


def test_a_scan_that_is_named_twice_is_predicted_once(tmp_path):
    path = volume(tmp_path / "in" / "a.mha")
    (scan,) = find_scans([path.parent, path, path], tmp_path / "out")[0]
    assert scan.named


def test_masks_keep_their_place_in_a_folder(tmp_path):
    for name in ("a.mha", "p1/s.mha", "p2/s.mha"):
        volume(tmp_path / "in" / name)
    found = find_scans([tmp_path / "in"], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["a_seg.mha", "p1/s_seg.mha", "p2/s_seg.mha"]
    assert not any(scan.named for scan in found[0])


def own_mask(path, like):
    values = np.zeros((2, 20, 20), dtype=np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_like(values, read_image(like).reference, path, note=mask_mark(values))


def reasons(found):
    return {error.path.name: error.reason for error in found[1]}


def test_own_masks_and_hidden_files_are_passed_over_in_silence(tmp_path):
    for name in ("a.mha", ".tmp-1-c.mha", ".hidden/d.mha"):
        volume(tmp_path / name)
    for name in ("a_seg.mha", "renamed.nii.gz", "out/b_seg.mha"):
        own_mask(tmp_path / name, tmp_path / "a.mha")
    for out in (tmp_path, tmp_path / "out"):
        found = find_scans([tmp_path], out)
        assert masks(found, out) == ["a_seg.mha"] and found[1] == []


def test_a_name_like_that_of_a_mask_is_a_scan_and_what_lies_in_the_output_folder_is_told(tmp_path):
    for name in ("patient_seg.mha", "out/e.mha"):
        volume(tmp_path / name)
    found = find_scans([tmp_path], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["patient_seg_seg.mha"]
    assert "lies in the output folder" in reasons(found)["e.mha"]


def test_an_own_mask_that_is_named_is_left_out(tmp_path):
    own_mask(tmp_path / "b.mha", volume(tmp_path / "a.mha"))
    found = find_scans([tmp_path / "a.mha", tmp_path / "b.mha"], tmp_path)
    assert [scan.path.name for scan in found[0]] == ["a.mha"]
    assert [type(error) for error in found[1]] == [NotUsedError]


def test_a_mask_never_replaces_a_scan_of_the_same_run(tmp_path):
    volume(tmp_path / "x.mha"), volume(tmp_path / "x_seg.mha")
    found = find_scans([tmp_path], tmp_path)
    assert [scan.path.name for scan in found[0]] == ["x_seg.mha"]
    assert "x_seg.mha, which is a scan itself" in reasons(found)["x.mha"]
    assert [type(error) for error in found[1]] == [SpiderError]


def test_a_label_map_is_left_out_unless_it_is_named(tmp_path):
    values = np.zeros((2, 20, 20), dtype=np.int16)
    values[:, 5:9, 5:9], values[:, 12:15, 5:9] = 1, 201
    write_mha(values, SPACING, "LPS", tmp_path / "drawn.mha")
    (found,), (named,) = (find_scans([path], tmp_path)[0] for path in (tmp_path, tmp_path / "drawn.mha"))
    with pytest.raises(NotUsedError, match="looks like a mask"):
        found.read()
    assert named.read().array.max() == 201


def test_what_looks_like_a_scan_never_vanishes(tmp_path):
    volume(tmp_path / "in" / "a.mha"), volume(tmp_path / "elsewhere" / "b.mha")
    for name in ("c.nhdr", "d.NPY", "notes.txt"):
        (tmp_path / "in" / name).write_text("text")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "around").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gone.mha").symlink_to(tmp_path / "nothing.mha")
    os.mkfifo(tmp_path / "in" / "pipe.mha")
    found = find_scans([tmp_path / "in"], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["a_seg.mha", "linked/b_seg.mha"]
    assert reasons(found).keys() == {"c.nhdr", "d.NPY", "around", "gone.mha", "pipe.mha"}
    assert all(isinstance(error, NotUsedError) for error in found[1])
    assert "convert it to .mha" in reasons(found)["c.nhdr"]
    assert "without voxel size" in reasons(found)["d.NPY"]
    assert "link to nothing" in reasons(found)["gone.mha"]
    (named,) = find_scans([tmp_path / "in" / "pipe.mha"], tmp_path / "out")[0]
    with pytest.raises(SpiderError, match="no regular file"):
        named.read()


def test_a_folder_that_may_not_be_listed_is_told(tmp_path, monkeypatch):
    volume(tmp_path / "a.mha"), (tmp_path / "locked").mkdir()
    real = os.listdir

    def listdir(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    found = find_scans([tmp_path], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["a_seg.mha"]
    assert [type(error) for error in found[1]] == [SpiderError]
    assert reasons(found) == {"locked": "cannot be listed: Permission denied"}


def test_names_that_are_not_utf_8_are_told(tmp_path):
    strange = tmp_path / os.fsdecode(b"caf\xe9.mha")
    volume(tmp_path / "a.mha").rename(strange)
    volume(tmp_path / "b.mha")
    for inputs in ([tmp_path], [strange, tmp_path / "b.mha"]):
        found = find_scans(inputs, tmp_path / "out")
        assert masks(found, tmp_path / "out") == ["b_seg.mha"]
        assert "in UTF-8" in found[1][0].reason and not isinstance(found[1][0], NotUsedError)
    with pytest.raises(ScanError, match="in UTF-8"):
        find_scans([tmp_path], strange)


def test_masks_of_a_spider_folder_are_left_out_and_scans_beside_its_images_are_read(tmp_path):
    for name in ("images/1_t1.mha", "masks/1_t1.mha", "more/2.mha"):
        volume(tmp_path / name)
    found = find_scans([tmp_path], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["1_t1_seg.mha", "more/2_seg.mha"]
    assert list(reasons(found)) == ["masks"]


@pytest.mark.parametrize("nested", ["images", "images/images"])
def test_of_a_spider_folder_only_images_are_predicted(tmp_path, nested):
    volume(tmp_path / nested / "1_t1.mha")
    volume(tmp_path / nested.replace("images", "masks") / "1_t1.mha")
    found = find_scans([tmp_path], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["1_t1_seg.mha"]


def test_a_spider_folder_without_images_is_told(tmp_path):
    volume(tmp_path / "masks" / "1_t1.mha")
    (error,) = find_scans([tmp_path], tmp_path / "out")[1]
    assert "no images/" in str(error)


def test_series_of_a_dicom_folder_are_named_by_folder_number_and_description(tmp_path):
    series(tmp_path / "study", uid="1.1", number="3", description="T1/sag fs")
    series(tmp_path / "study", uid="1.2", number="4", description="T2")
    found = find_scans([tmp_path / "study"], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["study_3-T1-sag-fs_seg.mha", "study_4-T2_seg.mha"]
    assert found[0][0].read().array.shape == (3, 20, 20)


def test_series_of_one_name_get_two_masks(tmp_path):
    for uid in ("1.1", "1.2"):
        series(tmp_path / "study", uid=uid)
    found = find_scans([tmp_path / "study"], tmp_path / "out")
    assert masks(found, tmp_path / "out") == ["study_3-T2-TSE-sag_seg.mha", "study_3-T2-TSE-sag-2_seg.mha"]


def test_a_dicom_file_is_its_series(tmp_path):
    path = series(tmp_path / "study")[0]
    (scan,) = find_scans([path], tmp_path / "out")[0]
    assert scan.named
    assert scan.series.files == (path,)


def test_axial_series_are_unsuitable(tmp_path):
    series(tmp_path / "study", axes=AXIAL)
    scans, (error,) = find_scans([tmp_path / "study"], tmp_path / "out")
    assert scans == [] and isinstance(error, UnsuitableError)
    assert "axial slices 4.4 mm apart" in error.reason


def test_other_modalities_are_unsuitable_in_a_folder_and_broken_when_named(tmp_path):
    paths = series(tmp_path / "study", tag_0008_0060="CT")
    found = find_scans([tmp_path / "study"], tmp_path / "out")
    assert [type(error) for error in found[1]] == [UnsuitableError]
    found = find_scans([paths[0]], tmp_path / "out")
    assert [type(error) for error in found[1]] == [SpiderError]


def test_what_is_no_scan_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("text")
    broken = find_scans([tmp_path / "empty", tmp_path / "text.png"], tmp_path / "out")[1]
    assert [error.path.name for error in broken] == ["empty", "text.png"]
    assert all(".mha or .nii.gz" in error.reason for error in broken)


def test_an_array_without_geometry_is_refused_by_name(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 20, 20)))
    (error,) = find_scans([tmp_path / "a.npy"], tmp_path / "out")[1]
    assert type(error) is SpiderError and "without voxel size and orientation; convert it" in error.reason


@pytest.mark.parametrize("name", ["a.nrrd", "a.mhd"])
def test_scans_of_two_more_formats_are_read_and_masks_have_the_format_that_is_asked_for(tmp_path, name):
    image = sitk.ReadImage(str(volume(tmp_path / "a.mha")))
    (tmp_path / "in").mkdir()
    sitk.WriteImage(image, str(tmp_path / "in" / name))
    (scan,), errors = find_scans([tmp_path / "in"], tmp_path / "out")
    assert errors == [] and scan.mask.name == name.replace("a.", "a_seg.").replace(".mhd", ".mha")
    assert np.array_equal(scan.read().array, read_image(tmp_path / "a.mha").array)
    (scan,), _ = find_scans([tmp_path / "in" / name], tmp_path, suffix=".nii.gz")
    assert scan.mask.name == "a_seg.nii.gz"


def test_masks_of_one_name_are_refused():
    with pytest.raises(ScanError, match=r"b/7_t1\.mha and a/7_t1\.mha would both be written to"):
        find_scans([Path("a/7_t1.mha"), Path("b/7_t1.mha")], Path("out"))


def test_tables_of_one_name_are_refused():
    with pytest.raises(ScanError, match="would both be written"):
        find_scans([Path("a.mha"), Path("a.nii.gz")], Path("out"))


def test_what_looks_like_a_scan_and_cannot_be_read_is_skipped_with_the_reason(tmp_path):
    volume(tmp_path / "real" / "A.MHA")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "in" / "b.nhdr").write_text("NRRD0004\n")
    (tmp_path / "in" / "c.nii").symlink_to(tmp_path / "nothing")
    scans, errors = find_scans([tmp_path / "in"], tmp_path / "out")
    assert [scan.mask for scan in scans] == [tmp_path / "out" / "linked" / "A_seg.mha"]
    assert scans[0].read().array.shape == (2, 20, 20)
    assert {error.path.name: error.reason for error in errors} == {
        "b.nhdr": "cannot be read; convert it to .mha or .nii.gz",
        "c.nii": "is a link to nothing",
    }
    assert all(isinstance(error, NotUsedError) for error in errors)


def test_a_spacing_that_is_told_is_used(tmp_path):
    path = volume(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing", b"Comment", 1))
    (scan,) = find_scans([path], tmp_path / "out")[0]
    with pytest.raises(SpiderError, match="--spacing-mm Z Y X"):
        scan.read()
    assert replace(scan, spacing_mm=(5.0, 0.9, 0.8)).read().spacing_mm == (5.0, 0.9, 0.8)


@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz", "a.nrrd"])
def test_the_file_of_a_mask_says_that_ranks_count_from_the_lowest_in_view(tmp_path, image_file, name):
    reference = read_image(image_file(name="scan.mha" if name == "a.nrrd" else f"scan_{name}")).reference
    values = np.ones((3, 90, 70), dtype=np.int16)
    for relative in (True, False):
        path = tmp_path / name
        write_like(values, reference, path, note=mask_note(values, relative=relative))
        header = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())[:4096]
        assert (b"1 (lowest vertebra in view)" in header) == relative
        assert is_own(path)
