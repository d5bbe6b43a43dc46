"""The bundle in MONAI's own hands: its weights are loaded, and its configuration is run."""

import json

import numpy as np
import pytest
import torch

monai = pytest.importorskip("monai", reason="monai is not installed: pip install 'synthspine[interop]'")

import nibabel  # noqa: E402
from monai.bundle import ConfigWorkflow, load, run  # noqa: E402

from synthspine.gen.phantom.series import phantom_series  # noqa: E402
from synthspine.shards.readers.spider import write_mha  # noqa: E402
from synthspine.train.model.checkpoint import load_checkpoint, load_model  # noqa: E402
from synthspine.train.model.monai_bundle import write_bundle  # noqa: E402
from synthspine.train.model.pretrained import PRETRAINED  # noqa: E402

REQUIRED = {"version", "monai_version", "pytorch_version", "numpy_version", "task", "network_data_format"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "spine"
    write_bundle(folder, load_checkpoint(PRETRAINED))
    return folder


def test_monai_loads_the_network_with_its_weights(bundle):
    network = load(bundle.name, bundle_dir=bundle.parent, workflow_type="inference", device="cpu")
    wanted = load_model(PRETRAINED).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())


def test_the_metadata_names_inputs_outputs_and_versions(bundle):
    told = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert told.keys() >= REQUIRED
    outputs = told["network_data_format"]["outputs"]["pred"]
    names = load_model(PRETRAINED).scheme.class_names
    assert outputs["channel_def"] == {str(number): name for number, name in enumerate(names)}
    assert names[:4] == ("background", "vertebra", "disc", "canal") and outputs["num_channels"] == len(names)


@pytest.mark.slow
def test_the_configuration_has_all_that_monai_asks_of_it_and_segments_a_scan(bundle, tmp_path):
    pytest.importorskip("ignite", reason="pytorch-ignite is not installed: pip install 'synthspine[interop]'")
    config = str(bundle / "configs" / "inference.json")
    workflow = ConfigWorkflow(config, workflow_type="inference", bundle_root=str(bundle))
    workflow.initialize()
    assert not workflow.check_properties()
    scan = phantom_series(5, 99_999, "t2")
    middle = round(np.argwhere(scan.mask == 100)[:, 0].mean())
    slices = slice(middle - 1, middle + 2)
    write_mha(scan.image[slices], scan.spacing_mm, scan.storage, tmp_path / "scan.nii.gz")
    places = {"bundle_root": str(bundle), "scan": str(tmp_path / "scan.nii.gz"), "output_dir": str(tmp_path)}
    run(config_file=config, **places)
    found = nibabel.load(tmp_path / "scan_seg.nii.gz")
    original = nibabel.load(tmp_path / "scan.nii.gz")
    assert found.shape == original.shape and np.allclose(found.affine, original.affine, atol=1e-3)
    write_mha(scan.mask[slices], scan.spacing_mm, scan.storage, tmp_path / "mask.nii.gz")
    truth = np.asarray(nibabel.load(tmp_path / "mask.nii.gz").dataobj)
    answer = np.asarray(found.dataobj)
    for number, true in ((1, (truth > 0) & (truth < 100)), (2, truth > 200), (3, truth == 100)):
        mine = answer == number
        assert 2 * (mine & true).sum() / (mine.sum() + true.sum()) > 0.7, number
