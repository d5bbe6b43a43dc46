"""Try everything on a machine with one CUDA GPU, within some minutes, without a network.

    python benchmarks/gpu_proof.py [--minutes 8] [--out results/gpu-proof] [--real DIR] [--dry-run]

In this order: the CUDA tests, the generator eager, compiled and as CUDA graphs, training throughput, the
service, a training of Model A from the phantom, its Dice on real slices. Every step is a command of the
project; a step that fails or takes too long is noted, and the next one goes on. Run again, it goes on with
the steps that are not done. docs/gpu.md says what it writes.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Packages are imported from the repository, not from this folder.
ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch
import tyro

from benchmarks.label_maps import label_maps
from benchmarks.page import machine, markdown_table
from synthspine.gen import draw, preset, render
from synthspine.gen.core.anatomy import spider_values
from synthspine.gen.core.device import pick_device
from synthspine.shards.building.names import BANK, LABELS_VAL, SYNTHETIC
from synthspine.shards.command import run_command
from synthspine.shards.format.manifest import has_manifest, load_manifest
from synthspine.shards.readers.layouts import series_of
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.storage.opening import open_place

DONE = "done"
SUMMARY = "summary.md"
SETS = (BANK, LABELS_VAL, SYNTHETIC)
"""What Model A learns from, and is validated on."""
_GRACE_S = 20
"""Seconds that a stopped step has to end in good order."""
_ERROR_LINES = 15
_TRAINED_SHARE = 0.6
"""Share of the last training's time for its steps; the rest is for starting, compiling and validating."""
_USUAL_RATE = 100.0
"""Images per second of training where none were measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Try everything on a GPU."""

    minutes: float = 8.0
    """Time for all steps that are not done yet; the last ones get what the others leave."""
    out: Path = Path("results/gpu-proof")
    """Folder of the results; its "work" holds sets and models, and can be deleted."""
    real: Path | None = None
    """Folder with images and masks (docs/shards.md), on which the trained model is measured."""
    dry_run: bool = False
    """Do every step at toy size on the CPU; results go to the subfolder "dry-run"."""

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise ValueError(f"minutes {self.minutes} must be more than 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A command that is run and noted.

    Attributes:
        name: of the step and its files.
        weight: its part of the time, against the weights of the other steps that are not done.
        command: gives the command, made when its turn has come, for the seconds that it may take.
        keep: text files, beside what the command prints, that are copied to the results.
    """

    name: str
    weight: float
    command: Callable[[float], Sequence[str | Path]]
    keep: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a step: the content of NAME.json; what it printed is in NAME.txt."""

    state: str
    """``done``, or why it is not."""
    seconds: float
    command: list[str]
    error: str = ""
    """The last lines that a step printed that is not done."""


def run_steps(steps: Sequence[Step], out: Path, seconds: float, device: torch.device) -> bool:
    """Run the steps that are not done, write every outcome and the summary; whether all are done."""
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    waiting = [step for step in steps if not _is_done(step, out)]
    while waiting:
        step, left = waiting[0], end - time.monotonic()
        if left <= 0:
            print(f"no time is left for {', '.join(each.name for each in waiting)}; run it again", flush=True)
            break
        limit_s = left * step.weight / sum(each.weight for each in waiting)
        print(f"{step.name}: at most {limit_s:.0f} s", flush=True)
        outcome = run_step(step, out, limit_s)
        text = json.dumps(asdict(outcome), indent=1)
        (out / f"{step.name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{step.name}: {outcome.state}, {outcome.seconds:.0f} s", flush=True)
        _write_summary(steps, out, device)
        waiting = waiting[1:]
    _write_summary(steps, out, device)
    return all(_is_done(step, out) for step in steps)


def run_step(step: Step, out: Path, limit_s: float) -> Outcome:
    """Run a step for so many seconds at most, its output in NAME.txt."""
    start, log, command = time.monotonic(), out / f"{step.name}.txt", list[str]()
    state = DONE
    try:
        command = [str(word) for word in step.command(limit_s)]
        with log.open("w", encoding="utf-8") as printed:
            status = _run(command, printed, limit_s)
        if status is None:
            state = f"stopped after {limit_s:.0f} s"
        elif status:
            state = f"failed with status {status}"
        for path in step.keep:
            if path.exists():
                (out / step.name).mkdir(exist_ok=True)
                shutil.copy(path, out / step.name / path.name)
    except Exception as error:
        state = f"failed: {error}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    error = "" if state == DONE else "\n".join(lines[-_ERROR_LINES:])
    return Outcome(state=state, seconds=round(time.monotonic() - start, 1), command=command, error=error)


def _run(command: list[str], printed: object, limit_s: float) -> int | None:
    """Run a command in a process group of its own; its exit status, None where it took too long."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "10"}
    process = subprocess.Popen(
        command, stdout=printed, stderr=subprocess.STDOUT, cwd=ROOT, env=environment, start_new_session=True
    )  # type: ignore[call-overload]
    try:
        return int(process.wait(limit_s))
    except subprocess.TimeoutExpired:
        return None
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
                try:
                    process.wait(_GRACE_S)
                except subprocess.TimeoutExpired:
                    continue


def _outcome(step: Step, out: Path) -> Outcome | None:
    path = out / f"{step.name}.json"
    return Outcome(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def _is_done(step: Step, out: Path) -> bool:
    outcome = _outcome(step, out)
    return outcome is not None and outcome.state == DONE


def _write_summary(steps: Sequence[Step], out: Path, device: torch.device) -> None:
    rows, errors = [], list[str]()
    for step in steps:
        outcome = _outcome(step, out)
        if outcome is None:
            rows.append([step.name, "not begun", "", ""])
            continue
        files = [path for path in sorted((out / step.name).glob("*")) if path.suffix in (".md", ".csv")]
        names = ", ".join(str(path.relative_to(out)) for path in (out / f"{step.name}.txt", *files))
        rows.append([step.name, outcome.state, f"{outcome.seconds:.0f}", names])
        if outcome.error:
            errors.append(f"## {step.name}\n\n```\n{outcome.error}\n```")
    head = ["# GPU proof", f"{machine(device)}; torch {torch.__version__}.",
            markdown_table(["step", "state", "s", "files"], rows)]  # fmt: skip
    (out / SUMMARY).write_text("\n\n".join((*head, *errors)) + "\n", encoding="utf-8")


def steps_of(arguments: Arguments, out: Path) -> list[Step]:
    """The steps in their order; with ``dry_run`` at toy size on the CPU."""
    dry, work = arguments.dry_run, out / "work"
    device = ("--device", "cpu" if dry else "cuda")

    def script(name: str, *flags: object) -> list[str]:
        return [sys.executable, str(ROOT / name), *map(str, (*flags, *device))]

    def generator(kind: str, weight: float, *flags: str) -> Step:
        sizes = ("--quick", "--batches", "1") if dry else ("--batches", "64", "512", "2048")
        presets = ("synthseg",) if dry and kind != "eager" else ("synthseg", "spine")
        name = f"generator-{kind}"
        flags = (*sizes, "--repeats", "3", "--presets", *presets, *flags, "--output-dir", str(out / name))
        return Step(name=name, weight=weight, command=lambda _: script("benchmarks/generator.py", *flags))

    grid = ("--shape", "64", "64", "--spacing-mm", "4") if dry else ()
    sets = ("--use-dummy-data", "--phantom-labels", 4 if dry else 40, "--data-dir", work / "data")
    sets = (*sets, "--shards-dir", work / "sets", *grid)
    size = ("--base-features", 4, "--batch-size", 2) if dry else ("--base-features", 32, "--batch-size", 16)
    network = ("--model", "A", "--num-classes", 4, *size, *(() if dry else ("--compile",)))
    # Many steps, because the batches of 16 steps are rendered together.
    turns = ("--steps", 1, "--repeats", 1) if dry else ("--steps", 64, "--repeats", 3)
    stored = ("--synthetic-samples", 8 if dry else 2048)
    load = ("--shards", 1, "--seconds", 1) if dry else ("--shards", 12, "--seconds", 8)
    steps = [
        Step(name="cuda-tests", weight=90, command=lambda _: _cuda_tests()),
        generator("eager", 45, "--kinds", "eager"),
        generator("compiled", 90, "--kinds", "eager", "compiled", "--no-peers"),
        generator("graphs", 75, "--kinds", "eager", "graphs", "--no-peers"),
        Step(
            name="sets",
            weight=45,
            command=lambda _: script("shards/main.py", "--sets", *SETS, *stored, *sets),
        ),
        Step(
            name="training",
            weight=75,
            command=lambda _: script(
                "benchmarks/training.py", *turns, *stored, *network, *sets, "--output-dir", out / "training"
            ),
        ),
        Step(
            name="service",
            weight=45,
            command=lambda _: script(
                "benchmarks/service.py", *load, "--clients", 8, "--rounds", 1, "--output-dir", out / "service"
            ),
        ),
        Step(
            name="model-a0",
            weight=90,
            command=lambda seconds: script(
                *("train/main.py", *network, *sets, "--lr", 0.003, "--save-dir", work / "a0"),
                *("--no-tensorboard", "--resume", "auto", "--epochs"),
                1 if dry else epochs(out, work / "sets", seconds),
            ),
            keep=(work / "a0" / "model_a_synthetic_log.csv",),
        ),
    ]
    if arguments.real is not None or dry:
        steps.append(
            Step(
                name="real-slices",
                weight=30,
                command=lambda _: script(
                    *("eval/main.py", "--model", "A", "--model-dir", work / "a0", "--studies", "contrast"),
                    *_real_slices(arguments.real, work),
                    *("--shards-dir", work / "real-sets", "--output-dir", work / "real"),
                    *("--overlays", 0, *grid),
                ),
                # Of pictures nothing is kept: they show patients.
                keep=(work / "real" / "metrics.csv",),
            )
        )
    return steps


def _cuda_tests() -> list[str | Path]:
    files = [file for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.cuda" in file.read_text()]
    return [sys.executable, "-m", "pytest", "-m", "cuda", "-v", "-p", "no:cacheprovider", *files]


def epochs(out: Path, sets: Path, seconds: float) -> int:
    """How many epochs of the label maps in ``sets`` fit, at the rate that the step "training" measured.

    The number is kept in ``out``: a training that was stopped goes on only with the same one.
    """
    kept = out / "work" / "epochs.txt"
    if kept.is_file():
        return int(kept.read_text(encoding="utf-8"))
    rate = _USUAL_RATE
    for page in (out / "training").glob("training_*.md"):
        if row := re.search(
            r"rendered one batch ahead[^|]*\| ([\d,.]+) \|", page.read_text(encoding="utf-8")
        ):
            rate = float(row[1].replace(",", ""))
    place = open_place(sets / BANK)
    samples = load_manifest(place).samples if has_manifest(place) else 1000
    number = max(1, int(_TRAINED_SHARE * seconds * rate / samples))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(f"{number}\n", encoding="utf-8")
    return number


def _real_slices(real: Path | None, work: Path) -> list[str | Path]:
    """Flags for a folder of real slices, all patients of which are measured; toy slices where it is None."""
    if real is None:
        real = work / "toy"
        _write_toy_slices(real)
    patients = sorted({series.patient for series in series_of(real, on_error=lambda _: None)})
    split = work / "real_split.json"
    split.write_text(json.dumps({"train": [], "validation": patients, "test": []}), encoding="utf-8")
    return ["--data-dir", real.resolve(), "--split", split]


def _write_toy_slices(folder: Path) -> None:
    """Two patients in SPIDER layout: rendered slices of 4 mm, T1 and T2."""
    bank = label_maps((64, 64))
    for contrast in ("t1", "t2"):
        params = draw(preset(contrast, spacing_mm=4.0), 0, torch.arange(2), maps=len(bank))
        images, codes = render(bank, params)
        masks = spider_values()[codes.numpy()]
        for patient in range(2):
            for kind, values in (("images", images[patient].numpy()), ("masks", masks[patient, None])):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                write_mha(values, (4.0, 4.0, 4.0), "LPS", folder / kind / f"{patient + 1}_{contrast}.mha")


def _prove() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    # The step that runs is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    out = (arguments.out / "dry-run" if arguments.dry_run else arguments.out).resolve()
    device = pick_device("cpu" if arguments.dry_run else "cuda")
    (out / "work").mkdir(parents=True, exist_ok=True)
    done = run_steps(steps_of(arguments, out), out, 60 * arguments.minutes, device)
    print(f"wrote {out / SUMMARY}")
    if not done:
        raise ValueError(f"not every step is done; see {out / SUMMARY}, and run it again")


if __name__ == "__main__":
    sys.exit(run_command(_prove))
