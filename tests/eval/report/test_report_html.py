import base64
import re
from html.parser import HTMLParser

import pytest
from fake_outcome import fake_outcome

from synthspine.eval.report.report import write_report

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Every tag of a page with its attributes; fails where tags are not nested well."""

    def __init__(self, text):
        super().__init__()
        self.tags, self._open, self.words = [], [], ""
        self.feed(text)
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.words += f" {data}"

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a whole report of two studies."""
    place = tmp_path_factory.mktemp("report")
    write_report(fake_outcome(patients=6, studies=("contrast", "continuum")), place)
    return place


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text()


def made(tmp_path, **changes):
    return write_report(fake_outcome(**{"patients": 6, "studies": ("contrast",), **changes}), tmp_path)[
        -1
    ].read_text()


def test_page_needs_nothing_else(text):
    found = Page(text)
    assert not found.all("link")
    assert all("src" not in script for script in found.all("script"))
    sources = [image["src"] for image in found.all("img")]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[^\"]*", "", text))


def test_pictures_are_those_beside_the_page(text, folder):
    sources = [image["src"].partition(",")[2] for image in Page(text).all("img")]
    assert {base64.b64decode(source) for source in sources} == {p.read_bytes() for p in folder.glob("*.png")}


def test_every_picture_is_described(text):
    assert all(image["alt"] for image in Page(text).all("img"))


def test_every_link_has_its_section(text):
    found = Page(text)
    links = [link["href"] for link in found.all("a")]
    assert len(links) > 5
    assert set(links) <= {f"#{section['id']}" for section in found.all("section") if "id" in section}


def test_page_says_the_same_as_the_markdown(text, folder):
    def numbers(words):
        return set(re.findall(r"[+−]?\.\d{3}\b", words))

    assert numbers((folder / "report.md").read_text()) == numbers(Page(text).words)


@pytest.mark.parametrize("phantom", [True, False])
def test_banner_stands_on_phantom_pages_alone(tmp_path, phantom):
    assert ('class="banner"' in made(tmp_path, phantom=phantom)) is phantom


def test_cards_show_the_models_that_are_there(text, tmp_path):
    def rows(page):
        return re.findall(r'<div class="row (\w)">', page)

    assert rows(text) == ["A", "B", "A", "B"]
    assert rows(made(tmp_path, models=("B",))) == ["B", "B"]


def test_page_has_styles_for_light_dark_narrow_and_on_paper(text):
    assert 'name="viewport"' in text
    for medium in ("prefers-color-scheme: dark", "max-width: 40rem", "@media print"):
        assert medium in text


def test_names_from_outside_are_escaped(tmp_path):
    outcome = fake_outcome(patients=6, studies=("contrast",))
    outcome["command"] = "python <script>alert(1)</script>"
    outcome["missing"] = {"B": "<img src=x>"}
    text = write_report(outcome, tmp_path)[-1].read_text()
    assert "<script>alert" not in text and "<img src=x>" not in text


def test_same_outcome_gives_the_same_page(tmp_path):
    assert made(tmp_path / "one") == made(tmp_path / "two")
