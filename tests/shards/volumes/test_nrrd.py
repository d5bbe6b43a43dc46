import gzip
import os

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.shards.readers.spider import read_image, write_mha
from synthspine.shards.volumes.files import write_stored
from synthspine.shards.volumes.nrrd import read_nrrd
from synthspine.shards.volumes.stored import UnreadableError

SHAPE = (4, 20, 24)


def noise(kind=np.int16):
    return np.random.default_rng(0).integers(0, 120, SHAPE).astype(kind)


def written(path, *, compressed=True, kind=np.int16):
    image = sitk.GetImageFromArray(noise(kind))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    image.SetDirection(turn.ravel().tolist())
    image.SetSpacing((0.7, 0.8, 4.4))
    image.SetOrigin((-12.5, 30.25, 7.0))
    sitk.WriteImage(image, str(path), compressed)
    return path


def same(stored, library):
    assert (stored.values == sitk.GetArrayFromImage(library)).all()
    assert np.allclose(stored.direction.ravel(), library.GetDirection(), atol=1e-9)
    assert np.allclose(stored.spacing_mm, library.GetSpacing(), rtol=1e-12)
    assert np.allclose(stored.origin_mm, library.GetOrigin(), rtol=1e-12)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8"])
def test_content_and_geometry_are_those_of_the_library(tmp_path, compressed, kind):
    path = written(tmp_path / "a.nrrd", compressed=compressed, kind=kind)
    stored = read_nrrd(path)
    same(stored, sitk.ReadImage(str(path)))
    assert stored.values.dtype == kind


@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8"])
def test_what_is_written_is_read_by_the_library_and_equal_content_gives_equal_bytes(tmp_path, kind):
    reference = read_nrrd(written(tmp_path / "a.nrrd"))
    for name in ("b.nrrd", "c.nrrd"):
        write_stored(tmp_path / name, noise(kind)[::-1], reference, note="a remark")
    library = sitk.ReadImage(str(tmp_path / "b.nrrd"))
    same(read_nrrd(tmp_path / "b.nrrd"), library)
    assert np.allclose(library.GetDirection(), reference.direction.ravel())
    assert (sitk.GetArrayFromImage(library) == noise(kind)[::-1]).all()
    assert (tmp_path / "b.nrrd").read_bytes() == (tmp_path / "c.nrrd").read_bytes()
    assert b"a remark" in (tmp_path / "b.nrrd").read_bytes()[:1000]


@pytest.mark.parametrize("space", ["RAS", "left-anterior-superior"])
def test_other_spaces_and_big_endian_voxels_lie_at_the_same_place(tmp_path, space):
    path = written(tmp_path / "a.nrrd", compressed=False)
    head, _, _ = path.read_bytes().partition(b"\n\n")
    fields = head.replace(b"left-posterior-superior", space.encode()).replace(b": little", b": big")
    path.write_bytes(fields + b"\n\n" + noise().astype(">i2").tobytes())
    same(read_nrrd(path), sitk.ReadImage(str(path)))


def test_every_flipped_byte_of_compressed_voxels_is_told(tmp_path):
    path = written(tmp_path / "a.nrrd")
    whole = path.read_bytes()
    start = whole.index(b"\n\n") + 12
    for place in np.random.default_rng(2).integers(start, len(whole), 60).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(UnreadableError):
            read_nrrd(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NRRD000", b"NRRD100", "no NRRD header"),
        (b"encoding: raw", b"encoding: bzip2", "raw or gzip"),
        (b"encoding: raw", b"encoding: raw\ndata file: a.raw", "in other files"),
        (b"encoding: raw", b"encoding: raw\ndatafile: /dev/zero", "in other files"),
        (b"encoding: raw", b"encoding: raw\nbyte skip: -1", "byte skip is '-1'"),
        (b"encoding: raw", b"encoding: raw\nencoding: gzip", "encoding twice"),
        (b"encoding: raw", b"encoding raw", "no whole NRRD header"),
        (b"dimension: 3", b"dimension: 4", "dimensions is '4'"),
        (b"sizes: 24 20 4", b"sizes: 24 480", "has 2 dimensions"),
        (b"sizes: 24 20 4", b"sizes: 24 20 -4", "sizes is"),
        (b"sizes: 24 20 4", b"sizes: 24 20 0", "a side of 0"),
        (b"sizes: 24 20 4", b"sizes: 99999 99999 9", "at most"),
        (b"sizes: 24 20 4", b"sizes: 24 20 5", "960 bytes are missing"),
        (b"sizes: 24 20 4", b"sizes: 24 20 3", "goes on after its voxels"),
        (b"kinds: domain", b"kinds: RGB-color", "of the kinds"),
        (b"type: short", b"type: block", "type is 'block'"),
        (b"endian: little", b"endian: middle", "endian is"),
        (b"space: left-posterior-superior", b"space: scanner-xyz", "place in the patient is not known"),
        (b"space: left-posterior-superior\n", b"", "gives no space"),
        (b"space directions: (", b"space directions: none (", "numbers are needed"),
        (b"space directions: (", b"space directions: (x", "numbers are needed"),
        (b"space origin: (", b"space origin: (nan,", "numbers are needed"),
        (b"kinds:", b'space units: "m" "m" "m"\nkinds:', "mm is needed"),
    ],
)
def test_a_header_is_a_measurement_or_an_error(tmp_path, old, new, message):
    path = written(tmp_path / "a.nrrd", compressed=False)
    content = path.read_bytes()
    assert old in content
    text = content.replace(old, new, 1)
    if message == "numbers are needed" and b"none" in new:
        # Three vectors and none for a fourth axis are no three axes.
        text = text.replace(b"none (", b"(", 1).replace(b") (", b") none ", 1)
    path.write_bytes(text)
    with pytest.raises(UnreadableError, match=message):
        read_nrrd(path)


def test_lines_without_end_and_pipes_are_no_files(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"#" * 10**6)
    with pytest.raises(UnreadableError, match="no whole NRRD header"):
        read_nrrd(tmp_path / "a.nrrd")
    os.mkfifo(tmp_path / "b.nrrd")
    with pytest.raises(UnreadableError, match="no regular file"):
        read_nrrd(tmp_path / "b.nrrd")
    head = written(tmp_path / "c.nrrd").read_bytes().partition(b"\n\n")[0]
    (tmp_path / "c.nrrd").write_bytes(head + b"\n\n" + gzip.compress(bytes(1 << 22)))
    with pytest.raises(UnreadableError, match="goes on after its voxels"):
        read_nrrd(tmp_path / "c.nrrd")


def test_a_nrrd_scan_is_the_volume_of_the_same_scan_in_another_format(tmp_path):
    array = np.random.default_rng(0).integers(0, 99, (5, 30, 40)).astype(np.int16)
    write_mha(array, (4.0, 0.8, 0.9), "PIR", tmp_path / "a.mha")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.mha")), str(tmp_path / "a.nrrd"))
    volume = read_image(tmp_path / "a.nrrd")
    assert np.array_equal(volume.array, array)
    np.testing.assert_allclose(volume.spacing_mm, (4.0, 0.8, 0.9))
