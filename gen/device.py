"""Where tensors live: the device of a name."""

import torch


def pick_device(name: str, local_rank: int | None = None) -> torch.device:
    """The device of that name; ``"auto"`` is CUDA where there is one.

    Args:
        name: ``"auto"`` or a device of torch.
        local_rank: number of this process on its machine, where several share the machine's GPUs.

    Raises:
        ValueError: the device is unknown or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        index = device.index if device.index is not None else (local_rank or 0)
        if index >= torch.cuda.device_count():
            raise ValueError(
                f"device cuda:{index} is not there: {torch.cuda.device_count()} CUDA device(s) found"
            )
        device = torch.device("cuda", index)
    return device
