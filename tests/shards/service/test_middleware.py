"""Who may send requests, and how many: the token, the address, the limits."""

import http.client
import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_thread import TOKEN, running, serve_options

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.service import middleware
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.storage.auth import TOKEN_VARIABLE

PROTECTED = (
    "/v1/sets",
    "/v1/sets/synthetic/manifest.json",
    "/v1/sets/synthetic/shard-000000.tar",
    "/v1/config",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(serve_options(tmp_path_factory.mktemp("service"), requests=4), TOKEN) as service:
        yield service


@pytest.mark.parametrize("path", [*PROTECTED, "/v1/preview.png", "/metrics", "/v1/nothing"])
def test_data_needs_the_token(service, path):
    for wrong in (
        {},
        *({"Authorization": value} for value in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x")),
    ):
        status, headers, body = service.ask(path, **wrong)
        assert status == 401 and headers["WWW-Authenticate"] == 'Bearer realm="synthspine"'
        assert TOKEN not in body.decode()
    assert service.ask(path, Authorization=f"Bearer {TOKEN}")[0] in (200, 404)


def test_the_page_and_health_need_no_token_and_hold_no_data(service):
    for path in ("/", "/docs", "/page/page.js", "/page/page.css", "/healthz", "/readyz", "/openapi.json"):
        assert service.ask(path)[0] == 200


@pytest.mark.parametrize(
    "path", ["/page/../serve.py", "/page/%2e%2e/options.py", "/page/nothing.js", "/other"]
)
def test_nothing_but_the_page_lies_beside_it(service, path):
    assert service.ask(path)[0] == 404


def test_tokens_are_compared_in_constant_time(service, monkeypatch):
    compared = []
    real = middleware.secrets.compare_digest
    monkeypatch.setattr(
        middleware.secrets, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b)
    )
    assert service.ask("/v1/sets", Authorization="Bearer guess")[0] == 401
    assert compared == [(b"guess", TOKEN.encode())]


def test_a_token_that_is_no_text_is_refused(service):
    assert service.ask("/v1/sets", Authorization="Bearer \xff\xfe")[0] == 401


def test_requests_with_a_body_or_too_long_are_refused(service):
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/v1/sets", body=b"x" * 10, headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert answer.status == 413 and "body" in json.loads(answer.read())["error"]
    connection.close()
    status, _, body = service.ask(f"/v1/preview.png?seed={'1' * 5000}", Authorization=f"Bearer {TOKEN}")
    assert status == 414 and "4096" in json.loads(body)["error"]
    assert service.count("refused_total", reason="body") == 1
    assert service.count("refused_total", reason="too long") == 1


@pytest.mark.parametrize("length", [20_000, 70_000])
def test_headers_that_are_too_long_are_refused(service, length):
    assert service.ask("/healthz", X_Long="x" * length)[0] in (400, 431)
    assert service.ask("/healthz", X_Long="x" * 10_000)[0] == 200


def test_more_requests_than_allowed_are_told_to_come_again(tmp_path, monkeypatch):
    with running(serve_options(tmp_path, requests=2)) as fresh:
        gate, begin = threading.Event(), fresh.delivery.rendered.samples.begin
        monkeypatch.setattr(
            fresh.delivery.rendered.samples, "begin", lambda *span: gate.wait(20) and begin(*span)
        )
        path = "/v1/sets/synthetic/shard-000000.tar"
        threads = [threading.Thread(target=fresh.ask, args=(path,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        while fresh.count("requests_open") < 2:
            pass
        status, headers, _ = fresh.ask(path)
        assert status == 503 and int(headers["Retry-After"]) >= 1
        assert fresh.ask("/healthz")[0] == 200
        gate.set()
        for thread in threads:
            thread.join(30)
        while fresh.count("requests_open") > 0:
            pass
        assert fresh.ask(path)[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "gpu-box", "", "example.org"])
def test_without_a_token_it_is_not_opened_to_others(host, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(
        ValueError, match=rf"host {host}: other machines can reach it, so a token is needed; set SYNTH"
    ):
        ServeOptions(host=host).token()
    monkeypatch.setenv(TOKEN_VARIABLE, "  ")
    with pytest.raises(ValueError, match="token is needed"):
        ServeOptions(host=host).token()
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert ServeOptions(host=host).token() == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_this_machine_alone_no_token_is_needed_but_one_that_is_set_counts(host, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert ServeOptions(host=host).token() is None
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert ServeOptions(host=host).token() == TOKEN


def test_a_token_file_goes_before_the_environment_and_short_tokens_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "another-one-in-the-environment")
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert ServeOptions(token_file=file).token() == TOKEN
    for short in ("", "short", "a token with many spaces", "zeichen-mit-ümläuten"):
        file.write_text(short)
        with pytest.raises(ValueError, match=r"token: a token has 16 or more letters, digits and signs"):
            ServeOptions(token_file=file).token()
    with pytest.raises(OSError):
        ServeOptions(token_file=tmp_path / "nothing").token()
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match=f"{endless}: is not a regular file"):
            ServeOptions(token_file=endless).token()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"port": 70000}, "port 70000 is outside 0..65535"),
        ({"waiting": 0}, "waiting 0 must be at least 1"),
        ({"patience_s": 0.0}, "patience_s 0.0 must be more than 0"),
        ({"also": ("synthetic",)}, "synthetic is not a stored set; there are labels"),
        (
            {"shards": ShardOptions(synthetic_samples=10**9)},
            "make 15,625,000 shards; at most 100,000 are served",
        ),
    ],
)
def test_choices_that_cannot_be_are_named(changes, text):
    with pytest.raises(ValueError, match=text):
        ServeOptions(**changes)


def test_the_token_is_in_no_log(service, caplog):
    with caplog.at_level(logging.DEBUG):
        service.ask("/v1/sets", Authorization=f"Bearer {TOKEN}")
        service.ask("/v1/preview.png?map=x", Authorization=f"Bearer {TOKEN}")
    assert TOKEN not in caplog.text


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A service without a token."""
    with running(serve_options(tmp_path_factory.mktemp("local"), hosts=("Spine.Example.org",))) as service:
        yield service


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:80", "LOCALHOST", "[::1]:8080", "spine.example.org"]
)
def test_without_a_token_it_answers_to_its_own_names(local, host):
    for path in ("/", "/v1/config", "/healthz"):
        assert local.ask(path, Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost@evil.example", "[", ""]
)
def test_without_a_token_it_answers_to_no_other_name(local, host):
    for path in ("/", "/v1/config", "/page/", "/healthz"):
        status, headers, body = local.ask(path, Host=host)
        assert status == 421 and "answers to localhost" in json.loads(body)["error"]
        assert "Location" not in headers


@pytest.mark.parametrize("path", ["/docs/", "/v1/sets/", "/page"])
def test_redirects_lead_to_paths_of_this_service(service, path):
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=20)
    headers = {"Host": "evil.example", "Authorization": f"Bearer {TOKEN}"}
    connection.request("GET", f"{path}?a=1", headers=headers)
    answer = connection.getresponse()
    wanted = path.rstrip("/") if path.endswith("/") else f"{path}/"
    assert answer.status == 307 and answer.headers["Location"] == f"{wanted}?a=1"
    connection.close()


@pytest.mark.parametrize(
    ("sender", "destination", "status"),
    [
        ("cross-site", "image", 403),
        ("cross-site", "iframe", 403),
        ("cross-site", "document", 200),
        ("same-origin", "image", 200),
        ("none", "document", 200),
    ],
)
def test_pictures_in_pages_of_other_servers_are_not_rendered(local, sender, destination, status):
    headers = {"Sec-Fetch-Site": sender, "Sec-Fetch-Dest": destination}
    assert local.ask("/v1/preview.png?seed=5", **headers)[0] == status


def test_nothing_that_is_sent_is_taken_for_another_kind(service):
    for path in (
        "/",
        "/docs",
        "/page/page.js",
        "/page/page.css",
        "/healthz",
        "/openapi.json",
        "/v1/sets",
        "/x",
    ):
        assert service.ask(path)[1]["X-Content-Type-Options"] == "nosniff"
    assert len(service.ask("/")[1].get_all("X-Content-Type-Options")) == 1


def test_those_without_the_token_take_no_place_of_those_who_have_it(service):
    """``requests`` is 4: more clients than that pipeline a page and never read."""
    host, port = service.url.removeprefix("http://").split(":")
    pipelined = b"GET /page/page.js HTTP/1.1\r\nHost: x\r\n\r\n" * 300
    clients = []
    try:
        for _ in range(12):
            client = socket.create_connection((host, int(port)))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            clients.append(client)
            with suppress(BlockingIOError):
                client.send(pipelined)
        time.sleep(0.5)
        assert service.count("requests_open") == 0
        assert service.ask("/v1/sets", Authorization=f"Bearer {TOKEN}")[0] == 200
    finally:
        for client in clients:
            client.close()


def test_no_path_of_the_machine_is_told(local, tmp_path_factory, monkeypatch):
    folder = str(local.options.cache_folder.parent)
    for path in (
        "/v1/config",
        "/v1/sets",
        "/v1/sets/labels/manifest.json",
        "/v1/sets/synthetic/manifest.json",
    ):
        assert folder not in local.ask(path)[2].decode()
    (local.options.cache_folder.parent / "sets" / "split.json").unlink()
    assert folder not in local.ask("/v1/sets/split.json")[2].decode()
