import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from synthspine.gen.core.anatomy import CANAL
from synthspine.shards.building import options as shard_options
from synthspine.shards.building import sets
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.manifest import load_manifest
from synthspine.shards.readers import phantom as phantom_folder
from synthspine.shards.readers.folder import SpiderError, find_series
from synthspine.shards.readers.phantom import FIRST_PATIENT, is_phantom, write_phantom
from synthspine.shards.readers.spider import check_pair, read_image, read_mask
from synthspine.shards.reading.open import open_set


@dataclass
class FakeSeries:
    image: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, float, float]
    storage: str


@pytest.fixture
def fake_phantom(monkeypatch, spine_mask):
    """A phantom that costs nothing, and the calls that were made."""
    calls = []

    def series(seed, patient, contrast):
        calls.append((patient, contrast))
        mask = spine_mask(3 + patient % 2)
        image = (mask > 0) * 100 + np.random.default_rng([seed, patient]).integers(1, 9, mask.shape)
        return FakeSeries(image.astype(np.int16), mask, (4.0, 2.0, 1.5), "LPS" if patient % 2 else "PIR")

    monkeypatch.setattr(phantom_folder, "phantom_series", series)
    monkeypatch.setattr(phantom_folder, "PHANTOM_PATIENTS", 6)
    monkeypatch.setattr(phantom_folder.os, "cpu_count", lambda: 1)
    for name in phantom_folder._THREADS:
        monkeypatch.setenv(name, "1")  # or another process would make the real one
    return calls


def test_the_phantom_has_the_layout_of_spider(tmp_path, fake_phantom):
    write_phantom(tmp_path / "phantom", patients=3)
    series = find_series(tmp_path / "phantom")
    assert [s.stem for s in series] == [f"{FIRST_PATIENT + i}_{c}" for i in range(3) for c in ("t1", "t2")]
    for entry in series:
        check_pair(read_image(entry.image), read_mask(entry.mask), entry.mask)
    assert (tmp_path / "phantom" / "images" / "images" / "1001_t1.mha").is_file()
    assert is_phantom(tmp_path / "phantom") and not is_phantom(tmp_path)


def test_a_complete_phantom_is_left_alone(tmp_path, fake_phantom):
    write_phantom(tmp_path, patients=2)
    fake_phantom.clear()
    write_phantom(tmp_path, patients=2)
    assert fake_phantom == []


def test_an_interrupted_phantom_is_continued(tmp_path, fake_phantom, monkeypatch):
    real = phantom_folder.write_mha
    written = []

    def failing(*arguments):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(real(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(phantom_folder, "write_mha", failing)
        with pytest.raises(KeyboardInterrupt):
            write_phantom(tmp_path, patients=3)
    fake_phantom.clear()
    write_phantom(tmp_path, patients=3)
    # Two series were whole; the third had its mask only.
    assert fake_phantom == [(1002, "t1"), (1002, "t2"), (1003, "t1"), (1003, "t2")]
    assert len(find_series(tmp_path)) == 6


def test_more_patients_are_added(tmp_path, fake_phantom):
    write_phantom(tmp_path, patients=1)
    write_phantom(tmp_path, patients=2)
    assert len(find_series(tmp_path)) == 4


def test_another_seed_or_other_data_are_refused(tmp_path, fake_phantom, spider_folder):
    write_phantom(tmp_path / "phantom", patients=1)
    with pytest.raises(SpiderError, match="holds the phantom of seed 0, not 5"):
        write_phantom(tmp_path / "phantom", patients=1, seed=5)
    with pytest.raises(SpiderError, match="holds other data"):
        write_phantom(spider_folder(1), patients=1)


def test_real_data_are_used_without_the_phantom(spider_folder, options, tmp_path, capsys):
    folder = spider_folder(3)
    ensure_sets(["labels"], options(folder))
    assert not (folder / "phantom").exists() and "phantom" not in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpiderError, match="none of the known layouts: spider expects images/"):
        ensure_sets(["labels"], options(tmp_path / "empty", shards_dir=str(tmp_path / "other")))
    with pytest.raises(SpiderError, match="no such folder"):
        ensure_sets(["labels"], options(tmp_path / "none", shards_dir=str(tmp_path / "other")))


def test_dummy_data_are_written_anywhere_and_marked_in_the_manifest(tmp_path, fake_phantom, options, capsys):
    chosen = options(tmp_path / "empty", use_dummy_data=True)
    paths = ensure_sets(["labels"], chosen)
    assert load_manifest(paths["labels"]).phantom
    assert (tmp_path / "empty" / "phantom" / "masks" / "masks" / "1001_t1.mha").is_file()
    assert "phantom" in capsys.readouterr().out


@pytest.fixture
def default_data(tmp_path, monkeypatch):
    """The default data folder, moved into the test's own folder."""
    for module in (shard_options, sets):
        monkeypatch.setattr(module, "DEFAULT_DATA_DIR", tmp_path / "data")
    return tmp_path / "data"


def test_the_default_folder_without_data_gives_the_phantom(default_data, fake_phantom, options):
    chosen = options(default_data, shards_dir=str(default_data / "shards"))
    paths = ensure_sets(["labels", "real_t1_val"], chosen)
    assert all(load_manifest(path).phantom for path in paths.values())
    fake_phantom.clear()
    ensure_sets(["labels", "real_t1_val"], chosen)
    assert fake_phantom == []


def test_real_data_are_not_phantom(spider_folder, options):
    assert not load_manifest(ensure_sets(["labels"], options(spider_folder()))["labels"]).phantom


def test_sets_written_elsewhere_are_used_without_data(default_data, fake_phantom, spider_folder, options):
    chosen = options(spider_folder())
    ensure_sets(["labels", "real_t1_val"], chosen)
    here = replace(chosen, data_dir=default_data)
    paths = ensure_sets(["labels", "real_t1_val"], here)
    assert len(open_set(paths["labels"])) and fake_phantom == []
    with pytest.raises(sets.ShardError, match="another grid"):
        ensure_sets(["labels"], replace(here, grid=sets.ShardOptions().grid))


def test_phantom_and_real_slices_are_not_mixed(default_data, fake_phantom, spider_folder, options):
    chosen = options(spider_folder())
    ensure_sets(["labels"], chosen)
    with pytest.raises(sets.ShardError, match="labels: was made with other sources"):
        ensure_sets(["labels", "real_t1_val"], replace(chosen, data_dir=default_data))


def test_the_phantom_is_read_by_the_reader_of_spider(tmp_path):
    write_phantom(tmp_path, patients=1)
    for entry in find_series(tmp_path):
        image, mask = read_image(entry.image), read_mask(entry.mask)
        check_pair(image, mask, entry.mask)
        assert image.array.min() == -1000 and image.array.max() == 3096
        assert len(np.unique(mask.array)) > 10
        # Sagittal slices with the spine standing: the canal is far longer than deep or wide.
        canal = np.argwhere(mask.array == CANAL) * mask.spacing_mm
        across, along, depth = np.ptp(canal, axis=0)
        assert along > 3 * depth > 0 and along > 3 * across


@pytest.mark.slow
def test_several_processes_write_the_bytes_of_one(tmp_path):
    for name, processes in (("one", 1), ("two", 2)):
        write_phantom(tmp_path / name, patients=2, processes=processes)
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / name / "images" / "images").iterdir()}
        for name in ("one", "two")
    )
    assert len(one) == 4 and one == two


def test_label_maps_of_the_phantom_are_those_of_other_patients(tmp_path, fake_phantom, options, monkeypatch):
    monkeypatch.setattr(phantom_folder, "phantom_mask", phantom_folder.phantom_series)
    chosen = options(tmp_path, phantom_labels=5)
    places = ensure_sets({"labels"}, chosen)
    folder = tmp_path / phantom_folder.PHANTOM_LABELS_FOLDER
    series = find_series(folder)
    assert [s.stem for s in series] == [f"{phantom_folder.FIRST_LABELS_PATIENT + i}_t1" for i in range(5)]
    assert not (folder / "images").exists() and not (tmp_path / phantom_folder.PHANTOM_FOLDER).exists()
    manifest = load_manifest(places["labels"])
    learned = {entry["source"].partition("_")[0] for entry in manifest.identity["sources"]}
    assert manifest.phantom and learned <= {s.patient for s in series} and len(learned) >= 3


def test_only_the_requested_number_of_label_maps_is_used(tmp_path, fake_phantom, options, monkeypatch):
    monkeypatch.setattr(phantom_folder, "phantom_mask", phantom_folder.phantom_series)
    ensure_sets({"labels"}, options(tmp_path, phantom_labels=9, shards_dir=str(tmp_path / "nine")))
    places = ensure_sets({"labels", "labels_val"}, options(tmp_path, phantom_labels=5))
    patients = {
        int(entry["source"].partition("_")[0]) - phantom_folder.FIRST_LABELS_PATIENT
        for place in places.values()
        for entry in load_manifest(place).identity["sources"]
    }
    assert patients and max(patients) < 5


def test_label_maps_of_patients_and_of_the_phantom_are_learned_from_together(
    tmp_path, fake_phantom, options, monkeypatch, default_data
):
    monkeypatch.setattr(phantom_folder, "phantom_mask", phantom_folder.phantom_series)
    patients = tmp_path / "patients"
    write_phantom(patients, patients=6)
    (patients / "phantom.json").unlink()
    chosen = options(patients, labels_dir=patients, phantom_labels=3)
    places = ensure_sets({"labels", "labels_val", "real_t1_val"}, chosen)
    sources = {
        name: {entry["source"].partition("_")[0] for entry in load_manifest(place).identity["sources"]}
        for name, place in places.items()
    }
    split = json.loads((tmp_path / "shards" / "split.json").read_text())
    added = {str(phantom_folder.FIRST_LABELS_PATIENT + number) for number in range(3)}
    assert sources["labels"] == set(split["train"]) | added
    assert sources["labels_val"] == sources["real_t1_val"] == set(split["validation"])
    assert not added & {patient for part in split.values() for patient in part}
    assert not load_manifest(places["labels"]).phantom
    assert (default_data / "phantom_labels").is_dir() and not (patients / "phantom_labels").exists()
    nobody = tmp_path / "nobody.json"
    nobody.write_text(json.dumps({"train": [], "validation": split["train"], "test": split["validation"]}))
    with pytest.raises(SpiderError, match="no mask of a training patient"):
        ensure_sets({"labels"}, replace(chosen, split=nobody, shards_dir=str(tmp_path / "others")))


def test_a_patient_with_an_id_of_the_phantom_is_named(
    tmp_path, fake_phantom, options, monkeypatch, default_data
):
    monkeypatch.setattr(phantom_folder, "phantom_mask", phantom_folder.phantom_series)
    other = tmp_path / "other"
    write_phantom(other, patients=2, images=False)
    (other / "phantom.json").unlink()
    with pytest.raises(SpiderError, match="100001 has the id of"):
        ensure_sets({"labels"}, options(tmp_path, labels_dir=other, phantom_labels=2))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "[]",
        '{"seed": "0"}',
        '{"seed": true}',
        '{"patients": 1e30}',
        '{"complete": 1, "patients": 2}',
        None,
    ],
)
def test_a_damaged_marker_is_named(tmp_path, fake_phantom, text):
    path = tmp_path / "phantom.json"
    if text is None:
        os.mkfifo(path)
    else:
        path.write_text(text)
    with pytest.raises(
        SpiderError, match=r"phantom\.json: is not the marker of a phantom; remove the folder"
    ):
        write_phantom(tmp_path, patients=2)


def test_a_phantom_that_is_called_complete_and_is_not_is_completed(tmp_path, fake_phantom):
    write_phantom(tmp_path, patients=2)
    lost = tmp_path / "masks" / "masks" / "1002_t1.mha"
    content = lost.read_bytes()
    lost.unlink()
    write_phantom(tmp_path, patients=1)
    assert not lost.exists()
    write_phantom(tmp_path, patients=2)
    assert lost.read_bytes() == content


PROGRAM = """
import os, sys, time
from pathlib import Path
from synthspine.shards.readers import phantom

def slow(job):
    (Path(sys.argv[1]) / f"pid-{os.getpid()}").touch()
    time.sleep(100)

if __name__ == "__main__":
    phantom._write = slow
    phantom.write_phantom(Path(sys.argv[1]) / "phantom", patients=2, processes=2)
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    root = Path(phantom_folder.__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
    )
    try:
        workers = waited(lambda: list(tmp_path.glob("pid-*")), 2, 100)
    finally:
        parent.kill()
        parent.wait()
    pids = [int(path.name.removeprefix("pid-")) for path in workers]
    assert waited(lambda: [pid for pid in pids if gone(pid)], 2, 10)


def waited(found, count, seconds):
    deadline = time.monotonic() + seconds
    while len(present := found()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return present


def gone(pid):
    """Whether a process has ended, if perhaps nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
