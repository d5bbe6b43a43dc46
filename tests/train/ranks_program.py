"""Trains a small network for some steps and saves what every rank ends with: OUTPUT_DIR STEPS."""

import sys
from pathlib import Path

import numpy as np
import torch

from gen import label_scheme, preset
from train.distributed import Ranks, join_ranks
from train.feed import RenderFeed
from train.trainer import Plan, Trainer
from train.unet import UNet
from train.validation import ValidationSet


def train(ranks: Ranks, folder: Path, steps: int) -> Trainer:
    bank = np.zeros((3, 32, 32), dtype=np.uint8)
    bank[:, 4:12, 8:16], bank[:, 12:15, 8:16], bank[:, 15:24, 8:16] = 2, 32, 1
    bank[1:, 2:30, 18:22] = 60
    config = preset("spine", spacing_mm=4.0)
    # Ranks start from different weights: it is the trainer that makes them equal.
    torch.manual_seed(ranks.rank)
    trainer = Trainer(
        UNet(num_classes=4, base_features=4).to(ranks.device),
        RenderFeed(bank, config, seed=1, batch_size=4, ranks=ranks),
        ValidationSet.rendered(bank, config, 3, ranks),
        label_scheme(4),
        Plan(
            title="test",
            steps=steps,
            steps_per_epoch=3,
            batch_size=4,
            highest_rate=1e-3,
            weight_decay=0.01,
            bf16=False,
            decisive={},
            snapshot_file=folder / "last.pth",
            log_file=folder / "log.csv",
        ),
        ranks,
        lambda step, dice: None,
    )
    trainer.run(resume=False)
    return trainer


if __name__ == "__main__":
    output, count = Path(sys.argv[1]), int(sys.argv[2])
    with join_ranks("cpu") as here:
        trained = train(here, output, count)
        output.mkdir(parents=True, exist_ok=True)
        state = {"network": trained.network.state_dict(), "dice": trained.progress.best}
        torch.save(state, output / f"rank{here.rank}.pt")
