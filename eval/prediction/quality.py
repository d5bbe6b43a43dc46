"""Quality flags of a segmentation: reasons to check a mask or its scan by eye.

A flag does not prove that a mask is wrong, nor does its absence prove that it is right
(docs/evaluation.md has the measurements behind the bounds).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from synthspine.eval.labelling.roles import code_name
from synthspine.eval.prediction.pose import centre_mm, spine_pose
from synthspine.eval.prediction.volumes import StructureVolume, structure_volumes
from synthspine.eval.segmentation.presence import MOST_ENTROPY
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, SACRUM, disc_code, vertebra_code
from synthspine.gen.core.schemes import LabelScheme

FEWEST_VERTEBRAE = 4
CANAL_GAP_MM = 20.0
CODE_OF = {"vertebra": vertebra_code, "disc": disc_code}
SMALL_PART = {"vertebra": 0.4, "disc": 0.25}
LARGE_FACTOR = 1.8
STEP_RANGE = (0.6, 1.5)
DISTANCE_MM, DISC_DEPTH_MM, BODY_WIDTH_MM = (24.0, 48.0), (22.0, 46.0), (32.0, 54.0)
DISTANCE_TO_DEPTH = (0.8, 1.35)
LEAST_BEND = 0.15
WHOLE_SCAN_SLICES = 11
"""Fewer slices need not reach from one side of the bodies to the other."""
CUT_CANAL = 0.5
MOST_REMOVED = 0.1
THICK_MM = 6.0
COARSE_FACTOR = 1.5
MOST_TILT_DEGREES = 20.0


@dataclass(frozen=True, slots=True)
class Flag:
    """One reason to check a mask: the name of the check, for programs, and a sentence for people."""

    name: str
    reason: str


def quality_flags(
    codes: np.ndarray,
    spacing_mm: tuple[float, float, float],
    scheme: LabelScheme,
    *,
    slice_entropy: Sequence[float] = (),
    relative: bool = False,
    removed: float = 0.0,
    model_spacing_mm: float = 1.0,
    tilt_degrees: float = 0.0,
    scale: float | None = None,
) -> list[Flag]:
    """The flags of a mask, those of the whole scan first; empty where every check passes.

    Args:
        codes: dense codes of the mask, uint8, shape ``(Z, H, W)``, rows superior to inferior, columns
            anterior to posterior.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.
        scheme: label scheme of the model: its structures are expected.
        slice_entropy: mean structure entropy of every slice, nats; nothing where it is not known.
        relative: whether ranks count from the lowest vertebra in view.
        removed: share of the structures that was removed as islands.
        model_spacing_mm: pixel size of the model's training.
        tilt_degrees: angle of the slice axis to left-right.
        scale: factor of the pixel size with which the scan shows a spine more clearly; None where none does.
    """
    scan = _geometry(len(codes), spacing_mm, model_spacing_mm, tilt_degrees)
    if not (codes != BACKGROUND).any():
        missed = Flag("no_spine", "no spine found: nothing is labelled")
        return [*scan, missed, *_spacing([], spacing_mm, scale)]
    volumes = structure_volumes(codes, spacing_mm, scheme, relative=relative)
    return [
        *scan,
        *_certainty(codes, slice_entropy, removed),
        *_plausible(codes, spacing_mm, scale),
        *_missing(volumes, scheme, relative=relative),
        *_sizes(volumes),
        *_order(codes, volumes, spacing_mm[1:]),
        *_canal(codes, spacing_mm[1]),
        *_border(codes),
    ]


def _row(volumes: Sequence[StructureVolume], role: str) -> list[tuple[int, StructureVolume]]:
    """Ranks and volumes of the vertebrae (their bodies, where these are apart) or discs, upward."""
    return [(volume.rank, volume) for volume in volumes if volume.role == role and volume.rank is not None]


def _geometry(
    slices: int, spacing_mm: tuple[float, float, float], model_spacing_mm: float, tilt_degrees: float
) -> Iterator[Flag]:
    across, *in_plane = spacing_mm
    if across > THICK_MM:
        yield Flag("thick_slices", f"slices lie {across:.1f} mm apart (more than {THICK_MM:g} mm)")
    if max(in_plane) > COARSE_FACTOR * model_spacing_mm:
        learned = f"the model learned at {model_spacing_mm:g} mm"
        yield Flag("coarse_pixels", f"pixels of {max(in_plane):.2f} mm; {learned}")
    if tilt_degrees > MOST_TILT_DEGREES:
        reason = f"slices are turned {tilt_degrees:.0f} degrees off the sagittal plane"
        yield Flag("oblique", reason)
    if slices == 1:
        yield Flag("one_slice", "the scan is one slice; volumes are its areas times the slice distance")


def _certainty(codes: np.ndarray, slice_entropy: Sequence[float], removed: float) -> Iterator[Flag]:
    """Slices beside the canal are less certain in good masks too."""
    shows_canal = (codes == CANAL).any(axis=(1, 2))
    shown = shows_canal if shows_canal.any() else (codes != BACKGROUND).any(axis=(1, 2))
    bad = [index for index, entropy in enumerate(slice_entropy) if shown[index] and entropy > MOST_ENTROPY]
    if bad:
        numbers = ", ".join(str(index + 1) for index in bad)
        reason = f"mean entropy above {MOST_ENTROPY} nats, unlike the training data, in slice {numbers}"
        yield Flag("uncertain", reason)
    if removed > MOST_REMOVED:
        yield Flag("scattered", f"{removed:.0%} of the structures was removed as small islands")


def _plausible(
    codes: np.ndarray, spacing_mm: tuple[float, float, float], scale: float | None
) -> Iterator[Flag]:
    """Orientation and voxel size of the scan, judged by the spine that was found."""
    pose = spine_pose(codes, spacing_mm)
    upper, lower = pose.slopes or (0.0, 0.0)
    if pose.canal_in_front or lower - upper < -LEAST_BEND:
        reason = "the canal lies in front of the discs, or the spine bends backward in its middle"
        yield Flag("check_orientation", f"{reason}: are front and back exchanged?")
    elif lower - upper > LEAST_BEND and lower + upper < -LEAST_BEND:
        reason = "the canal turns backward at its upper end, as it does in front of the sacrum"
        yield Flag("check_orientation", f"{reason}: are up and down exchanged?")
    usual = [
        ("neighbouring discs are {:.0f} mm apart", pose.distance_mm, DISTANCE_MM),
        ("discs are {:.0f} mm deep", pose.depth_mm, DISC_DEPTH_MM),
    ]
    if pose.distance_mm is not None and pose.depth_mm:
        ratio = pose.distance_mm / pose.depth_mm
        usual.append(("the distance of discs is {:.2g} times their depth", ratio, DISTANCE_TO_DEPTH))
    _, high = BODY_WIDTH_MM
    if len(codes) >= WHOLE_SCAN_SLICES or pose.width_mm > high:
        usual.append(("bodies are {:.0f} mm wide", pose.width_mm, BODY_WIDTH_MM))
    wrong = [
        f"{text.format(value)}, {low:g} to {high:g} is usual"
        for text, value, (low, high) in usual
        if value is not None and not low <= value <= high
    ]
    yield from _spacing(wrong, spacing_mm, scale)


def _spacing(
    wrong: Sequence[str], spacing_mm: tuple[float, float, float], scale: float | None
) -> Iterator[Flag]:
    if scale is not None:
        pixel, other = (" x ".join(f"{value * by:.2f}" for value in spacing_mm[1:]) for by in (1, scale))
        wrong = [*wrong, f"with pixels of {other} mm, not {pixel} mm, it shows a spine more clearly"]
    if wrong:
        yield Flag("check_spacing", f"{'; '.join(wrong)}: is the spacing of the scan right?")


def _missing(volumes: Sequence[StructureVolume], scheme: LabelScheme, *, relative: bool) -> Iterator[Flag]:
    ranks = {role: [rank for rank, _ in _row(volumes, role)] for role in CODE_OF}
    vertebrae = ranks["vertebra"]
    found = {volume.structure for volume in volumes}
    for name in scheme.structure_names:
        if name not in found:
            yield Flag(f"no_{name}", f"no {name} was found")
    if 0 < len(vertebrae) < FEWEST_VERTEBRAE:
        usual = f"a lumbar scan shows {FEWEST_VERTEBRAE} or more"
        yield Flag("few_vertebrae", f"only {len(vertebrae)} vertebrae were found; {usual}")
    if relative:
        reason = "no sacrum in view: names are counted from the lowest vertebra in view, which may not be L5"
        yield Flag("lowest_in_view", reason)
    lowest, highest = (min(vertebrae), max(vertebrae)) if vertebrae else (1, 0)
    for name, code_of in CODE_OF.items():
        lost = [rank for rank in range(lowest, highest + 1) if rank not in ranks[name]]
        if lost and ranks[name]:
            names = ", ".join(code_name(code_of(rank), relative=relative) for rank in lost)
            sacrum = (name, lost[0]) == ("disc", lowest)
            hint = "; is the lowest vertebra a part of the sacrum?" if sacrum else ""
            yield Flag(f"missing_{name}", f"in the row of {name}s {names} is missing{hint}")


def _sizes(volumes: Sequence[StructureVolume]) -> Iterator[Flag]:
    for role, part in SMALL_PART.items():
        own = [volume for _, volume in _row(volumes, role)]
        median = float(np.median([volume.volume_ml for volume in own])) if own else 0.0
        # The uppermost one is often cut off by the upper border.
        small = [volume for volume in own[:-1] if volume.volume_ml < part * median]
        large = [volume for volume in own if volume.volume_ml > LARGE_FACTOR * median]
        for name, wrong, bound in (
            ("small", small, f"less than {part:g}"),
            ("large", large, f"more than {LARGE_FACTOR:g}"),
        ):
            if wrong and (name == "small" or role == "vertebra"):
                sizes = ", ".join(f"{volume.name} {volume.volume_ml:.2g} ml" for volume in wrong)
                reason = f"{sizes}: {bound} of the median {role} ({median:.2g} ml)"
                yield Flag(f"{name}_{role}", reason)


def _order(
    codes: np.ndarray, volumes: Sequence[StructureVolume], in_plane_mm: tuple[float, float]
) -> Iterator[Flag]:
    for role, code_of in CODE_OF.items():
        ranks = [rank for rank, _ in _row(volumes, role)]
        places = {rank: centre_mm(codes == code_of(rank), in_plane_mm) for rank in ranks}
        pairs = list(pairwise(ranks))
        name = {rank: volume.name for rank, volume in _row(volumes, role)}
        wrong = [
            f"{name[high]} below {name[low]}" for low, high in pairs if places[high][0] >= places[low][0]
        ]
        if wrong:
            yield Flag(f"order_{role}", f"{role}: {', '.join(wrong)}")
            continue
        steps = [float(np.hypot(*(places[high] - places[low]))) / (high - low) for low, high in pairs]
        median = float(np.median(steps)) if steps else 0.0
        # What the upper border cuts off has its centre nearer.
        uneven = [
            f"{name[low]} to {name[high]} {step:.0f} mm"
            for (low, high), step in zip(pairs, steps, strict=True)
            if step > STEP_RANGE[1] * median or (step < STEP_RANGE[0] * median and high != ranks[-1])
        ]
        if uneven:
            yield Flag(f"uneven_{role}", f"{', '.join(uneven)} a level, where {median:.0f} mm is usual")


def _canal(codes: np.ndarray, row_mm: float) -> Iterator[Flag]:
    canal = codes == CANAL
    rows = np.flatnonzero(canal.any(axis=(0, 2)))
    gap_mm = float((np.diff(rows).max(initial=1) - 1) * row_mm)
    if gap_mm > CANAL_GAP_MM:
        yield Flag("canal_interrupted", f"the canal is interrupted over {gap_mm:.0f} mm")
    areas = canal.sum(axis=(1, 2))
    if len(canal) > 1 and max(areas[0], areas[-1]) > CUT_CANAL * areas.max() > 0:
        yield Flag("canal_cut", "the canal reaches the outermost slice: a part of it lies beside the scan")


def _border(codes: np.ndarray) -> Iterator[Flag]:
    found = (codes != BACKGROUND) & (codes != SACRUM)  # the sacrum often goes on below the scan
    sides = {"lower": found[:, -1], "front": found[:, :, 0], "back": found[:, :, -1]}
    touched = [name for name, side in sides.items() if side.any()]
    if touched:
        yield Flag("touches_border", f"structures touch the {' and '.join(touched)} border of the image")
