import pytest
import torch

from synthspine.eval.metrics.structures import StructureError, shared_structures, to_measured
from synthspine.gen.core.anatomy import IGNORE, SACRUM
from synthspine.gen.core.schemes import RANKS, STRUCTURES_ALONE, LabelScheme


def scheme(name="own", structures=None, **classes):
    classes = {"background": 0, **classes}
    structures = structures or {each: codes for each, codes in classes.items() if each != "background"}
    return LabelScheme.from_dict({"name": name, "structures": structures, "classes": classes})


PLAIN = {"vertebra": "1-25", "disc": "31-55", "canal": 60}
SPLIT = {"vertebra": ["1-25", "131-155"], "disc": "31-55", "canal": 60}


def test_one_model_is_scored_on_all_its_structures():
    sacrum = scheme(**PLAIN, sacrum=61)
    assert shared_structures({"A": sacrum}) == sacrum
    assert shared_structures({"A": RANKS}).class_names == ("background", "vertebra", "disc", "canal")


def test_models_are_scored_on_what_they_share():
    measured = shared_structures({"A": scheme(**PLAIN, sacrum=61), "B": RANKS})
    assert measured.structure_names == ("vertebra", "disc", "canal")
    # As for B: the sacrum is background.
    assert measured.table == STRUCTURES_ALONE.table


def test_posterior_elements_belong_to_their_vertebra_whether_named_or_not():
    parts = scheme(structures=SPLIT, body="1-25", posterior="131-155", disc="31-55", canal=60)
    assert shared_structures({"A": parts, "B": RANKS}).structure_names == ("vertebra", "disc", "canal")
    apart = scheme(vertebra="1-25", posterior="131-155", disc="31-55", canal=60)
    assert shared_structures({"A": apart, "B": RANKS}).structure_names == ("disc", "canal")


def test_codes_of_no_shared_structure_are_left_out():
    measured = shared_structures({"A": RANKS, "B": scheme(disc="31-55", canal=60)})
    assert measured.structure_names == ("disc", "canal")
    assert measured.encode(torch.tensor([0, 5, 31, 60], dtype=torch.uint8)).tolist() == [0, IGNORE, 1, 2]


def test_models_without_a_common_structure_are_an_error():
    with pytest.raises(StructureError, match=r"no structure with the same codes \(A: vertebra; B: canal\)"):
        shared_structures({"A": scheme(vertebra="1-25"), "B": scheme(canal=60)})


def test_a_structure_must_not_have_the_name_of_the_mean():
    with pytest.raises(StructureError, match="a structure is called 'overall'"):
        shared_structures({"A": scheme(overall="1-25")})


def test_classes_are_mapped_to_measured_structures():
    classes = torch.tensor([*range(14), IGNORE], dtype=torch.uint8)
    assert to_measured(classes, RANKS, RANKS.by_structure()).tolist() == [0] + [1] * 6 + [2] * 6 + [3, IGNORE]
    sacrum = scheme(sacrum=SACRUM, **PLAIN)
    measured = shared_structures({"A": sacrum, "B": RANKS})
    assert to_measured(torch.arange(5), sacrum, measured).tolist() == [0, 0, 1, 2, 3]
    assert to_measured(torch.arange(4), STRUCTURES_ALONE, STRUCTURES_ALONE).tolist() == [0, 1, 2, 3]
