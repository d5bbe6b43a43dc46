import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import read_image, write_like, write_mha
from synthspine.shards.volumes.nifti import read_nifti
from synthspine.shards.volumes.stored import UnreadableError

SHAPE = (4, 20, 24)
SPACING = (4.4, 0.8, 0.7)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def noise(kind=np.int16):
    return np.random.default_rng(0).integers(0, 200, SHAPE).astype(kind)


def turned(degrees=12.0, shear=0.0):
    """An affine of a sagittal scan, towards right, front and top."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [shear, 1, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * SPACING, (-30, 12, -7)
    return affine


def scan(path, affine=None, *, kind=np.int16, second=False, **fields):
    make = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = make(noise(kind), turned() if affine is None else affine, dtype=kind)
    image.header.set_xyzt_units("mm")
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def patch(path, **fields):
    """Change fields of the header of an unpacked file of version 1, which nibabel would not write."""
    content = path.read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


def affine_of(stored):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = stored.direction * stored.spacing_mm, stored.origin_mm
    return LPS @ matrix


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8", ">i2", ">f4"])
def test_content_and_place_are_those_of_nibabel(tmp_path, kind, second):
    path = scan(tmp_path / "a.nii.gz", kind=kind, second=second)
    stored, other = read_nifti(path), nibabel.load(path)
    assert (np.asarray(other.dataobj) == stored.values.T).all()
    assert stored.values.dtype == np.dtype(kind).newbyteorder("=")
    assert np.allclose(affine_of(stored), other.affine, atol=1e-4)


def cases(path):
    """Scans whose header other programs read otherwise than the library for image files."""
    yield "sform only", scan(path, qform_code=0)
    moved = nibabel.Nifti1Image(noise(), turned(), dtype=np.int16)
    moved.header.set_xyzt_units("mm")
    moved.set_sform(turned(5.0), 2)
    moved.set_qform(turned(), 1)
    nibabel.save(moved, path)
    yield "sform and qform differ", path
    moved.set_sform(None, 0)
    nibabel.save(moved, path)
    yield "qform only", path
    yield "shear", scan(path, turned(shear=0.05))
    yield "no code", patch(scan(path), qform_code=0, sform_code=0)
    pixdim = np.array([-1, -SPACING[0], SPACING[1], -SPACING[2], 1, 1, 1, 1])
    yield "negative pixdim", patch(scan(path), pixdim=pixdim, sform_code=0, qform_code=1)
    yield "version 2", scan(path, second=True)
    metres = turned()
    metres[:3] /= 1000
    yield "metres", patch(scan(path, metres), xyzt_units=1)


def test_a_mask_lies_where_every_program_puts_the_scan(tmp_path):
    seen = []
    for name, path in cases(tmp_path / "a.nii"):
        seen.append(name)
        volume = read_image(path)
        out = tmp_path / "out.nii.gz"
        write_like(volume.array.astype(np.int16), volume.reference, out)
        source, mask = nibabel.load(path), nibabel.load(out)
        assert (np.asarray(mask.dataobj) == np.asarray(source.dataobj)).all(), name
        assert mask.get_data_dtype() == np.int16
        for key in ("qform_code", "sform_code", "xyzt_units", "pixdim", "srow_x", "srow_y", "srow_z"):
            assert (mask.header[key] == source.header[key]).all(), (name, key)
        for key in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
            assert mask.header[key] == source.header[key], (name, key)
        assert mask.header["sizeof_hdr"] == source.header["sizeof_hdr"]
        assert np.array_equal(mask.affine, source.affine), name
        assert volume.spacing_mm == pytest.approx((4.4, 0.7, 0.8), rel=2e-3), name
        affine = affine_of(read_nifti(path))
        scale = 1000 if name == "metres" else 1
        assert np.allclose(affine[:3], source.affine[:3] * scale, atol=1e-3), name
    assert len(seen) == 8


def test_text_of_the_scan_is_not_in_its_mask(tmp_path):
    path = scan(tmp_path / "a.nii", descrip=b"Secret Name", aux_file=b"Secret", intent_name=b"Secret")
    patch(path, db_name=b"Secret", data_type=b"Secret")
    volume = read_image(path)
    write_like(volume.array.astype(np.int16), volume.reference, tmp_path / "out.nii")
    assert b"Secret" not in (tmp_path / "out.nii").read_bytes()


def test_a_mask_of_a_scan_in_another_format_lies_on_it(tmp_path):
    write_mha(noise(), SPACING, "PIR", tmp_path / "a.mha")
    image = sitk.ReadImage(str(tmp_path / "a.mha"))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)) * 0.1 + np.eye(3))[0]
    image.SetDirection((turn @ np.array(image.GetDirection()).reshape(3, 3)).ravel().tolist())
    image.SetOrigin((3.0, -20.5, 9.0))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    volume = read_image(tmp_path / "a.mha")
    write_like(volume.array.astype(np.int16), volume.reference, tmp_path / "out.nii.gz")
    header = nibabel.load(tmp_path / "out.nii.gz").header
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    for affine in (header.get_sform(), header.get_qform()):
        assert np.allclose(affine, LPS @ matrix, atol=1e-4)


def test_values_are_scaled_as_the_header_says(tmp_path):
    path = patch(scan(tmp_path / "a.nii"), scl_slope=0.5, scl_inter=-3.0)
    assert np.allclose(read_nifti(path).values, noise().T * 0.5 - 3.0)
    # A slope of 0 means that there is none.
    assert (read_nifti(patch(path, scl_slope=0.0)).values == noise().T).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"srow_x": [np.nan, 0, 0, 0]}, "affine holds values that are not finite"),
        ({"srow_z": [0, 0, 0, 0]}, "an axis of length 0"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "qform is no rotation"),
        ({"sform_code": 0, "qform_code": 1, "qoffset_x": np.inf}, "affine holds values that are not finite"),
        ({"srow_y": [4, 0.8, 0, 0], "pixdim": [1, 0, 0, 0, 1, 1, 1, 1]}, "axes are sheared"),
        ({"pixdim": [1, 4.4, 0.4, 0.7, 1, 1, 1, 1]}, "4.4 x 0.4 x 0.7 by pixdim, but 4.4 x 0.8 x 0.7 by its"),
        (
            {"pixdim": [1, np.nan, 0.8, 0.7, 1, 1, 1, 1]},
            r"spacing \(pixdim\) holds values that are not finite",
        ),
        ({"xyzt_units": 1}, "field of view of .* mm; less than 2000 mm is needed"),
        ({"xyzt_units": 7}, "unit of length has the code 7"),
        ({"dim": [3, 4, 20, -24, 1, 1, 1, 1]}, "a side of -24 voxels"),
        ({"dim": [3, 30000, 30000, 24, 1, 1, 1, 1]}, "at most 268435456 can be used"),
        ({"dim": [-1, 4, 20, 24, 1, 1, 1, 1]}, "tells -1 dimensions"),
        ({"dim": [4, 4, 20, 12, 2, 1, 1, 1]}, "has 4 dimensions"),
        ({"dim": [2, 4, 480, 1, 1, 1, 1, 1]}, "has 2 dimensions"),
        ({"dim": [3, 4, 20, 25, 1, 1, 1, 1]}, "is truncated: 160 bytes are missing"),
        ({"dim": [3, 4, 20, 16, 1, 1, 1, 1]}, "goes on after its voxels for a slice or more"),
        ({"datatype": 128}, "voxels of type 128"),
        ({"vox_offset": -5}, "voxels begin at byte -5"),
        ({"scl_slope": 2, "scl_inter": np.nan}, "header is wrong: .* invalid intercept nan"),
        ({"datatype": 9999}, "header is wrong: data code 9999 not recognized"),
        ({"magic": b"ni1"}, "no NIfTI file of one part"),
    ],
)
def test_a_header_is_checked_before_anything_is_done_with_it(tmp_path, fields, message):
    path = patch(scan(tmp_path / "a.nii"), **fields)
    with pytest.raises(UnreadableError, match=message):
        read_nifti(path)


def test_a_spacing_of_zero_is_asked_for_and_can_be_told(tmp_path):
    path = patch(scan(tmp_path / "a.nii"), pixdim=[1, 0, 0, 0, 0, 0, 0, 0], sform_code=0, qform_code=1)
    with pytest.raises(SpiderError, match="gives no voxel size; tell it with --spacing-mm Z Y X"):
        read_image(path)
    assert read_image(path, SPACING).spacing_mm == SPACING


def test_one_volume_with_more_dimensions_is_read(tmp_path):
    path = patch(scan(tmp_path / "a.nii"), dim=[5, 4, 20, 24, 1, 1, 1, 1])
    assert (noise() == read_nifti(path).values.T).all()


def test_damage_of_a_packed_file_is_told(tmp_path):
    path = scan(tmp_path / "a.nii.gz")
    whole = path.read_bytes()
    for place in np.random.default_rng(2).integers(12, len(whole), 60).tolist():
        content = bytearray(whole)
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.raises(UnreadableError):
            read_nifti(path)
    path.write_bytes(gzip.compress(gzip.decompress(whole) + bytes(1 << 27), 1))
    with pytest.raises(UnreadableError, match="goes on after its voxels"):
        read_nifti(path)


def test_what_is_odd_in_a_header_is_not_printed(tmp_path, caplog, capfd, recwarn):
    path = patch(scan(tmp_path / "a.nii"), pixdim=[0, -4.4, 0.8, 0.7, 0, 0, 0, 0], bitpix=7, intent_code=9999)
    caplog.clear()
    volume = read_image(path)
    write_like(volume.array, volume.reference, tmp_path / "out.nii.gz")
    assert not caplog.records and not recwarn.list and capfd.readouterr() == ("", "")
    # The file is one of which the library tells much.
    nibabel.load(path)
    assert caplog.records


def test_a_rounded_quaternion_is_a_rotation(tmp_path):
    path = patch(
        scan(tmp_path / "a.nii"), sform_code=0, qform_code=1, quatern_b=0.7072, quatern_c=0.7072, quatern_d=0
    )
    half_turn = [[0, -1, 0], [-1, 0, 0], [0, 0, -1]]
    assert np.allclose(read_nifti(path).direction, half_turn, atol=1e-6)


def test_numbers_too_large_are_refused_without_a_warning(tmp_path, recwarn):
    path = scan(tmp_path / "a.nii", second=True)
    content = path.read_bytes()
    header = nibabel.Nifti2Header(content[:540], check=False)
    header["srow_x"] = 1e300
    path.write_bytes(header.binaryblock + content[540:])
    with pytest.raises(UnreadableError, match="affine holds values that are not finite"):
        read_nifti(path)
    header["srow_x"] = (turned())[0]
    header["scl_slope"] = 1e308
    path.write_bytes(header.binaryblock + content[540:])
    with pytest.raises(SpiderError, match="not finite"):
        read_image(path)
    assert not recwarn.list
