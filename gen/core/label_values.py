"""Label values that users' maps may hold, and their dense codes."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthspine.gen.core.anatomy import (
    CODES,
    IGNORE,
    POSTERIOR_OFFSET,
    VALID_CODES,
    codes_of_spider,
    spider_values,
)
from synthspine.gen.core.schemes import POSTERIOR_CODES, LabelScheme, label_scheme

Labels = str | int | Path | LabelScheme
"""Values of label maps: ``dense``, ``spider``, or a label scheme, see :func:`gen.label_scheme`."""


def scheme_of(labels: Labels) -> LabelScheme | None:
    """The label scheme of values; None for ``dense`` and ``spider``, which keep every code.

    Raises ValueError for no such scheme.
    """
    if isinstance(labels, LabelScheme):
        return labels
    if labels in ("dense", "spider"):
        return None
    try:
        return label_scheme(labels)
    except ValueError as error:
        raise ValueError(f"{error}; label maps may also be 'dense' or 'spider'") from error


def label_tables(labels: Labels) -> tuple[Tensor, Tensor]:
    """Dense code of every label value (int16, -1 where unknown), and label value of every dense code.

    A class of several codes is read as the first of them, posterior elements as their vertebra.

    Raises:
        ValueError: no such scheme.
    """
    every = torch.arange(CODES, dtype=torch.uint8)
    scheme = scheme_of(labels)
    if scheme is not None:
        codes = scheme.decode(every).short()
        codes[scheme.num_classes : IGNORE] = -1
        posterior = torch.isin(codes, torch.tensor(POSTERIOR_CODES))
        codes[posterior] -= POSTERIOR_OFFSET
        return codes, scheme.encode(every)
    if labels == "dense":
        codes = torch.full((CODES,), -1, dtype=torch.int16)
        codes[list(VALID_CODES)] = torch.tensor(VALID_CODES, dtype=torch.int16)
        return codes, every
    values = torch.from_numpy(spider_values())
    values[IGNORE] = IGNORE
    return torch.from_numpy(codes_of_spider()), values


def as_tensor(values: np.ndarray | Tensor) -> Tensor:
    """A tensor of the same numbers; arrays may be views with any strides, and of either byte order."""
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
