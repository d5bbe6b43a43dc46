"""A trained model as a bundle of MONAI: weights, metadata, and a configuration that segments scans.

``monai.bundle.run(config_file="configs/inference.json", bundle_root=".", scan=FILE)`` writes the classes of
the network on the grid of the scan, without the ranks that ``eval/predict.py`` counts. It needs
``pip install 'synthspine[interop]'``.

Source: docs.monai.io, MONAI Bundle Specification.
"""

import io
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from synthspine.shards.storage.atomic import write_text
from synthspine.train.model.checkpoint import Checkpoint, write_whole

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_WINDOW = (320, 256)
"""Rows and columns that the network sees at once."""
_IMPORTS = (
    "import torch",
    "from monai.utils import convert_to_dst_type",
    "from synthspine.shards.readers.slices import normalise",
)
_NORMALISE = "$lambda image: convert_to_dst_type(normalise(image.numpy()), image)[0]"
_LOAD = "$@network_def.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"


def write_bundle(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the bundle of a checkpoint; files that are there are replaced.

    Raises:
        OSError: a file cannot be written.
    """
    weights = {name: value.float() for name, value in checkpoint.state_dict.items()}
    room = io.BytesIO()
    torch.save(weights, room)
    write_whole(folder / "models" / "model.pt", room.getvalue())
    for name, content in (("metadata", bundle_metadata(checkpoint)), ("inference", inference(checkpoint))):
        write_text(folder / "configs" / f"{name}.json", json.dumps(content, indent=4) + "\n")


def bundle_metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    """The content of ``configs/metadata.json``."""
    scheme = checkpoint.label_scheme()
    version = metadata.version("synthspine")
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": 1,
        "spatial_shape": ["16*n", "16*n"],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "image"},
    }
    classes = {
        "type": "image",
        "format": "segmentation",
        "num_channels": scheme.num_classes,
        "spatial_shape": ["16*n", "16*n"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(number): name for number, name in enumerate(scheme.class_names)},
    }
    return {
        "schema": _SCHEMA,
        "version": version,
        "changelog": {version: "exported by train/release.py"},
        "monai_version": "1.5.0",
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": metadata.version("numpy"),
        "required_packages_version": {
            "synthspine": version,
            "pytorch-ignite": "0.5.0",
            "nibabel": metadata.version("nibabel"),
        },
        "name": "SynthSpine",
        "task": "Segmentation of vertebrae, discs and spinal canal on sagittal lumbar-spine MRI",
        "description": "A 2D U-Net on slices of any contrast. For research, not for diagnosis.",
        "authors": "SynthSpine",
        "copyright": "Apache-2.0",
        "intended_use": "Research. Not for diagnosis.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": classes}},
    }


def inference(checkpoint: Checkpoint) -> dict[str, Any]:
    """The content of ``configs/inference.json``."""
    mm = checkpoint.spacing_mm
    return {
        "imports": [f"${line}" for line in _IMPORTS],
        "bundle_root": ".",
        "dataset_dir": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "scan": "$@dataset_dir + '/scan.nii.gz'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": "synthspine.train.UNet", **checkpoint.architecture},
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RIP"},
                {"_target_": "Lambdad", "keys": "image", "func": _NORMALISE},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [-1, mm, mm], "mode": "bilinear"},
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "$[{'image': @scan}]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {
            "_target_": "SliceInferer",
            "roi_size": list(_WINDOW),
            "spatial_dim": 0,
            "sw_batch_size": 4,
            "mode": "gaussian",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "to_tensor": True,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {
                    "_target_": "SaveImaged",
                    "keys": "pred",
                    "output_dir": "@output_dir",
                    "output_postfix": "seg",
                    "output_dtype": "$torch.uint8",
                    "separate_folder": False,
                    "resample": False,
                },
            ],
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": [_LOAD, "$@evaluator.run()"],
    }
