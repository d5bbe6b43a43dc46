"""Pixels of DICOM images, as they are stored and after the rescaling of each frame."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
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

from synthspine.shards.readers.dicom.decoder import decode
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
    for path, stored in _stored_values(list(by_file)):
        for place in by_file[path]:
            frame = frames[place]
            if frame.index >= len(stored) or stored.shape[1:] != frame.size:
                raise SpiderError(path, "its pixels cannot be read: the file has changed")
            # What is too large for float32 becomes infinite, which is refused with the whole volume.
            with np.errstate(over="ignore"):
                values[place] = stored[frame.index].astype(np.float64) * frame.slope + frame.intercept
    return values


def _stored_values(paths: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    """Stored values of all frames of every file, before any rescaling: integers ``(N, H, W)``.

    Compressed files are decoded together, because their process takes time to start.

    Raises:
        SpiderError: pixels that cannot be read, with the reason.
    """
    with TemporaryDirectory() as folder:
        copies: dict[Path, tuple[Path, tuple[int, int]]] = {}
        for path in paths:
            with _naming(path):
                dataset = _dataset(path)
                size = (int(dataset.Rows), int(dataset.Columns))
                syntax = dataset.file_meta.TransferSyntaxUID
                if syntax.is_encapsulated and syntax != RLELossless:
                    copies[path] = Path(folder) / f"{len(copies)}.dcm", size
                    _save_pixels(dataset, copies[path][0])
                    continue
                stored = _used_bits(pixel_array(dataset, raw=True, correct_unused_bits=False), dataset)
                stored = stored.reshape(-1, *size)
            yield path, stored
        decoded = decode([copy for copy, _ in copies.values()])
        for (path, (_, size)), result in zip(copies.items(), decoded, strict=True):
            with _naming(path):
                if isinstance(result, RuntimeError):
                    raise result
                stored = result.reshape(-1, *size)
            yield path, stored


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of libraries become a ``SpiderError`` of the file; their warnings are not shown."""
    try:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, SpiderError):
        raise
    except Exception as error:
        raise SpiderError(path, f"its pixels cannot be read: {reason_of(error)}") from None


def _dataset(path: Path) -> Dataset:
    dataset = read_dataset(path)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # That with which it was read.
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _save_pixels(dataset: Dataset, file: Path) -> None:
    """Write a file that holds the pixels and nothing by which a decoder would change them."""
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
    plain.save_as(file, enforce_file_format=True)


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
