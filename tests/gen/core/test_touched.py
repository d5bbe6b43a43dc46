"""Steps run on the samples that they change, and on no others."""

from dataclasses import replace

import pytest
import torch

from synthspine.gen import draw, generator, preset, render
from synthspine.gen.core.anatomy import CANAL, disc_code
from synthspine.gen.core.touched import where_changed
from synthspine.gen.params import FEATURES

SPARSE = [
    ("chemical_shift", "shift_fat"),
    ("implant", "add_implant"),
    ("flow_void", "add_flow_void"),
    ("modic", "paint_end_plates"),
    ("haemangioma", "paint_haemangioma"),
    ("bowel", "paint_bowel"),
    ("floor", "paint_floor"),
    ("wrap", "wrap_around"),
    ("ghosting", "distort_kspace"),
    ("zipper", "add_zipper"),
    ("arches", "mix_arches"),
    ("body_layers", "paint_body_layers"),
    ("epidural_fat", "paint_epidural_fat"),
    ("fat_pads", "paint_fat_pads"),
    ("front_fat", "paint_front_fat"),
    ("hidden", "hide"),
    ("sacrum", "paint_sacrum"),
]


def _bank():
    bank = torch.zeros(1, 96, 64, dtype=torch.uint8)
    bank[0, 8:88, 36:42] = CANAL
    for rank in range(3):
        bank[0, 62 - 24 * rank : 78 - 24 * rank, 10:32] = rank + 1
        bank[0, 79 - 24 * rank : 84 - 24 * rank, 11:31] = disc_code(rank + 1)
    return bank


def _params(config, count=12):
    return draw(config, 3, torch.arange(count), maps=1)


@pytest.mark.parametrize(("feature", "step"), SPARSE)
def test_a_feature_that_no_sample_has_is_not_called_and_others_run_on_their_samples(
    feature, step, monkeypatch
):
    config = preset("spine")
    others = {name: replace(getattr(config, name), probability=0.0) for name in ("schmorl",)}
    others |= {name: replace(getattr(config, name), probability=0.0)
               for name in ("gibbs", "spike", "kspace_motion", "motion_blur")}  # fmt: skip
    config = replace(config, **others)
    seen = []
    plain = getattr(generator, step)
    monkeypatch.setattr(generator, step, lambda first, *rest: seen.append(len(first)) or plain(first, *rest))
    params = _params(replace(config, **{feature: replace(getattr(config, feature), probability=0.4)}))
    touched = getattr(params, feature).touched()
    assert 0 < touched.sum() <= 9  # of 12: with more the whole batch is rendered
    render(_bank(), params)
    assert seen == [int(touched.sum())]
    seen.clear()
    render(_bank(), params[(~touched).nonzero().flatten()])
    assert seen == []


def test_the_picked_samples_are_those_of_the_whole_batch_bit_for_bit(monkeypatch):
    broken, beside, torn = _bank().repeat(3, 1, 1)
    broken[30:50] = torch.where(broken[30:50] == CANAL, 0, broken[30:50])
    torn[20:70:7, 36:40] = 0
    beside[beside == CANAL] = 0
    bank = torch.stack((*_bank(), broken, beside, torn))
    params = draw(preset("spine"), 11, torch.arange(240), maps=len(bank))
    image, codes = render(bank, params)
    monkeypatch.setattr("synthspine.gen.core.touched.GREATEST_PICKED_SHARE", -1.0)
    whole, same = render(bank, params)
    assert torch.equal(codes, same)
    different = (image != whole).flatten(1).any(1).nonzero().flatten().tolist()
    assert different == []


def test_every_feature_that_says_whom_it_touches_says_it_per_sample():
    params = _params(preset("spine"), 5)
    for name in FEATURES:
        own = getattr(params, name)
        touched = None if own is None else own.touched()
        assert touched is None or (touched.dtype == torch.bool and touched.shape == (5,)), name


def test_arguments_of_every_kind_are_picked():
    def step(first, each, both, common):
        assert common.shape == (3,) and both[1] == "text"
        return first + each.view(-1, 1) + both[0]

    first, each = torch.zeros(4, 2), torch.arange(4.0)
    changed = torch.tensor([False, True, False, True])
    found = where_changed(step, changed, first, each, (torch.ones(4, 2), "text"), torch.zeros(3))
    assert found.tolist() == [[0, 0], [2, 2], [0, 0], [4, 4]]


@pytest.mark.parametrize("in_place", [False, True])
def test_the_changed_samples_go_where_they_were_or_into_a_copy(in_place):
    first, changed = torch.arange(12.0).reshape(4, 3), torch.tensor([False, True, False, True])
    before = first.clone()
    after = where_changed(lambda values: -values, changed, first, in_place=in_place)
    assert torch.equal(after, torch.where(changed.unsqueeze(1), -before, before))
    assert torch.equal(first, after if in_place else before)
