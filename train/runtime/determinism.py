"""Deterministic kernels of torch for the length of a block, so that a run on CUDA repeats to the bit.

A CPU with the same number of threads needs none. An operation without such a kernel gives a warning.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_WORKSPACE = ":4096:8"


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Choose deterministic kernels inside the block; False changes nothing."""
    if not wanted:
        yield
        return
    kernels = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    # Read once, when the first matrix product runs on CUDA.
    os.environ.setdefault(CUBLAS_VARIABLE, CUBLAS_WORKSPACE)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(kernels, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
