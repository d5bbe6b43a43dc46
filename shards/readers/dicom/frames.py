"""Headers of DICOM images: the frames of a file, each with its place in the patient.

A frame's value is looked for in its own functional groups, in the shared ones and in the file, in this order.
What geometry needs is a measurement or an error: no value is completed.
"""

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import UnsuitableError

SUFFIXES = (".dcm", ".ima")
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
"""Start of the classes of MR images: one image, enhanced, in colour, converted."""

_MAGIC_AT, _MAGIC = 128, b"DICM"
_HEAD_BYTES = 4096
_DEFER_BYTES = 1024
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
_OTHERS = ("SliceThickness", "RescaleSlope", "RescaleIntercept", "DimensionIndexValues")
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
    if not has_magic and path.suffix.lower() not in SUFFIXES:
        return []
    dataset = read_dataset(path, defer_size=_DEFER_BYTES)
    kind = text_of(dataset, "SOPClassUID") or text_of(dataset.file_meta, "MediaStorageSOPClassUID")
    if kind == _SPECTRUM_CLASS:
        raise UnsuitableError(path, "holds spectra; images are needed")
    if "Rows" not in dataset and "PixelData" not in dataset:
        if has_magic and not (kind.startswith(MR_CLASS) if kind else MR_CLASS.encode() in head):
            return []
        raise SpiderError(path, "is truncated, or not a DICOM image that can be read")
    modality = text_of(dataset, "Modality") or "MR"
    if modality != "MR":
        raise UnsuitableError(path, f"is an image of modality {modality}; MR is needed")
    if (samples := text_of(dataset, "SamplesPerPixel")) not in ("", "1"):
        raise UnsuitableError(path, f"holds colour pictures ({samples} channels); one channel is needed")
    return _File(path, dataset).frames()


def read_dataset(path: Path, defer_size: int | None = None) -> Dataset:
    """The content of a DICOM file.

    Args:
        path: the file.
        defer_size: values of more bytes are not read.

    Raises:
        SpiderError: it cannot be read, with the reason.
    """
    try:
        # A file that ends too early is read up to there, with a warning.
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, defer_size=defer_size, force=True)
    except MemoryError:
        raise
    except Exception as error:
        raise SpiderError(path, f"is not a DICOM image that can be read: {reason_of(error)}") from None
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    return dataset


def reason_of(error: Exception) -> str:
    """The last line of an error, where libraries put what happened, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ITK ERROR: ") if lines else type(error).__name__


def text_of(dataset: Dataset, name: str) -> str:
    """A value as text, several joined by backslashes; empty where there is none."""
    return _text(_value(dataset, name))


def _value(dataset: Dataset, name: str) -> Any:
    """A value; where it cannot be understood, its text."""
    if name not in dataset:
        return None
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            return dataset[name].value
    except Exception:
        raw = dataset.get_item(name)
        found = getattr(raw, "value", None)
        return found.decode("latin-1") if isinstance(found, bytes) else str(found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list | tuple):
        return "\\".join(_text(entry) for entry in value)
    return str(value).strip(" \0\n\r\t")


class _File:
    """A file with its functional groups."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.path = path
        self.dataset = dataset
        self.groups: list[dict[str, Any]] = []

    def frames(self) -> list[Frame]:
        rows, columns = self.count("Rows"), self.count("Columns")
        frames = self.count("NumberOfFrames") if text_of(self.dataset, "NumberOfFrames") else 1
        own = _items(self.dataset, "PerFrameFunctionalGroupsSequence")
        if own and len(own) != frames:
            raise SpiderError(self.path, f"holds {frames} frames, but describes {len(own)}")
        if frames > 1 and not own:
            raise SpiderError(self.path, f"holds {frames} frames without a position for each")
        self.check_pixels(rows * columns * frames)
        shared: dict[str, Any] = {}
        for item in _items(self.dataset, "SharedFunctionalGroupsSequence"):
            _collect(item, shared)
        found = []
        for index in range(frames):
            groups: dict[str, Any] = {}
            if own:
                _collect(own[index], groups)
                if frames > 1 and "ImagePositionPatient" not in groups:
                    raise SpiderError(self.path, f"frame {index + 1} has no position of its own")
            self.groups = [groups, shared]
            found.append(self.frame(index, (rows, columns), frames))
        return found

    def frame(self, index: int, size: tuple[int, int], frames: int) -> Frame:
        if not _text(self.value("ImagePositionPatient")):
            raise UnsuitableError(self.path, "has no position in the patient (a screenshot?)")
        identity = tuple(text_of(self.dataset, name) for name in (*_PATIENT, *_SERIES))
        spacing, no_spacing = self.spacing()
        slope, intercept = self.number("RescaleSlope", 1.0), self.number("RescaleIntercept", 0.0)
        if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
            found = f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g}"
            raise SpiderError(self.path, f"has {found}; finite numbers and a slope other than 0 are needed")
        dimensions = _text(self.value("DimensionIndexValues")).split("\\")
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
            slope=slope,
            intercept=intercept,
            number=text_of(self.dataset, "InstanceNumber") if frames == 1 else "",
            identity=identity,
            name=" ".join(identity[-2:]).strip(),
            instance=text_of(self.dataset, "SOPInstanceUID"),
            uids=tuple(text_of(self.dataset, name) for name in _UIDS),
            times=tuple(text_of(self.dataset, name) for name in _TIMES),
            numbers=np.array([self.first_number(names) for names in _NUMBERS]),
            words=tuple(_text(self.value(name)) for name in _WORDS),
            parts=(*(_text(self.value(name)) for name in _PARTS), *dimensions),
        )

    def value(self, name: str) -> Any:
        for group in self.groups:
            if name in group:
                return group[name]
        return _value(self.dataset, name)

    def number(self, name: str, default: float) -> float:
        """A number; the default where there is none, nan where it is something else."""
        text = _text(self.value(name)).split("\\")[0]
        if not text:
            return default
        try:
            return float(text)
        except ValueError:
            return math.nan

    def first_number(self, names: tuple[str, ...]) -> float:
        return next(
            (found for name in names if not math.isnan(found := self.number(name, math.nan))), math.nan
        )

    def length(self, name: str) -> float | None:
        # Some scanners write distances with the sign of a direction.
        found = abs(self.number(name, math.nan))
        return found if math.isfinite(found) and found > 0 else None

    def vector(self, name: str, count: int) -> list[float]:
        text = _text(self.value(name))
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
            text = _text(self.value("ImageOrientationPatient"))
            reason = f"ImageOrientationPatient is {text}; two perpendicular unit vectors are needed"
            raise SpiderError(self.path, reason)
        along = axes[0] / np.linalg.norm(axes[0])
        down = axes[1] - along * (axes[1] @ along)
        down /= np.linalg.norm(down)
        return np.stack((along, down, np.cross(along, down)), axis=1)

    def spacing(self) -> tuple[tuple[float, float] | None, str]:
        text = _text(self.value("PixelSpacing"))
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


def _items(dataset: Dataset, name: str) -> list[Dataset]:
    found = _value(dataset, name)
    return [item for item in found or () if isinstance(item, Dataset)] if not isinstance(found, str) else []


def _collect(group: Dataset, values: dict[str, Any]) -> None:
    """Values of functional groups by name, those of nested sequences included."""
    for tag in group.keys():  # noqa: SIM118
        name = keyword_for_tag(tag)
        if name in _GROUPED:
            values.setdefault(name, _value(group, name))
        elif name and dictionary_VR(tag) == "SQ":
            for item in _items(group, name):
                _collect(item, values)
