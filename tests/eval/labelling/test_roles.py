import numpy as np
import pytest

from synthspine.eval.labelling.ranks import rank_codes
from synthspine.eval.labelling.roles import (
    by_rank,
    code_name,
    ranked_classes,
    ranks_of,
    roles_of,
    scheme_roles,
)
from synthspine.gen.core.anatomy import (
    CANAL,
    IGNORE,
    POSTERIOR_OFFSET,
    SACRUM,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.core.schemes import RANKS, STRUCTURES_ALONE, LabelScheme
from synthspine.shards.checking.overlay import code_colours

SPACING = (4.0, 1.0, 1.0)


def scheme_of(structures, classes=None):
    classes = {"background": 0, **(structures if classes is None else classes)}
    return LabelScheme.from_dict({"name": "drawn", "structures": structures, "classes": classes})


SPLIT = scheme_of({"body": "1-25", "posterior": "131-155", "disc": "31-55", "canal": 60})


def split(codes):
    """The codes with the arches behind the canal as posterior elements."""
    columns = np.arange(codes.shape[2])
    canal = codes == CANAL
    line = np.where(canal.any(axis=2), (canal * columns).max(axis=2), codes.shape[2])[..., None]
    parted = codes.copy()
    parted[(roles_of(codes) == 1) & (columns > line)] += POSTERIOR_OFFSET
    return parted


def seen_by(scheme, codes):
    """What a faultless model of the scheme predicts."""
    first = np.array([*scheme.codes, *[0] * (256 - scheme.num_classes)], dtype=np.uint8)
    return first[np.array(scheme.table)][codes]


def test_codes_have_a_role_and_a_rank():
    codes = np.array([0, 1, 25, 26, 31, 55, CANAL, SACRUM, 131, 155, IGNORE], dtype=np.uint8)
    assert roles_of(codes).tolist() == [0, 1, 1, 0, 2, 2, 3, 0, 1, 1, IGNORE]
    assert ranks_of(codes).tolist() == [0, 1, 25, 0, 1, 25, 0, 0, 1, 25, 0]


def test_codes_have_a_name():
    codes = (vertebra_code(1), vertebra_code(7), disc_code(2), posterior_code(3), CANAL)
    assert [code_name(code) for code in codes] == ["L5", "vertebra 7", "L4/L5", "L3", "60"]


def test_names_that_are_relative_are_ranks():
    names = [code_name(code, relative=True) for code in (vertebra_code(1), vertebra_code(2), disc_code(1))]
    assert names == ["vertebra 1 (lowest vertebra in view)", "vertebra 2", "disc 1"]


def test_a_model_tells_ranks_by_classes_of_one_rank():
    assert ranked_classes(RANKS).sum() == 12
    assert not ranked_classes(STRUCTURES_ALONE).any() and not ranked_classes(SPLIT).any()
    lowest = scheme_of({"vertebra": ["1-25", 131]}, {"L5": [1, 131], "others": "2-25"})
    assert np.flatnonzero(ranked_classes(lowest)).tolist() == [1]


def test_roles_of_a_scheme():
    assert scheme_roles(RANKS) == scheme_roles(SPLIT) == [1, 2, 3]
    assert scheme_roles(scheme_of({"disc": "31-55", "sacrum": 61})) == [2]


def test_counted_ranks_have_the_colours_of_the_ranks():
    assert np.array_equal(code_colours(by_rank(RANKS)), code_colours(RANKS))
    assert np.array_equal(code_colours(by_rank(STRUCTURES_ALONE)), code_colours(RANKS))
    names = by_rank(SPLIT).class_names
    assert {"body L5", "posterior T12", "disc L5/S1"} <= set(names) and len(names) == 1 + 3 * 6 + 1
    assert by_rank(scheme_of({"thoracic": "7-25"})).num_classes == 20
    together = {"vertebra": ["1-25", "131-155"]}
    assert by_rank(scheme_of(together)).structure_names == ("vertebra",)
    apart = scheme_of(together, {"body": "1-25", "arch": "131-155"})
    assert by_rank(apart).structure_names == ("vertebra", "posterior elements of vertebra")


@pytest.mark.parametrize("source", ["count", "auto"])
def test_posterior_elements_get_the_rank_of_their_body(spine, source):
    codes = split(spine(levels=5))
    assert (codes > POSTERIOR_OFFSET).any()
    assert np.array_equal(rank_codes(seen_by(SPLIT, codes), SPLIT, SPACING, source).codes, codes)


def test_posterior_elements_go_with_a_body_below_the_first_rank(spine):
    """The model's own ranks move the count down: what was L5 becomes sacrum, and so do its elements."""
    codes = split(spine(levels=5))
    ranked = scheme_of(
        {"vertebra": "1-25", "posterior": "131-155", "disc": "31-55"},
        {**{f"V{rank}": rank for rank in range(1, 7)}, "posterior": "131-155", "disc": "31-55"},
    )
    seen = seen_by(ranked, codes)
    seen[(codes >= 2) & (codes <= 6)] -= 1
    seen[codes == 1] = 0
    got = rank_codes(seen, ranked, SPACING).codes
    assert (got[codes == posterior_code(3)] == posterior_code(2)).all()
    assert not got[codes == posterior_code(1)].any()


def test_the_sacrum_stays_and_is_no_vertebra(spine):
    scheme = scheme_of({"vertebra": "1-25", "disc": "31-55", "canal": 60, "sacrum": 61})
    codes = spine(levels=5)
    low = np.flatnonzero((codes == disc_code(1)).any(axis=(0, 2)))[-1]
    codes[:, low + 5 :, 70:90][codes[:, low + 5 :, 70:90] == 0] = SACRUM
    assert (codes == SACRUM).any()
    assert np.array_equal(rank_codes(seen_by(scheme, codes), scheme, SPACING).codes, codes)


def test_the_model_keeps_its_ranks_and_the_others_are_counted(spine):
    codes = spine(levels=5)
    vertebrae = {f"V{rank}": rank for rank in range(1, 7)}
    structures = {"vertebra": "1-25", "disc": "31-55", "canal": 60}
    scheme = scheme_of(structures, {**vertebrae, "disc": "31-55", "canal": 60})
    seen = seen_by(scheme, codes)
    confused = np.where(seen == 2, np.uint8(5), seen)
    got = rank_codes(confused, scheme, SPACING, "model").codes
    assert np.array_equal(got, np.where(codes == 2, np.uint8(5), codes))
    assert np.array_equal(rank_codes(confused, scheme, SPACING, "auto").codes, codes)


@pytest.mark.parametrize(
    ("structures", "right"),
    [
        ({"vertebra": "1-25", "disc": "31-55"}, 0.9),
        ({"vertebra": "1-25", "canal": 60}, 0.7),
        ({"disc": "31-55", "canal": 60}, 1.0),
        ({"disc": "31-55"}, 1.0),
        ({"vertebra": "1-25"}, 0.3),
        ({"posterior": "131-155"}, 0.0),
        ({"canal": 60, "sacrum": 61}, 1.0),
        ({"sacrum": 61}, 1.0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_schemes_may_lack_what_the_count_goes_by(spine, structures, right):
    scheme = scheme_of(structures)
    codes = split(spine(levels=5))
    if "vertebra" in structures:
        codes = np.where(codes > POSTERIOR_OFFSET, codes - np.uint8(POSTERIOR_OFFSET), codes)
    truth = np.where(np.array(scheme.table)[codes] == IGNORE, np.uint8(0), codes)
    got = rank_codes(seen_by(scheme, truth), scheme, SPACING).codes
    assert np.array_equal(roles_of(got), roles_of(truth))
    assert (got == truth)[truth > 0].mean() >= right if truth.any() else not got.any()
