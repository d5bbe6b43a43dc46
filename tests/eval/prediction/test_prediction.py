import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, compress, write_series

from synthspine.eval.prediction import options as prediction_options
from synthspine.eval.prediction.prediction import PredictionError, predict
from synthspine.eval.prediction.scans import Scan, ScanError
from synthspine.eval.prediction.tables.colours import ITK_SNAP, SLICER
from synthspine.gen.core.anatomy import spider_values
from synthspine.gen.core.schemes import label_scheme
from synthspine.shards.readers import slices
from synthspine.shards.readers.dicom import decoder
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.storage.atomic import file_digest

# Untrained networks find no spine.
PredictOptions = partial(prediction_options.PredictOptions, always=True)


def masks(options):
    done = list(predict(options))
    assert [prediction.problem for prediction in done] == [None] * len(done)
    return [prediction.files[0] for prediction in done]


@pytest.mark.parametrize("storage", ["LPS", "PIR", "RAS", "SAL"])
@pytest.mark.parametrize("name", ["7_t1.mha", "7_t1.nii.gz"])
def test_mask_lies_on_the_images_own_grid(tmp_path, checkpoint, image_file, name, storage):
    image = image_file(name, storage)
    options = PredictOptions(images=(image,), checkpoint=checkpoint, output_dir=tmp_path / "out")
    (written,) = masks(options)
    assert written == tmp_path / "out" / name.replace("7_t1", "7_t1_seg")
    expected, got = sitk.ReadImage(str(image)), sitk.ReadImage(str(written))
    assert got.GetSize() == expected.GetSize()
    np.testing.assert_allclose(got.GetSpacing(), expected.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(got.GetDirection(), expected.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(got.GetOrigin(), expected.GetOrigin(), atol=1e-4)


def test_mask_holds_spider_values(tmp_path, checkpoint, image_file):
    options = PredictOptions(
        images=(image_file(),), checkpoint=checkpoint, output_dir=tmp_path / "out", min_island_mm2=0
    )
    (written,) = masks(options)
    mask = sitk.ReadImage(str(written))
    assert mask.GetPixelID() == sitk.sitkInt16
    assert set(np.unique(sitk.GetArrayFromImage(mask))) <= set(spider_values().tolist())


def test_one_slice_is_a_volume(tmp_path, checkpoint, image_file):
    image = image_file(slices=1)
    (written,) = masks(PredictOptions(images=(image,), checkpoint=checkpoint, output_dir=tmp_path / "out"))
    assert sitk.ReadImage(str(written)).GetSize() == sitk.ReadImage(str(image)).GetSize()


def test_storage_does_not_change_the_answer(tmp_path, checkpoint):
    array = np.random.Generator(np.random.PCG64(1)).integers(0, 1000, (3, 96, 80)).astype(np.int16)
    answers = []
    for storage in ("LPS", "PIR", "RAS", "SAL"):
        write_mha(array, (4.0, 1.0, 1.0), storage, tmp_path / f"{storage}.mha")
        options = PredictOptions(
            images=(tmp_path / f"{storage}.mha",), checkpoint=checkpoint, output_dir=tmp_path / "out"
        )
        (written,) = masks(options)
        turned = sitk.DICOMOrient(sitk.ReadImage(str(written)), "PIR")
        answers.append(sitk.GetArrayFromImage(turned))
    assert answers[0].any()
    assert all(np.array_equal(answer, answers[0]) for answer in answers[1:])


def test_a_volume_that_lies_askew_gets_its_mask_askew(tmp_path, checkpoint, image_file):
    image = sitk.ReadImage(str(image_file()))
    turn = sitk.VersorTransform((0.0, 0.0, 1.0), np.radians(12.0))
    matrix = np.array(turn.GetMatrix()).reshape(3, 3) @ np.array(image.GetDirection()).reshape(3, 3)
    image.SetDirection(matrix.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "askew.mha"))
    options = PredictOptions(
        images=(tmp_path / "askew.mha",), checkpoint=checkpoint, output_dir=tmp_path / "out"
    )
    got = sitk.ReadImage(str(masks(options)[0]))
    assert got.GetSize() == image.GetSize()
    np.testing.assert_allclose(got.GetDirection(), image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(got.GetOrigin(), image.GetOrigin(), atol=1e-4)


def values_of(options):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(masks(options)[0])))


def test_removal_of_islands_can_be_switched_off(tmp_path, checkpoint, image_file):
    shared = {"images": (image_file(),), "checkpoint": checkpoint}
    kept = values_of(PredictOptions(**shared, output_dir=tmp_path / "kept", min_island_mm2=0))
    cleaned = values_of(PredictOptions(**shared, output_dir=tmp_path / "cleaned", min_island_mm2=1e5))
    assert kept.any() and not cleaned.any()


def test_ordering_of_ranks_can_be_switched_off(tmp_path, save_untrained, image_file):
    model = save_untrained(tmp_path / "ranks.pth", num_classes=14, sure=100)
    image = image_file()
    answers = {
        ranks: values_of(
            PredictOptions(
                images=(image,), checkpoint=model, output_dir=tmp_path / ranks, min_island_mm2=0, ranks=ranks
            )
        )
        for ranks in ("model", "auto", "count")
    }
    # Noise has no order, so what orders changes the ranks, and removes what is no part of a spine.
    for ranks in ("auto", "count"):
        assert (answers[ranks] != answers["model"]).any()
    assert set(np.unique(answers["model"])) <= {0, *map(int, spider_values()[list(label_scheme(14).codes)])}


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path, checkpoint):
    options = PredictOptions(images=(Path("a/7_t1.mha"), Path("b/7_t1.mha")), checkpoint=checkpoint)
    with pytest.raises(ScanError, match=r"a/7_t1.mha would both be written"):
        list(predict(options))


def test_tables_lie_beside_the_mask(tmp_path, checkpoint, image_file):
    options = PredictOptions(
        images=(image_file(),), checkpoint=checkpoint, output_dir=tmp_path, min_island_mm2=0
    )
    (done,) = predict(options)
    assert [path.name for path in done.files] == ["7_t1_seg.mha", "7_t1_seg.csv", "7_t1_seg.json"]
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(done.files[0])))
    rows = list(csv.DictReader(done.files[1].open()))
    report = json.loads(done.files[2].read_text())
    assert {int(row["spider_value"]): int(row["voxels"]) for row in rows} == {
        value: int((values == value).sum()) for value in np.unique(values[values > 0]).tolist()
    }
    for row, entry in zip(rows, report["structures"], strict=True):
        assert float(row["volume_ml"]) == pytest.approx(int(row["voxels"]) * 4.0 * 0.8 * 0.9 / 1000, abs=1e-4)
        assert entry["volume_ml"] == pytest.approx(float(row["volume_ml"]), abs=1e-4)
    assert [flag["name"] for flag in report["flags"]] == [flag.name for flag in done.flags]
    assert report["spacing_mm"] == pytest.approx([4.0, 0.8, 0.9])
    assert 0 < report["entropy"] < np.log(4)
    assert report["model"]["classes"] == 4
    assert report["model"]["sha256"] == file_digest(Path(report["model"]["checkpoint"]))


def test_overlay_only_on_request_and_tables_can_be_left_out(tmp_path, checkpoint, image_file):
    image = image_file()
    options = PredictOptions(
        images=(image,), checkpoint=checkpoint, output_dir=tmp_path / "out", tables=False, overlay=True
    )
    (done,) = predict(options)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["7_t1_seg.mha", "7_t1_seg.png"]
    assert [path.suffix for path in done.files] == [".mha", ".png"]


def test_tta_answers_otherwise(tmp_path, checkpoint, image_file):
    image = image_file()
    answers = []
    for tta in (False, True):
        options = PredictOptions(
            images=(image,), checkpoint=checkpoint, output_dir=tmp_path / str(tta), tta=tta, min_island_mm2=0
        )
        answers.append(sitk.GetArrayFromImage(sitk.ReadImage(str(masks(options)[0]))))
    assert (answers[0] != answers[1]).any()
    assert (answers[0] == answers[1]).mean() > 0.5


def test_a_dicom_study_gets_a_mask_for_each_sagittal_series(tmp_path, checkpoint):
    draw = np.random.Generator(np.random.PCG64(0))
    array = draw.integers(0, 1000, (4, 60, 50)).astype(np.int16)
    write_series(tmp_path / "study", array, uid="1.1", number="3", description="T1")
    write_series(tmp_path / "study", array, uid="1.2", number="4", description="T2")
    write_series(tmp_path / "study", array, uid="1.3", number="5", description="T2 ax", axes=AXIAL)
    (tmp_path / "study" / "notes.txt").write_text("text")
    options = PredictOptions(images=(tmp_path / "study",), checkpoint=checkpoint, output_dir=tmp_path / "out")
    axial, first, second = predict(options)
    assert [first.files[0].name, second.files[0].name] == ["study_3-T1_seg.mha", "study_4-T2_seg.mha"]
    assert sitk.ReadImage(str(first.files[0])).GetSize() == (50, 60, 4)
    assert not axial.failed
    assert "axial slices" in axial.problem


def test_a_scan_that_fails_is_told_and_the_others_go_on(tmp_path, checkpoint, image_file):
    broken = tmp_path / "broken.mha"
    broken.write_text("text")
    images = (broken, image_file("1.mha"), tmp_path / "gone.mha", image_file("2.mha"))
    done = list(predict(PredictOptions(images=images, checkpoint=checkpoint, output_dir=tmp_path / "out")))
    assert [prediction.failed for prediction in done] == [True, False, True, False]
    assert all(str(done[number].path) in done[number].problem for number in (0, 2))
    assert [bool(prediction.files) for prediction in done] == [False, True, False, True]


def test_scans_are_read_one_ahead_and_told_one_by_one(tmp_path, checkpoint, image_file, monkeypatch):
    read, real = [], Scan.read

    def watched(scan):
        read.append(scan.path.name)
        return real(scan)

    monkeypatch.setattr(Scan, "read", watched)
    names = [f"{number}.mha" for number in range(5)]
    images = tuple(image_file(name) for name in names)
    coming = predict(PredictOptions(images=images, checkpoint=checkpoint, output_dir=tmp_path / "out"))
    for number, name in enumerate(names):
        assert next(coming).path.name == name
        assert set(read) <= set(names[: number + 2])
        assert (tmp_path / "out" / f"{number}_seg.mha").is_file()
    assert read == names


def test_a_scan_of_absurd_size_is_told_before_it_is_resampled(tmp_path, checkpoint, image_file):
    image = sitk.ReadImage(str(image_file("m.mha")))
    image.SetSpacing([1000 * spacing for spacing in image.GetSpacing()])
    sitk.WriteImage(image, str(tmp_path / "m.mha"))
    images = (tmp_path / "m.mha", image_file())
    metres, other = predict(PredictOptions(images=images, checkpoint=checkpoint, output_dir=tmp_path / "out"))
    assert metres.failed and metres.problem.startswith(f"{images[0]}: has a field of view")
    assert "millimetres" in metres.problem and other.files


def test_a_place_that_cannot_be_written_fails_that_scan(tmp_path, checkpoint, image_file):
    out = tmp_path / "out"
    (out / "1_seg.mha").mkdir(parents=True)
    images = (image_file("1.mha"), image_file("2.mha"))
    first, second = predict(PredictOptions(images=images, checkpoint=checkpoint, output_dir=out))
    assert first.failed
    assert str(images[0]) in first.problem
    assert not second.failed


def contents(folder):
    """What lies in a folder, without the tables of the run."""
    of_run = ("summary.csv", "summary.json", SLICER, ITK_SNAP)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in of_run}


def test_older_outputs_are_replaced_and_nothing_else_is_left(tmp_path, checkpoint, image_file):
    out, image = tmp_path / "out", image_file()
    options = PredictOptions(images=(image,), checkpoint=checkpoint, output_dir=out, overlay=True)
    masks(options)
    first = contents(out)
    (tmp_path / "ranks.json").write_text("a note")
    masks(replace(options, min_island_mm2=1e5))
    assert contents(out).keys() == first.keys() and contents(out)["7_t1_seg.mha"] != first["7_t1_seg.mha"]


def test_what_is_not_written_again_does_not_stay_beside_a_new_mask(tmp_path, checkpoint, image_file):
    out = tmp_path / "out"
    options = PredictOptions(images=(image_file(),), checkpoint=checkpoint, output_dir=out, overlay=True)
    masks(options)
    assert sorted(contents(out)) == [f"7_t1_seg.{suffix}" for suffix in ("csv", "json", "mha", "png")]
    masks(replace(options, overlay=False, tables=False))
    assert list(contents(out)) == ["7_t1_seg.mha"]


@pytest.mark.parametrize("suffix", ["mha", "csv", "json", "png"])
def test_files_of_others_are_replaced_only_on_request(tmp_path, checkpoint, image_file, suffix):
    images = (image_file("1.mha"), image_file("2.mha"))
    options = PredictOptions(images=images, checkpoint=checkpoint, output_dir=tmp_path / "out")
    theirs = tmp_path / "out" / f"1_seg.{suffix}"
    theirs.parent.mkdir()
    theirs.write_text("work of a person")
    first, second = predict(options)
    assert first.failed and str(theirs) in first.problem and "--overwrite" in first.problem
    assert theirs.read_text() == "work of a person" and len(contents(theirs.parent)) == 4
    assert second.files
    first, second = predict(replace(options, overwrite=True))
    assert first.files and second.files
    assert not theirs.exists() or theirs.read_bytes() != b"work of a person"


@pytest.mark.parametrize("name", ["7_t1.mha", "7_t1.nii.gz"])
def test_a_mask_that_a_person_corrected_is_not_replaced(tmp_path, checkpoint, image_file, name):
    options = PredictOptions(images=(image_file(name),), checkpoint=checkpoint, output_dir=tmp_path)
    (written,) = masks(options)
    (written,) = masks(options)
    corrected = sitk.ReadImage(str(written))
    corrected[1, 1, 1] = corrected[1, 1, 1] + 1
    sitk.WriteImage(corrected, str(written), True)
    (done,) = predict(options)
    assert done.failed and "changed since" in done.problem
    assert sitk.ReadImage(str(written))[1, 1, 1] == corrected[1, 1, 1]


def test_scans_may_lie_in_the_output_folder_and_masks_are_not_segmented(tmp_path, checkpoint, image_file):
    for name in ("1.mha", "2.nii.gz"):
        image_file(name)
    (tmp_path / "turn.mha").unlink()
    options = PredictOptions(images=(tmp_path,), checkpoint=checkpoint, output_dir=tmp_path)
    first = [path.name for path in masks(options)]
    assert first == ["1_seg.mha", "2_seg.nii.gz"]
    assert [path.name for path in masks(options)] == first


def test_a_label_map_of_a_person_is_left_out_and_stays(tmp_path, checkpoint, image_file):
    image_file("1.mha")
    drawn = np.zeros((3, 90, 70), dtype=np.int16)
    drawn[1, 20:40, 20:40] = 3
    write_mha(drawn, (4.0, 0.8, 0.9), "LPS", tmp_path / "1_seg.mha")
    before = (tmp_path / "1_seg.mha").read_bytes()
    options = PredictOptions(images=(tmp_path,), checkpoint=checkpoint, output_dir=tmp_path, overwrite=True)
    refused, left_out = predict(options)
    assert refused.failed and "is a scan itself" in refused.problem
    assert not left_out.failed and "looks like a mask" in left_out.problem
    assert (tmp_path / "1_seg.mha").read_bytes() == before


def test_a_crash_of_the_library_that_decodes_takes_one_scan_along(
    tmp_path, checkpoint, image_file, monkeypatch
):
    array = np.arange(4 * 60 * 50, dtype=np.int16).reshape(4, 60, 50)
    for path, plane in zip(write_series(tmp_path / "dicom", array), array, strict=True):
        compress(path, plane, "JPEG2000")
    monkeypatch.setattr(decoder, "_PROGRAM", "import os; os.kill(os.getpid(), 11)")
    images = (image_file("1.mha"), tmp_path / "dicom", image_file("3.mha"))
    options = PredictOptions(images=images, checkpoint=checkpoint, output_dir=tmp_path / "out")
    done = list(predict(options))
    assert [each.failed for each in done] == [False, True, False]
    assert done[1].problem.endswith("the process that decodes them ended by signal 11 (SIGSEGV)")


def test_a_model_without_ranks_is_refused_at_once(tmp_path, checkpoint, image_file):
    options = PredictOptions(
        images=(image_file(),), checkpoint=checkpoint, ranks="model", output_dir=tmp_path
    )
    with pytest.raises(PredictionError, match="4 classes has no ranks"):
        next(predict(options))


def test_a_scan_whose_slices_would_be_too_large_is_told_why(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(slices, "MOST_PIXELS", 10**6)
    write_mha(np.arange(2 * 64 * 64).reshape(2, 64, 64), (40.0, 30.0, 30.0), "LPS", tmp_path / "a.mha")
    options = PredictOptions(images=(tmp_path / "a.mha",), checkpoint=checkpoint, output_dir=tmp_path / "out")
    (result,) = predict(options)
    assert result.failed and "64 x 64 pixels of 30 x 30 mm would become" in result.problem
