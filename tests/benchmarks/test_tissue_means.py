"""Brightness of real tissues, which the palette of the generator holds."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tissue_means import measure
from synthspine.gen.tissues.palette import TISSUES
from synthspine.shards.readers.phantom import write_phantom

SPLIT = Path(__file__).parents[2] / "benchmarks" / "spider_mini_split.json"


@pytest.mark.slow
def test_only_the_patients_that_are_named_count(tmp_path):
    write_phantom(tmp_path, patients=2, processes=1)
    everyone = measure(tmp_path, None)
    names = sorted(path.name.split("_")[0] for path in (tmp_path / "images" / "images").glob("*_t1.mha"))
    one = measure(tmp_path, {names[0]})
    assert {len(values) for values in everyone.values()} == {2}
    for key, values in one.items():
        np.testing.assert_array_equal(values, everyone[key][:1])
        mean, darker, brighter = values[0]
        assert 0 <= darker <= mean <= brighter <= 1
    assert one["t1", "vertebra"][0, 0] > one["t1", "canal"][0, 0]
    assert one["t2", "canal"][0, 0] > one["t2", "vertebra"][0, 0]


@pytest.mark.skipif("SPIDER_MINI" not in os.environ, reason="SPIDER_MINI names no folder with real slices")
def test_the_palette_holds_the_means_of_the_training_patients():
    training = json.loads(SPLIT.read_text())["train"]
    measured = measure(Path(os.environ["SPIDER_MINI"]) / "pairs", training)
    for contrast, fluid in (("t1", 1), ("t2", 2)):
        for tissue, structure, kind in (
            ("vertebra", "vertebra", 0),
            ("disc", "disc", 0),
            ("csf", "canal", fluid),
        ):
            values = measured[contrast, structure][:, kind]
            mean, deviation = getattr(TISSUES[tissue], contrast)
            assert abs(values.mean() - mean) < 0.006, (tissue, contrast)
            assert abs(values.std() - deviation) < 0.006, (tissue, contrast)
