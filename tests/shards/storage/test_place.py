import errno
import gc
import multiprocessing
import os
import pickle
from functools import partial
from pathlib import Path

import aiohttp
import fsspec
import pytest
import servers

from synthspine.gen.core.documents import UnfitFile
from synthspine.shards.storage import http as web
from synthspine.shards.storage import remote
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import LocalPlace
from synthspine.shards.storage.retries import Retries

FORK = multiprocessing.get_context("fork")
SECRET = "sesame"


@pytest.fixture(params=["local", "file", "memory", "s3"])
def place(request, tmp_path):
    """An empty place of every kind that can be written."""
    if request.param == "local":
        return open_place(tmp_path / "set")
    if request.param == "file":
        return open_place((tmp_path / "a set").as_uri())
    if request.param == "memory":
        return open_place(f"memory://{tmp_path.name}/set")
    return open_place(f"{request.getfixturevalue('bucket_url')}/{tmp_path.name}/set")


@pytest.fixture
def waits(monkeypatch):
    """Retries without waiting; the waits there would have been."""
    found = []
    monkeypatch.setattr(remote, "RETRIES", Retries(sleep=found.append))
    return found


def test_files_are_read_as_written(place):
    content = bytes(range(256)) * 500
    place.write("shard-000000.tar", content)
    assert place.read("shard-000000.tar") == content
    assert place.size("shard-000000.tar") == len(content)
    place.write("shard-000000.tar", b"other")
    assert place.read("shard-000000.tar") == b"other"
    place.write("empty", b"")
    assert place.read("empty") == b"" and place.size("empty") == 0


def test_a_shard_of_sixteen_megabytes_is_read(place):
    content = os.urandom(1 << 20) * 16
    place.write("shard.tar", content)
    assert place.read("shard.tar") == content


def test_missing_files_and_folders(place):
    assert place.names() == [] and place.size("a.tar") is None
    with pytest.raises(FileNotFoundError, match=r"set/a\.tar: "):
        place.read("a.tar")
    place.remove("a.tar")
    place.remove("no/folder/a.tar")
    place.remove_tree()
    assert place.names() == []


def test_names_lists_the_files_of_a_folder(place):
    for name in ("b.tar", "a b%20+ü.json", "unfinished/shard-000000.json", ".tmp-1-a.tar"):
        place.write(name, b"x")
    assert place.names() == [".tmp-1-a.tar", "a b%20+ü.json", "b.tar"]
    assert (place / "unfinished").names() == ["shard-000000.json"]
    assert place.read("a b%20+ü.json") == b"x"
    assert place.read("unfinished/shard-000000.json") == (place / "unfinished").read("shard-000000.json")
    place.remove("unfinished/shard-000000.json")
    assert (place / "unfinished").names() == []


def test_a_folder_is_not_a_file(place):
    place.write("unfinished/a.json", b"x")
    assert place.size("unfinished") is None
    with pytest.raises(OSError, match="set/unfinished"):
        place.read("unfinished")


def test_removing_a_tree_keeps_other_files(place):
    for name in ("a.tar", "unfinished/a.json", "unfinished/deep/b.json", "unfinished-not/c.json"):
        place.write(name, b"x")
    (place / "unfinished").remove_tree()
    assert place.names() == ["a.tar"] and place.size("unfinished/deep/b.json") is None
    assert place.size("unfinished-not/c.json") == 1
    (place / "unfinished").remove_tree()


def test_places_are_values(place):
    place.write("a.tar", b"x")
    copy = pickle.loads(pickle.dumps(place))
    assert copy == place and hash(copy) == hash(place) and copy.read("a.tar") == b"x"
    assert place / "b" == copy / "b" != place
    assert open_place(place) is place
    assert (place / "b").name == "b" and str(place / "b") == f"{place}/b"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a/"])
def test_names_that_lead_out_of_a_place_are_refused(tmp_path, name):
    for place in (open_place(tmp_path), open_place("memory://a"), open_place("http://localhost/a")):
        write = partial(place.write, content=b"x")
        for act in (place.read, place.size, write, place.remove, place.__truediv__):
            with pytest.raises(ValueError, match="is not the plain name"):
                act(name)


def test_names_and_paths_of_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_place(".").name == tmp_path.name
    assert open_place("a/b/").path == Path("a/b") and str(open_place("a/b/")) == "a/b"
    url = open_place("HTTP://localhost:8000/a%20b/")
    assert (str(url), url.name, url.path) == ("http://localhost:8000/a%20b", "a b", None)
    assert open_place("http://localhost/a/") == open_place("http://localhost/a")
    assert open_place((tmp_path / "a b").as_uri()) == LocalPlace(tmp_path / "a b")


@pytest.mark.parametrize(
    ("where", "reported"),
    [
        ("", "empty"),
        ("pipe:curl http://host/a.tar", "no command is run"),
        ("|cat a.tar", "no command is run"),
        ("http://host/a.tar |", "no command is run"),
        ("what://host/a", "unknown protocol what://"),
        ("simplecache::http://host/a", "chained"),
        ("zip://a.tar::http://host/b.zip", "chained"),
        ("http://host/a?token=sesame", r"http://host/a: the URL of a place has no query"),
        ("http://host/a#sesame", "no fragment"),
        ("http://host/a?", "no query"),
        ("http:///a", "server is missing"),
        ("http://host:port/a", "malformed"),
        ("http://host/a/../b", r"\.\. is not allowed"),
        ("http://host/a/%2e%2e/b", r"\.\. is not allowed"),
        ("s3://", "bucket is missing"),
        ("s3://key:sesame@bucket/a", "come from the environment"),
        (Path("http://host/a"), "two slashes"),
        ("http:/user:sesame@host/a", "two slashes"),
        ("file://host/a", "file:///path"),
    ],
)
def test_unusable_urls_are_refused_with_the_reason(where, reported):
    with pytest.raises(ValueError, match=reported) as raised:
        open_place(where)
    assert SECRET not in str(raised.value)


def test_a_missing_package_is_named(monkeypatch):
    def missing(protocol):
        raise ImportError("Install it")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(ValueError, match=r"s3://bucket/a: needs s3fs: pip install 'synthspine\[s3\]'"):
        open_place("s3://bucket/a")
    with pytest.raises(ValueError, match="gcsfs"):
        open_place("gs://bucket/a")


@pytest.mark.parametrize("url", ["s3://bucket", "memory://bucket", "file:///"])
def test_a_whole_server_bucket_or_disk_is_not_removed(url):
    with pytest.raises(ValueError, match="whole"):
        open_place(url).remove_tree()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_failed_local_write_names_the_file_and_the_reason(tmp_path, monkeypatch, code):
    place = open_place(tmp_path / "x")
    place.write("shard-000003.tar", b"the one before")

    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError) as raised:
        place.write("shard-000003.tar", b"content")
    reason = f"x/shard-000003.tar: cannot be written ({os.strerror(code)})"
    assert str(raised.value).endswith(reason) and raised.value.errno == code
    assert type(raised.value) is type(OSError(code, ""))
    assert place.read("shard-000003.tar") == b"the one before" and place.names() == ["shard-000003.tar"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r": real(Path("/dev/full"), mode))
    with pytest.raises(OSError, match=r"a\.tar: cannot be written \(No space left on device\)"):
        open_place(tmp_path).write("a.tar", bytes(100_000))


def test_a_file_in_place_of_a_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("x")
    place = open_place(tmp_path / "file")
    for act in (
        lambda: place.read("a"),
        lambda: place.write("a", b""),
        place.names,
        lambda: place.remove("a"),
    ):
        with pytest.raises(OSError, match=r"file.*: cannot be "):
            act()
    assert place.size("a") is None


def test_a_web_server_is_read(web_url, web_folder):
    local, place = open_place(web_folder / "served"), open_place(f"{web_url}/served")
    content = os.urandom(1 << 20) * 16
    for name, text in (("shard.tar", content), ("empty", b""), ("a b%20+ü/c.json", b"x")):
        local.write(name, text)
        assert place.read(name) == text and place.size(name) == len(text)
    assert (place / "a b%20+ü").read("c.json") == b"x" and (place / "a b%20+ü").name == "a b%20+ü"
    copy = pickle.loads(pickle.dumps(place))
    assert copy == place and hash(copy) == hash(place) and copy.read("empty") == b""
    assert place.size("none.tar") is None
    with pytest.raises(FileNotFoundError, match=r"served/none\.tar: is not there"):
        place.read("none.tar")
    assert place.size("a b%20+ü") is None
    with pytest.raises(FileNotFoundError, match="served/a b"):
        place.read("a b%20+ü")


def test_files_that_others_write_to_a_bucket_are_seen(bucket_url):
    import s3fs

    place, other = open_place(f"{bucket_url}/shared"), s3fs.S3FileSystem(skip_instance_cache=True)
    at = f"{servers.BUCKET}/shared"
    place.write("a.tar", b"1")
    assert place.names() == ["a.tar"] and place.size("b.tar") is None
    other.pipe_file(f"{at}/b.tar", b"22")
    other.pipe_file(f"{at}/a.tar", b"333")
    assert place.names() == ["a.tar", "b.tar"] and place.size("b.tar") == 2 and place.size("a.tar") == 3
    other.rm_file(f"{at}/a.tar")
    assert place.names() == ["b.tar"] and place.size("a.tar") is None


def test_a_bucket_that_does_not_exist(bucket_url, waits):
    place = open_place("s3://no-such-bucket/a")
    assert place.names() == [] and place.size("a.tar") is None
    with pytest.raises(FileNotFoundError, match=r"s3://no-such-bucket/a/a\.tar"):
        place.write("a.tar", b"x")
    assert waits == []


def _fork_works(place):
    gc.collect()  # the file systems of the parent, if nothing holds them
    os._exit(0 if place.read("a.tar") == b"content" else 1)


@pytest.mark.parametrize("kind", ["web_url", "bucket_url"])
def test_a_place_works_before_in_and_after_a_forked_child(kind, request, monkeypatch, tmp_path):
    # One attempt, and little patience: else a connection that the child broke is only slow.
    monkeypatch.setattr(remote, "RETRIES", Retries(attempts=1))
    monkeypatch.setattr(web, "TIMEOUT", aiohttp.ClientTimeout(total=5, sock_read=5))
    url = request.getfixturevalue(kind)
    place = open_place(f"{url}/{tmp_path.name}")
    folder = request.getfixturevalue("web_folder") / tmp_path.name if kind == "web_url" else place
    fsspec.get_filesystem_class(place.protocol).clear_instance_cache()
    gc.freeze()  # the child collects only what is new
    try:
        open_place(folder).write("a.tar", b"content")
        assert place.read("a.tar") == b"content"
        for _ in range(2):
            child = FORK.Process(target=_fork_works, args=(place,))
            child.start()
            child.join(30)
            assert child.exitcode == 0
            assert place.read("a.tar") == b"content"
    finally:
        gc.unfreeze()


def test_what_is_no_regular_file_or_too_large_is_not_read(tmp_path):
    place = open_place(tmp_path)
    os.mkfifo(tmp_path / "shard-000000.tar")
    (tmp_path / "shard-000001.tar").symlink_to("/dev/zero")
    for number in (0, 1):
        with pytest.raises(UnfitFile, match=rf"shard-00000{number}\.tar: cannot be read \(is not a regular"):
            place.read(f"shard-00000{number}.tar")
    place.write("a.tar", b"12345")
    assert place.read("a.tar", 5) == b"12345"
    with pytest.raises(UnfitFile, match=r"a\.tar: cannot be read \(holds 5 bytes, at most 4") as refused:
        place.read("a.tar", 4)
    assert refused.value.held == 5


@pytest.mark.parametrize("kind", ["link", "fifo", "file"])
def test_a_link_or_a_file_in_place_of_a_folder_is_removed_and_not_followed(tmp_path, kind):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "precious").write_text("precious")
    path = tmp_path / "unfinished"
    if kind == "link":
        path.symlink_to(tmp_path / "others")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("x")
    open_place(path).remove_tree()
    assert not os.path.lexists(path) and (tmp_path / "others" / "precious").read_text() == "precious"


@pytest.mark.parametrize("most", [4, 100])
def test_no_more_is_read_than_expected(place, most):
    place.write("a.json", b"four")
    assert place.read("a.json", most) == b"four"
    for longest in (0, 3):
        with pytest.raises(UnfitFile, match=rf"set/a\.json: .*at most {longest} are expected") as refused:
            place.read("a.json", longest)
        assert refused.value.held > longest


@pytest.mark.parametrize(
    "host", ["[::1]", "[::1]:8080", "user:secret@[fe80::1%25eth0]:80", "[::ffff:127.0.0.1]"]
)
def test_servers_are_named_by_ipv6(host):
    place = open_place(f"http://{host}/v1/sets")
    assert str(place) == f"http://{host.rpartition('@')[2]}/v1/sets"


@pytest.mark.parametrize("url", ["zip://a::http://[::1]/b", "http://[::1]/a::b", "http://[::1/a"])
def test_what_only_looks_like_ipv6_is_refused(url):
    with pytest.raises(ValueError, match=r"chained URLs|malformed URL"):
        open_place(url)
