"""Arithmetic of the network: bf16 where the hardware multiplies it, and deterministic kernels on request."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_WORKSPACE = ":4096:8"


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether the network runs under bf16 autocast; precision is ``auto``, ``bf16`` or ``fp32``."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def autocast(bf16: bool, device: torch.device) -> AbstractContextManager[None]:
    """The context in which the network runs; without bf16 it changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Choose deterministic kernels inside the block, so that a run on CUDA repeats to the bit.

    A CPU with the same number of threads needs none. An operation without such a kernel gives a warning.
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
