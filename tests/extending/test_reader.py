"""The page on a new dataset layout: its code registers a layout from outside, and sets are built with it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from extending_page import ROOT, block

from synthspine.gen.core.anatomy import CANAL, IGNORE
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.layouts import layout_of
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.reading.open import open_set

SPACING_MM = (4.0, 2.0, 1.5)


@pytest.fixture
def clinic(tmp_path):
    """Four patients with a vertebra, a disc, a canal, and a region to ignore."""
    folder = tmp_path / "clinic"
    for patient in "abcd":
        mask = np.zeros((5, 60, 48), dtype=np.int16)
        mask[1:-1, 20:40, 10:30], mask[1:-1, 40:44, 10:30] = 1, 2
        mask[1:-1, 10:50, 32:36], mask[1:-1, 0:4, 0:4] = 3, 4
        image = (100 * (mask > 0) + np.random.default_rng(0).integers(1, 50, mask.shape)).astype(np.int16)
        write_mha(mask, SPACING_MM, "LPS", folder / patient / "mask.nii.gz")
        write_mha(image, SPACING_MM, "PIR", folder / patient / "t2.nii.gz")
    return folder


def run(tmp_path, *arguments, code):
    program = tmp_path / "own.py"
    program.write_text(code)
    command = [
        sys.executable,
        str(program),
        "write",
        *map(str, arguments),
        "--shards-dir",
        str(tmp_path / "sets"),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    sizes = [
        "--spacing-mm",
        "2",
        "--shape",
        "64",
        "48",
        "--device",
        "cpu",
    ]
    return subprocess.run([*command, *sizes], env=environment, cwd=tmp_path, capture_output=True, text=True)


def test_the_code_of_the_page_registers_a_layout_and_builds_sets(clinic, tmp_path):
    code = block("A dataset layout", "python")
    done = run(tmp_path, "--data-dir", clinic, "--sets", "labels", "real_t2_val", code=code)
    assert done.returncode == 0, done.stderr
    assert f"{clinic}: 4 series in the layout clinic" in done.stdout
    sample = next(iter(open_set(tmp_path / "sets/real_t2_val").samples()))
    assert {0, 1, 31, CANAL, IGNORE} == set(np.unique(sample.label).tolist())
    assert sample.record["patient"] in "abcd" and sample.image is not None
    assert open_set(tmp_path / "sets/labels").manifest.samples


def test_without_that_code_the_folder_has_no_layout(clinic):
    with pytest.raises(SpiderError, match="has none of the known layouts: spider expects"):
        layout_of(clinic)
