import os
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import read_image, write_mha
from synthspine.shards.volumes.metaimage import read_metaimage
from synthspine.shards.volumes.stored import UnreadableError

SHAPE = (4, 20, 24)


def noise(seed=0, kind=np.int16):
    return np.random.default_rng(seed).integers(0, 200, SHAPE).astype(kind)


def written(path, *, compressed=True, array=None):
    image = sitk.GetImageFromArray(noise() if array is None else array)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    image.SetDirection(turn.ravel().tolist())
    image.SetSpacing((0.7, 0.8, 4.4))
    image.SetOrigin((-12.5, 30.25, 7.0))
    sitk.WriteImage(image, str(path), compressed)
    return path


def edit(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8"])
def test_content_and_geometry_are_those_of_the_library(tmp_path, compressed, kind):
    path = written(tmp_path / "a.mha", compressed=compressed, array=noise(kind=kind))
    stored, library = read_metaimage(path), sitk.ReadImage(str(path))
    assert (stored.values == sitk.GetArrayFromImage(library)).all() and stored.values.dtype == kind
    assert np.allclose(stored.direction.ravel(), library.GetDirection(), atol=1e-9)
    assert stored.spacing_mm == library.GetSpacing() and stored.origin_mm == library.GetOrigin()


def test_big_endian_voxels_are_read(tmp_path):
    path = written(tmp_path / "a.mha", compressed=False)
    values, data = noise(), noise().tobytes()
    edit(path, data, values.astype(">i2").tobytes())
    edit(path, b"BinaryDataByteOrderMSB = False", b"BinaryDataByteOrderMSB = True")
    assert (read_metaimage(path).values == values).all()


def test_every_flipped_bit_of_compressed_voxels_is_told(tmp_path):
    path = written(tmp_path / "a.mha")
    whole = path.read_bytes()
    start = whole.index(b"LOCAL\n") + len(b"LOCAL\n")
    places = np.random.default_rng(2).integers(8 * start, 8 * len(whole), 200)
    for place in places.tolist():
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            # A few bits, as that of the level of compression, change nothing.
            assert (read_metaimage(path).values == noise()).all()
        except UnreadableError as error:
            assert "is damaged" in str(error) or "is truncated" in str(error)


def test_voxels_that_unpack_to_another_number_are_told(tmp_path):
    path = tmp_path / "a.mha"
    header = written(path).read_bytes().partition(b"CompressedDataSize")[0].replace(b"\n", b"\n", 1)
    rest = "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 1 1 4\nDimSize = 24 20 4\n"
    rest += "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    for voxels, found in ((1 << 28, "more than 3840"), (1900, "3800, not 3840")):
        stream = zlib.compress(bytes(2 * voxels), 1)
        path.write_bytes(header + rest.encode() + stream)
        with pytest.raises(UnreadableError, match=f"is damaged: .* are {found}"):
            read_metaimage(path)
    path.write_bytes(header + rest.encode() + zlib.compress(bytes(3840))[:-4])
    with pytest.raises(UnreadableError, match="no checksum"):
        read_metaimage(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"= LOCAL", b"= %s%s%n%n.raw 1 9 1", "its voxels are in other files"),
        (b"= LOCAL", b"= /dev/zero", "its voxels are in other files"),
        (b"= LOCAL", b"= LIST", "its voxels are in other files"),
        (b"NDims = 3", b"NDims = 1000000000", "NDims .1000000000., DimSize .24 20 4. are not small"),
        (b"NDims = 3", b"NDims = -1", "are not small whole numbers"),
        (b"NDims = 3", b"NDims = %n", "are not small whole numbers"),
        (b"NDims = 3\n", b"", "are not small whole numbers"),
        (b"DimSize = 24 20 4", b"DimSize = 24 0 4", "a side of 0 voxels"),
        (b"DimSize = 24 20 4", b"DimSize = 9999 99999 4", r"9999 x 99999 x 4 voxels; at most"),
        (b"ElementSpacing = 0.6", b"ElementSpacing = 90.", "field of view of"),
        (b"ElementSpacing = 0.6", b"ElementSpacing = -0.", "negative spacing"),
        (b"ElementSpacing = 0.6", b"ElementSpacing = nan", "3 finite numbers are needed"),
        (b"Offset = -12.5", b"Offset = inf  ", "3 finite numbers are needed"),
        (b"Offset = -12.5", b"Offset =   ", "3 finite numbers are needed"),
        (b"TransformMatrix = -0", b"TransformMatrix = -9", "axes have the lengths"),
        (b"TransformMatrix = ", b"Comment = ", "gives no orientation"),
        (b"ElementType = MET_SHORT", b"ElementType = MET_OTHER", "ElementType is 'MET_OTHER'"),
        (b"BinaryData = True", b"BinaryData = False", "BinaryData is 'False'"),
        (b"ObjectType = Image", b"ObjectType = Image\nHeaderSize = -1", "HeaderSize is '-1'"),
        (b"ObjectType = Image", b"ObjectType = Image\nNDims = 4", "NDims twice"),
        (
            b"ObjectType = Image",
            b"ObjectType = Image\nElementNumberOfChannels = 3",
            "3 dimensions and 3 chan",
        ),
        (b"CompressedDataSize = ", b"CompressedDataSize = 9999999999", "is truncated"),
    ],
)
def test_a_header_is_checked_before_anything_is_done_with_it(tmp_path, old, new, message):
    path = written(tmp_path / "a.mha")
    # The library writes 0.7 as 0.69999999999999996.
    edit(path, old, new)
    with pytest.raises(UnreadableError, match=message):
        read_metaimage(path)


@pytest.mark.parametrize("line", [b"ElementSpacing", b"zero"])
def test_a_spacing_that_is_not_given_is_asked_for_and_can_be_told(tmp_path, line):
    path = tmp_path / "a.mha"
    write_mha(noise(), (4.0, 2.0, 1.5), "LPS", path)
    new = b"Comment = 0 0 0\n#" if line == b"ElementSpacing" else b"ElementSpacing = 0 0 0\nComment"
    edit(path, b"ElementSpacing", new)
    with pytest.raises(SpiderError, match=r"a\.mha: gives no voxel size; tell it with --spacing-mm Z Y X"):
        read_image(path)
    volume = read_image(path, (4.0, 2.0, 1.5))
    assert volume.spacing_mm == (4.0, 2.0, 1.5) and (volume.array == noise()).all()
    assert volume.reference.GetSpacing() == (4.0, 1.5, 2.0)


@pytest.mark.parametrize(
    ("spacing", "message"),
    [
        ((4.0, 0.0009, 0.0009), "are its units millimetres"),
        ((4.0, 120.0, 1.5), "in-plane|field of view of"),
        ((4.0, float("nan"), 1.5), "positive numbers"),
        ((-4.0, 1.5, 1.5), "positive numbers"),
    ],
)
def test_an_absurd_spacing_that_is_told_is_refused(tmp_path, spacing, message):
    write_mha(noise(), (4.0, 2.0, 1.5), "LPS", tmp_path / "a.mha")
    with pytest.raises(SpiderError, match=rf"a\.mha: .*{message}"):
        read_image(tmp_path / "a.mha", spacing)


def test_a_slice_of_a_hundred_million_pixels_is_refused(tmp_path):
    path = tmp_path / "a.mha"
    text = "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\n"
    text += "TransformMatrix = 0 1 0 0 0 -1 -1 0 0\nOffset = 0 0 0\nElementSpacing = 0.04 0.04 4\n"
    text += "DimSize = 10000 10000 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    path.write_bytes(text.encode() + zlib.compress(bytes(10**8), 1))
    with pytest.raises(SpiderError, match="10000 x 10000 pixels in-plane, at most 16777216"):
        read_image(path)


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.mha")
    with pytest.raises(SpiderError, match=r"a\.mha: is no regular file"):
        read_image(tmp_path / "a.mha")


def test_a_header_that_tells_fewer_voxels_than_there_are_is_refused(tmp_path):
    path = edit(written(tmp_path / "a.mha", compressed=False), b"DimSize = 24 20 4", b"DimSize = 16 20 4")
    with pytest.raises(UnreadableError, match="goes on after its voxels for a slice or more"):
        read_metaimage(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_header_with_its_voxels_beside_it_is_read(tmp_path, compressed):
    path = written(tmp_path / "a.mhd", compressed=compressed)
    stored, library = read_metaimage(path), sitk.ReadImage(str(path))
    assert (stored.values == noise()).all() and np.allclose(stored.direction.ravel(), library.GetDirection())
    assert path.with_suffix(".zraw" if compressed else ".raw").is_file()


@pytest.mark.parametrize(
    "name",
    ["../a.raw", "/dev/zero", "sub/a.raw", "LIST", "a%02d.raw 1 4 1", ".", "..", "a.mhd", "c:a.raw", ""],
)
def test_no_other_file_is_opened_than_the_one_beside_the_header(tmp_path, name):
    path = written(tmp_path / "a.mhd", compressed=False)
    edit(path, b"= a.raw", b"= " + name.encode())
    with pytest.raises(UnreadableError, match="in other files"):
        read_metaimage(path)


def test_voxels_beside_a_header_that_do_not_fit_are_told(tmp_path):
    path = written(tmp_path / "a.mhd", compressed=False)
    raw = path.with_suffix(".raw")
    whole = raw.read_bytes()
    for content, message in ((whole[:-7], "a.raw: is truncated: 7 bytes"), (2 * whole, "goes on after its")):
        raw.write_bytes(content)
        with pytest.raises(UnreadableError, match=message):
            read_metaimage(path)
    raw.unlink()
    with pytest.raises(UnreadableError, match=r"a\.raw: no such file"):
        read_metaimage(path)
    os.mkfifo(raw)
    with pytest.raises(UnreadableError, match=r"a\.raw: is no regular file"):
        read_metaimage(path)
