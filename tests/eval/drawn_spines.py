"""Drawn spines, untrained networks: small inputs of the tests of evaluation and prediction."""

import json

import numpy as np
import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, disc_code, spider_values, vertebra_code
from synthspine.gen.core.schemes import label_scheme
from synthspine.shards.readers.spider import write_mha
from synthspine.train.model.checkpoint import Checkpoint, save_checkpoint
from synthspine.train.model.unet import UNet

PITCH = 34
DISC = 10


def draw_spine(
    *,
    levels=6,
    lean=0.15,
    bottom=300,
    column=90.0,
    slices=1,
    shape=(320, 256),
    stub=True,
    arches=True,
    hang=0.28,
):
    """Dense codes of a leaning spine: bodies and discs in front of a canal, spinous processes behind it."""
    rows, columns = np.indices(shape).astype(float)
    down, right = rows - bottom, columns - column
    across = (right + lean * down) / np.hypot(1, lean)
    up = (lean * right - down) / np.hypot(1, lean)
    codes = np.zeros(shape, dtype=np.uint8)
    for level in range(levels + (1 if stub else 0)):
        low = level * PITCH
        high = min(low + PITCH, levels * PITCH + 20)
        in_front = (across > 0) & (across < 35)
        codes[in_front & (up >= low) & (up < low + DISC - 1)] = disc_code(level + 1)
        codes[in_front & (up >= low + DISC) & (up < high - 1)] = vertebra_code(level + 1)
        if arches:
            # A spinous process hangs below the middle of its body.
            middle = low + DISC + (PITCH - DISC) / 2 - hang * PITCH
            behind = (across > 60) & (across < 85)
            codes[behind & (abs(up - middle) < 9)] = vertebra_code(level + 1)
    codes[(across > 40) & (across < 54) & (up > -20)] = CANAL
    return np.repeat(codes[None], slices, axis=0)


@pytest.fixture
def spider_folder(tmp_path):
    """Four drawn patients in SPIDER layout, T1 and T2, and a split with two of them in validation."""
    folder = tmp_path / "spider"
    values = spider_values()
    for patient in (1, 2, 3, 4):
        codes = draw_spine(levels=5, lean=0.1, slices=3, shape=(240, 192), bottom=210, column=60.0 + patient)
        for contrast, storage in (("t1", "LPS"), ("t2", "PIR")):
            draw = np.random.Generator(np.random.PCG64(patient))
            image = (codes > 0) * 300 + 100 + draw.integers(0, 60, codes.shape)
            stem = f"{patient}_{contrast}"
            spacing = (4.0, 1.0, 1.0)
            write_mha(image.astype(np.int16), spacing, storage, folder / "images" / f"{stem}.mha")
            write_mha(values[codes], spacing, storage, folder / "masks" / f"{stem}.mha")
    split = folder / "split.json"
    split.write_text(json.dumps({"train": ["1", "2"], "validation": ["3", "4"], "test": []}))
    return folder


@pytest.fixture
def save_untrained():
    """Saves an untrained network as the trainer would; ``sure`` multiplies its logits."""

    def save(path, model="A", num_classes=4, seed=0, spacing_mm=1.0, config="{}", scheme=None, sure=1.0):
        scheme = label_scheme(num_classes) if scheme is None else scheme
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = UNet(num_classes=scheme.num_classes, base_features=4)
            network.head.weight.data *= sure
        checkpoint = Checkpoint(
            state_dict=network.state_dict(),
            architecture=network.architecture,
            model=model,
            config=config,
            step=7,
            validation_dice=0.5,
            spacing_mm=spacing_mm,
            scheme=scheme.to_dict(),
        )
        save_checkpoint(path, checkpoint)
        return path

    return save
