import json

import pytest
import torch

from eval.batches import SliceBatches
from shards.options import ShardOptions
from shards.sample import ShardError
from shards.sets import ensure_sets


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
