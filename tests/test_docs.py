"""The page about the generator says what the code does; links of all pages lead somewhere."""

import dataclasses
import re
from pathlib import Path

import pytest

from synthspine.gen.config import config_diff
from synthspine.gen.params import FEATURES
from synthspine.gen.presets import PRESETS
from synthspine.gen.tables import with_tables

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "generator.md").read_text(encoding="utf-8")
PAGES = (
    *DOCS.glob("*.md"),
    *(DOCS.parent / name for name in ("README.md", "CHANGELOG.md", "ANALYSIS_REPORT.md")),
)
LINK = re.compile(r"\]\((?!\w+://)([^)#\s]*)#?([^)\s]*)\)")


def test_the_tables_are_those_of_the_classes():
    """Otherwise: python -m synthspine.gen --table docs/generator.md."""
    assert with_tables(PAGE) == PAGE


def test_a_document_without_marks_is_refused():
    with pytest.raises(ValueError, match="end of the tables"):
        with_tables("# The generator")


@pytest.mark.parametrize("kind", FEATURES.values())
def test_every_feature_has_a_test_that_names_its_class(kind):
    texts = (file.read_text(encoding="utf-8") for file in (DOCS.parent / "tests").rglob("test_*.py"))
    assert any(kind.__name__ in text for text in texts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, (
                anchor
            )


def test_every_preset_is_named_on_the_page():
    table = PAGE.split("| preset |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table.replace("`spine` with", ""))) == set(PRESETS)


def test_the_example_of_a_configuration_in_text_is_right():
    from synthspine.gen import config_from_text, preset
    from synthspine.gen.scanner.motion import GhostingConfig

    config = dataclasses.replace(preset("t2"), ghosting=GhostingConfig(probability=0.3))
    assert config_diff(config, config_from_text("ghosting: {probability: 0.3}", base=preset("t2"))) == []
