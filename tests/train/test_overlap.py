import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthspine.train.decoding import dice, overlap_counts


def counted_by_loops(prediction, target, num_classes):
    kept = target != 255
    rows = []
    for p, t, k in zip(prediction, target, kept, strict=True):
        rows.append(
            [
                (
                    int(((p == c) & (t == c) & k).sum()),
                    int(((p == c) & k).sum()),
                    int(((t == c) & k).sum()),
                )
                for c in range(num_classes)
            ]
        )
    return np.array(rows)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(2, 6))
def test_counts_equal_a_plain_loop(seed, batch, num_classes):
    rng = np.random.default_rng(seed)
    prediction = rng.integers(0, num_classes, (batch, 5, 7)).astype(np.uint8)
    target = rng.integers(0, num_classes, (batch, 5, 7)).astype(np.uint8)
    target[rng.random(target.shape) < 0.3] = 255
    counts = overlap_counts(torch.from_numpy(prediction), torch.from_numpy(target), num_classes)
    found = torch.stack(counts, dim=-1).numpy()
    assert (found == counted_by_loops(prediction, target, num_classes)).all()


def test_volumes_are_counted_like_slices():
    volume = torch.randint(0, 4, (2, 3, 4, 5), dtype=torch.uint8)
    flat = volume.reshape(2, -1)
    for a, b in zip(overlap_counts(volume, volume, 4), overlap_counts(flat, flat, 4), strict=True):
        assert torch.equal(a, b)


def test_dice_is_nan_where_both_are_empty_and_zero_where_one_is():
    values = dice(torch.tensor([0, 0, 5]), torch.tensor([0, 4, 5]), torch.tensor([0, 0, 15]))
    assert values.isnan().tolist() == [True, False, False]
    assert values[1:].tolist() == [0.0, 0.5]


def test_a_prediction_outside_of_the_classes_is_an_error():
    zeros = torch.zeros(1, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"not a class 0\.\.3"):
        overlap_counts(zeros + 4, zeros, 4)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        overlap_counts(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3), 4)
