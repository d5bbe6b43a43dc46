import errno
import hashlib
import multiprocessing
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synthspine.shards.storage import cache as storage_cache
from synthspine.shards.storage.cache import ShardCache, WrongContent, default_cache
from synthspine.shards.storage.opening import open_place

FORK = multiprocessing.get_context("fork")


def digest(content):
    return hashlib.sha256(content).hexdigest()


def fetch(cache, content, load=None):
    return cache.fetch(digest(content), len(content), load or (lambda: content))


def never():
    raise AssertionError("is in the cache")


def kept(folder):
    return sorted(path.stem for path in Path(folder).glob("??/*.tar"))


def size_of(folder):
    return sum(path.stat().st_size for path in Path(folder).glob("??/*.tar"))


def put(cache, number, content=None):
    """Keep a shard of 100 bytes by a key that is not its SHA-256."""
    content = content or bytes([number]) * 100
    cache.put(f"{number:064x}", digest(content), content)


def held(cache, number):
    found = cache.open(f"{number:064x}")
    if found is None:
        return None
    with found.file as file:
        return file.read()


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
