"""Decoding of compressed DICOM pixels in a process of its own, which alone ends where the library crashes."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_PROGRAM = """
import os, sys
import numpy as np
import SimpleITK as sitk
for file in sys.argv[1:]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    try:
        np.save(file + ".part.npy", sitk.GetArrayFromImage(reader.Execute()), allow_pickle=False)
        os.replace(file + ".part.npy", file + ".npy")
    except RuntimeError as error:
        with open(file + ".error", "w", encoding="utf-8", errors="replace") as told:
            told.write(str(error))
"""


def decode(files: Sequence[Path]) -> list[np.ndarray | RuntimeError]:
    """The pixels of files that hold nothing else, or the reason why they cannot be decoded.

    Args:
        files: DICOM files; beside each its array or its error is written.

    Returns:
        For each file integers as the library gives them, or an error with the text of the library. Where the
        process ends, the error of the file it was at names the signal or status, and the files after it are
        decoded by the next process.
    """
    rest, ended = list(files), dict[Path, RuntimeError]()
    while rest:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *map(str, rest)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        left = [file for file in rest if not _array(file).is_file() and not _error(file).is_file()]
        if done.returncode == 0 or not left:
            break
        ended[left[0]] = RuntimeError(f"the process that decodes them ended {_how(done.returncode)}")
        rest = left[1:]
    return [ended.get(file) or _result(file) for file in files]


def _result(file: Path) -> np.ndarray | RuntimeError:
    if _error(file).is_file():
        return RuntimeError(_error(file).read_text(encoding="utf-8"))
    found: np.ndarray = np.load(_array(file), allow_pickle=False)
    return found


def _array(file: Path) -> Path:
    return file.with_name(file.name + ".npy")


def _error(file: Path) -> Path:
    return file.with_name(file.name + ".error")


def _how(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"by signal {-status}"
