"""Where networks err on real slices: arches, lowest disc, sacrum, top, end of the canal, islands, names.

    python benchmarks/failure_modes.py CHECKPOINT [CHECKPOINT ...] --shards-dir DIR
                                       [--sets real_t1_val,real_t2_val] [--output FILE.md]

Prints a table for every set with a row for every checkpoint, and writes it to the file that is named. The
page defines the measures of ``benchmarks/failure_measures.py``.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

# Packages are imported from the repository, not from this folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import tyro

from benchmarks.failure_measures import (
    AREAS,
    MEASURES,
    Share,
    disc_heights,
    rows_by_brightness,
    slice_measures,
)
from benchmarks.page import markdown_table, page, save
from synthspine.eval.labelling.roles import ROLES, roles_of, scheme_roles
from synthspine.eval.metrics.instances import InstanceCounts, count_instances
from synthspine.eval.metrics.statistics import defined, mean
from synthspine.eval.metrics.table import DICE
from synthspine.eval.metrics.tally import Tally
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.models import Candidate, model_facts
from synthspine.gen.core.anatomy import BACKGROUND, CODES, IGNORE
from synthspine.gen.core.device import pick_device
from synthspine.shards.building.names import VALIDATION_IMAGES
from synthspine.shards.command import run_command
from synthspine.train.config import ModelName
from synthspine.train.decoding import likeliest_classes
from synthspine.train.model.checkpoint import TrainedUNet, load_model

BATCH = 8
LARGE_CM2 = 1.0
THIN_QUANTILE = 0.25
LARGE = f"scans > {LARGE_CM2:g} cm2"
OVERALL, DARK, BRIGHT = "overall", "dark rows", "bright rows"
DEFINITIONS = {
    OVERALL: "mean Dice of vertebra, disc and canal, of those that the label scheme of the model has",
    DARK: "the same in the darker half of the rows with a true structure, by the mean of their pixels",
    BRIGHT: "the same in the brighter half of these rows",
    **MEASURES,
    LARGE: "scans with a slice with more than that area, of those in which the measure is defined",
    "scans named": "scans in which every true vertebra of ranks 1 to 6 is found under its right number, as "
    "eval/predict.py would number them",
    "vertebrae named": "vertebrae found under their right numbers, of all of those ranks",
}
"""Meaning of every column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure where networks err on real slices."""

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Models that the trainer saved."""
    shards_dir: Path
    """Folder of the sets."""
    sets: str = ",".join((VALIDATION_IMAGES["t1"], VALIDATION_IMAGES["t2"]))
    """Sets of real slices in that folder, separated by commas."""
    output: Path | None = None
    """Markdown file to write; without it the tables are only printed."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks run."""

    def __post_init__(self) -> None:
        if not self.checkpoints:
            raise ValueError("no checkpoint given; name files that the trainer saved")
        if not self.names:
            raise ValueError(f"--sets {self.sets!r} names no set")

    @property
    def names(self) -> list[str]:
        """Names of the sets."""
        return [name.strip() for name in self.sets.split(",") if name.strip()]


@torch.inference_mode()
def row(model: TrainedUNet, batches: SliceBatches, device: torch.device) -> dict[str, str]:
    """Measure a network, on its device and in evaluation mode, on a set; its cells by head of the column."""
    scheme, spacing = model.scheme, (batches.spacing_mm, batches.spacing_mm)
    # Structures without a class in the scheme are left out, like pixels without annotation.
    unknown = [code for code in range(CODES) if roles_of(code) not in (BACKGROUND, *scheme_roles(scheme))]
    thin_mm = thin_height(batches)
    names = ("background", *ROLES)
    tallies = {name: Tally(names, spacing, metrics=[DICE], rates=[]) for name in (OVERALL, DARK, BRIGHT)}
    shares: list[dict[str, Share]] = []
    volumes: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    scans = [str(record["source"]) for record in batches.records]
    for images, codes, patients in batches:
        classes = likeliest_classes(model(images.to(device)), scheme).cpu()
        roles = roles_of(scheme.decode(classes).numpy())
        truths = np.where(np.isin(codes.numpy(), unknown), np.uint8(IGNORE), roles_of(codes.numpy()))
        for index, patient in enumerate(patients):
            own, truth = classes[index].numpy(), codes[index].numpy()
            volumes[scans[len(shares)]].append((own, truth))
            shares.append(slice_measures(roles[index], truth, spacing, thin_mm))
            dark, bright = rows_by_brightness(images[index, 0].numpy(), truth)
            for name, rows in {OVERALL: np.ones_like(dark), DARK: dark, BRIGHT: bright}.items():
                target = np.where(rows[:, None], truths[index], np.uint8(IGNORE))
                pair = (torch.from_numpy(each[None]) for each in (roles[index], target))
                tallies[name].add(*pair, [patient])
    dices = {name: tally.dices() for name, tally in tallies.items()}
    values = {
        patient: {name: mean(list(found[patient].values())) for name, found in dices.items()} | own
        for patient, own in patient_values(batches.patients, shares).items()
    }
    counts = []
    for slices in volumes.values():
        own, truth = (np.stack(part) for part in zip(*slices, strict=True))
        counts.append(count_instances(own, truth, scheme, spacing))
    named = [entry.rank_right == entry.truth for entry in counts if entry.truth]
    total = sum(counts, InstanceCounts())
    return cells(values, scans, shares) | {
        "scans named": f"{sum(named)} of {len(named)}",
        "vertebrae named": f"{total.rank_right} of {total.truth}",
    }


def thin_height(batches: SliceBatches) -> float:
    """Largest height in mm of the lowest quarter of the true discs of a set; nan without discs."""
    spacing = (batches.spacing_mm, batches.spacing_mm)
    codes = (truth for _, label, _ in batches for truth in label.cpu().numpy())
    heights = [height for truth in codes for height in disc_heights(truth, spacing).values()]
    return float(np.quantile(heights, THIN_QUANTILE)) if heights else float("nan")


def patient_values(
    patients: Sequence[str], shares: Sequence[Mapping[str, Share]]
) -> dict[str, dict[str, float]]:
    """Every measure of every patient, the shares of all slices added; nan where it is not defined."""
    sums = {patient: dict.fromkeys(MEASURES, Share()) for patient in patients}
    for patient, found in zip(patients, shares, strict=True):
        for name, share in found.items():
            sums[patient][name] = sums[patient][name].plus(share)
    return {patient: {name: share.value for name, share in own.items()} for patient, own in sums.items()}


def scans_with_large(name: str, scans: Sequence[str], shares: Sequence[Mapping[str, Share]]) -> str:
    """Number of scans with a slice whose area is above ``LARGE_CM2``, of those that define the measure."""
    large: dict[str, bool] = {}
    for scan, found in zip(scans, shares, strict=True):
        if name in found:
            large[scan] = large.get(scan, False) or found[name].part > LARGE_CM2
    return f"{sum(large.values())} of {len(large)}"


def cells(
    values: Mapping[str, Mapping[str, float]], scans: Sequence[str], shares: Sequence[Mapping[str, Share]]
) -> dict[str, str]:
    """Means over patients by measure, with n where not all patients define it, and scans with large areas."""
    found = {}
    for name in next(iter(values.values()), {}):
        known = list(defined({patient: own[name] for patient, own in values.items()}).values())
        middle, is_area = mean(known), name in AREAS
        number = f"{middle:.2f}" if is_area or middle >= 1 else f"{middle:.3f}".lstrip("0")
        head = f"{name}, cm2" if is_area else name
        found[head] = (number if known else "–") + ("" if len(known) == len(values) else f" n {len(known)}")
        if is_area:
            found[f"{name}: {LARGE}"] = scans_with_large(name, scans, shares)
    return found


def load(path: Path, device: torch.device, sets: Mapping[str, SliceBatches]) -> Candidate:
    """A network that may be measured on the sets; errors of ``load_model`` and ``Candidate.check_set``."""
    model = load_model(path, device)
    name = cast(ModelName, model.checkpoint.model)
    candidate = Candidate(name=name, model=model, facts=model_facts(path, model))
    for batches in sets.values():
        candidate.check_set(batches.patients, batches.spacing_mm)
    return candidate


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    sets = {name: SliceBatches(arguments.shards_dir / name, BATCH) for name in arguments.names}
    if empty := [name for name, batches in sets.items() if not batches.slices]:
        raise ValueError(f"{arguments.shards_dir / empty[0]}: the set holds no slices")
    candidates = [load(path, device, sets) for path in arguments.checkpoints]
    names = ["/".join(path.parts[-2:]) for path in arguments.checkpoints]
    parts = []
    for name, batches in sets.items():
        found = [row(each.model, batches, device) for each in candidates]
        rows = [[checkpoint, *own.values()] for checkpoint, own in zip(names, found, strict=True)]
        scans = len({record["source"] for record in batches.records})
        parts += [
            f"## {name}: {len(set(batches.patients))} patients, {scans} scans, {batches.slices} slices",
            markdown_table(["checkpoint", *found[0]], rows),
            f"Thin discs are up to {thin_height(batches):.1f} mm high.",
        ]
    models = [
        f"- {each.facts.checkpoint}: {len(each.facts.classes)} classes, step {each.facts.step:,}, "
        f"SHA-256 {each.facts.sha256[:12]}"
        for each in candidates
    ]
    parts += [
        *("## Checkpoints", "\n".join(models), "## Measures"),
        "The shares of all slices of a patient are added, the means are over patients; n is their number "
        "where a measure is not defined for all. Pixels without annotation are left out.",
        "\n".join(f"- **{name}**: {meaning}." for name, meaning in DEFINITIONS.items()),
    ]
    save(page("Where networks err on real slices", device, parts), arguments.output)


if __name__ == "__main__":
    sys.exit(run_command(_measure))
