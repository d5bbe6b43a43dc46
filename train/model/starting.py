"""Weights that a training begins with: those of a trained network of the same size, or of a narrower one.

A narrower network is widened (Net2Net, Chen et al. 2016). Every channel becomes two that are alike, and what
reads them splits its weight between the two, so the wide network computes what the narrow one does. The
split is random: with two equal halves both channels would get the same gradients and stay alike for ever.
"""

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.train.model.checkpoint import TrainedUNet
from synthspine.train.model.unet import UNet

SHARES = (0.3, 0.7)
"""Range of the share of the first channel of a pair."""


def weights_from(start: TrainedUNet, network: UNet, scheme: LabelScheme, seed: int) -> dict[str, Tensor]:
    """Weights for a network of the classes of ``scheme`` from those of a trained one.

    Classes that the scheme lacks are dropped; their pixels go to others until training corrects it.

    Args:
        start: trained network of as many levels as ``network``, and as many base features or half of them.
        network: the network that will be trained.
        scheme: what its classes mean.
        seed: what a wider network draws comes from it.

    Raises:
        ValueError: the size does not fit, or ``start`` lacks a class.
    """
    narrow = 2 * start.base_features == network.base_features
    if start.levels != network.levels or not (narrow or start.base_features == network.base_features):
        raise ValueError(
            f"it is a network of {start.base_features} base features and {start.levels} levels: train with "
            f"--base-features {start.base_features} or {2 * start.base_features}, and --levels {start.levels}"
        )
    known = {each.codes: number for number, each in enumerate(start.scheme.classes)}
    if any(each.codes not in known for each in scheme.classes):
        raise ValueError(
            f"its classes are those of the label scheme {start.scheme.name}, not of {scheme.name}"
        )
    weights = start.state_dict()
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name][[known[each.codes] for each in scheme.classes]]
    return widen(weights, network, seed) if narrow else weights


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
