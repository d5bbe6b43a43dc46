import re

import pytest
from nobody import as_nobody

from synthspine.train.snapshots import save_folder_problem


def test_nothing_is_left_behind(tmp_path):
    assert save_folder_problem(tmp_path / "models" / "saved") is None
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "best.pth").write_bytes(b"weights")
    assert save_folder_problem(tmp_path / "there") is None
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["best.pth"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    problem = save_folder_problem(tmp_path / "file" / "models")
    assert re.search(r"--save-dir .*file/models: .*/file is a file, not a folder", problem)


@pytest.mark.parametrize("place", ["closed", "closed/models"])
def test_a_folder_of_somebody_else_is_told(tmp_path, place):
    closed = tmp_path / "closed"
    closed.mkdir()

    def work():
        problem = save_folder_problem(tmp_path / place)
        assert re.search(rf"--save-dir .*{place}: nothing .*Permission denied", problem)

    as_nobody(closed, work)
    assert not list(closed.iterdir())


def test_a_full_disk_is_told_and_nothing_is_left_behind(tmp_path, small_files):
    with small_files(10):
        problem = save_folder_problem(tmp_path / "models")
    assert "nothing can be written there (File too large" in problem
    assert not list(tmp_path.iterdir())
