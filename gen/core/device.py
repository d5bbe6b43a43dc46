"""The device of a name, copies to it, and the arithmetic of a program."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Given = ParamSpec("Given")
Result = TypeVar("Result")


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


def move(values: Sequence[Tensor], device: torch.device | str) -> list[Tensor]:
    """The tensors on a device. From the CPU they move in one copy per dtype, for which the CPU does not wait.

    On the device they are then views into one tensor per dtype.
    """
    device = torch.device(device)
    moved = list(values)
    groups: dict[torch.dtype, list[int]] = {}
    for place, value in enumerate(values):
        if value.device.type == "cpu" != device.type:
            groups.setdefault(value.dtype, []).append(place)
        else:
            moved[place] = value.to(device)
    for places in groups.values():
        sizes = [values[place].numel() for place in places]
        packed = torch.cat([values[place].reshape(-1) for place in places])
        if device.type == "cuda":
            # From pinned memory the device copies by itself.
            packed = torch.empty_like(packed, pin_memory=True).copy_(packed)
        for place, part in zip(places, packed.to(device, non_blocking=True).split(sizes), strict=True):
            moved[place] = part.view(values[place].shape)
    return moved


def start_copy(tensor: Tensor) -> Tensor:
    """Start a copy to the CPU without waiting for a GPU.

    The values are valid once an event recorded after this call has occurred.
    """
    if tensor.device.type == "cpu":
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def in_float32(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, computed in float32 whatever the program has chosen.

    ``torch.autocast`` and another default dtype end at its border, so that it answers the same everywhere.
    The default dtype belongs to the whole process: other threads see float32 while the function runs.
    """

    @wraps(function)
    def plain(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                with torch.autocast(kind, enabled=False):
                    return plain(*args, **kwargs)
        usual = torch.get_default_dtype()
        if usual is torch.float32:
            return function(*args, **kwargs)
        torch.set_default_dtype(torch.float32)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_default_dtype(usual)

    return plain
