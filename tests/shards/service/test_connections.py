"""Connections: no Nagle delay, stalled clients are closed, others get in, one line of a kind in a second."""

import http.client
import logging
import re
import socket
import sys
import time
from contextlib import contextmanager, suppress

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_program import Program
from service_thread import running, serve_options

from synthspine.shards.service import connections
from synthspine.shards.service.connections import OncePerSecond, most_connections

REQUEST = b"GET /page/page.js HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with short time limits and room for ten connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "REQUEST_S", 0.6)
        patch.setattr(connections, "MOST_CONNECTIONS", 10)
        with running(serve_options(tmp_path_factory.mktemp("service"), stall_s=0.6)) as service:
            yield service


@contextmanager
def connected(service, receives=None):
    host, port = service.url.removeprefix("http://").split(":")
    with socket.socket() as client:
        if receives:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        client.settimeout(10)
        client.connect((host, int(port)))
        yield client


def closed_after(client):
    """Seconds until the service closes the connection, whatever it sends before."""
    start = time.monotonic()
    with suppress(ConnectionError):
        while client.recv(2**20):
            pass
    return time.monotonic() - start


def until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_small_answers_on_a_kept_connection_do_not_wait(service):
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        times.append(time.perf_counter() - start)
    assert sorted(times)[10] < 0.03
    accepted = next(iter(service.server.server_state.connections)).transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    connection.close()


@pytest.mark.parametrize("begun", [b"", b"GET", REQUEST, REQUEST + b"\r\n" + REQUEST])
def test_clients_that_send_no_whole_request_are_closed(service, begun):
    with connected(service) as client:
        client.sendall(begun)
        assert 0.3 < closed_after(client) < 3


def test_dripped_headers_do_not_keep_a_connection(service):
    with connected(service) as client:
        start = time.monotonic()
        client.sendall(REQUEST)
        with suppress(ConnectionError):
            while time.monotonic() - start < 5:
                client.sendall(b"X-Drip: 1\r\n")
                time.sleep(0.05)
        assert time.monotonic() - start < 3


@pytest.mark.parametrize("path", [b"/page/page.js", b"/v1/sets/synthetic/shard-000000.tar", b"/healthz"])
def test_clients_that_read_nothing_are_closed(service, path):
    with connected(service, receives=4096) as client:
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.send((b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") * 3000)
        until(lambda: service.server.server_state.connections)
        until(lambda: not service.server.server_state.connections)
    until(lambda: service.count("requests_open") == 0)


def test_a_client_that_reads_slowly_gets_its_shard(service):
    path = "/v1/sets/synthetic/shard-000001.tar"
    whole = service.ask(path)[2]
    with connected(service, receives=4096) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        content = b""
        while part := client.recv(2000):
            content += part
            time.sleep(0.01)
    assert content.endswith(whole)


def test_a_new_client_gets_in_where_idle_ones_hold_every_place(service, monkeypatch):
    monkeypatch.setitem(service.server._limits_s, connections.Waits.REQUEST, 60.0)
    clients = [socket.create_connection(service.url.removeprefix("http://").split(":")) for _ in range(30)]
    assert service.ask("/healthz")[0] == 200
    assert len(service.server.server_state.connections) <= 10
    for client in clients:
        client.close()


def test_connections_need_fewer_descriptors_than_there_are(monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 1000)
    for files, most in ((64, 8), (256, 64), (1024, 320), (10**6, 1000)):
        monkeypatch.setattr(connections.resource, "getrlimit", lambda _, files=files: (files, files))
        assert most_connections() == most
        assert most == connections.FEWEST_CONNECTIONS or 3 * most + 64 <= files


def test_one_record_of_a_kind_is_logged_in_a_second_with_the_number_of_the_others(caplog):
    limit, log = OncePerSecond(), logging.getLogger("a log")
    log.addFilter(limit)
    try:
        for number in range(100):
            log.warning("no place for %s", number)
        log.warning("another kind")
        assert caplog.messages == ["no place for 0", "another kind"]
        limit._last = {kind: last - 2 for kind, last in limit._last.items()}
        log.warning("no place for %s", 100)
        assert caplog.messages[-1] == "no place for 100 (99 more like this)"
    finally:
        log.removeFilter(limit)


@pytest.mark.slow
def test_more_clients_than_descriptors_do_not_shut_out_an_honest_one(tmp_path):
    """The program with 128 descriptors, and 300 clients that send nothing."""
    command = ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh", sys.executable]
    with Program(serve_options(tmp_path), launcher=command) as program:
        program.wait()
        host, port = re.findall(r"//(.*):(\d+)", program.url)[0]
        clients = [socket.create_connection((host, int(port))) for _ in range(300)]
        start = time.monotonic()
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200 and time.monotonic() - start < 5
        for client in clients:
            client.close()
        program.end()
        assert len("".join(program.output)) < 5000
