"""The page on a new artefact, walked: its diff is applied to a copy, which draws, renders and records it."""

import os
import re
import shutil
import subprocess
import sys

from extending_page import ROOT, block

PROGRAM = """
import json
from dataclasses import replace
import torch
from synthspine.eval.gallery import shown_off
from synthspine.gen import GeneratorConfig, Params, config_from_text, draw, render
from synthspine.gen.scanner.fade import FadeConfig
from synthspine.gen.tables import feature_tables
from drawn_ranges import CHANCE, UNIFORM

bank = torch.zeros(1, 64, 48, dtype=torch.uint8)
bank[:, 20:40, 10:30] = 1
still = GeneratorConfig()
off = config_from_text("fade: {probability: 0}", still)
on = config_from_text("fade: {probability: 1, strength: [0.5, 0.5]}", still)
plain, faded = (draw(config, 0, torch.arange(4), maps=1) for config in (off, on))
assert plain[FadeConfig] is None and faded[FadeConfig].strength.tolist() == [0.5] * 4
records = json.loads(json.dumps(faded.to_records()))
assert records[0]["fade"] == {"strength": 0.5} and plain.to_records()[0]["fade"] is None
drawn = [name for name, value in records[0].items() if value != plain.to_records()[0][name]]
assert drawn == ["fade"], drawn
before, after = render(bank, plain)[0], render(bank, faded)[0]
assert (before - after).abs().mean() > 0.01
assert torch.equal(render(bank, Params.from_records(records))[0], after)
assert "fade.strength" in UNIFORM and "fade.probability" in CHANCE
assert shown_off(still.fade) == FadeConfig(probability=1.0, strength=(0.6, 0.6))
assert "| `fade` | Less signal towards the foot end | [`FadeConfig`]" in feature_tables()
"""


def test_the_diff_of_the_page_adds_an_artefact(tmp_path):
    diff = block("An artefact of the generator", "diff")
    assert re.findall(r"^\+\+\+ b/(\S+)", diff, re.M) == [
        "gen/scanner/fade.py",
        "gen/config.py",
        "gen/generator.py",
    ]
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("gen", "shards", "train", "eval", "synthspine"):
        shutil.copytree(ROOT / package, tmp_path / package, symlinks=True, ignore=ignored)
    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    shutil.copy(ROOT / "tests" / "gen" / "drawn_ranges.py", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
