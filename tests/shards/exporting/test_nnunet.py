import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.gen.core.schemes import RANKS
from synthspine.shards.exporting import nnunet
from synthspine.shards.exporting.nnunet import (
    NnunetOptions,
    description,
    export_nnunet,
    splits_of,
)
from synthspine.shards.format.sample import ShardError
from synthspine.shards.readers.layouts import series_of
from synthspine.shards.readers.nnunet import NNUNET
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import check_pair

NNUNET_PYTHON = os.environ.get("NNUNET_PYTHON") or (
    sys.executable if importlib.util.find_spec("nnunetv2") else None
)
VERIFY = """
import sys
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
if __name__ == "__main__":
    verify_dataset_integrity(sys.argv[1], 1)
"""


@pytest.fixture
def exported(spider_folder, tmp_path):
    """Writes a small dataset and returns its folder."""
    data = spider_folder()

    def make(**changes):
        defaults = {
            "data_dir": data,
            "shards_dir": str(tmp_path / "shards"),
            "output_dir": tmp_path / "Dataset601_SynthSpine",
            "grid": Grid(spacing_mm=2.0, shape=(64, 48)),
            "samples_per_shard": 5,
            "synthetic_samples": 7,
            "device": "cpu",
        }
        return export_nnunet(NnunetOptions(**defaults | changes))

    return make


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.[jn]*")}


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.nii.gz"))


@pytest.mark.parametrize("dims", [2, 3])
def test_every_image_has_a_label_map_on_its_grid_and_the_description_fits(exported, dims):
    folder = exported(dims=dims, synthetic_samples=4)
    told = json.loads((folder / "dataset.json").read_text())
    assert told == json.loads(json.dumps(description(RANKS, 4)))
    assert told["labels"]["ignore"] == max(told["labels"].values()) == len(told["labels"]) - 1
    series = series_of(folder, "nnunet")
    assert len(series) == 4 and len({entry.patient for entry in series}) > 1
    for entry in series:
        image = NNUNET.read_image(entry)
        assert check_pair(image, NNUNET.read_mask(entry), entry.mask) is None
        assert image.array.shape == ((1, 64, 48) if dims == 2 else (5, 60, 36))
        assert image.spacing_mm == pytest.approx((4.0, 2.0, 2.0))
        assert image.array.min() >= 0 and 1000 < image.array.max() <= nnunet.WHITE
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(entry.mask)))
        assert set(np.unique(values)) <= set(told["labels"].values()) and (values > 0).any()


def test_a_killed_run_continues_and_gives_the_same_bytes(exported, monkeypatch, tmp_path):
    whole = contents(exported(synthetic_samples=4))
    made = tmp_path / "second" / "Dataset602_SynthSpine"
    write = nnunet._write_case

    def killed(place, index, case, scheme):
        if index == 2:
            raise KeyboardInterrupt
        write(place, index, case, scheme)

    monkeypatch.setattr(nnunet, "_write_case", killed)
    with pytest.raises(KeyboardInterrupt):
        exported(output_dir=made, render_batch=2, synthetic_samples=4)
    assert not (made / "dataset.json").exists() and len(files(made)) == 4
    (made / "imagesTr" / ".tmp-1-sub-9_00000009_0000.nii.gz").touch()
    written = []

    def counted(place, index, case, scheme):
        written.append(index)
        write(place, index, case, scheme)

    monkeypatch.setattr(nnunet, "_write_case", counted)
    exported(output_dir=made, render_batch=2, synthetic_samples=4)
    assert written == [2, 3]
    assert contents(made) == whole
    exported(output_dir=made, synthetic_samples=4)
    assert written == [2, 3]


def test_another_dataset_is_kept_unless_it_is_to_be_replaced(exported, tmp_path):
    folder = exported(synthetic_samples=1)
    before = contents(folder)
    with pytest.raises(ShardError, match="was made with other seed"):
        exported(synthetic_samples=1, seed=7)
    assert contents(folder) == before
    exported(synthetic_samples=1, seed=7, rebuild=True)
    assert len(files(folder)) == 2 and contents(folder) != before
    foreign = tmp_path / "Dataset001_Other"
    (foreign / "labelsTr").mkdir(parents=True)
    (foreign / "labelsTr" / "case.nii.gz").touch()
    with pytest.raises(ShardError, match="did not write"):
        exported(output_dir=foreign, rebuild=True)
    assert files(foreign) == ["labelsTr/case.nii.gz"]


def test_the_sacrum_that_is_painted_is_a_label_of_a_scheme_that_has_it(exported):
    folder = exported(scheme="spine", grid=Grid(spacing_mm=2.0, shape=(96, 48)), synthetic_samples=4)
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert list(labels) == ["background", "vertebra", "disc", "canal", "sacrum", "ignore"]
    masks = [sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (folder / "labelsTr").iterdir()]
    assert any((mask == labels["sacrum"]).any() for mask in masks)


@pytest.mark.parametrize(("patients", "folds"), [(1, 0), (3, 3), (12, 5)])
def test_no_patient_is_learned_from_and_validated_on(patients, folds):
    cases = [f"sub-{patient}_{index:08d}" for index in range(24) for patient in [index % patients]]
    splits = splits_of(cases)
    assert len(splits) == folds
    assert sorted(case for split in splits for case in split["val"]) == (sorted(cases) if folds else [])
    for split in splits:
        known, held = ({case.split("_")[0] for case in split[part]} for part in ("train", "val"))
        assert known and held and not known & held
        assert sorted(split["train"] + split["val"]) == sorted(cases)


def test_a_folder_that_nnunet_does_not_find_is_refused(tmp_path):
    with pytest.raises(ValueError, match="DatasetNNN_NAME"):
        NnunetOptions(output_dir=tmp_path / "mine")


@pytest.mark.slow
@pytest.mark.skipif(NNUNET_PYTHON is None, reason="nnunetv2 is not installed, nor does NNUNET_PYTHON name it")
@pytest.mark.parametrize("dims", [2, 3])
def test_nnunet_itself_finds_nothing_wrong(exported, dims, tmp_path):
    folder = exported(dims=dims)
    program = tmp_path / "verify.py"
    program.write_text(VERIFY)
    done = subprocess.run(
        [NNUNET_PYTHON, program, folder], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "verify_dataset_integrity Done" in done.stdout
    assert "Warning" not in done.stdout and "Error" not in done.stdout
