"""The page about the service under load shows ratios of medians, and the CPU time of service and clients."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.service import throughput
from benchmarks.timing import Times

ROOT = Path(__file__).parents[2]


def page(served_s):
    alone = Times(name="alone", wall_s=[9.0, 10.0, 30.0], cpu_s=[14.0, 16.0, 48.0])
    served = Times(name="served", wall_s=[served_s, 50.0, 1.0], cpu_s=[2.0, 2.0, 2.0])
    return "\n".join(throughput(1000, 8, alone, served, 18.0))


@pytest.mark.parametrize(("served_s", "percent", "reached"), [(11.5, 87, "yes"), (12.0, 83, "no")])
def test_the_ratio_is_that_of_the_medians(served_s, percent, reached):
    text = page(served_s)
    assert "| 100.0 | 100 % | 16.00 | 100 % |" in text
    assert f"| {1000 / served_s:.1f} | {percent} % | 18.00 | 89 % |" in text
    assert f"Target: 85 % of alone. Reached: {reached}." in text


def test_cpu_time_is_shown_with_and_without_the_clients(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    rows = [line for line in page(12.5).splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[-3:] for row in rows] == [
        ["16.00", "100 %", "80 % |"],
        ["18.00", "89 %", "72 % |"],
        ["20.00", "80 %", "80 % |"],
    ]


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path):
    command = ["benchmarks/service.py", "--shards", "1", "--seconds", "2", "--rounds", "1", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, *command, "--output-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=230,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (
        "Of 64 samples the reader received 64, 64 of them different."
        in (tmp_path / "service_cpu.md").read_text()
    )
