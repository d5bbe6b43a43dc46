"""Arithmetic of the network: bf16 where the hardware multiplies it, float32 elsewhere."""

from contextlib import AbstractContextManager

import torch


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
