"""The viewer in a real browser, wide and narrow: drop, scroll, toggle, download, all from one server."""

import base64
import io
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from chromium import chromium

from synthspine.eval.viewer import answer
from synthspine.shards.readers.spider import read_values

READY = "document.body.dataset.state === 'ready'"
OPEN = f"{READY} && !document.getElementById('view').hidden"
BOX = """(() => { const box = document.getElementById('{}').getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2]; })()"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as tab:
        yield tab


@pytest.fixture(scope="module", autouse=True)
def segmented_once():
    """The same file is segmented once for all tests."""
    known, view = {}, answer.view

    def remembered(path, name, device):
        key = name, path.read_bytes()
        if key not in known:
            known[key] = view(path, name, device)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer, "view", remembered)
        yield


@pytest.fixture
def page(service, browser):
    browser.open(f"{service.url}/viewer")
    browser.wait(READY)
    return browser


def text(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def focus(page, name):
    page.run(f"document.getElementById('{name}').focus()")


def drop(page, path):
    """Drop a file on the page, as from a file manager."""
    x, y = page.run(BOX.replace("{}", "drop"))
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)


def choose(page, path):
    """Choose a file by the button's dialog."""
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def picture(page):
    """What the canvas shows, ``(H, W, 3)``."""
    png = page.run("document.getElementById('picture').toDataURL()").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)


def coloured(page):
    """Pixels of the canvas in colour: vertebrae (red above blue), and discs (blue above red)."""
    red, _, blue = np.moveaxis(picture(page), 2, 0)
    return np.count_nonzero(red > blue + 20), np.count_nonzero(blue > red + 20)


def toggle(page, name):
    """Press the space bar on the box of a structure."""
    boxes = "[...document.querySelectorAll('#structures label')]"
    page.run(f"{boxes}.find((each) => each.textContent === '{name}').querySelector('input').focus()")
    page.press(" ")


@pytest.mark.parametrize("width", [1360, 390])
def test_a_dropped_scan_is_scrolled_toggled_and_its_mask_taken_away(
    service, browser, scan, predicted, tmp_path, width
):
    page = browser
    page.open(f"{service.url}/viewer", width=width)
    page.wait(READY)
    drop(page, scan)
    page.wait(OPEN, 60)
    assert text(page, "status").startswith("phantom.mha: ") and page.run("scrollX") == 0
    assert page.run("document.documentElement.scrollWidth") <= width
    vertebrae, discs = coloured(page)
    assert vertebrae > 1000 and discs > 300
    first, volume = picture(page), read_values(predicted.files[0])
    rows_mm, columns_mm = np.multiply(volume.array.shape, volume.spacing_mm)[1:]
    assert first.shape[0] / first.shape[1] == pytest.approx(rows_mm / columns_mm, rel=0.02)
    assert text(page, "place") == "2 of 3 from the left"
    page.press("ArrowRight")
    assert text(page, "place") == "3 of 3 from the left" and (picture(page) != first).any()
    page.press("ArrowLeft", times=5)
    assert text(page, "place") == "1 of 3 from the left"
    x, y = page.run(BOX.replace("{}", "picture"))
    page.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=100)
    page.wait("document.getElementById('place').textContent === '2 of 3 from the left'")
    assert (picture(page) == first).all()

    toggle(page, "Vertebrae")
    # Without vertebrae beside them discs have clearer borders.
    assert coloured(page)[0] == 0 and coloured(page)[1] >= discs
    toggle(page, "L3")
    assert 0 < coloured(page)[0] < vertebrae / 2
    assert page.run("document.querySelector('.whole input').indeterminate")
    toggle(page, "Vertebrae")
    toggle(page, "Vertebrae")
    assert (picture(page) == first).all()
    page.press("m")
    grey = picture(page)
    assert (grey[..., 0] == grey[..., 2]).all()
    page.press("n")
    assert (picture(page) != grey).any()
    page.press("m")
    page.press("n")
    focus(page, "opacity")
    page.press("Home")
    assert text(page, "opacity-value") == "0 %" and coloured(page) == (0, 0)

    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    focus(page, "download")
    page.press("Enter")
    file, deadline = tmp_path / "phantom_seg.nii.gz", time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert file.read_bytes() == predicted.files[0].read_bytes()
    assert {urlsplit(url.removeprefix("blob:")).netloc for url in page.requested} == {
        urlsplit(service.url).netloc
    }
    assert page.complaints == []


def test_flags_structures_and_facts_are_those_of_the_prediction(page, scan, predicted):
    choose(page, scan)
    page.wait(OPEN, 60)
    flags = page.run("[...document.querySelectorAll('.flag')].map((each) => each.textContent)")
    assert flags == [flag.reason for flag in predicted.flags]
    rows = page.run(
        "[...document.querySelectorAll('.member')].map((row) => [...row.children].map((c) => c.textContent))"
    )
    expected = {
        each.name: [f"{each.volume_ml:.1f}", "" if each.height_mm is None else f"{each.height_mm:.1f}"]
        for each in predicted.structures
        if each.rank is not None
    }
    assert {name: sizes for name, *sizes in rows} == expected
    assert rows[0][0] != "L5" and "3 slices of" in text(page, "facts")
    shown = page.run("document.getElementById('picture').ariaLabel")
    assert shown.startswith("Slice 2 of 3 from the left: ") and "L3" in shown


def test_everything_is_reached_with_tab_and_has_a_name(page, scan):
    page.press("Tab", times=4)
    assert page.run("document.activeElement.id") == "choose"
    choose(page, scan)
    page.wait(OPEN, 60)
    assert page.run("document.activeElement.id") == "picture"
    reached = []
    for _ in range(12):
        page.press("Tab")
        reached.append(page.run("document.activeElement.id || document.activeElement.closest('table')?.id"))
    assert reached[:6] == ["slice", "download", "another", "opacity", "mask", "labels"]
    assert set(reached[6:]) == {"structures"}
    nameless = page.run(
        "[...document.querySelectorAll('input:not([hidden]), button, a, canvas')].filter(e =>"
        " !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_a_refusal_is_told_on_the_page_and_the_scan_before_stays(page, scan, tmp_path):
    choose(page, scan)
    page.wait(OPEN, 60)
    (tmp_path / "broken.mha").write_bytes(b"ObjectType = Image\n")
    choose(page, tmp_path / "broken.mha")
    page.wait("document.body.dataset.state === 'bad'")
    assert text(page, "status").startswith("broken.mha: ") and text(page, "name") == "phantom.mha"
    (tmp_path / "notes.txt").write_text("no scan")
    page.requested.clear()
    choose(page, tmp_path / "notes.txt")
    page.wait("document.getElementById('status').textContent.startsWith('notes.txt: only .mha, ')")
    assert page.requested == []


def test_a_missing_model_is_told_on_the_page(service, browser, monkeypatch, tmp_path):
    monkeypatch.setattr(answer, "PRETRAINED", tmp_path / "nothing.pth")
    browser.open(f"{service.url}/viewer")
    browser.wait("document.body.dataset.state === 'bad'")
    assert "the model of the project is missing" in text(browser, "status")
