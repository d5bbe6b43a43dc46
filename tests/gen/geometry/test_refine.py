"""Refined codes: posterior elements, the painted sacrum, and background that may be sacrum."""

import numpy as np
import pytest
import torch

from synthspine.gen import SpineSynthGenerator, draw, generator, preset, render
from synthspine.gen.core.anatomy import (
    CANAL,
    IGNORE,
    PERHAPS_SACRUM,
    SACRUM,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.geometry.refine import refine, refine_maps
from synthspine.gen.geometry.spine_frame import BEFORE_CANAL_MM, find_spine
from synthspine.gen.params import Params
from synthspine.gen.tissues import palette

MM = (1.0, 1.0)
SAMPLES = torch.arange(24)


@pytest.fixture
def params(bank) -> Params:
    return draw(preset("spine"), 5, SAMPLES, maps=len(bank))


def test_vertebrae_beside_and_behind_the_canal_are_posterior_elements(bank):
    refined = refine(bank, MM)
    behind = find_spine(bank, MM).behind_mm > -BEFORE_CANAL_MM
    for rank in (1, 2, 3):
        vertebra = bank == vertebra_code(rank)
        assert (vertebra & behind).any() and (vertebra & ~behind).any()
        assert torch.equal(refined == posterior_code(rank), vertebra & behind)
        assert torch.equal(refined == vertebra_code(rank), vertebra & ~behind)
    for code in (*map(disc_code, (1, 2, 3)), CANAL):
        assert torch.equal(refined == code, bank == code)


def test_background_below_the_lowest_disc_may_be_sacrum(spine):
    """The spine of the map is upright, so the border is a row: that of the disc's middle."""
    refined = refine(torch.from_numpy(spine)[None], MM)[0].numpy()
    rows = np.nonzero((spine == disc_code(1)).any(1))[0]
    border = rows.mean()
    column_is_straight = (refined == PERHAPS_SACRUM)[:, 70]
    # Its step leans forward by the arch, which the middle of the body leaves out.
    assert np.nonzero(column_is_straight)[0].min() == pytest.approx(border + 1, abs=2)
    assert set(np.unique(refined[rows.max() + 3 :])) == {CANAL, PERHAPS_SACRUM}


def test_a_turned_spine_has_a_turned_border():
    rows, columns = np.mgrid[:96, :96].astype(float)
    down, back = rows - 30, columns - 30
    along, across = (down + back) / np.sqrt(2), (back - down) / np.sqrt(2)
    codes = np.zeros((96, 96), dtype=np.uint8)
    codes[(abs(along) < 9) & (abs(across) < 10)] = vertebra_code(1)
    codes[(abs(along - 13) < 4) & (abs(across) < 10)] = disc_code(1)
    perhaps = refine(torch.from_numpy(codes)[None], MM)[0].numpy() == PERHAPS_SACRUM
    wanted = (along > 13) & (codes == 0)
    assert (perhaps != wanted).mean() < 0.02


def test_without_the_lowest_disc_the_last_row_of_the_spine_is_the_border(spine):
    spine[spine == disc_code(1)] = 0
    last = np.nonzero((spine == vertebra_code(1)).any(1))[0].max()
    perhaps = refine(torch.from_numpy(spine)[None], MM)[0].numpy() == PERHAPS_SACRUM
    assert not perhaps[: last + 1].any() and perhaps[last + 1 :].sum() == (spine[last + 1 :] == 0).sum()


def test_a_map_without_spine_may_show_sacrum_everywhere():
    codes = torch.zeros(2, 20, 16, dtype=torch.uint8)
    codes[1, :4] = IGNORE
    refined = refine(codes, MM)
    assert (refined[0] == PERHAPS_SACRUM).all()
    assert (refined[1, :4] == IGNORE).all() and (refined[1, 4:] == PERHAPS_SACRUM).all()


def test_an_annotated_sacrum_leaves_no_doubt(bank):
    bank[1, 85:90, 20:40] = SACRUM
    refined = refine(bank, MM)
    assert [bool((sample == PERHAPS_SACRUM).any()) for sample in refined] == [True, False, True]
    assert torch.equal(refined[1] == SACRUM, bank[1] == SACRUM)


def test_volumes_are_refined_like_their_slices(spine):
    volume = torch.from_numpy(np.stack([spine] * 4))[None]
    refined = refine(volume, (4.0, 1.0, 1.0))
    assert refined.shape == volume.shape
    assert torch.equal(refined[0, 1], refine(volume[:, 1], MM)[0])


def test_many_maps_are_refined_alike(bank):
    assert torch.equal(refine_maps(bank, MM), refine(bank, MM))
    assert refine_maps(bank[:0], MM).shape == (0, *bank.shape[1:])


def test_refined_rendering_changes_the_codes_alone(bank, params):
    image, codes = render(bank, params)
    same, refined = render(bank, params, refined=True)
    assert torch.equal(image, same)
    plain = refined.clone()
    plain[plain == SACRUM] = 0
    behind = (plain > 130) & (plain < 156)
    plain[behind] -= 130
    assert torch.equal(plain, codes)
    assert behind.any() and (refined == SACRUM).any() and not (refined == PERHAPS_SACRUM).any()


@pytest.fixture
def surroundings(monkeypatch) -> list[torch.Tensor]:
    """The painted codes of each rendered batch before and after what the labels name is painted."""
    seen: list[torch.Tensor] = []

    def watched(step):
        def watch(painted, *rest):
            seen.append(painted.clone())
            return step(painted, *rest)

        return watch

    for name in ("paint_annotated_sacrum", "paint_canal"):
        monkeypatch.setattr(generator, name, watched(getattr(generator, name)))
    return seen


def painted_bone(painted: torch.Tensor) -> torch.Tensor:
    return (painted == palette.SACRUM) | (painted == palette.SACRAL_DISC)


def test_a_sacrum_is_a_target_exactly_where_it_is_painted(bank, params, surroundings):
    _, refined = render(bank, params, refined=True)
    shown = painted_bone(surroundings[0])
    assert torch.equal(refined == SACRUM, shown)
    with_sacrum = shown.flatten(1).any(1)
    assert with_sacrum.any() and not with_sacrum.all()


def test_an_annotated_sacrum_is_painted_as_bone_and_is_the_only_one(bank, params, surroundings):
    bank[:, 86:92, 20:40] = SACRUM
    _, refined = render(bank, params, refined=True)
    annotated = (refined == SACRUM).flatten(1).any(1)
    assert annotated.sum() > len(annotated) / 2
    assert torch.equal(painted_bone(surroundings[1])[annotated], (refined == SACRUM)[annotated])


def test_the_generator_gives_targets_of_a_scheme_of_a_file(spine):
    folder = "tests/schemes"
    dense = SpineSynthGenerator("T1", labels="dense").sample(spine[None, None], indices=range(8))
    generator = SpineSynthGenerator("T1", labels="dense", targets=f"{folder}/sacrum.yaml")
    image, target = generator.sample(spine[None, None], indices=range(8))
    assert np.array_equal(image, dense[0])
    assert set(np.unique(target)) <= {0, 1, 2, 3, 4, IGNORE} and (target == 4).any()
    assert np.array_equal(target == 3, dense[1] == CANAL)


def test_label_maps_may_hold_the_classes_of_a_scheme_of_a_file(spine):
    generator = SpineSynthGenerator("T1", labels="tests/schemes/posterior.yaml")
    classes = np.zeros_like(spine)
    classes[(spine >= 1) & (spine <= 25)] = 1
    classes[:, 60:][classes[:, 60:] == 1] = 2
    classes[(spine > 30) & (spine < 56)] = 3
    classes[spine == CANAL] = 4
    codes = generator.codes(classes)[0].numpy()
    assert set(np.unique(codes)) == {0, 1, 31, CANAL}
    _, target = generator.sample(classes[None, None], indices=range(4))
    assert set(np.unique(target)) <= {0, 1, 2, 3, 4, IGNORE} and (target == 2).any()
    with pytest.raises(ValueError, match=r"label 5 is not a value of the scheme '.*posterior"):
        generator.codes(np.full((4, 4), 5))


def test_an_unknown_scheme_names_all_that_there_are():
    with pytest.raises(
        ValueError, match=r"called 'fourteen'.*ranks, structures, spine, 14, 4, 5.*'dense' or 'spider'"
    ):
        SpineSynthGenerator(labels="fourteen")
