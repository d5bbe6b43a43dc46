"""The table of painted tissues."""

from synthspine.gen.core.anatomy import CANAL, MAX_RANK
from synthspine.gen.intensity.spin_echo import TISSUES as SUBSTANCES
from synthspine.gen.tissues.palette import (
    AIR,
    FAT,
    FAT_FRACTION,
    OUTSIDE,
    PAINT_CODES,
    REGIONS,
    TISSUES,
    codes_of,
)


def test_every_painted_code_but_outside_belongs_to_exactly_one_tissue():
    codes = [code for tissue in TISSUES.values() for code in codes_of(tissue)]
    labelled = {*range(1, MAX_RANK + 1), *range(31, 31 + MAX_RANK), CANAL}
    assert len(codes) == len(set(codes))
    assert set(codes) == (labelled | set(range(REGIONS.start, PAINT_CODES))) - {OUTSIDE}


def test_codes_fit_into_a_byte_and_below_the_code_of_what_is_not_annotated():
    assert PAINT_CODES <= 255


def test_relaxation_names_tissues_that_have_relaxation_times():
    names = {name for tissue in TISSUES.values() for name in tissue.relaxation or ()}
    assert names <= set(SUBSTANCES)
    assert all(0 <= tissue.blend[0] <= tissue.blend[1] <= 1 for tissue in TISSUES.values())


def test_bone_marrow_has_one_share_of_fat_in_the_picture_and_in_the_spin_echo():
    assert TISSUES["vertebra"].fat == TISSUES["sacrum"].fat == SUBSTANCES["marrow"].fat


def test_means_are_shares_of_full_scale():
    for tissue in TISSUES.values():
        assert all(0 <= mean <= 1 and spread > 0 for mean, spread in (tissue.t1, tissue.t2))


def test_the_fat_table_has_a_share_for_every_code_and_some_fatty_regions():
    assert len(FAT_FRACTION) == PAINT_CODES
    assert all(0 <= share <= 1 for share in FAT_FRACTION)
    assert (FAT_FRACTION[FAT], FAT_FRACTION[AIR], FAT_FRACTION[CANAL]) == (1.0, 0.0, 0.0)
    assert 0 < sum(share > 0.5 for share in FAT_FRACTION[REGIONS]) < REGIONS.stop - REGIONS.start
