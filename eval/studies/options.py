"""Options of an evaluation."""

import math
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
from synthspine.shards.building.options import ShardOptions
from synthspine.train.config import ModelName, TrainOptions

CORRUPTION_STUDIES = {f"corruption_{kind}": kind for kind in CORRUPTIONS}
"""Kind of corruption by study."""
STUDIES = (CONTRAST, SYNTHETIC, IN_PLANE, THROUGH_PLANE, *CORRUPTION_STUDIES, CONTINUUM, PHYSICAL)
GROUPS = {
    "all": STUDIES,
    "resolution": (IN_PLANE, THROUGH_PLANE),
    "corruption": tuple(CORRUPTION_STUDIES),
    "gap": (CONTRAST, SYNTHETIC),
}
"""Groups of studies by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """Levels of the corruptions, numbers separated by commas; the unchanged image is measured too."""

    noise: str = "0.05,0.1,0.2"
    """Standard deviation of Rician noise in either channel, share of full scale."""
    bias: str = "0.2,0.4,0.8"
    """Standard deviation of the logarithm of the bias field."""
    motion: str = "1,2,4"
    """Length of each of two sudden movements while k-space is read, mm."""
    ghosting: str = "0.05,0.1,0.2"
    """Amplitude of each ghost, share of the image."""

    def __post_init__(self) -> None:
        for kind in CORRUPTIONS:
            self.of(kind)

    def of(self, kind: str) -> tuple[float, ...]:
        """Levels of a kind of corruption, ascending, 0 the first."""
        return numbers_of(f"levels.{kind}", getattr(self, kind), least=0.0, always=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """The models, the studies and the output of an evaluation."""

    model_dir: Path = TrainOptions().save_dir
    """Folder of the trained models."""
    output_dir: Path = Path("results/evaluation_results")
    """Folder of measurements, figures and report; its "cache" keeps the measurements."""
    model: Literal["A", "B", "both", "compare"] = "both"
    """Which models; compare adds the section on the reality gap, A against B."""
    part: Literal["validation", "test"] = VALIDATION
    """Measured patients of the split. The test patients are for one measurement at the end; their files are
    read only for "test". Another --output-dir keeps both reports."""
    num_classes: int | None = None
    """Required number of classes of the checkpoints, such as 14 or 4; default: any."""
    studies: tuple[str, ...] = ("all",)
    """Measured studies: contrast, synthetic, resolution_in_plane, resolution_through_plane, corruption_noise,
    corruption_bias, corruption_motion, corruption_ghosting, continuum, physical; or all, resolution,
    corruption, gap (contrast and synthetic)."""
    resolution_factors: str = "1.0,2.0,3.0,4.0"
    """Multiples of the pixel size and of the slice thickness, at least 1, separated by commas."""
    levels: Levels = field(default_factory=Levels)
    continuum_steps: int = 5
    """Number of contrasts from T1 to T2 on rendered maps, both ends included."""
    slices_per_patient: int = 3
    """Slices of each patient, spread evenly, in the studies on slice thickness, corruption and rendered maps;
    0 for all. Contrast and in-plane resolution always take all."""
    overlays: int = 6
    """Number of worst cases of each set in the report."""
    quick: bool = False
    """One slice of each patient and only the ends of every list: a trial run."""
    fresh: bool = False
    """Ignore the cache (its keys are checkpoint, set, input, code and versions)."""
    refresh_analysis: Path | None = None
    """Text whose marked tables are replaced by the new ones, such as ANALYSIS_REPORT.md."""
    batch_size: int = 8
    """Slices per batch."""
    shards: tyro.conf.OmitArgPrefixes[ShardOptions] = field(default_factory=ShardOptions)

    def __post_init__(self) -> None:
        least_of = {"batch_size": 1, "continuum_steps": 2, "slices_per_patient": 0, "overlays": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)} must be at least {least}")
        if self.num_classes is not None and self.num_classes < 2:
            raise ValueError(f"num_classes {self.num_classes} must be at least 2")
        if not self.factors:
            raise ValueError("resolution_factors is empty; give numbers of at least 1, such as 1.0,2.0")
        if not self.chosen_studies:
            raise ValueError(f"studies is empty; choose of all, {', '.join(STUDIES)}")

    @property
    def factors(self) -> tuple[float, ...]:
        """The measured resolution factors, ascending, each once."""
        return self.ends(self.every_factor)

    @property
    def every_factor(self) -> tuple[float, ...]:
        """All resolution factors, ascending, each once."""
        return numbers_of("resolution_factors", self.resolution_factors, least=1.0)

    def corruption_levels(self, kind: str) -> tuple[float, ...]:
        """Levels of a kind of corruption, ascending, 0 the first."""
        return self.ends(self.levels.of(kind))

    @property
    def steps(self) -> int:
        """Number of contrasts of the continuum."""
        return 2 if self.quick else self.continuum_steps

    @property
    def per_patient(self) -> tuple[int, int]:
        """Slices of each patient in studies on all slices and in those on few; 0 stands for all."""
        return (1, 1) if self.quick else (0, self.slices_per_patient)

    @property
    def chosen_studies(self) -> tuple[str, ...]:
        """The studies, each once, in the order of ``STUDIES``.

        Raises:
            ValueError: an unknown name.
        """
        known = {**GROUPS, **{study: (study,) for study in STUDIES}}
        for name in self.studies:
            if name not in known:
                raise ValueError(f"no study is called {name}; there are {', '.join(known)}")
        wanted = {study for name in self.studies for study in known[name]}
        return tuple(study for study in STUDIES if study in wanted)

    @property
    def models(self) -> tuple[ModelName, ...]:
        """The models to measure, in order."""
        return ("A", "B") if self.model == "both" or self.model == "compare" else (self.model,)

    def ends(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """The first and the last of the values with ``quick``, otherwise all."""
        return values if not self.quick or len(values) < 2 else (values[0], values[-1])


def numbers_of(name: str, text: str, *, least: float, always: float | None = None) -> tuple[float, ...]:
    """Numbers of a list with commas, ascending, each once, with ``always`` among them.

    Raises:
        ValueError: an entry is not a finite number of at least ``least``; the message has ``name``.
    """
    numbers = set() if always is None else {always}
    for entry in filter(None, map(str.strip, text.split(","))):
        try:
            number = float(entry)
        except ValueError:
            number = math.nan
        if not least <= number < math.inf:
            raise ValueError(f"{name}: {entry!r} is not a number of at least {least:g}")
        numbers.add(number)
    return tuple(sorted(numbers))
