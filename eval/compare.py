"""Model A next to Model B: the reality gap, in numbers and in words made from them."""

import math
from dataclasses import dataclass

from eval.metrics import mean
from eval.outcome import CONTRAST_NAMES, MEASURES, OVERALL, Outcome

MEANING = (
    "The reality gap is what a network loses by having learned from synthetic images alone: B minus A on the "
    "contrast that B learned from. Against it stands what B loses on a contrast that it never saw."
)
A_HAIR = 0.03
TOO_POOR = 0.4
LEVEL = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A against B on the same patients.

    Attributes:
        contrast: ``"t1"`` or ``"t2"``.
        measure: ``"overall"`` or a structure.
        a: mean Dice of A over the patients in which both are defined.
        b: the same of B.
        a_better: patients in which A is better.
        n: patients in both means.
    """

    contrast: str
    measure: str
    a: float
    b: float
    a_better: int
    n: int

    @property
    def difference(self) -> float:
        """A minus B: negative where synthetic training falls short."""
        return self.a - self.b


def reality_gaps(outcome: Outcome) -> list[Gap]:
    """A against B at the finest resolution, by contrast and measure; empty where a model is missing."""
    if not {"A", "B"} <= outcome.models.keys():
        return []
    gaps = []
    for contrast in outcome.sets:
        for measure in MEASURES:
            dices_a, dices_b = (
                outcome.patients(model, contrast, outcome.factors[0], measure) for model in "AB"
            )
            both = [
                p for p in dices_a if not (math.isnan(dices_a[p]) or math.isnan(dices_b.get(p, math.nan)))
            ]
            gaps.append(
                Gap(
                    contrast=contrast,
                    measure=measure,
                    a=mean([dices_a[patient] for patient in both]),
                    b=mean([dices_b[patient] for patient in both]),
                    a_better=sum(dices_a[patient] > dices_b[patient] for patient in both),
                    n=len(both),
                )
            )
    return gaps


def contrast_shift(outcome: Outcome, model: str, measure: str = OVERALL) -> float | None:
    """T2 minus T1 at the finest resolution; None where a contrast is missing."""
    if not {"t1", "t2"} <= outcome.sets.keys():
        return None
    finest = outcome.factors[0]
    return outcome.dice(model, "t2", finest, measure) - outcome.dice(model, "t1", finest, measure)


def kept_at_coarsest(outcome: Outcome, model: str, contrast: str) -> float | None:
    """Overall Dice at the coarsest resolution over that at the finest; None where there is only one."""
    finest, coarsest = outcome.factors[0], outcome.factors[-1]
    reference = outcome.dice(model, contrast, finest)
    if finest == coarsest or not reference > 0:
        return None
    return outcome.dice(model, contrast, coarsest) / reference


def explain(outcome: Outcome) -> list[str]:
    """The reality gap in sentences, one paragraph each; empty where a model is missing."""
    gaps = reality_gaps(outcome)
    by_place = {(gap.contrast, gap.measure): gap for gap in gaps}
    paragraphs = []
    for contrast in outcome.sets:
        overall = by_place.get((contrast, OVERALL))
        if overall is not None and overall.n:
            structures = [by_place[contrast, measure] for measure in MEASURES[1:]]
            paragraphs.append(_on_contrast(overall, [gap for gap in structures if gap.n]))
    if not paragraphs:
        return []
    return [MEANING, *paragraphs, *_on_shift(outcome), *_on_resolution(outcome)]


def _on_contrast(overall: Gap, structures: list[Gap]) -> str:
    name = CONTRAST_NAMES[overall.contrast]
    seen = "on which Model B was trained" if overall.contrast == "t1" else "of which neither saw a real image"
    numbers = f"A reaches {_number(overall.a)} and B {_number(overall.b)}"
    text = (
        f"On **{name}**, {seen}, {numbers}: {_verdict(overall)} "
        f"(A is better in {overall.a_better} of {overall.n} patients)."
    )
    if structures:
        ahead = [gap.measure for gap in structures if gap.difference > 0]
        each = ", ".join(f"{gap.measure} {_signed(gap.difference)}" for gap in structures)
        where = "every structure" if len(ahead) == len(structures) else " and ".join(ahead) or "no structure"
        text += f" A is ahead in {where} (A − B: {each})."
    if max(overall.a, overall.b) < TOO_POOR:
        text += f" Both stay below {_number(TOO_POOR)}: too poor for the difference to mean much."
    return text


def _verdict(gap: Gap) -> str:
    difference = gap.difference
    if abs(difference) < LEVEL:
        return "they are level"
    if difference > 0:
        return f"synthetic training is ahead by {_number(difference)}"
    if -difference <= A_HAIR:
        return f"synthetic training comes within a hair of the real one, {_number(-difference)} behind"
    return f"the reality gap is {_number(-difference)}"


def _on_shift(outcome: Outcome) -> list[str]:
    shifts = {model: contrast_shift(outcome, model) for model in "AB"}
    if any(shift is None or math.isnan(shift) for shift in shifts.values()):
        return []
    a, b = (shift for shift in shifts.values() if shift is not None)
    poorer = min(outcome.dice(model, "t1", outcome.factors[0]) for model in "AB")
    if poorer < TOO_POOR:
        steadier = f"One of them stays below {_number(TOO_POOR)} on T1 and has little to lose."
    elif abs(abs(a) - abs(b)) < LEVEL:
        steadier = "Both answer the change of contrast alike."
    else:
        steadier = f"Model {'A' if abs(a) < abs(b) else 'B'} is the steadier of the two."
    return [
        f"From T1 to T2 the overall Dice changes by {_signed(a)} for A and {_signed(b)} for B. {steadier}"
    ]


def _on_resolution(outcome: Outcome) -> list[str]:
    parts = []
    for contrast in outcome.sets:
        kept = [kept_at_coarsest(outcome, model, contrast) for model in "AB"]
        if None not in kept:
            shares = " and ".join(f"{model} {share:.0%}" for model, share in zip("AB", kept, strict=True))
            parts.append(f"on {CONTRAST_NAMES[contrast]} {shares}")
    if not parts:
        return []
    coarsest = f"{outcome.factors[-1]:g}x"
    finest = f"{outcome.factors[0]:g}x"
    return [f"At {coarsest} coarser pixels the models keep, of their Dice at {finest}: {'; '.join(parts)}."]


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1).replace("-", "−")
