"""The commands as a newcomer types them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENTRY_POINTS = (
    "shards/main.py",
    "train/main.py",
    "eval/main.py",
    "eval/predict.py",
    "shards/serve.py",
    "train/release.py",
    "example.py",
    "benchmarks/generator.py",
    "benchmarks/shards.py",
    "benchmarks/training.py",
    "benchmarks/service.py",
    "benchmarks/reality_gap.py",
)


def _run(*arguments, cwd=ROOT, timeout=600):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, timeout=timeout, capture_output=True, text=True
    )


@pytest.mark.parametrize("script", ENTRY_POINTS)
def test_every_entry_point_explains_itself(script):
    done = _run(ROOT / script, "--help")
    assert done.returncode == 0
    assert "usage" in done.stdout


@pytest.mark.parametrize("script", ENTRY_POINTS[:5])
def test_an_entry_point_only_parses_wires_and_calls(script):
    assert len((ROOT / script).read_text().splitlines()) < 80


def test_packages_import_only_from_those_below_them():
    order = ("gen", "shards", "train", "eval")
    for place, package in enumerate(order):
        for path in (ROOT / package).rglob("*.py"):
            words = {
                line.split()[1].split(".")[0]
                for line in path.read_text().splitlines()
                if line.startswith(("import ", "from "))
            }
            assert not words & set(order[place + 1 :]), path


def test_every_picture_and_file_that_the_readme_links_exists():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    local = [link for link in links if not link.startswith("http")]
    assert local and all((ROOT / link).exists() for link in local)


def test_make_help_names_every_target():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in [
        "all",
        "setup",
        "shards",
        "train",
        "eval",
        "demo",
        "test",
        "test-all",
        "lint",
        "bench",
        "clean",
        "help",
    ]:
        assert f"  {target} " in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demos_write_pictures_from_nothing(tmp_path):
    done = _run(ROOT / "example.py", "--demo", "all", "--output-dir", "pictures", cwd=tmp_path, timeout=850)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("synth", "contrast", "training", "inference"):
        assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 20_000
