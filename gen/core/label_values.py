"""Label values that users' maps may hold, and their dense codes."""

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CODES, IGNORE, VALID_CODES, codes_of_spider, spider_values
from synthspine.gen.core.schemes import RANKS


def label_tables(labels: str) -> tuple[Tensor, Tensor]:
    """Dense code of every label value (int16, -1 where unknown), and label value of every dense code.

    Args:
        labels: ``"14"``, ``"dense"`` or ``"spider"``.

    Raises:
        ValueError: another name.
    """
    every = torch.arange(CODES, dtype=torch.uint8)
    if labels == "14":
        scheme = RANKS
        codes = scheme.decode(every).short()
        codes[scheme.num_classes : IGNORE] = -1
        return codes, scheme.encode(every)
    if labels == "dense":
        codes = torch.full((CODES,), -1, dtype=torch.int16)
        codes[list(VALID_CODES)] = torch.tensor(VALID_CODES, dtype=torch.int16)
        return codes, every
    if labels == "spider":
        values = torch.from_numpy(spider_values())
        values[IGNORE] = IGNORE
        return torch.from_numpy(codes_of_spider()), values
    raise ValueError(f"no label scheme is called {labels!r}; there are '14', 'dense', 'spider'")
