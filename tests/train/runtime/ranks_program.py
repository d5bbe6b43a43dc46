"""Trains a small network for some steps and saves what every rank ends with."""

import argparse
from pathlib import Path

import numpy as np
import torch

from synthspine.gen import label_scheme, preset
from synthspine.train.config import Plan
from synthspine.train.data.feed import RenderFeed
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks, join_ranks
from synthspine.train.runtime.stop import StopRequest, TrainingStopped
from synthspine.train.trainer import Trainer
from synthspine.train.validation import ValidationSet


class DoubleUNet(UNet):
    """In float64, where rounding is far below any real difference; Adam blows up that of float32."""

    def decode(self, image):
        return super().decode(image.double())


class SpoiltFeed(RenderFeed):
    """Asks the last rank to stop after one step, and spoils an image of the last rank in another."""

    stop = StopRequest()
    stop_after, spoilt_step = -1, -1

    def batch(self, step):
        images, codes = super().batch(step)
        mine = self.ranks.rank == self.ranks.world_size - 1
        if mine and step == self.spoilt_step:
            images[-1, 0, 0, 0] = float("nan")
        self.stop.requested |= mine and step == self.stop_after - 1
        return images, codes


def train(ranks: Ranks, options: argparse.Namespace) -> Trainer:
    bank = np.zeros((3, 32, 32), dtype=np.uint8)
    bank[:, 4:12, 8:16], bank[:, 12:15, 8:16], bank[:, 15:24, 8:16] = 2, 32, 1
    bank[1:, 2:30, 18:22] = 60
    config = preset("spine", spacing_mm=4.0)
    # Ranks start from different weights: it is the trainer that makes them equal.
    torch.manual_seed(ranks.rank)
    feed = SpoiltFeed(bank, config, seed=1, batch_size=4, ranks=ranks)
    feed.stop_after, feed.spoilt_step = options.stop_after, options.spoilt_step
    trainer = Trainer(
        DoubleUNet(num_classes=4, base_features=4).double(),
        feed,
        ValidationSet.rendered(bank, config, 3, ranks),
        label_scheme(4),
        Plan(
            title="test",
            steps=options.steps,
            steps_per_epoch=3,
            batch_size=4,
            accumulate=options.accumulate,
            highest_rate=1e-3,
            weight_decay=0.01,
            ema_decay=0.9,
            bf16=False,
            run_identity={},
            stem=options.output / "run",
        ),
        ranks,
        lambda ending, network, step, dice: None,
    )
    try:
        trainer.run(stop=feed.stop)
    except TrainingStopped as stopped:
        print(stopped)
    return trainer


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--stop-after", type=int, default=-1)
    parser.add_argument("--spoilt-step", type=int, default=-1)
    arguments = parser.parse_args()
    with join_ranks("cpu") as here:
        trained = train(here, arguments)
        arguments.output.mkdir(parents=True, exist_ok=True)
        state = {
            "network": trained.stepper.network.state_dict(),
            "average": trained.stepper.average.network.state_dict(),
            "step": trained.progress.step,
            "skipped": trained.progress.counts.skipped,
            "dice": trained.progress.best,
        }
        torch.save(state, arguments.output / f"rank{here.rank}.pt")
