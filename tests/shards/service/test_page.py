"""The page in a real browser: images side by side, everything by keyboard, nothing from other servers."""

import io
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from chromium import chromium
from service_thread import TOKEN, running, serve_options

from synthspine.gen import draw, preset

READY = "document.body.dataset.state === 'ready'"
PIXELS = "Array.from(document.getElementById('{}').getContext('2d').getImageData(0, 0, 48, 64).data)"
FOCUSED = "document.activeElement.id"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(serve_options(tmp_path_factory.mktemp("service"))) as service:
        yield service


@pytest.fixture(scope="module")
def browser():
    with chromium() as tab:
        yield tab


@pytest.fixture
def page(service, browser):
    browser.open(f"{service.url}/")
    browser.wait(READY)
    return browser


def pixels(page, name):
    return np.array(page.run(PIXELS.format(name)), np.uint8).reshape(64, 48, 4)[..., :3]


def focus(page, name):
    page.run(f"document.getElementById('{name}').focus()")


def change(page, press):
    """What the rendered slice shows before and after something is pressed."""
    before, status = pixels(page, "image"), page.run("location.search")
    press()
    page.wait(f"location.search !== {status!r} && {READY}")
    return before, pixels(page, "image")


def test_label_map_and_slice_are_shown_side_by_side_as_the_service_renders_them(page, service):
    shown = np.concatenate([pixels(page, "label"), pixels(page, "image")], axis=1)
    query = page.run("location.search")
    expected = Image.open(io.BytesIO(service.ask(f"/v1/preview.png{query}")[2])).convert("RGB")
    assert (shown == np.asarray(expected)).all()
    boxes = page.run(
        "['label', 'image'].map(id => { const b = document.getElementById(id).getBoundingClientRect();"
        " return [b.left, b.right, b.top, b.width]; })"
    )
    assert boxes[0][1] <= boxes[1][0] and boxes[0][2] == boxes[1][2] and boxes[0][3] > 300
    assert "Rendered in" in page.run("document.getElementById('status').textContent")
    assert page.run("document.querySelectorAll('nav a:not([hidden])').length") == 3


def test_nothing_comes_from_elsewhere_and_nothing_fails(page, service):
    focus(page, "alpha")
    page.press("End")
    page.wait(f"location.search.includes('alpha=1') && {READY}")
    assert {urlsplit(url).netloc for url in page.requested} == {urlsplit(service.url).netloc}
    assert page.complaints == []


@pytest.mark.parametrize("name", ["alpha", "noise", "bias", "spacing", "blur", "deformation"])
def test_every_slider_moves_by_keyboard_and_the_picture_follows(page, name):
    assert page.run(f"document.querySelector('output[for={name}]').textContent") == "random"
    focus(page, name)
    before, after = change(page, lambda: page.press("End"))
    assert (before != after).any()
    told = page.run(f"document.querySelector('output[for={name}]').textContent")
    assert told.startswith(str(page.run(f"document.getElementById('{name}').max")).split(".")[0])
    page.press("Tab")
    assert page.run("document.activeElement.className") == "free"


def test_a_slider_is_left_to_chance_again(page):
    focus(page, "noise")
    change(page, lambda: page.press("Home"))
    assert "noise:" in page.run("document.getElementById('text').textContent")
    page.run("document.getElementById('noise').closest('.row').querySelector('.free').focus()")
    change(page, lambda: page.press("Enter"))
    assert page.run("document.querySelector('output[for=noise]').textContent") == "random"
    assert page.run("document.activeElement.id") == "noise"
    focus(page, "bias")
    change(page, lambda: page.press("ArrowRight"))
    focus(page, "clear")
    change(page, lambda: page.press("Enter"))
    assert "bias=" not in page.run("location.search")


def test_map_seed_preset_and_plain_change_by_keyboard(page, service):
    focus(page, "map")
    before, after = change(page, lambda: page.press("Home"))
    assert (before != after).any()
    assert page.run("document.getElementById('map-value').textContent") == "1 of 15"
    before, after = change(page, lambda: page.press("r"))
    assert (before != after).any()
    # A sample whose contrast is not random under the preset spine, so that the preset changes it.
    contrasts = (draw(preset("spine"), seed, torch.tensor([0]), maps=9).contrast for seed in range(99))
    seed = next(seed for seed, contrast in enumerate(contrasts) if contrast.recipe[0] > 0)
    page.open(f"{service.url}/?seed={seed}")
    page.wait(READY)
    page.run("document.querySelector('[name=preset]:checked').focus()")
    before, after = change(page, lambda: page.press("ArrowRight"))
    assert "preset=random" in page.run("location.search") and (before != after).any()
    focus(page, "plain")
    before, after = change(page, lambda: page.press(" "))
    assert "features=none" in page.run("location.search") and (before != after).any()


def test_a_seed_is_typed_without_shortcuts_interfering(page):
    focus(page, "seed")
    page.run("document.getElementById('seed').select()")
    page.type("1234")
    page.wait(f"location.search.includes('seed=1234') && {READY}")
    page.press("r")
    assert page.run("document.getElementById('seed').value") == "1234"


def test_the_labels_can_be_laid_over_the_slice(page):
    plain = pixels(page, "image")
    assert (plain[..., 0] == plain[..., 2]).all()
    focus(page, "overlay")
    page.press(" ")
    page.wait(
        f"{READY} && (() => {{ const p = {PIXELS.format('image')};"
        " return p.some((v, i) => i % 4 === 0 && v !== p[i + 2]); })()"
    )


def test_yaml_python_and_url_can_be_taken_away(page, service):
    page.open(f"{service.url}/?alpha=0.5&seed=3&map=2&preset=t2")
    page.wait(READY)
    text = "document.getElementById('text').textContent"
    assert "alpha: [0.5, 0.5]" in page.run(text)
    focus(page, "tab-yaml")
    page.press("ArrowRight")
    assert page.run(FOCUSED) == "tab-python" and "indices=[0], maps=[2]" in page.run(text)
    page.press("ArrowRight")
    url = page.run(text).strip()
    assert url.startswith(f"{service.url}/v1/preview.png?") and "preset=t2" in url and "alpha=0.5" in url
    assert service.ask(url.removeprefix(service.url))[0] == 200
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    focus(page, "copy")
    page.press("Enter")
    page.wait("document.getElementById('copy').textContent === 'Copied'")
    assert page.run("navigator.clipboard.readText()").strip() == url


def test_all_controls_are_reached_with_tab_and_have_names(page):
    page.run("document.body.focus(); document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.run("document.activeElement.id || document.activeElement.name"))
    wanted = {"map", "seed", "shuffle", "preset", "plain", "alpha", "noise", "bias", "spacing", "blur"}
    assert wanted | {"deformation", "clear", "tab-yaml", "copy", "text", "overlay"} <= set(reached)
    nameless = page.run(
        "[...document.querySelectorAll('input, button')].filter(e => !(e.labels?.length || e.ariaLabel ||"
        " e.textContent.trim() || e.title)).map(e => e.outerHTML)"
    )
    assert nameless == []


@pytest.mark.parametrize("width", [390, 800, 1360, 2200])
def test_it_fits_every_screen(page, service, width):
    page.open(f"{service.url}/", width=width)
    page.wait(READY)
    assert page.run("document.documentElement.scrollWidth") <= width
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
    assert picture.shape[1] == width and len(np.unique(picture)) > 50


def test_a_refusal_is_told_on_the_page(page):
    page.run("document.getElementById('seed').value = '-5'; document.getElementById('seed').focus()")
    page.run("document.getElementById('seed').dispatchEvent(new Event('input'))")
    page.wait("document.body.dataset.state === 'bad'")
    assert "seed is '-5': should be greater than or equal to 0" in page.run(
        "document.getElementById('status').textContent"
    )


def test_the_token_is_asked_for_and_kept_for_the_tab(browser, tmp_path):
    with running(serve_options(tmp_path), TOKEN) as guarded:
        browser.open(f"{guarded.url}/")
        browser.wait("document.getElementById('token-dialog').open")
        browser.type("wrong-wrong-wrong-wrong")
        browser.press("Enter")
        browser.wait("document.getElementById('token-dialog').open")
        browser.run("document.getElementById('token').select()")
        browser.type(TOKEN)
        browser.press("Enter")
        browser.wait(READY)
        assert TOKEN not in browser.run("location.href")
        # Links carry no token, so those to data are not shown.
        shown = (
            "[...document.querySelectorAll('nav a')].filter(a => a.checkVisibility()).map(a => a.textContent)"
        )
        assert browser.run(shown) == ["API"]
        browser.open(f"{guarded.url}/?seed=5")
        browser.wait(READY)


def test_the_list_of_routes_is_made_from_the_description(browser, service):
    browser.open(f"{service.url}/docs")
    browser.wait("document.querySelectorAll('details').length >= 8")
    text = browser.run("document.body.textContent")
    assert "/v1/sets/{name}/{shard}.tar" in text and "noise.level" in text and "416" in text
    assert {urlsplit(url).netloc for url in browser.requested} == {urlsplit(service.url).netloc}
    assert browser.complaints == []
