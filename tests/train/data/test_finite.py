"""Images that are not finite are told by name, and nothing is learned from them."""

import csv
import math

import numpy as np
import pytest
import torch

from synthspine.gen.core.anatomy import IGNORE
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.reading.open import SampleArrays, ShardSet, open_set
from synthspine.shards.reading.stream import ShardStream
from synthspine.train.config import TrainingError
from synthspine.train.data.feed import ShardFeed
from synthspine.train.data.finite import FiniteImages
from synthspine.train.experiment import train_models
from synthspine.train.model.checkpoint import load_checkpoint

RECORDS = [{"source": f"{number}_t1", "slice": number + 5} for number in range(3)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_a_bad_image_is_black_and_not_annotated_and_told_once(value, kind):
    told = []
    images, codes = torch.rand(3, 1, 4, 4).to(kind), torch.ones(3, 4, 4, dtype=torch.uint8)
    images[1, 0, 2, 3] = value
    finite = FiniteImages("data/set", told.append)
    for _ in range(2):
        cleaned, labels = finite.clean(images, codes, RECORDS)
        assert not cleaned[1].any() and (labels[1] == IGNORE).all()
        assert cleaned[[0, 2]].equal(images[[0, 2]]) and labels[[0, 2]].equal(codes[[0, 2]])
    assert (codes == 1).all()
    (line,) = told
    assert "data/set: the image of 1_t1, slice 6 has values that are not finite; nothing is learned" in line


def test_finite_images_are_passed_on_as_they_are():
    images, codes = torch.rand(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.uint8)
    cleaned = FiniteImages("data/set", pytest.fail).clean(images, codes, RECORDS)
    assert cleaned[0] is images and cleaned[1] is codes


def test_the_feed_of_shards_names_the_sample(options, alone, monkeypatch, capsys):
    samples = open_set(ensure_sets(["synthetic"], options().shards)["synthetic"])
    read = ShardStream._image

    def spoilt(self, sample):
        image = read(self, sample).copy()
        image[3, 4] = math.inf if sample.key == "00000002" else image[3, 4]
        return image

    clean = ShardFeed(samples, seed=7, batch_size=len(samples), ranks=alone).batch(0)
    monkeypatch.setattr(ShardStream, "_image", spoilt)
    images, codes = ShardFeed(samples, seed=7, batch_size=len(samples), ranks=alone).batch(0)
    assert images.isfinite().all()
    changed = [not image.equal(before) for image, before in zip(images, clean[0], strict=True)]
    assert sum(changed) == 1
    place = changed.index(True)
    assert not images[place].any() and (codes[place] == IGNORE).all()
    assert ", sample 2 has values that are not finite" in capsys.readouterr().out


def spoil_sets(monkeypatch, wanted):
    """Images with NaN in the samples of every set for whose index ``wanted`` is true."""
    read = ShardSet.read

    def spoilt(self):
        arrays = read(self)
        if arrays.images is None:
            return arrays
        images = arrays.images.copy()
        images[[index for index in range(len(images)) if wanted(index)], 3] = np.nan
        return SampleArrays(images, arrays.labels, arrays.records)

    monkeypatch.setattr(ShardSet, "read", spoilt)


def test_a_model_of_real_images_is_trained_on_the_good_ones(options, alone, monkeypatch, capsys):
    spoil_sets(monkeypatch, lambda index: index == 0)
    chosen = options(model="B")
    train_models(chosen, alone)
    told = capsys.readouterr().out
    assert (
        told.count("has values that are not finite; nothing is learned from it") == 2
    )  # to learn, to validate
    with chosen.file("B", "log.csv").open() as stream:
        assert [row["skipped"] for row in csv.DictReader(stream)] == ["0", "0"]
    assert 0 < load_checkpoint(chosen.file("B", "best.pth")).validation_dice <= 1


def test_a_set_without_one_good_image_is_an_error(options, alone, monkeypatch):
    spoil_sets(monkeypatch, lambda index: True)
    with pytest.raises(TrainingError, match="no image is finite and annotated"):
        train_models(options(model="B"), alone)
