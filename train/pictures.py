"""Pictures of a validation: some of its samples, what they hold and what the network sees in them."""

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.gen.core.anatomy import STRUCTURE_COLOURS, STRUCTURES
from synthspine.train.decoding import to_structures
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.validation import ValidationSet, find_structures

COLUMNS = 4
FILL = 0.4
GAP = 2
WHITE = 255


def validation_picture(
    network: UNet, samples: ValidationSet, scheme: LabelScheme, ranks: Ranks, *, bf16: bool
) -> Tensor | None:
    """Three rows of the first samples: image, truth, prediction.

    Returns:
        uint8, shape ``(3, height, width)``, on the CPU; None where this rank has no samples.
    """
    images, codes = samples.images[:COLUMNS], samples.codes[:COLUMNS]
    if not len(images):
        return None
    found = find_structures(network, images, scheme, ranks, bf16=bf16)
    truth = to_structures(scheme.encode(codes), scheme)
    grey = images.float().clamp(0, 1).cpu()
    empty = torch.zeros_like(truth)
    rows = [painted(grey, structures.cpu()) for structures in (empty, truth, found)]
    return _grid(rows)


def painted(images: Tensor, structures: Tensor) -> Tensor:
    """Grey images with the structures in their colours over them.

    Args:
        images: float in [0, 1], shape ``(B, 1, H, W)``.
        structures: 1.. in the order of ``STRUCTURES``, anything else stays grey; shape ``(B, H, W)``.

    Returns:
        uint8, shape ``(B, 3, H, W)``.
    """
    colours = images.expand(-1, 3, -1, -1).clone()
    for number, name in enumerate(STRUCTURES, start=1):
        colour = torch.tensor(STRUCTURE_COLOURS[name]).view(1, 3, 1, 1) / WHITE
        where = (structures == number).unsqueeze(1)
        colours = torch.where(where, (1 - FILL) * colours + FILL * colour, colours)
    return (colours * WHITE).round().to(torch.uint8)


def _grid(rows: list[Tensor]) -> Tensor:
    """Pictures ``(B, 3, H, W)`` side by side, rows below each other, with white gaps."""
    lines = []
    for row in rows:
        framed = torch.nn.functional.pad(row, [0, GAP, 0, GAP], value=WHITE)
        lines.append(torch.cat(tuple(framed), dim=2))
    return torch.cat(lines, dim=1)[:, :-GAP, :-GAP].contiguous()
