import math

import numpy as np
import pytest
import torch

from synthspine.eval.metrics.calibration import (
    BINS,
    confidence_bins,
    entropy_sums,
    expected_calibration_error,
    structure_entropy_sums,
)
from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.schemes import label_scheme


def random_answer(seed, classes=4, shape=(3, 12, 10)):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape[0], classes, *shape[1:], generator=generator)
    target = torch.randint(0, classes, shape, generator=generator, dtype=torch.uint8)
    target[:, :2] = IGNORE
    return logits.softmax(dim=1), target


def test_bins_equal_a_loop_over_pixels():
    probabilities, target = random_answer(0)
    expected = np.zeros((3, BINS, 3))
    for sample, row, column in np.argwhere(target.numpy() != IGNORE):
        chances = probabilities[sample, :, row, column].double().numpy()
        place = min(math.ceil(chances.max() * BINS), BINS) - 1
        right = chances.argmax() == target[sample, row, column].item()
        expected[sample, place] += (1, chances.max(), right)
    np.testing.assert_allclose(confidence_bins(probabilities, target), expected, rtol=1e-9)


def test_ece_by_hand():
    bins = np.zeros((BINS, 3))
    bins[7] = (10, 5.0, 7)
    bins[14] = (30, 30.0, 24)
    assert expected_calibration_error(torch.from_numpy(bins)) == pytest.approx((2 + 6) / 40)


def test_sure_and_right_has_no_error_and_sure_and_wrong_has_all():
    target = torch.zeros(1, 4, 4, dtype=torch.uint8)
    probabilities = torch.zeros(1, 4, 4, 4)
    probabilities[:, 0] = 1
    assert expected_calibration_error(confidence_bins(probabilities, target)[0]) == 0.0
    assert expected_calibration_error(confidence_bins(probabilities, target + 1)[0]) == 1.0
    assert confidence_bins(probabilities, target)[0, BINS - 1].tolist() == [16, 16, 16]


def test_answers_drawn_from_their_own_probabilities_are_calibrated():
    generator = torch.Generator().manual_seed(1)
    probabilities = (2 * torch.randn(1, 4, 300, 300, generator=generator)).softmax(dim=1)
    flat = probabilities[0].flatten(1).T
    target = torch.multinomial(flat, 1, generator=generator).reshape(1, 300, 300).to(torch.uint8)
    assert expected_calibration_error(confidence_bins(probabilities, target)[0]) < 0.01
    sharper = probabilities**3 / (probabilities**3).sum(dim=1, keepdim=True)
    assert expected_calibration_error(confidence_bins(sharper, target)[0]) > 0.15


def test_nothing_annotated_has_no_error():
    probabilities, target = random_answer(0)
    bins = confidence_bins(probabilities, torch.full_like(target, IGNORE))
    assert bins.sum() == 0
    assert math.isnan(expected_calibration_error(bins[0]))


def test_entropy_of_even_and_of_certain_answers():
    even, certain = torch.full((1, 4, 2, 2), 0.25), torch.zeros(1, 4, 2, 2)
    certain[:, 2] = 1
    annotated = torch.tensor([[[True, True], [True, False]]])
    sums, pixels = entropy_sums(torch.cat((even, certain)), annotated.expand(2, 2, 2))
    assert sums.tolist() == [pytest.approx(3 * math.log(4)), 0.0]
    assert pixels.tolist() == [3, 3]


@pytest.mark.parametrize("classes", [4, 14])
def test_structure_entropy_equals_a_loop_over_pixels(classes):
    probabilities, target = random_answer(3, classes)
    scheme = label_scheme(classes)
    sums, pixels = structure_entropy_sums(probabilities, scheme, target != IGNORE)
    total, count = 0.0, 0
    for row, column in np.argwhere(target[1].numpy() != IGNORE):
        chances = np.zeros(1 + len(scheme.structures))
        for own, structure in enumerate(scheme.class_structures):
            chances[structure] += probabilities[1, own, row, column].item()
        if chances.argmax() > 0:
            total, count = total - (chances * np.log(chances)).sum(), count + 1
    assert (sums[1].item(), pixels[1].item()) == (pytest.approx(total, rel=1e-5), count)
    assert structure_entropy_sums(probabilities, scheme)[1][1] > count
