"""How commands end: with a status, and one line about what the user can mend."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from synthspine.shards.command import run_command

OF_A_GPU = (
    "CUDA out of memory. Tried to allocate 22.00 MiB. GPU 1 has a total capacity of 23.65 GiB of which "
    "11.06 MiB is free. Including non-PyTorch memory, this process has 23.60 GiB memory in use."
)


def raising(error):
    def work():
        raise error

    return work


def last_line(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_successful_work_has_status_0_and_is_silent(capsys):
    assert run_command(lambda: None) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ValueError("a.mha: wrong"), OSError("a.mha: wrong")])
def test_errors_of_the_user_are_one_line(capsys, error):
    assert run_command(raising(error)) == 1
    assert last_line(capsys) == "error: a.mha: wrong"


@pytest.mark.parametrize("name", ["mask.mha", Path("mask.mha"), b"mask.mha"])
def test_errors_of_the_system_are_told_without_a_number(capsys, name):
    assert run_command(raising(OSError(errno.EFBIG, "File too large", name))) == 1
    assert last_line(capsys) == "error: mask.mha: File too large"
    assert run_command(raising(OSError(errno.ENOSPC, "No space left on device"))) == 1
    assert last_line(capsys) == "error: No space left on device"


def test_an_interrupt_has_status_130():
    assert run_command(raising(KeyboardInterrupt())) == 130


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (OF_A_GPU, "the memory of GPU 1 ran out, 22.00 MiB more wanted, 11.06 MiB of 23.65 GiB free"),
        (OF_A_GPU.replace("11.06 MiB is", "0 bytes is"), "0 bytes of 23.65 GiB free"),
        ("CUDA error: out of memory\nmore", "the memory of GPU ran out; what"),
    ],
)
def test_out_of_memory_on_a_gpu_is_one_line_with_advice(capsys, text, reported):
    assert run_command(raising(torch.OutOfMemoryError(text)), less_memory="--render-batch lower") == 1
    line = last_line(capsys)
    assert line.startswith("error: ") and reported in line
    assert line.endswith("; what needs less: --render-batch lower")


@pytest.mark.parametrize("allocate", [torch.empty, np.empty], ids=["torch", "numpy"])
def test_out_of_memory_on_the_machine_is_one_line(capsys, allocate):
    assert run_command(lambda: allocate(2**58), less_memory="fewer") == 1
    line = last_line(capsys)
    assert line.startswith("error: the memory of this machine ran out (") and "llocate" in line
    assert line.endswith("; what needs less: fewer")


def test_errors_of_the_program_keep_their_traceback():
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run_command(raising(RuntimeError("shapes do not match")))


def test_errors_show_no_password_of_a_url(capsys):
    run_command(raising(ValueError("ftp://user:sesame@host/a: no such command; see http://b/c, a@b.org")))
    assert last_line(capsys) == "error: ftp://host/a: no such command; see http://b/c, a@b.org"
