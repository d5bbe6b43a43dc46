"""Reading and writing one image file, by the ending of its name."""

import errno
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthspine.shards.storage.atomic import atomic_path, why_not_whole, write_bytes
from synthspine.shards.volumes.metaimage import read_metaimage
from synthspine.shards.volumes.nrrd import read_nrrd
from synthspine.shards.volumes.stored import Stored, UnreadableError, packed

SUFFIXES = (".mha", ".nii.gz", ".nii", ".nrrd")
"""Endings of the files that are read, in any case."""
SCANS = (*SUFFIXES, ".mhd")
"""Endings of scans: of a set every file is known by its digest, and that of a ``.mhd`` has no voxels."""
NO_GEOMETRY = (".npy", ".npz")
"""Endings of arrays without voxel size and orientation."""
CONVERTIBLE = (
    *(".mhd", ".nhdr", ".hdr", ".img", ".img.gz", ".mgh", ".mgz", ".mnc", ".gipl", ".gipl.gz"),
    *(".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".mha.gz"),
)
"""Endings of volumes in formats that are not read."""
DICOM = (".dcm", ".ima")
"""Usual endings of DICOM images."""
FOREIGN = (*CONVERTIBLE, *DICOM)
"""Endings of files that look like volumes and are not read as one."""
EXPECTED = ".mha or .nii.gz"
"""The usual endings, for messages; ``.nii`` and ``.nrrd`` are read, too."""
_NOTE = "Comment"


def ending_of(path: Path, endings: Iterable[str] = SUFFIXES) -> str | None:
    """The ending of a file's name as it is spelled there; None if it has none of ``endings``."""
    lower = path.name.lower()
    found = next((ending for ending in endings if lower.endswith(ending)), None)
    return None if found is None else path.name[len(path.name) - len(found) :]


def read_stored(path: Path) -> Stored:
    """The content of a file.

    Raises:
        UnreadableError: another ending, or as ``read_metaimage``, ``read_nifti`` and ``read_nrrd``.
        OSError: it cannot be read.
    """
    ending = ending_of(path, SCANS)
    if ending is None:
        raise UnreadableError(f"the file name does not end in {EXPECTED}")
    if ending.lower() in (".mha", ".mhd"):
        return read_metaimage(path)
    if ending.lower() == ".nrrd":
        return read_nrrd(path)
    # The library behind it takes long to import.
    from synthspine.shards.volumes.nifti import read_nifti

    return read_nifti(path)


def write_stored(path: Path, array: np.ndarray, reference: Stored, *, note: str = "") -> None:
    """Write an array ``(k, j, i)`` on the grid of a reference, atomically; compressed, but for ``.nii``.

    A ``.nii`` or ``.nii.gz`` file gets the header of the reference. The note is a remark in the file's
    header, ASCII, at most 79 characters.

    Raises:
        UnreadableError: another ending.
        OSError: it cannot be written as a whole.
    """
    ending = ending_of(path)
    if ending is None:
        raise UnreadableError(f"the file name does not end in {EXPECTED}")
    if ending.lower() in (".mha", ".nrrd"):
        image = as_image(array, reference)
        if note:
            image.SetMetaData(_NOTE, note)
        _write_image(path, image)
        return
    from synthspine.shards.volumes.nifti import nifti_bytes

    content = nifti_bytes(array, reference, note=note)
    write_bytes(path, packed(content) if ending.lower().endswith(".gz") else content)


def _write_image(path: Path, image: sitk.Image) -> None:
    """Write an image by SimpleITK, atomically, and read it back before; raises OSError if it is not whole."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        # The library would end the process.
        raise OSError(errno.EILSEQ, "the name of the file is not text in UTF-8") from None
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), True)
            found, meant = read_stored(temporary).values, sitk.GetArrayViewFromImage(image)
            whole = np.array_equal(found, meant, equal_nan=meant.dtype.kind == "f")
        except (RuntimeError, UnreadableError):
            whole = False
        if not whole:
            # The library does not tell why it wrote less.
            raise why_not_whole(temporary, path)


def as_image(array: np.ndarray, reference: Stored) -> sitk.Image:
    """An array ``(k, j, i)`` as an image in memory with the geometry of a reference."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([1.0 if spacing is None else spacing for spacing in reference.spacing_mm])
    image.SetOrigin(reference.origin_mm)
    image.SetDirection(reference.direction.ravel().tolist())
    return image
