"""Ranks of a run: who am I, sums over all, and gradients that are sums over all.

Works under ``torchrun`` (gloo on CPU, nccl on CUDA) and alone, where every sum is the number itself.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gen.device import pick_device

# Rank 0 may build missing sets of real data while the others wait.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The place of this process among the processes of a run.

    Attributes:
        rank: number of this process, 0..world_size-1.
        world_size: number of processes.
        device: device of this process.
        restarted: torchrun started the processes again after one of them had failed.
    """

    rank: int
    world_size: int
    device: torch.device
    restarted: bool = False

    @property
    def is_main(self) -> bool:
        """True on the one rank that writes and prints."""
        return self.rank == 0

    def sum_(self, values: Tensor) -> Tensor:
        """Replace ``values`` by their sum over all ranks, and return them."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def send_state(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of rank 0."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Wait until all ranks have come here."""
        if self.world_size > 1:
            dist.barrier()

    def positions(self, step: int, batch_size: int) -> list[int]:
        """Positions in the stream of samples that this rank takes at a step; all ranks share a batch."""
        first = step * batch_size
        return list(range(first + self.rank, first + batch_size, self.world_size))


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    Args:
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ValueError: the device is unknown or not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    place = pick_device(device, local_rank if world_size > 1 else None)
    if world_size == 1:
        yield Ranks(rank=0, world_size=1, device=place, restarted=_was_restarted())
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(
            rank=dist.get_rank(),
            world_size=dist.get_world_size(),
            device=place,
            restarted=_was_restarted(),
        )
    finally:
        dist.destroy_process_group()


def _was_restarted() -> bool:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


class SharedGradients:
    """The gradients of a model in one flat buffer, summed over ranks by one call.

    The model here is small, so one sum after the backward pass costs less than the buckets of
    ``DistributedDataParallel``, and its order of additions is the same at every step, before and after a
    resume.

    Args:
        model: its parameters get views into the buffer as gradients. Move it to its device before.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        total = sum(parameter.numel() for parameter in parameters)
        self.buffer = torch.zeros(total, dtype=parameters[0].dtype, device=parameters[0].device)
        start = 0
        for parameter in parameters:
            # The strides of the parameter, so that autograd adds into the view and the optimiser stays fused.
            parameter.grad = self.buffer.as_strided(parameter.shape, parameter.stride(), start)
            start += parameter.numel()

    def clear(self) -> None:
        """Set all gradients to zero."""
        self.buffer.zero_()

    def clip_(self, largest_norm: float) -> Tensor:
        """Scale the gradients down to ``largest_norm`` where they are longer; returns the norm before."""
        norm = torch.linalg.vector_norm(self.buffer)
        self.buffer.mul_((largest_norm / norm.clamp(min=1e-12)).clamp(max=1))
        return norm
