from dataclasses import replace

import pytest
import torch

from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.continuum import MapsToRender
from synthspine.eval.studies.options import EvaluationOptions, Levels
from synthspine.eval.studies.study import conditions
from synthspine.gen.core.anatomy import IGNORE
from synthspine.shards.building.names import LABELS_VAL, VALIDATION_IMAGES
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.readers.slices import Grid

SPACING_MM = 2.0


@pytest.fixture
def sets(tmp_path, spider_folder):
    """Two patients of three slices on T1 and T2, on a grid larger than their field of view; their maps."""
    shards = ShardOptions(
        data_dir=spider_folder,
        shards_dir=str(tmp_path / "shards"),
        split=spider_folder / "split.json",
        device="cpu",
        grid=Grid(spacing_mm=SPACING_MM, shape=(144, 112)),
    )
    names = {place: VALIDATION_IMAGES[place] for place in ("t1", "t2")}
    folders = ensure_sets([*names.values(), LABELS_VAL], shards)
    loaded = {place: SliceBatches(folders[name], 4) for place, name in names.items()}
    return loaded, MapsToRender(folders[LABELS_VAL], shards.generator(), torch.device("cpu"))


def chosen(sets, **options):
    found = conditions(EvaluationOptions(**options), *sets)
    assert not found.left_out
    return found.conditions


def whole(condition, size=8):
    images, codes, patients, _ = zip(*condition.batches(size), strict=True)
    return torch.cat(images), torch.cat(codes), [name for part in patients for name in part]


def test_contrast_is_every_slice_as_it_is(sets):
    conditions = chosen(sets, studies=("contrast",))
    assert [condition.place for condition in conditions] == ["t1", "t2"]
    image, codes, patients = whole(conditions[0])
    expected = list(sets[0]["t1"])
    assert torch.equal(image, torch.cat([batch[0] for batch in expected]))
    assert torch.equal(codes, torch.cat([batch[1] for batch in expected]))
    assert patients == ["3", "3", "3", "4", "4", "4"]


@pytest.mark.parametrize("study", ["resolution_in_plane", "resolution_through_plane", "corruption_motion"])
def test_the_input_changes_and_the_truth_does_not(sets, study):
    conditions = [c for c in chosen(sets, studies=(study,), resolution_factors="1,2.5") if c.place == "t2"]
    plain, changed = conditions[0], conditions[-1]
    assert plain.recipe["change"] is None and changed.recipe["change"]
    assert plain.value < changed.value and plain.indices == changed.indices
    assert torch.equal(whole(plain)[1], whole(changed)[1])
    assert not torch.equal(whole(plain)[0], whole(changed)[0])


def test_equal_recipes_are_equal_inputs_and_others_are_not(sets):
    by_recipe = {}
    # Three stored slices do not tell a thickness of 3 from one of 4.
    for condition in chosen(sets, resolution_factors="1,2,3"):
        if condition.place != "t2":
            by_recipe.setdefault(repr(condition.recipe), []).append(whole(condition)[0])
    for same in by_recipe.values():
        assert all(torch.equal(same[0], other) for other in same[1:])
    changed = [same[0] for recipe, same in by_recipe.items() if "'change': None" not in recipe]
    assert len(changed) > 20 and len(by_recipe) < len(changed) + 4
    for place, picture in enumerate(changed):
        assert not any(picture.shape == o.shape and torch.equal(picture, o) for o in changed[:place])


def test_batches_do_not_depend_on_their_size(sets):
    for condition in chosen(sets, quick=True):
        assert torch.equal(whole(condition, 1)[0], whole(condition, 8)[0])


def test_noise_stays_inside_the_field_of_view(sets):
    levels = Levels(noise="0.2")
    noisy = chosen(sets, studies=("corruption_noise",), levels=levels, slices_per_patient=0)[1]
    image, codes, _ = whole(noisy)
    plain = whole(chosen(sets, studies=("contrast",))[0])[0]
    outside = (codes == IGNORE)[:, None]
    assert outside.any()
    assert torch.equal(image[outside], plain[outside])
    assert (image[~outside] != plain[~outside]).float().mean() > 0.9


def test_thick_slices_are_the_mean_of_their_neighbours(sets):
    thick = chosen(sets, studies=("resolution_through_plane",), resolution_factors="1,3")[1]
    assert (thick.indices, thick.patients) == ([1, 4], ["3", "4"])
    images = sets[0]["t1"].images.float()
    torch.testing.assert_close(whole(thick)[0][0, 0], images[:3].mean(dim=0))


def test_few_slices_of_each_patient_where_many_conditions_are_asked_for(sets):
    for condition in chosen(sets, slices_per_patient=1):
        many = condition.study in ("contrast", "resolution_in_plane")
        assert len(condition.indices) == (6 if many else 2)
        assert set(condition.patients) == {"3", "4"}


def test_studies_on_rendered_maps(sets):
    conditions = chosen(sets, studies=("synthetic", "continuum", "physical"), continuum_steps=3)
    assert [(c.study, c.value) for c in conditions] == [
        ("synthetic", 0.0),
        *(("continuum", alpha) for alpha in (0.0, 0.5, 1.0)),
        *(("physical", float(number)) for number in range(3)),
    ]
    image, codes, patients = whole(conditions[0])
    assert image.shape == (6, 1, 144, 112) and codes.dtype == torch.uint8
    assert patients == ["3"] * 3 + ["4"] * 3


def test_a_study_without_anything_to_measure_is_named(sets):
    found = conditions(EvaluationOptions(studies=("contrast", "continuum")), sets[0], None)
    assert {condition.study for condition in found.conditions} == {"contrast"}
    assert "label map" in found.left_out["continuum"]


def test_factors_without_a_slice_are_dropped_and_named(sets):
    chosen = EvaluationOptions(studies=("resolution_through_plane",), resolution_factors="1,2,3,4,5")
    found = conditions(chosen, *sets)
    assert [(c.place, c.value) for c in found.conditions] == [
        (place, factor) for place in ("t1", "t2") for factor in (1.0, 2.0, 3.0)
    ]
    assert len({tuple(c.indices) for c in found.conditions}) == 1
    reason = "where no slice has 2 stored slices on both sides"
    assert found.dropped == {"resolution_through_plane": f"4x, 5x on T1, {reason}; 4x, 5x on T2, {reason}"}
    assert not found.left_out
    quick = conditions(replace(chosen, quick=True), *sets)
    assert [c.value for c in quick.conditions] == [1.0, 3.0, 1.0, 3.0]
    assert quick.dropped["resolution_through_plane"].startswith("5x on T1, where no slice has 2 stored")


def test_slices_belong_to_their_series_and_renders_to_themselves(sets):
    conditions = chosen(sets, studies=("contrast", "synthetic"), slices_per_patient=0)
    assert conditions[0].volumes == ["3_t1"] * 3 + ["4_t1"] * 3
    assert len(set(conditions[-1].volumes)) == len(conditions[-1].indices) == 12
    *_, volumes = zip(*conditions[0].batches(4), strict=True)
    assert [name for part in volumes for name in part] == conditions[0].volumes
