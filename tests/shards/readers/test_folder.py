import pytest

from synthspine.shards.readers.folder import SpiderError, find_series


def test_both_layouts_give_the_same_series(spider_folder):
    nested, flat = spider_folder(2, "nested"), spider_folder(2, "flat", nested=False)
    names = [(s.stem, s.patient, s.contrast, s.image.name, s.mask.name) for s in find_series(nested)]
    assert names == [(s.stem, s.patient, s.contrast, s.image.name, s.mask.name) for s in find_series(flat)]
    assert names[0] == ("1_t1", "1", "t1", "1_t1.mha", "1_t1.mha")


def test_patients_are_sorted_by_number(spider_folder):
    patients = [series.patient for series in find_series(spider_folder(11))]
    assert patients == [str(number) for number in range(1, 12) for _ in range(2)]


def test_masks_without_images_are_legal(spider_folder):
    assert all(s.image is None and s.mask is not None for s in find_series(spider_folder(2, images=False)))


def test_space_series_have_their_own_contrast(spider_folder):
    folder = spider_folder(1)
    for kind in ("images", "masks"):
        (folder / kind / kind / "1_t2.mha").rename(folder / kind / kind / "1_t2_SPACE.mha")
    assert [series.contrast for series in find_series(folder)] == ["t1", "t2_SPACE"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SpiderError, match=r"nowhere: no such folder; expected one in SPIDER layout"):
        find_series(tmp_path / "nowhere")


def test_a_folder_without_images_and_masks_is_named(tmp_path):
    with pytest.raises(SpiderError, match="not in SPIDER layout"):
        find_series(tmp_path)


def test_a_folder_without_series_is_named(tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(SpiderError, match="holds no series"):
        find_series(tmp_path)


def test_a_file_name_without_contrast_is_reported_or_left_out(spider_folder):
    folder = spider_folder(1)
    odd = folder / "masks" / "masks" / "7_flair.mha"
    odd.touch()
    with pytest.raises(SpiderError, match=r"7_flair\.mha: the name is not that of a series"):
        find_series(folder)
    errors = []
    assert len(find_series(folder, errors.append)) == 2
    assert [error.path for error in errors] == [odd]


def test_one_series_twice_is_an_error(spider_folder):
    folder = spider_folder(1)
    (folder / "masks" / "1_t1.mha").write_bytes(b"")
    with pytest.raises(SpiderError, match="the same series as"):
        find_series(folder)
