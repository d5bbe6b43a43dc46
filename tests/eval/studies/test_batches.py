import json

import pytest
import torch

from synthspine.eval.studies.batches import SliceBatches, spread_over_patients
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.manifest import load_manifest
from synthspine.shards.format.sample import ShardError


@pytest.fixture
def folders(tmp_path, spider_folder):
    options = ShardOptions(
        data_dir=spider_folder, shards_dir=str(tmp_path / "shards"), split=spider_folder / "split.json"
    )
    return ensure_sets(["real_t1_val", "labels"], options)


def test_batches_hold_every_slice_once_in_stored_order(folders):
    loaded = SliceBatches(folders["real_t1_val"], batch_size=4)
    batches = list(loaded)
    assert [len(patients) for _, _, patients in batches] == [4, 2]
    assert [patient for _, _, patients in batches for patient in patients] == ["3"] * 3 + ["4"] * 3
    image, label, _ = batches[0]
    assert (image.shape, image.dtype) == ((4, 1, 320, 256), torch.float32)
    assert (label.shape, label.dtype) == ((4, 320, 256), torch.uint8)


def test_batches_can_be_read_again(folders):
    loaded = SliceBatches(folders["real_t1_val"], batch_size=6)
    (first,), (second,) = list(loaded), list(loaded)
    assert torch.equal(first[0], second[0])


def test_facts_of_the_set(folders):
    loaded = SliceBatches(folders["real_t1_val"], batch_size=4)
    assert (loaded.slices, len(loaded), loaded.spacing_mm, loaded.phantom) == (6, 2, 1.0, False)
    manifest = load_manifest(loaded.place)
    assert (loaded.identity_hash, loaded.label_digest) == (manifest.identity_hash, manifest.label_digest)


def test_some_slices_by_their_indices(folders):
    loaded = SliceBatches(folders["real_t1_val"], batch_size=4)
    image, label = loaded.at(torch.tensor([5, 1]))
    first, last = list(loaded)
    assert torch.equal(image[0], last[0][1]) and torch.equal(image[1], first[0][1])
    assert torch.equal(label[0], last[1][1]) and image.dtype == torch.float32


@pytest.mark.parametrize(
    ("per_patient", "expected"),
    [
        (0, list(range(10))),
        (1, [3, 8]),
        (2, [1, 5, 7, 9]),
        (3, [1, 3, 5, 7, 8, 9]),
        (5, [0, 2, 3, 4, 6, 7, 8, 9]),
    ],
)
def test_slices_are_spread_over_every_patient(per_patient, expected):
    patients = ["3"] * 7 + ["4"] * 3
    assert spread_over_patients(patients, per_patient) == expected


def test_only_slices_that_may_be_taken_are_spread():
    assert spread_over_patients(["3"] * 4 + ["4"] * 2, 1, among=[0, 1, 2]) == [1]


def test_set_without_images_is_refused(folders):
    with pytest.raises(ShardError, match="label maps without images"):
        SliceBatches(folders["labels"], batch_size=4)


def test_set_without_slices_is_empty(tmp_path, spider_folder):
    (spider_folder / "split.json").write_text(
        json.dumps({"train": ["1", "2", "3", "4"], "validation": [], "test": []})
    )
    options = ShardOptions(
        data_dir=spider_folder, shards_dir=str(tmp_path / "empty"), split=spider_folder / "split.json"
    )
    folders = ensure_sets(["real_t1_val"], options)
    loaded = SliceBatches(folders["real_t1_val"], batch_size=4)
    assert (loaded.slices, list(loaded)) == (0, [])
