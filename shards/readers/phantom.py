"""Writing the phantom as a folder in SPIDER layout."""

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from synthspine.gen.core.documents import MOST_BYTES, UnfitFile, parse_json, read_regular
from synthspine.gen.phantom.series import CONTRASTS, Contrast, phantom_mask, phantom_series
from synthspine.progress import progress_bar
from synthspine.shards.readers.folder import SpiderError, has_layout
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.storage.atomic import write_text

PHANTOM_PATIENTS = 12
PHANTOM_SEED = 0
PHANTOM_FOLDER = "phantom"
PHANTOM_LABELS_FOLDER = "phantom_labels"

# Larger than the ids of SPIDER, which end at 257, so that one split file can hold both.
FIRST_PATIENT = 1001
# Patients whose label maps are learned from differ from those with images.
FIRST_LABELS_PATIENT = 100_001

Job = tuple[Path, int, int, Contrast, bool]

_MARKER = "phantom.json"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def is_phantom(data_dir: Path) -> bool:
    """True if the folder was written by :func:`write_phantom`."""
    return (data_dir / _MARKER).is_file()


def write_phantom(
    data_dir: Path,
    patients: int = PHANTOM_PATIENTS,
    seed: int = PHANTOM_SEED,
    processes: int | None = None,
    *,
    images: bool = True,
) -> None:
    """Write the phantom's series as a folder in SPIDER layout; existing series are kept.

    These are T1 and T2 of every patient, ids from 1001 on, image and mask; without ``images`` the T1 masks
    alone, ids from 100001 on. The number of processes is by default that of the processors.

    Raises SpiderError if the folder holds a phantom of another seed, or something else.
    """
    wanted = {"seed": seed, "patients": patients}
    found = _marker(data_dir)
    if found.get("seed", seed) != seed:
        raise SpiderError(data_dir, f"holds the phantom of seed {found['seed']}, not {seed}; remove it first")
    if not found and has_layout(data_dir):
        raise SpiderError(data_dir, "holds other data; the phantom needs a folder of its own")
    first, contrasts = (FIRST_PATIENT, CONTRASTS) if images else (FIRST_LABELS_PATIENT, CONTRASTS[:1])
    jobs = [
        (data_dir, seed, patient, contrast, images)
        for patient in range(first, first + patients)
        for contrast in contrasts
        if not all(path.is_file() for path in _files(data_dir, patient, contrast)[1 - images :])
    ]
    if found.get("complete") and found.get("patients", 0) >= patients and not jobs:
        return
    write_text(data_dir / _MARKER, json.dumps(wanted | {"complete": False}) + "\n")
    count = min(processes or os.cpu_count() or 1, len(jobs))
    for _ in progress_bar(_run(jobs, count), total=len(jobs), desc="phantom", unit="series"):
        pass
    write_text(data_dir / _MARKER, json.dumps(wanted | {"complete": True}) + "\n")
    what = "in T1 and T2" if images else "as label maps"
    print(f"wrote the phantom, {patients} patients {what}, to {data_dir}", flush=True)


def _run(jobs: list[Job], processes: int) -> Iterator[None]:
    # More threads change the order of sums, and thus the last bits.
    if processes <= 1 and all(os.environ.get(name) == "1" for name in _THREADS):
        yield from map(_write, jobs)
        return
    # Spawned, because the threads of torch do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(processes, 1), context, _end_with_parent) as pool:
        with _one_thread_each():
            futures = [pool.submit(_write, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # Otherwise an interrupt would end the command only after all queued jobs.
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let this worker end as soon as its parent does, also if that is killed."""

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started in this block compute with one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name in _THREADS:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _write(job: Job) -> None:
    data_dir, seed, patient, contrast, images = job
    scan = phantom_series(seed, patient, contrast) if images else None
    series = phantom_mask(seed, patient, contrast) if scan is None else scan
    image, mask = _files(data_dir, patient, contrast)
    write_mha(series.mask, series.spacing_mm, series.storage, mask)
    if scan is not None:
        write_mha(scan.image, series.spacing_mm, series.storage, image)


def _files(data_dir: Path, patient: int, contrast: str) -> tuple[Path, Path]:
    name = f"{patient}_{contrast}.mha"
    return data_dir / "images" / "images" / name, data_dir / "masks" / "masks" / name


def _marker(data_dir: Path) -> dict[str, int]:
    """What the marker says; empty if there is none."""
    path = data_dir / _MARKER
    try:
        found = parse_json(read_regular(path, MOST_BYTES))
    except FileNotFoundError:
        return {}
    except (UnfitFile, ValueError):
        found = None
    kinds = {"seed": int, "patients": int, "complete": bool}
    if not isinstance(found, dict) or any(
        type(found.get(name, kind())) is not kind for name, kind in kinds.items()
    ):
        raise SpiderError(path, "is not the marker of a phantom; remove the folder")
    return found
