"""Reading NIfTI files (``.nii``, ``.nii.gz``), and writing volumes under the header of a scan, by nibabel.

Where a file lies in the patient is what nibabel takes from its header: the sform, else the qform, else (both
codes 0) as for Analyze files; a small shear stays. A mask gets the header of its scan, so that every program
puts it where it puts the scan. Nothing but header and voxels is read: no extension, no memory map.
"""

import gzip
import io
import logging
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling

from synthspine.shards.volumes.stored import (
    Stored,
    UnreadableError,
    check_extent,
    check_size,
    checked_direction,
    open_regular,
    read_voxels,
)

_LPS = np.diag([-1.0, -1.0, 1.0])
_KINDS = {
    kind.sizeof_hdr.to_bytes(4, "little" if order == "<" else "big"): (kind, order)
    for kind in (Nifti1Header, Nifti2Header)
    for order in "<>"
}
"""The kind of header and its byte order by the first bytes."""
_MOST_START = 1 << 26
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_SPACING_TOLERANCE = 0.05
_ROUNDED_LENGTH = 1.0005
"""Length up to which a quaternion is taken for a rounded one."""
_SILENT = logging.Logger("what is odd in headers", logging.CRITICAL + 1)


def read_nifti(path: Path) -> Stored:
    """The content of a NIfTI file, with its values as the header scales them.

    Raises:
        UnreadableError: no NIfTI, truncated, damaged, not one three-dimensional volume, of absurd size, or a
            header that contradicts itself.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            if path.name.lower().endswith(".gz"):
                # Closing the reader does not close the file.
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _read(unpacked)  # type: ignore[arg-type]
            return _read(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableError(f"is truncated or not a gzip file ({error})") from None


def nifti_bytes(array: np.ndarray, reference: Stored, *, note: str = "") -> bytes:
    """A NIfTI file, not compressed, of an array ``(k, j, i)`` on the grid of a reference.

    Its header is copied: sform, qform, their codes, spacing and units stay byte for byte. From a reference
    without one, a header is made with its geometry as sform and qform. The note is the description in the
    header, ASCII, at most 79 characters.

    Raises ValueError for a type of numbers that the format does not have.
    """
    if reference.header:
        kind, order = _KINDS[reference.header[:4]]
        header = kind(reference.header, order, check=False).as_byteswapped("<")
    else:
        affine = np.eye(4)
        spacing = [1.0 if value is None else value for value in reference.spacing_mm]
        affine[:3, :3], affine[:3, 3] = _LPS @ reference.direction * spacing, _LPS @ reference.origin_mm
        header = Nifti1Header(endianness="<")
        header.set_xyzt_units("mm")
        header.set_sform(affine, 1)
        # A sheared reference gets the nearest rotation.
        header.set_qform(affine, 1)
    try:
        header.set_data_dtype(array.dtype)
    except HeaderDataError:
        raise ValueError(f"NIfTI files do not hold {array.dtype}") from None
    header["dim"] = [3, *array.shape[::-1], 1, 1, 1, 1]
    header.set_slope_inter(1, 0)
    header.set_intent("none")
    header["cal_max"] = header["cal_min"] = 0
    # Free text may say who was scanned.
    for name in ("descrip", "aux_file", "data_type", "db_name", "unused_str"):
        if name in header.keys():  # noqa: SIM118
            header[name] = b""
    header["descrip"] = note.encode("ascii")
    # At once after the header.
    header.set_data_offset(0)
    file = io.BytesIO()
    header.write_to(file)
    file.write(array.astype(header.get_data_dtype()).tobytes())
    return file.getvalue()


# What overflows is no finite number, and refused as such here or with the whole volume.
@np.errstate(all="ignore")
def _read(file: BinaryIO) -> Stored:
    head = file.read(4)
    if head not in _KINDS:
        # A stream that is damaged anyway is told as such.
        file.read(_MOST_START)
        raise UnreadableError("cannot be read as an image: it has no NIfTI header")
    kind, order = _KINDS[head]
    head += file.read(kind.sizeof_hdr - len(head))
    if len(head) < kind.sizeof_hdr:
        raise UnreadableError("is truncated: its header has no end")
    header = kind(head, order, check=False)
    if header["magic"].item() != kind.single_magic:
        raise UnreadableError(
            f"is no NIfTI file of one part (magic {header['magic'].item()!r}); "
            "Analyze files and pairs of .hdr and .img cannot be read"
        )
    size, begin = _size(header), float(header["vox_offset"]) or float(kind.single_vox_offset)
    if not (begin.is_integer() and len(head) <= begin <= _MOST_START):
        raise UnreadableError(f"cannot be read as an image: its voxels begin at byte {begin:g}")
    given = np.abs(header["pixdim"][1:4].astype(np.float64))
    if not np.isfinite(given).all():
        raise UnreadableError("its spacing (pixdim) holds values that are not finite numbers")
    # Where the voxels begin is known, and may be earlier than nibabel allows.
    header.set_data_offset(0)
    try:
        header.check_fix(_SILENT)
        slope, shift = header.get_slope_inter()
    except HeaderDataError as error:
        raise UnreadableError(f"its header is wrong: {error}") from None
    affine, spacing = _geometry(header, given)
    check_extent(size, [1e-3 if value is None else value for value in spacing])
    matrix, (x, y, z) = _LPS @ affine[:3, :3], (_LPS @ affine[:3, 3]).tolist()
    direction = checked_direction(matrix / np.linalg.norm(matrix, axis=0))
    voxel = header.get_data_dtype()
    if voxel.kind not in "iuf" or voxel.itemsize > 8:
        found = int(header["datatype"])
        raise UnreadableError(f"holds voxels of type {found}; one whole or real number a voxel is needed")
    stored = np.frombuffer(read_voxels(file, size, voxel.itemsize, skip=int(begin) - len(head)), voxel)
    values = apply_read_scaling(stored.astype(voxel.newbyteorder("="), copy=False), slope, shift)
    return Stored(
        values=(values.astype(np.float64) if values.dtype.itemsize > 8 else values).reshape(size[::-1]),
        spacing_mm=spacing,
        direction=direction,
        origin_mm=(x, y, z),
        header=head,
    )


def _size(header: Nifti1Header) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise UnreadableError(f"cannot be read as an image: its header tells {count} dimensions")
    size = tuple(int(side) for side in header["dim"][1 : count + 1])
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    check_size(size)
    return size


def _geometry(
    header: Nifti1Header, given: np.ndarray
) -> tuple[np.ndarray, tuple[float | None, float | None, float | None]]:
    """Affine, float64 ``(4, 4)`` towards right, front and top in mm, and spacing in mm.

    ``given`` is the pixdim before nibabel mended the header; a spacing is None where neither this nor a sform
    tells it.
    """
    if (scale := _MM_PER_UNIT.get(unit := int(header["xyzt_units"]) & 7)) is None:
        raise UnreadableError(f"its unit of length has the code {unit}; 0 to 3 exist")
    if header["qform_code"] and not header["sform_code"]:
        length = math.hypot(*(float(header[f"quatern_{part}"]) for part in "bcd"))
        if not length <= _ROUNDED_LENGTH:
            raise UnreadableError("its qform is no rotation")
        if length > 1:
            # Rounded by its writer; nibabel scales it.
            header.quaternion_threshold = np.float64(_ROUNDED_LENGTH**2 - 1)
    affine = header.get_best_affine()
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite([*lengths, *affine[:3, 3]]).all():
        raise UnreadableError("its affine holds values that are not finite numbers")
    if not lengths.all():
        raise UnreadableError("its affine has an axis of length 0")
    told = np.where(given == 0, lengths, given)
    if (np.abs(told - lengths) > _SPACING_TOLERANCE * lengths).any():
        both = (" x ".join(f"{number:.4g}" for number in numbers) for numbers in (given, lengths))
        raise UnreadableError("its spacing is {} by pixdim, but {} by its sform".format(*both))
    affine[:3] *= scale
    if not header["sform_code"]:
        told = np.where(given == 0, np.nan, given)
    across, down, deep = (None if math.isnan(value) else value * scale for value in told.tolist())
    return affine, (across, down, deep)
