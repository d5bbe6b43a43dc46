"""Previews: every parameter, the image of the generator, and the configuration in all its forms."""

import io
import json
import re
import subprocess
import sys
import time
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_thread import running, serve_options, wait_until

from synthspine.gen import config_from_text, preset
from synthspine.shards.checking.contact_sheet import coloured
from synthspine.shards.reading.open import open_set
from synthspine.shards.service.preview_query import PreviewQuery, changes_as_yaml, dotted_settings, resolve

BASE = preset("spine", spacing_mm=2.0)
SLIDERS = ("alpha", "noise", "bias", "spacing", "blur", "deformation")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(serve_options(tmp_path_factory.mktemp("service"))) as service:
        yield service


def picture(service, **query):
    status, headers, body = service.ask(f"/v1/preview.png?{urlencode(query)}")
    assert status == 200 and headers["Content-Type"] == "image/png", body
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def look(**query):
    named = {name.replace("__", "."): value for name, value in query.items()}
    return resolve(PreviewQuery(**named), BASE, seed=5, maps=3)


def test_a_preview_is_the_sample_that_the_set_holds(service):
    sample = open_set(f"{service.sets}/synthetic").load(1)[2]
    number = sample.record["params"]["map_index"]
    shown = picture(service, index=7, map=number)
    assert shown.shape == (64, 96, 3)
    assert (shown[:, :48] == coloured(sample.label)).all()
    # The set holds float16, so a grey value may round to its neighbour.
    assert np.abs(shown[:, 48:, 0] - 255 * sample.image.astype(np.float32)).max() < 1


def test_what_is_shown_can_be_chosen(service):
    both = picture(service, seed=3)
    assert (picture(service, seed=3, show="label") == both[:, :48]).all()
    image = picture(service, seed=3, show="image")
    assert (image == both[:, 48:]).all() and (image[..., 0] == image[..., 2]).all()
    overlay = picture(service, seed=3, show="overlay")
    assert overlay.shape == (64, 48, 3) and (overlay[..., 0] != overlay[..., 2]).any()


@pytest.mark.parametrize("name", SLIDERS)
def test_every_slider_changes_the_picture_from_end_to_end(service, name):
    bounds = PreviewQuery.model_json_schema()["properties"][name]["anyOf"][0]
    least, greatest = bounds["minimum"], bounds["maximum"]
    low, high = (picture(service, features="none", **{name: value}) for value in (least, greatest))
    assert (low != high).any()
    assert (picture(service, features="none", **{name: greatest}) == high).all()


def test_seed_index_map_preset_and_features_change_the_picture(service):
    shown = [
        picture(service, **query).tobytes()
        for query in ({}, {"seed": 1}, {"index": 1}, {"map": 0}, {"preset": "synthseg"}, {"features": "none"})
    ]
    assert len(set(shown)) == len(shown)


def test_sliders_set_what_they_say():
    assert look(alpha="0.25").config.contrast.weights == (0, 1, 0)
    assert look(alpha="0.25").config.contrast.alpha == (0.25, 0.25)
    noisy, quiet = look(noise="0.1").config.noise, look(noise="0").config.noise
    assert (noisy.probability, noisy.level, quiet.probability) == (1, (0.1, 0.1), 0)
    flat = look(bias="0").config
    assert flat.bias.probability == flat.coil.probability == 0
    assert look(bias="0.5").config.bias.log_std == (0.5, 0.5)
    coarse = look(spacing="3").config.resolution
    assert (coarse.native_probability, coarse.isotropic_probability, coarse.isotropic) == (0, 1, (3, 3))
    assert look(spacing="1").config.resolution.native_probability == 1
    assert look(blur="2").config.resolution.sigma_factor == (2, 2)
    bent = look(deformation="10").config.deformation
    assert bent.velocity_mm == (10, 10) and bent.velocity_correlation_mm == (20, 48)
    still = look(deformation="0").config
    assert still.deformation.probability == still.view.probability == 0 and still.affine.scale == (1, 1)


def test_any_setting_can_be_named_and_goes_before_sliders():
    config = look(noise="0.1", noise__level="0.2..0.3", gibbs__probability="1", view__crop_foot="true").config
    assert config.noise.level == (0.2, 0.3) and config.gibbs.probability == 1 and config.view.crop_foot
    assert look(noise__level="[0, 1e-5]").config.noise.level == (0, 1e-5)
    assert look(resolution__uniform_in="factor").config.resolution.uniform_in == "factor"
    assert look(contrast__physical__stir_probability="0.5").config.contrast.physical.stir_probability == 0.5
    assert look(resolution__native_sigma="null").config.resolution.native_sigma is None


def test_every_setting_can_be_named_with_its_own_value():
    for name, value in dotted_settings().items():
        assert resolve(
            PreviewQuery(**{name: json.dumps(value)}), preset("spine"), seed=0, maps=1
        ).config == preset("spine")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"nosie": "1"}, "nosie: no such parameter; there are alpha, bias"),
        ({"map": "3"}, "map is 3; there are 3 label maps, so 0 to 2 are possible"),
        ({"preset": "t3"}, "no preset is called 't3'"),
        ({"preset": "/etc/passwd"}, "no preset is called"),
        ({"noise__levle": "1"}, "there is no setting 'noise.levle'; did you mean 'level'"),
        ({"noise__probability": "2"}, "a probability lies in 0..1"),
        ({"noise__level": "[1"}, "level"),
        ({"noise__level__low": "1"}, "level"),
        ({"noise__level": "0", "noise__level__low": "1"}, "a part of it is set by another parameter"),
        ({"spacing_mm": "0"}, "spacing_mm"),
        ({"__class__": "1"}, "no such parameter"),
        ({"noise__level": "[" * 1500}, "noise.level: nested too deep"),
        ({"noise__level": '{"a":' * 500 + "1" + "}" * 500}, "noise.level: nested too deep"),
        ({"noise" + "__a" * 1500: "1"}, "nested too deep"),
    ],
)
def test_what_cannot_be_is_refused_and_named(query, text):
    with pytest.raises((ValueError, TypeError), match=re.escape(text)):
        look(**query)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("noise=9", "noise is '9': should be less than or equal to 0.3"),
        ("noise=nan", "noise is 'nan': should be"),
        ("noise=much", "noise is 'much': should be a valid number"),
        ("map=-1", "map is '-1': should be greater than or equal to 0"),
        ("seed=1.5", "seed is '1.5': should be a valid integer"),
        ("seed=" + "9" * 30, "should be less than or equal to 2147483647"),
        ("show=all", "show is 'all': should be 'both', 'image', 'label' or 'overlay'"),
        ("nosie=1", "nosie: no such parameter; there are alpha, bias"),
        ("noise.levle=1", "there is no setting 'noise.levle'; did you mean 'level'"),
        ("noise.level=" + "1" * 300, "level"),
        ("noise.level=" + "[" * 1500 + "]" * 1500, "noise.level: nested too deep"),
        ("noise" + ".a" * 1500 + "=1", "nested too deep"),
    ],
)
def test_a_value_that_cannot_be_is_400_with_the_bounds(service, query, text):
    status, _, body = service.ask(f"/v1/config?{query}")
    assert status == 400 and text in json.loads(body)["error"]


@pytest.mark.parametrize(
    "text", ["." * 4000 + "x", "." * 2000 + " " * 2000 + "x", "1" * 4000, "9" * 2000 + ".."]
)
def test_no_value_takes_long_to_be_read(text):
    start = time.perf_counter()
    with pytest.raises((ValueError, TypeError)):
        look(noise__level=text)
    assert time.perf_counter() - start < 0.2


def test_refusals_are_400_with_the_reason(service):
    for path in ("/v1/preview.png", "/v1/config"):
        status, _, body = service.ask(f"{path}?noise=9")
        assert status == 400 and "less than or equal to 0.3" in json.loads(body)["error"]
        status, _, body = service.ask(f"{path}?seed=1&seed=2")
        assert status == 400 and "twice" in json.loads(body)["error"]
    assert service.ask("/healthz")[0] == 200


def test_a_preview_that_the_browser_has_is_not_rendered_again(service):
    before = service.count("render_seconds_count", kind="preview")
    first = service.ask("/v1/preview.png?seed=777")
    assert service.ask("/v1/preview.png?seed=777", If_None_Match=first[1]["ETag"])[0] == 304
    assert service.ask("/v1/preview.png?seed=778")[1]["ETag"] != first[1]["ETag"]
    assert service.count("render_seconds_count", kind="preview") == before + 2


QUERIES = (
    {},
    {"alpha": "0.5", "noise": "0.05", "spacing": "2"},
    {"preset": "synthseg", "gibbs.probability": "1"},
)


@pytest.mark.parametrize("query", QUERIES)
def test_the_yaml_gives_the_configuration_back(query):
    wanted = resolve(PreviewQuery(**query), BASE, seed=0, maps=1).config
    assert config_from_text(changes_as_yaml(wanted), preset("spine")) == wanted


@pytest.mark.parametrize("query", QUERIES)
def test_the_python_call_makes_the_same_picture_and_labels(service, query):
    query = query | {"seed": "11", "map": "1", "index": "4"}
    told = json.loads(service.ask(f"/v1/config?{urlencode(query)}")[2])
    names: dict[str, np.ndarray] = {}
    exec(told["python"], names)
    shown = picture(service, **query)
    assert (coloured(names["label"][0]) == shown[:, :48]).all()
    assert ((255 * names["image"][0, 0]).round().astype(np.uint8) == shown[:, 48:, 0]).all()


def test_the_python_call_runs_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with running(serve_options(tmp_path, shards_dir="sets")) as fresh:
        code = json.loads(fresh.ask("/v1/config?seed=3")[2])["python"]
        assert str(tmp_path) not in code and f"open_set('{fresh.sets}/labels')" in code
        (tmp_path / "elsewhere").mkdir()
        shown = "print(image.shape, label.shape)"
        done = subprocess.run(
            [sys.executable, "-c", code + shown], cwd=tmp_path / "elsewhere", capture_output=True, text=True
        )
    assert done.stdout == "(1, 1, 64, 48) (1, 64, 48)\n", done.stderr


def test_the_configuration_says_what_is_served(service):
    told = json.loads(service.ask("/v1/config?alpha=1")[2])
    assert told["maps"] == 15 and told["presets"][0] == "spine" and "slice" in told["source"]
    assert told["set"]["identity"]["seed"] == 42 and told["made_with"]["device"] == "cpu"
    assert "contrast.alpha: 0..1 -> 1..1" in told["changes"]
    assert told["config"]["contrast"]["alpha"] == [1.0, 1.0]


def test_the_description_names_every_route_and_parameter(service):
    told = json.loads(service.ask("/openapi.json")[2])
    assert told["openapi"].startswith("3.")
    wanted = {"/v1/sets/{name}/manifest.json", "/v1/sets/{name}/{shard}.tar", "/v1/preview.png", "/v1/config"}
    assert wanted | {"/healthz", "/readyz", "/metrics"} <= set(told["paths"])
    parameters = {p["name"] for p in told["paths"]["/v1/preview.png"]["get"]["parameters"]}
    assert set(SLIDERS) | set(dotted_settings()) | {"seed", "map", "show"} <= parameters
    assert {"206", "304", "416", "503"} <= set(
        told["paths"]["/v1/sets/{name}/{shard}.tar"]["get"]["responses"]
    )


def test_the_description_tells_no_answer_that_is_never_given(service):
    for path, methods in json.loads(service.ask("/openapi.json")[2])["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"], path


READABLE = (
    *("/", "/docs", "/page/page.js", "/healthz", "/readyz", "/metrics", "/openapi.json"),
    *("/v1/sets", "/v1/sets/split.json", "/v1/sets/synthetic/manifest.json"),
    *("/v1/config?alpha=1", "/v1/preview.png?seed=3"),
)


@pytest.mark.parametrize("path", READABLE)
def test_whatever_can_be_read_can_be_asked_for_its_head(service, path):
    status, headers, body = service.ask(path, "HEAD")
    assert (status, body) == (200, b"")
    whole = service.ask(path)
    assert headers["Content-Type"] == whole[1]["Content-Type"]
    # Counters go on between two requests, and only a render would tell the length of a preview.
    if path.startswith("/v1/preview.png"):
        assert "Content-Length" not in headers
    else:
        assert path == "/metrics" or int(headers["Content-Length"]) == len(whole[2])


def test_a_head_request_renders_no_preview(service):
    before = service.count("render_seconds_count", kind="preview")
    headers = service.ask("/v1/preview.png?seed=4711", "HEAD")[1]
    assert service.count("render_seconds_count", kind="preview") == before
    assert headers["ETag"] == service.ask("/v1/preview.png?seed=4711")[1]["ETag"]


def test_the_pages_load_nothing_from_elsewhere(service):
    for path in ("/", "/docs", "/page/page.js", "/page/docs.js", "/page/page.css"):
        text = service.ask(path)[2].decode()
        assert not re.search(r"(?:https?:)?//[\w-]+\.[a-z]{2,}", text)
        for file in re.findall(r'(?:src|href)="(/[^"]*)"', text):
            assert service.ask(file)[0] == 200


def test_counters_tell_renders_queue_bytes_hits_and_errors(service):
    service.ask("/v1/sets/synthetic/shard-000004.tar")
    service.ask("/v1/sets/synthetic/shard-000004.tar")
    status, headers, body = service.ask("/metrics")
    text = body.decode()
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for name in ("render_seconds_count", "queue", "cache_bytes", "cache_hits_total", "sent_bytes_total"):
        assert re.search(rf"^synthspine_{name}(\{{[^}}]*\}})? [\d.e+]+$", text, re.MULTILINE), name
    assert service.count("cache_hits_total") >= 1 and service.count("cache_misses_total") >= 1
    assert service.count("sent_bytes_total") > 10_000
    # A request is counted when its answer has been sent.
    wait_until(
        lambda: service.count("requests_total", route="/v1/sets/{name}/{shard}.tar", status="200") >= 2
    )
