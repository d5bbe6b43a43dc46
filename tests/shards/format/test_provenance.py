import os
import subprocess
import sys
from importlib import metadata

import pytest
import torch

from synthspine.shards.format.provenance import (
    arithmetic,
    code_state,
    digest_of,
    identity_difference,
    made_with,
)

VERSION = {"version": metadata.version("synthspine")}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one committed module; a call runs Git in it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)

    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    (tmp_path / "gen").mkdir()
    (tmp_path / "gen" / "one.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("site-packages\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    return git


@pytest.fixture
def state(tmp_path):
    return lambda name="gen/one.py": code_state.__wrapped__(tmp_path / name)


def test_the_code_of_a_clean_checkout_is_version_and_commit(checkout, state):
    assert state() == VERSION | {"commit": checkout("rev-parse", "HEAD")}


def test_every_uncommitted_change_of_the_code_is_another_state(checkout, state, tmp_path):
    commit = checkout("rev-parse", "HEAD")
    found = []
    for text in ("x = 2\n", "x = 3\n"):
        (tmp_path / "gen" / "one.py").write_text(text)
        found.append(state())
        assert found[-1]["commit"] == f"{commit}-dirty"
    checkout("add", ".")
    assert state() == found[-1]
    for text in ("y = 2\n", "y = 3\n"):
        (tmp_path / "gen" / "new.py").write_text(text)
        found.append(state())
    assert len({digest_of(each) for each in found}) == 4


def test_untracked_files_that_are_no_modules_and_dangling_links_change_nothing(checkout, state, tmp_path):
    clean = state()
    (tmp_path / "my_study.py").write_text("z = 1\n")
    (tmp_path / "gen" / "notes.txt").write_text("notes\n")
    (tmp_path / "gen" / ".#one.py").symlink_to("nowhere")
    assert state() == clean


def test_a_commit_is_another_state(checkout, state, tmp_path):
    before = state()
    (tmp_path / "gen" / "one.py").write_text("x = 2\n")
    checkout("commit", "-a", "-m", "second")
    assert identity_difference(state(), before) == ["commit"]


def test_a_package_inside_the_checkout_of_another_project_has_a_version_alone(checkout, state, tmp_path):
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "one.py").write_text("x = 1\n")
    assert state("site-packages/one.py") == VERSION


def test_without_a_checkout_or_git_the_version_alone_is_known(checkout, state, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        assert state() == VERSION
    for path in sorted((tmp_path / ".git").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / ".git").rmdir()
    assert state() == VERSION


def test_variables_of_a_git_hook_do_not_select_another_repository(checkout, state, tmp_path, monkeypatch):
    expected = state()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert state() == expected


def test_equal_identities_have_equal_digests_whatever_the_order_of_keys():
    assert digest_of({"a": 1, "b": [2, None]}) == digest_of({"b": [2, None], "a": 1})
    # A digest that stored sets, snapshots and caches rest on.
    assert digest_of({"a": 1}) == "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310"


@pytest.mark.parametrize(
    ("found", "names"), [({"a": 1, "b": 2}, []), ({"a": 2, "b": 2}, ["a"]), ({"a": 1, "c": 3}, ["b", "c"])]
)
def test_a_difference_names_changed_missing_and_additional_entries(found, names):
    assert identity_difference({"a": 1, "b": 2}, found) == names


def arithmetic_under(**variables):
    program = "from synthspine.shards.format.provenance import made_with; print(made_with()['arithmetic'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="no MKL")
def test_the_code_path_of_the_maths_library_is_part_of_what_a_set_is_made_with():
    assert len(own := made_with()["arithmetic"]) == 16
    assert arithmetic_under(MKL_CBWR="COMPATIBLE") != own


def test_the_arithmetic_does_not_depend_on_the_state_of_torch():
    own, threads = made_with()["arithmetic"], torch.get_num_threads()
    found = {arithmetic.__wrapped__()}
    with torch.autocast("cpu"):
        found.add(arithmetic.__wrapped__())
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(3)
        found.add(arithmetic.__wrapped__())
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert found == {own}
