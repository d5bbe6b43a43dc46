"""Scans found in files and folders, and the files of their masks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from synthspine.eval.prediction.ownership import check_replaceable, has_mask_mark
from synthspine.shards.readers.dicom import DicomSeries, find_dicom, read_dicom
from synthspine.shards.readers.folder import (
    NO_TEXT,
    NotUsedError,
    SpiderError,
    files_below,
    has_layout,
    printable,
)
from synthspine.shards.readers.spider import UnsuitableError, Volume, read_image
from synthspine.shards.volumes.files import CONVERTIBLE, EXPECTED, NO_GEOMETRY, SCANS, SUFFIXES, ending_of

MASK_STEM = "_seg"
MASK_SUFFIX = ".mha"
"""Ending of masks of DICOM series and of scans whose own ending masks do not have."""
TABLE_SUFFIXES = (".csv", ".json", ".png", ".dcm")
"""Endings of the files beside a mask; those that a prediction does not write are removed."""
_MOST_LABELS = 64
_NO_GEOMETRY = "holds numbers without voxel size and orientation"


class ScanError(ValueError):
    """The requested scans cannot be predicted; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """One scan and the file of its mask.

    Attributes:
        path: file of the scan; folder and name of a DICOM series.
        mask: file of the mask.
        series: the DICOM series, None for a file.
        named: whether the user named it, and not only a folder that contains it.
        spacing_mm: spacing along ``Z``, ``H``, ``W`` in place of that of the file.
    """

    path: Path
    mask: Path
    series: DicomSeries | None = None
    named: bool = False
    spacing_mm: tuple[float, float, float] | None = None

    def beside(self, suffix: str) -> Path:
        """The file beside the mask with another suffix."""
        stem = _stem(self.mask)
        return stem.with_name(stem.name + suffix)

    @property
    def source(self) -> Path:
        """The file of the scan, or the folder of its DICOM files."""
        return self.path if self.series is None else self.series.folder

    @property
    def other_masks(self) -> tuple[Path, ...]:
        """The places of its mask in other formats."""
        places = (self.beside(suffix) for suffix in SUFFIXES)
        return tuple(path for path in places if path != self.mask)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The mask and all files that may lie beside it."""
        return (self.mask, *(self.beside(suffix) for suffix in TABLE_SUFFIXES))

    def read(self) -> Volume:
        """The volume.

        Raises:
            SpiderError: it cannot be read; ``UnsuitableError`` where it is not a sagittal series;
                ``NotUsedError`` where it was found in a folder and is a label map.
        """
        if self.series is not None:
            return read_dicom(self.series, self.spacing_mm)
        volume = read_image(self.path, self.spacing_mm)
        if not self.named and _is_label_map(volume.array):
            raise NotUsedError(self.path, "looks like a mask (few whole values, most of them 0); name it")
        return volume


def read_scan(scan: Scan, *, overwrite: bool) -> Volume:
    """The volume of a scan whose files can be written; ``overwrite`` allows to replace files of others.

    Raises:
        OwnershipError: a file that this program did not write is in the way.
        SpiderError: as ``Scan.read``.
    """
    if not overwrite:
        check_replaceable(scan.outputs)
    return scan.read()


def find_scans(
    inputs: Sequence[Path],
    output_dir: Path,
    *,
    suffix: str | None = None,
) -> tuple[list[Scan], list[SpiderError]]:
    """The scans of files and folders.

    A folder contributes every volume and every DICOM series in it and below it. Hidden files and masks that
    this program wrote are skipped, other volumes in an output folder below it are left out. Of a folder in
    SPIDER layout ``masks/`` is left out, and ``images/`` is left out of the names. Masks keep the relative
    path of their scan: ``{output_dir}/{path}/{stem}_seg.mha``; masks of a DICOM series are named after its
    folder and the series.

    Args:
        inputs: the files and folders.
        output_dir: folder of the masks; it may be one of the inputs.
        suffix: ending of the masks in place of that of their scans.

    Returns:
        Scans in the order of the arguments; errors, ``NotUsedError`` and ``UnsuitableError`` (not sagittal
        MRI) last.

    Raises:
        ScanError: two masks would get one name, or the output folder's name is not UTF-8.
    """
    if printable(output_dir) != str(output_dir):
        raise ScanError(f"{printable(output_dir)}: {NO_TEXT}")
    scans: list[Scan] = []
    errors: list[SpiderError] = []
    volume_or_series = f"no {EXPECTED} volume and no DICOM"
    for path in inputs:
        found: list[Scan] = []
        wrong: list[SpiderError]
        if printable(path) != str(path):
            wrong = [SpiderError(path, NO_TEXT)]
        elif path.is_dir():
            found, wrong = _in_folder(path, output_dir, suffix)
            wrong += [] if found or wrong else [SpiderError(path, f"{volume_or_series} series in it")]
        elif ending_of(path, NO_GEOMETRY):
            wrong = [SpiderError(path, f"{_NO_GEOMETRY}; convert it to {EXPECTED}")]
        elif ending_of(path) and has_mask_mark(path):
            wrong = [NotUsedError(path, "is a mask that this program wrote")]
        elif ending_of(path, (*SCANS, *CONVERTIBLE)) or not path.is_file():
            found, wrong = [_file(path, output_dir, suffix, named=True)], []
        else:
            found, wrong = _dicom([path], path.parent, output_dir, suffix, named=True)
            wrong = [SpiderError(error.path, error.reason) for error in wrong]
            wrong += [] if found or wrong else [SpiderError(path, f"{volume_or_series} image")]
        scans += found
        errors += wrong
    taken: dict[Path, Scan] = {}
    scans = _once(scans)
    for scan in scans:
        other = taken.setdefault(_stem(scan.mask), scan)
        if other is not scan:
            raise ScanError(
                f"{scan.path} and {other.path} would both be written to {scan.mask}; "
                "predict them one after the other with another --output-dir"
            )
    read = {scan.path.resolve() for scan in scans}
    possible = []
    for scan in scans:
        if scan.mask.resolve() in read:
            reason = f"its mask would replace {scan.mask}, which is a scan itself; take another --output-dir"
            errors.append(SpiderError(scan.path, reason))
        else:
            possible.append(scan)
    return possible, sorted(errors, key=lambda error: isinstance(error, (UnsuitableError, NotUsedError)))


def _once(scans: Sequence[Scan]) -> list[Scan]:
    """The scans without those that come again with the same mask, as a file and by its folder."""
    found: dict[tuple[Path, Path], Scan] = {}
    for scan in scans:
        key = (scan.path.absolute(), scan.mask.absolute())
        found[key] = replace(scan, named=scan.named or (key in found and found[key].named))
    return list(found.values())


def _in_folder(root: Path, output_dir: Path, suffix: str | None) -> tuple[list[Scan], list[SpiderError]]:
    errors: list[SpiderError] = []
    files = files_below(root, errors.append)
    if has_layout(root):
        masks = [path for path in files if path.relative_to(root).parts[0] == "masks"]
        files = [path for path in files if path not in set(masks)]
        if masks:
            beside = "images/" if (root / "images").is_dir() else "no images/"
            reason = f"is not read, because it holds masks by its name; there is {beside} beside it"
            errors.append(NotUsedError(root / "masks", reason))
    scans: list[Scan] = []
    written = output_dir.resolve()
    others: list[Path] = []
    for path in files:
        if ending_of(path, SCANS) is None:
            if ending_of(path, CONVERTIBLE):
                errors.append(NotUsedError(path, f"cannot be read; convert it to {EXPECTED}"))
            elif ending_of(path, NO_GEOMETRY):
                errors.append(NotUsedError(path, f"{_NO_GEOMETRY}; convert it to {EXPECTED}"))
            else:
                others.append(path)
        elif has_mask_mark(path):
            continue
        elif written != root.resolve() and written in path.resolve().parents:
            errors.append(NotUsedError(path, "is not read, because it lies in the output folder"))
        else:
            scans.append(_file(path, output_dir / _place(path.parent, root), suffix))
    series, wrong = _dicom(others, root, output_dir, suffix)
    return scans + series, errors + wrong


def _place(folder: Path, root: Path) -> Path:
    """The relative place of a folder, without the ``images/`` of SPIDER layout."""
    place = folder.relative_to(root)
    for images in (Path("images/images"), Path("images")):
        if has_layout(root) and place.is_relative_to(images):
            return place.relative_to(images)
    return place


def _file(path: Path, folder: Path, suffix: str | None, *, named: bool = False) -> Scan:
    # The reader reports names with another ending.
    suffix = suffix or (ending_of(path) or MASK_SUFFIX).lower()
    return Scan(path=path, mask=folder / f"{_stem(path).name}{MASK_STEM}{suffix}", named=named)


def _dicom(
    files: Sequence[Path],
    root: Path,
    output_dir: Path,
    suffix: str | None,
    *,
    named: bool = False,
) -> tuple[list[Scan], list[SpiderError]]:
    scans: list[Scan] = []
    taken: set[Path] = set()
    errors: list[SpiderError] = []
    for series in find_dicom(files, errors.append):
        folder = output_dir / _place(series.folder, root)
        stem = f"{series.folder.resolve().name}_{series.name}"
        # Two series may share a number and description, or have none.
        names = (f"{stem}{'' if number == 1 else f'-{number}'}" for number in count(1))
        mask = next(
            mask
            for name in names
            if (mask := folder / f"{name}{MASK_STEM}{suffix or MASK_SUFFIX}") not in taken
        )
        taken.add(mask)
        scans.append(Scan(path=series.folder / series.name, mask=mask, series=series, named=named))
    return scans, errors


def _stem(path: Path) -> Path:
    """The path without the suffix of a volume; one for ``a.mha`` and ``a.nii.gz``."""
    return path.with_name(path.name.removesuffix(ending_of(path, SCANS) or ""))


def _is_label_map(array: np.ndarray) -> bool:
    """Whether few values, all whole, are in an image and most of its voxels are 0, unlike in a scan."""
    if len(np.unique(array.ravel()[:: max(1, array.size // 10_000)])) > _MOST_LABELS:
        return False
    if np.count_nonzero(array) > array.size / 2 or (array != np.rint(array)).any():
        return False
    return len(np.unique(array)) <= _MOST_LABELS
