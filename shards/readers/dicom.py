"""DICOM series: finding the series of a folder, and reading each as one volume.

Files are sorted by their headers, not by their folders: a series may be spread over folders, and may hold
several orientations (a localiser) or several images at each position (echoes). Files that are not images
(DICOMDIR, reports and others) are skipped. No header entry that identifies the patient is read.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import UnsuitableError, Volume, image_volume

SPACING_TOLERANCE = 0.1
"""Largest relative deviation of the distance of two neighbouring slices from the median."""

_MAGIC_AT, _MAGIC = 128, b"DICM"
_SUFFIXES = (".dcm", ".ima")
_HEAD_BYTES = 4096
# MR and enhanced MR storage: a file of such a class is an image, even if it cannot be read.
_MR_CLASS = b"1.2.840.10008.5.1.4.1.1.4"
_SERIES, _INSTANCE, _NUMBER, _DESCRIPTION = "0020|000e", "0008|0018", "0020|0011", "0008|103e"
_POSITION, _MODALITY, _SPACING_BETWEEN = "0020|0032", "0008|0060", "0018|0088"
# Tags that separate images at one position: echo time, image type, acquisition, temporal position, b-value.
_PARTS = ("0018|0081", "0008|0008", "0020|0012", "0020|0100", "0018|9087")
_SAME_PLACE_MM = 0.01
_SAME_DIRECTION = 1e-3
_SHEAR_MM = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomSeries:
    """One stack of parallel slices.

    Attributes:
        name: number and description of the series, usable as a file name.
        folder: the common folder of its files.
        files: its files in the order of the slices; a single file may hold all slices.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    path: Path
    tags: dict[str, str]
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray
    direction: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return self.direction[:, 2]

    @property
    def depth_mm(self) -> float:
        return float(self.origin @ self.normal)

    def of_one_stack(self, other: "_Header") -> bool:
        return (
            self.size == other.size
            and np.allclose(self.spacing[:2], other.spacing[:2], rtol=_SAME_DIRECTION)
            and np.allclose(self.direction, other.direction, atol=_SAME_DIRECTION)
        )


def find_dicom(files: Iterable[Path], on_error: Callable[[SpiderError], None]) -> list[DicomSeries]:
    """The series of some files, sorted by folder and name.

    Args:
        files: any files; those that are not DICOM images are skipped.
        on_error: called with each image or series that cannot be used; with ``UnsuitableError`` if it is
            valid, but not MRI with a position in the patient.
    """
    by_series: dict[str, dict[str, _Header]] = {}
    for path in sorted(files):
        try:
            header = _header(path)
        except SpiderError as error:
            on_error(error)
            continue
        if header is not None:
            instances = by_series.setdefault(header.tags.get(_SERIES, str(path)), {})
            # A folder may hold two copies of a study.
            instances.setdefault(header.tags.get(_INSTANCE, str(path)), header)
    found = []
    for instances in by_series.values():
        stacks = _stacks(list(instances.values()))
        for number, stack in enumerate(stacks, 1):
            try:
                found.append(_series(stack, number if len(stacks) > 1 else 0))
            except SpiderError as error:
                on_error(error)
    return sorted(found, key=lambda series: (series.folder, series.name, series.files))


def read_dicom(series: DicomSeries) -> Volume:
    """The volume of a series: float32 intensities after the scanner's rescaling.

    Raises:
        SpiderError: unreadable, missing or unevenly spaced slices, not sagittal, not finite, or without
            contrast.
    """
    place = series.folder / series.name
    if len(series.files) == 1:
        return image_volume(_pixels(series.files[0]), place)
    headers = [_read_header(path) for path in series.files]
    gap = _gap(headers, place)
    images = [_pixels(path) for path in series.files]
    if any(image.GetNumberOfComponentsPerPixel() != 1 for image in images):
        raise UnsuitableError(place, "holds colour pictures; one channel is needed")
    stored = sitk.GetImageFromArray(
        np.concatenate([sitk.GetArrayViewFromImage(image) for image in images]).astype(np.float32)
    )
    first = headers[0]
    stored.SetSpacing((*first.spacing[:2], gap))
    stored.SetOrigin(first.origin.tolist())
    stored.SetDirection(first.direction.ravel().tolist())
    return image_volume(stored, place)


def _header(path: Path) -> _Header | None:
    """The header of a DICOM image; None for other files."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise SpiderError(path, f"cannot be read: {error.strerror}") from None
    has_magic = head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC
    if not has_magic and path.suffix.lower() not in _SUFFIXES:
        return None
    try:
        header = _read_header(path)
    except SpiderError:
        if has_magic and _MR_CLASS not in head:
            return None
        raise
    if header.tags.get(_MODALITY, "MR") != "MR":
        raise UnsuitableError(path, f"is an image of modality {header.tags[_MODALITY]}; MR is needed")
    if header.size[2] == 1 and not header.tags.get(_POSITION):
        raise UnsuitableError(path, "has no position in the patient (a screenshot?)")
    return header


def _read_header(path: Path) -> _Header:
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise SpiderError(path, "is truncated, or not a DICOM image that can be read") from None
    keys = (_SERIES, _INSTANCE, _NUMBER, _DESCRIPTION, _POSITION, _MODALITY, _SPACING_BETWEEN, *_PARTS)
    return _Header(
        path=path,
        tags={key: reader.GetMetaData(key).strip(" \0") for key in keys if reader.HasMetaDataKey(key)},
        size=tuple(reader.GetSize()),
        spacing=tuple(reader.GetSpacing()),
        origin=np.array(reader.GetOrigin()),
        direction=np.array(reader.GetDirection()).reshape(3, 3),
    )


def _pixels(path: Path) -> sitk.Image:
    try:
        return _reader(path).Execute()
    except RuntimeError:
        raise SpiderError(path, "its pixels cannot be read") from None


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _stacks(headers: list[_Header]) -> list[list[_Header]]:
    """Images of one series, separated by orientation, grid, and the tags of ``_PARTS``."""
    stacks: list[list[_Header]] = []
    for header in headers:
        known = next((stack for stack in stacks if header.of_one_stack(stack[0])), None)
        if header.size[2] > 1 or known is None or known[0].size[2] > 1:
            stacks.append([header])
        else:
            known.append(header)
    return [part for stack in stacks for part in _parts(stack)]


def _parts(stack: list[_Header]) -> list[list[_Header]]:
    if not _doubled(stack):
        return [stack]
    for tag in _PARTS:
        values = sorted({header.tags.get(tag, "") for header in stack})
        parts = [[header for header in stack if header.tags.get(tag, "") == value] for value in values]
        if len(parts) > 1 and not any(_doubled(part) for part in parts):
            return parts
    return [stack]


def _doubled(stack: Sequence[_Header]) -> bool:
    return bool((np.diff(sorted(header.depth_mm for header in stack)) < _SAME_PLACE_MM).any())


def _series(stack: list[_Header], number: int) -> DicomSeries:
    stack = sorted(stack, key=lambda header: header.depth_mm)
    tags = stack[0].tags
    words = [tags.get(_NUMBER, ""), tags.get(_DESCRIPTION, ""), str(number or "")]
    name = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(words)).strip("-")
    folder = Path(commonpath([header.path.parent for header in stack]))
    if _doubled(stack):
        raise SpiderError(folder / name, "holds several images at one position, and no tag separates them")
    return DicomSeries(name=name or "series", folder=folder, files=tuple(header.path for header in stack))


def _gap(headers: Sequence[_Header], place: Path) -> float:
    """Distance of neighbouring slices, mm."""
    gaps = np.diff([header.depth_mm for header in headers])
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() > SPACING_TOLERANCE * usual:
        found = f"slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart"
        raise SpiderError(place, f"{found}; evenly spaced ones are needed (is a file missing?)")
    origins, normal = np.array([header.origin for header in headers]), headers[0].normal
    drift = (origins - origins[0]) - np.outer(origins @ normal - headers[0].depth_mm, normal)
    if np.linalg.norm(drift, axis=1).max() > _SHEAR_MM:
        raise SpiderError(place, "slices are shifted in-plane against each other; a straight stack is needed")
    return float(gaps.mean())
