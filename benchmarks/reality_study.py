"""What the study is asked to do."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reality_arms import REFERENCE, Arm
from benchmarks.reality_choices import all_arms
from benchmarks.reality_patients import FIXED, fold_numbers
from benchmarks.reality_slices import Places


@dataclass(frozen=True, kw_only=True)
class Study:
    """Train arms of the study and score them on real slices."""

    arms: str = ""
    """Names of arms, with commas between; default: all, or those of the group."""
    group: str = ""
    """Groups of arms, with commas between (see the command list)."""
    seeds: str = "0"
    """Seeds, with commas between."""
    steps: int = 500
    """Steps of a run; some arms take a multiple of them."""
    batch_size: int = 4
    """Samples of a step."""
    fold: str = FIXED
    """fixed: the split file's train and validation patients; or folds over both of them: all, or numbers."""
    folds: int = 4
    """Number of folds."""
    csv: Path = Path("benchmarks/results/reality_gap.csv")
    """Where the results are gathered."""
    keep_old: bool = False
    """Count a run as done whatever generator and code it was made with, if it was trained as the arm says."""
    jobs: int = 1
    """Runs at a time, each in a process of its own."""
    device: str = "auto"
    """auto, cpu or cuda."""
    places: Places = dataclasses.field(default_factory=Places)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "jobs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.folds < 2:
            raise ValueError(f"folds {self.folds} must be at least 2")
        self.chosen()
        self.chosen_seeds()
        fold_numbers(self.fold, self.folds)

    def chosen(self) -> list[Arm]:
        """The arms that were asked for; the reference, with which all are compared, is always the first.

        Raises:
            ValueError: no such arm or group.
        """
        known = all_arms()
        names, groups = _listed(self.arms), _listed(self.group)
        there = {arm.group for arm in known.values()}
        for kind, asked, those in (("arm", names, set(known)), ("group", groups, there)):
            if unknown := [name for name in asked if name not in those]:
                raise ValueError(f"no {kind} is called {', '.join(unknown)}; see the command list")
        every = not names and not groups
        return [
            arm
            for arm in known.values()
            if every or arm.name in names or arm.group in groups or arm.name == REFERENCE
        ]

    def chosen_seeds(self) -> list[int]:
        """The seeds.

        Raises:
            ValueError: not whole numbers from 0 on.
        """
        if not all(text.isdecimal() for text in _listed(self.seeds)) or not _listed(self.seeds):
            raise ValueError(f"--seeds {self.seeds!r}: want whole numbers with commas between")
        return [int(text) for text in _listed(self.seeds)]


def _listed(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]
