"""Which scans the arguments of a prediction mean, and where their masks go."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from synthspine.shards.readers.dicom import DicomSeries, find_dicom, read_dicom
from synthspine.shards.readers.folder import SUFFIXES, SpiderError, has_layout, image_stem
from synthspine.shards.readers.spider import UnsuitableError, Volume, read_image

MASK_STEM = "_seg"
DICOM_MASK_SUFFIX = ".mha"


class ScanError(ValueError):
    """The scans that were asked for cannot be predicted; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """One scan and the place of its mask.

    Attributes:
        path: its file; of a DICOM series its folder and name.
        mask: the file of its mask.
        series: the DICOM series, None for a file.
        named: whether the user named it, rather than a folder that it lies in.
    """

    path: Path
    mask: Path
    series: DicomSeries | None = None
    named: bool = False

    def beside(self, suffix: str) -> Path:
        """The file of that suffix that goes with the mask."""
        stem = _stem(self.mask)
        return stem.with_name(stem.name + suffix)

    def read(self) -> Volume:
        """The volume.

        Raises:
            SpiderError: it cannot be read; ``UnsuitableError`` where it is no sagittal series.
        """
        return read_image(self.path) if self.series is None else read_dicom(self.series)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundScans:
    """What was found.

    Attributes:
        scans: the scans, in the order of the arguments.
        broken: what looks like a scan, but is none that can be read.
        unsuitable: images in folders that are no MRI of a patient in sagittal slices.
    """

    scans: tuple[Scan, ...]
    broken: tuple[SpiderError, ...]
    unsuitable: tuple[UnsuitableError, ...]


def find_scans(inputs: Sequence[Path], output_dir: Path) -> FoundScans:
    """The scans of files and folders.

    A file means itself. A folder means every ``.mha`` and ``.nii.gz`` volume and every DICOM series in it and
    in its folders; of a folder in SPIDER layout its ``images/`` alone. Hidden files, masks of this program
    (``*_seg``) and the output folder are passed over. Masks keep the place that their scan has in its folder:
    ``{output_dir}/{place}/{stem}_seg.mha``; those of a DICOM series are called after its folder and itself.

    Raises:
        ScanError: two masks would get one name.
    """
    scans: list[Scan] = []
    errors: list[SpiderError] = []
    for path in inputs:
        if path.is_dir():
            found, wrong = _in_folder(path, output_dir)
            if not found and not wrong:
                wrong = [SpiderError(path, f"no {' or '.join(SUFFIXES)} volume and no DICOM series in it")]
            scans += found
            errors += wrong
        elif path.name.endswith(SUFFIXES) or not path.is_file():
            scans.append(_file(path, output_dir, named=True))
        else:
            found, wrong = _dicom([path], path.parent, output_dir, named=True)
            if not found and not wrong:
                wrong = [SpiderError(path, f"no {' or '.join(SUFFIXES)} volume and no DICOM image")]
            scans += found
            errors += [SpiderError(error.path, error.reason) for error in wrong]
    _check_places(scans)
    return FoundScans(
        scans=tuple(scans),
        broken=tuple(error for error in errors if not isinstance(error, UnsuitableError)),
        unsuitable=tuple(error for error in errors if isinstance(error, UnsuitableError)),
    )


def _in_folder(folder: Path, output_dir: Path) -> tuple[list[Scan], list[SpiderError]]:
    root = folder
    if has_layout(folder):
        root = folder / "images"
        root = root / "images" if (root / "images").is_dir() else root
        if not root.is_dir():
            return [], [SpiderError(folder, "holds masks/ but no images/")]
    files = list(_visible(root, output_dir.resolve()))
    volumes = [path for path in files if path.name.endswith(SUFFIXES)]
    scans = [
        _file(path, output_dir / path.parent.relative_to(root))
        for path in volumes
        if not image_stem(path).endswith(MASK_STEM)
    ]
    series, errors = _dicom([path for path in files if not path.name.endswith(SUFFIXES)], root, output_dir)
    return scans + series, errors


def _visible(root: Path, output_dir: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if hidden or not path.is_file() or output_dir in path.resolve().parents:
            continue
        yield path


def _file(path: Path, folder: Path, *, named: bool = False) -> Scan:
    # Of a name with another ending the reader tells what is wrong.
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), "")
    stem = path.name.removesuffix(suffix)
    return Scan(path=path, mask=folder / f"{stem}{MASK_STEM}{suffix}", named=named)


def _dicom(
    files: Iterable[Path], root: Path, output_dir: Path, *, named: bool = False
) -> tuple[list[Scan], list[SpiderError]]:
    errors: list[SpiderError] = []
    scans: list[Scan] = []
    taken: set[Path] = set()
    for series in find_dicom(files, errors.append):
        folder = output_dir / series.folder.relative_to(root)
        stem = f"{series.folder.resolve().name}_{series.name}"
        # Two series may have one number and description, or none.
        names = (f"{stem}{'' if number == 1 else f'-{number}'}" for number in count(1))
        mask = next(
            mask for name in names if (mask := folder / f"{name}{MASK_STEM}{DICOM_MASK_SUFFIX}") not in taken
        )
        taken.add(mask)
        scans.append(Scan(path=series.folder / series.name, mask=mask, series=series, named=named))
    return scans, errors


def _check_places(scans: Sequence[Scan]) -> None:
    taken: dict[Path, Scan] = {}
    for scan in scans:
        other = taken.setdefault(_stem(scan.mask), scan)
        if other is not scan:
            raise ScanError(
                f"{scan.path} and {other.path} would both be written to {scan.mask}; "
                "predict them one after the other with another --output-dir"
            )


def _stem(mask: Path) -> Path:
    # Masks of a.mha and a.nii.gz have two names, but the tables beside them would have one.
    suffix = next((suffix for suffix in SUFFIXES if mask.name.endswith(suffix)), "")
    return mask.with_name(mask.name.removesuffix(suffix))
