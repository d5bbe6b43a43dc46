"""Quality flags of a segmentation: reasons to check a mask or its scan by eye.

A flag does not prove that a mask is wrong, nor does its absence prove that it is right
(docs/evaluation.md has the measurements behind the bounds).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from synthspine.eval.labelling.roles import code_name
from synthspine.eval.prediction.volumes import StructureVolume, structure_volumes
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, disc_code, vertebra_code
from synthspine.gen.core.schemes import LabelScheme

FEWEST_VERTEBRAE = 4
CANAL_GAP_MM = 20.0
CODE_OF = {"vertebra": vertebra_code, "disc": disc_code}
SMALL_PART = {"vertebra": 0.4, "disc": 0.25}
MOST_ENTROPY = 0.35
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
    entropy: float = float("nan"),
    removed: float = 0.0,
    model_spacing_mm: float = 1.0,
    tilt_degrees: float = 0.0,
) -> list[Flag]:
    """The flags of a mask, those of the whole scan first; empty where every check passes.

    Args:
        codes: dense codes of the mask, uint8, shape ``(Z, H, W)``, rows superior to inferior, columns
            anterior to posterior.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.
        scheme: label scheme of the model: its structures are expected.
        entropy: mean structure entropy, nats; nan where it is not known.
        removed: share of the structures that was removed as islands.
        model_spacing_mm: pixel size of the model's training.
        tilt_degrees: angle of the slice axis to left-right.
    """
    volumes = structure_volumes(codes, spacing_mm, scheme)
    return [
        *_geometry(len(codes), spacing_mm, model_spacing_mm, tilt_degrees),
        *_certainty(entropy, removed),
        *_missing(volumes, scheme),
        *_small(volumes),
        *_order(codes, volumes),
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


def _certainty(entropy: float, removed: float) -> Iterator[Flag]:
    if entropy > MOST_ENTROPY:
        bound = f"above {MOST_ENTROPY}: unlike the training data"
        yield Flag("uncertain", f"mean entropy {entropy:.2f} nats, {bound}")
    if removed > MOST_REMOVED:
        yield Flag("scattered", f"{removed:.0%} of the structures was removed as small islands")


def _missing(volumes: Sequence[StructureVolume], scheme: LabelScheme) -> Iterator[Flag]:
    ranks = {role: [rank for rank, _ in _row(volumes, role)] for role in CODE_OF}
    vertebrae = ranks["vertebra"]
    found = {volume.structure for volume in volumes}
    for name in scheme.structure_names:
        if name not in found:
            yield Flag(f"no_{name}", f"no {name} was found")
    if 0 < len(vertebrae) < FEWEST_VERTEBRAE:
        usual = f"a lumbar scan shows {FEWEST_VERTEBRAE} or more"
        yield Flag("few_vertebrae", f"only {len(vertebrae)} vertebrae were found; {usual}")
    lowest, highest = (min(vertebrae), max(vertebrae)) if vertebrae else (1, 0)
    for name, code_of in CODE_OF.items():
        lost = [rank for rank in range(lowest, highest + 1) if rank not in ranks[name]]
        if lost and ranks[name]:
            names = ", ".join(code_name(code_of(rank)) for rank in lost)
            sacrum = (name, lost[0]) == ("disc", lowest)
            hint = "; is the lowest vertebra a part of the sacrum?" if sacrum else ""
            yield Flag(f"missing_{name}", f"in the row of {name}s {names} is missing{hint}")


def _small(volumes: Sequence[StructureVolume]) -> Iterator[Flag]:
    for role, part in SMALL_PART.items():
        own = [volume for _, volume in _row(volumes, role)]
        median = float(np.median([volume.volume_ml for volume in own])) if own else 0.0
        # The uppermost one is often cut off by the upper border.
        small = [volume for volume in own[:-1] if volume.volume_ml < part * median]
        if small:
            sizes = ", ".join(f"{volume.name} {volume.volume_ml:.2g} ml" for volume in small)
            reason = f"{sizes}: less than {part:g} of the median {role} ({median:.2g} ml)"
            yield Flag(f"small_{role}", reason)


def _order(codes: np.ndarray, volumes: Sequence[StructureVolume]) -> Iterator[Flag]:
    for role, code_of in CODE_OF.items():
        own = [code_of(rank) for rank, _ in _row(volumes, role)]
        heights = [(code_name(code), _mean_row(codes == code)) for code in own]
        wrong = [f"{upper} below {lower}" for (lower, low), (upper, high) in pairwise(heights) if high >= low]
        if wrong:
            yield Flag(f"order_{role}", f"{role}: {', '.join(wrong)}")


def _canal(codes: np.ndarray, row_mm: float) -> Iterator[Flag]:
    canal = codes == CANAL
    rows = np.flatnonzero(canal.any(axis=(0, 2)))
    gap_mm = float((np.diff(rows).max(initial=1) - 1) * row_mm)
    if gap_mm > CANAL_GAP_MM:
        yield Flag("canal_interrupted", f"the canal is interrupted over {gap_mm:.0f} mm")
    if len(canal) > 1 and (canal[0].any() or canal[-1].any()):
        yield Flag("canal_cut", "the canal reaches the outermost slice: a part of it lies beside the scan")


def _border(codes: np.ndarray) -> Iterator[Flag]:
    found = codes != BACKGROUND
    sides = {"lower": found[:, -1], "front": found[:, :, 0], "back": found[:, :, -1]}
    touched = [name for name, side in sides.items() if side.any()]
    if touched:
        yield Flag("touches_border", f"structures touch the {' and '.join(touched)} border of the image")


def _mean_row(mask: np.ndarray) -> float:
    rows = mask.sum(axis=(0, 2))
    return float(rows @ np.arange(len(rows)) / rows.sum())
