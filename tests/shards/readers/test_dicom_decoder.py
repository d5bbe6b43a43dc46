"""Compressed pixels are decoded in a process of their own."""

import numpy as np
import pytest
from dicom_files import compress, scan, write_series

from synthspine.shards.readers.dicom import decoder, find_dicom, read_dicom
from synthspine.shards.readers.folder import SpiderError


def crash_at(monkeypatch, name):
    """The library crashes at the file of this name."""
    crash = f'if file.endswith("{name}"): os.kill(os.getpid(), 11)'
    program = decoder._PROGRAM.replace("    reader = sitk", f"    {crash}\n    reader = sitk", 1)
    assert program != decoder._PROGRAM
    monkeypatch.setattr(decoder, "_PROGRAM", program)


def test_a_crash_names_the_file_and_the_signal(tmp_path, monkeypatch):
    paths = write_series(tmp_path, scan())
    for path, plane in zip(paths, scan(), strict=True):
        compress(path, plane, "JPEG2000")
    (series,) = find_dicom(paths, pytest.fail)
    assert np.array_equal(read_dicom(series).array, scan())
    crash_at(monkeypatch, "1.dcm")
    with pytest.raises(SpiderError, match=r"ended by signal 11 \(SIGSEGV\)") as told:
        read_dicom(series)
    assert told.value.path == series.files[1]


def test_after_a_crash_the_other_files_are_decoded(tmp_path, monkeypatch):
    crash_at(monkeypatch, "0.dcm")
    files = [tmp_path / "0.dcm", tmp_path / "1.dcm"]
    files[1].write_bytes(b"no image")
    crashed, refused = decoder.decode(files)
    assert "SIGSEGV" in str(crashed) and "SIGSEGV" not in str(refused) and str(refused)
