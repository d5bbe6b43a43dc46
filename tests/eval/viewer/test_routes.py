"""The segmentation of one scan over HTTP: as the command, bounded, and nothing stays."""

import http.client
import json
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from service_thread import TOKEN, running, serve_options, wait_until

from synthspine.eval.viewer import answer, routes
from synthspine.shards.readers.slices import normalise
from synthspine.shards.readers.spider import read_image, read_values, write_mha

PATH = "/v1/segmentation"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, empty at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def post(service, body, name="scan.mha", path=PATH, **headers):
    """Status, headers and body of an answer; an iterable body is sent in chunks."""
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request("POST", f"{path}?name={name}", body=body, headers=named)
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, reply.headers, content


def refused(service, body, name="scan.mha", **headers):
    """Status and text of a refusal."""
    status, _, content = post(service, body, name, **headers)
    return status, json.loads(content)["error"]


def test_a_scan_is_segmented_as_by_the_command(service, scan, predicted):
    status, headers, content = post(service, scan.read_bytes(), "A.B%20c.mha")
    assert status == 200 and headers["Cache-Control"] == "no-store"
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    size, start = int(np.prod(header["shape"])), 4 + length
    image, values = np.frombuffer(content, np.uint8, 2 * size, start).reshape(2, *header["shape"])
    assert content[start + 2 * size :] == predicted.files[0].read_bytes()
    assert (values == read_values(predicted.files[0]).array).all()
    assert np.abs(image / 255 - normalise(read_image(scan).array)).max() < 0.003
    assert header["scan"] == "A.B c.mha" and header["mask"] == "A.B c_seg.nii.gz"
    assert [each["name"] for each in header["flags"]] == [flag.name for flag in predicted.flags]
    found = {each["spider_value"]: each for each in header["structures"]}
    assert found.keys() == set(np.unique(values).tolist()) - {0}
    assert found[100]["colour"] == "#009e73"
    assert {each["volume_ml"] for each in found.values()} == {s.volume_ml for s in predicted.structures}
    for plane, names in zip(values, header["names"], strict=True):
        assert {value for value, *_ in names} == {value for value in np.unique(plane) if 0 < value < 100}
        assert all(plane[round(row), round(column)] == value for value, _, row, column in names)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("scan.dcm", b"x", "scan.dcm: only .mha, .nii.gz, .nii, .nrrd files are read here"),
        ("a.nii.gz", b"no gzip", "a.nii.gz: "),
        ("a.mha", b"ObjectType = Image\n", "a.mha: "),
        ("a.NRRD", b"", "a.NRRD: "),
    ],
)
def test_what_is_no_scan_is_told_in_one_line_without_a_path(service, temporary, name, body, reason):
    status, text = refused(service, body, name)
    assert status == 422 and text.startswith(reason) and len(text) > len(name) + 10
    assert str(temporary) not in text and "\n" not in text and text.count(name) == 1


def test_a_mask_of_the_program_and_other_planes_are_no_scans(service, predicted, tmp_path):
    status, text = refused(service, predicted.files[0].read_bytes(), "m.nii.gz")
    assert (status, text) == (422, "m.nii.gz: is a mask that this program wrote")
    flat = np.arange(40 * 40 * 4, dtype=np.int16).reshape(40, 40, 4)
    write_mha(flat, (1.0, 1.0, 9.0), "LPS", tmp_path / "axial.mha")
    status, text = refused(service, (tmp_path / "axial.mha").read_bytes(), "axial.mha")
    assert status == 422 and text.startswith("axial.mha: has no sagittal slices")


def test_a_name_has_an_end(service):
    assert post(service, b"x", "a" * 300 + ".mha")[0] == 400
    assert post(service, b"x", "", PATH)[0] == 422


def test_a_file_that_is_too_large_is_refused_before_and_while_it_is_sent(service, monkeypatch):
    monkeypatch.setattr(routes, "MOST_BYTES", 2**20)
    for body in (bytes(2**20 + 1), (bytes(2**16) for _ in range(17))):
        assert refused(service, body) == (413, "the file has more than 1 MiB; use synthspine predict")


def test_a_scan_of_too_many_voxels_is_refused(service, scan, monkeypatch):
    monkeypatch.setattr(answer, "MOST_VOXELS", 1000)
    status, text = refused(service, scan.read_bytes())
    assert status == 422 and text.endswith(
        "voxels of 1 mm or its own, more than 1,000; use synthspine predict"
    )


def test_a_scan_of_few_but_huge_pixels_is_refused(service, tmp_path, monkeypatch):
    """The network sees them at its own pixel size."""
    monkeypatch.setattr(answer, "MOST_VOXELS", 10**6)
    array = np.random.default_rng(0).integers(0, 1000, (3, 80, 80)).astype(np.int16)
    write_mha(array, (12.0, 10.0, 10.0), "LPS", tmp_path / "large.mha")
    status, text = refused(service, (tmp_path / "large.mha").read_bytes())
    assert status == 422 and "has 1,920,000 voxels of 1 mm or its own" in text


def test_a_file_that_comes_too_slowly_is_refused(service, monkeypatch):
    monkeypatch.setattr(routes, "UPLOAD_S", 0.2)

    def slow():
        yield b"x"
        time.sleep(0.6)
        yield b"x"

    status, text = refused(service, slow())
    assert (status, text) == (408, "the file did not arrive within 0.2 s")


def test_one_scan_at_a_time_some_wait_and_others_are_told_to_come_again(service, monkeypatch, temporary):
    gate, running_now, most = threading.Event(), [], []

    def held(path, name, device):
        running_now.append(name)
        most.append(len(running_now))
        assert gate.wait(20) and path.read_bytes() == b"x"
        running_now.remove(name)
        return name.encode()

    monkeypatch.setattr(answer, "view", held)
    with ThreadPoolExecutor(routes.MOST_SCANS) as pool:
        names = [f"{number}.mha" for number in range(routes.MOST_SCANS)]
        answers = [pool.submit(post, service, b"x", name) for name in names]
        wait_until(lambda: most and len(list(temporary.glob("*/*"))) == routes.MOST_SCANS)
        status, headers, content = post(service, b"x")
        assert status == 503 and int(headers["Retry-After"]) > 0
        assert json.loads(content)["error"] == "4 scans are in progress; try again in a minute"
        gate.set()
        assert [each.result()[2].decode() for each in answers] == names
    assert set(most) == {1}


def test_the_scan_of_a_client_that_has_gone_is_not_segmented(service, monkeypatch, temporary):
    gate, seen = threading.Event(), []

    def held(path, name, device):
        seen.append(name)
        assert gate.wait(20)
        return b""

    monkeypatch.setattr(answer, "view", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, service, b"x", "first.mha")
        wait_until(lambda: seen)
        connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
        connection.request("POST", f"{PATH}?name=gone.mha", body=b"x")
        wait_until(lambda: len(list(temporary.glob("*/*"))) == 2)
        connection.close()
        time.sleep(0.1)
        gate.set()
        assert first.result()[0] == 200
    wait_until(lambda: not list(temporary.iterdir()))
    assert seen == ["first.mha"]


def test_a_missing_model_is_told_without_its_path(service, scan, monkeypatch, tmp_path):
    assert json.loads(service.ask(PATH)[2])["problem"] is None
    monkeypatch.setattr(answer, "PRETRAINED", tmp_path / "nothing.pth")
    problem = json.loads(service.ask(PATH)[2])["problem"]
    assert problem.startswith("the model of the project is missing from this installation")
    assert refused(service, scan.read_bytes()) == (503, problem)


def test_an_error_of_the_program_is_logged_and_not_told(service, monkeypatch):
    def fails(path, name, device):
        raise RuntimeError(f"of {path}")

    monkeypatch.setattr(answer, "view", fails)
    status, text = refused(service, b"x")
    assert status == 500 and text.startswith("the response cannot be made (RuntimeError)")


def test_only_this_route_takes_a_body_and_no_foreign_form_reaches_it(service):
    assert post(service, b"x", path="/v1/sets")[0] == post(service, b"x", path="/viewer")[0] == 413
    foreign = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}
    assert post(service, b"x", **foreign)[0] == 403
    assert service.ask("/viewer", **foreign)[0] == 200


def test_segmenting_needs_the_token_and_the_page_does_not(tmp_path):
    with running(serve_options(tmp_path), TOKEN, routes.viewer("cpu")) as guarded:
        assert post(guarded, b"x")[0] == guarded.ask(PATH)[0] == 401
        assert guarded.ask(PATH, Authorization=f"Bearer {TOKEN}")[0] == 200
        for path in ("/viewer", "/viewer/viewer.js", "/viewer/viewer.css"):
            assert guarded.ask(path)[0] == 200
        assert guarded.ask("/viewer/../routes.py")[0] == guarded.ask("/viewer/routes.py")[0] == 404


def test_the_first_page_links_to_it(service):
    assert b'<a href="/viewer">Viewer</a>' in service.ask("/")[2]
