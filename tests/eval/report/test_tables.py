import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_outcome import fake_outcome

from synthspine.eval.metrics.statistics import LEVEL, SIGNIFICANT, Interval
from synthspine.eval.metrics.table import METRICS
from synthspine.eval.report.definitions import ENTROPY
from synthspine.eval.report.report import Section, as_html
from synthspine.eval.report.tables import (
    TEXTS,
    Cell,
    Table,
    format_p,
    format_value,
    interval_cell,
    share_cell,
    to_markdown,
)
from synthspine.eval.results.measurement import Share
from synthspine.eval.results.outcome import Findings


def interval(mean, low, high, n=6):
    return Interval(mean=mean, low=low, high=high, n=n)


def table(**changes):
    rows = (
        ("T1", "disc", Cell(".850", "[.8, .9]")),
        ("T1", "canal", Cell(".912", strong=True)),
        ("T2", "disc", "–"),
    )
    return Table(
        **{"name": "t", "title": "A < B", "head": ("Set", "x", "Dice"), "rows": rows, "keys": 2, **changes}
    )


def to_html(table):
    findings = Findings(fake_outcome(patients=2, sets=("synthetic",), studies=("synthetic",)))
    page = as_html(findings, [Section(name="s", title="S", parts=(table,))], Path())
    return page.split("<h2>S</h2>")[1].split("</main>")[0].strip()


class Cells(HTMLParser):
    """Texts of the cells of a table, with their rowspans."""

    def __init__(self, text):
        super().__init__()
        self.cells, self._open = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in ("td", "th"):
            self._open = [tag, int(dict(attrs).get("rowspan", 1)), ""]

    def handle_data(self, data):
        if self._open:
            self._open[2] += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cells.append(tuple(self._open))
            self._open = None


def test_markdown_holds_every_cell_with_its_detail():
    assert to_markdown(table(note="How.")).splitlines() == [
        "| Set | x | Dice |",
        "| --- | --- | ---: |",
        "| T1 | disc | .850 [.8, .9] |",
        "| T1 | canal | **.912** |",
        "| T2 | disc | – |",
        "",
        "How.",
    ]


def test_html_says_the_same_and_joins_rows_of_one_group():
    cells = Cells(to_html(table())).cells
    assert [text for _, _, text in cells] == [
        *("Set", "x", "Dice"),
        *("T1", "disc", ".850 [.8, .9]", "canal", ".912"),
        *("T2", "disc", "–"),
    ]
    assert [span for _, span, text in cells if text in ("T1", "T2")] == [2, 1]


def test_html_escapes_what_it_shows():
    shown = to_html(table(rows=(("<script>", "a&b", Cell("<i>", "<u>")),), note="<b>"))
    assert not re.search(r"<(script|i|u)>", shown)
    assert "A &lt; B" in shown


def test_pipes_do_not_break_markdown():
    assert "a\\|b" in to_markdown(table(rows=(("a|b", "x", "y"),)))


def test_folded_table_starts_closed():
    assert to_html(table(folded=True)).startswith("<details")
    assert "<details" not in to_html(table())


@pytest.mark.parametrize(
    ("value", "text"), [(0.8684, ".868"), (0.0, ".000"), (1.0, "1.00"), (0.9996, "1.00"), (math.nan, "–")]
)
def test_scores_have_three_decimals_and_no_leading_zero(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0371, "−.037"), (0.45, "+.450"), (-0.0001, ".000"), (-1.0, "−1.000"), (math.nan, "–")],
)
def test_differences_show_their_sign_but_zero_has_none(value, text):
    assert format_value(value, signed=True) == text


def test_small_p_is_a_bound():
    assert [format_p(p) for p in (0.0004, 0.03125, 1.0, math.nan)] == ["< .001", ".031", "1.00", "–"]


def test_estimate_shows_interval_and_another_n():
    assert interval_cell(interval(0.85, 0.8, 0.9), n=6) == Cell(".850", "[.800, .900]")
    assert interval_cell(interval(0.85, 0.8, 0.9), n=7) == Cell(".850", "[.800, .900] n 6")
    assert interval_cell(None) == Cell("–")


def test_values_with_a_unit_keep_the_leading_zero_and_their_decimals():
    assert interval_cell(interval(2.04, 0.5, 3.0), METRICS["hd95_mm"]) == Cell("2.0", "[0.5, 3.0]")
    assert interval_cell(interval(0.2, 0.1, 1.0), ENTROPY) == Cell("0.200", "[0.100, 1.000]")


def test_one_patient_has_no_interval():
    assert interval_cell(interval(0.85, math.nan, math.nan, n=1)) == Cell(".850")


def test_difference_is_strong_where_it_is_said_to_be():
    assert interval_cell(interval(0.1, 0.01, 0.2), signed=True) == Cell("+.100", "[+.010, +.200]")
    assert interval_cell(interval(0.1, 0.01, 0.2), strong=True).strong


def test_share_of_nobody_is_not_zero():
    assert share_cell(Share(1, 6)) == Cell("17%", "(1/6)")
    assert share_cell(Share(0, 0)) == Cell("–", "(0/0)")


def test_texts_state_the_limits_of_the_statistics():
    assert float(TEXTS["shared"]["limit"]) == SIGNIFICANT
    assert f"{100 * LEVEL:.0f} %" in TEXTS["shared"]["intervals"]
