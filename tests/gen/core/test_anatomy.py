"""Codes, schemes, SPIDER values."""

import numpy as np
import pytest
import torch

from synthspine.gen.core.anatomy import (
    CANAL,
    IGNORE,
    VALID_CODES,
    codes_of_spider,
    disc_code,
    spider_values,
    structure_of,
    vertebra_code,
)
from synthspine.gen.core.schemes import SCHEMES, label_scheme


@pytest.mark.parametrize("name", SCHEMES)
def test_decoding_and_encoding_a_class_gives_it_back(name):
    scheme = label_scheme(name)
    classes = torch.arange(scheme.num_classes, dtype=torch.uint8)
    assert torch.equal(scheme.encode(scheme.decode(classes)), classes)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_has_a_name_structure_and_colour_per_class(name):
    scheme = label_scheme(name)
    lengths = {len(scheme.class_names), len(scheme.class_structures), len(scheme.colours), len(scheme.codes)}
    assert lengths == {scheme.num_classes} == {len(set(scheme.colours))}


def test_fourteen_classes_are_six_ranks_of_vertebrae_and_discs_and_the_canal():
    codes = [0, *map(vertebra_code, range(1, 8)), *map(disc_code, range(1, 8)), CANAL, IGNORE]
    classes = label_scheme(14).encode(torch.tensor(codes, dtype=torch.uint8)).tolist()
    assert classes == [0, 1, 2, 3, 4, 5, 6, IGNORE, 7, 8, 9, 10, 11, 12, IGNORE, 13, IGNORE]


def test_four_classes_keep_every_rank():
    codes = torch.tensor(VALID_CODES, dtype=torch.uint8)
    classes = label_scheme(4).encode(codes)
    names = {0: None, 1: "vertebra", 2: "disc", 3: "canal", IGNORE: None}
    assert [names[c] for c in classes.tolist()] == [structure_of(code) for code in VALID_CODES]


def test_spider_values_and_codes_are_inverse():
    annotated = [code for code in VALID_CODES if code != IGNORE]
    values = spider_values()[annotated]
    assert np.array_equal(codes_of_spider()[values], annotated)
    assert spider_values()[[vertebra_code(1), disc_code(1), CANAL]].tolist() == [1, 201, 100]


def test_unknown_ranks_and_schemes_are_refused():
    with pytest.raises(ValueError, match="26"):
        vertebra_code(26)
    with pytest.raises(ValueError, match="0"):
        disc_code(0)
    with pytest.raises(ValueError, match="7"):
        label_scheme(7)
