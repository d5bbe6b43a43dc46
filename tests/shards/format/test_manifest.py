"""What a manifest may say, and that a change of it is noticed."""

import dataclasses
import json
import os
import random
import time

import pytest
from handmade import NAMES, edit_manifest, rendered_record, sample_of, write

from synthspine.gen.core.documents import MOST_BYTES
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.checking.verify import verify_set
from synthspine.shards.format.manifest import MANIFEST, MOST_SHARDS, ShardEntry, load_manifest, manifest_text
from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import ShardSet, open_set
from synthspine.shards.storage.opening import open_place


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "real_t1_val", [sample_of(index) for index in range(10)])


def refused(folder, message):
    """Opening and verifying say the same, at once, in one line that names the manifest."""
    start = time.perf_counter()
    with pytest.raises((ShardError, OSError), match=message) as error:
        open_set(folder)
    (line,) = verify_set(folder)
    assert line == str(error.value) and line.startswith(f"{folder / MANIFEST}: ") and "\n" not in line
    assert time.perf_counter() - start < 20


def test_no_flipped_bit_goes_unnoticed(folder):
    content = (folder / MANIFEST).read_bytes()
    draw = random.Random(0)
    for place in draw.sample(range(len(content)), 60):
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        (folder / MANIFEST).write_bytes(changed)
        with pytest.raises(ShardError, match=rf"{MANIFEST}: "):
            load_manifest(open_place(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"phantom": True},
        {"name": "labels"},
        {"made_with": {"torch": "2"}},
        {"left_out": [{"source": "1_t1", "reason": "none"}]},
        {"identity": {"version": 2, "set": "labels", "samples_per_shard": 4}},
    ],
)
def test_a_changed_entry_is_noticed_by_every_reader(folder, change):
    edit_manifest(folder, seal=False, **change)
    refused(folder, r"broken manifest \(its SHA-256 is not that of its entries")


def test_a_manifest_of_an_earlier_release_is_read_and_gets_a_digest_when_it_is_written_again(folder):
    manifest = load_manifest(open_place(folder))
    text = (folder / MANIFEST).read_text()
    fields = json.loads(text)
    del fields["sha256"]
    (folder / MANIFEST).write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")
    notes = []
    assert len(open_set(folder).read().records) == 10 and verify_set(folder, log=notes.append) == []
    assert notes == [
        f"{folder / MANIFEST}: has no SHA-256 of its own, as those of earlier releases; "
        "synthspine shards --rebuild adds it"
    ]
    old = load_manifest(open_place(folder))
    assert old == dataclasses.replace(manifest, is_sealed=False) and manifest_text(old) == text


@pytest.mark.parametrize("count", [10**7, 10**9, 2**63, 10**30])
@pytest.mark.parametrize("where", ["samples", "shard", "both", "bytes"])
def test_counts_without_bounds_are_refused(folder, count, where):
    entries = json.loads((folder / MANIFEST).read_text())["shards"]
    entries[-1] |= {"samples": count} if where in ("shard", "both") else {}
    entries[-1] |= {"bytes": 10**3 * count} if where == "bytes" else {}
    edit_manifest(folder, shards=entries, **({"samples": 8 + count} if where in ("samples", "both") else {}))
    refused(folder, "broken manifest")


def test_samples_have_to_fit_into_the_bytes_of_their_shard(folder):
    identity = {"version": 2, "set": folder.name, "samples_per_shard": 60_000}
    entry = json.loads((folder / MANIFEST).read_text())["shards"][0] | {"samples": 60_000}
    edit_manifest(folder, shards=[entry], samples=60_000, identity=identity)
    refused(folder, r"shard-000000\.tar holds 60000 samples in \d+ bytes")


@pytest.mark.parametrize("count", [4.0, True, "4", None, -1])
def test_counts_are_whole_numbers(folder, count):
    entries = json.loads((folder / MANIFEST).read_text())["shards"]
    entries[0]["samples"] = count
    edit_manifest(folder, shards=entries)
    refused(folder, "broken manifest")


def test_shards_without_bounds_are_refused(folder):
    entry = json.loads((folder / MANIFEST).read_text())["shards"][0]
    edit_manifest(folder, shards=[entry] * 300_000)
    refused(folder, f"300000 shards, at most {MOST_SHARDS} are read|more than 2000000 values")
    with pytest.raises(ValueError, match="samples_per_shard 40000 must be at most 1"):
        ShardOptions(samples_per_shard=40_000)


def test_a_hundred_thousand_shards_are_read_quickly_and_a_wrong_one_is_named(folder):
    entry = json.loads((folder / MANIFEST).read_text())["shards"][0]
    entries = [entry | {"name": f"shard-{number:06d}.tar"} for number in range(MOST_SHARDS)]
    edit_manifest(folder, shards=entries, samples=4 * MOST_SHARDS)
    start = time.perf_counter()
    assert len(open_set(folder)) == 4 * MOST_SHARDS
    assert time.perf_counter() - start < 20
    entries[70_000] |= {"samples": 4.0}
    edit_manifest(folder, shards=entries)
    refused(folder, r"shards/70000/samples: 4\.0 is not of type 'integer'")


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 5000, "[" * 10**6, "[{}" + ",{}" * 10**6 + "]"])
def test_nesting_and_values_without_bounds_are_refused(folder, text):
    (folder / MANIFEST).write_text(text)
    refused(folder, "broken manifest|not a manifest")


def test_an_identity_that_is_nested_deep_is_refused(folder):
    deep = json.loads("[" * 500 + "]" * 500)
    fields = json.loads((folder / MANIFEST).read_text())
    fields["identity"]["generator"] = deep
    (folder / MANIFEST).write_text(json.dumps(fields))
    refused(folder, r"broken manifest \(nested deeper")


@pytest.mark.parametrize("kind", ["fifo", "device", "sparse"])
@pytest.mark.parametrize("name", [MANIFEST, NAMES[1]])
def test_only_regular_files_of_the_right_size_are_opened(folder, kind, name):
    path = folder / name
    if kind == "sparse":
        os.truncate(path, 1 << 40)
    else:
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
    if name == MANIFEST:
        text = f"holds {1 << 40} bytes, at most {MOST_BYTES}" if kind == "sparse" else "is not a regular file"
        return refused(folder, text)
    (line,) = verify_set(folder)
    text = "bytes instead of" if kind == "sparse" else "cannot be read (is not a regular file)"
    assert line.startswith(f"{path}: ") and text in line
    with pytest.raises((ShardError, OSError), match=r"shard-000001\.tar"):
        open_set(folder).read()


def test_a_shard_that_was_dropped_from_the_manifest_is_noticed(tmp_path):
    samples = [sample_of(index, record=rendered_record) for index in range(8)]
    folder = write(tmp_path / "synthetic", samples, seed=7, synthetic_samples=8)
    assert verify_set(folder) == []
    entries = json.loads((folder / MANIFEST).read_text())["shards"]
    edit_manifest(folder, shards=entries[:1], samples=4)
    with pytest.raises(ShardError, match=r"it holds 4 samples, and the set 8\)$"):
        open_set(folder)


def test_only_the_last_shard_may_hold_fewer_samples(folder):
    entries = json.loads((folder / MANIFEST).read_text())["shards"]
    edit_manifest(folder, shards=[entries[0], entries[2], entries[1]])
    with pytest.raises(ShardError, match=r"shard-000002\.tar holds 2 samples, and a shard of this set 4"):
        open_set(folder)


def test_a_shard_that_is_rendered_on_demand_is_read_as_far_as_its_samples_fit(folder):
    class Service:
        """Records how many bytes are asked for."""

        def read_with_headers(self, name, most_bytes=None):
            self.most_bytes = most_bytes
            raise FileNotFoundError

        def __truediv__(self, name):
            return name

    demanded = dataclasses.replace(
        load_manifest(open_place(folder)),
        identity={
            "version": 2,
            "set": "x",
            "samples_per_shard": 4,
            "grid": {"spacing_mm": 1, "shape": [64, 32]},
        },
        shards=(ShardEntry(name=NAMES[0], samples=4, key="0" * 64),),
        on_demand=True,
    )
    with pytest.raises(ShardError, match="the service does not render it any more"):
        ShardSet(service := Service(), demanded).content(0)
    whole = (folder / NAMES[0]).stat().st_size
    assert whole < service.most_bytes == 5 * (3 * 64 * 32 + (1 << 17))
