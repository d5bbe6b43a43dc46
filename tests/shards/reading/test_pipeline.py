import itertools
import pickle

import numpy as np
import pytest
import webdataset
from counted import Counted, build
from torch.utils.data import DataLoader

from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import open_set


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return open_set(build(tmp_path_factory.mktemp("sets") / "set", Counted(37)))


def numbers(samples):
    return [sample["json"]["index"] for sample in samples]


def test_samples_are_those_of_webdatasets_own_decoder(shards):
    urls = [str(shards.place / entry.name) for entry in shards.manifest.shards]
    plain = {s["__key__"]: s for s in webdataset.WebDataset(urls, shardshuffle=False).decode()}
    ours = list(shards.pipeline(seed=0))
    assert len(ours) == len(plain) == 37
    for sample in ours:
        other = plain[sample["__key__"]]
        assert sample["__url__"] == other["__url__"] and sample["json"] == other["json"]
        for name in ("image.npy", "label.npy"):
            assert np.array_equal(sample[name], other[name]) and sample[name].dtype == other[name].dtype
            assert sample[name].flags.writeable and sample[name].flags.owndata


def test_the_order_is_that_of_the_set(shards):
    epoch = [sample.record["index"] for sample in shards.epoch(3, 1)]
    assert numbers(shards.pipeline(seed=3, start=37)) == epoch
    both = numbers(shards.pipeline(seed=3, epochs=2))
    assert both[37:] == epoch and sorted(both[:37]) == list(range(37))
    assert numbers(itertools.islice(shards.pipeline(seed=3, epochs=None), 74)) == both


def test_stages_of_webdataset_work_behind_it(shards):
    pipeline = (
        shards.pipeline(seed=0)
        .shuffle(20, seed=1)
        .to_tuple("image.npy", "label.npy", "json")
        .map_tuple(
            lambda image: image.astype(np.float32), lambda label: label, lambda record: record["index"]
        )
        .batched(5)
    )
    batches = list(pipeline)
    assert [len(batch[0]) for batch in batches] == [5] * 7 + [2]
    assert batches[0][0].dtype == np.float32 and batches[0][0].shape == (5, 16, 16)
    seen = [index for _, _, indices in batches for index in indices]
    assert sorted(seen) == list(range(37)) and seen != numbers(shards.pipeline(seed=0))
    for _, labels, indices in batches:
        assert labels[:, 0, 0].tolist() == list(indices)


@pytest.mark.parametrize("loader", [webdataset.WebLoader, DataLoader])
def test_two_workers_give_every_sample_once_and_a_resumed_pipeline_the_rest(shards, loader):
    def batches(start):
        pipeline = shards.pipeline(seed=5, start=start, block=4).to_tuple("label.npy").batched(4)
        return pipeline, loader(pipeline, batch_size=None, num_workers=2)

    pipeline, whole = batches(0)
    every = [batch[0][:, 0, 0].tolist() for batch in whole]
    flat = list(itertools.chain(*every))
    assert sorted(flat) == list(range(37))
    # Workers change nothing: the order is the one without them.
    assert flat == numbers(shards.pipeline(seed=5))
    taken = list(itertools.islice(batches(0)[1], 3))
    position = pipeline.position(4 * len(taken))
    assert position == 12
    rest, loader_of_rest = batches(position)
    assert [batch[0][:, 0, 0].tolist() for batch in loader_of_rest] == every[3:]
    assert rest.position(25) == rest.position(28) == 37


def test_ranks_take_the_positions_in_turn(shards):
    ranks = [numbers(shards.pipeline(seed=2, rank=rank, world=2)) for rank in range(2)]
    together = numbers(shards.pipeline(seed=2))
    assert ranks[0] == together[::2] and ranks[1] == together[1::2]
    position = shards.pipeline(seed=2, rank=1, world=2).position(10)
    assert numbers(shards.pipeline(seed=2, start=position)) == together[20:]


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_ends_the_pipeline_with_the_name_of_the_shard(tmp_path, workers):
    place = build(tmp_path / "set", Counted(37))
    path = place.path / "shard-000004.tar"
    path.write_bytes(path.read_bytes().replace(b"\x10\x10\x10\x10", b"\x10\x10\x10\x11", 1))
    loader = webdataset.WebLoader(open_set(place).pipeline(seed=0), batch_size=None, num_workers=workers)
    with pytest.raises(ShardError, match=r"shard-000004\.tar: is damaged \(SHA-256 differs\)"):
        list(loader)


def test_sets_of_label_maps_have_no_image(tmp_path):
    shards = open_set(build(tmp_path / "labels", Counted(5, images=False)))
    assert all(set(s) == {"__key__", "__url__", "label.npy", "json"} for s in shards.pipeline(seed=0))
    assert list(open_set(build(tmp_path / "empty", Counted(0))).pipeline(seed=0)) == []


def test_a_pipeline_can_be_sent_to_another_process(shards):
    assert numbers(pickle.loads(pickle.dumps(shards.pipeline(seed=1)))) == numbers(shards.pipeline(seed=1))


def test_numbers_out_of_bounds_are_refused(shards):
    for wrong in ({"start": -1}, {"epochs": 0}, {"rank": 1}, {"block": 0}):
        with pytest.raises(ValueError, match=r"must|outside"):
            shards.pipeline(seed=0, **wrong)
