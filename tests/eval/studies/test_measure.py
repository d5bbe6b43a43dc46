import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from synthspine.eval.segmentation.segment import segment_volume
from synthspine.eval.studies.measure import MeasureError, evaluate_model, measure
from synthspine.gen.core.anatomy import CANAL, IGNORE, STRUCTURES, disc_code, vertebra_code
from synthspine.gen.core.schemes import label_scheme
from synthspine.shards.readers.spider import Volume


class Oracle(nn.Module):
    """Reads the class from the image: pixel value = class / 20; sure of it as far as ``sharpness``."""

    def __init__(self, num_classes, sharpness=30.0):
        super().__init__()
        self.num_classes = num_classes
        self.sharpness = sharpness

    def forward(self, image):
        classes = (image[:, 0] * 20).round().long().clamp(0, self.num_classes - 1)
        return self.sharpness * nn.functional.one_hot(classes, self.num_classes).movedim(-1, 1).float()


def as_image(codes, scheme):
    classes = label_scheme(scheme).encode(codes)
    return torch.where(classes == IGNORE, 0, classes).float()[:, None] / 20


def batch(codes, patients, scheme="4", answer=None, volumes=None):
    codes = torch.as_tensor(codes)
    image = as_image(codes if answer is None else torch.as_tensor(answer), scheme)
    return image, codes, patients, patients if volumes is None else volumes


def run(*batches, scheme="4", **arguments):
    return measure(Oracle(int(scheme)), batches, "cpu", **{"spacing_mm": 1.0, **arguments})


@pytest.mark.parametrize("scheme", ["4", "14"])
def test_perfect_answer(spine, scheme):
    codes = spine(levels=6, stub=False, slices=2)
    records = run(batch(codes, ["7", "7"], scheme), scheme=scheme)
    assert list(records) == ["7"]
    record = records["7"]
    for name in STRUCTURES:
        assert record["structures"][name] == {
            "dice": 1.0,
            "hd95_mm": 0.0,
            "assd_mm": 0.0,
            "nsd_1mm": 1.0,
            "nsd_2mm": 1.0,
            "missed": [0, 2],
            "invented": [0, 0],
        }
    assert set(record["classes"]) == set(label_scheme(scheme).class_names[1:])
    assert all(entry == record["structures"]["disc"] for entry in record["classes"].values())
    instances = record["instances"]
    assert (instances["truth"], instances["found"], instances["extra"], instances["rank_right"]) == (
        6,
        6,
        0,
        6,
    )
    assert record["slices"] == 2
    assert record["ece"] == pytest.approx(0, abs=1e-6)
    assert record["entropy"] == pytest.approx(0, abs=1e-6)
    assert record["structure_entropy"] == pytest.approx(0, abs=1e-6)


def test_distances_are_in_mm_and_pooled_over_slices(spine):
    codes = spine(levels=4, slices=2)
    moved = codes.copy()
    moved[1] = torch.as_tensor(codes[1]).roll(3, dims=1)
    record = run(batch(codes, ["7", "7"], answer=moved), spacing_mm=(1.0, 0.5))["7"]["structures"]["canal"]
    alone = run(batch(codes[1:], ["7"], answer=moved[1:]), spacing_mm=(1.0, 0.5))["7"]["structures"]["canal"]
    assert alone["hd95_mm"] == pytest.approx(1.5)
    assert record["assd_mm"] == pytest.approx(alone["assd_mm"] / 2)
    assert record["nsd_1mm"] == pytest.approx((1 + alone["nsd_1mm"]) / 2)
    assert record["hd95_mm"] == pytest.approx(1.5)


def test_dice_is_that_of_evaluate_model_and_of_simpleitk(spine):
    codes = torch.as_tensor(spine(levels=6, slices=2))
    answer = codes.roll(4, dims=1)
    one = batch(codes, ["a", "b"], answer=answer)
    records = run(one)
    simple = evaluate_model(model=Oracle(4), dataloader=[one[:3]])
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    encode = label_scheme("4").encode
    overlap.Execute(*(sitk.GetImageFromArray(encode(maps[0]).numpy()) for maps in (answer, codes)))
    for value, name in enumerate(STRUCTURES, start=1):
        dice = records["a"]["structures"][name]["dice"]
        assert dice == simple["patients"]["a"][name]
        assert dice == pytest.approx(overlap.GetDiceCoefficient(value))


def test_structure_that_is_nowhere_has_no_value_and_a_missed_one_has_the_worst(spine):
    codes = torch.as_tensor(spine(levels=4, slices=2))
    without, answer = codes.clone(), codes.clone()
    without[1][without[1] == CANAL] = 0
    answer[answer == CANAL] = 0
    records = run(batch(without, ["missed", "nowhere"], answer=answer))
    diagonal = math.hypot(320, 256)
    assert records["missed"]["structures"]["canal"] == {
        "dice": 0.0,
        "hd95_mm": pytest.approx(diagonal),
        "assd_mm": pytest.approx(diagonal),
        "nsd_1mm": 0.0,
        "nsd_2mm": 0.0,
        "missed": [1, 1],
        "invented": [0, 0],
    }
    assert records["nowhere"]["structures"]["canal"] == {
        "dice": None,
        "hd95_mm": None,
        "assd_mm": None,
        "nsd_1mm": None,
        "nsd_2mm": None,
        "missed": [0, 0],
        "invented": [0, 1],
    }


def test_what_is_not_annotated_counts_nowhere(spine):
    codes = torch.as_tensor(spine(levels=5))
    cut = codes.clone()
    cut[:, :120] = IGNORE
    answer = codes.clone()
    clean = run(batch(cut, ["7"], answer=answer))["7"]
    answer[:, :100] = vertebra_code(1)
    answer[:, 100:110] = disc_code(1)
    assert run(batch(cut, ["7"], answer=answer))["7"] == clean
    assert clean["structures"]["vertebra"]["hd95_mm"] == 0.0
    assert sum(row[0] for row in clean["ece_bins"]) == 200 * 256


def test_batches_change_nothing(spine):
    codes = torch.cat([torch.as_tensor(spine(levels=4, lean=lean)) for lean in (0.0, 0.1, 0.2, 0.3)])
    answer, patients = codes.roll(2, dims=2), ["b", "a", "b", "a"]
    together = run(batch(codes, patients, answer=answer))
    parts = [batch(codes[k : k + 1], patients[k : k + 1], answer=answer[k : k + 1]) for k in range(4)]
    apart = run(*parts)
    assert list(together) == list(apart) == ["a", "b"]
    for patient, record in together.items():
        assert record["entropy"] == pytest.approx(apart[patient].pop("entropy"))
        assert {name: record[name] for name in apart[patient]} == apart[patient]


def test_renders_are_counted_slice_by_slice(spine):
    codes = torch.cat(
        [
            torch.as_tensor(spine(levels=6, stub=False)),
            torch.as_tensor(spine(levels=5, stub=False, bottom=260)),
        ]
    )
    record = run(batch(codes, ["7", "7"], volumes=["one", "two"]))["7"]["instances"]
    assert (record["truth"], record["rank_right"]) == (11, 11)


def test_two_series_of_a_patient_are_ranked_and_counted_apart(spine):
    """The second series lies 45 mm higher: stacked as one volume, discs of the two fall together wrongly."""
    first = torch.as_tensor(spine(levels=6, stub=False, slices=2))
    second = torch.as_tensor(spine(levels=5, stub=False, slices=2, bottom=255))
    patients, series = ["7"] * 4 + ["8"] * 2, ["a"] * 2 + ["b"] * 2 + ["c"] * 2
    codes = torch.cat([first, second, first])
    missed = codes.clone()
    missed[2:4][codes[2:4] == vertebra_code(5)] = 0
    records = run(batch(codes, patients, answer=missed, volumes=series))
    apart = [run(batch(codes[k : k + 2], ["7"] * 2, answer=missed[k : k + 2]))["7"] for k in (0, 2)]
    both, each = records["7"]["instances"], [record["instances"] for record in apart]
    for name in ("truth", "found", "extra", "rank_right"):
        assert both[name] == sum(counts[name] for counts in each)
    assert (both["truth"], both["rank_right"], both["extra"]) == (11, 10, 0)
    assert both["dice"] == pytest.approx(10 / 11)
    assert records["8"]["instances"]["rank_right"] == 6
    pooled = run(batch(codes[:4], ["7"] * 4, answer=missed[:4]))["7"]
    assert pooled["instances"] != both
    assert len(records["7"]["scan_entropies"]) == 2 and len(pooled["scan_entropies"]) == 1
    assert pooled["structures"] == records["7"]["structures"] and records["7"]["slices"] == 4


def test_interleaved_series_are_put_together(spine):
    codes = torch.cat([torch.as_tensor(spine(levels=5, lean=lean)) for lean in (0.0, 0.3, 0.0, 0.3)])
    mixed = run(batch(codes, ["7"] * 4, volumes=["a", "b", "a", "b"]))
    order = torch.tensor([0, 2, 1, 3])
    assert (
        mixed["7"]["instances"]
        == run(batch(codes[order], ["7"] * 4, volumes=["a", "a", "b", "b"]))["7"]["instances"]
    )


def test_unsure_model_has_calibration_error_and_entropy(spine):
    codes = spine(levels=4)
    one = batch(codes, ["7"])
    unsure = Oracle(4, sharpness=1.0)
    record = measure(unsure, [one], "cpu", spacing_mm=1.0)["7"]
    chances = torch.tensor([1.0, 0, 0, 0]).softmax(dim=0)
    assert record["ece"] == pytest.approx(1 - chances[0].item(), rel=1e-5)
    assert record["entropy"] == pytest.approx(-(chances * chances.log()).sum().item(), rel=1e-5)


def test_classes_of_a_fourteen_class_model_have_their_own_distances_and_slices(spine):
    codes = torch.as_tensor(spine(levels=6, stub=False, slices=2))
    answer = codes.clone()
    answer[1][codes[1] == vertebra_code(2)] = vertebra_code(3)
    record = run(batch(codes, ["7", "7"], "14", answer=answer), scheme="14")["7"]
    missed, mixed = record["classes"]["L4"], record["classes"]["L3"]
    assert (missed["missed"], missed["invented"]) == ([1, 2], [0, 0])
    assert missed["hd95_mm"] == pytest.approx(math.hypot(320, 256))
    assert 0 < mixed["hd95_mm"] < 60 and mixed["missed"] == [0, 2]
    assert record["classes"]["L2"]["assd_mm"] == record["structures"]["vertebra"]["assd_mm"] == 0.0
    assert record["structures"]["vertebra"]["missed"] == [0, 2]


def test_a_class_where_it_is_not_is_invented(spine):
    codes = torch.as_tensor(spine(levels=2, stub=False))
    answer = codes.clone()
    answer[0, :20, :20] = vertebra_code(6)
    entry = run(batch(codes, ["7"], "14", answer=answer), scheme="14")["7"]["classes"]["T12"]
    assert (entry["missed"], entry["invented"]) == ([0, 0], [1, 1])
    assert entry["dice"] == 0.0


def test_structure_entropy_is_what_a_prediction_is_flagged_by(spine):
    codes = spine(levels=5, slices=2)
    logits = torch.randn(2, 14, 320, 256, generator=torch.Generator().manual_seed(0))

    class Told(nn.Module):
        def __init__(self):
            super().__init__()
            self.shown = 0

        def forward(self, image):
            # Slices come in turn, one or both at a time; only those of this size are told.
            first, self.shown = self.shown % 2, self.shown + len(image)
            return nn.functional.interpolate(logits[first : first + len(image)], size=image.shape[-2:])

    record = measure(Told(), [batch(codes, ["7"] * 2, "14")], "cpu", spacing_mm=1.0)["7"]
    volume = Volume(
        array=np.random.default_rng(0).random((2, 320, 256), dtype=np.float32),
        spacing_mm=(4.0, 1.0, 1.0),
        reference=sitk.Image(2, 2, 2, sitk.sitkInt16),
    )
    predicted = segment_volume(Told(), volume, scheme=label_scheme(14), spacing_mm=1.0).entropy
    assert record["structure_entropy"] == record["scan_entropies"][0] == pytest.approx(predicted)
    assert record["entropy"] != pytest.approx(predicted)


def test_result_is_json_without_nan(spine):
    records = run(batch(spine(levels=2), ["7"], "14"), scheme="14")
    assert records["7"]["classes"]["T12"]["dice"] is None
    assert json.loads(json.dumps(records, allow_nan=False)) == records


def test_progress_counts_slices_and_training_mode_is_kept(spine):
    told = []
    model = Oracle(4).train()
    batches = [batch(spine(levels=2, slices=count), ["7"] * count) for count in (2, 1)]
    measure(model, batches, "cpu", spacing_mm=1.0, progress=told.append)
    assert told == [2, 1]
    assert model.training


def test_nothing_to_measure_is_an_error():
    with pytest.raises(MeasureError, match="no slices to measure"):
        run()


def test_counts_of_a_batch_must_agree(spine):
    image, codes, *_ = batch(spine(levels=2, slices=2), ["7"])
    with pytest.raises(MeasureError, match="2 images, 2 label maps, 1 patients and 2 volumes"):
        run((image, codes, ["7"], ["a", "b"]))


def test_answer_that_is_not_finite_names_the_patient(spine):
    class Broken(Oracle):
        def forward(self, image):
            logits = super().forward(image)
            logits[1, 0, 0, 0] = math.nan
            return logits

    with pytest.raises(MeasureError, match="not finite on a slice of patient 9"):
        measure(Broken(4), [batch(spine(levels=2, slices=2), ["7", "9"])], "cpu", spacing_mm=1.0)


def test_answer_of_another_shape_is_an_error(spine):
    image, *others = batch(spine(levels=2), ["7"])
    with pytest.raises(MeasureError, match="the model returns shape"):
        run((image[..., :128], *others))


def test_answer_without_a_scheme_is_an_error(spine):
    with pytest.raises(ValueError, match="no label scheme has 6 classes"):
        measure(Oracle(6), [batch(spine(levels=2), ["7"])], "cpu", spacing_mm=1.0)


def test_answer_of_another_number_of_classes_than_its_scheme_is_an_error(spine):
    with pytest.raises(MeasureError, match="returns 4 classes, but its scheme ranks has 14"):
        one = batch(spine(levels=2), ["7"])
        measure(Oracle(4), [one], "cpu", spacing_mm=1.0, scheme=label_scheme("14"))
