"""The answer in a few sentences, made from the numbers alone."""

from eval.findings import OVERALL, T1, Findings, model_name, set_name
from eval.intervals import Interval
from eval.paired import Pair, gap, shift
from eval.tables import probability, score, signed

TOO_POOR = 0.4
"""Overall Dice below which a difference says little."""
SIGNIFICANT = 0.05
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
    sentences = [sentence for place in findings.real_sets for sentence in _on_set(findings, place)]
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
    return sentences


def _on_set(findings: Findings, place: str) -> list[str]:
    where = f"On {set_name(place)}, {UNSEEN.get(place, 'a set of its own')},"
    pair = gap(findings, place)
    if pair is not None:
        return [
            f"{where} A reaches {_interval(pair.first)} and B {_interval(pair.second)}: {_verdict(pair)}."
            + _too_poor(pair)
        ]
    found = [(m, findings.plain(m, place)) for m in findings.models]
    means = [(m, measurement.interval(OVERALL)) for m, measurement in found if measurement is not None]
    return [
        f"{where} {model_name(model)} reaches {_interval(mean)} (n {mean.n})."
        for model, mean in means
        if mean is not None
    ]


def _verdict(pair: Pair) -> str:
    difference, p = pair.difference, pair.paired.p
    numbers = (
        f"A − B is {signed(difference.mean)} {_bracket(difference)} over {difference.n} patients, "
        f"paired test p {_equals(probability(p))}"
    )
    if difference.low > 0:
        verdict = "A is ahead"
    elif difference.high < 0:
        verdict = "B is ahead"
    else:
        verdict = "the interval does not tell them apart"
    if verdict.endswith("ahead") and not p < SIGNIFICANT:
        verdict += " by the interval, but the test does not confirm it"
    return f"{numbers}; {verdict}"


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
