"""What can be chosen about an evaluation."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from gen.anatomy import label_scheme
from shards.options import ShardOptions
from train.options import ModelName, TrainOptions

DEFAULT_MODEL_DIR = TrainOptions().save_dir


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """Which models are measured, on what, and where the report goes."""

    model_dir: Path = DEFAULT_MODEL_DIR
    """Where the trainer saved the models."""
    output_dir: Path = Path("results/evaluation_results")
    """Where metrics, figures and the report are written."""
    model: Literal["A", "B", "both", "compare"] = "both"
    """Which models; compare adds the section on the reality gap, A against B."""
    num_classes: int | None = None
    """Number of classes that the checkpoints must have, 14 or 4; default: whatever each checkpoint says."""
    resolution_factors: str = "1.0,2.0,3.0,4.0"
    """Pixel sizes of the degraded input over the grid's own, at least 1, separated by commas."""
    batch_size: int = 8
    """Slices that are segmented at once."""
    shards: tyro.conf.OmitArgPrefixes[ShardOptions] = field(default_factory=ShardOptions)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size {self.batch_size} must be at least 1")
        if self.num_classes is not None:
            label_scheme(self.num_classes)
        if not self.factors:
            raise ValueError("resolution_factors is empty; give numbers of at least 1, such as 1.0,2.0")

    @property
    def factors(self) -> tuple[float, ...]:
        """The resolution factors, ascending, each once."""
        texts = [text.strip() for text in self.resolution_factors.split(",") if text.strip()]
        factors = set()
        for text in texts:
            try:
                factor = float(text)
            except ValueError:
                factor = 0.0
            if not 1 <= factor < float("inf"):
                raise ValueError(f"resolution_factors: {text!r} is not a number of at least 1")
            factors.add(factor)
        return tuple(sorted(factors))

    @property
    def models(self) -> tuple[ModelName, ...]:
        """The models to measure, in order."""
        if self.model == "both" or self.model == "compare":
            return ("A", "B")
        return (self.model,)
