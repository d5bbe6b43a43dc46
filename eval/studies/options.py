"""What can be chosen about an evaluation."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from synthspine.eval.results.outcome import (
    CONTINUUM,
    CONTRAST,
    IN_PLANE,
    PHYSICAL,
    SYNTHETIC,
    THROUGH_PLANE,
    VALIDATION,
)
from synthspine.eval.studies.corrupt import CORRUPTIONS
from synthspine.gen.core.anatomy import label_scheme
from synthspine.shards.building.options import ShardOptions
from synthspine.train.options import ModelName, TrainOptions

DEFAULT_MODEL_DIR = TrainOptions().save_dir
CORRUPTION_STUDIES = {f"corruption_{kind}": kind for kind in CORRUPTIONS}
"""Kind of corruption by study."""
STUDIES = (CONTRAST, SYNTHETIC, IN_PLANE, THROUGH_PLANE, *CORRUPTION_STUDIES, CONTINUUM, PHYSICAL)
GROUPS = {
    "all": STUDIES,
    "resolution": (IN_PLANE, THROUGH_PLANE),
    "corruption": tuple(CORRUPTION_STUDIES),
    "gap": (CONTRAST, SYNTHETIC),
}
"""Studies that go by one name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """Strength of the corruptions; the unchanged image is measured too. Numbers, separated by commas."""

    noise: str = "0.05,0.1,0.2"
    """Standard deviation of Rician noise in either channel, share of full scale."""
    bias: str = "0.2,0.4,0.8"
    """Standard deviation of the logarithm of the bias field."""
    motion: str = "1,2,4"
    """Length of each of two sudden movements while k-space is read, mm."""
    ghosting: str = "0.05,0.1,0.2"
    """Amplitude of each ghost, share of the picture."""

    def __post_init__(self) -> None:
        for kind in CORRUPTIONS:
            self.of(kind)

    def of(self, kind: str) -> tuple[float, ...]:
        """Levels of a kind of corruption, ascending, 0 the first."""
        return numbers_of(f"levels.{kind}", getattr(self, kind), least=0.0, always=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """Which models are measured, on what, and where the report goes."""

    model_dir: Path = DEFAULT_MODEL_DIR
    """Where the trainer saved the models."""
    output_dir: Path = Path("results/evaluation_results")
    """Where measurements, figures and the report are written; what was measured is kept in its "cache"."""
    model: Literal["A", "B", "both", "compare"] = "both"
    """Which models; compare adds the section on the reality gap, A against B."""
    part: Literal["validation", "test"] = VALIDATION
    """Which patients of the split are measured. The test patients are for the end, once: their sets are only
    made, and their files only read, for "test"; take another --output-dir to keep both reports."""
    num_classes: int | None = None
    """Number of classes that the checkpoints must have, 14 or 4; default: whatever each checkpoint says."""
    studies: tuple[str, ...] = ("all",)
    """What is measured: contrast, synthetic, resolution_in_plane, resolution_through_plane, corruption_noise,
    corruption_bias, corruption_motion, corruption_ghosting, continuum, physical; or all, resolution,
    corruption, gap (contrast and synthetic)."""
    resolution_factors: str = "1.0,2.0,3.0,4.0"
    """Pixel size, and thickness of slices, over their own, at least 1, separated by commas."""
    levels: Levels = field(default_factory=Levels)
    continuum_steps: int = 5
    """Contrasts from T1 to T2 on rendered maps, both ends counted."""
    slices_per_patient: int = 3
    """Slices of each patient in the studies on slice thickness, corruption and rendered maps, spread evenly;
    0 for all. Contrast and in-plane resolution always take all."""
    overlays: int = 6
    """Worst cases shown of each set."""
    quick: bool = False
    """One slice of each patient, and the ends of every list alone: to see that it runs."""
    fresh: bool = False
    """Measure again what is in the cache (known by checkpoint, set, input, code and versions)."""
    refresh_analysis: Path | None = None
    """Text, such as ANALYSIS_REPORT.md, whose marked tables are written anew from what was measured."""
    batch_size: int = 8
    """Slices that are segmented at once."""
    shards: tyro.conf.OmitArgPrefixes[ShardOptions] = field(default_factory=ShardOptions)

    def __post_init__(self) -> None:
        for name, least in (
            ("batch_size", 1),
            ("continuum_steps", 2),
            ("slices_per_patient", 0),
            ("overlays", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)} must be at least {least}")
        if self.num_classes is not None:
            label_scheme(self.num_classes)
        if not self.factors:
            raise ValueError("resolution_factors is empty; give numbers of at least 1, such as 1.0,2.0")
        if not self.chosen_studies:
            raise ValueError(f"studies is empty; choose of all, {', '.join(STUDIES)}")

    @property
    def factors(self) -> tuple[float, ...]:
        """The resolution factors to measure, ascending, each once."""
        return self.ends(self.every_factor)

    @property
    def every_factor(self) -> tuple[float, ...]:
        """The resolution factors that were asked for, ascending, each once."""
        return numbers_of("resolution_factors", self.resolution_factors, least=1.0)

    def corruption_levels(self, kind: str) -> tuple[float, ...]:
        """Levels of a kind of corruption, ascending, 0 the first."""
        return self.ends(self.levels.of(kind))

    @property
    def steps(self) -> int:
        """Contrasts of the continuum."""
        return 2 if self.quick else self.continuum_steps

    @property
    def per_patient(self) -> tuple[int, int]:
        """Slices of each patient where all are taken and where few are; 0 stands for all."""
        return (1, 1) if self.quick else (0, self.slices_per_patient)

    @property
    def chosen_studies(self) -> tuple[str, ...]:
        """The studies, each once, in the order of ``STUDIES``.

        Raises:
            ValueError: a name that is none.
        """
        wanted: set[str] = set()
        for name in self.studies:
            if name not in GROUPS and name not in STUDIES:
                raise ValueError(f"no study is called {name}; there are {', '.join((*GROUPS, *STUDIES))}")
            wanted |= set(GROUPS.get(name, (name,)))
        return tuple(study for study in STUDIES if study in wanted)

    @property
    def models(self) -> tuple[ModelName, ...]:
        """The models to measure, in order."""
        if self.model == "both" or self.model == "compare":
            return ("A", "B")
        return (self.model,)

    def ends(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """The first and the last of a list where it is to be quick, else the list."""
        return values if not self.quick or len(values) < 2 else (values[0], values[-1])


def numbers_of(name: str, text: str, *, least: float, always: float | None = None) -> tuple[float, ...]:
    """Numbers of a list with commas, ascending, each once.

    Args:
        name: what an error calls the list.
        text: the list.
        least: smallest number allowed.
        always: a number that is added where it is not given.

    Raises:
        ValueError: an entry that is no finite number of at least ``least``.
    """
    numbers = set() if always is None else {always}
    for entry in (entry.strip() for entry in text.split(",")):
        if not entry:
            continue
        try:
            number = float(entry)
        except ValueError:
            number = -float("inf")
        if not least <= number < float("inf"):
            raise ValueError(f"{name}: {entry!r} is not a number of at least {least:g}")
        numbers.add(number)
    return tuple(sorted(numbers))
