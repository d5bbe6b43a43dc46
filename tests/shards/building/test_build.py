"""Writing sets: whatever happens to a writer, nothing half-written is seen, and the next one completes."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from counted import PER_SHARD, Counted, build, joined, let_another_writer_in, stopping
from nobody import as_nobody

from synthspine.shards.building import build as building
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.building.workers import ALONE, one_builder
from synthspine.shards.format.manifest import MANIFEST, load_manifest
from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import open_set
from synthspine.shards.storage.opening import open_place

HERE = Path(__file__).parents[1]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def limited(folder: Path, kind: int, limit: int | None) -> subprocess.CompletedProcess:
    """Build a set of 40 samples in a process of its own, under a resource limit or on a disk that is full."""
    program = (
        "import sys; from synthspine.shards.command import run_command; from counted import Counted, build; "
        "sys.exit(run_command(lambda: build(sys.argv[1], Counted(40))))"
    )

    def limit_resources():
        if limit is not None:
            resource.setrlimit(kind, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=HERE,
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
        preexec_fn=limit_resources,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_writer_killed_at_fifty_random_moments_ends_with_the_right_bytes(tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_program.py"), str(tmp_path), "50", "1"],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] == 50 and report["wrong"] == []
    # The kills fell before, within and after the writing of shards, some of them within a file.
    assert len(set(report["shards_at_kill"])) > 10 and report["temporaries_left"] > 5
    assert report["completed"] > 3


@pytest.mark.parametrize("world", [2, 3, 7])
def test_any_number_of_workers_write_the_same_bytes(tmp_path, world):
    build(tmp_path / "one" / "set", Counted(37))
    errors = joined(world, lambda workers: build(tmp_path / "many" / "set", Counted(37), workers))
    assert not errors
    assert files_of(tmp_path / "many" / "set") == files_of(tmp_path / "one" / "set")


@pytest.mark.parametrize("world", [1, 2])
def test_complete_shards_are_not_written_again(tmp_path, monkeypatch, world, capsys):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "set", stopping(Counted(37), at=20))
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "set").glob("shard-*.tar")}
    # The jobs that had not begun were dropped, those that had were brought to their end.
    assert 3 <= len(times) <= 5
    errors = joined(world, lambda workers: build(tmp_path / "set", Counted(37), workers))
    assert not errors
    assert f"continuing, {len(times)} of 10 shards are complete" in capsys.readouterr().out
    assert times.items() <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "set").iterdir()}.items()
    build(tmp_path / "whole" / "set", Counted(37))
    assert files_of(tmp_path / "set") == files_of(tmp_path / "whole" / "set")


def test_a_note_of_another_set_is_ignored(tmp_path):
    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        build(folder, stopping(Counted(37), at=20))
    # What a writer on another machine, that is about to notice, may leave: its shard and its note.
    (other := Counted(38)).sample = lambda index: Counted(38).sample(index + 100)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "other" / "set", stopping(other, at=20))
    for name in ("shard-000001.tar", "unfinished/shard-000001.json"):
        (folder / name).write_bytes((tmp_path / "other" / "set" / name).read_bytes())
    build(folder, Counted(37))
    build(tmp_path / "whole" / "set", Counted(37))
    assert files_of(folder) == files_of(tmp_path / "whole" / "set")


@pytest.mark.parametrize("spoil", [b"", b"{}", b"nonsense"])
def test_a_malformed_note_costs_one_shard(tmp_path, spoil):
    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        build(folder, stopping(Counted(37), at=20))
    notes = sorted((folder / "unfinished").glob("shard-*.json"))
    notes[0].write_bytes(spoil)
    (folder / "shard-000001.tar").write_bytes(b"cut")
    build(folder, Counted(37))
    build(tmp_path / "whole" / "set", Counted(37))
    assert files_of(folder) == files_of(tmp_path / "whole" / "set")


def test_a_run_of_other_versions_starts_anew(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "set", stopping(Counted(37), at=20))
    other = Counted(37)
    other.made_with = lambda: {"test": "2"}
    build(tmp_path / "set", other)
    assert "continuing" not in capsys.readouterr().out
    assert load_manifest(open_place(tmp_path / "set")).made_with == {"test": "2"}


def test_workers_on_different_devices_do_not_write_one_set(tmp_path):
    def work(workers):
        source = Counted(37)
        source.made_with = lambda: {"device": f"kind {workers.rank}"}
        build(tmp_path / "set", source, workers)

    errors = joined(2, work)
    assert any("run on different devices or versions" in str(error) for error in errors)


def test_rendering_goes_on_while_a_shard_is_written(tmp_path, monkeypatch):
    begun, released = [], threading.Event()
    real = building.write_shard

    def slow(place, name, samples):
        assert released.wait(10)
        return real(place, name, samples)

    class Watched(Counted):
        def begin(self, start, stop):
            begun.append(start)
            if len(begun) == 3:
                released.set()
            return super().begin(start, stop)

    monkeypatch.setattr(building, "write_shard", slow)
    build(tmp_path / "set", Watched(37))
    assert len(begun) == 10


def test_a_file_size_limit_is_reported_and_the_next_run_completes(tmp_path):
    folder = tmp_path / "set"
    failed = limited(folder, resource.RLIMIT_FSIZE, 15_000)
    assert failed.returncode == 1
    error = failed.stderr.splitlines()[-1]
    assert error.startswith("error: ") and "shard-0000" in error and "File too large" in error
    assert not list(folder.glob("*.tar")) and not (folder / MANIFEST).exists()
    assert not list(folder.glob(".tmp-*"))
    assert limited(folder, 0, None).returncode == 0
    assert open_set(folder).read().labels[:, 0, 0].tolist() == list(range(40))


def test_a_full_disk_is_reported_and_the_next_run_completes(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a disk that can be filled cannot be mounted here")
    try:
        failed = limited(disk / "set", 0, None)
        assert failed.returncode == 1
        assert "No space left on device" in failed.stderr.splitlines()[-1] and "shard-0000" in failed.stderr
        whole = sorted((disk / "set").glob("*.tar"))
        assert 0 < len(whole) < 10 and not (disk / "set" / MANIFEST).exists()
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        assert limited(disk / "set", 0, None).returncode == 0
        build(tmp_path / "whole" / "set", Counted(40))
        assert files_of(disk / "set") == files_of(tmp_path / "whole" / "set")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()

    def work():
        with pytest.raises(PermissionError, match=rf"{re.escape(str(folder / 'set'))}.*Permission denied"):
            build(folder / "set", Counted(5))

    as_nobody(folder, work)


def test_a_writer_stops_if_another_one_begins_another_set(tmp_path, monkeypatch):
    let_another_writer_in(monkeypatch)
    with pytest.raises(ShardError, match="another writer has begun another set here"):
        build(tmp_path / "set", Counted(400))
    assert not (tmp_path / "set" / MANIFEST).exists()


def test_two_writers_without_a_lock_leave_no_wrong_file(tmp_path):
    # Each believes that it is alone, as on an object store.
    errors = joined(2, lambda workers: build(tmp_path / "set", Counted(37)))
    build(tmp_path / "whole" / "set", Counted(37))
    whole = files_of(tmp_path / "whole" / "set")
    # One may find that the other has cleared away its files, and says so; all that is there is right.
    assert len(errors) <= 1 and all(isinstance(error, ShardError | OSError) for error in errors)
    assert files_of_plain(tmp_path / "set").items() <= whole.items()
    if not (tmp_path / "set" / MANIFEST).exists():
        build(tmp_path / "set", Counted(37))
    assert files_of_plain(tmp_path / "set") == whole


def files_of_plain(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_second_writer_reports_that_it_waits(tmp_path, capsys):
    place, entered = open_place(tmp_path / "sets"), []
    with one_builder(place, ALONE):

        def second():
            with one_builder(place, ALONE):
                entered.append(True)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert not entered
    thread.join(10)
    assert entered
    assert "another process is writing here; waiting" in capsys.readouterr().out


def test_staging_left_by_a_killed_writer_is_cleared(spider_folder, options):
    chosen = options(spider_folder())
    place = ensure_sets(["labels"], chosen)["labels"]
    place.write("unfinished/owner.json", b"{}")
    ensure_sets(["labels"], chosen)
    assert not (place.path / "unfinished").exists()


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_bytes_of_rendered_samples_do_not_depend_on_the_batch(spider_folder, options, tmp_path, batch):
    data = spider_folder()
    ensure_sets(["synthetic"], options(data))
    other = replace(options(data), shards_dir=str(tmp_path / "other"), render_batch=batch)
    ensure_sets(["synthetic"], other)
    assert files_of(other.place.path / "synthetic") == files_of(options(data).place.path / "synthetic")


def test_the_manifest_holds_versions_and_device(spider_folder, options):
    places = ensure_sets(["synthetic"], options(spider_folder()))
    manifest = load_manifest(places["synthetic"])
    assert manifest.made_with["device"] == "cpu" and manifest.made_with["torch"] == torch.__version__
    assert manifest.identity["label_bank"] == load_manifest(places["labels"]).label_digest
    assert manifest.identity["samples_per_shard"] == 5 == manifest.shards[0].samples


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_writes_the_same_samples_in_any_batch(spider_folder, options, tmp_path):
    data = spider_folder()
    for batch in (1, 16):
        chosen = options(data, shards_dir=str(tmp_path / f"{batch}"), device="cuda", render_batch=batch)
        ensure_sets(["synthetic"], chosen)
    assert files_of(tmp_path / "1" / "synthetic") == files_of(tmp_path / "16" / "synthetic")


def test_sigterm_leaves_no_partial_file_under_a_final_name(tmp_path):
    program = "import sys; from counted import Counted, build; build(sys.argv[1], Counted(400, seconds=0.01))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "set")],
        cwd=HERE,
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "set").glob("shard-*.tar")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) != 0
    build(tmp_path / "whole" / "set", Counted(400))
    whole = files_of(tmp_path / "whole" / "set")
    left = {path.name: path.read_bytes() for path in (tmp_path / "set").glob("shard-*.tar")}
    assert left and left.items() <= whole.items()


def test_sets_of_one_sample_or_none_can_be_written(tmp_path):
    for count in (0, 1, PER_SHARD):
        place = build(tmp_path / f"{count}", Counted(count))
        assert len(open_set(place)) == count
