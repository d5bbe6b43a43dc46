"""Which layout a folder has, and what a layout gives."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.base import contrast_of, patient_of
from synthspine.shards.readers.folder import SpiderError, find_series
from synthspine.shards.readers.layouts import LAYOUTS, SPIDER, layout_of, register_layout, series_of


def test_a_folder_is_recognised_by_its_files(spider_folder, nnunet_folder):
    assert layout_of(spider_folder(1)).name == "spider"
    assert layout_of(nnunet_folder(cases=1)).name == "nnunet"


def test_spider_series_are_those_of_its_own_reader(spider_folder):
    folder = spider_folder(3)
    assert series_of(folder) == series_of(folder, "spider") == find_series(folder)
    series = series_of(folder)[0]
    assert LAYOUTS[series.layout].read_mask(series).array.dtype == "uint8"


def test_a_folder_without_a_layout_is_told_what_each_expects(tmp_path):
    with pytest.raises(
        SpiderError, match=r"known layouts: spider expects images/.*nnunet expects dataset\.json"
    ) as found:
        layout_of(tmp_path)
    assert all(f"{name} expects" in str(found.value) for name in LAYOUTS)
    with pytest.raises(SpiderError, match="nowhere: no such folder"):
        layout_of(tmp_path / "nowhere")


def test_a_folder_with_two_layouts_needs_the_name(nnunet_folder):
    folder = nnunet_folder(cases=1)
    (folder / "masks").mkdir()
    with pytest.raises(
        SpiderError, match=r"several layouts, choose one .* spider expects .*; nnunet expects"
    ):
        layout_of(folder)
    assert layout_of(folder, "nnunet").name == "nnunet"


def test_a_named_layout_that_does_not_fit_is_an_error(spider_folder):
    with pytest.raises(SpiderError, match=r"does not have the layout nnunet: nnunet expects dataset\.json"):
        layout_of(spider_folder(1), "nnunet")


def test_a_name_without_a_layout_is_an_error(spider_folder, tmp_path):
    with pytest.raises(ValueError, match="'bids'; there are auto, spider, nnunet, totalspineseg, spineps"):
        layout_of(spider_folder(1), "bids")
    with pytest.raises(ValueError, match="'bids'"):
        ShardOptions(layout="bids")
    with pytest.raises(ValueError, match="'bids'"):
        ShardOptions(labels_layout="bids")
    with pytest.raises(ValueError, match="labels_layout nnunet is that of labels_dir, which is not given"):
        ShardOptions(labels_layout="nnunet")


def test_a_name_is_given_once(monkeypatch):
    monkeypatch.setattr("synthspine.shards.readers.layouts.LAYOUTS", dict(LAYOUTS))
    register_layout(SPIDER)
    register_layout(replace(SPIDER, name="own"))
    assert ShardOptions(layout="own").layout == "own"
    for name in ("spider", "auto"):
        with pytest.raises(ValueError, match=f"already called '{name}'"):
            register_layout(replace(SPIDER, name=name, expects="nothing"))


def test_two_series_of_one_name_are_an_error(spider_folder, monkeypatch):
    folder = spider_folder(1)
    doubled = replace(SPIDER, find=lambda folder, on_error: find_series(folder) * 2)
    monkeypatch.setitem(LAYOUTS, "spider", doubled)
    with pytest.raises(SpiderError, match="2 series are called 1_t"):
        series_of(folder)


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("T1", "t1"),
        ("sub-01_T2w", "t2"),
        ("mr_t2_SPACE", "t2_SPACE"),
        ("T1w post contrast", "t1"),
        ("T2star", None),
        ("T2*", None),
        ("MRI", None),
        ("CT", None),
        ("T1 and T2", None),
        ("T10", None),
    ],
)
def test_the_contrast_is_told_by_the_name(text, contrast):
    assert contrast_of(text) == contrast


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("sub-01_ses-2_T1w", "sub-01"),
        ("spine_003", "spine_003"),
        ("7_t1", "7"),
        ("12_T2w", "12"),
        ("t2", "t2"),
    ],
)
def test_images_of_one_patient_share_its_id(case, patient):
    assert patient_of(case) == patient


def test_every_layout_has_a_row_on_the_page_about_shards():
    page = (Path(__file__).parents[3] / "docs/shards.md").read_text(encoding="utf-8")
    section = page.split("\n## Dataset layouts\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(LAYOUTS)
