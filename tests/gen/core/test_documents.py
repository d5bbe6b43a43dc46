import os
import time
from pathlib import Path

import pytest

from synthspine.gen import config_from_text, preset
from synthspine.gen.core.documents import (
    MOST_BYTES,
    MOST_DEPTH,
    MOST_VALUES,
    UnfitFile,
    parse_json,
    parse_yaml,
    read_regular,
    read_text,
)

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "m0: &m0 {x: 1}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)


@pytest.fixture
def quick():
    """The test takes seconds, not minutes."""
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "link to a device"])
def test_what_is_no_regular_file_is_not_read(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UnfitFile, match="is not a regular file"):
        read_regular(path, 100)
    with pytest.raises(UnfitFile, match="is not a regular file"):
        read_regular(path)


def test_a_file_that_holds_more_is_not_read(tmp_path, quick):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnfitFile, match=f"holds {1 << 40} bytes, at most {MOST_BYTES} are expected"):
        read_text(path)
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == read_regular(path) == b"12345"
    with pytest.raises(UnfitFile) as refused:
        read_regular(path, 4)
    assert refused.value.held == 5


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_text(tmp_path / "link") == "text"


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize("one", ["[%s]", '{"a": %s}'])
def test_nesting_is_bounded(parse, one, quick):
    def nested(depth):
        text = "1"
        for _ in range(depth):
            text = one % text
        return text

    assert parse(nested(MOST_DEPTH)) == parse_json(nested(MOST_DEPTH))
    for depth in (MOST_DEPTH + 1, 500, 1500):
        with pytest.raises(ValueError, match=f"nested deeper than {MOST_DEPTH} levels|depth limit"):
            parse(nested(depth))


@pytest.mark.parametrize("opened", ["[", '{"a":', "[{", "- "])
def test_nesting_without_end_is_refused_at_once(opened, quick):
    text = (opened * 100_000)[:200_000]
    for parse in (parse_json, parse_yaml):
        with pytest.raises(ValueError, match=r"."):
            parse(text)


@pytest.mark.parametrize("text", [LAUGHS, MERGES, "a: &a [*a]", "a: &a [*a, *a, *a]"])
def test_aliases_that_multiply_are_refused(text, quick):
    with pytest.raises(ValueError, match=r"more than|nested deeper|merges|unconstructable"):
        parse_yaml(text)
    assert parse_yaml("a: &range [0, 1]\nb: *range") == {"a": [0, 1], "b": [0, 1]}


def test_values_are_counted_before_they_are_made(quick):
    assert len(parse_json(b"[" + b"[]," * 1000 + b"[]]")) == 1001
    with pytest.raises(ValueError, match=f"more than {MOST_VALUES} values"):
        parse_json(b"[" + b"[]," * MOST_VALUES + b"[]]")
    with pytest.raises(ValueError, match="too large"):
        parse_json(b" " * (MOST_BYTES + 1))
    with pytest.raises(ValueError, match="too large"):
        parse_yaml(" " * (1 << 20))


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "", "{'a': 1}", b"\xff"])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "a": 1}}]'])
def test_a_name_that_a_person_gives_twice_is_refused(text):
    assert parse_json(text)
    with pytest.raises(ValueError, match='"a" is given twice'):
        parse_json(text, by_hand=True)
    with pytest.raises(ValueError, match="a is given twice"):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 2000, "- " * 3000 + "1", LAUGHS])
def test_a_configuration_is_bounded(text, quick):
    with pytest.raises(ValueError, match=r"the configuration is (nested deeper|more than|not YAML)"):
        config_from_text(text, preset("spine"))


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="probability is given twice"):
        parse_yaml("noise: {probability: 0.1, level: [0, 1], probability: 0.2}")
