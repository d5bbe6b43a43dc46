"""Scans found in files and folders, and the files of their masks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from synthspine.shards.readers.dicom import DicomSeries, find_dicom, read_dicom
from synthspine.shards.readers.folder import (
    NO_TEXT,
    NotUsedError,
    SpiderError,
    files_below,
    has_layout,
    image_stem,
    printable,
)
from synthspine.shards.readers.spider import UnsuitableError, Volume, read_image
from synthspine.shards.volumes.files import CONVERTIBLE, EXPECTED, ending_of

MASK_STEM = "_seg"
DICOM_MASK_SUFFIX = ".mha"


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

    def read(self) -> Volume:
        """The volume.

        Raises:
            SpiderError: it cannot be read; ``UnsuitableError`` where it is not a sagittal series.
        """
        if self.series is None:
            return read_image(self.path, self.spacing_mm)
        return read_dicom(self.series, self.spacing_mm)


def find_scans(inputs: Sequence[Path], output_dir: Path) -> tuple[list[Scan], list[SpiderError]]:
    """The scans of files and folders.

    A folder contributes every ``.mha`` and ``.nii.gz`` volume and every DICOM series in it and below it; a
    folder in SPIDER layout only its ``images/``. Hidden files, masks of this program (``*_seg``) and the
    output folder are skipped. Masks keep the relative path of their scan:
    ``{output_dir}/{path}/{stem}_seg.mha``; masks of a DICOM series are named after its folder and the series.

    Returns:
        Scans in the order of the arguments; errors, ``UnsuitableError`` (not sagittal MRI) last.

    Raises:
        ScanError: two masks would get one name.
    """
    scans: list[Scan] = []
    errors: list[SpiderError] = []
    volume_or_series = f"no {EXPECTED} volume and no DICOM"
    for path in inputs:
        if printable(path) != str(path):
            errors.append(SpiderError(path, NO_TEXT))
            continue
        if path.is_dir():
            found, wrong = _in_folder(path, output_dir)
            nothing = f"{volume_or_series} series in it"
        elif ending_of(path) or not path.is_file():
            found, wrong = [_file(path, output_dir, named=True)], []
            nothing = ""
        else:
            found, unsuitable = _dicom([path], path.parent, output_dir, named=True)
            wrong = [SpiderError(error.path, error.reason) for error in unsuitable]
            nothing = f"{volume_or_series} image"
        scans += found
        errors += wrong if found or wrong else [SpiderError(path, nothing)]
    taken: dict[Path, Scan] = {}
    for scan in scans:
        other = taken.setdefault(_stem(scan.mask), scan)
        if other is not scan:
            raise ScanError(
                f"{scan.path} and {other.path} would both be written to {scan.mask}; "
                "predict them one after the other with another --output-dir"
            )
    return scans, sorted(errors, key=lambda error: isinstance(error, UnsuitableError))


def _in_folder(folder: Path, output_dir: Path) -> tuple[list[Scan], list[SpiderError]]:
    root = folder
    if has_layout(folder):
        root = folder / "images"
        root = root / "images" if (root / "images").is_dir() else root
        if not root.is_dir():
            return [], [SpiderError(folder, "holds masks/ but no images/")]
    written = output_dir.resolve()
    told: list[SpiderError] = []
    files = [path for path in files_below(root, told.append) if written not in path.resolve().parents]
    told += [
        UnsuitableError(path, f"cannot be read; convert it to {EXPECTED}")
        for path in files
        if not ending_of(path) and ending_of(path, CONVERTIBLE)
    ]
    volumes = [path for path in files if ending_of(path)]
    scans = [
        _file(path, output_dir / path.parent.relative_to(root))
        for path in volumes
        if not image_stem(path).endswith(MASK_STEM)
    ]
    series, errors = _dicom([path for path in files if not ending_of(path)], root, output_dir)
    skipped = [
        UnsuitableError(error.path, error.reason) if isinstance(error, NotUsedError) else error
        for error in told
    ]
    return scans + series, errors + skipped


def _file(path: Path, folder: Path, *, named: bool = False) -> Scan:
    # The reader reports names with another ending.
    stem = _stem(path)
    suffix = path.name.removeprefix(stem.name).lower()
    return Scan(path=path, mask=folder / f"{stem.name}{MASK_STEM}{suffix}", named=named)


def _dicom(
    files: Iterable[Path], root: Path, output_dir: Path, *, named: bool = False
) -> tuple[list[Scan], list[SpiderError]]:
    errors: list[SpiderError] = []
    scans: list[Scan] = []
    taken: set[Path] = set()
    for series in find_dicom(files, errors.append):
        folder = output_dir / series.folder.relative_to(root)
        stem = f"{series.folder.resolve().name}_{series.name}"
        # Two series may share a number and description, or have none.
        names = (f"{stem}{'' if number == 1 else f'-{number}'}" for number in count(1))
        mask = next(
            mask for name in names if (mask := folder / f"{name}{MASK_STEM}{DICOM_MASK_SUFFIX}") not in taken
        )
        taken.add(mask)
        scans.append(Scan(path=series.folder / series.name, mask=mask, series=series, named=named))
    return scans, errors


def _stem(path: Path) -> Path:
    """The path without the suffix of a volume; one for ``a.mha`` and ``a.nii``."""
    return path.with_name(path.name.removesuffix(ending_of(path) or ""))
