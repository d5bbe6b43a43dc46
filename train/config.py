"""Configuration of a training: the options of the command line, and the plan of one run made from them."""

import dataclasses
import json
import math
import textwrap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from synthspine.gen import LabelScheme, label_scheme
from synthspine.gen.core.schemes import RANKS, SCHEMES
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.storage.auth import without_credentials
from synthspine.train.losses import DEFAULT_LOSS, LOSSES, describe_losses, find_loss
from synthspine.train.model.unet import LEVELS, MOST_LEVELS

ModelName = Literal["A", "B"]
FILE_STEMS: dict[ModelName, str] = {"A": "model_a_synthetic", "B": "model_b_real"}

# Options that change neither samples nor steps beyond rounding; of start_from the plan adds the digest.
_FREE = (
    *("save_dir", "model", "resume", "precision", "validation_samples", "accumulate", "start_from"),
    *("compile", "deterministic", "snapshot_minutes", "tensorboard", "dry_run"),
)
_SHARED_FREE = ("rebuild", "skip_bad", "strict", "device", "use_dummy_data", "samples_per_shard")

LEAST_STEPS_BETWEEN_VALIDATIONS = 100
"""Short epochs are not all validated: rendering and scoring would take the time of the steps."""


class TrainingError(ValueError):
    """A training cannot start or go on; the text is one line."""


@dataclass(frozen=True, kw_only=True)
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
    num_classes: int | None = None
    """Classes to tell apart: 14 (every vertebra and disc by rank), 4 (vertebra, disc, canal) or 5 (these and
    the sacrum); None: 14, or those of --scheme."""
    scheme: str | None = None
    """Label scheme: its name (ranks, structures, spine) or a YAML file, instead of --num-classes."""
    base_features: int = 8
    """Channels of the finest level of the U-Net."""
    levels: int = LEVELS
    """Levels of the U-Net; the sides of the slices must be multiples of 2^(levels - 1)."""
    start_from: Path | None = None
    """Checkpoint whose weights the training begins with, to fine-tune it; a network of half the base features
    is widened."""
    weight_decay: float = 0.01
    """Decay of AdamW."""
    feed: Literal["render", "shards"] = "render"
    """Where the images of A come from: rendered inside the step, or read from the synthetic set."""
    augmentation: Literal["ordinary", "strong"] = "ordinary"
    """Augmentation of Model B's images; strong also changes contrast between tissues, and resolution."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the network; auto is bf16 where the hardware multiplies bf16."""
    validation_samples: int = 64
    """Samples of a validation, at most."""
    accumulate: int = 1
    """Parts in which a batch goes through the network: less memory, the same steps."""
    ema_decay: float = 0.999
    """Decay of the average of the weights that is validated and saved; less early on; 0 for no average."""
    loss: Annotated[str, tyro.conf.arg(metavar="|".join(LOSSES), help=describe_losses())] = DEFAULT_LOSS
    structure_loss: float = 1.0
    """Weight of a second loss that tells structures apart whatever their rank; 0 for none. Classes that are
    structures (--num-classes 4) have no second loss."""
    compile: bool = False
    """Compile the network: slower to start, faster on a GPU."""
    deterministic: bool = False
    """Use deterministic kernels on CUDA; a CPU needs none."""
    resume: Literal["auto", "never"] = "never"
    """auto: go on from the newest good snapshot with the same options, or start anew if there is none. A run
    that torchrun restarts goes on in any case."""
    snapshot_minutes: float = 5.0
    """Save the state at least that often, besides after every validation."""
    tensorboard: bool = True
    """Write curves and pictures for TensorBoard."""
    dry_run: bool = False
    """Make the sets that are missing, try a batch, print what a run would do and take, and save nothing."""
    shards: tyro.conf.OmitArgPrefixes[ShardOptions] = field(default_factory=ShardOptions)

    def __post_init__(self) -> None:
        counts = ("epochs", "batch_size", "base_features", "validation_samples", "accumulate")
        limits = {name: (getattr(self, name) >= 1, "be at least 1") for name in counts} | {
            "ema_decay": (0 <= self.ema_decay < 1, "be 0 or more, and less than 1"),
            "snapshot_minutes": (self.snapshot_minutes > 0, "be more than 0"),
            "lr": (0 < self.lr < math.inf, "be a number greater than 0"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "not be negative"),
            "structure_loss": (0 <= self.structure_loss < math.inf, "not be negative"),
            "levels": (2 <= self.levels <= MOST_LEVELS, f"be 2 to {MOST_LEVELS}"),
        }
        for name, (possible, wanted) in limits.items():
            if not possible:
                raise ValueError(f"{name} {getattr(self, name)} must {wanted}")
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate {self.accumulate} must not be more than the {self.batch_size} samples of a batch"
            )
        find_loss(self.loss)
        scheme = self.label_scheme
        if self.num_classes not in (None, scheme.num_classes):
            raise ValueError(
                f"--num-classes {self.num_classes}, but --scheme {self.scheme} has {scheme.num_classes} "
                "classes; give one of the two"
            )
        object.__setattr__(self, "num_classes", scheme.num_classes)
        stride, shape = 2 ** (self.levels - 1), self.shards.grid.shape
        if any(size % stride for size in shape):
            raise ValueError(
                f"levels {self.levels}: slices of {shape} must have sides that are multiples of {stride}"
            )

    @cached_property
    def label_scheme(self) -> LabelScheme:
        """What the classes mean: that of ``scheme`` or ``num_classes``; a file is read once."""
        return label_scheme(self.scheme or self.num_classes or RANKS.name)

    @property
    def structure_weight(self) -> float:
        """Weight of the second loss: 0 for classes that are structures already."""
        return 0.0 if self.label_scheme.are_structures else self.structure_loss

    @property
    def models(self) -> tuple[ModelName, ...]:
        """The models to train, in order."""
        return ("A", "B") if self.model == "both" else (self.model,)

    def file(self, model: ModelName, ending: str) -> Path:
        """A file of a model in the save folder; ``ending`` is ``best.pth``, ``log.csv``, ``config.json``."""
        return self.save_dir / f"{FILE_STEMS[model]}_{ending}"

    def to_dict(self) -> dict[str, Any]:
        """All choices, JSON-ready; a scheme of a file is whole, one of the project has its classes alone.

        The passwords of URLs are left out.
        """
        choices = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        values: dict[str, Any] = without_credentials(choices)
        scheme = self.label_scheme
        return values | {"scheme": None if scheme in SCHEMES.values() else scheme.to_dict()}

    def run_identity(self) -> dict[str, Any]:
        """Options that determine samples and steps, JSON-ready, without paths; a resume needs the same."""
        values = self.to_dict() | {"structure_loss": self.structure_weight}
        shared = {name: value for name, value in values.pop("shards").items() if name not in _SHARED_FREE}
        own = {name: value for name, value in values.items() if name not in _FREE}
        scheme = own.pop("scheme")
        if scheme is not None:  # text, because the order of the classes counts
            own["scheme"] = json.dumps(scheme)
        places = {name for name in shared if name == "split" or name.endswith(("_dir", "layout"))}
        return own | {name: value for name, value in shared.items() if name not in places}

    def summary(self) -> str:
        """Every option in some lines of text, as ``name value``; the preset stands for the generator."""
        values = self.to_dict() | {"scheme": self.scheme}
        shared = values.pop("shards")
        grid = shared.pop("grid")
        words = (
            f"{name} {' x '.join(map(str, value)) if isinstance(value, list) else value}"
            for name, value in (values | grid | shared).items()
            if value is not None
        )
        text = "configuration: " + ", ".join(words)
        return textwrap.fill(text, 110, subsequent_indent="  ", break_on_hyphens=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The steps of one run, and where its files lie.

    Attributes:
        title: name of the model, for messages.
        steps, steps_per_epoch: steps of the run and of an epoch.
        batch_size: samples of a step, all ranks together.
        accumulate: parts in which a rank's share of a batch goes through the network.
        highest_rate: learning rate after the warm-up.
        weight_decay, ema_decay, loss, structure_loss: as in :class:`TrainOptions`; 0 for none.
        balanced: whether the loss lifts small classes at first, which a trained network does not need.
        bf16, compiled: whether the network runs under bf16 autocast, and whether it is compiled.
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
    loss: str = DEFAULT_LOSS
    structure_loss: float = 0.0
    balanced: bool = True
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

    def is_validated(self, step: int) -> bool:
        """Whether the weights are validated when ``step`` steps are done."""
        return step % self.steps_between_validations == 0 or step == self.steps

    def file(self, ending: str) -> Path:
        """A file of the run; ``ending`` is ``best.pth``, ``log.csv`` or the like."""
        return self.stem.with_name(f"{self.stem.name}_{ending}")
