"""Headers of DICOM images: the frames of a file, each with its place in the patient.

A frame's value is looked for in its own functional groups, in the shared ones and in the file, in this order.
What geometry needs is a measurement or an error: no value is completed.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from synthspine.shards.readers.dicom.header import (
    collect,
    items_of,
    joined,
    read_dataset,
    text_of,
    value_of,
)
from synthspine.shards.readers.dicom.selection import lies_across, why_left_out
from synthspine.shards.readers.folder import SpiderError, reason_of
from synthspine.shards.readers.spider import UnsuitableError
from synthspine.shards.volumes.files import DICOM, ending_of
from synthspine.shards.volumes.stored import MOST_SLICE_PIXELS

MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
"""Start of the classes of MR images: one image, enhanced, in colour, converted."""

_MAGIC_AT, _MAGIC = 128, b"DICM"
_HEAD_BYTES = 4096
_DEFER_BYTES = 1024
_DIRECTORY_CLASS = b"1.2.840.10008.1.3.10"
_SPECTRUM_CLASS = "1.2.840.10008.5.1.4.1.1.4.2"
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_SERIES = ("StudyDate", "SeriesNumber", "SeriesDescription")
_UIDS = ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID")
_TIMES = ("StudyTime", "SeriesTime")
# What differs between two contrasts of one place.
_NUMBERS = (
    ("EffectiveEchoTime", "EchoTime"),
    ("RepetitionTime",),
    ("InversionTime", "InversionTimes"),
    ("FlipAngle",),
    ("DiffusionBValue",),
)
_WORDS = (
    "ImageType",
    "FrameType",
    "ScanningSequence",
    "SequenceVariant",
    "SequenceName",
    "PulseSequenceName",
    "ProtocolName",
    "EchoNumbers",
    "ContrastBolusAgent",
)
# What may separate images at one place, and may as well differ within a series.
_PARTS = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "DiffusionGradientOrientation",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "StackID",
)
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices")
_OTHERS = (
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "DimensionIndexValues",
    "InStackPositionNumber",
)
_GROUPED = {*_GEOMETRY, *_OTHERS, *_PARTS, *_WORDS, *(name for names in _NUMBERS for name in names)}
# Spacings of other planes than the patient's.
_OTHER_SPACINGS = ("ImagerPixelSpacing", "NominalScannedPixelSpacing")
_MOST_MM = 10_000.0
_UNIT = 0.01


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """One image of a file.

    Attributes:
        path: the file.
        index: number of the frame in the file, from 0.
        size: rows and columns.
        origin: position of the first pixel's centre in the patient, mm, float64 ``(3,)``.
        direction: unit vectors towards the next column, row and slice, as columns, float64 ``(3, 3)``.
        spacing_mm: spacing of rows and columns; None where the file does not give it.
        no_spacing: why it does not, for messages.
        gap_mm: distance to the next slice as the header states it; None where it does not.
        thickness_mm: thickness of the slice; None where it is not known.
        place_in_stack: number of the slice in its stack, from 1; None where a file of many frames gives none.
        slope: factor of the stored values.
        intercept: added to them after.
        number: number of the image in its series; empty where there is none.
        identity: patient (only ever compared), date, number and description of the series.
        name: number and description of the series.
        instance: identifier of the image.
        uids: identifiers of study, frame of reference and series.
        times: times of study and series.
        numbers: echo time and others by which contrasts differ; nan where there is none, float64 ``(N,)``.
        words: sequence and others by which contrasts differ.
        parts: what may separate images at one place.
    """

    path: Path
    index: int
    size: tuple[int, int]
    origin: np.ndarray
    direction: np.ndarray
    spacing_mm: tuple[float, float] | None
    no_spacing: str
    gap_mm: float | None
    thickness_mm: float | None
    place_in_stack: int | None
    slope: float
    intercept: float
    number: str
    identity: tuple[str, ...] = field(repr=False)
    name: str
    instance: str
    uids: tuple[str, ...]
    times: tuple[str, ...]
    numbers: np.ndarray
    words: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return self.uids[_UIDS.index("SeriesInstanceUID")]

    @property
    def depth_mm(self) -> float:
        """Position along the normal of the slice."""
        return float(self.origin @ self.direction[:, 2])


def read_frames(path: Path) -> list[Frame]:
    """The frames of a DICOM image; none for other files.

    Raises:
        SpiderError: an image that cannot be used, with the reason; ``UnsuitableError`` if it is valid, but
            not MRI with a position in the patient.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise SpiderError(path, f"cannot be read: {error.strerror or error}") from None
    has_magic = head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC
    if not has_magic and not ending_of(path, DICOM):
        return []
    try:
        return _frames(path, head, has_magic)
    except (SpiderError, MemoryError):
        raise
    except Exception as error:
        raise SpiderError(path, f"its header cannot be read: {reason_of(error)}") from None


def _frames(path: Path, head: bytes, has_magic: bool) -> list[Frame]:
    dataset = read_dataset(path, defer_size=_DEFER_BYTES)
    kind = text_of(dataset, "SOPClassUID") or text_of(dataset.file_meta, "MediaStorageSOPClassUID")
    if kind == _SPECTRUM_CLASS:
        raise UnsuitableError(path, "holds spectra; images are needed")
    left_out = why_left_out(dataset, kind)
    if "Rows" not in dataset and "PixelData" not in dataset:
        if has_magic and (not kind.startswith(MR_CLASS) if kind else _DIRECTORY_CLASS in head):
            return []
        if left_out:
            raise UnsuitableError(path, left_out)
        raise SpiderError(path, "is truncated, or not a DICOM image that can be read")
    modality = text_of(dataset, "Modality") or "MR"
    if modality != "MR":
        raise UnsuitableError(path, f"is an image of modality {modality}; MR is needed")
    if (samples := text_of(dataset, "SamplesPerPixel")) not in ("", "1"):
        raise UnsuitableError(path, f"holds colour pictures ({samples} channels); one channel is needed")
    if left_out:
        raise UnsuitableError(path, left_out)
    try:
        return _File(path, dataset).frames()
    except UnsuitableError:
        raise
    except SpiderError as error:
        if lies_across(dataset):
            raise UnsuitableError(path, f"{error.reason}; it is no sagittal slice") from None
        raise


class _File:
    """A file with its functional groups."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.path = path
        self.dataset = dataset
        self.groups: list[dict[str, Any]] = []

    def frames(self) -> list[Frame]:
        rows, columns = self.count("Rows"), self.count("Columns")
        if rows * columns > MOST_SLICE_PIXELS:
            found = f"has slices of {rows} x {columns} pixels"
            raise SpiderError(self.path, f"{found}; at most {MOST_SLICE_PIXELS} pixels can be used")
        frames = self.count("NumberOfFrames") if text_of(self.dataset, "NumberOfFrames") else 1
        own = items_of(self.dataset, "PerFrameFunctionalGroupsSequence")
        if own and len(own) != frames:
            raise SpiderError(self.path, f"holds {frames} frames, but describes {len(own)}")
        if frames > 1 and not own:
            raise SpiderError(self.path, f"holds {frames} frames without a position for each")
        self.check_pixels(rows * columns * frames)
        shared: dict[str, Any] = {}
        for item in items_of(self.dataset, "SharedFunctionalGroupsSequence"):
            collect(item, shared, _GROUPED)
        read = []
        for index in range(frames):
            groups: dict[str, Any] = {}
            if own:
                collect(own[index], groups, _GROUPED)
                if frames > 1 and "ImagePositionPatient" not in groups:
                    raise SpiderError(self.path, f"frame {index + 1} has no position of its own")
            self.groups = [groups, shared]
            read.append(self.frame(index, (rows, columns), frames))
        return read

    def frame(self, index: int, size: tuple[int, int], frames: int) -> Frame:
        if not joined(self.value("ImagePositionPatient")):
            raise UnsuitableError(self.path, "has no position in the patient (a screenshot?)")
        identity = tuple(text_of(self.dataset, name) for name in (*_PATIENT, *_SERIES))
        spacing, no_spacing = self.spacing()
        slope, intercept = self.number("RescaleSlope", 1.0), self.number("RescaleIntercept", 0.0)
        if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
            found = f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g}"
            raise SpiderError(self.path, f"has {found}; finite numbers and a slope other than 0 are needed")
        dimensions = joined(self.value("DimensionIndexValues")).split("\\")
        return Frame(
            path=self.path,
            index=index,
            size=size,
            origin=np.array(self.vector("ImagePositionPatient", 3)),
            direction=self.direction(),
            spacing_mm=spacing,
            no_spacing=no_spacing,
            gap_mm=self.length("SpacingBetweenSlices"),
            thickness_mm=self.length("SliceThickness"),
            place_in_stack=self.whole("InStackPositionNumber"),
            slope=slope,
            intercept=intercept,
            number=text_of(self.dataset, "InstanceNumber") if frames == 1 else "",
            identity=identity,
            name=" ".join(identity[-2:]).strip(),
            instance=text_of(self.dataset, "SOPInstanceUID"),
            uids=tuple(text_of(self.dataset, name) for name in _UIDS),
            times=tuple(text_of(self.dataset, name) for name in _TIMES),
            numbers=np.array([self.first_number(names) for names in _NUMBERS]),
            words=tuple(joined(self.value(name)) for name in _WORDS),
            parts=(*(joined(self.value(name)) for name in _PARTS), *dimensions),
        )

    def value(self, name: str) -> Any:
        for group in self.groups:
            if name in group:
                return group[name]
        return value_of(self.dataset, name)

    def number(self, name: str, default: float) -> float:
        """A number; the default where there is none, nan where it is something else."""
        text = joined(self.value(name)).split("\\")[0]
        if not text:
            return default
        try:
            return float(text)
        except ValueError:
            return math.nan

    def whole(self, name: str) -> int | None:
        found = self.number(name, math.nan)
        return int(found) if found.is_integer() else None

    def first_number(self, names: tuple[str, ...]) -> float:
        return next(
            (found for name in names if not math.isnan(found := self.number(name, math.nan))), math.nan
        )

    def length(self, name: str) -> float | None:
        # Some scanners write distances with the sign of a direction.
        found = abs(self.number(name, math.nan))
        return found if math.isfinite(found) and found > 0 else None

    def vector(self, name: str, count: int) -> list[float]:
        text = joined(self.value(name))
        try:
            values = [float(entry) for entry in text.split("\\")]
        except ValueError:
            values = []
        if len(values) != count or not all(abs(value) <= _MOST_MM for value in values):
            raise SpiderError(self.path, f"{name} is {text or 'not there'}; {count} numbers are needed")
        return values

    def direction(self) -> np.ndarray:
        axes = np.array(self.vector("ImageOrientationPatient", 6)).reshape(2, 3)
        if np.abs(axes @ axes.T - np.eye(2)).max() > _UNIT:
            text = joined(self.value("ImageOrientationPatient"))
            reason = f"ImageOrientationPatient is {text}; two perpendicular unit vectors are needed"
            raise SpiderError(self.path, reason)
        along = axes[0] / np.linalg.norm(axes[0])
        down = axes[1] - along * (axes[1] @ along)
        down /= np.linalg.norm(down)
        return np.stack((along, down, np.cross(along, down)), axis=1)

    def spacing(self) -> tuple[tuple[float, float] | None, str]:
        text = joined(self.value("PixelSpacing"))
        if not text:
            others = [name for name in _OTHER_SPACINGS if text_of(self.dataset, name)]
            only = f", only {others[0]}, which is not that of the patient's plane" if others else ""
            return None, f"has no PixelSpacing{only}"
        try:
            rows, columns = (float(entry) for entry in text.split("\\"))
        except ValueError:
            rows = columns = math.nan
        if not (0 < rows < math.inf and 0 < columns < math.inf):
            return None, f"has a PixelSpacing of {text}, but two lengths above 0 are needed"
        return (rows, columns), ""

    def count(self, name: str) -> int:
        text = text_of(self.dataset, name)
        if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**31):
            raise SpiderError(self.path, f"{name} is {text or 'not there'}; a whole number above 0 is needed")
        return int(text)

    def check_pixels(self, pixels: int) -> None:
        """Raise SpiderError if the file ends before its pixels do."""
        if "PixelData" not in self.dataset:
            raise SpiderError(self.path, "is truncated: it ends before its pixels")
        element = self.dataset.get_item("PixelData", keep_deferred=True)
        length = getattr(element, "length", 0xFFFFFFFF)
        syntax = self.dataset.file_meta.get("TransferSyntaxUID")
        if length == 0xFFFFFFFF or (syntax is not None and (syntax.is_encapsulated or syntax.is_deflated)):
            return
        expected = pixels * self.count("BitsAllocated") // 8
        there = min(length, self.path.stat().st_size - element.value_tell)
        if there < expected:
            raise SpiderError(self.path, f"is truncated: {expected - there} bytes of its pixels are missing")
