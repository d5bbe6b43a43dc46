"""Label schemes as data: valid and invalid ones, what their classes mean, their files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from synthspine.gen import LabelScheme, label_scheme
from synthspine.gen.core.anatomy import (
    CANAL,
    IGNORE,
    PERHAPS_SACRUM,
    SACRUM,
    STRUCTURE_COLOURS,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.core.schemes import RANKS, SCHEMES, STRUCTURES_ALONE

FOLDER = Path(__file__).parents[2] / "schemes"
FILES = sorted(FOLDER.glob("*.yaml"))
PLAIN = {
    "name": "plain",
    "structures": {"vertebra": "1-25", "canal": CANAL},
    "classes": {"background": 0, "vertebra": "1-25", "canal": CANAL},
}


def encoded(scheme: LabelScheme, *codes: int) -> list[int]:
    return scheme.encode(torch.tensor(codes, dtype=torch.uint8)).tolist()


@pytest.mark.parametrize("name", [*SCHEMES, *FILES], ids=str)
def test_a_scheme_survives_its_own_values(name):
    scheme = label_scheme(name)
    assert LabelScheme.from_dict(scheme.to_dict()) == scheme
    assert LabelScheme.from_dict(yaml.safe_load(yaml.safe_dump(scheme.to_dict(), sort_keys=False))) == scheme


def test_what_a_scheme_does_not_name_is_vertebra_background_or_left_out():
    four = (vertebra_code(2), posterior_code(2), SACRUM, PERHAPS_SACRUM)
    assert encoded(STRUCTURES_ALONE, *four) == [1, 1, 0, 0]
    assert encoded(RANKS, *four, vertebra_code(7), posterior_code(7)) == [2, 2, 0, 0, IGNORE, IGNORE]
    assert encoded(LabelScheme.from_dict(PLAIN), disc_code(1), CANAL) == [IGNORE, 2]


def test_a_scheme_with_a_sacrum_leaves_out_what_may_be_sacrum():
    scheme = label_scheme(FOLDER / "sacrum.yaml")
    assert encoded(scheme, SACRUM, PERHAPS_SACRUM, posterior_code(1), 0) == [4, IGNORE, 1, 0]
    assert scheme.has_sacrum and scheme.is_refined and not scheme.splits_vertebrae
    assert scheme.are_structures and scheme.colours[4] == STRUCTURE_COLOURS["sacrum"]


def test_a_scheme_that_splits_vertebrae_has_them_in_one_structure():
    scheme = label_scheme(FOLDER / "posterior.yaml")
    assert encoded(scheme, vertebra_code(3), posterior_code(3), disc_code(1), SACRUM) == [1, 2, 3, 0]
    assert scheme.splits_vertebrae and scheme.is_refined and not scheme.has_sacrum
    assert scheme.groups == ((0,), (1, 2), (3,), (4,)) and not scheme.are_structures
    assert scheme.by_structure().classes[1].codes == scheme.structures[0].codes


def test_only_the_scheme_of_ranks_leaves_anatomy_out():
    complete = {scheme.name: scheme.is_complete for scheme in SCHEMES.values()}
    assert complete == {"ranks": False, "structures": True, "spine": True}


def test_only_the_scheme_of_the_whole_spine_needs_to_know_what_is_painted():
    refined = [scheme.name for scheme in SCHEMES.values() if scheme.is_refined]
    assert refined == ["spine"] and label_scheme(5) is label_scheme("spine")
    assert replace(label_scheme(FOLDER / "sacrum.yaml"), name="spine") == label_scheme("spine")


def test_a_scheme_may_tell_any_number_of_ranks_apart():
    scheme = label_scheme(FOLDER / "eight_ranks.yaml")
    highest = (vertebra_code(8), posterior_code(8), disc_code(8), CANAL, SACRUM, vertebra_code(9))
    assert encoded(scheme, *highest) == [8, 8, 16, 17, 18, IGNORE]
    assert scheme.num_classes == 19 and len(set(scheme.colours)) == 19


def changed(**parts: object) -> dict[str, object]:
    return PLAIN | parts


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "has the keys name, structures and classes, not \\[\\]"),
        ({"name": "x"}, "has the keys name, structures and classes, not name"),
        (changed(more=1), "not name, structures, classes, more"),
        (changed(name=" "), "the name of a label scheme is text"),
        (changed(classes=[0, 1]), "plain: classes is \\[0, 1\\]; want names with codes"),
        (changed(classes={"vertebra": "1-25"}), "plain: the first class must be background, code 0 alone"),
        (changed(classes={"background": [0, 60]}), "plain: the first class must be background"),
        (changed(classes={"background": 0}), "plain: 1 classes and 2 structures"),
        (
            changed(classes={"background": 0, "vertebra": "1-25", "L5": 1, "canal": CANAL}),
            "plain: code 1 is in two class entries",
        ),
        (changed(structures={"a": "1-25", "b": 25}), "plain: code 25 is in two structure entries"),
        (changed(classes={"background": 0, "disc": 31}), "plain: class disc has a code that is in no struc"),
        (changed(classes={"background": 0, "both": [1, CANAL]}), "plain: class both is in two structures"),
        (changed(classes={"background": 0, "canal": CANAL}), "plain: structure vertebra has no class"),
        (
            changed(classes={"background": 0, "vertebra": 26}),
            "plain: vertebra has code 26, which is no dense",
        ),
        (changed(classes={"background": 0, "vertebra": IGNORE}), "vertebra has code 255, which is no dense"),
        (changed(classes={"background": 0, "vertebra": PERHAPS_SACRUM}), "vertebra has code 62, which is no"),
        (changed(classes={"background": 0, "vertebra": "one"}), "plain: vertebra has the codes 'one'; want"),
        (changed(classes={"background": 0, "vertebra": 1.5}), "plain: vertebra has the codes 1.5; want"),
        (
            changed(classes={"background": 0, "vertebra": [1, "5-2"]}),
            "vertebra has the codes .*; want 5, 1-25",
        ),
        (changed(classes={"background": 0, "vertebra": "1-999999999999"}), "code 26, which is no dense code"),
        (changed(classes={"background": 0, "vertebra": []}), "plain: vertebra has no code"),
    ],
)
def test_an_invalid_scheme_is_told_in_one_line(values, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        LabelScheme.from_dict(values)
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(ValueError, match=r"wrong\.yaml: ") as told:
        label_scheme(path)
    assert "\n" not in str(told.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.yaml: No such file"):
        label_scheme(tmp_path / "none.yaml")
    (tmp_path / "torn.yaml").write_text("name: [")
    with pytest.raises(ValueError, match=r"torn\.yaml: not YAML or JSON"):
        label_scheme(tmp_path / "torn.yaml")
    (tmp_path / "twice.yaml").write_text("classes: {background: 0, disc: 31, disc: 32}")
    with pytest.raises(ValueError, match=r"twice\.yaml: .*disc is given twice"):
        label_scheme(tmp_path / "twice.yaml")
    with pytest.raises(ValueError, match="no label scheme is called 'sacrum'; there are ranks, structures"):
        label_scheme("sacrum")
