"""What a run does: how many steps, of what, and where its files lie."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthspine.train.model.deep_supervision import COARSE_LEVELS

# Short epochs are not all validated: rendering and scoring would take the time of the steps.
LEAST_STEPS_BETWEEN_VALIDATIONS = 100


class TrainingError(ValueError):
    """A training cannot start or go on; the text is one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        title: name of the model, for the progress bar.
        steps: steps of the run.
        steps_per_epoch: steps of an epoch.
        batch_size: samples of a step, all ranks together.
        accumulate: parts in which a rank's share of a batch goes through the network.
        highest_rate: learning rate after the warm-up.
        weight_decay: of AdamW.
        ema_decay: largest decay of the average of the weights; 0 for no average.
        structure_loss: weight of the loss on structures; 0 for none.
        balanced: whether the loss lifts small classes at first; a network that knows them needs it not.
        coarse_levels: levels that answer too in training, at most; 0 for the finest alone.
        bf16: whether the network runs under bf16 autocast.
        compiled: whether the network is compiled.
        run_identity: configuration and digests of inputs, JSON-ready; a snapshot with another is refused.
        code: ``shards.format.provenance.code_state``; a resume under other code logs a warning.
        validated_on: digest of what the validation samples are made of; scores on others cannot be compared.
        stem: beginning of the paths of all files, such as ``models/saved/model_a_synthetic``.
        snapshot_minutes: a snapshot is due when the last one is as old as this.
        board: whether TensorBoard's files are written.
    """

    title: str
    steps: int
    steps_per_epoch: int
    batch_size: int
    accumulate: int = 1
    highest_rate: float
    weight_decay: float
    ema_decay: float
    structure_loss: float = 0.0
    balanced: bool = True
    coarse_levels: int = COARSE_LEVELS
    bf16: bool
    compiled: bool = False
    run_identity: dict[str, Any]
    code: dict[str, str] = field(default_factory=dict)
    validated_on: str = ""
    stem: Path
    snapshot_minutes: float = 5.0
    board: bool = False

    @property
    def steps_between_validations(self) -> int:
        """Whole epochs, together at least ``LEAST_STEPS_BETWEEN_VALIDATIONS`` steps."""
        return self.steps_per_epoch * math.ceil(LEAST_STEPS_BETWEEN_VALIDATIONS / self.steps_per_epoch)

    @property
    def validations(self) -> int:
        """How often the run is validated."""
        return math.ceil(self.steps / self.steps_between_validations)

    def is_end_of_epoch(self, step: int) -> bool:
        """Whether an epoch, or the run, ends with ``step`` steps done."""
        return step % self.steps_per_epoch == 0 or step == self.steps

    def is_validated(self, step: int) -> bool:
        """Whether the weights are validated when ``step`` steps are done."""
        return step % self.steps_between_validations == 0 or step == self.steps

    def file(self, ending: str) -> Path:
        """A file of the run; ``ending`` is ``best.pth``, ``log.csv`` or the like."""
        return file_of(self.stem, ending)


def file_of(stem: Path, ending: str) -> Path:
    """A file of the run whose paths begin with ``stem``."""
    return stem.with_name(f"{stem.name}_{ending}")
