import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthspine.shards.building.names import SETS
from synthspine.shards.main import main
from synthspine.shards.reading.open import open_set

ROOT = Path(__file__).parents[2]


def arguments_for(data: Path, shards: Path, *more: str) -> list[str]:
    grid = [
        "--shape",
        "64",
        "48",
        "--spacing-mm",
        "2",
        "--samples-per-shard",
        "3",
        "--synthetic-samples",
        "6",
    ]
    return ["--data-dir", str(data), "--shards-dir", str(shards), "--device", "cpu", *grid, *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_command_writes_sets_and_prints_their_places(spider_folder, tmp_path, monkeypatch, capsys):
    command = arguments_for(spider_folder(), tmp_path / "shards", "--sets", "labels", "real_t1_val")
    monkeypatch.setattr(sys, "argv", ["shards/main.py", *command])
    assert main() == 0
    assert f"wrote {tmp_path / 'shards' / 'labels'}: " in capsys.readouterr().out
    assert len(open_set(tmp_path / "shards" / "real_t1_val"))
    assert not (tmp_path / "shards" / "synthetic").exists()


def test_a_bad_folder_is_one_line_and_status_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["shards/main.py", *arguments_for(tmp_path / "nowhere", tmp_path / "s")])
    assert main() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "nowhere: no such folder" in error and error.count("\n") == 1


def test_the_script_runs_from_the_repository_root():
    done = subprocess.run(
        [sys.executable, "shards/main.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--skip-bad" in done.stdout and "--samples-per-shard" in done.stdout


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["shards/main.py", *words])
    return main()


def test_sets_are_written_verified_and_inspected(spider_folder, tmp_path, monkeypatch, capsys):
    shards = tmp_path / "shards"
    assert run(monkeypatch, "write", *arguments_for(spider_folder(), shards)) == 0
    capsys.readouterr()
    assert run(monkeypatch, "verify", str(shards), str(shards / "labels")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SETS) + 1 and all(line.startswith(f"ok {shards}") for line in lines)
    sheet = tmp_path / "sheet.png"
    assert (
        run(monkeypatch, "inspect", str(shards / "synthetic"), "--output", str(sheet), "--samples", "4") == 0
    )
    reported = capsys.readouterr().out
    assert "preset spine, " in reported and f"{sheet}\n" in reported and sheet.stat().st_size > 10_000


def test_damage_is_reported_with_status_1(spider_folder, tmp_path, monkeypatch, capsys):
    shards = tmp_path / "shards"
    assert run(monkeypatch, *arguments_for(spider_folder(), shards, "--sets", "labels", "labels_val")) == 0
    path = shards / "labels" / "shard-000000.tar"
    content = bytearray(path.read_bytes())
    content[512 + 1000] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert run(monkeypatch, "verify", str(shards)) == 1
    reported = capsys.readouterr()
    assert f"{path}: is damaged (SHA-256 differs), and with it samples 00000000 to 0" in reported.out
    assert (
        f"BAD {shards / 'labels'}: 1 problem" in reported.out
        and f"ok {shards / 'labels_val'}" in reported.out
    )
    assert reported.err == "error: 1 problem in 1 of 2 sets\n"


@pytest.mark.parametrize(("word", "meant"), [("verfy", "verify"), ("insepct", "inspect"), ("rite", "write")])
def test_a_mistyped_command_is_one_line_with_the_nearest(monkeypatch, capsys, word, meant):
    assert run(monkeypatch, word, "data/shards") == 1
    assert capsys.readouterr().err == f"error: {word}: no such command; did you mean {meant}?\n"


def test_an_unknown_command_is_one_line_with_all_of_them(monkeypatch, capsys):
    assert run(monkeypatch, "1234") == 1
    assert "write or verify or inspect" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_place_without_a_set_is_one_line(tmp_path, monkeypatch, capsys, command):
    assert run(monkeypatch, command, str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: neither a set") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["--help"], ["[write]", "verify PLACE", "inspect PLACE", "--skip-bad"]),
        (["write", "--help"], ["synthspine shards write", "--samples-per-shard"]),
        (["verify", "--help"], ["synthspine shards verify [-h] PLACE [PLACE ...]"]),
        (["inspect", "--help"], ["synthspine shards inspect [-h] PLACE", "--output", "--samples"]),
    ],
)
def test_every_command_has_a_help_text(monkeypatch, capsys, words, reported):
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, *words)
    text = capsys.readouterr().out
    assert all(part in text for part in reported)


@pytest.mark.slow
def test_torchrun_writes_the_same_bytes(spider_folder, tmp_path):
    data = spider_folder(8)
    one, two = tmp_path / "one", tmp_path / "two"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "shards/main.py", *arguments_for(data, one)], cwd=ROOT, check=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, "shards/main.py", *arguments_for(data, two)], cwd=ROOT, check=True, env=environment
    )
    assert contents(one) == contents(two)


@pytest.mark.slow
def test_a_killed_run_continues(spider_folder, tmp_path):
    data = spider_folder(60)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "shards/main.py"]
    process = subprocess.Popen([*command, *arguments_for(data, killed)], cwd=ROOT)
    while not list(killed.glob("labels/unfinished/shard-*.json")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # A shard counts once it is noted.
    noted = [path.stem for path in killed.glob("labels/unfinished/shard-*.json")]
    first = {
        path: path.stat().st_mtime_ns for path in killed.glob("labels/shard-*.tar") if path.stem in noted
    }
    assert first and not (killed / "labels" / "manifest.json").exists()
    subprocess.run([*command, *arguments_for(data, killed)], cwd=ROOT, check=True)
    subprocess.run([*command, *arguments_for(data, whole)], cwd=ROOT, check=True)
    assert all(path.stat().st_mtime_ns == written for path, written in first.items())
    assert contents(killed) == contents(whole)


@pytest.mark.slow
def test_concurrent_processes_build_a_set_once(spider_folder, tmp_path):
    data, shards = spider_folder(), tmp_path / "shards"
    command = [sys.executable, "shards/main.py", *arguments_for(data, shards, "--sets", "labels")]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(text.splitlines()[-1].split()[0] for text in printed) == ["complete", "complete", "wrote"]
