"""The spool: bounded, last used last gone, and never a shard that is not what was put there."""

import hashlib
import os

import pytest

from synthspine.shards.service.disk_cache import Spool


def content(number, size=100):
    body = bytes([number]) * size
    return f"{number:064x}", [body[:40], body[40:]], size, hashlib.sha256(body).hexdigest()


def held(spool, number):
    found = spool.open(content(number)[0])
    if found is None:
        return None
    with found.file as file:
        return file.read()


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool", 350)
    yield spool
    spool.close()


def test_a_shard_comes_out_as_it_was_put_in(spool):
    spool.put(*content(1))
    found = spool.open(content(1)[0])
    assert (found.bytes, found.sha256) == content(1)[2:]
    assert found.file.read() == b"\1" * 100
    found.file.close()
    assert spool.open(content(2)[0]) is None


def test_what_was_used_longest_ago_goes_first_and_the_bytes_stay_bounded(spool):
    for number in (1, 2, 3):
        spool.put(*content(number))
    assert held(spool, 1)
    spool.put(*content(4))
    assert [held(spool, number) is not None for number in (1, 2, 3, 4)] == [True, False, True, True]
    for number in range(5, 40):
        spool.put(*content(number))
        files = list(spool.folder.glob("*.tar"))
        assert sum(path.stat().st_size for path in files) == spool.held <= 350
    assert len(spool) == 3


def test_a_shard_that_is_being_sent_stays_whole_when_it_is_dropped(spool):
    spool.put(*content(1))
    found = spool.open(content(1)[0])
    for number in (2, 3, 4, 5):
        spool.put(*content(number))
    assert spool.open(content(1)[0]) is None
    assert found.file.read() == b"\1" * 100
    found.file.close()


def test_the_same_shard_put_twice_is_counted_once(spool):
    spool.put(*content(1))
    spool.put(*content(1))
    assert (len(spool), spool.held) == (1, 100)


def test_the_next_process_uses_what_is_whole_and_drops_what_is_damaged(tmp_path):
    first = Spool(tmp_path, 1000)
    for number in (1, 2, 3):
        first.put(*content(number))
    first.close()
    paths = {path.name[:64]: path for path in tmp_path.glob("*.tar")}
    paths[content(2)[0]].write_bytes(b"\2" * 60)
    (tmp_path / ".tmp-1-1-x").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not ours")
    for age, number in enumerate((3, 2, 1)):
        os.utime(paths[content(number)[0]], (1000 - age, 1000 - age))
    second = Spool(tmp_path, 1000)
    assert not (tmp_path / ".tmp-1-1-x").exists() and (tmp_path / "notes.txt").exists()
    assert [held(second, number) is not None for number in (1, 2, 3)] == [True, False, True]
    assert not paths[content(2)[0]].exists() and second.held == 200
    second.close()
    os.utime(paths[content(1)[0]], (1000, 1000))
    third = Spool(tmp_path, 150)
    assert held(third, 1) is None and held(third, 3)
    third.close()


def test_a_second_service_on_the_same_folder_is_refused(spool):
    with pytest.raises(ValueError, match=r"another service keeps its shards here; take another --spool-dir"):
        Spool(spool.folder, 350)


def test_a_shard_that_cannot_be_written_leaves_nothing(spool):
    def torn():
        yield b"begin"
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        spool.put("a" * 64, torn(), 10, "b" * 64)
    assert [path.name for path in spool.folder.iterdir()] == [".lock"] and spool.held == 0
