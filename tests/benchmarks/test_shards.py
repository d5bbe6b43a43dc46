"""The page about shards compares with the first row, and orders mix shards as documented."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.label_maps import write_label_maps
from benchmarks.shards import section, shuffle_quality
from benchmarks.timing import Times
from synthspine.shards import open_set

ROOT = Path(__file__).parents[2]


def test_speed_and_cpu_time_are_relative_to_the_first_row():
    found = [
        Times(name="bare", wall_s=[2.0], cpu_s=[1.0]),
        Times(name="ours", wall_s=[4.0], cpu_s=[3.0]),
    ]
    title, size, table = section("Reading", found, 100, 8_000_000)
    assert (title, size) == ("## Reading", "100 samples, 8 MB.")
    assert "| bare | 50 | 4 | 1.00 | 1.00 |" in table
    assert "| ours | 25 | 2 | 0.50 | 3.00 |" in table


def test_our_order_takes_equal_shares_of_shards():
    rows = [line.split(" | ") for line in shuffle_quality(100, 64).splitlines()[2:]]
    assert [row[0] for row in rows] == [
        "| ours",
        "| shards shuffled, then a buffer of 1,000",
        "| full permutation",
    ]
    ours, buffered, _ = rows
    assert ours[1:] == ["16.0", "16", "4.0", "4", "0.00 % |"]
    assert int(buffered[4]) > 4


def test_label_maps_are_a_complete_set(tmp_path):
    opened = open_set(write_label_maps(tmp_path / "labels"))
    assert opened.read().labels.shape == (4, 320, 256)


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path):
    command = ["benchmarks/shards.py", "--samples", "32", "--repeats", "1", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, *command, "--output-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text = (tmp_path / "shards_cpu.md").read_text()
    assert all(
        f"## {title}\n" in text for title in ("Reading", "Writing", "Rendering and writing", "Shuffling")
    )
