import errno
import hashlib
import os
import tempfile
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from synthspine.shards.storage.lock import locked
from synthspine.shards.storage.opening import open_place


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_symbolic_link_in_the_temporary_folder_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    url = f"memory://{tmp_path.name}"
    digest = hashlib.sha256(url.encode()).hexdigest()
    link = Path(tempfile.gettempdir()) / f"synthspine-{os.getuid()}-{digest[:16]}.lock"
    link.symlink_to(victim)
    try:
        with locked(open_place(url)):
            assert victim.read_text() == "precious"
    finally:
        link.unlink()


def test_a_url_is_locked_in_the_users_cache_folder(cache):
    with locked(open_place("memory://somewhere")):
        (file,) = (cache / "synthspine" / "locks").iterdir()
    with locked(open_place("memory://elsewhere")):
        assert len(list((cache / "synthspine" / "locks").iterdir())) == 2
    assert file.suffix == ".lock"


@pytest.mark.parametrize("where", ["folder", "url"])
def test_a_symbolic_link_in_place_of_the_lock_is_an_error(tmp_path, cache, where):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = open_place(tmp_path / "sets" if where == "folder" else "memory://somewhere")
    with locked(place):
        pass
    files = (
        [tmp_path / "sets" / ".lock"]
        if where == "folder"
        else list((cache / "synthspine" / "locks").iterdir())
    )
    for file in files:
        file.unlink()
        file.symlink_to(victim)
    with pytest.raises(OSError, match=rf"^{files[0]}: cannot be locked"), locked(place):
        pass
    assert victim.read_text() == "precious"


def test_a_second_process_reports_that_it_waits(tmp_path, capsys):
    place, entered = open_place(tmp_path), threading.Event()

    def second():
        with locked(place):
            entered.set()

    with locked(place):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.5)
    thread.join(10)
    assert entered.is_set()
    assert f"{tmp_path}: another process is writing here; waiting" in capsys.readouterr().out


@pytest.mark.parametrize(("code", "reported"), [(errno.EACCES, ""), (errno.ENOLCK, "cannot be locked")])
def test_without_a_lock_the_work_continues(tmp_path, monkeypatch, capsys, code, reported):
    def fail(lock, **_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(FileLock, "acquire", fail)
    with locked(open_place(tmp_path)):
        pass
    assert reported in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["hard link", "fifo"])
def test_what_the_lock_is_linked_to_stays_as_it_is(tmp_path, kind):
    victim, lock = tmp_path / "victim", tmp_path / "sets" / ".lock"
    victim.write_text("precious")
    lock.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(lock)
    else:
        lock.hardlink_to(victim)
    with locked(open_place(lock.parent)):
        pass
    assert victim.read_text() == "precious"
