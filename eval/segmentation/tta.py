"""Class probabilities of slices: from one view, or averaged over several (test-time augmentation).

Views enlarge or shift a slice; docs/evaluation.md has the measurements behind the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from synthspine.shards.readers.slices import resample_back
from synthspine.train.model.unet import STRIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """How a slice is shown, enlarged about its centre or shifted; the answer is transformed back.

    The shift is down and to the right, a share of the network's stride.
    """

    magnification: float = 1.0
    shift: float = 0.0


PLAIN = (View(),)
TTA_VIEWS = (View(), View(magnification=1.1), View(magnification=1.2), View(shift=0.5))


@torch.inference_mode()
def class_probabilities(
    model: nn.Module,
    slices: np.ndarray,
    views: Sequence[View] = PLAIN,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Mean class probabilities over one view or more, float32 ``(B, K, h, w)``.

    Args:
        model: ``(B, 1, H, W)`` image in [0, 1] to logits ``(B, K, H, W)``, H and W multiples of its
            ``stride``, or of 16 where it has none.
        slices: at the model's pixel size, float32 in [0, 1], shape ``(B, h, w)``, any size.
        views: how they are shown.
        device: where the model runs.
    """
    if not views:
        raise ValueError("class probabilities need at least one view")
    total = sum(_viewed(model, slices, view, device) for view in views)
    return np.asarray(total / np.float32(len(views)))


def _viewed(model: nn.Module, slices: np.ndarray, view: View, device: torch.device | str) -> np.ndarray:
    native = (slices.shape[-2], slices.shape[-1])
    factor = view.magnification
    if factor != 1.0:
        larger = (int(np.ceil(native[0] * factor)), int(np.ceil(native[1] * factor)))
        slices = resample_back(slices, 1.0, larger, (1 / factor, 1 / factor), labels=False)
    stride = getattr(model, "stride", STRIDE)
    padded, (rows, columns) = _padded(slices, round(view.shift * stride), stride)
    logits = model(torch.from_numpy(padded)[:, None].to(device))
    probabilities: np.ndarray = logits[:, :, rows, columns].float().softmax(dim=1).cpu().numpy()
    if factor != 1.0:
        probabilities = resample_back(probabilities, 1 / factor, native, (1.0, 1.0), labels=False)
    return probabilities


def _padded(slices: np.ndarray, shift: int, stride: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Slices padded with 0 to a multiple of the stride, ``shift`` pixels down and right, and their place."""
    margins = [(0, 0)]
    places = []
    for size in slices.shape[1:]:
        # The network needs more than one pixel on its coarsest level.
        missing = max(-size % stride, 2 * stride - size)
        before = missing // 2 + shift
        after = missing - before
        margins.append((before, after if after >= 0 else after + stride))
        places.append(slice(before, before + size))
    return np.pad(slices, margins), (places[0], places[1])
