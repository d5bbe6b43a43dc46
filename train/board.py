"""TensorBoard: the rows of the log as curves, and a picture per validation."""

from pathlib import Path

from torch import Tensor

from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.train.log import Epoch

EVENT_FILES = "events.out.tfevents.*"


class Board:
    """Event files of one run; ``tensorboard --logdir models/saved`` shows them.

    Args:
        folder: where the files lie; those of an earlier run are removed where this one starts anew.
        step: step from which the run goes on. What was written beyond it belongs to steps that will be done
            again, and TensorBoard is told to leave it out.
    """

    def __init__(self, folder: Path, step: int) -> None:
        # Slow to import, so only where it is used.
        from torch.utils.tensorboard import SummaryWriter

        if not step and folder.is_dir():
            for old in folder.glob(EVENT_FILES):
                old.unlink()
        purge = step + 1 if step else None
        self._writer = SummaryWriter(str(folder), purge_step=purge)

    def add(self, epoch: Epoch, picture: Tensor | None) -> None:
        """Add an epoch and the picture of its validation, uint8 ``(3, H, W)``, and write them to disk."""
        values = {
            "loss": epoch.loss,
            "learning_rate": epoch.learning_rate,
            "images_per_second": epoch.images_per_second,
            "skipped_steps": epoch.skipped,
        }
        if epoch.score is not None:
            values |= {f"dice/{name}": epoch.score.structures[name] for name in STRUCTURES}
            values["dice/mean"] = epoch.score.mean
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch.step)
        if picture is not None:
            self._writer.add_image("validation: image, truth, prediction", picture, epoch.step)
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()
