import errno
import gzip
import socket
import threading
import time
from itertools import cycle, islice

import aiohttp
import fsspec
import pytest
import servers
from fsspec.implementations.memory import MemoryFileSystem

from synthspine.gen.core.documents import UnfitFile
from synthspine.shards.storage import http as web
from synthspine.shards.storage import remote
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.retries import Retries

SECRET = "sesame"
CONTENT = b"content" * 1000


@pytest.fixture
def waits(monkeypatch):
    """Retries without waiting; the waits there would have been."""
    found = []
    monkeypatch.setattr(remote, "RETRIES", Retries(sleep=found.append))
    return found


@pytest.mark.parametrize(
    "way",
    [
        servers.cut(CONTENT[:-1], len(CONTENT)),
        servers.cut(b"", len(CONTENT)),
        servers.cut_chunks(CONTENT),
        servers.no_length(CONTENT),
        servers.status(500),
        servers.status(503),
        servers.status(429),
    ],
)
def test_a_request_that_fails_twice_is_tried_again(way, waits):
    with servers.bad(way, way, servers.good(CONTENT)) as server:
        assert open_place(server.url).read("a.tar") == CONTENT
    assert server.requests == ["GET /a.tar"] * 3 and len(waits) == 2


@pytest.mark.parametrize(
    ("way", "reported"),
    [
        (servers.cut(b"x", 2), "cut short"),
        (servers.cut_chunks(b"x"), "cut short"),
        (servers.no_length(b"x"), "no length"),
        (servers.status(502), "502 Bad Gateway"),
    ],
)
def test_a_permanent_failure_is_reported_with_url_and_attempts(way, reported, waits):
    with servers.bad(way) as server:
        place = open_place(server.url.replace("//", f"//user:{SECRET}@") + "/set")
        with pytest.raises(OSError, match=reported) as raised:
            place.read("a.tar")
    assert str(raised.value).startswith(f"{server.url}/set/a.tar: ")
    assert str(raised.value).endswith("gave up after 5 attempts")
    assert len(server.requests) == 5 and len(waits) == 4


@pytest.mark.parametrize(("code", "kind"), [(401, PermissionError), (403, PermissionError), (400, OSError)])
def test_a_forbidden_request_is_not_tried_again(code, kind, waits):
    with servers.bad(servers.status(code)) as server:
        place = open_place(f"{server.url}/set")
        for act in (place.read, place.size):
            with pytest.raises(kind, match=f"{server.url}/set.*: the server answers [A-Z]* with {code}"):
                act("a")
    assert server.requests == ["GET /set/a", "HEAD /set/a"] and waits == []


def test_web_servers_are_not_written_to(waits):
    with servers.bad(servers.good(b"")) as server:
        place = open_place(f"{server.url}/set")
        for act in (lambda: place.write("a.tar", b"x"), lambda: place.remove("a.tar"), place.remove_tree):
            with pytest.raises(
                PermissionError, match=rf"^{server.url}/set.*: web servers are read only; write to a folder"
            ):
                act()
        with pytest.raises(PermissionError, match="cannot be listed"):
            place.names()
    assert server.requests == []


def test_reading_from_a_stalled_server_fails(waits, monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT", aiohttp.ClientTimeout(total=5, sock_read=0.2))
    monkeypatch.setattr(remote, "RETRIES", Retries(attempts=2, sleep=waits.append))
    start = time.perf_counter()
    with servers.bad(servers.stall(1.5)) as server, pytest.raises(OSError, match=r"timed out.* 2 attempts"):
        open_place(server.url).read("a.tar")
    assert time.perf_counter() - start < 3 and len(waits) == 1


@pytest.mark.parametrize("chunked", [True, False])
def test_no_more_of_a_body_without_end_is_read_than_expected(chunked, waits):
    with servers.bad(servers.endless(chunked)) as server:
        place = open_place(server.url)
        for read in (place.read, place.read_with_headers):
            with pytest.raises(UnfitFile, match=r"/a\.tar: holds .* at most 1000000 are expected"):
                read("a.tar", 1_000_000)
    assert len(server.requests) == 2 and waits == []


def test_the_body_of_an_error_is_not_read(waits):
    def way(handler):
        handler.send_response = lambda _: type(handler).send_response(handler, 403)
        servers.endless(True)(handler)

    with servers.bad(way) as server, pytest.raises(PermissionError, match="403"):
        open_place(server.url).read("a.tar")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_an_encoding_that_was_not_requested_is_refused(encoding, waits):
    refused = pytest.raises(OSError, match=f"in the encoding '{encoding}', which was not requested")
    with servers.bad(servers.encoded(gzip.compress(bytes(10**6)), encoding)) as server, refused:
        open_place(server.url).read("a.tar")
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [True, False])
def test_a_server_that_drips_is_given_up(headers, waits, monkeypatch):
    for name in ("ANSWER_S", "PACE_S"):
        monkeypatch.setattr(web, name, 0.2)
    given_up = pytest.raises(OSError, match=r"fewer than 10000 bytes per second\); gave up after 5 attempts")
    with servers.bad(servers.drip(0.02, headers)) as server, given_up:
        open_place(server.url).read("a.tar", 100_000)


def test_a_slow_but_steady_server_is_read_to_its_end(waits, monkeypatch):
    def way(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "20000")
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(bytes(1000))
            time.sleep(0.03)

    monkeypatch.setattr(web, "PACE_S", 0.3)
    with servers.bad(way) as server:
        assert open_place(server.url).read("a.tar") == bytes(20_000)
    assert len(server.requests) == 1


def test_a_set_is_read_by_ipv6():
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")

    def answer():
        connection = listener.accept()[0]
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with listener:
        threading.Thread(target=answer, daemon=True).start()
        assert open_place(f"http://[::1]:{listener.getsockname()[1]}/sets").read("a.json") == b"ok"


def test_a_proxy_of_the_environment_is_used_if_it_is_set_so(monkeypatch):
    conf = {}
    fsspec.config.set_conf_env(conf, {"FSSPEC_HTTP_CLIENT_KWARGS": '{"trust_env": true}'})
    monkeypatch.setitem(fsspec.config.conf, "http", conf["http"])
    with servers.bad(servers.good(b"through the proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert open_place("http://sets.example/v1").read("a.json") == b"through the proxy"
    assert proxy.requests == ["GET http://sets.example/v1/a.json"]


def test_requests_have_time_outs():
    timeout = web.TIMEOUT
    assert 0 < timeout.sock_connect <= 10 and 0 < timeout.sock_read <= 60 and 0 < timeout.total <= 3600


def test_a_missing_server_is_reported_without_credentials(waits):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = open_place(f"http://user:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/set")
        with pytest.raises(OSError, match="gave up after 5 attempts") as raised:
            place.read("a.tar")
    assert SECRET not in str(raised.value) and "user" not in str(raised.value)


def test_credentials_are_sent_but_not_shown():
    with servers.bad(servers.good(b"x"), servers.status(403)) as server:
        place = open_place(server.url.replace("//", f"//user:{SECRET}@") + "/set")
        assert place.read("a.tar") == b"x"
        assert server.headers[0]["Authorization"].startswith("Basic ")
        with pytest.raises(PermissionError) as raised:
            place.read("a.tar")
    for text in (str(place), repr(place), str(place / "b"), str(raised.value), place.name, f"{[place]}"):
        assert SECRET not in text and "user" not in text


def test_headers_come_from_fsspec_configuration(monkeypatch):
    monkeypatch.setitem(fsspec.config.conf, "http", {"headers": {"X-Token": "t"}})
    with servers.bad(servers.good(b"x")) as server:
        assert open_place(server.url).read("a.tar") == b"x"
    assert server.headers[0]["X-Token"] == "t" and server.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("way", [servers.cut(CONTENT[:-1], len(CONTENT)), servers.status(503)])
def test_a_bucket_that_fails_twice_is_asked_again(way, waits):
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    with servers.bad(way, way, servers.good(CONTENT)) as server, servers.s3_environment(server.url):
        assert open_place("s3://bucket/set").read("a.tar") == CONTENT
    assert server.requests == ["GET /bucket/set/a.tar"] * 3 and len(waits) == 2


def test_a_bucket_that_always_fails_is_asked_five_times(waits):
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    reported = pytest.raises(OSError, match=r"s3://bucket/set/a\.tar: .*gave up after 5 attempts")
    with servers.bad(servers.cut(b"x", 2)) as server, servers.s3_environment(server.url), reported:
        open_place("s3://bucket/set").read("a.tar")
    assert len(server.requests) == 5


def test_a_forbidden_bucket_is_not_asked_again(waits):
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    reported = pytest.raises(PermissionError, match=r"s3://bucket/set/a\.tar")
    with servers.bad(servers.status(403)) as server, servers.s3_environment(server.url), reported:
        open_place("s3://bucket/set").read("a.tar")
    assert len(server.requests) == 1


class Slow(MemoryFileSystem):
    """A file system in which a file has its name before it is whole, as over SFTP."""

    protocol = "slow"
    cachable = True
    fails = cycle([False])

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if next(Slow.fails):
            super().pipe_file(path, value[: len(value) // 2])
            raise OSError(errno.EIO, "the line broke")
        super().pipe_file(path, value)

    def cat_file(self, path, start=None, end=None, **kwargs):
        content = super().cat_file(path, start, end, **kwargs)
        return content[:-1] if next(Slow.fails) else content

    def mv(self, path1, path2, **kwargs):
        self.store[self._strip_protocol(path2)] = self.store.pop(self._strip_protocol(path1))


def test_protocols_without_rename_are_read_only(tmp_path):
    class Copying(MemoryFileSystem):
        protocol = "copying"

    fsspec.register_implementation("copying", Copying, clobber=True)
    place = open_place(f"copying://{tmp_path.name}/set")
    with pytest.raises(PermissionError, match="copying:// is read only, because it cannot rename files"):
        place.write("a.tar", b"content")
    assert place.names() == []


def test_other_protocols_rename_a_file_when_it_is_complete(waits, monkeypatch, tmp_path):
    fsspec.register_implementation("slow", Slow, clobber=True)
    place = open_place(f"slow://{tmp_path.name}/set")
    place.write("a.tar", b"old")
    monkeypatch.setattr(Slow, "fails", cycle([True]))
    with pytest.raises(OSError, match="the line broke; gave up after 5 attempts"):
        place.write("a.tar", b"content")
    with pytest.raises(OSError, match="only 2 bytes came; gave up"):
        place.read("a.tar")
    monkeypatch.setattr(Slow, "fails", islice(cycle([True, False]), 100))
    assert place.read("a.tar") == b"old"
    place.write("a.tar", b"content")
    monkeypatch.setattr(Slow, "fails", cycle([False]))
    # What was begun and failed is gone.
    assert place.read("a.tar") == b"content" and place.names() == ["a.tar"]
