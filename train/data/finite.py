"""Images that are not finite: told by name, and nothing is learned from them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import IGNORE

_CHUNK = 64


class FiniteImages:
    """Makes samples whose images hold NaN or infinities black, and their codes "not annotated".

    Such a sample counts for neither loss nor score, so the run goes on. Each is told once, in a line.

    Args:
        place: the set, for messages.
        tell: gets the lines.
    """

    def __init__(self, place: object, tell: Callable[[str], object]) -> None:
        self._place = place
        self._tell = tell
        self._told: set[str] = set()

    def clean(
        self, images: Tensor, codes: Tensor, records: Sequence[Mapping[str, Any]]
    ) -> tuple[Tensor, Tensor]:
        """The samples, or copies where one is changed.

        Args:
            images: float, shape ``(N, H, W)`` or ``(N, 1, H, W)``, on the CPU.
            codes: dense codes, uint8, shape ``(N, H, W)``.
            records: one of each sample.
        """
        # In chunks, because the check of a whole set would take as much memory as the set.
        finite = [chunk.isfinite().flatten(1).all(dim=1) for chunk in images.split(_CHUNK)]
        bad = ~torch.cat(finite)
        if not bad.any():
            return images, codes
        for index in bad.nonzero().flatten().tolist():
            self._name(records[index])
        images, codes = images.clone(), codes.clone()
        images[bad], codes[bad] = 0, IGNORE
        return images, codes

    def _name(self, record: Mapping[str, Any]) -> None:
        parts = (("", "source"), ("slice ", "slice"), ("sample ", "index"))
        name = ", ".join(f"{word}{record[entry]}" for word, entry in parts if entry in record)
        if name not in self._told:
            self._told.add(name)
            self._tell(
                f"warning: {self._place}: the image of {name or 'a sample'} has values that are not finite; "
                "nothing is learned from it (--rebuild writes the set anew)"
            )
