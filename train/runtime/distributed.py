"""Ranks of a run under ``torchrun`` (gloo on CPU, nccl on CUDA) or alone, and gradients summed over them.

One rank and two ranks give the same weights, to rounding: samples are functions of their place in the stream,
losses are sums over the samples of the global batch, and the network normalises every sample by itself.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from synthspine.gen.core.device import pick_device
from synthspine.shards.building.workers import Item, Workers, gather_objects

# All processes start at about the same time; this is also for slow file systems.
MEETING_PATIENCE = timedelta(minutes=10)
# Ranks that build missing sets of real data together wait for the slowest one.
BUILDING_PATIENCE = timedelta(hours=6)
# In a step ranks wait for a validation or a snapshot of rank 0 at most.
STEP_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks(Workers):
    """The place of this process among the processes of a run.

    Attributes:
        device: device of this process.
        restarted: torchrun started the processes again after one of them had failed.
        group: process group of the steps, whose time limit is short; None where this process is alone.
    """

    device: torch.device
    restarted: bool = False
    group: dist.ProcessGroup | None = None

    def sum_(self, values: Tensor) -> Tensor:
        """Replace ``values`` by their sum over all ranks, and return them."""
        if self.world_size > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def send_state(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of rank 0."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0, group=self.group)

    def from_main(self, make: Callable[[], Item]) -> Item:
        """What rank 0 makes, on all ranks; sent by rank 0 alone, as a snapshot can be large."""
        values: list[Any] = [make() if self.is_main else None]
        if self.world_size > 1:
            dist.broadcast_object_list(values, src=0, group=self.group, device=self.device)
        return cast(Item, values[0])

    def positions(self, step: int, batch_size: int) -> list[int]:
        """Positions in the stream of samples that this rank takes at a step; all ranks share a batch."""
        first = step * batch_size
        return list(range(first + self.rank, first + batch_size, self.world_size))


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    Raises:
        ValueError: the device (``auto``, ``cpu``, ``cuda``, ``cuda:1``) is unknown or not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    place = pick_device(device, local_rank if world_size > 1 else None)
    if world_size == 1:
        yield Ranks(rank=0, world_size=1, device=place, restarted=restarts > 0)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    store, rank, world_size = next(iter(dist.rendezvous("env://", timeout=MEETING_PATIENCE)))
    dist.init_process_group(
        "nccl" if place.type == "cuda" else "gloo",
        store=_fresh(store, world_size, restarts),
        rank=rank,
        world_size=world_size,
        timeout=BUILDING_PATIENCE,
    )
    try:
        yield Ranks(
            rank=dist.get_rank(),
            world_size=dist.get_world_size(),
            gather=gather_objects,
            device=place,
            restarted=restarts > 0,
            group=dist.new_group(timeout=STEP_PATIENCE),
        )
    finally:
        dist.destroy_process_group()


def _fresh(store: dist.Store, world_size: int, restarts: int) -> dist.Store:
    """A part of torchrun's store that no earlier attempt has written to.

    torchrun keeps one store over its restarts, so a fast rank can read addresses of ended processes (torch
    issue 135712). Several machines count their restarts separately; there
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment of torchrun gives every attempt a new store.
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", "0")) != world_size:
        return store
    return dist.PrefixStore(f"attempt {restarts}", store)


class SharedGradients:
    """The gradients of a model, and its loss, in one flat buffer that one call sums over ranks.

    For a small model this costs less than the buckets of ``DistributedDataParallel``, and the order of
    additions is the same at every step, before and after a resume.

    The parameters of the model, on its device, get views into ``buffer``, shape ``(parameters,)``, as
    gradients. ``loss`` is that of this rank, after :meth:`sum_` that of all ranks, a scalar.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        total = sum(parameter.numel() for parameter in parameters)
        self._shared = torch.zeros(total + 1, dtype=parameters[0].dtype, device=parameters[0].device)
        self.buffer, self.loss = self._shared[:total], self._shared[total]
        start = 0
        for parameter in parameters:
            # The strides of the parameter, so that autograd adds into the view and the optimiser stays fused.
            parameter.grad = self.buffer.as_strided(parameter.shape, parameter.stride(), start)
            start += parameter.numel()

    def clear(self) -> None:
        """Set gradients and loss to zero."""
        self._shared.zero_()

    def sum_(self, ranks: Ranks) -> None:
        """Replace gradients and loss by their sums over all ranks."""
        ranks.sum_(self._shared)

    def clip_(self, largest_norm: float) -> Tensor:
        """Scale the gradients down to ``largest_norm`` where they are longer; returns the norm before."""
        norm = torch.linalg.vector_norm(self.buffer)
        self.buffer.mul_((largest_norm / norm.clamp(min=1e-12)).clamp(max=1))
        return norm
