"""Pixels are read as they were stored, in every transfer syntax; a broken file is named with its reason."""

import numpy as np
import pydicom
import pytest
from dicom_files import compress, edit, found, only, scan, write_frames, write_series
from pydicom import uid

from synthspine.shards.readers.dicom import read_dicom
from synthspine.shards.readers.folder import SpiderError


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.RLELossless,
    ],
)
def test_every_way_to_store_pixels_gives_the_same_values(tmp_path, syntax):
    path = write_frames(tmp_path / "a.dcm", scan())
    dataset = pydicom.dcmread(path)
    if syntax == uid.RLELossless:
        dataset.compress(syntax)
    elif syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = scan().astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    little = syntax != uid.ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=little, force_encoding=True)
    assert np.array_equal(read_dicom(only(tmp_path)).array, scan())


@pytest.mark.parametrize("kind", ["int16", "uint16", "uint8"])
@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_compressed_slices_with_a_slope_of_their_own(tmp_path, kind, compressor):
    values = (scan() // 4 - (500 if kind == "int16" else 0)).astype(kind)
    for number, (path, plane) in enumerate(zip(write_series(tmp_path, scan()), values, strict=True)):
        compress(path, plane, compressor)
        edit(path, RescaleSlope=number + 1, RescaleIntercept=-number)
    numbers = np.arange(5)[:, None, None]
    assert np.array_equal(read_dicom(only(tmp_path)).array, values * (numbers + 1.0) - numbers)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_a_preamble(tmp_path, implicit):
    for path in write_series(tmp_path, scan()):
        dataset = pydicom.Dataset(pydicom.dcmread(path))
        dataset.save_as(path, implicit_vr=implicit, little_endian=True)
    assert np.array_equal(read_dicom(only(tmp_path)).array, scan())


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("high", [11, 15])
def test_unused_bits_are_not_read(tmp_path, signed, high):
    values = scan(1) - 500 * signed
    shift = high - 11
    bits = ((values.astype(np.int32) & 0xFFF) << shift) | (0x5 if shift else 0xA000)
    (path,) = write_series(tmp_path, scan(1))
    edit(
        path,
        PixelData=bits.astype("<u2").tobytes(),
        BitsStored=12,
        HighBit=high,
        PixelRepresentation=signed,
    )
    assert np.array_equal(read_dicom(only(tmp_path)).array, values)


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_damaged_compressed_pixels_are_an_error_that_names_the_file(tmp_path, damage):
    paths = write_series(tmp_path, scan())
    compress(paths[1], scan()[1], "JPEG2000")
    content = bytearray(paths[1].read_bytes())
    if damage == "cut":
        content = content[:-600]
    else:
        content[-1500:-1400] = bytes(100)
        content[900:1300] = bytes(400)
    paths[1].write_bytes(content)
    series, errors = found(tmp_path)
    for entry in series:
        try:
            read_dicom(entry)
        except SpiderError as error:
            errors.append(error)
    assert any(error.path == paths[1] or "a file missing" in error.reason for error in errors)
    assert all("\n" not in str(error) for error in errors)


@pytest.mark.parametrize("length", [0, 100, 132, 140, 200, 400, 700, 1000, 3000])
def test_a_file_cut_anywhere_is_an_error_that_names_it_and_stops_no_other(tmp_path, length):
    write_series(tmp_path / "whole", scan())
    broken = write_frames(tmp_path / "a.dcm", scan(2), uid="1.8")
    broken.write_bytes(broken.read_bytes()[:length])
    series, (error,) = found(tmp_path)
    assert error.path == broken
    assert np.array_equal(read_dicom(series[0]).array, scan())


def test_a_file_of_noise_is_an_error_that_names_it(tmp_path):
    write_series(tmp_path / "whole", scan())
    whole = write_frames(tmp_path / "a.dcm", scan(2), uid="1.8").read_bytes()
    draw = np.random.Generator(np.random.PCG64(0))
    for number in range(60):
        content = bytearray(whole)
        places = draw.integers(132, len(whole) - 4800, 20)
        for place, value in zip(places, draw.integers(0, 256, 20), strict=True):
            content[place] = value
        (tmp_path / "a.dcm").write_bytes(content)
        series, errors = found(tmp_path)
        assert any(
            np.array_equal(read_dicom(entry).array, scan()) for entry in series if len(entry.frames) == 5
        )
        assert all(error.path.is_relative_to(tmp_path) and "\n" not in str(error) for error in errors), number
