import hashlib
import multiprocessing
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cached import digest, fetch, kept, never, size_of

from synthspine.shards.storage.cache import ShardCache, WrongContent, default_cache
from synthspine.shards.storage.opening import open_place

FORK = multiprocessing.get_context("fork")


def test_a_shard_is_loaded_once_and_then_read_from_the_cache(tmp_path):
    assert fetch(ShardCache(tmp_path, 100), b"content") == b"content"
    assert fetch(ShardCache(tmp_path, 100), b"content", never) == b"content"
    path = tmp_path / digest(b"content")[:2] / f"{digest(b'content')}.tar"
    assert path.read_bytes() == b"content"


def test_shards_of_one_name_in_two_sets_do_not_collide(tmp_path):
    cache = ShardCache(tmp_path / "cache", 1000)
    for name in ("train", "val"):
        open_place(tmp_path / name).write("shard-000000.tar", name.encode())
    for name in ("train", "val", "train"):
        place, content = open_place(tmp_path / name), name.encode()
        assert fetch(cache, content, lambda place=place: place.read("shard-000000.tar")) == content
    assert kept(tmp_path / "cache") == sorted([digest(b"train"), digest(b"val")])


@pytest.mark.parametrize("damaged", [b"CONTENT", b"conte", b""])
def test_a_damaged_copy_is_replaced(tmp_path, damaged):
    cache = ShardCache(tmp_path, 100)
    fetch(cache, b"content")
    path = next(tmp_path.glob("??/*.tar"))
    path.write_bytes(damaged)
    assert fetch(cache, b"content") == b"content"
    assert path.read_bytes() == b"content"


def test_a_damaged_copy_is_removed_even_if_loading_fails(tmp_path):
    cache = ShardCache(tmp_path, 100)
    fetch(cache, b"content")
    next(tmp_path.glob("??/*.tar")).write_bytes(b"CONTENT")
    with pytest.raises(WrongContent):
        fetch(cache, b"content", lambda: b"CONTENT")
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("loaded", "reason"), [(b"conten", "6 bytes instead of 7"), (b"CONTENT", "SHA-256 differs")]
)
@pytest.mark.parametrize("max_bytes", [100, 1])
def test_wrong_content_is_not_kept(tmp_path, loaded, reason, max_bytes):
    with pytest.raises(WrongContent, match=reason):
        fetch(ShardCache(tmp_path, max_bytes), b"content", lambda: loaded)
    assert kept(tmp_path) == []


def test_the_least_recently_used_is_removed_first(tmp_path):
    cache = ShardCache(tmp_path, 35)
    contents = [bytes([number]) * 10 for number in range(4)]
    for number, content in enumerate(contents[:3]):
        fetch(cache, content)
        os.utime(tmp_path / digest(content)[:2] / f"{digest(content)}.tar", (1000 + number,) * 2)
    fetch(cache, contents[0], never)  # now the second was used longest ago
    fetch(cache, contents[3])
    assert kept(tmp_path) == sorted(map(digest, [contents[0], contents[2], contents[3]]))


def test_a_shard_larger_than_the_cache_is_returned(tmp_path):
    cache = ShardCache(tmp_path, 10)
    fetch(cache, b"small")
    assert fetch(cache, b"x" * 11) == b"x" * 11
    assert kept(tmp_path) == [digest(b"small")]


def test_old_temporary_files_of_killed_processes_are_removed(tmp_path):
    cache = ShardCache(tmp_path, 100)
    (tmp_path / "ab").mkdir(parents=True)
    old, new = tmp_path / "ab" / ".tmp-1-2-x.tar", tmp_path / "ab" / ".tmp-3-4-x.tar"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    fetch(cache, b"content")
    assert not old.exists() and new.exists()


def test_threads_load_one_shard_once(tmp_path):
    cache, loads, ready = ShardCache(tmp_path, 100), [], threading.Barrier(4)

    def load():
        loads.append(1)
        time.sleep(0.1)
        return b"content"

    def work(_):
        ready.wait(10)
        return fetch(cache, b"content", load)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [b"content"] * 4
    assert len(loads) == 1


def _many(folder, log, seed):
    cache = ShardCache(folder, 5 * 1000)
    for step in range(40):
        content = bytes([(seed + step * 7) % 10]) * 1000
        assert fetch(cache, content) == content
    with log.open("ab") as file:
        file.write(b"x")


def test_processes_share_a_cache_that_is_too_small(tmp_path):
    log = tmp_path / "log"
    processes = [FORK.Process(target=_many, args=(tmp_path / "cache", log, seed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert log.read_bytes() == b"xxxx"
    assert size_of(tmp_path / "cache") <= 5000


def _load_slowly(folder, log):
    def load():
        with log.open("ab") as file:
            file.write(b"x")
        time.sleep(0.2)
        return b"content"

    assert fetch(ShardCache(folder, 100), b"content", load) == b"content"


def test_processes_load_one_shard_once(tmp_path):
    processes = [FORK.Process(target=_load_slowly, args=(tmp_path / "c", tmp_path / "log")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_bytes() == b"x"


def test_a_lock_is_free_even_if_a_forked_child_has_it_open(tmp_path):
    cache = ShardCache(tmp_path, 100)
    stop = FORK.Event()
    children = []

    def load():
        children.append(FORK.Process(target=stop.wait, args=(20,)))
        children[0].start()
        return b"content"

    fetch(cache, b"content", load)
    next(tmp_path.glob("??/*.tar")).unlink()
    thread = threading.Thread(target=fetch, args=(cache, b"content"), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    stop.set()
    children[0].join(10)


def test_a_disk_that_cannot_be_written_warns_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = ShardCache(tmp_path / "file" / "cache", 100)
    with pytest.warns(
        UserWarning, match=r"file/cache: shards cannot be kept here \(Not a directory\)"
    ) as reported:
        assert fetch(cache, b"content") == b"content"
        assert fetch(cache, b"other") == b"other"
    assert len(reported) == 1


def test_a_full_disk_does_not_stop_the_reading(tmp_path, monkeypatch):
    real = Path.open

    def full(self, mode="r"):
        if mode == "wb":
            self.touch()
            raise OSError(28, "No space left on device")
        return real(self, mode)

    monkeypatch.setattr(Path, "open", full)
    cache = ShardCache(tmp_path, 100)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert fetch(cache, b"content") == b"content"
    assert kept(tmp_path) == [] and not list(tmp_path.glob("*/.tmp-*"))


def test_nothing_warns_when_all_is_well(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = ShardCache(tmp_path, 10)
        for content in (b"first", b"second", b"first"):
            assert fetch(cache, content) == content


def test_content_is_hashed_once(tmp_path, monkeypatch):
    cache, hashed = ShardCache(tmp_path, 100), []
    name, real = digest(b"content"), hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda content: hashed.append(content) or real(content))
    for _ in range(2):
        cache.fetch(name, 7, lambda: b"content")
    assert hashed == [b"content"] * 2


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "AB" * 32, "ab" * 31])
def test_a_digest_is_a_digest(tmp_path, name):
    with pytest.raises(ValueError, match="is not a SHA-256"):
        ShardCache(tmp_path, 100).fetch(name, 1, never)


def test_the_cache_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHSPINE_CACHE", str(tmp_path))
    monkeypatch.setenv("SYNTHSPINE_CACHE_GB", "1.5")
    cache = default_cache()
    assert (cache.folder, cache.max_bytes) == (tmp_path, 1_500_000_000)
    monkeypatch.setenv("SYNTHSPINE_CACHE_GB", "much")
    with pytest.raises(ValueError, match="SYNTHSPINE_CACHE_GB=much"):
        default_cache()
    monkeypatch.setenv("SYNTHSPINE_CACHE", "")
    assert default_cache() is None
    monkeypatch.delenv("SYNTHSPINE_CACHE")
    monkeypatch.delenv("SYNTHSPINE_CACHE_GB")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().folder == tmp_path / "synthspine" / "shards"
