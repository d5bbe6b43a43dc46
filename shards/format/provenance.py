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
import SimpleITK as sitk
import torch

PACKAGES = ("gen", "shards", "train", "eval")
SOURCE = Path(__file__).resolve()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value, hexadecimal; the order of keys has no effect."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def identity_difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Sorted names of the entries in which two identities differ."""
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def made_with() -> dict[str, str]:
    """Versions of the software, and the kind of machine."""
    return {
        "synthspine": metadata.version("synthspine"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "simpleitk": sitk.Version.VersionString(),
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


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
