import dataclasses
import itertools
import json
import pickle
import threading
import time

import numpy as np
import pytest
from counted import Counted, build

from synthspine.shards.format.manifest import FORMAT, MANIFEST, VERSION, load_manifest
from synthspine.shards.format.sample import Sample, ShardError, decode, encode
from synthspine.shards.format.tar import pack, unpack
from synthspine.shards.reading.open import ShardSet, open_set


@pytest.fixture
def built(tmp_path):
    def make(count=37, images=True):
        folder = tmp_path / f"set{count}"
        return open_set(build(folder, Counted(count, images)))

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
    assert together == numbers(shards.epoch(3, 1))


@pytest.mark.parametrize("start", [0, 1, 17, 36, 37, 60])
def test_a_stream_resumes_at_a_position(built, start):
    shards = built()
    assert numbers(shards.stream(0, start, 74)) == numbers(shards.stream(0, 0, 74))[start:]


def test_a_stream_continues_with_the_next_epoch(built):
    shards = built()
    both = numbers(shards.epoch(2, 0)) + numbers(shards.epoch(2, 1))
    assert numbers(itertools.islice(shards.stream(2), 74)) == both


def test_shards_are_prefetched(built, monkeypatch):
    shards, loaded = built(), []
    real = ShardSet.load
    monkeypatch.setattr(ShardSet, "load", lambda self, shard: loaded.append(shard) or real(self, shard))
    stream = shards.samples()
    next(stream)
    deadline = time.monotonic() + 10
    while len(loaded) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert loaded == [0, 1]
    stream.close()
    # Each is loaded once in an epoch, whatever the order in which its samples come.
    loaded.clear()
    list(shards.epoch(0, 0))
    assert sorted(loaded) == list(range(10))


def test_a_reader_that_stops_leaves_no_thread_behind(built):
    stream = built().stream(0)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 10
    while any(thread.name.startswith("shards") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def spoil(shards, number, change):
    path = shards.place.path / f"shard-{number:06d}.tar"
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))


def flip(place):
    def change(content):
        content[place] ^= 1
        return content

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip(512 + 200), r"is damaged \(SHA-256 differs\), and with it samples 00000000 to 00000003; "),
        (flip(1), "SHA-256 differs"),
        (flip(-1), "SHA-256 differs"),
        (lambda content: content[:5000], r"is damaged \(5000 bytes instead of \d+\)"),
        (
            lambda content: content + bytes(512),
            r"bytes instead of \d+.*; synthspine shards --rebuild writes it",
        ),
        (lambda content: b"", "0 bytes instead of"),
    ],
)
def test_damage_is_reported_before_the_first_sample_of_the_shard(built, change, message):
    shards = built()
    spoil(shards, 0, change)
    with pytest.raises(ShardError, match=message) as reported:
        next(shards.samples())
    assert str(reported.value).startswith(f"{shards.place.path / 'shard-000000.tar'}: ")
    with pytest.raises(ShardError, match=message):
        list(shards.epoch(0, 0))


def test_a_shard_of_another_set_is_an_error(built):
    shards = built()
    spoil(shards, 1, lambda content: (shards.place.path / "shard-000002.tar").read_bytes())
    with pytest.raises(ShardError, match=r"shard-000001\.tar: is damaged \(SHA-256 differs\)"):
        shards.read()


def test_a_missing_shard_is_named_with_its_samples(built):
    shards = built()
    (shards.place.path / "shard-000002.tar").unlink()
    with pytest.raises(
        ShardError, match=r"shard-000002\.tar: is missing, and with it samples 00000008 to 00000011"
    ):
        shards.read()


def test_a_manifest_that_counts_wrongly_is_noticed(built):
    shards = built()
    entry = dataclasses.replace(shards.manifest.shards[0], samples=3)
    wrong = dataclasses.replace(shards.manifest, shards=(entry, *shards.manifest.shards[1:]), samples=36)
    with pytest.raises(ShardError, match=r"shard-000000\.tar: 4 samples instead of 3"):
        list(ShardSet(shards.place, wrong).samples())


def test_a_folder_without_manifest_is_not_a_set(tmp_path):
    with pytest.raises(ShardError, match="no complete set here"):
        open_set(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", f"version None; this reader knows {FORMAT}, version {VERSION}"),
        ("[]", "an object is expected"),
        ('{"schema": 1}', "version 1; this reader knows"),
        (
            '{"format": "synthspine-shards", "version": 99}',
            "synthspine-shards, version 99; this reader knows",
        ),
        ('{"format": "mds", "version": 2}', "mds, version 2; this reader knows"),
        ("nonsense", "broken manifest"),
        ('{"version": 2}', "'format' is a required property"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named(built, text, message):
    shards = built()
    (shards.place.path / MANIFEST).write_text(text)
    with pytest.raises(ShardError, match=message) as reported:
        load_manifest(shards.place)
    assert str(reported.value).startswith(str(shards.place.path / MANIFEST))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 36}, "do not hold 36 samples"),
        ({"samples": "many"}, "samples: 'many' is not of type 'integer'"),
        ({"surprise": 1}, "'surprise' was unexpected"),
        ({"label_digest": "0"}, "label_digest: '0' does not match"),
    ],
)
def test_a_manifest_follows_its_schema(built, change, message):
    shards = built()
    path = shards.place.path / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ShardError, match=message):
        load_manifest(shards.place)


def test_a_shard_name_cannot_lead_out_of_the_set(built):
    shards = built()
    path = shards.place.path / MANIFEST
    fields = json.loads(path.read_text())
    fields["shards"][0]["name"] = "../other/shard-000000.tar"
    path.write_text(json.dumps(fields))
    with pytest.raises(ShardError, match="shards/0/name"):
        load_manifest(shards.place)


def test_an_empty_set_can_be_opened_but_not_read(built):
    shards = built(0)
    assert len(shards) == 0 and list(shards.epoch(0, 0)) == [] and list(shards.samples()) == []
    with pytest.raises(ShardError, match="the set is empty"):
        shards.read()


def test_nothing_is_unpickled():
    sample = Sample("0", None, np.zeros((16, 16), np.uint8), {})
    files = encode(sample)
    evil = np.array([[{"a": 1}]], dtype=object)
    files["label.npy"] = files["label.npy"][:128].replace(b"'|u1'", b"'|O' ") + pickle.dumps(evil)
    with pytest.raises(ShardError, match=r"sample 0: label\.npy: object array"):
        decode("0", {name: memoryview(content) for name, content in files.items()})


def test_other_files_in_a_shard_are_refused():
    with pytest.raises(ShardError, match="sample 5 has the files"):
        decode("5", {"json": memoryview(b"{}")})
    with pytest.raises(ShardError, match="not a tar"):
        list(unpack(b""))


def test_arrays_are_views_of_the_shard_that_cannot_be_written(built):
    content = pack([Counted(1).sample(0)]).content
    sample = next(unpack(content))
    assert np.shares_memory(sample.label, np.frombuffer(content, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        sample.label[0, 0] = 1


def test_the_manifest_is_plain_json(built):
    fields = json.loads((built().place.path / MANIFEST).read_text())
    assert fields["format"] == FORMAT and fields["version"] == VERSION and fields["samples"] == 37
    assert set(fields["shards"][0]) == {"name", "samples", "bytes", "sha256"}
