import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPACING_MM = 2.0


def test_command_evaluates_and_says_what_it_wrote(save_untrained, tmp_path, spider_folder):
    for seed, (model, name) in enumerate({"A": "model_a_synthetic", "B": "model_b_real"}.items()):
        save_untrained(tmp_path / "models" / f"{name}_best.pth", model, seed=seed, spacing_mm=SPACING_MM)
    arguments = [
        *("--data-dir", spider_folder, "--shards-dir", tmp_path / "shards", "--device", "cpu"),
        *("--split", spider_folder / "split.json", "--model-dir", tmp_path / "models"),
        *("--output-dir", tmp_path / "out", "--resolution-factors", "1.0,2.5", "--model", "compare"),
        *("--studies", "contrast", "resolution_in_plane", "--quick", "--overlays", 1),
        *("--spacing-mm", SPACING_MM, "--shape", 112, 96),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "eval/main.py", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"wrote {tmp_path / 'out' / 'outcome.json'}" in result.stdout
    assert f"wrote {tmp_path / 'out' / 'report.md'}" in result.stdout
    outcome = json.loads((tmp_path / "out" / "outcome.json").read_text())
    assert "--studies contrast" in outcome["command"]


def test_command_says_in_one_line_what_is_wrong(tmp_path):
    command = [sys.executable, "eval/main.py", "--model-dir", str(tmp_path / "nothing")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: no model to evaluate in")
