"""What can be chosen about a training."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from gen import label_scheme
from shards.options import ShardOptions

ModelName = Literal["A", "B"]
FILE_STEMS: dict[ModelName, str] = {"A": "model_a_synthetic", "B": "model_b_real"}

# Choices that change neither the samples nor the steps: a run may be resumed with others.
_FREE = ("save_dir", "model", "resume", "precision", "validation_samples")
_SHARED_FREE = ("rebuild", "skip_bad", "device", "use_dummy_data", "samples_per_shard")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """How models are trained, and where they are saved."""

    save_dir: Path = Path("models/saved")
    """Where models, snapshots and logs are written."""
    model: Literal["A", "B", "both"] = "both"
    """A learns from synthetic images of label maps, B from real T1 images."""
    epochs: int = 20
    """Passes; one epoch is as many samples as there are training slices of label maps, for B too."""
    batch_size: int = 4
    """Samples of a step, all ranks together."""
    lr: float = 0.001
    """Highest learning rate: warm-up before it, a cosine after it."""
    num_classes: int = 14
    """Classes to tell apart: 14 (every vertebra and disc by rank) or 4 (vertebra, disc, canal)."""
    base_features: int = 8
    """Channels of the finest level of the U-Net."""
    weight_decay: float = 0.01
    """Decay of AdamW."""
    feed: Literal["render", "shards"] = "render"
    """Where the images of A come from: rendered inside the step, or read from the synthetic set."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the network; auto is bf16 where the hardware multiplies bf16."""
    validation_samples: int = 64
    """Samples of a validation, at most."""
    resume: bool = False
    """Go on from the last snapshot in the save folder, if there is one of a run with the same choices."""
    shards: tyro.conf.OmitArgPrefixes[ShardOptions] = field(default_factory=ShardOptions)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "base_features", "validation_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr {self.lr} must be a number greater than 0")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay {self.weight_decay} must not be negative")
        label_scheme(self.num_classes)

    @property
    def models(self) -> tuple[ModelName, ...]:
        """The models to train, in order."""
        return ("A", "B") if self.model == "both" else (self.model,)

    def file(self, model: ModelName, ending: str) -> Path:
        """A file of a model in the save folder; ``ending`` is ``best.pth``, ``last.pth`` or ``log.csv``."""
        return self.save_dir / f"{FILE_STEMS[model]}_{ending}"

    def to_dict(self) -> dict[str, Any]:
        """All choices, JSON-ready."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return values

    def decisive(self) -> dict[str, Any]:
        """The choices that determine samples and steps, JSON-ready; paths are judged by what lies there."""
        values = self.to_dict()
        shared = {name: value for name, value in values.pop("shards").items() if name not in _SHARED_FREE}
        own = {name: value for name, value in values.items() if name not in _FREE}
        return own | {name: value for name, value in shared.items() if not _is_place(name)}


def _is_place(name: str) -> bool:
    return name == "split" or name.endswith("_dir")
