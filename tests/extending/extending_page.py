"""The sections of ``docs/extending.md``."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def block(title: str, language: str) -> str:
    """The one block of code in ``language`` of the section called ``title``."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
    return str(found)
