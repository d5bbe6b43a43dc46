import json

import pytest

from synthspine.eval.results.cache import Cache

KEY = {"checkpoint": "ab", "input": {"slices": [1, 2]}, "device": "cpu"}
VALUE = {"3": {"dice": 0.5, "hd95_mm": None}}


@pytest.fixture
def kept(tmp_path):
    cache = Cache(tmp_path / "cache")
    cache.keep(KEY, VALUE)
    (file,) = (tmp_path / "cache").iterdir()
    return cache, file


def test_what_was_kept_is_found_by_an_equal_key(kept, tmp_path):
    assert Cache(tmp_path / "cache").find(dict(reversed(KEY.items()))) == VALUE


@pytest.mark.parametrize(
    "change", [{"checkpoint": "cd"}, {"input": {"slices": [1, 3]}}, {"device": "cuda"}, {"more": 1}]
)
def test_another_key_finds_nothing(kept, change):
    assert kept[0].find(KEY | change) is None


def test_fresh_finds_nothing_and_writes(kept, tmp_path):
    fresh = Cache(tmp_path / "cache", fresh=True)
    assert fresh.find(KEY) is None
    fresh.keep(KEY, {"other": 1})
    assert kept[0].find(KEY) == {"other": 1}


def spoil_value(text):
    return text.replace("0.5", "0.6")


def spoil_key(text):
    return text.replace('"ab"', '"cd"')


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_value,
        spoil_key,
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps({"key": KEY, "value": None}),
        lambda text: "\x00" * 20,
    ],
)
def test_a_spoilt_entry_is_not_used_and_can_be_replaced(kept, spoil):
    cache, file = kept
    file.write_text(spoil(file.read_text()))
    assert cache.find(KEY) is None
    cache.keep(KEY, VALUE)
    assert cache.find(KEY) == VALUE


def test_bytes_that_are_no_text_are_not_used(kept):
    cache, file = kept
    file.write_bytes(b"\xff\xfe\x00")
    assert cache.find(KEY) is None


def test_nan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError):
        Cache(tmp_path / "cache").keep(KEY, {"dice": float("nan")})
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("part", ["code_state", "versions"])
def test_other_code_and_other_software_find_nothing(kept, tmp_path, monkeypatch, part):
    with monkeypatch.context() as patch:
        patch.setattr(f"synthspine.eval.results.cache.{part}", lambda: {"version": "other"})
        assert Cache(tmp_path / "cache").find(KEY) is None
    assert Cache(tmp_path / "cache").find(KEY) == VALUE
