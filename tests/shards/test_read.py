import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from shards.build import build_set
from shards.manifest import MANIFEST, Manifest, ShardEntry, load_manifest
from shards.read import ShardSet, open_set, read_tar
from shards.sample import Sample, ShardError, decode, encode, sample_key
from shards.workers import ALONE


class Counted:
    """Samples whose label is their own number."""

    left_out = ()

    def __init__(self, count, images=True):
        self.count, self.images = count, images

    def prepare(self, parts, workers, title):
        pass

    def __len__(self):
        return self.count

    def samples(self, start, stop):
        for index in range(start, stop):
            image = np.full((16, 16), index / 100, np.float16) if self.images else None
            yield Sample(sample_key(index), image, np.full((16, 16), index, np.uint8), {"index": index})


@pytest.fixture
def built(tmp_path):
    def make(count=37, images=True):
        folder = tmp_path / f"set{count}"
        build_set(
            folder,
            Counted(count, images),
            {"count": count},
            phantom=False,
            samples_per_shard=4,
            workers=ALONE,
        )
        return open_set(folder)

    return make


def numbers(samples):
    return [sample.record["index"] for sample in samples]


def test_samples_come_in_stored_order_with_their_values(built):
    shards = built()
    samples = list(shards.samples())
    assert len(shards) == 37 and numbers(samples) == list(range(37))
    assert samples[9].label.dtype == np.uint8 and (samples[9].label == 9).all()
    assert samples[9].image.dtype == np.float16 and samples[9].image[0, 0] == np.float16(0.09)


def test_all_shards_but_the_last_hold_equally_many(built):
    assert [entry.samples for entry in built().manifest.shards] == [4] * 9 + [1]


def test_a_whole_set_is_read_at_once(built):
    arrays = built().read()
    assert arrays.images.shape == arrays.labels.shape == (37, 16, 16)
    assert (arrays.labels[:, 0, 0] == np.arange(37)).all()
    assert [record["index"] for record in arrays.records] == list(range(37))


def test_a_set_of_label_maps_has_no_images(built):
    assert built(images=False).read().images is None


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_together_see_every_sample_once(built, world):
    shards = built()
    seen = [numbers(shards.epoch(3, 1, rank, world)) for rank in range(world)]
    assert sorted(itertools.chain(*seen)) == list(range(37))
    # Position p belongs to rank p % world: the order itself does not depend on the number of ranks.
    together = [None] * 37
    for rank in range(world):
        together[rank::world] = seen[rank]
    assert together == numbers(shards.epoch(3, 1)) == shards.order(3, 1).tolist()


def test_epochs_and_seeds_have_their_own_order(built):
    shards = built()
    orders = [shards.order(seed, epoch).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] == shards.order(0, 0).tolist() != list(range(37))


def test_the_order_is_what_it_was():
    # Golden: first version of the order. A change breaks the resuming of trainings: call it out by name.
    entries = tuple(ShardEntry(name=f"{i}", samples=3, bytes=0, sha256="") for i in range(5))
    manifest = Manifest(
        schema=1,
        name="x",
        samples=15,
        phantom=False,
        identity={},
        label_digest="",
        left_out=[],
        shards=entries,
    )
    expected = [9, 2, 0, 13, 3, 12, 14, 4, 10, 1, 5, 11, 7, 6, 8]
    assert ShardSet(Path(), manifest).order(7, 2).tolist() == expected


@pytest.mark.parametrize("start", [0, 1, 17, 36, 37])
def test_an_epoch_goes_on_where_it_stopped(built, start):
    shards = built()
    assert numbers(shards.epoch(0, 0, start=start)) == numbers(shards.epoch(0, 0))[start:]


def test_a_rank_outside_of_the_world_is_refused(built):
    with pytest.raises(ValueError, match=r"rank 2 is outside 0\.\.1"):
        next(built().epoch(0, 0, rank=2, world=2))


def test_a_flipped_byte_is_found_before_a_sample_is_handed_on(built):
    shards = built()
    path = shards.path / "shard-000000.tar"
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"shard-000000\.tar: its content is not what was written"):
        next(shards.samples())


def test_a_cut_shard_is_found(built):
    shards = built()
    path = shards.path / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(ShardError, match=r"shard-000001\.tar: \d+ bytes instead of \d+"):
        shards.read()


def test_a_missing_shard_is_named(built):
    shards = built()
    (shards.path / "shard-000002.tar").unlink()
    with pytest.raises(ShardError, match=r"shard-000002\.tar: cannot be read"):
        shards.read()


def test_a_folder_without_manifest_is_no_set(tmp_path):
    with pytest.raises(ShardError, match="no complete set here"):
        open_set(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", '{"schema": 99}', "nonsense"])
def test_a_broken_manifest_is_named(built, text):
    shards = built()
    (shards.path / MANIFEST).write_text(text)
    with pytest.raises(ShardError, match=MANIFEST):
        load_manifest(shards.path)


def test_an_empty_set_can_be_opened_but_not_read(built):
    shards = built(0)
    assert len(shards) == 0 and list(shards.epoch(0, 0)) == [] and shards.order(0, 0).tolist() == []
    with pytest.raises(ShardError, match="the set is empty"):
        shards.read()


def test_nothing_is_unpickled():
    sample = Sample("0", None, np.zeros((16, 16), np.uint8), {})
    files = encode(sample)
    evil = np.array([[{"a": 1}]], dtype=object)
    header = files["label.npy"][:128].replace(b"'|u1'", b"'|O' ")
    files["label.npy"] = header + pickle.dumps(evil)
    with pytest.raises(ShardError, match="sample 0: Object arrays cannot be loaded"):
        decode("0", files)


def test_other_files_in_a_shard_are_refused():
    with pytest.raises(ShardError, match="sample 5 has the files"):
        decode("5", {"json": b"{}"})
    with pytest.raises(ShardError, match=r"x\.tar"):
        list(read_tar(b"not a tar", "x.tar"))


def test_the_manifest_is_plain_json(built):
    fields = json.loads((built().path / MANIFEST).read_text())
    assert fields["schema"] == 1 and fields["samples"] == 37
    assert set(fields["shards"][0]) == {"name", "samples", "bytes", "sha256"}
