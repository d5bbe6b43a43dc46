"""DICOM segmentations, read back with pydicom."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from dicom_files import only, scan, write_frames, write_series

from synthspine.eval.prediction import dicom_seg
from synthspine.eval.prediction.dicom_seg import SegmentationError, segmentation_bytes
from synthspine.eval.prediction.options import PredictOptions
from synthspine.eval.prediction.ownership import is_own
from synthspine.eval.prediction.prediction import predict
from synthspine.gen.core.anatomy import CANAL, disc_code, spider_values
from synthspine.shards.readers.dicom import read_dicom
from synthspine.shards.readers.spider import read_values, stored_order

STUDY = {"tag_0020_0052": "1.2.3.9", "tag_0008_0020": "20200101"}


def codes_for(shape):
    """Another mask in every slice: a vertebra that grows, a disc in two slices, a canal in one."""
    codes = np.zeros(shape, dtype=np.uint8)
    for index in range(shape[0]):
        codes[index, 3 : 5 + index, 4:9] = 1
    codes[1:3, 20:24, 4:9], codes[2, :, 20:23] = disc_code(1), CANAL
    return codes


def frames_of(dataset):
    """Frames by number of the segment and place along the patient's left-right axis."""
    (shared,) = dataset.SharedFunctionalGroupsSequence
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for plane, group in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        # A segment alone is named in the shared groups.
        named = group if "SegmentIdentificationSequence" in group else shared
        number = named.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        yield number, np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float), plane, group


@pytest.mark.parametrize("many", [False, True])
def test_every_frame_lies_on_the_slice_that_it_segments(tmp_path, many):
    pytest.importorskip("highdicom")
    positions = [8.8, 0.0, 17.6, 4.4, 13.2]
    if many:
        more = {"PatientID": "7", "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.3.9"}
        more |= {
            "StudyDate": "20200101",
            "PatientName": "Secret^Name",
            "ImageType": "ORIGINAL\\PRIMARY\\M\\NONE",
        }
        write_frames(tmp_path / "in" / "a.dcm", scan(), positions=positions, **more)
    else:
        write_series(tmp_path / "in", scan(), positions=positions, **STUDY)
    series = only(tmp_path / "in")
    volume = read_dicom(series)
    codes = codes_for(volume.array.shape)
    content = segmentation_bytes(stored_order(codes, volume.reference), series, 4.4, relative=False)
    path = tmp_path / "a_seg.dcm"
    path.write_bytes(content)
    dataset = pydicom.dcmread(path)
    assert (dataset.Modality, dataset.PatientName) == ("SEG", "Secret^Name")
    labels = {each.SegmentNumber: each.SegmentLabel for each in dataset.SegmentSequence}
    assert labels == {1: "L5", 2: "L5/S1", 3: "spinal canal"}
    kinds = [each.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for each in dataset.SegmentSequence]
    assert "fifth lumbar vertebra" in kinds[1] and "canal" in kinds[2].lower()
    code_of = {1: 1, 2: disc_code(1), 3: CANAL}
    found = list(frames_of(dataset))
    for number, place, plane, group in found:
        # The slices of the volume run to the right from the first origin, each with its own content.
        index = round((30.0 - place[0]) / 4.4)
        assert (plane == (codes[index] == code_of[number])).all() and plane.any()
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = series.frames[index]
        assert source.ReferencedSOPInstanceUID == frame.instance
        assert not many or source.ReferencedFrameNumber == frame.index + 1
    assert len(found) == 5 + 2 + 1
    assert is_own(path)
    path.write_bytes(content.replace(b"L5/S1 ", b"L4/L5 "))
    assert not is_own(path)


def test_the_command_writes_it_beside_the_mask_and_removes_it_with_an_older_mask(tmp_path, checkpoint):
    pytest.importorskip("highdicom")
    array = np.random.default_rng(0).integers(0, 1000, (4, 60, 50)).astype(np.int16)
    write_series(tmp_path / "study", array, **STUDY)
    options = PredictOptions(
        images=(tmp_path / "study",), checkpoint=checkpoint, output_dir=tmp_path / "out", always=True
    )
    (done,) = predict(replace(options, dicom_seg=True))
    (path,) = (path for path in done.files if path.suffix == ".dcm")
    values = read_values(done.files[0]).array
    dataset = pydicom.dcmread(path)
    names = {each.SegmentNumber: each.TrackingID.split()[-1] for each in dataset.SegmentSequence}
    for number, place, plane, _ in frames_of(dataset):
        index = round((30.0 - place[0]) / 4.4)
        assert (plane == (values[index] == int(names[number]))).all()
    assert set(names.values()) == {str(value) for value in np.unique(values[values > 0])}
    assert set(map(int, names.values())) <= set(spider_values().tolist())
    assert is_own(path)
    list(predict(options))
    assert not path.exists()


def test_an_empty_mask_is_no_segmentation_and_several_files_of_many_frames_are_refused(tmp_path):
    pytest.importorskip("highdicom")
    write_series(tmp_path, scan(), **STUDY)
    series = only(tmp_path)
    assert segmentation_bytes(np.zeros((5, 40, 30), dtype=np.uint8), series, 4.4, relative=False) is None
    broken = write_series(tmp_path / "b", scan(), tag_0020_000d="")
    assert broken
    without = only(tmp_path / "b")
    with pytest.raises(SegmentationError, match="no DICOM segmentation can be made"):
        segmentation_bytes(codes_for((5, 40, 30)), without, 4.4, relative=False)


def test_without_the_package_it_is_named_at_once(monkeypatch, checkpoint, tmp_path):
    monkeypatch.setattr(dicom_seg, "find_spec", lambda name: None)
    options = PredictOptions(images=(tmp_path,), checkpoint=checkpoint, dicom_seg=True)
    with pytest.raises(SegmentationError, match=r"pip install 'synthspine\[dicom-seg\]'"):
        list(predict(options))
