"""What the study of the reality gap tries: every arm changes one choice of the reference.

The reference is the preset ``spine`` with the training of :class:`Training`.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.reality_inputs import INPUTS
from synthspine.gen import GeneratorConfig, config_from_text, preset
from synthspine.gen.config import config_hash
from synthspine.shards.format.sample import to_json
from synthspine.train.model.deep_supervision import COARSE_LEVELS
from synthspine.train.model.unet import LEVELS
from synthspine.train.options import TrainOptions

REFERENCE = "spine"
HASH_DIGITS = 12
_USUAL = TrainOptions()

Lesson = Literal["maps", "slices", "phantom", "mixed", "t1", "t1+t2"]
SYNTHETIC_LESSONS = ("maps", "slices", "phantom", "mixed")
"""Lessons whose images are rendered; the others are real images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How the network of an arm is trained.

    Attributes:
        learns_from: label maps of whole volumes ("maps"), of the very slices that B sees ("slices"), of the
            phantom ("phantom"), half phantom and half maps ("mixed"); real T1 slices, or T1 and T2.
        num_classes: 4, or 14, which are merged to 4 when they are scored.
        base_features: channels of the finest level.
        levels: levels of the U-Net.
        structure_loss: weight of the second loss that tells structures apart whatever their rank (with 4
            classes there is none).
        balanced: whether the loss lifts small classes at first.
        coarse_levels: levels that answer too in training.
        lr: highest learning rate.
        ema_decay: largest decay of the average of the weights; 0 for none.
        steps_factor: steps as a multiple of the study's.
        batch_factor: samples of a step as a multiple of the study's.
        input: what is done to every image before the network, an entry of ``INPUTS``.
        augmentation: of real images, "ordinary" or "strong".
        start: arm whose weights are where the training begins; "" for random ones.
        shots: how many real T1 slices there are to learn from; 0 for all.
    """

    learns_from: Lesson = "maps"
    num_classes: int = 4
    base_features: int = _USUAL.base_features
    levels: int = LEVELS
    structure_loss: float = _USUAL.structure_loss
    balanced: bool = True
    coarse_levels: int = COARSE_LEVELS
    lr: float = 0.003
    ema_decay: float = _USUAL.ema_decay
    steps_factor: float = 1.0
    batch_factor: float = 1.0
    input: str = "as stored"
    augmentation: Literal["ordinary", "strong"] = "ordinary"
    start: str = ""
    shots: int = 0

    def __post_init__(self) -> None:
        if self.input not in INPUTS:
            raise ValueError(f"input {self.input!r}: there are {', '.join(INPUTS)}")

    @property
    def renders(self) -> bool:
        """Whether the images are rendered."""
        return self.learns_from in SYNTHETIC_LESSONS


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One row of the study.

    Attributes:
        name: its name.
        group: what it belongs to.
        question: what it answers, one line.
        changes: what it changes of the generator, nested like the files of ``--preset``.
        preset: what is changed.
        training: how the network is trained.
    """

    name: str
    group: str
    question: str
    changes: dict[str, Any] = field(default_factory=dict)
    preset: str = REFERENCE
    training: Training = Training()

    def generator(self, spacing_mm: float = 1.0) -> GeneratorConfig:
        """The configuration of the generator.

        Raises:
            TypeError: a change is of the wrong kind.
            ValueError: a change names nothing that there is, or is out of bounds.
        """
        try:
            return config_from_text(to_json(self.changes), preset(self.preset, spacing_mm=spacing_mm))
        except (TypeError, ValueError) as error:
            raise type(error)(f"arm {self.name}: {error}") from error

    def generator_hash(self, spacing_mm: float = 1.0) -> str:
        """Short hash of the generator's configuration; "-" where nothing is rendered."""
        uses = self.training.renders or self.training.start
        return config_hash(self.generator(spacing_mm))[:HASH_DIGITS] if uses else "-"

    def settings(self, spacing_mm: float = 1.0) -> dict[str, Any]:
        """Everything that the arm is made of, JSON-ready; arms with equal settings train the same network."""
        return self._settings_with(self.generator_hash(spacing_mm))

    def settings_hash(self, spacing_mm: float = 1.0) -> str:
        """Short hash of :meth:`settings`."""
        return self.settings_hash_with(self.generator_hash(spacing_mm))

    def settings_hash_with(self, generator: str) -> str:
        """What :meth:`settings_hash` would be if :meth:`generator_hash` were ``generator``."""
        return hashlib.sha256(to_json(self._settings_with(generator)).encode()).hexdigest()[:HASH_DIGITS]

    def _settings_with(self, generator: str) -> dict[str, Any]:
        return {"generator": generator, **dataclasses.asdict(self.training)}
