"""The page about the generator says what the code does."""

import dataclasses
import importlib
import operator
import re
from pathlib import Path

import pytest

from synthspine.eval.gallery import showcases
from synthspine.gen import GeneratorConfig
from synthspine.gen.config import config_diff
from synthspine.gen.presets import PRESETS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "generator.md").read_text(encoding="utf-8")
DEFAULTS = GeneratorConfig()
FEATURES = [
    entry.name
    for entry in dataclasses.fields(DEFAULTS)
    if dataclasses.is_dataclass(getattr(DEFAULTS, entry.name))
]
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)\)")


def rows_of(section):
    """Cells of the tables of a section, by the feature that a row begins with."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    return {row[0].strip("`"): row for row in rows if row[0].startswith("`") and "Synthetic" not in row[0]}


ROWS = rows_of("Features")


def shown(value):
    """A value as the page writes it."""
    if isinstance(value, tuple):
        return f"{value[0]:g}..{value[1]:g}"
    return str(value) if isinstance(value, bool) else f"{value:g}"


def test_every_feature_has_its_row_in_both_tables():
    assert {name for name in ROWS if "." not in name} == set(FEATURES)
    assert set(rows_of("What is drawn")) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_names_the_class_the_defaults_and_tests_that_there_are(name):
    _, _, class_cell, defaults, tests = ROWS[name]
    config = operator.attrgetter(name)(DEFAULTS)
    class_name, room, module = re.fullmatch(r"\[`(\w+)`\]\(\.\./gen/(\w+)/(\w+)\.py\)", class_cell).groups()
    assert getattr(importlib.import_module(f"synthspine.gen.{room}.{module}"), class_name) is type(config)
    written = dict(entry.split(" ", 1) for entry in re.findall(r"`([^`]+)`", defaults))
    assert written == {field: shown(getattr(config, field)) for field in written} != {}
    files = [DOCS / file for file in LINK.findall(tests)]
    assert any(class_name in file.read_text(encoding="utf-8") for file in files)


def test_every_link_of_the_page_leads_to_a_file():
    for target in LINK.findall(PAGE):
        assert (DOCS / target).is_file(), target


def test_every_preset_is_named_on_the_page():
    table = PAGE.split("| preset |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table.replace("`spine` with", ""))) == set(PRESETS)


def test_the_gallery_shows_every_feature():
    assert list(showcases()["features"]) == FEATURES


def test_the_example_of_a_configuration_in_text_is_right():
    from synthspine.gen import config_from_text, preset
    from synthspine.gen.scanner.motion import GhostingConfig

    config = dataclasses.replace(preset("t2"), ghosting=GhostingConfig(probability=0.3))
    assert config_diff(config, config_from_text("ghosting: {probability: 0.3}", base=preset("t2"))) == []
