import pytest
from nobody import as_nobody

from synthspine.train.plan import TrainingError
from synthspine.train.save_folder import try_save_folder


def test_nothing_is_left_behind(tmp_path):
    try_save_folder(tmp_path / "models" / "saved")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "best.pth").write_bytes(b"weights")
    try_save_folder(tmp_path / "there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["best.pth"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"--save-dir .*file/models: .*/file is a file, not a folder"):
        try_save_folder(tmp_path / "file" / "models")


@pytest.mark.parametrize("place", ["closed", "closed/models"])
def test_a_folder_of_somebody_else_is_told(tmp_path, place):
    closed = tmp_path / "closed"
    closed.mkdir()

    def work():
        with pytest.raises(TrainingError, match=rf"--save-dir .*{place}: nothing .*Permission denied"):
            try_save_folder(tmp_path / place)

    as_nobody(closed, work)
    assert not list(closed.iterdir())


def test_a_full_disk_is_told_and_nothing_is_left_behind(tmp_path, small_files):
    with (
        small_files(10),
        pytest.raises(TrainingError, match=r"nothing can be written there \(File too large"),
    ):
        try_save_folder(tmp_path / "models")
    assert not list(tmp_path.iterdir())
