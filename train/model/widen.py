"""Wider networks that begin with what a narrower one has learned (Net2Net, Chen et al. 2016).

Every channel becomes two that are alike, and what reads them shares its weight between the two, so the wide
network computes what the narrow one does. The shares differ from pair to pair: with equal ones both channels
of a pair would learn the same for ever.
"""

import torch
from torch import Tensor

from synthspine.train.model.unet import UNet

SHARES = (0.3, 0.7)
"""Range of the share of the first channel of a pair."""


def widen(weights: dict[str, Tensor], wide: UNet, seed: int) -> dict[str, Tensor]:
    """Weights for a U-Net of twice the features that computes what a narrow one does.

    Args:
        weights: state dictionary of the narrow network.
        wide: network with twice its ``base_features``, the same levels, classes and channels of the image.
        seed: the shares are drawn from it.
    """
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, shape in ((name, value.shape) for name, value in wide.state_dict().items()):
        value = weights[name]
        # Transposed convolutions have their inputs first.
        reads, writes = (0, 1) if name.startswith("upsample") and value.ndim > 1 else (1, 0)
        if shape[writes] != value.shape[writes]:
            value = torch.cat((value, value), dim=writes)
        if value.ndim > 1 and shape[reads] != value.shape[reads]:
            # The first convolution of a block of the decoder reads two features beside each other.
            parts = 2 if name.startswith("decoder") and name.split(".")[2] == "0" else 1
            size = [1] * value.ndim
            size[reads] = value.shape[reads]
            first = SHARES[0] + (SHARES[1] - SHARES[0]) * torch.rand(size, generator=generator)
            pairs = zip(value.chunk(parts, dim=reads), first.chunk(parts, dim=reads), strict=True)
            value = torch.cat(
                [half for part, share in pairs for half in (part * share, part * (1 - share))], reads
            )
        result[name] = value
    return result
