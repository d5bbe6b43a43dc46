"""Shards that a cache holds by a key: size, order of removal, damage."""

import errno
import os
import time
from pathlib import Path

import pytest
from cached import digest, fetch, held, kept, never, put, size_of

from synthspine.shards.storage import cache as storage_cache
from synthspine.shards.storage.cache import ShardCache


def test_a_shard_is_found_by_its_key(tmp_path):
    cache = ShardCache(tmp_path, 350)
    put(cache, 1)
    found = cache.open(f"{1:064x}")
    assert (found.bytes, found.sha256, found.file.read()) == (100, digest(b"\1" * 100), b"\1" * 100)
    found.file.close()
    assert cache.open(f"{2:064x}") is None


def test_the_size_stays_bounded_and_is_known(tmp_path):
    cache = ShardCache(tmp_path, 350)
    for number in (1, 2, 3):
        put(cache, number)
        os.utime(next(tmp_path.glob(f"??/{number:064x}*")), (1000 + number,) * 2)
    assert held(cache, 1)
    put(cache, 4)
    assert [held(cache, number) is not None for number in (1, 2, 3, 4)] == [True, False, True, True]
    for number in range(5, 40):
        put(cache, number)
        assert size_of(tmp_path) == cache.bytes <= 350
    assert cache.shards == 3


def test_most_writes_do_not_look_at_all_files(tmp_path, monkeypatch):
    cache, looks = ShardCache(tmp_path, 10_000), []
    real = Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda self, pattern: (pattern == "??/*.tar" and looks.append(1)) or real(self, pattern)
    )
    for number in range(200):
        put(cache, number)
    # One at the first write, then at every sixth of those that follow a full cache of 100.
    assert len(looks) <= 1 + 101 // 6 + 1 and size_of(tmp_path) == cache.bytes <= 10_000


def test_other_content_of_the_same_key_takes_its_place(tmp_path):
    cache = ShardCache(tmp_path, 150)
    put(cache, 1, b"a" * 100)
    put(cache, 1, b"b" * 100)
    assert held(cache, 1) == b"b" * 100
    assert (cache.shards, cache.bytes, size_of(tmp_path)) == (1, 100, 100)


def test_the_same_shard_put_twice_is_counted_once(tmp_path):
    cache = ShardCache(tmp_path, 350)
    put(cache, 1)
    put(cache, 1)
    assert (cache.shards, cache.bytes) == (1, 100)


def test_an_open_shard_stays_whole_when_it_is_removed(tmp_path):
    cache = ShardCache(tmp_path, 250)
    put(cache, 1)
    found = cache.open(f"{1:064x}")
    for number in (2, 3, 4):
        put(cache, number)
    assert cache.open(f"{1:064x}") is None
    assert found.file.read() == b"\1" * 100
    found.file.close()


def test_the_next_process_uses_what_is_whole_and_removes_what_is_damaged(tmp_path):
    first = ShardCache(tmp_path, 1000)
    for number in (1, 2, 3):
        put(first, number)
    damaged = next(tmp_path.glob(f"??/{2:064x}*"))
    damaged.write_bytes(b"\3" * 100)
    (tmp_path / "notes.txt").write_text("not a shard")
    second = ShardCache(tmp_path, 1000)
    assert [held(second, number) is not None for number in (1, 2, 3)] == [True, False, True]
    assert not damaged.exists() and (tmp_path / "notes.txt").exists()
    os.utime(next(tmp_path.glob(f"??/{1:064x}*")), (1000, 1000))
    third = ShardCache(tmp_path, 150)
    third.make_room()
    assert held(third, 1) is None and held(third, 3) and third.bytes == 100


def test_a_file_that_became_shorter_is_noticed_by_the_process_that_wrote_it(tmp_path):
    cache = ShardCache(tmp_path, 1000)
    put(cache, 1)
    os.truncate(next(tmp_path.glob("??/*.tar")), 60)
    assert held(cache, 1) is None and not kept(tmp_path)


def test_two_services_share_a_folder(tmp_path):
    one, two = ShardCache(tmp_path, 350), ShardCache(tmp_path, 350)
    put(one, 1)
    assert held(two, 1) == b"\1" * 100
    for number in range(2, 20):
        put((one, two)[number % 2], number)
        assert size_of(tmp_path) <= 350


def test_a_shard_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def torn(path, content):
        path.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", torn)
    cache = ShardCache(tmp_path, 350)
    with pytest.raises(OSError, match="No space left"):
        cache.put("a" * 64, "b" * 64, b"content")
    assert list((tmp_path / "aa").iterdir()) == [] and cache.bytes == 0


@pytest.mark.parametrize("kind", ["fifo", "device", "sparse"])
def test_a_copy_that_is_no_file_of_that_size_is_replaced(tmp_path, kind):
    cache = ShardCache(tmp_path, 1000)
    fetch(cache, b"content")
    put(cache, 1)
    for path in list(tmp_path.glob("??/*.tar")):
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 1 << 40)
    assert fetch(cache, b"content") == b"content" and fetch(cache, b"content", never) == b"content"
    if kind != "sparse":
        assert held(cache, 1) is None


@pytest.mark.parametrize("kind", ["fifo", "link", "hard link"])
def test_a_link_in_place_of_the_counts_is_not_followed(tmp_path, kind):
    victim, counts = tmp_path / "victim", tmp_path / "cache" / "counts"
    victim.write_text("precious")
    counts.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(counts)
    elif kind == "link":
        counts.symlink_to(victim)
    else:
        counts.hardlink_to(victim)
    cache = ShardCache(tmp_path / "cache", 1000)
    fetch(cache, b"content")
    assert victim.read_text() == "precious" and counts.read_text() == "1 7"


def test_a_shard_that_changes_on_the_disk_is_not_opened(tmp_path, monkeypatch):
    cache = ShardCache(tmp_path, 1000)
    put(cache, 1)
    whole = held(cache, 1)
    (path,) = tmp_path.glob("??/*.tar")
    path.write_bytes(whole[:-1] + b"?")
    assert held(cache, 1) is None and not path.exists()
    # A disk that loses bits changes no times: what is unchanged is hashed now and then.
    put(cache, 1)
    status = path.stat()
    path.write_bytes(whole[:-1] + b"?")
    monkeypatch.setattr(storage_cache, "_mark", lambda _: (status.st_ino,))
    cache._checked[path.name] = (status.st_ino,), time.monotonic()
    assert held(cache, 1) is not None
    monkeypatch.setattr(storage_cache, "_RECHECK_S", 0.0)
    assert held(cache, 1) is None


def test_a_full_disk_loses_the_least_recently_used_shards(tmp_path, monkeypatch):
    cache, write = ShardCache(tmp_path, 10_000), storage_cache._write

    def limited(path, content):
        if len(list(tmp_path.glob("??/*.tar"))) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(storage_cache, "_write", limited)
    for number in range(5):
        put(cache, number)
    assert [held(cache, number) is not None for number in range(5)] == [False, False, True, True, True]
