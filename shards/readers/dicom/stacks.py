"""Sorting frames into stacks: parallel slices of one patient and one contrast.

Identifiers are believed only as far as they can be: after anonymising they may be empty, equal for all
images, or another one for every slice. Frames of another patient, series number, description, contrast, grid
or orientation never share a stack. Whatever is then no single stack (two images at one place, one instance
number twice, distances that do not fit) is separated by the first of the remaining values that makes whole
stacks of it, the folder of the files last. An image is dropped as a copy only where identifier, place and
pixels are those of another one.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from os.path import commonpath
from pathlib import Path

import numpy as np

from synthspine.shards.readers.dicom.frames import Frame
from synthspine.shards.readers.dicom.pixels import frame_values
from synthspine.shards.readers.folder import SpiderError

SPACING_TOLERANCE = 0.1
"""Largest relative deviation of the distance of two neighbouring slices from the median."""
SHEAR_MM = 1.0
"""Largest shift in-plane of a slice against the first one."""
SAME_PLACE_MM = 0.01

_SAME_DIRECTION = 1e-3
_SAME_NUMBER = 0.01
_STATED_TOLERANCE = 0.5
_LEAST_SLICES = 3
_DEPTH = 2

Labels = list[Hashable]
Stack = list[Frame]


def find_stacks(
    frames: Sequence[Frame], on_error: Callable[[SpiderError], None], suits: Callable[[Stack], bool]
) -> Iterator[list[Stack]]:
    """Stacks of every series in frames of any number of files, the slices of each in their order.

    ``on_error`` is called where pixels that had to be compared cannot be read; the series is then left out.
    ``suits`` tells whether frames of one contrast and orientation are used, before their geometry is judged.
    """
    for patient in _by(frames, [frame.identity for frame in frames]):
        for series in _by_identifiers(patient):
            alike: list[Stack] = []
            for frame in series:
                known = next((stack for stack in alike if _of_one_kind(frame, stack[0])), None)
                if known is None:
                    alike.append([frame])
                else:
                    known.append(frame)
            parts: list[Stack] = []
            # By echo time first, so that the number of a part says something.
            for stack in sorted(
                filter(suits, alike), key=lambda stack: np.nan_to_num(stack[0].numbers).tolist()
            ):
                try:
                    parts += _parts(stack)
                except SpiderError as error:
                    on_error(error)
            yield [sorted(part, key=_depth) for part in parts]


def doubled(stack: Sequence[Frame]) -> tuple[Frame, Frame] | None:
    """Two frames at one position along the normal; None where there are none."""
    ordered = sorted(stack, key=_depth)
    pairs = pairwise(ordered)
    return next((pair for pair in pairs if pair[1].depth_mm - pair[0].depth_mm < SAME_PLACE_MM), None)


def repeated(stack: Sequence[Frame]) -> tuple[Frame, Frame] | None:
    """Two frames with one instance number, where these tell frames apart; None where there are none."""
    seen: dict[str, Frame] = {}
    pairs = [(seen.setdefault(frame.number, frame), frame) for frame in stack if frame.number]
    return next((pair for pair in pairs if pair[0] is not pair[1]), None) if len(seen) > 1 else None


def gaps_mm(stack: Sequence[Frame]) -> np.ndarray:
    """Distances of neighbouring slices, float64 ``(N - 1,)``."""
    return np.diff(sorted(frame.depth_mm for frame in stack))


def is_even(gaps: np.ndarray) -> bool:
    """Whether slices at these distances are evenly spaced."""
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    return bool((np.abs(gaps - usual) <= SPACING_TOLERANCE * usual).all())


def drift_mm(stack: Sequence[Frame]) -> float:
    """Largest shift in-plane of a slice against the first one."""
    return max(_shift_mm(frame, stack[0]) for frame in stack)


def stated_gap_mm(stack: Sequence[Frame]) -> float | None:
    """Distance of slices that the headers agree on; None where there is none."""
    stated = {frame.gap_mm for frame in stack}
    return stated.pop() if len(stated) == 1 else None


def _depth(frame: Frame) -> float:
    return frame.depth_mm


def _shift_mm(frame: Frame, other: Frame) -> float:
    offset = frame.origin - other.origin
    normal = other.direction[:, 2]
    return float(np.linalg.norm(offset - normal * (offset @ normal)))


def _of_one_kind(frame: Frame, other: Frame) -> bool:
    return (
        frame.size == other.size
        and frame.words == other.words
        and (frame.spacing_mm is None) == (other.spacing_mm is None)
        and np.allclose(frame.spacing_mm or 0, other.spacing_mm or 0, rtol=_SAME_DIRECTION, atol=0)
        and np.allclose(frame.direction, other.direction, atol=_SAME_DIRECTION)
        and np.allclose(frame.numbers, other.numbers, rtol=_SAME_NUMBER, equal_nan=True)
    )


def _by(frames: Sequence[Frame], labels: Sequence[Hashable]) -> list[Stack]:
    """Frames by label, in the order of the labels' first frames."""
    groups: dict[Hashable, Stack] = {}
    for frame, label in zip(frames, labels, strict=True):
        groups.setdefault(label, []).append(frame)
    return list(groups.values())


def _by_identifiers(frames: Stack) -> list[Stack]:
    """Frames by the identifiers that several places share; those with none or their own stay together."""
    groups = [frames]
    for place in range(len(frames[0].uids)):
        found = []
        for group in groups:
            parts = _by(group, [frame.uids[place] for frame in group])
            shared = [part for part in parts if _extends(part) and part[0].uids[place]]
            others = [frame for part in parts if not any(part is one for one in shared) for frame in part]
            if len(shared) == 1 and not any(frame.uids[place] for frame in others):
                shared, others = [group], []
            found += shared + ([others] if others else [])
        groups = found
    return groups


def _parts(frames: Stack) -> list[Stack]:
    stack = _without_copies(frames)
    if _is_sound(stack):
        return _interleaved(stack) or [stack]
    keys = _keys(stack)
    mixed = doubled(stack) is not None or repeated(stack) is not None or drift_mm(stack) > SHEAR_MM
    # A slice that is missing must not make two stacks of one.
    found = _split(
        stack, keys if mixed else keys[len(stack[0].parts) :], _DEPTH, 1 if mixed else _LEAST_SLICES
    )
    if found is None and doubled(stack) is not None:
        splits = (_by(stack, key(stack)) for key in keys)
        found = next(
            (parts for parts in splits if _is_split(stack, parts) and not any(map(doubled, parts))), None
        )
    return _without_copied_stacks(found or [stack])


def _interleaved(stack: Stack) -> list[Stack]:
    """Whole stacks of several folders that lie between one another; none where headers know better."""
    if stated_gap_mm(stack) is not None:
        return []
    for key in _folder_keys(stack):
        parts = _by(stack, key(stack))
        ends = sorted((min(map(_depth, part)), max(map(_depth, part))) for part in parts)
        if any(after[0] < before[1] for before, after in pairwise(ends)) and all(
            len(part) >= _LEAST_SLICES and _is_sound(part) for part in parts
        ):
            return parts
    return []


def _is_sound(stack: Stack) -> bool:
    """Whether frames look like one whole stack."""
    gaps = gaps_mm(stack)
    stated = stated_gap_mm(stack)
    fits = stated is None or not len(gaps) or abs(gaps.mean() / stated - 1) < _STATED_TOLERANCE / 2
    return (
        doubled(stack) is None
        and repeated(stack) is None
        and is_even(gaps)
        and fits
        and drift_mm(stack) <= SHEAR_MM
    )


def _extends(part: Stack) -> bool:
    return len({position_of(frame) for frame in part}) > 1


def _is_split(stack: Stack, parts: list[Stack]) -> bool:
    """Whether a label says something: it is neither common to all, nor another one for every slice."""
    return len(parts) > 1 and (not _extends(stack) or 2 * sum(map(_extends, parts)) >= len(parts))


def _split(
    stack: Stack, keys: Sequence[Callable[[Stack], Labels]], depth: int, least: int
) -> list[Stack] | None:
    """Sound stacks by the first labels that make them, up to ``depth`` after one another."""
    if len(stack) >= least and _is_sound(stack):
        return [stack]
    for place, key in enumerate(keys if depth else ()):
        parts = _by(stack, key(stack))
        if _is_split(stack, parts):
            found = [_split(part, keys[place + 1 :], depth - 1, least) for part in parts]
            if all(found):
                return [part for stacks in found if stacks for part in stacks]
    return None


def _keys(stack: Stack) -> list[Callable[[Stack], Labels]]:
    """What may separate the frames of a stack: a value of the header, the place, the folder."""
    keys: list[Callable[[Stack], Labels]] = [_of_part(place) for place in range(len(stack[0].parts))]
    first = stack[0]
    for values in ("uids", "times"):
        keys += [_of_values(values, place) for place in range(len(getattr(first, values)))]
    return [*keys, *_folder_keys(stack), _places]


def _folder_keys(stack: Stack) -> list[Callable[[Stack], Labels]]:
    """Folders of the files, from the outermost inward."""
    root = Path(commonpath([frame.path.parent for frame in stack]))
    below = max(len(frame.path.parent.relative_to(root).parts) for frame in stack)
    return [_of_folder(root, depth) for depth in range(1, below + 1)]


def _of_part(place: int) -> Callable[[Stack], Labels]:
    return lambda stack: [frame.parts[place] if place < len(frame.parts) else "" for frame in stack]


def _of_values(name: str, place: int) -> Callable[[Stack], Labels]:
    return lambda stack: [getattr(frame, name)[place] for frame in stack]


def _of_folder(root: Path, depth: int) -> Callable[[Stack], Labels]:
    return lambda stack: [frame.path.parent.relative_to(root).parts[:depth] for frame in stack]


def _places(stack: Stack) -> Labels:
    """Number of the place in-plane of every frame."""
    places: Stack = []
    labels: Labels = []
    for frame in stack:
        near = (number for number, place in enumerate(places) if _shift_mm(frame, place) <= SHEAR_MM)
        labels.append(next(near, len(places)))
        if labels[-1] == len(places):
            places.append(frame)
    return labels


def position_of(frame: Frame) -> tuple[int, ...]:
    """Position of a frame as whole numbers, by which equal ones are known."""
    return tuple(int(value) for value in np.round(frame.origin / SAME_PLACE_MM))


def _shown(frame: Frame) -> tuple[Hashable, ...]:
    """What a frame shows: place, identifier, and pixels."""
    return position_of(frame), frame.instance, sha256(frame_values([frame]).tobytes()).hexdigest()


def _without_copies(stack: Stack) -> Stack:
    """Frames without those that show again, under one identifier, what another one shows in the same place.

    Slices of one value alone look alike in all scans: they are copies only in one folder.
    """
    kept: Stack = []
    for group in _by(
        stack, [(position_of(frame), frame.instance, frame.parts, frame.number) for frame in stack]
    ):
        if len(group) == 1:
            kept += group
            continue
        seen = set()
        for frame in group:
            values = frame_values([frame])
            where = frame.path.parent if values.min() == values.max() else None
            label = (sha256(values.tobytes()).hexdigest(), where)
            if label not in seen:
                seen.add(label)
                kept.append(frame)
    return kept


def _without_copied_stacks(stacks: list[Stack]) -> list[Stack]:
    """Stacks without those that hold nothing but slices of another one, pixel for pixel."""
    kept: list[Stack] = []
    for stack in sorted(stacks, key=len, reverse=True):
        places = {position_of(frame) for frame in stack}
        rivals = [other for other in kept if places <= {position_of(frame) for frame in other}]
        shown = {_shown(frame) for frame in stack} if rivals else set()
        if not any(shown <= {_shown(frame) for frame in other} for other in rivals):
            kept.append(stack)
    return [stack for stack in stacks if any(stack is other for other in kept)]
