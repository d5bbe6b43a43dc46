from dataclasses import replace

import numpy as np
import pytest

from synthspine.eval.metrics.table import DICE, METRICS, RATES, Masks, Quantity, pixels, register


@pytest.fixture
def table(monkeypatch):
    """A table that is restored after the test."""
    added = dict(METRICS)
    monkeypatch.setattr("synthspine.eval.metrics.table.METRICS", added)
    return added


def test_the_table_has_these_metrics():
    assert tuple(METRICS) == ("dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm")
    assert {key for key, metric in METRICS.items() if not metric.higher_is_better} == {"hd95_mm", "assd_mm"}
    assert tuple(RATES) == ("missed", "invented")
    assert all(each.key == key and each.note for key, each in {**METRICS, **RATES}.items())


def test_what_is_written_makes_the_quantity_again():
    written = METRICS["hd95_mm"].written()
    assert written == {
        "title": "HD95, mm",
        "unit": "mm",
        "decimals": 1,
        "higher_is_better": False,
        "note": METRICS["hd95_mm"].note,
    }
    assert Quantity(**written).written() == written


def test_pixels_of_masks():
    prediction, truth = np.array([[True, True, False]]), np.array([[True, False, False]])
    assert pixels(Masks(prediction=prediction, truth=truth, spacing_mm=(1.0, 1.0))) == (1, 2, 1)


def test_a_registered_metric_is_the_last_column(table):
    metric = register(replace(DICE, key="again", title="Dice again"))
    assert list(table.items())[-1] == ("again", metric)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"key": "dice", "title": "other"}, "metric key 'dice' is no identifier or taken; taken are dice, "),
        ({"key": "missed", "title": "other"}, "metric key 'missed' is no identifier or taken"),
        ({"key": "a b", "title": "other"}, "metric key 'a b' is no identifier"),
        ({"key": "other", "title": "Dice"}, "metric other: the title 'Dice' is empty or taken"),
        ({"key": "other", "title": ""}, "metric other: the title '' is empty"),
        ({"key": "other", "title": "other", "decimals": -1}, "metric other: decimals -1 is negative"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused(table, changes, fault):
    before = dict(table)
    with pytest.raises(ValueError, match=fault):
        register(replace(DICE, **changes))
    assert table == before
