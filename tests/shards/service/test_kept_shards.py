"""Shards that the service keeps on its disk: a full disk, damage, renders that nobody waits for."""

import errno
import hashlib
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_thread import running, serve_options, wait_until

from synthspine.shards.storage import cache

SHARD = "/v1/sets/synthetic/shard-000001.tar"


def test_a_disk_cache_that_holds_next_to_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cache_gb 1e-06 holds less than 8 shards"):
        serve_options(tmp_path, cache_gb=1e-6)


@pytest.fixture
def full(monkeypatch):
    """A disk with room for so many bytes of shards, which can be changed."""
    room = [0]
    write = cache._write

    def limited(path, content):
        used = sum(other.stat().st_size for other in path.parent.parent.glob("??/*.tar"))
        if used + len(content) > room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(cache, "_write", limited)
    return room


def test_a_full_disk_loses_old_shards_and_then_is_done_without(tmp_path, full):
    with running(serve_options(tmp_path)) as fresh:
        paths = [f"/v1/sets/synthetic/shard-{number:06d}.tar" for number in range(4)]
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(fresh.ask, [paths[0]] * 6))
        (body,) = {body for _, _, body in answers}
        assert {status for status, _, _ in answers} == {200}
        assert hashlib.sha256(body).hexdigest() == answers[0][1]["X-Content-SHA256"]
        assert fresh.ask(paths[0], Range="bytes=5-9")[2] == body[5:10]
        assert fresh.ask("/v1/sets/labels/shard-000000.tar")[0] == 200
        assert not list((tmp_path / "rendered").glob("??/*.tar"))
        full[0] = 3 * len(body)
        assert [fresh.ask(path)[0] for path in paths * 2] == [200] * 8
        files = list((tmp_path / "rendered").glob("??/*.tar"))
        assert 1 <= len(files) <= 3 and fresh.ask("/readyz")[0] == 200


def test_a_kept_shard_that_rots_is_rendered_again(service):
    whole = service.ask(SHARD)[2]
    key = service.delivery.rendered.manifest.shards[1].key
    (path,) = (service.options.cache_folder / key[:2]).glob(f"{key}*.tar")
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    before = service.count("render_seconds_count", kind="shard")
    assert service.ask(SHARD)[2] == whole
    assert service.count("render_seconds_count", kind="shard") == before + 1


def test_what_nobody_waits_for_is_not_rendered(slow):
    paths = [f"/v1/sets/synthetic/shard-{number:06d}.tar" for number in range(3)]
    host, port = slow.url.removeprefix("http://").split(":")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow.ask, paths[0])
        wait_until(lambda: slow.begun == [0])
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"GET {paths[1]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            wait_until(lambda: slow.count("queue") == 1)
        wait_until(lambda: slow.count("queue") == 0)
        last = pool.submit(slow.ask, paths[2])
        wait_until(lambda: slow.count("queue") == 1)
        slow.gate.set()
        assert first.result()[0] == last.result()[0] == 200
    assert slow.begun == [0, 10]


def test_shards_that_the_disk_cache_lost_are_made_again(tmp_path):
    with running(serve_options(tmp_path)) as fresh:
        paths = [f"/v1/sets/synthetic/shard-{number:06d}.tar" for number in range(5)]
        size = len(fresh.ask(paths[0])[2])
        fresh.delivery._cache.max_bytes = 2 * size
        bodies = {path: fresh.ask(path)[2] for path in paths}
        assert fresh.count("render_seconds_count", kind="shard") == 5
        assert {path: fresh.ask(path)[2] for path in paths} == bodies
        assert fresh.count("render_seconds_count", kind="shard") > 5
        files = list((tmp_path / "rendered").glob("??/*.tar"))
        assert sum(path.stat().st_size for path in files) == fresh.count("cache_bytes") <= 2 * size
