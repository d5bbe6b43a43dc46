"""What the report says, section by section: texts, tables and pictures, ready to be rendered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthspine.eval.report.comparison_tables import gap_table, headline_table, primary_table, shift_table
from synthspine.eval.report.fact_tables import (
    configuration_table,
    generators,
    model_table,
    set_table,
    version_table,
)
from synthspine.eval.report.headline import MEANING, answer
from synthspine.eval.report.score_tables import class_table, instance_table, structure_table, worst_table
from synthspine.eval.report.study_tables import STUDIES, calibration_table, corruption_table, study_table
from synthspine.eval.report.tables import NOT_DEFINED, Table, score
from synthspine.eval.results.findings import (
    CONTINUUM,
    CORRUPTIONS,
    PHYSICAL,
    RESOLUTIONS,
    TEST,
    VALIDATION,
    Findings,
    set_name,
)

TITLE = "SynthSpine: evaluation"
PHANTOM_BANNER = (
    "Smoke figures from the phantom. They show that everything runs; they say nothing about real images."
)
CREDIT = (
    "Images: data in SPIDER layout; SPIDER itself is van der Graaf et al., Scientific Data 2024 (CC BY 4.0)."
)
PHANTOM_CREDIT = "Images: the procedural phantom of this project."
PURPOSE = "For research, not for diagnosis."
CHOSEN_ON = {
    VALIDATION: (
        "Measured on the validation patients. Checkpoints were chosen on validation that sees no T2: A on "
        "synthetic renders of validation patients' label maps, B on real T1 of the validation patients (so "
        "B's T1 figures lean to the good side). Real validation slices may have been looked at when the "
        "recipe was made: these are validation figures, not a blind test."
    ),
    TEST: (
        "Measured on the test patients, on whom no checkpoint was chosen. The test is as blind as they were "
        "kept: slices or figures of theirs that were looked at before take from it."
    ),
}
"""What the choice of checkpoints means for the figures, by part of the split."""
BOOTSTRAP = (
    "Intervals are BCa bootstraps over patients: the patient is the unit. Few patients make them too "
    "narrow; how much is said beside them."
)
CURVES = {
    **{study: study for study in RESOLUTIONS},
    **dict.fromkeys(CORRUPTIONS, "corruption"),
    CONTINUUM: "continuum",
    PHYSICAL: "continuum",
}
"""Name of the figure that shows a study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A PNG file beside the report.

    Attributes:
        file: its name, relative to the report.
        alt: what it shows, for those who do not see it.
        caption: what stands under it.
    """

    file: str
    alt: str
    caption: str


Part = str | Table | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report.

    Attributes:
        name: short name, for links.
        title: its title.
        parts: paragraphs, tables and pictures in their order.
    """

    name: str
    title: str
    parts: tuple[Part, ...]


def report_sections(findings: Findings, pictures: Mapping[str, Picture]) -> list[Section]:
    """All sections; those without anything to show are left out.

    Args:
        findings: what was measured.
        pictures: the figures that were drawn, by name.
    """
    compared = [MEANING, pictures.get("reality_gap"), gap_table(findings)] if findings.compared else []
    in_short = [headline_table(findings), primary_table(findings)]
    calibration = [pictures.get("calibration"), calibration_table(findings), pictures.get("entropy")]
    contents: list[tuple[str, str, Sequence[Part | None]]] = [
        ("answer", "In short", [*answer(findings), *_absent(findings), *in_short]),
        ("contrast", "Contrast shift", [pictures.get("contrast_shift"), shift_table(findings)]),
        ("gap", "Reality gap", compared),
        ("structures", "Structures", [structure_table(findings)]),
        ("vertebrae", "Vertebrae and classes", [instance_table(findings), class_table(findings)]),
        ("resolution", "Resolution", _curves(findings, pictures, RESOLUTIONS)),
        (
            "corruption",
            "Corrupted input",
            _curves(findings, pictures, CORRUPTIONS, corruption_table(findings)),
        ),
        ("continuum", "From T1 to T2", _curves(findings, pictures, (CONTINUUM, PHYSICAL))),
        ("calibration", "Calibration and self-check", calibration),
        ("worst", "Worst cases", [worst_table(findings), *_overlays(findings)]),
        ("method", "How this was counted", _method(findings)),
        ("facts", "What was measured", _facts(findings)),
    ]
    return [
        Section(name=name, title=title, parts=_filled(parts))
        for name, title, parts in contents
        if _filled(parts)
    ]


def credit(findings: Findings) -> str:
    """Whose images these are, and what the report is for."""
    return f"{PHANTOM_CREDIT if findings.phantom else CREDIT} {PURPOSE}"


def made(findings: Findings) -> str:
    """When, on which part of the split, how long, and by which command."""
    outcome = findings.outcome
    took = _duration(float(outcome["seconds"]))
    return f"Made {outcome['made']} on the {findings.part} patients in {took} by: {outcome['command']}"


def _filled(parts: Sequence[Part | None]) -> tuple[Part, ...]:
    """Without what is missing and without empty tables."""
    return tuple(part for part in parts if part and not (isinstance(part, Table) and not part.rows))


def _absent(findings: Findings) -> list[str]:
    """Models and studies that are not there, and why."""
    outcome = findings.outcome
    missing = [f"Model {name} was not measured: {why}." for name, why in outcome.get("missing", {}).items()]
    left_out = [
        f"{STUDIES[name][0].partition(':')[0] if name in STUDIES else set_name(name)} was left out: {why}."
        for name, why in outcome.get("left_out", {}).items()
    ]
    dropped = [
        f"{STUDIES[name][0].partition(':')[0]} was not measured at {what}."
        for name, what in outcome.get("dropped", {}).items()
    ]
    return [*missing, *left_out, *dropped]


def _curves(
    findings: Findings, pictures: Mapping[str, Picture], studies: Iterable[str], *first: Table
) -> list[Part | None]:
    """The figures of studies, then the tables ``first``, then a table of each study."""
    present = [study for study in studies if findings.places(study)]
    drawn = dict.fromkeys(CURVES[study] for study in present)
    tables = [study_table(findings, study) for study in present]
    return [*(pictures.get(name) for name in drawn), *first, *tables]


def _overlays(findings: Findings) -> list[Picture]:
    return [_overlay(entry) for entry in findings.outcome.get("overlays", ())]


def _overlay(entry: Mapping[str, Any]) -> Picture:
    dices = ", ".join(
        f"{name} {NOT_DEFINED if value is None else score(value)}" for name, value in entry["dice"].items()
    )
    kind = f"{entry.get('case', 'worst').capitalize()} case"
    where = f"{set_name(entry['set'])}, patient {entry['patient']}, slice {entry['slice']}"
    return Picture(
        file=entry["file"],
        alt=f"Slice with the truth and the answers of the models: {where}",
        caption=f"{kind} of Model {entry['model']}: {where} ({entry['source']}). Dice: {dices}.",
    )


def _method(findings: Findings) -> list[Part | None]:
    return [str(findings.outcome.get("aggregation", "")), BOOTSTRAP, CHOSEN_ON[findings.part]]


def _facts(findings: Findings) -> list[Part | None]:
    return [
        made(findings),
        generators(findings),
        model_table(findings),
        set_table(findings),
        version_table(findings),
        configuration_table(findings),
    ]


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} minutes"
