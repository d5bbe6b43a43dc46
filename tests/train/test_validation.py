import math

import numpy as np
import pytest
import torch

from synthspine.gen import label_scheme, preset
from synthspine.shards.reading.open import SampleArrays
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.validation import Score, ValidationSet, validate

CODES = torch.zeros(3, 32, 32, dtype=torch.uint8)
CODES[:, 4:12, 8:16], CODES[:, 12:15, 8:16], CODES[:, 15:24, 8:16] = 2, 32, 1
CODES[2] = 0


class Oracle(UNet):
    """Answers with what is written in the image, and is sure of it."""

    def forward(self, image):
        classes = (image[:, 0] * 100).round().long()
        return 10 * torch.nn.functional.one_hot(classes, self.num_classes).permute(0, 3, 1, 2).float()


def written(classes: torch.Tensor) -> torch.Tensor:
    return classes.unsqueeze(1).float() / 100


@pytest.mark.parametrize("classes", [4, 14])
def test_a_perfect_answer_scores_one_and_absent_structures_are_left_out(classes, alone):
    scheme = label_scheme(classes)
    samples = ValidationSet(written(scheme.encode(CODES)), CODES)
    score = validate(Oracle(num_classes=classes), samples, scheme, alone, bf16=False)
    assert score.structures["vertebra"] == 1
    assert score.structures["disc"] == 1
    assert math.isnan(score.structures["canal"])
    assert (score.mean, score.samples) == (1.0, 3)


def test_vertebrae_of_a_wrong_rank_still_count_as_vertebra(alone):
    scheme = label_scheme(14)
    answer = scheme.encode(CODES)
    answer[answer == 2] = 5
    score = validate(Oracle(num_classes=14), ValidationSet(written(answer), CODES), scheme, alone, bf16=False)
    assert score.structures["vertebra"] == 1


def test_a_missed_structure_scores_zero(alone):
    scheme = label_scheme(4)
    answer = scheme.encode(CODES)
    answer[answer == 2] = 0
    score = validate(Oracle(num_classes=4), ValidationSet(written(answer), CODES), scheme, alone, bf16=False)
    assert score.structures["disc"] == 0
    assert score.mean == pytest.approx(0.5)


def test_a_false_structure_in_a_slice_without_a_spine_scores_zero(alone):
    scheme = label_scheme(4)
    answer = scheme.encode(CODES)
    answer[2, 0, 0] = 1
    score = validate(Oracle(num_classes=4), ValidationSet(written(answer), CODES), scheme, alone, bf16=False)
    assert score.structures["vertebra"] == pytest.approx(2 / 3) and score.structures["disc"] == 1


def test_a_score_without_any_structure_is_not_a_number():
    assert math.isnan(Score(structures={"vertebra": math.nan, "disc": math.nan}, samples=2).mean)


def test_the_network_is_back_in_training_mode(alone):
    network = UNet(num_classes=4, base_features=4)
    validate(network, ValidationSet(torch.rand(3, 1, 32, 32), CODES), label_scheme(4), alone, bf16=True)
    assert network.training


def test_rendered_samples_are_the_same_for_any_number_of_ranks(alone):
    config = preset("spine", spacing_mm=4.0)
    whole = ValidationSet.rendered(CODES[:2].numpy(), config, 5, alone)
    parts = [
        ValidationSet.rendered(
            CODES[:2].numpy(), config, 5, Ranks(rank=rank, world_size=2, device=alone.device)
        )
        for rank in (0, 1)
    ]
    for rank, part in enumerate(parts):
        assert torch.equal(part.codes, whole.codes[rank::2])
        torch.testing.assert_close(part.images, whole.images[rank::2])


@pytest.mark.parametrize("kind", ["rendered", "real"])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_rank_without_samples_has_an_empty_part_and_scores_nothing(alone, kind, rank):
    """One sample on four ranks: the range of rank 3 ends before it starts."""
    ranks = Ranks(rank=rank, world_size=4, device=alone.device)
    if kind == "rendered":
        part = ValidationSet.rendered(CODES[:2].numpy(), preset("spine", spacing_mm=4.0), 1, ranks)
    else:
        images = np.zeros((3, 32, 32), dtype=np.float16)
        part = ValidationSet.real(SampleArrays(images, CODES.numpy(), [{}] * 3), 1, ranks)
    assert part.images.shape == (0, 1, 32, 32) and part.codes.shape == (0, 32, 32)
    score = validate(UNet(num_classes=4, base_features=4), part, label_scheme(4), alone, bf16=False)
    assert score.samples == 0 and math.isnan(score.mean)


def test_real_samples_are_spread_over_the_set(alone):
    images = np.zeros((9, 16, 16), dtype=np.float16)
    images[:, 0, 0] = np.arange(9)
    arrays = SampleArrays(images, np.zeros((9, 16, 16), dtype=np.uint8), [{}] * 9)
    samples = ValidationSet.real(arrays, 3, alone)
    assert samples.images[:, 0, 0, 0].tolist() == [0, 4, 8]
    assert len(ValidationSet.real(arrays, 99, alone).codes) == 9
