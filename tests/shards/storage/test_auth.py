"""The token goes to the server that a set's URL names, on a way that others cannot read, and nowhere else."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import servers

from synthspine.shards.storage import auth
from synthspine.shards.storage.auth import (
    CHALLENGE,
    SERVERS_VARIABLE,
    TOKEN_VARIABLE,
    accept_challenge,
    authorization,
)
from synthspine.shards.storage.opening import open_place

TOKEN = "a-token-of-many-letters"
ASKED = {"WWW-Authenticate": CHALLENGE}


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.delenv(SERVERS_VARIABLE, raising=False)


def answers(code, **headers):
    """Answers with this status and these headers; underscores in their names stand for hyphens."""

    def way(handler):
        handler.send_response(code)
        for name, value in ({"Content-Length": "0"} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return way


challenge = answers(401, WWW_Authenticate=CHALLENGE)


def asks(url, answered=None):
    return accept_challenge(url, answered or url, 401, ASKED)


def tokens(server):
    return [headers.get("Authorization") for headers in server.headers]


def test_a_server_that_asks_receives_the_token_from_then_on():
    with servers.bad(challenge, servers.good(b"content")) as server:
        place = open_place(server.url)
        assert place.read("one") == place.read("two") == b"content"
        assert tokens(server) == [None, f"Bearer {TOKEN}", f"Bearer {TOKEN}"]


def test_concurrent_threads_all_send_the_token():
    both = threading.Barrier(2, timeout=20)

    def challenge_both(handler):
        both.wait()
        challenge(handler)

    with servers.bad(challenge_both, challenge_both, servers.good(b"content")) as server:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(open_place(server.url).read, ["one", "two"])) == [b"content"] * 2
        assert tokens(server) == [None, None, f"Bearer {TOKEN}", f"Bearer {TOKEN}"]


def test_a_wrong_token_is_sent_once():
    with servers.bad(challenge) as server:
        with pytest.raises(PermissionError, match="401") as reported:
            open_place(server.url).read("file")
        assert tokens(server) == [None, f"Bearer {TOKEN}"] and TOKEN not in str(reported.value)


def test_without_a_list_only_the_first_server_receives_the_token(monkeypatch):
    good = servers.good(b"content")
    with servers.bad(challenge, good) as server, servers.bad(challenge, challenge, good) as other:
        place, elsewhere = open_place(server.url), open_place(other.url)
        reported = f"is for {server.url}, which was opened first: list all servers .* in {SERVERS_VARIABLE}"
        with pytest.raises(PermissionError, match=reported):
            elsewhere.read("file")
        assert place.read("file") == b"content"
        assert tokens(server) == [None, f"Bearer {TOKEN}"] and tokens(other) == [None]
        monkeypatch.setenv(SERVERS_VARIABLE, f"{server.url} {other.url}")
        assert elsewhere.read("file") == b"content"


def test_another_https_server_does_not_receive_the_token():
    open_place("https://mine/sets")
    with pytest.raises(PermissionError, match="is for https://mine:443, which was opened first"):
        asks("https://evil/sets")
    assert authorization("https://evil/sets") == {} and asks("https://mine/sets")


def test_another_process_knows_the_server_that_was_named_first(monkeypatch):
    open_place("https://mine/sets")
    elsewhere = pickle.dumps(open_place("https://evil/sets"))
    # As in a new process, which has opened nothing.
    monkeypatch.setattr(auth, "_first_origin", "")
    pickle.loads(elsewhere)
    with pytest.raises(PermissionError, match="is for https://mine:443, which was opened first"):
        asks("https://evil/sets")
    assert asks("https://mine/sets")


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_the_token_does_not_follow_redirects(code):
    with servers.bad(servers.good(b"content")) as other:
        to_it = answers(code, Location=f"{other.url}/file")
        with servers.bad(challenge, to_it) as server:
            assert open_place(server.url).read("file") == b"content"
        assert tokens(server) == [None, f"Bearer {TOKEN}"] and tokens(other) == [None]


def test_the_target_of_a_redirect_does_not_receive_the_token():
    with servers.bad(challenge) as other, servers.bad(answers(302, Location=f"{other.url}/file")) as server:
        with pytest.raises(PermissionError, match="401"):
            open_place(server.url).read("file")
        assert tokens(server) + tokens(other) == [None, None]


def test_plain_http_to_another_machine_is_refused_unless_that_server_is_named(monkeypatch):
    with servers.bad(challenge, challenge, servers.good(b"content")) as server:
        # Reaches this machine, and is no address of this machine alone.
        url = server.url.replace("127.0.0.1", "0.0.0.0")
        with pytest.raises(
            PermissionError, match=rf"over plain http.* set {SERVERS_VARIABLE}={url}$"
        ) as reported:
            open_place(url).read("file")
        assert tokens(server) == [None] and TOKEN not in str(reported.value)
        monkeypatch.setenv(SERVERS_VARIABLE, f"https://elsewhere {url}")
        assert open_place(url).read("file") == b"content"
        assert tokens(server) == [None, None, f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    "url",
    ["https://box/sets", "http://127.0.0.1:8080/sets", "http://localhost/sets", "http://[::1]:8080/sets"],
)
def test_https_and_this_machine_receive_the_token(url):
    auth.name_server(url)
    assert asks(url) and authorization(url) == {"Authorization": f"Bearer {TOKEN}"}


def test_only_listed_servers_receive_the_token(monkeypatch):
    monkeypatch.setenv(SERVERS_VARIABLE, "http://gpu-box:8080/v1/sets https://other")
    for url in (
        "https://box/sets",
        "http://127.0.0.1:8080/sets",
        "http://gpu-box/sets",
        "https://gpu-box:8080/",
    ):
        with pytest.raises(
            PermissionError, match=f"{SERVERS_VARIABLE} reserves that of {TOKEN_VARIABLE} for other servers"
        ):
            asks(url)
        assert authorization(url) == {}
    assert asks("http://gpu-box:8080/v1/sets/synthetic") and asks("https://other:443/sets")


def test_an_origin_is_scheme_host_and_port_in_any_spelling():
    auth.name_server("https://box/")
    assert asks("https://Box:443/sets", "https://box/sets")
    assert authorization("HTTPS://BOX/other") and authorization("https://box:443/")
    for other in (
        "https://box:8443/sets",
        "http://box/sets",
        "https://box.example/sets",
        "https://user@evil/box",
    ):
        assert authorization(other) == {}


@pytest.mark.parametrize(
    ("url", "status", "headers"),
    [
        ("https://box/", 403, ASKED),
        ("https://box/", 401, {}),
        ("https://box/", 401, {"WWW-Authenticate": 'Bearer realm="other"'}),
        ("https://user:password@box/", 401, ASKED),
        ("ftp://box/", 401, ASKED),
    ],
)
def test_other_refusals_do_not_receive_the_token(url, status, headers):
    assert not accept_challenge(url, url, status, headers) and authorization(url) == {}


@pytest.mark.parametrize("named", ["gpu-box:8080", "ftp://gpu-box", "http://", "http://gpu-box:port"])
def test_a_list_of_servers_with_another_entry_is_refused(monkeypatch, named):
    monkeypatch.setenv(SERVERS_VARIABLE, named)
    with pytest.raises(ValueError, match=r"is not a server like http://gpu-box:8080"):
        asks("https://box/")


def test_without_a_token_nothing_is_sent(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, " ")
    assert not asks("https://box/") and authorization("https://box/") == {}


def test_users_and_passwords_are_taken_out_of_urls():
    stored = {"a": ["http://u:sesame@h/x@y", 3, None], "b": "--place=s3://k:a@sesame@b/c --mail me@h.org"}
    assert auth.without_credentials(stored) == {
        "a": ["http://h/x@y", 3, None],
        "b": "--place=s3://b/c --mail me@h.org",
    }
    with pytest.raises(ValueError, match=r"^pipe:curl \.\.\.: is a shell command") as refused:
        open_place("pipe:curl -H 'Authorization: Bearer sesame' http://h/a.tar")
    assert "sesame" not in str(refused.value)
