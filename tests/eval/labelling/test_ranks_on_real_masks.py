import os
from pathlib import Path

import numpy as np
import pytest
import torch

from synthspine.eval.labelling.ranks import assign_ranks
from synthspine.gen.core.anatomy import DISC_OFFSET, MAX_RANK, disc_code
from synthspine.gen.core.schemes import label_scheme
from synthspine.shards.readers.slices import resample_in_plane
from synthspine.shards.readers.spider import read_mask

needs_real_masks = pytest.mark.skipif(
    "SPIDER_MINI" not in os.environ, reason="SPIDER_MINI does not name the folder of real masks"
)
SPACING = (4.0, 1.0, 1.0)


def load(path):
    volume = read_mask(path)
    return resample_in_plane(volume.array, volume.spacing_mm[1:], 1.0, labels=True)


def accuracy(got, codes):
    found = got != 0
    vertebra = (codes > 0) & (codes <= MAX_RANK) & found
    disc = (codes > DISC_OFFSET) & (codes <= DISC_OFFSET + MAX_RANK) & found
    return float((got[vertebra] == codes[vertebra]).mean()), float((got[disc] == codes[disc]).mean())


def masks(kind):
    root = Path(os.environ["SPIDER_MINI"])
    return sorted((root / kind / "masks" / "masks").glob("*.mha"))


@needs_real_masks
@pytest.mark.parametrize("kind", ["labels", "pairs"])
def test_real_masks_get_their_ranks_back(kind):
    encode = label_scheme("4").encode
    chosen = masks(kind) if kind == "pairs" else masks(kind)[::6]
    scores = []
    for path in chosen:
        codes = load(path)
        got = assign_ranks(encode(torch.from_numpy(codes)).numpy(), SPACING).codes
        scores.append(accuracy(got, codes))
    vertebra, disc = np.array(scores).T
    print(f"{kind}: vertebra mean {vertebra.mean():.3f} min {vertebra.min():.3f}, disc min {disc.min():.3f}")
    assert disc.min() == 1.0
    assert vertebra.mean() > 0.98
    assert vertebra.min() > 0.94


def accuracies_without(missed, paths):
    for path in paths:
        codes = load(path)
        structures = label_scheme("4").encode(torch.from_numpy(codes)).numpy()
        structures[codes == disc_code(missed)] = 0
        yield accuracy(assign_ranks(structures, SPACING).codes, codes)


@needs_real_masks
@pytest.mark.parametrize("missed", [2, 3, 4, 5, 6])
def test_missed_disc_shifts_no_rank_of_real_masks(missed):
    vertebra, disc = np.array(list(accuracies_without(missed, masks("pairs")[::3]))).T
    assert disc.min() == 1.0
    assert vertebra.min() > 0.9


@needs_real_masks
def test_missed_lowest_disc_shifts_ranks_of_few_real_masks():
    _, disc = np.array(list(accuracies_without(1, masks("pairs")))).T
    assert (disc == 1.0).mean() > 0.8
