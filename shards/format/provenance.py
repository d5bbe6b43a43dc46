"""With what a set was made: what the bytes depend on beyond its identity."""

import platform
from importlib import metadata

import numpy as np
import SimpleITK as sitk
import torch


def made_with() -> dict[str, str]:
    """Versions of the software, and the kind of machine."""
    return {
        "synthspine": metadata.version("synthspine"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "simpleitk": sitk.Version.VersionString(),
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
