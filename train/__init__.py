"""Training: the U-Net, its loss, feeding, the distributed loop, checkpoints."""

from train.checkpoint import Checkpoint, CheckpointError, load_model
from train.overlap import dice, overlap_counts
from train.unet import UNet

__all__ = ["Checkpoint", "CheckpointError", "UNet", "dice", "load_model", "overlap_counts"]
