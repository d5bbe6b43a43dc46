"""Headers of NIfTI files, versions 1 and 2: read in either byte order, and made for a given geometry.

Source: nifti1.h and nifti2.h of https://nifti.nimh.nih.gov.
"""

import math
from typing import BinaryIO, Literal

import numpy as np

from synthspine.shards.volumes.stored import Stored, UnreadableError

_MOST_BYTES = 1 << 26
LPS = np.diag([-1.0, -1.0, 1.0])
TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
ROWS = [("srow_x", "f4", 4), ("srow_y", "f4", 4), ("srow_z", "f4", 4)]
QUATERNION = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_FIRST = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("unused", "V35"),
        ("dim_info", "u1"),
        ("dim", "i2", 8),
        ("intent_p", "f4", 3),
        ("intent_code", "i2"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("slice_start", "i2"),
        ("pixdim", "f4", 8),
        ("vox_offset", "f4"),
        ("scl_slope", "f4"),
        ("scl_inter", "f4"),
        ("slice_end", "i2"),
        ("slice_code", "u1"),
        ("xyzt_units", "u1"),
        ("cal_max", "f4"),
        ("cal_min", "f4"),
        ("slice_duration", "f4"),
        ("toffset", "f4"),
        ("glmax", "i4"),
        ("glmin", "i4"),
        ("descrip", "S80"),
        ("aux_file", "S24"),
        ("qform_code", "i2"),
        ("sform_code", "i2"),
        *((name, "f4") for name in QUATERNION),
        *ROWS,
        ("intent_name", "S16"),
        ("magic", "V4"),
    ]
)
_SECOND = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("magic", "V8"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("dim", "i8", 8),
        ("intent_p", "f8", 3),
        ("pixdim", "f8", 8),
        ("vox_offset", "i8"),
        ("scl_slope", "f8"),
        ("scl_inter", "f8"),
        ("cal_max", "f8"),
        ("cal_min", "f8"),
        ("slice_duration", "f8"),
        ("toffset", "f8"),
        ("slice_start", "i8"),
        ("slice_end", "i8"),
        ("descrip", "S80"),
        ("aux_file", "S24"),
        ("qform_code", "i4"),
        ("sform_code", "i4"),
        *((name, "f8") for name in QUATERNION),
        *((name, "f8", count) for name, _, count in ROWS),
        ("slice_code", "i4"),
        ("xyzt_units", "i4"),
        ("intent_code", "i4"),
        ("intent_name", "S16"),
        ("dim_info", "u1"),
        ("unused_str", "V15"),
    ]
)
MAGIC = {348: b"n+1\0", 540: b"n+2\0\r\n\x1a\n"}
_LAYOUTS = {348: _FIRST, 540: _SECOND}


def read_header(file: BinaryIO) -> tuple[bytes, np.ndarray]:
    """The bytes of the header, and its fields.

    Raises:
        UnreadableError: none, a header of another format, or a part of one.
    """
    start = file.read(4)
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        size = int.from_bytes(start, "little" if order == "<" else "big")
        if len(start) == 4 and size in _LAYOUTS:
            head = start + file.read(size - 4)
            if len(head) < size:
                raise UnreadableError("is truncated: its header has no end")
            header = np.frombuffer(head, _LAYOUTS[size].newbyteorder(order))[0]
            if header["magic"].tobytes() != MAGIC[size]:
                raise UnreadableError(
                    f"is no NIfTI file of one part (magic {header['magic'].tobytes()[:4]!r}); "
                    "Analyze files and pairs of .hdr and .img cannot be read"
                )
            return head, header
    # A stream that is damaged anyway is told as such.
    file.read(_MOST_BYTES)
    raise UnreadableError("cannot be read as an image: it has no NIfTI header")


def header_of(reference: Stored) -> np.ndarray:
    """A header of one element that can be changed, in little-endian byte order."""
    if reference.header:
        layout = _LAYOUTS[len(reference.header)]
        little = int.from_bytes(reference.header[:4], "little") == len(reference.header)
        found = np.frombuffer(reference.header, layout.newbyteorder("<" if little else ">"))[0]
        header = np.zeros((), layout.newbyteorder("<"))
        for name in layout.names or ():
            header[name] = found[name]
        return header
    spacing = np.array([1.0 if value is None else value for value in reference.spacing_mm])
    turn = LPS @ reference.direction
    header = np.zeros((), _FIRST.newbyteorder("<"))
    header["sizeof_hdr"] = _FIRST.itemsize
    header["xyzt_units"] = 2
    header["sform_code"] = 1
    origin = LPS @ np.array(reference.origin_mm)
    for row, (name, _, _) in enumerate(ROWS):
        header[name] = [*(turn[row] * spacing), origin[row]]
    handed = -1.0 if np.linalg.det(turn) < 0 else 1.0
    header["pixdim"] = [handed, *spacing, 1, 1, 1, 1]
    # The nearest rotation; a sheared reference has none of its own.
    left, _, right = np.linalg.svd(turn * (1.0, 1.0, handed))
    header["qform_code"] = 1
    parts = [*_quaternion(left @ right), *origin]
    for name, value in zip(QUATERNION, parts, strict=True):
        header[name] = value
    return header


def _quaternion(turn: np.ndarray) -> list[float]:
    """The last three parts of the quaternion of a rotation, with the first at least 0."""
    values, vectors = np.linalg.eigh(
        np.array(
            [
                [turn[0, 0] + turn[1, 1] + turn[2, 2], 0, 0, 0],
                [turn[2, 1] - turn[1, 2], turn[0, 0] - turn[1, 1] - turn[2, 2], 0, 0],
                [turn[0, 2] - turn[2, 0], turn[0, 1] + turn[1, 0], turn[1, 1] - turn[0, 0] - turn[2, 2], 0],
                [
                    turn[1, 0] - turn[0, 1],
                    turn[0, 2] + turn[2, 0],
                    turn[1, 2] + turn[2, 1],
                    turn[2, 2] - turn[0, 0] - turn[1, 1],
                ],
            ]
        )
    )
    best = vectors[:, np.argmax(values)]
    return [float(part) for part in (best if best[0] >= 0 else -best)[1:]]


def rotation(b: float, c: float, d: float) -> np.ndarray:
    """The rotation of a unit quaternion whose first part is not stored."""
    square = 1.0 - (b * b + c * c + d * d)
    if not square > -1e-3:
        raise UnreadableError("its qform is no rotation")
    a = math.sqrt(max(0.0, square))
    length = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / length, b / length, c / length, d / length
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
