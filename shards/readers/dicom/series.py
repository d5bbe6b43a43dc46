"""Finding the series of some files, and reading each as one volume.

Nothing that identifies the patient is kept or written: it is only compared, so that no two are mixed.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path

import numpy as np

from synthspine.shards.readers.dicom.frames import Frame, read_frames
from synthspine.shards.readers.dicom.pixels import frame_values
from synthspine.shards.readers.dicom.stacks import (
    SHEAR_MM,
    doubled,
    drift_mm,
    find_stacks,
    gaps_mm,
    is_even,
    position_of,
    repeated,
    stated_gap_mm,
)
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import COS_45, OVERRIDE, UnsuitableError, Volume, image_volume
from synthspine.shards.volumes.stored import Stored, checked_direction

MOST_AT_ONE_PLACE = 4
"""Images of one contrast at one place above which a series is one over time, or of many directions."""
_MISSING = 1.5
_MOST_RATIO = 2.0
"""Distance of slices, in pixels, up to which other slices than sagittal ones can be cut into these."""
_ROUNDING = 0.02


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DicomSeries:
    """One stack of parallel slices.

    Attributes:
        name: number and description of the series, usable as a file name.
        folder: the common folder of its files.
        frames: its slices in their order.
    """

    name: str
    folder: Path
    frames: tuple[Frame, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files in the order of the slices; one of many frames stands once."""
        return tuple(dict.fromkeys(frame.path for frame in self.frames))

    @property
    def uid(self) -> str:
        """Its SeriesInstanceUID; empty where its slices have none in common."""
        found = {frame.series_uid for frame in self.frames}
        return found.pop() if len(found) == 1 else ""

    @property
    def description(self) -> str:
        """Its SeriesDescription."""
        return self.frames[0].identity[-1]

    def facts(self) -> dict[str, str | int]:
        """What a report says of it, by the names of DICOM, and the number of files."""
        return {
            "SeriesInstanceUID": self.uid,
            "SeriesDescription": self.description,
            "files": len(self.files),
        }


def find_dicom(files: Iterable[Path], on_error: Callable[[SpiderError], None]) -> list[DicomSeries]:
    """The series of some files, sorted by folder and name; files that are no DICOM images are skipped.

    ``on_error`` is called with each image or series that cannot be used; with ``UnsuitableError`` if it is
    valid, but no sagittal MRI of a spine with a position in the patient. Images of one folder that are left
    out for one reason are told as one.
    """
    frames: list[Frame] = []
    left_out: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(files):
        try:
            frames += read_frames(path)
        except UnsuitableError as error:
            left_out.setdefault((path.parent, error.reason), []).append(path)
        except SpiderError as error:
            on_error(error)
    for (_, reason), paths in left_out.items():
        more = f" (and {len(paths) - 1} more images beside it)" if len(paths) > 1 else ""
        on_error(UnsuitableError(paths[0], f"{reason}{more}"))

    def suits(stack: Sequence[Frame]) -> bool:
        if reason := _why_unsuitable(stack):
            on_error(UnsuitableError(_folder(stack) / (_name(stack, 0) or "series"), reason))
        return not reason

    found = []
    for stacks in find_stacks(frames, on_error, suits):
        for number, stack in enumerate(stacks, 1):
            try:
                found.append(_series(stack, number if len(stacks) > 1 else 0, stacks))
            except SpiderError as error:
                on_error(error)
    return sorted(found, key=lambda series: (series.folder, series.name, series.files))


def read_dicom(series: DicomSeries, spacing_mm: tuple[float, float, float] | None = None) -> Volume:
    """The volume of a series: float32 intensities after the scanner's rescaling.

    ``spacing_mm`` along ``Z``, ``H``, ``W`` of the volume is taken in place of that of the headers.

    Raises:
        SpiderError: unreadable, missing or unevenly spaced slices, no spacing, not sagittal, not finite, or
            without contrast.
    """
    place = series.folder / series.name
    first = series.frames[0]
    gap = _gap(series.frames, place)
    if spacing_mm is not None:
        across, rows, columns = spacing_mm
        # The volume's rows run along the spine, those of the slices may run across it.
        lies_across = abs(first.direction[2, 0]) > abs(first.direction[2, 1])
        gap, in_plane = across, (columns, rows) if lies_across else (rows, columns)
    elif first.spacing_mm is None:
        raise SpiderError(first.path, f"{first.no_spacing}; {OVERRIDE}")
    else:
        in_plane = first.spacing_mm
    if gap is None:
        reason = "is one slice without the distance to the next one (SpacingBetweenSlices)"
        raise SpiderError(first.path, f"{reason}; {OVERRIDE}")
    x, y, z = first.origin.tolist()
    stored = Stored(
        values=frame_values(series.frames),
        spacing_mm=(in_plane[1], in_plane[0], gap),
        direction=checked_direction(first.direction),
        origin_mm=(x, y, z),
    )
    return image_volume(stored, place)


def _series(stack: Sequence[Frame], number: int, stacks: Sequence[Sequence[Frame]]) -> DicomSeries:
    name, folder = _name(stack, number), _folder(stack)
    if pair := doubled(stack):
        found = f"holds several images at one position ({_names(pair)})"
        raise SpiderError(folder / name, f"{found}, and no tag separates them")
    if pair := repeated(stack):
        found = f"holds two images with the instance number {pair[0].number} ({_names(pair)})"
        raise SpiderError(folder / name, f"{found}, and no tag separates them; one series is needed")
    if most := _places_elsewhere(stack, stacks):
        found = f"holds {len(stack)} slices where another part of the same file holds {most}"
        raise SpiderError(folder / name, f"{found} (are frames missing?)")
    return DicomSeries(name=name or "series", folder=folder, frames=tuple(stack))


def _name(stack: Sequence[Frame], number: int) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{stack[0].name} {number or ''}").strip("-")


def _folder(stack: Sequence[Frame]) -> Path:
    return Path(commonpath([frame.path.parent for frame in stack]))


def _why_unsuitable(stack: Sequence[Frame]) -> str | None:
    """Why frames of one contrast and orientation are left out; None where they may be a sagittal series."""
    normal = np.abs(stack[0].direction[:, 2])
    if normal[0] < COS_45:
        plane = ("sagittal", "coronal", "axial")[int(normal.argmax())]
        depths = np.unique(np.round([frame.depth_mm for frame in stack], 2))
        gap = float(np.median(np.diff(depths))) if len(depths) > 1 else stack[0].gap_mm
        pixel = min(stack[0].spacing_mm or (0.0,))
        if gap is None or gap > _MOST_RATIO * pixel:
            apart = "" if gap is None else f" {gap:.1f} mm apart"
            return f"shows {plane} slices{apart}; sagittal slices are needed"
    # Copies have one identifier; without any nothing can be told.
    images = {(position_of(frame), frame.instance, frame.index) for frame in stack if frame.instance}
    most = max(Counter(place for place, *_ in images).values(), default=0)
    if most > MOST_AT_ONE_PLACE:
        return f"holds {most} images at one place, as series over time or of diffusion do (4D)"
    return None


def _places_elsewhere(stack: Sequence[Frame], stacks: Sequence[Sequence[Frame]]) -> int:
    """Slices of an echo or time of the same file that has all places of this one and more; 0 for none."""
    places, files = {position_of(frame) for frame in stack}, {frame.path for frame in stack}
    more = [
        len(other)
        for other in stacks
        if files == {frame.path for frame in other} and places < {position_of(frame) for frame in other}
    ]
    return max(more, default=0) if len(files) == 1 else 0


def _names(pair: Sequence[Frame]) -> str:
    """Files of two frames, or their numbers in one file."""
    first, second = pair
    if first.path == second.path:
        return f"frames {first.index + 1} and {second.index + 1} of {first.path.name}"
    return f"{first.path.name} and {second.path.name}"


def _gap(frames: Sequence[Frame], place: Path) -> float | None:
    """Distance of neighbouring slices, mm; None where it is not known.

    Raises:
        SpiderError: slices that make no straight, even stack.
    """
    stated = stated_gap_mm(frames)
    if len(frames) == 1:
        return stated
    gaps = gaps_mm(frames)
    if not is_even(gaps):
        widest = int(gaps.argmax())
        found = f"slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart"
        where = f"between {_names(frames[widest : widest + 2])}"
        reason = f"{found}; evenly spaced ones are needed (is a file missing, {where}?)"
        raise SpiderError(place, reason)
    if drift_mm(frames) > SHEAR_MM:
        raise SpiderError(place, "slices are shifted in-plane against each other; a straight stack is needed")
    _check_complete(frames, float(gaps.mean()), place)
    return float(gaps.mean())


def _check_complete(frames: Sequence[Frame], gap: float, place: Path) -> None:
    """Raise SpiderError for evenly spaced slices that the headers tell to be every second one, or a part."""
    stated, thickness = stated_gap_mm(frames), frames[0].thickness_mm
    if stated is not None:
        # A stated distance below the slices' thickness may be the space between two of them.
        doubled_gap = abs(gap / stated - 2) < _ROUNDING
        missing = doubled_gap if thickness is None else stated > 0.95 * thickness and gap > _MISSING * stated
        if missing:
            found = f"slices lie {gap:.2f} mm apart, but {stated:.2f} mm according to their headers"
            raise SpiderError(place, f"{found} (are files missing?)")
    numbers = [frame.place_in_stack for frame in frames if frame.place_in_stack is not None]
    steps = np.abs(np.diff(numbers))
    if len(numbers) < len(frames) or steps.min() == 0 or np.ptp(steps) > 0:
        # Numbers that do not follow the positions say nothing.
        return
    if steps[0] > 1 or min(numbers) > 1:
        found = f"slices {numbers[0]} to {numbers[-1]} of a stack, {len(numbers)} in all"
        raise SpiderError(place, f"holds {found}; every slice from 1 is needed (are frames missing?)")
