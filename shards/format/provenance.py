"""Run identity: everything that determines a shard set, a training or a measurement, and a digest of it.

An identity is a dictionary of JSON-able values: configuration, digests of the inputs, versions, code. Sets,
training snapshots and cached measurements are compared by :func:`digest_of` and :func:`identity_difference`.
"""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("gen", "shards", "train", "eval")
SOURCE = Path(__file__).resolve()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value, hexadecimal; the order of keys has no effect."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def identity_difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Sorted names of the entries in which two identities differ."""
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def made_with() -> dict[str, str]:
    """Versions of the software, the kind of machine, and its arithmetic (:func:`arithmetic`)."""
    # These take seconds to load: not for --help, which needs digests alone.
    import SimpleITK as sitk
    import torch

    return {
        "synthspine": metadata.version("synthspine"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "simpleitk": sitk.Version.VersionString(),
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "arithmetic": arithmetic(),
    }


@cache
def arithmetic() -> str:
    """Digest of some results of the maths libraries, which have several code paths.

    The last bits depend on the path, and the path on the processor and on variables such as ``MKL_CBWR``,
    ``ATEN_CPU_CAPABILITY``, ``ONEDNN_MAX_CPU_ISA`` or ``OPENBLAS_CORETYPE``. The arrays are too small for the
    number of threads to matter.
    """
    import torch
    from torch.nn import functional

    steps = torch.arange(4096, dtype=torch.float32, device="cpu").reshape(64, 64) / 32
    waves, others = torch.sin(steps), torch.cos(steps * steps)
    values, rows = waves + 1.5, waves.numpy()
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        results = [
            *(torch.view_as_real(transform(others)) for transform in (torch.fft.fft2, torch.fft.rfft)),
            waves @ others,
            functional.conv2d(waves[None, None], others[None, None, :5, :5]),
            functional.grid_sample(
                others[None, None], torch.stack([waves, others], dim=-1)[None], align_corners=False
            ),
            *(each(values) for each in (torch.exp, torch.log, torch.sqrt, torch.tanh)),
            *(values**0.7, others.sum(dim=0), others.mean(dim=1)),
        ]
    arrays = [result.contiguous().numpy() for result in results]
    wide = rows.astype(np.float64)
    arrays += [rows @ rows, wide @ wide, np.exp(rows), np.log(wide + 1.5), wide.sum(axis=0)]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


@cache
def code_state(file: Path = SOURCE) -> dict[str, str]:
    """The code that runs, as it is at the first call; ``file`` is a source file of the project.

    Returns:
        ``"version"`` of the package. In a Git checkout also ``"commit"``, with ``-dirty`` appended if tracked
        files of the packages are modified; with modified files or untracked modules of the packages also
        ``"changes"``, their digest.
    """
    state = {"version": metadata.version("synthspine")}
    # A package installed inside another project's checkout is not tracked there.
    if _git(file, "ls-files", "--error-unmatch", "--", file.name) is None:
        return state
    commit = _git(file, "rev-parse", "HEAD")
    packages = [f":(top){package}/*" for package in PACKAGES]
    diff = _git(file, "diff", "--no-ext-diff", "--no-textconv", "--full-index", "HEAD", "--", *packages)
    modules = [f"{package}.py" for package in packages]
    untracked = _git(file, "ls-files", "--others", "--exclude-standard", "-z", "--", *modules)
    if commit is None or diff is None or untracked is None:
        return state
    paths = [file.parent / os.fsdecode(name) for name in untracked.split(b"\0") if name]
    contents = [
        diff,
        *(part for path in paths if path.is_file() for part in (bytes(path), path.read_bytes())),
    ]
    state["commit"] = commit.decode().strip() + ("-dirty" if diff else "")
    if any(contents):
        state["changes"] = digest_of([hashlib.sha256(content).hexdigest() for content in contents])
    return state


def _git(file: Path, *arguments: str) -> bytes | None:
    """Output of a Git command in the folder of a file; None if it fails or Git is not installed."""
    # Git hooks set GIT_DIR and similar variables, which select a repository regardless of the folder.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(file.parent), *arguments]
    try:
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
