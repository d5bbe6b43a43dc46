"""The same bits from the same run: torch's deterministic kernels for the length of a block.

On a CPU with the same number of threads every run repeats to the bit without this. On CUDA it chooses
slower kernels where fast ones add in any order, and warns of an operation that has no other.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_WORKSPACE = ":4096:8"


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Let torch choose deterministic kernels inside the block, and what it chose before after it.

    Args:
        wanted: False changes nothing.
    """
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
