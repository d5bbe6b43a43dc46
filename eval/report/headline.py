"""The answer in a few sentences, made from the numbers alone."""

from collections.abc import Mapping

from synthspine.eval.metrics.statistics import SIGNIFICANT, Interval
from synthspine.eval.report.tables import probability, score, signed
from synthspine.eval.results.findings import OVERALL, T1, Findings, model_name, set_name
from synthspine.eval.results.paired import Pair, gap, shift, shift_difference
from synthspine.eval.results.primary import GAPS, SHIFTS, Primary, primary_comparisons

TOO_POOR = 0.4
"""Overall Dice below which a difference says little."""
UNSEEN = {
    "t1": "the contrast that B learned from",
    "t2": "a contrast of which neither model saw a real image",
    "t2_SPACE": "a sequence of which neither model saw a real image",
}
MEANING = (
    "The reality gap is what a network loses by having learned from synthetic images alone: A minus B on the "
    "contrast that B learned from. Against it stands what B loses on a contrast that it never saw."
)


def answer(findings: Findings) -> list[str]:
    """What A and B do on each real set, the gap between them, and what the change of contrast costs each."""
    primary = primary_comparisons(findings)
    sentences = [s for place in findings.real_sets for s in _on_set(findings, place, primary)]
    for place in findings.real_sets:
        changes = {model: shift(findings, model, place) for model in findings.models if place != T1}
        parts = [
            f"{model} by {signed(change.difference.mean)} {_bracket(change.difference)}"
            for model, change in changes.items()
            if change is not None
        ]
        if parts:
            sentences.append(
                f"From T1 to {set_name(place)}, on the patients that have both, the overall Dice changes for "
                f"{' and for '.join(parts)}."
            )
        between = shift_difference(findings, place)
        if between is not None:
            named = primary.get(SHIFTS.get(place, ""))
            verdict = _verdict(between, "A keeps more", "B keeps more", named)
            sentences.append(f"The change of A minus that of B, patient by patient, is {verdict}.")
    return sentences


def _on_set(findings: Findings, place: str, primary: Mapping[str, Primary]) -> list[str]:
    where = f"On {set_name(place)}, {UNSEEN.get(place, 'a set of its own')},"
    pair = gap(findings, place)
    if pair is not None:
        verdict = _verdict(pair, "A is ahead", "B is ahead", primary.get(GAPS.get(place, "")))
        return [
            f"{where} A reaches {_interval(pair.first)} and B {_interval(pair.second)}: A − B is {verdict}."
            + _too_poor(pair)
        ]
    found = [(m, findings.plain(m, place)) for m in findings.models]
    means = [(m, measurement.interval(OVERALL)) for m, measurement in found if measurement is not None]
    return [
        f"{where} {model_name(model)} reaches {_interval(mean)} (n {mean.n})."
        for model, mean in means
        if mean is not None
    ]


def _verdict(pair: Pair, if_positive: str, if_negative: str, primary: Primary | None) -> str:
    """The difference with interval and test, and in words what it shows.

    Args:
        pair: what is compared.
        if_positive: what the difference means where it is above 0.
        if_negative: where it is below.
        primary: the same as a primary comparison; None where it is exploratory.
    """
    difference, p = pair.difference, pair.paired.p
    numbers = f"{signed(difference.mean)} {_bracket(difference)} over {difference.n} patients"
    kind = "exploratory" if primary is None else f"after correction {probability(primary.corrected)}"
    numbers += f", paired test p {_equals(probability(p))}, {kind}"
    if not (difference.low > 0 or difference.high < 0):
        return f"{numbers}; the interval does not tell them apart"
    verdict = if_positive if difference.low > 0 else if_negative
    if primary is None or primary.corrected < SIGNIFICANT:
        return f"{numbers}; {verdict}" + ("" if p < SIGNIFICANT else ", by the interval alone")
    why = "the corrected test does not confirm it"
    if primary.least >= SIGNIFICANT:
        why = f"so few patients cannot take the corrected test below {score(primary.least)}"
    return f"{numbers}; {verdict} by the interval, but {why}"


def _too_poor(pair: Pair) -> str:
    if max(pair.first.mean, pair.second.mean) >= TOO_POOR:
        return ""
    return f" Both stay below {score(TOO_POOR)}: too poor for the difference to mean much."


def _interval(interval: Interval) -> str:
    return f"{score(interval.mean)} {_bracket(interval, sign=False)}".strip()


def _bracket(interval: Interval, *, sign: bool = True) -> str:
    if not interval.low <= interval.high:
        return "(no interval from one patient)"
    shown = signed if sign else score
    return f"[{shown(interval.low)}, {shown(interval.high)}]"


def _equals(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"
