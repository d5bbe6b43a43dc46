"""Training: the U-Net, its loss, feeding, the distributed loop, checkpoints."""

if __name__ != "synthspine.train":
    raise ImportError("this package is imported as synthspine.train, not as train")


from typing import TYPE_CHECKING

from synthspine.lazy import on_first_use

if TYPE_CHECKING:
    from synthspine.train.decoding import dice, overlap_counts
    from synthspine.train.model.checkpoint import Checkpoint, CheckpointError, load_model
    from synthspine.train.model.unet import UNet

__all__ = ["Checkpoint", "CheckpointError", "UNet", "dice", "load_model", "overlap_counts"]

__getattr__ = on_first_use(__name__)
