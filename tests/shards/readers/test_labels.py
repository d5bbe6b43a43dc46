"""Tables of label values: names that are understood, mistakes in a table, ranks by name."""

import numpy as np
import pytest

from synthspine.gen.core.anatomy import CANAL, IGNORE, SACRUM, disc_code, vertebra_code
from synthspine.shards.readers.labels import SPIDER_TABLE, VERTEBRAE, LabelTable, Meaning, meaning_of
from synthspine.shards.readers.levels import dense_codes


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("L5", Meaning("vertebra", "L5")),
        ("vertebrae_T12", Meaning("vertebra", "T12")),
        ("Vertebra 3", Meaning("vertebra", "3")),
        ("partial vertebra 3", Meaning("vertebra", "3", "partial")),
        ("posterior L4", Meaning("vertebra", "L4", "posterior")),
        ("disc L5/S1", Meaning("disc", "L5")),
        ("disc_L5_S", Meaning("disc", "L5")),
        ("L5-S1", Meaning("disc", "L5")),
        ("L4-L5", Meaning("disc", "L4")),
        ("T1T2", Meaning("disc", "T1")),
        ("T12/L1", Meaning("disc", "T12")),
        ("T12-T13", Meaning("disc", "T12")),
        ("IVD C7", Meaning("disc", "C7")),
        ("intervertebral disk 4", Meaning("disc", "4")),
        ("disc above sacrum", Meaning("disc", "S")),
        ("Spinal_Canal", Meaning("canal")),
        ("spinal cord", Meaning("canal", part="cord")),
        ("Sacrum", Meaning("sacrum")),
        ("S2", Meaning("sacrum", part="S2")),
        ("ignore", Meaning("ignore")),
    ],
)
def test_names_are_understood_in_their_usual_spellings(name, meaning):
    assert meaning_of(name) == meaning


@pytest.mark.parametrize(
    "name", ["kidney", "L7", "T14", "C8", "L5/L3", "L3/L5", "T12/S1", "disc", "vertebra", "S7", ""]
)
def test_another_name_is_an_error_that_lists_what_is_understood(name):
    with pytest.raises(
        ValueError, match=rf"{name!r} is not understood; understood are background, ignore, .*L5-S1"
    ):
        meaning_of(name)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {0: "background", 3: "L5", 8: "vertebra L5"},
            r"mine: .* 3 \('L5'\) and 8 \('vertebra L5'\) mean the same",
        ),
        ({0: "background", 1: "L5-S1", 2: "disc L5"}, r"mine: .*1 .* and 2 .* mean the same"),
        ({1: "L5", 2: "canal"}, "mine: no label value is called background"),
        ({0: "background", 300: "L5"}, "mine: label value 300 is outside 0..255"),
        ({0: "background", 1: "L5", 2: "disc 3"}, "mine: some levels have names and some have numbers"),
        ({0: "background", "1": "L5"}, "mine: '1': 'L5' is no label; want a number and a name"),
        ({0: "background", 1: None}, "mine: 1: None is no label; want a number and a name"),
        ({0: "background", 1: "liver"}, "mine: label name 'liver' is not understood"),
    ],
)
def test_a_mistake_in_a_table_is_named_when_it_is_made(labels, message):
    with pytest.raises(ValueError, match=message):
        LabelTable("mine", labels)


def test_cord_and_canal_may_be_labelled_separately_and_several_values_ignored():
    table = LabelTable("mine", {0: "background", 1: "cord", 2: "canal", 3: "ignore", 4: "ignore", 5: "S1"})
    mask = np.arange(6).reshape(1, 6, 1)
    assert dense_codes(mask, table).ravel().tolist() == [0, CANAL, CANAL, IGNORE, IGNORE, SACRUM]


def test_a_value_that_the_table_does_not_have_is_named():
    table = LabelTable("mine", {0: "background", 1: "L5", 2: "L4", 7: "canal"})
    with pytest.raises(ValueError, match=r"label 3 is not a mine value \(0, 1-2, 7\)"):
        dense_codes(np.array([[[0, 1], [3, 2]]]), table)


def codes_of(*names, counted=False):
    """Dense codes of a mask with these labels, one row each."""
    table = LabelTable("mine", dict(enumerate(("background", *names))), counted)
    return dense_codes(np.arange(1, len(names) + 1).reshape(1, -1, 1), table).ravel().tolist()


def test_a_name_is_the_rank_even_if_the_scan_ends_above_l5():
    assert codes_of("T12", "L2", "L3", "L3-L4") == [6, 4, 3, disc_code(3)]
    assert codes_of("C1", "C2-C3") == [24, disc_code(23)]


def test_the_order_in_the_mask_does_not_change_ranks_by_name():
    assert codes_of("L5", "L4", "T11") == [1, 2, 7]


def test_l6_is_the_lowest_vertebra_where_it_is_labelled():
    assert codes_of("L4", "L5", "L6", "L5-L6", "L6-S1", "disc above sacrum") == [
        3,
        2,
        1,
        disc_code(2),
        disc_code(1),
        disc_code(1),
    ]
    assert codes_of("L5", "disc above sacrum") == [1, disc_code(1)]


def test_t13_is_counted_where_it_is_labelled():
    assert codes_of("T12", "T13", "L1") == [7, 6, 5]


def test_a_vertebra_above_rank_25_is_not_annotated():
    assert codes_of("C1", "C2", "T13", "L6") == [IGNORE, 25, 7, 1]


def test_names_that_are_counts_start_above_the_sacrum_if_it_is_labelled():
    assert codes_of("C2", "C3", "C4", "C4-C5", "S1", counted=True) == [3, 2, 1, disc_code(1), SACRUM]
    assert codes_of("C2", "C3", counted=True) == [23, 22]
    assert codes_of("L4", "S1") == [2, SACRUM]


def test_every_vertebra_with_a_name_has_a_rank():
    ordinary = [name for name in VERTEBRAE if name not in ("T13", "L6")]
    assert codes_of(*ordinary) == [vertebra_code(rank) for rank in range(24, 0, -1)]


def test_the_table_of_spider_is_written_as_ranges():
    assert str(SPIDER_TABLE) == "0, 1-25, 61, 100, 101-125, 131-155, 201-225"
