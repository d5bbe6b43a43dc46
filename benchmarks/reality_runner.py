"""Doing the runs of the study that are not in the CSV, in one process or in several that share the work."""

import fcntl
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import reality_results as results
from benchmarks.reality_arms import REFERENCE, Arm
from benchmarks.reality_choices import all_arms
from benchmarks.reality_code import code_hash
from benchmarks.reality_patients import Fold, choose_folds
from benchmarks.reality_results import Row, RunKey
from benchmarks.reality_scoring import score
from benchmarks.reality_slices import Slices
from benchmarks.reality_study import Study
from benchmarks.reality_training import EMA, RAW, ImpossibleTask, Task, Trained, save, train
from synthspine.gen.core.device import keep_freed_memory, pick_device
from synthspine.train.model.checkpoint import CheckpointError, load_model
from synthspine.train.plan import TrainingError
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.runtime.stop import Stopped, StopRequest, watch_for_stop


def run_study(study: Study) -> None:
    """Run everything that is not done yet.

    Raises:
        KeyboardInterrupt: SIGTERM or Ctrl-C came; runs that were not finished left nothing.
        ValueError: the data cannot be used, or a run failed.
    """
    if study.jobs == 1:
        Runner(study).run()
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // study.jobs)
    with watch_for_stop() as stop:
        jobs = [
            context.Process(target=_job, args=(replace(study, jobs=1), threads)) for _ in range(study.jobs)
        ]
        for job in jobs:
            job.start()
        while not stop.asked and any(job.is_alive() for job in jobs):
            jobs[0].join(timeout=0.2)
            jobs[-1].join(timeout=0.2)
        for job in jobs:
            if stop.asked:
                job.terminate()
            job.join()
    if stop.asked:
        raise KeyboardInterrupt
    if bad := [job for job in jobs if job.exitcode]:
        raise ValueError(f"{len(bad)} of {study.jobs} jobs failed; see above")


def _job(study: Study, threads: int) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    try:
        Runner(study).run()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(0) from None


class Runner:
    """Runs the study in this process; several at once share the work by locks.

    Args:
        study: what is asked for.
    """

    def __init__(self, study: Study) -> None:
        self.code = code_hash()
        self.study = study
        self.slices = Slices(study.places)
        self.ranks = Ranks(rank=0, world_size=1, device=pick_device(study.device))
        self._work_dir = study.places.work_dir

    def tasks(self) -> list[Task]:
        """All runs that are asked for: seed by seed, fold by fold, arm by arm."""
        study = self.study
        folds = choose_folds(study.fold, self.slices.split, self.slices.with_images, study.folds)
        return [
            self._task(arm, fold, seed)
            for seed in study.chosen_seeds()
            for fold in folds
            for arm in study.chosen()
        ]

    def run(self) -> None:
        """Do every run that nobody did or does.

        Raises:
            KeyboardInterrupt: asked to stop.
            ValueError: a run failed; the others were done.
        """
        failed = []
        with watch_for_stop() as stop:
            for task in self.tasks():
                try:
                    self._do(task, stop)
                except ImpossibleTask as reason:
                    print(f"{task.arm.name} is left out: {reason}", flush=True)
                except (TrainingError, CheckpointError) as error:
                    print(f"{task.arm.name} failed: {error}", flush=True)
                    failed.append(task.arm.name)
                except Stopped as stopped:
                    print(f"{stopped}; the same command goes on", flush=True)
                    raise KeyboardInterrupt from None
        if failed:
            raise ValueError(f"failed: {', '.join(failed)}")

    def key(self, task: Task) -> RunKey:
        """What tells a run from others."""
        return RunKey(
            arm=task.arm.name,
            settings=task.arm.settings_hash(self.slices.spacing_mm),
            generator=task.arm.generator_hash(self.slices.spacing_mm),
            code=self.code,
            seed=task.seed,
            budget=task.budget,
            batch=task.batch,
            fold=task.fold.name,
        )

    def checkpoints(self, key: RunKey) -> dict[str, Path]:
        """Where the two kinds of weights of a run are kept."""
        return {kind: self._work_dir / "runs" / f"{key.file_stem}_{kind}.pth" for kind in (EMA, RAW)}

    def is_done(self, task: Task) -> bool:
        """Whether a run is in the CSV; with ``keep_old`` also one of another generator and other code."""
        key = self.key(task)
        there = {row.key for row in results.read(self.study.csv)}
        if not self.study.keep_old:
            return key in there
        # The settings hold the generator's hash, so they are compared as if it were that of the old run.
        return any(
            old.plain == key.plain and old.settings == task.arm.settings_hash_with(old.generator)
            for old in there
        )

    def rescore(self) -> None:
        """Score the runs anew whose lines and checkpoints are there, and say how many these were."""
        a_row_of = {row.key: row for row in results.read(self.study.csv)}
        tasks = self.tasks()
        scored = 0
        for task in tasks:
            key = self.key(task)
            old, paths = a_row_of.get(key), self.checkpoints(key)
            if old is None or not all(path.is_file() for path in paths.values()):
                continue
            weights = {kind: load_model(path, self.ranks.device) for kind, path in paths.items()}
            trained = Trained(weights=dict(weights), loss=old.loss, minutes=old.minutes, samples=old.samples)
            results.append(self.study.csv, self._rows(task, trained))
            scored += 1
            print(f"{task.title}: scored again", flush=True)
        print(f"{scored} of {len(tasks)} runs were scored again", flush=True)
        if scored < len(tasks):
            print(
                f"the others are not in {self.study.csv} with the present arm and code, "
                f"or their checkpoints are not in {self._work_dir / 'runs'}",
                flush=True,
            )

    def _task(self, arm: Arm, fold: Fold, seed: int) -> Task:
        return Task(arm=arm, fold=fold, seed=seed, budget=self.study.steps, batch=self.study.batch_size)

    def _do(self, task: Task, stop: StopRequest) -> None:
        """Do a run, unless it is done or another process is at it."""
        if self.is_done(task):
            return
        with self._claim(task, wait=False) as mine:
            if mine and not self.is_done(task):
                self._train(task, stop)

    def _train(self, task: Task, stop: StopRequest) -> None:
        """Train, keep the weights, score, and write the lines; the task is claimed."""
        trained = train(task, self.slices, self.ranks, stop, self._start(task, stop))
        save(task, trained, self.slices, self.checkpoints(self.key(task)))
        rows = self._rows(task, trained)
        results.append(self.study.csv, rows)
        plain = [row.overall for row in rows if row.factor == 1 and row.weights == EMA]
        known = [value for value in plain if value is not None]
        print(
            f"{task.title}: overall Dice {sum(known) / max(1, len(known)):.3f} after {task.steps} steps, "
            f"{trained.minutes:.1f} min",
            flush=True,
        )

    def _start(self, task: Task, stop: StopRequest) -> Path | None:
        """The checkpoint that a run goes on from; where it is missing, its arm is trained first."""
        if not task.arm.training.start:
            return None
        before = self._task(all_arms()[task.arm.training.start], task.fold, task.seed)
        path = self.checkpoints(self.key(before))[EMA]
        if not path.is_file():
            # Its lines may be there without it: made on another machine.
            with self._claim(before, wait=True):
                if not path.is_file():
                    self._train(before, stop)
        return path

    @contextmanager
    def _claim(self, task: Task, *, wait: bool) -> Iterator[bool]:
        """Hold a run for the length of the block; False where another process has it. The dead let go."""
        path = self._work_dir / "locks" / self.key(task).file_stem
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    def _rows(self, task: Task, trained: Trained) -> list[Row]:
        # The last weights, too, where all others are compared: it is the arm without an average.
        kinds = (EMA, RAW) if task.arm.name == REFERENCE else (EMA,)
        key = self.key(task)
        return [
            Row(
                key=key,
                group=task.arm.group,
                steps=task.steps,
                samples=trained.samples,
                loss=trained.loss,
                minutes=trained.minutes,
                weights=kind,
                contrast=found.contrast,
                factor=found.factor,
                patient=found.patient,
                own_mask=found.own_mask,
                dice=found.dice,
            )
            for kind in kinds
            for found in score(
                trained.weights[kind], task.arm.training.input, self.slices, task.fold, self.ranks.device
            )
        ]
