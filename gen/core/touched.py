"""Steps of a rendering run on the samples that they change, and on no others."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from synthspine.gen.core.device import move
from synthspine.gen.core.drawing import Feature
from synthspine.gen.core.feature import Batch

_Drawn = Mapping[type[Feature[Any]], Batch | None]

GREATEST_PICKED_SHARE = 0.8
"""If a larger share of the samples is changed, the whole batch takes no longer than picking them."""


class Steps:
    """Calls steps with the parameters of their features, on the samples that these change.

    Which samples a feature changes is known where its parameters lie on the CPU. Elsewhere a step runs on the
    whole batch, because looking would wait for the device. The result is the same bit for bit.

    Args:
        drawn: the parameters that were drawn for each feature, None where it is left out.
        moved: the same on the device where the steps run.
    """

    def __init__(self, drawn: _Drawn, moved: _Drawn) -> None:
        self._params = moved
        self._touched = {kind: None if own is None else _on_host(own) for kind, own in drawn.items()}

    def __call__(self, step: Callable[..., Tensor], first: Tensor, *arguments: Any) -> Tensor:
        """``step(first, *arguments)``, with the parameters of the features in place of their classes.

        Args:
            step: gives ``first`` itself for samples that its features do not change.
            first: what the step changes, ``(B, *grid)``.
            arguments: tensors and batches with one entry per sample, features (or tuples of features), and
                whatever is common to all samples.
        """
        kinds = [kind for each in arguments for kind in (each if isinstance(each, tuple) else (each,))]
        features = [kind for kind in kinds if isinstance(kind, type)]
        given = [self._filled(each) for each in arguments]
        drawn = [kind for kind in features if self._params[kind] is not None]
        if not drawn:
            return first
        touched = [self._touched[kind] for kind in drawn]
        if any(each is None for each in touched):
            return step(first, *given)
        changed = torch.stack([each for each in touched if each is not None]).any(0)
        # Each step takes the place of the one before, whose result nothing else needs.
        return where_changed(step, changed, first, *given, in_place=not first.requires_grad)

    def _filled(self, argument: Any) -> Any:
        if isinstance(argument, type):
            return self._params[argument]
        if isinstance(argument, tuple) and all(isinstance(each, type) for each in argument):
            return tuple(self._params[each] for each in argument)
        return argument


def where_changed(
    step: Callable[..., Tensor], changed: Tensor, first: Tensor, *arguments: Any, in_place: bool = False
) -> Tensor:
    """``step(first, *arguments)``, on a CPU only for the samples in which it changes ``first``.

    Args:
        step: gives ``first`` itself for the others.
        changed: which samples it changes, bool ``(B,)``.
        first: ``(B, *grid)``.
        arguments: tensors and batches with one entry per sample, and what is common to all samples.
        in_place: whether ``first`` may be changed.
    """
    if changed.device.type != "cpu" or torch.compiler.is_compiling():
        return step(first, *arguments)
    rows = changed.nonzero().flatten()
    if len(rows) > GREATEST_PICKED_SHARE * len(first):
        return step(first, *arguments)
    if not len(rows):
        return first
    (rows,) = move([rows], first.device)
    own = step(first.index_select(0, rows), *(_entries(each, rows, len(first)) for each in arguments))
    return first.index_copy_(0, rows, own) if in_place else first.index_copy(0, rows, own)


def _on_host(params: Batch) -> Tensor | None:
    """Which samples a feature changes, bool ``(B,)``; None where that is all, or not known on the host."""
    touched = params.touched()
    return touched if touched is not None and touched.device.type == "cpu" else None


def _entries(value: Any, rows: Tensor, samples: int) -> Any:
    """The entries of some samples; what is common to all of them is returned as it is."""
    if isinstance(value, tuple):
        return tuple(_entries(each, rows, samples) for each in value)
    if isinstance(value, Batch):
        return value.map(lambda column: column.index_select(0, rows))
    own = isinstance(value, Tensor) and value.dim() > 0 and len(value) == samples
    return value.index_select(0, rows) if own else value
