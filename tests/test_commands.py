"""The commands as a newcomer types them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro

from synthspine.eval.demos import COARSE
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.spider import write_mha
from synthspine.train.model.pretrained import PRETRAINED

ROOT = Path(__file__).parents[1]
ENTRY_POINTS = (
    "shards/main.py",
    "train/main.py",
    "eval/main.py",
    "eval/predict.py",
    "shards/serve.py",
    "eval/serve.py",
    "shards/synth.py",
    "shards/export.py",
    "train/release.py",
    "example.py",
    "benchmarks/generator.py",
    "benchmarks/shards.py",
    "benchmarks/training.py",
    "benchmarks/service.py",
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


@pytest.mark.parametrize("script", ENTRY_POINTS[:7])
def test_an_entry_point_only_parses_wires_and_calls(script):
    assert len((ROOT / script).read_text().splitlines()) < 80


def test_every_picture_and_file_that_the_readme_links_exists():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    local = [link for link in links if not link.startswith("http")]
    assert local and all((ROOT / link).exists() for link in local)


def test_the_readme_is_short_and_its_python_example_runs(tmp_path):
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 130
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    example = example.replace('device="cuda"', 'device="cpu"')
    example = example.replace("models/saved/model_a_synthetic_best.pth", str(PRETRAINED))
    example = example.replace("scan.nii.gz", str(tmp_path / "scan.mha"))
    scan = np.arange(3 * 64 * 48, dtype=np.int16).reshape(3, 64, 48)
    write_mha(scan, (4.0, 2.0, 2.0), "LPS", tmp_path / "scan.mha")
    label_map = np.zeros((64, 48), dtype=np.uint8)
    label_map[20:30, 10:24], label_map[30:34, 10:24], label_map[10:50, 28:33] = 1, 7, 13
    batches = [(torch.rand(1, 1, 64, 48), torch.zeros(1, 64, 48, dtype=torch.uint8))]
    names = {"label_map": label_map, "label_maps": [label_map], "batches": batches}
    exec(compile(example, "README.md", "exec"), names)
    assert names["mask"].GetSize() == (3, 48, 64)
    assert names["image"].shape == label_map.shape
    assert len(names["images"]) == len(names["targets"]) == 16
    assert len(names["dataset"]) == 5


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


def _made(*variables):
    """The commands of ``make all``."""
    command = ["make", "-n", "all", *variables]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_without_data_has_the_sets_of_the_demos():
    (flags,) = re.findall(r"shards/main\.py (.*)", _made())
    options = tyro.cli(tyro.conf.OmitArgPrefixes[ShardOptions], args=shlex.split(flags))
    assert options.use_dummy_data and options.grid == COARSE.grid
    assert options.shards_dir == COARSE.shards_dir
    for place in ("DATA=spider", "SHARDS=data/spider-shards"):
        assert "train/main.py" in _made(place) and "--use-dummy-data" not in _made(place)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demos_write_pictures_from_nothing(tmp_path):
    done = _run(ROOT / "example.py", "--demo", "all", "--output-dir", "pictures", cwd=tmp_path, timeout=850)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("synth", "contrast", "training", "inference"):
        assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 20_000
