"""Where networks err on real slices: arches, lowest disc, sacrum, top, end of the sac, islands, names.

    python benchmarks/failure_modes.py CHECKPOINT [CHECKPOINT ...] --shards-dir DIR
                                       [--sets real_t1_val,real_t2_val] [--output FILE.md]

Prints a table for every set with a row for every checkpoint, and writes it where a file is named. The
measures are defined in ``benchmarks/failure_measures.py`` and told below the tables.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import tyro

from benchmarks.failure_measures import (
    MEASURES,
    THIN_QUANTILE,
    Share,
    Shares,
    disc_heights,
    rows_by_brightness,
    slice_measures,
)
from synthspine.eval.metrics.instances import InstanceCounts, count_instances
from synthspine.eval.metrics.overlap import (
    STRUCTURE_SCHEME,
    PatientTally,
    Score,
    group_structures,
    mean,
    mean_over_patients,
)
from synthspine.eval.report.tables import NOT_DEFINED, Cell, Row, Table, to_markdown
from synthspine.eval.report.tables import format_value as score
from synthspine.eval.results.cache import file_digest
from synthspine.eval.results.outcome import ModelFacts
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.models import Candidate
from synthspine.gen.core.anatomy import IGNORE, label_scheme
from synthspine.gen.core.device import pick_device
from synthspine.shards.building.sets import VALIDATION_IMAGES
from synthspine.shards.command import run_command
from synthspine.shards.storage.atomic import write_text
from synthspine.train.decoding import likeliest_classes
from synthspine.train.model.checkpoint import TrainedUNet, load_model
from synthspine.train.options import ModelName

BATCH = 8
MUCH_CM2 = 1.0
"""A scan with a slice with more than this area of an error is counted."""
DIGEST = 12
"""Characters of a checkpoint's SHA-256 that are shown."""
DARK, BRIGHT, OVERALL = "dark rows", "bright rows", "overall"
HALVES = {
    OVERALL: "mean Dice of vertebra, disc and canal, everywhere",
    DARK: "the same, in the darker half of the rows with a true structure, by the mean of their pixels",
    BRIGHT: "the same, in the brighter half of these rows",
}
MUCH = f"scans > {MUCH_CM2:g} cm2"
SCANS_NAMED, VERTEBRAE_NAMED = "scans named", "vertebrae named"
MEANINGS = {
    OVERALL: HALVES[OVERALL],
    **{kind.title: kind.meaning for kind in MEASURES.values()},
    MUCH: "scans with a slice with more than that of it, of those in which it is defined",
    DARK: HALVES[DARK],
    BRIGHT: HALVES[BRIGHT],
    SCANS_NAMED: "scans in which every true vertebra of ranks 1 to 6 is found under its right number, as "
    "eval/predict.py would number them (eval/instances.py)",
    VERTEBRAE_NAMED: "vertebrae found under their right numbers, of all of those ranks",
}
"""What every column tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure where networks err on real slices."""

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Models that the trainer saved."""
    shards_dir: Path
    """Folder of the sets."""
    sets: str = ",".join((VALIDATION_IMAGES["t1"], VALIDATION_IMAGES["t2"]))
    """Sets of real slices in that folder, with commas between them."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What was measured of one network on one set.

    Attributes:
        scores: mean over patients, and their number, by key of ``MEASURES`` and ``HALVES``.
        much: scans in which a slice has more than ``MUCH_CM2``, and all scans in which the measure is
            defined, by key of the areas in ``MEASURES``.
        named: scans in which every vertebra of the truth has its right name, and scans with vertebrae.
        instances: sums over all scans.
    """

    scores: Mapping[str, Score]
    much: Mapping[str, tuple[int, int]]
    named: tuple[int, int]
    instances: InstanceCounts


@torch.inference_mode()
def measure(model: TrainedUNet, batches: SliceBatches, device: torch.device) -> Found:
    """Measure a network on a set.

    Args:
        model: on the device, in evaluation mode.
        batches: the set, with slices.
        device: where the network runs.
    """
    scheme, spacing = label_scheme(model.num_classes), (batches.spacing_mm, batches.spacing_mm)
    thin_mm = thin_height(batches)
    tallies = {key: PatientTally(STRUCTURE_SCHEME.class_names) for key in HALVES}
    shares: list[Shares] = []
    volumes: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    scans = [str(record["source"]) for record in batches.records]
    for images, codes, patients in batches:
        classes = likeliest_classes(model(images.to(device)), scheme).cpu()
        answers = group_structures(classes, scheme)
        maps = (part.numpy() for part in (images[:, 0], codes, classes, answers))
        for patient, image, truth, own, answer in zip(patients, *maps, strict=True):
            volumes[scans[len(shares)]].append((own, truth))
            shares.append(slice_measures(answer, truth, spacing, thin_mm))
            _add_halves(tallies, patient, image, truth, answer)
    counts = []
    for slices in volumes.values():
        own, truth = (np.stack(part) for part in zip(*slices, strict=True))
        counts.append(count_instances(own, truth, scheme, spacing))
    named = [entry.rank_right == entry.truth for entry in counts if entry.truth]
    halves = {
        key: {patient: mean(list(dices.values())) for patient, dices in tally.per_patient().items()}
        for key, tally in tallies.items()
    }
    values = {
        patient: {**{key: of_patient[patient] for key, of_patient in halves.items()}, **own}
        for patient, own in patient_values(batches.patients, shares).items()
    }
    return Found(
        scores=mean_over_patients(values),
        much={key: scans_with_much(key, scans, shares) for key, kind in MEASURES.items() if kind.area},
        named=(sum(named), len(named)),
        instances=sum(counts, InstanceCounts()),
    )


def thin_height(batches: SliceBatches) -> float:
    """Height in mm that the lowest quarter of the true discs of a set do not exceed; nan without discs."""
    spacing = (batches.spacing_mm, batches.spacing_mm)
    codes = (batches.slice_at(index)[1].cpu().numpy() for index in range(batches.slices))
    heights = [height for truth in codes for height in disc_heights(truth, spacing).values()]
    return float(np.quantile(heights, THIN_QUANTILE)) if heights else float("nan")


def patient_values(patients: Sequence[str], shares: Sequence[Shares]) -> dict[str, dict[str, float]]:
    """Every measure of every patient: the counts of all slices added; nan where it is not defined."""
    sums: dict[str, dict[str, Share]] = {patient: dict.fromkeys(MEASURES, Share()) for patient in patients}
    for patient, found in zip(patients, shares, strict=True):
        for key, share in found.items():
            sums[patient][key] += share
    return {patient: {key: share.value for key, share in own.items()} for patient, own in sums.items()}


def scans_with_much(key: str, scans: Sequence[str], shares: Sequence[Shares]) -> tuple[int, int]:
    """Scans in which a slice has more than ``MUCH_CM2`` of an area, and those in which it is defined."""
    much: dict[str, bool] = {}
    for scan, found in zip(scans, shares, strict=True):
        if key in found:
            much[scan] = much.get(scan, False) or found[key].part > MUCH_CM2
    return sum(much.values()), len(much)


def table(name: str, batches: SliceBatches, found: Mapping[str, Found]) -> Table:
    """The table of a set.

    Args:
        name: of the set.
        batches: the set.
        found: what was measured, by file of the checkpoint.
    """
    patients, scans = len(set(batches.patients)), len({str(record["source"]) for record in batches.records})
    cells = [_cells(of_model, patients) for of_model in found.values()]
    rows: list[Row] = [
        (_short(path), *of_model.values()) for path, of_model in zip(found, cells, strict=True)
    ]
    return Table(
        name=name,
        title=f"{name}: {patients} patients, {scans} scans, {batches.slices} slices",
        head=("checkpoint", *cells[0]),
        rows=tuple(rows),
        note=f"Thin discs are up to {thin_height(batches):.1f} mm high.",
    )


def page(tables: Sequence[Table], models: Sequence[ModelFacts]) -> str:
    """Tables, checkpoints and definitions in Markdown."""
    lines = ["# Where networks err on real slices", ""]
    lines += ["```sh", f"python benchmarks/failure_modes.py {' '.join(sys.argv[1:])}", "```", ""]
    for each in tables:
        lines += [f"## {each.title}", "", to_markdown(each), ""]
    lines += ["## Checkpoints", ""]
    lines += [
        f"- {model.checkpoint}: {model.num_classes} classes, step {model.step:,}, "
        f"SHA-256 {model.sha256[:DIGEST]}"
        for model in models
    ]
    lines += [
        "",
        "## What is measured",
        "",
        "Counts of all slices of a patient are added, the means are over patients; n is given where a "
        "measure is not defined for all of them. Pixels that are not annotated are left out.",
        "",
        *(f"- **{title}**: {meaning}." for title, meaning in MEANINGS.items()),
        "",
    ]
    return "\n".join(lines)


def _cells(found: Found, patients: int) -> dict[str, Cell]:
    """What stands in a row, by head of the column."""
    cells = {OVERALL: _cell(found.scores[OVERALL], patients)}
    for key, kind in MEASURES.items():
        cells[kind.title] = _cell(found.scores[key], patients, area=kind.area)
        if kind.area:
            cells[f"{key}: {MUCH}"] = _of(*found.much[key])
    return cells | {
        DARK: _cell(found.scores[DARK], patients),
        BRIGHT: _cell(found.scores[BRIGHT], patients),
        SCANS_NAMED: _of(*found.named),
        VERTEBRAE_NAMED: _of(found.instances.rank_right, found.instances.truth),
    }


def _short(path: str) -> str:
    """Name and folder of a file."""
    return "/".join(Path(path).parts[-2:])


def _add_halves(
    tallies: Mapping[str, PatientTally],
    patient: str,
    image: np.ndarray,
    codes: np.ndarray,
    answer: np.ndarray,
) -> None:
    """Count a slice ``(H, W)``: all of it, and its dark and its bright rows."""
    dark, bright = rows_by_brightness(image, codes)
    truth = STRUCTURE_SCHEME.encode(torch.from_numpy(codes))
    for key, rows in {OVERALL: np.ones_like(dark), DARK: dark, BRIGHT: bright}.items():
        target = torch.where(torch.from_numpy(rows)[:, None], truth, IGNORE)
        tallies[key].add(torch.from_numpy(answer)[None], target[None], [patient])


def _cell(of_measure: Score, patients: int, *, area: bool = False) -> Cell:
    if not of_measure.n:
        return Cell(NOT_DEFINED, "n 0")
    text = f"{of_measure.dice:.2f}" if area else score(of_measure.dice)
    return Cell(text, "" if of_measure.n == patients else f"n {of_measure.n}")


def _of(count: int, total: int) -> Cell:
    return Cell(f"{count} of {total}")


def _load(path: Path, device: torch.device, sets: Mapping[str, SliceBatches]) -> Candidate:
    """A network that may be measured on the sets.

    Raises:
        CheckpointError: it cannot be read.
        EvaluationError: it was trained on one of the patients, or at another pixel size.
    """
    model = load_model(path, device)
    facts = ModelFacts(
        checkpoint=str(path),
        sha256=file_digest(path),
        num_classes=model.num_classes,
        parameters=model.count_parameters(),
        step=model.checkpoint.step,
        validation_dice=model.checkpoint.validation_dice,
        minutes=None,
        spacing_mm=model.checkpoint.spacing_mm,
    )
    candidate = Candidate(name=cast(ModelName, model.checkpoint.model), model=model, facts=facts)
    for batches in sets.values():
        candidate.refuse_patients(batches.patients)
        candidate.refuse_spacing(batches.spacing_mm)
    return candidate


def _run() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    sets = {name: SliceBatches(arguments.shards_dir / name, BATCH) for name in arguments.names}
    for name, batches in sets.items():
        if not batches.slices:
            raise ValueError(f"{arguments.shards_dir / name}: the set holds no slices")
    candidates = [_load(path, device, sets) for path in arguments.checkpoints]
    tables = [
        table(
            name,
            batches,
            {each.facts.checkpoint: measure(each.model, batches, device) for each in candidates},
        )
        for name, batches in sets.items()
    ]
    text = page(tables, [each.facts for each in candidates])
    print(text)
    if arguments.output is not None:
        write_text(arguments.output, text)
        print(f"wrote {arguments.output}")


def main() -> int:
    """Parse the command line, measure, tell; the exit status."""
    return run_command(_run)


if __name__ == "__main__":
    sys.exit(main())
