import math
from pathlib import Path

import pytest
import torch
from torch import nn

from synthspine.eval.results.outcome import without_nan
from synthspine.eval.studies.measure import evaluate_model
from synthspine.gen.core.anatomy import CANAL, IGNORE, SACRUM, disc_code, vertebra_code
from synthspine.gen.core.schemes import label_scheme
from synthspine.train.model.checkpoint import load_model

SCHEMES = Path(__file__).parents[2] / "schemes"


class Oracle(nn.Module):
    """Reads the class from the image: pixel value = class / 20."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.seen = []

    def forward(self, image):
        self.seen.append(image.clone())
        classes = (image[:, 0] * 20).round().long().clamp(0, self.num_classes - 1)
        return 10 * nn.functional.one_hot(classes, self.num_classes).movedim(-1, 1).float()


def slices(scheme, codes):
    label = torch.tensor(codes, dtype=torch.uint8)[None, None].expand(1, 8, len(codes))
    classes = label_scheme(scheme).encode(label)
    image = torch.where(classes == IGNORE, 0, classes).float()[:, None] / 20
    return image, label


CODES = [0, vertebra_code(1), vertebra_code(2), disc_code(1), CANAL, 0, 0, IGNORE]


@pytest.mark.parametrize("scheme", ["4", "14"])
def test_perfect_answer_scores_one(scheme):
    image, label = slices(scheme, CODES)
    result = evaluate_model(
        model=Oracle(int(scheme)), dataloader=[(image, label, ["7"])], device="cpu", description="T1"
    )
    assert result["overall_dice"] == 1.0
    assert result["structures"]["disc"] == {"dice": 1.0, "n": 1}
    assert (result["description"], result["n_patients"], result["n_slices"]) == ("T1", 1, 1)


def test_batches_without_patients_count_every_slice_as_one():
    image, label = slices("4", CODES)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(image.repeat(3, 1, 1, 1), label.repeat(3, 1, 1)), batch_size=2
    )
    result = evaluate_model(model=Oracle(4), dataloader=loader)
    assert (result["overall_dice"], result["n_patients"], result["n_slices"]) == (1.0, 3, 3)


def test_high_ranks_count_for_structures_and_not_for_classes():
    image, label = slices("14", [0, vertebra_code(1), vertebra_code(7), 0])
    result = evaluate_model(model=Oracle(14), dataloader=[(image, label, ["7"])])
    assert result["structures"]["vertebra"]["dice"] == pytest.approx(2 / 3)
    assert result["classes"]["L5"]["dice"] == 1.0


def test_any_vertebra_class_counts_as_vertebra_for_structures():
    _, label = slices("14", [0, vertebra_code(2), 0, 0])
    image, _ = slices("14", [0, vertebra_code(3), 0, 0])
    result = evaluate_model(model=Oracle(14), dataloader=[(image, label, ["7"])])
    assert result["structures"]["vertebra"]["dice"] == 1.0
    assert result["classes"]["L4"] == {"dice": 0.0, "n": 1}
    assert result["classes"]["L3"] == {"dice": 0.0, "n": 1}


def test_input_is_degraded_and_target_is_not():
    image, label = slices("4", CODES)
    model = Oracle(4)
    evaluate_model(model=model, dataloader=[(image, label, ["7"])], resolution_factor=2.0)
    assert not torch.equal(model.seen[0], image)
    assert model.seen[0].shape == image.shape


def test_overall_is_the_mean_of_the_structures():
    image, label = slices("4", CODES)
    image[image == 2 / 20] = 0
    result = evaluate_model(model=Oracle(4), dataloader=[(image, label, ["7"])])
    assert result["overall_dice"] == pytest.approx(2 / 3)
    assert result["patients"]["7"]["overall"] == pytest.approx(2 / 3)


def test_training_mode_of_the_model_is_kept():
    image, label = slices("4", CODES)
    model = Oracle(4).train()
    evaluate_model(model=model, dataloader=[(image, label, ["7"])])
    assert model.training


def test_no_slices_is_an_error():
    with pytest.raises(ValueError, match="no slices to measure for T2"):
        evaluate_model(model=Oracle(4), dataloader=[], description="T2")


def test_nan_becomes_none():
    assert without_nan({"a": [math.nan, 1.0], "b": {"c": math.nan}}) == {"a": [None, 1.0], "b": {"c": None}}


def test_a_trained_model_is_scored_by_the_scheme_of_its_checkpoint(tmp_path, save_untrained):
    scheme = label_scheme(SCHEMES / "sacrum.yaml")
    model = load_model(save_untrained(tmp_path / "model.pth", scheme=scheme))
    label = torch.zeros(1, 32, 32, dtype=torch.uint8)
    label[:, :8] = SACRUM
    label[:, 16:24] = vertebra_code(1)
    result = evaluate_model(model=model, dataloader=[(torch.rand(1, 1, 32, 32), label)])
    assert list(result["structures"]) == ["vertebra", "disc", "canal", "sacrum"]
    assert result["structures"]["sacrum"]["n"] == 1
    # No truth shows a disc.
    assert result["structures"]["disc"]["n"] == 0
