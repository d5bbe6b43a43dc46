import hashlib
import json
import os
import tarfile

import numpy as np
import pytest
import webdataset

from synthspine.shards.format.sample import Sample, ShardError, decode, encode, sample_key
from synthspine.shards.format.tar import members, pack, unpack, write_shard
from synthspine.shards.storage.atomic import atomic_path
from synthspine.shards.storage.opening import open_place


def samples(count, images=True):
    for index in range(count):
        random = np.random.default_rng(index)
        image = random.random((32, 16)).astype(np.float16) if images else None
        label = random.integers(0, 60, (32, 16)).astype(np.uint8)
        yield Sample(sample_key(index), image, label, {"source": f"{index}_t1", "slice": index})


def test_equal_samples_give_equal_bytes(tmp_path):
    packed = write_shard(open_place(tmp_path), "a.tar", samples(3))
    assert len(packed.label_digests) == 3
    os.utime(tmp_path / "a.tar", (1, 1))
    write_shard(open_place(tmp_path), "b.tar", samples(3))
    content = (tmp_path / "a.tar").read_bytes()
    assert packed.content == content and packed.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_entries_carry_no_owner_and_no_time(tmp_path):
    write_shard(open_place(tmp_path), "a.tar", samples(2))
    with tarfile.open(tmp_path / "a.tar") as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries[:3]] == [
        "00000000.image.npy",
        "00000000.label.npy",
        "00000000.json",
    ]
    assert {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode) for e in entries} == {(0, 0, 0, "", "", 0o644)}


def test_plain_webdataset_reads_a_shard(tmp_path):
    write_shard(open_place(tmp_path), "shard-000000.tar", samples(3))
    read = list(webdataset.WebDataset(str(tmp_path / "shard-000000.tar"), shardshuffle=False).decode())
    assert len(read) == 3
    for found, sample in zip(read, samples(3), strict=True):
        assert found["__key__"] == sample.key
        assert (found["image.npy"] == sample.image).all() and found["image.npy"].dtype == np.float16
        assert (found["label.npy"] == sample.label).all() and found["label.npy"].dtype == np.uint8
        files = {name: content for name, content in encode(sample).items() if name != "json"}
        files["json"] = json.dumps(sample.record, sort_keys=True).encode()
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        assert found["json"] == sample.record | {"sha256": digests}


def test_a_failed_shard_leaves_the_previous_file(tmp_path):
    def failing():
        yield from samples(2)
        raise RuntimeError("disk on fire")

    (tmp_path / "a.tar").write_bytes(b"the one before")
    with pytest.raises(RuntimeError):
        write_shard(open_place(tmp_path), "a.tar", failing())
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    assert (tmp_path / "a.tar").read_bytes() == b"the one before"


def test_a_file_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append((tmp_path / "a.txt").exists()))
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("text")
        assert temporary.suffix == ".txt"
    assert done == [False, True]


def test_tarfile_finds_the_same_files(tmp_path):
    write_shard(open_place(tmp_path), "a.tar", samples(3))
    content = (tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "r:") as tar:
        theirs = [(entry.name, tar.extractfile(entry).read()) for entry in tar]
    assert [(name, bytes(body)) for name, body in members(content)] == theirs
    for found, sample in zip(unpack(content), samples(3), strict=True):
        assert (found.image == sample.image).all() and (found.label == sample.label).all()


@pytest.mark.parametrize(
    "size",
    [b"-0000001000", b"-0000001024", b"1_0\0\0\0\0\0\0\0\0", b"+0000001000", b"0o000001000", b"         10"],
)
def test_sizes_are_octal_digits_alone(size):
    content = bytearray(pack(samples(2)).content)
    content[124:135] = size
    with pytest.raises(ShardError, match=r"00000000\.image\.npy: its header names no size"):
        list(unpack(bytes(content)))


@pytest.mark.parametrize("shape", [b"(True, 512)", b"(32, True)", b"(32., 16)", b"(-1, 16)", b"(3_2, 17)"])
def test_shapes_are_whole_numbers(shape):
    files = encode(next(samples(1)))
    at = files["label.npy"].index(b"(32, 16)")
    header = files["label.npy"][:at] + shape + files["label.npy"][at + 8 :]
    # The header is padded with spaces; it keeps its length.
    header = header.replace(b" " * (len(shape) - 8) + b"\n", b"\n", 1)
    with pytest.raises(ShardError, match=r"label\.npy: "):
        decode(
            "0",
            {
                **{name: memoryview(content) for name, content in files.items()},
                "label.npy": memoryview(header),
            },
        )


@pytest.mark.parametrize("depth", [300, 1000, 5000])
def test_a_record_that_is_nested_deep_is_refused(depth):
    record = b'{"slice": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(ShardError, match="sample 0: json: "):
        _ = Sample("0", None, np.zeros((16, 16), np.uint8), record).record


def test_a_file_that_a_sample_has_twice_is_refused():
    content = bytearray(pack(samples(1)).content)
    second = content.index(b"00000000.label.npy")
    content[second : second + 18] = b"00000000.image.npy"
    with pytest.raises(ShardError, match=r"sample 00000000 has two files image\.npy"):
        list(unpack(bytes(content)))
