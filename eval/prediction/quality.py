"""Self-check of a segmentation: what about it, or about its scan, calls for a look.

A flag does not say that a mask is wrong, and no flag does not say that it is right. The bounds were set on
the 67 masks of 26 SPIDER patients at hand, which raise one (a canal in the last slice) besides those that are
a single slice: a vertebra that is not the uppermost one has at least .60 of the median volume there, a disc
.31; along the rows the canal is interrupted by at most 18 mm (in single slices of bent spines); 47 masks
touch the upper border, none the lower one, the front or the back. The mean entropy was .29 at most in 38 real
slices for models A after 2,046 and 6,572 steps; for a model B it was .33 at most on T2, of which it had seen
none and found half. It falls as models learn, so this flag tells a scan that is very unlike the training, not
every bad mask.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from synthspine.eval.prediction.volumes import StructureVolume, structure_name, structure_volumes
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, STRUCTURES, disc_code, vertebra_code

FEWEST_VERTEBRAE = 4
CANAL_GAP_MM = 20.0
SMALL_PART = {"vertebra": 0.4, "disc": 0.25}
MOST_ENTROPY = 0.35
MOST_REMOVED = 0.1
THICK_MM = 6.0
COARSE_FACTOR = 1.5
MOST_TILT_DEGREES = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """One reason to look at a mask.

    Attributes:
        name: of the check, one word for programs.
        reason: what was seen, one sentence for people.
    """

    name: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """The fields, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evidence:
    """What the checks look at.

    Attributes:
        codes: dense codes of the mask, uint8, shape ``(Z, H, W)``, rows superior to inferior, columns
            anterior to posterior.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.
        entropy: mean entropy of the structures, nats; nan where it is not known.
        removed: share of the structures that was removed as islands.
        model_spacing_mm: pixel size of the model's training.
        tilt_degrees: angle of the slice axis to left-right.
    """

    codes: np.ndarray
    spacing_mm: tuple[float, float, float]
    entropy: float = float("nan")
    removed: float = 0.0
    model_spacing_mm: float = 1.0
    tilt_degrees: float = 0.0


def quality_flags(evidence: Evidence) -> list[Flag]:
    """The flags of a mask, those of the whole scan first; an empty list where nothing is striking."""
    volumes = structure_volumes(evidence.codes, evidence.spacing_mm)
    found = [check(evidence) for check in _OF_SCAN] + [check(evidence, volumes) for check in _OF_MASK]
    return [flag for flags in found for flag in flags]


def _geometry(evidence: Evidence) -> list[Flag]:
    across, *in_plane = evidence.spacing_mm
    flags = []
    if across > THICK_MM:
        flags.append(
            Flag(name="thick_slices", reason=f"slices lie {across:.1f} mm apart (more than {THICK_MM:g} mm)")
        )
    if max(in_plane) > COARSE_FACTOR * evidence.model_spacing_mm:
        reason = f"pixels of {max(in_plane):.2f} mm; the model learned at {evidence.model_spacing_mm:g} mm"
        flags.append(Flag(name="coarse_pixels", reason=reason))
    if evidence.tilt_degrees > MOST_TILT_DEGREES:
        reason = f"slices are turned {evidence.tilt_degrees:.0f} degrees off the sagittal plane"
        flags.append(Flag(name="oblique", reason=reason))
    if len(evidence.codes) == 1:
        reason = "the scan is one slice; volumes are its areas times the slice distance"
        flags.append(Flag(name="one_slice", reason=reason))
    return flags


def _certainty(evidence: Evidence) -> list[Flag]:
    flags = []
    if evidence.entropy > MOST_ENTROPY:
        reason = (
            f"mean entropy {evidence.entropy:.2f} nats, above {MOST_ENTROPY}: unlike what the model knows"
        )
        flags.append(Flag(name="uncertain", reason=reason))
    if evidence.removed > MOST_REMOVED:
        reason = f"{evidence.removed:.0%} of what was found lay in small islands and was removed"
        flags.append(Flag(name="scattered", reason=reason))
    return flags


def _missing(evidence: Evidence, volumes: Sequence[StructureVolume]) -> list[Flag]:
    flags = []
    ranks = {name: [volume.rank for volume in volumes if volume.structure == name] for name in STRUCTURES}
    vertebrae = [rank for rank in ranks["vertebra"] if rank is not None]
    for name in STRUCTURES:
        if not ranks[name]:
            flags.append(Flag(name=f"no_{name}", reason=f"no {name} was found"))
    if 0 < len(vertebrae) < FEWEST_VERTEBRAE:
        reason = f"only {len(vertebrae)} vertebrae were found; a lumbar scan shows {FEWEST_VERTEBRAE} or more"
        flags.append(Flag(name="few_vertebrae", reason=reason))
    lowest, highest = (min(vertebrae), max(vertebrae)) if vertebrae else (1, 0)
    for name in ("vertebra", "disc"):
        lost = [rank for rank in range(lowest, highest + 1) if rank not in ranks[name]]
        if lost and ranks[name]:
            names = ", ".join(structure_name(name, rank) for rank in lost)
            hint = (
                "; is the lowest vertebra a part of the sacrum?"
                if (name, lost[0]) == ("disc", lowest)
                else ""
            )
            flags.append(
                Flag(name=f"missing_{name}", reason=f"in the row of {name}s {names} is missing{hint}")
            )
    return flags


def _small(evidence: Evidence, volumes: Sequence[StructureVolume]) -> list[Flag]:
    flags = []
    for structure, part in SMALL_PART.items():
        own = [volume for volume in volumes if volume.structure == structure]
        median = float(np.median([volume.volume_ml for volume in own])) if own else 0.0
        # The uppermost one is often cut off by the upper border.
        small = [volume for volume in own[:-1] if volume.volume_ml < part * median]
        if small:
            sizes = ", ".join(f"{volume.name} {volume.volume_ml:.2g} ml" for volume in small)
            reason = f"{sizes}: less than {part:g} of the median {structure} ({median:.2g} ml)"
            flags.append(Flag(name=f"small_{structure}", reason=reason))
    return flags


def _order(evidence: Evidence, volumes: Sequence[StructureVolume]) -> list[Flag]:
    flags = []
    for structure, code_of in (("vertebra", vertebra_code), ("disc", disc_code)):
        ranks = [volume.rank for volume in volumes if volume.structure == structure]
        heights = [(rank, _mean_row(evidence.codes == code_of(rank))) for rank in ranks if rank is not None]
        wrong = [
            f"{structure_name(structure, upper)} below {structure_name(structure, lower)}"
            for (lower, low), (upper, high) in pairwise(heights)
            if high >= low
        ]
        if wrong:
            flags.append(Flag(name=f"order_{structure}", reason=f"{structure}: {', '.join(wrong)}"))
    return flags


def _canal(evidence: Evidence, volumes: Sequence[StructureVolume]) -> list[Flag]:
    canal = evidence.codes == CANAL
    rows = np.flatnonzero(canal.any(axis=(0, 2)))
    flags = []
    if len(rows):
        gap_mm = float((np.diff(rows, prepend=rows[0] - 1).max() - 1) * evidence.spacing_mm[1])
        if gap_mm > CANAL_GAP_MM:
            reason = f"the canal is interrupted over {gap_mm:.0f} mm"
            flags.append(Flag(name="canal_interrupted", reason=reason))
    if len(canal) > 1 and (canal[0].any() or canal[-1].any()):
        reason = "the canal reaches the outermost slice: a part of it lies beside the scan"
        flags.append(Flag(name="canal_cut", reason=reason))
    return flags


def _border(evidence: Evidence, volumes: Sequence[StructureVolume]) -> list[Flag]:
    found = evidence.codes != BACKGROUND
    sides = {"lower": found[:, -1], "front": found[:, :, 0], "back": found[:, :, -1]}
    touched = [name for name, side in sides.items() if side.any()]
    if not touched:
        return []
    return [
        Flag(
            name="touches_border", reason=f"structures touch the {' and '.join(touched)} border of the image"
        )
    ]


def _mean_row(mask: np.ndarray) -> float:
    rows = mask.sum(axis=(0, 2))
    return float(rows @ np.arange(len(rows)) / rows.sum())


_OF_SCAN: tuple[Callable[[Evidence], list[Flag]], ...] = (_geometry, _certainty)
_OF_MASK: tuple[Callable[[Evidence, Sequence[StructureVolume]], list[Flag]], ...] = (
    _missing,
    _small,
    _order,
    _canal,
    _border,
)
