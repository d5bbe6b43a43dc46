"""Pixels of DICOM images, as they are stored and after the rescaling of each frame."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from synthspine.shards.readers.dicom.frames import Frame
from synthspine.shards.readers.dicom.header import read_dataset, text_of
from synthspine.shards.readers.folder import SpiderError, reason_of

# What a decoder has to know about the pixels.
_LAYOUT = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def frame_values(frames: Sequence[Frame]) -> np.ndarray:
    """Intensities of frames of one size after the scanner's rescaling, float32 ``(N, H, W)``.

    Raises:
        SpiderError: pixels that cannot be read; the message names the file.
    """
    values = np.empty((len(frames), *frames[0].size), dtype=np.float32)
    by_file: dict[Path, list[int]] = {}
    for place, frame in enumerate(frames):
        by_file.setdefault(frame.path, []).append(place)
    for path, places in by_file.items():
        stored = stored_values(path)
        for place in places:
            frame = frames[place]
            if frame.index >= len(stored) or stored.shape[1:] != frame.size:
                raise SpiderError(path, "its pixels cannot be read: the file has changed")
            # What is too large for float32 becomes infinite, which is refused with the whole volume.
            with np.errstate(over="ignore"):
                values[place] = stored[frame.index].astype(np.float64) * frame.slope + frame.intercept
    return values


def stored_values(path: Path) -> np.ndarray:
    """Stored values of all frames of a file, before any rescaling: integers ``(N, H, W)``.

    Raises:
        SpiderError: pixels that cannot be read, with the reason.
    """
    dataset = read_dataset(path)
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = _syntax(dataset)
            syntax = dataset.file_meta.TransferSyntaxUID
            if syntax.is_encapsulated and syntax != RLELossless:
                stored = _decompressed(dataset)
            else:
                stored = _used_bits(pixel_array(dataset, raw=True, correct_unused_bits=False), dataset)
            return stored.reshape(-1, int(dataset.Rows), int(dataset.Columns))
    except MemoryError:
        raise
    except Exception as error:
        raise SpiderError(path, f"its pixels cannot be read: {reason_of(error)}") from None


def _syntax(dataset: Dataset) -> str:
    """The transfer syntax with which a file without one was read."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _decompressed(dataset: Dataset) -> np.ndarray:
    """Decode with ITK, from a file that holds the pixels and nothing by which they would be changed."""
    plain = Dataset()
    for name in _LAYOUT:
        if name in dataset:
            plain[name] = dataset[name]
    plain["PixelData"] = dataset["PixelData"]
    plain.SOPClassUID = SecondaryCaptureImageStorage
    plain.SOPInstanceUID = "1.2.3"
    plain.Modality = "OT"
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    with TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.dcm"
        plain.save_as(file, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(file))
        return sitk.GetArrayFromImage(reader.Execute())


def _used_bits(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Values without what other data stands in their unused bits."""
    if stored.dtype.kind not in "iu" or not text_of(dataset, "BitsStored"):
        return stored
    width, used = 8 * stored.dtype.itemsize, int(dataset.BitsStored)
    high = int(dataset.HighBit) if text_of(dataset, "HighBit") else used - 1
    if not 0 < used <= high + 1 <= width:
        raise ValueError(f"BitsStored {used} and HighBit {high} do not fit into {width} bits")
    # Shifts of signed values keep their sign.
    return (stored << (width - 1 - high)) >> (width - used)
