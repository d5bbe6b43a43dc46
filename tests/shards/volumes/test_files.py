import errno
import subprocess
from pathlib import Path

import numpy as np
import pytest
from limits import file_size_limit

from synthspine.shards.checking.contact_sheet import Tile, write_sheet
from synthspine.shards.readers.spider import read_image, write_like, write_mha
from synthspine.shards.storage.atomic import write_text
from synthspine.shards.volumes.files import ending_of

SPACING_MM = (4.0, 2.0, 1.5)


def noise(shape=(8, 64, 64)):
    return np.random.default_rng(0).integers(0, 2**15, shape).astype(np.int16)


def reference(folder):
    if (folder / "scan.mha").exists():
        return read_image(folder / "scan.mha").reference
    write_mha(noise(), SPACING_MM, "LPS", folder / "scan.mha")
    return read_image(folder / "scan.mha").reference


def mask(path):
    write_like(noise(), reference(path.parent.parent), path)


def phantom(path):
    write_mha(noise(), SPACING_MM, "PIR", path)


def picture(path):
    dots = np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)
    write_sheet([Tile(picture=dots, name="dots")], path, "title")


def text(path):
    write_text(path, "x" * 50_000)


WRITERS = [(mask, "a.mha"), (mask, "a.nii.gz"), (mask, "a.nii"), (phantom, "a.mha"), (picture, "a.png")]
WRITERS += [(text, "a.csv")]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_file_that_is_cut_off_does_not_replace_a_good_one(tmp_path, write, name):
    path = tmp_path / "out" / name
    reference(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"the older one")
    with pytest.raises(OSError) as raised, file_size_limit(8000):
        write(path)
    assert raised.value.errno == errno.EFBIG and str(path) in str(raised.value)
    assert path.read_bytes() == b"the older one"
    assert list(path.parent.iterdir()) == [path]
    write(path)
    assert path.stat().st_size > 8000


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_full_disk_is_told(tmp_path, write, name):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk that can be filled cannot be mounted here")
    try:
        reference(tmp_path)
        path = disk / name
        path.write_bytes(b"the older one")
        with pytest.raises(OSError, match="No space left on device") as raised:
            write(path)
        assert str(path) in str(raised.value)
        assert path.read_bytes() == b"the older one" and list(disk.iterdir()) == [path]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.mha", ".mha"), ("A.MHA", ".MHA"), ("a.NII.GZ", ".NII.GZ"), ("a.nii", ".nii"), ("a.gz", None)],
)
def test_endings_are_understood_in_any_case(name, ending):
    assert ending_of(Path(name)) == ending


@pytest.mark.parametrize("name", ["A.MHA", "A.NII.GZ", "a.Nii"])
def test_a_name_in_capitals_is_read_and_written(tmp_path, name):
    write_like(noise(), reference(tmp_path), tmp_path / name)
    assert (read_image(tmp_path / name).array == noise()).all()
