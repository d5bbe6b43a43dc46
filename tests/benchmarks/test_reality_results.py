"""The CSV of the study: runs go in whole, whatever happens, and come out as they went in."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.reality_results import COLUMNS, Row, RunKey, append, read

ROOT = Path(__file__).parents[2]
KEY = RunKey(arm="spine", settings="ab", generator="cd", code="ef", seed=0, budget=700, batch=8, fold="0/4")
ROW = Row(
    key=KEY,
    group="reference",
    steps=700,
    samples=248,
    loss=0.5,
    minutes=5.25,
    weights="ema",
    contrast="t1",
    factor=1.0,
    patient="7",
    own_mask=True,
    dice={"vertebra": 0.9, "disc": None, "canal": 0.75},
)
APPENDS_FOR_EVER = """
import sys
from dataclasses import replace
from pathlib import Path
from benchmarks.reality_results import append
from test_reality_results import KEY, ROW
for seed in range(10**6):
    key = replace(KEY, seed=seed)
    append(Path(sys.argv[1]), [replace(ROW, key=key, patient=str(patient)) for patient in range(40)])
"""


def run_of(seed, patients=3):
    return [replace(ROW, key=replace(KEY, seed=seed), patient=str(patient)) for patient in range(patients)]


def test_lines_come_back_as_they_went_in(tmp_path):
    rows = [ROW, replace(ROW, factor=4.0, own_mask=False, weights="raw")]
    append(tmp_path / "new" / "found.csv", rows)
    assert read(tmp_path / "new" / "found.csv") == rows
    assert ROW.overall == pytest.approx(0.825)


def test_a_run_that_is_written_again_takes_the_place_of_its_lines(tmp_path):
    file = tmp_path / "found.csv"
    append(file, run_of(0))
    append(file, run_of(1))
    append(file, [replace(row, loss=0.1) for row in run_of(0, patients=2)])
    assert [(row.key.seed, row.loss) for row in read(file)] == [(1, 0.5)] * 3 + [(0, 0.1)] * 2


def test_a_failure_while_writing_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "found.csv"
    append(file, run_of(0))
    before = file.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        append(file, run_of(1))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv"]


def test_a_process_that_is_killed_leaves_whole_runs(tmp_path):
    file = tmp_path / "found.csv"
    paths = [str(ROOT), str(Path(__file__).parent)]
    program = f"import sys; sys.path[:0] = {paths!r}\n{APPENDS_FOR_EVER}"
    process = subprocess.Popen([sys.executable, "-c", program, str(file)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while len(read(file)) < 200 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    rows = read(file)
    seeds = [row.key.seed for row in rows]
    assert len(rows) >= 200
    assert all(seeds.count(seed) == 40 for seed in set(seeds))
    append(file, run_of(10**6))
    assert len(read(file)) == len(rows) + 3


def test_writers_take_turns(tmp_path):
    file = tmp_path / "found.csv"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: append(file, run_of(seed)), range(12)))
    assert sorted({row.key.seed for row in read(file)}) == list(range(12))
    assert len(read(file)) == 36


def test_a_file_with_other_columns_is_refused(tmp_path):
    file = tmp_path / "found.csv"
    file.write_text("arm,dice\nspine,0.9\n")
    with pytest.raises(ValueError, match=r"found\.csv: has other columns"):
        append(file, [ROW])


@pytest.mark.parametrize(("column", "text"), [("own_mask", "yes"), ("seed", "one"), ("canal", "good")])
def test_a_value_that_makes_no_sense_is_refused_by_line(tmp_path, column, text):
    file = tmp_path / "found.csv"
    append(file, [ROW, ROW])
    lines = [line.split(",") for line in file.read_text().splitlines()]
    lines[2][COLUMNS.index(column)] = text
    file.write_text("\n".join(",".join(line) for line in lines) + "\n")
    with pytest.raises(ValueError, match=r"found\.csv, line 3"):
        read(file)
