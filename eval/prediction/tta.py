"""Class probabilities of slices, from one view of them or as the mean over several (test-time augmentation).

Which views: measured on the 38 real mid-slices of 22 patients (mean structure Dice at 1 mm; two models A of 4
classes after 2,046 and 6,572 steps, B after 1,488), each view averaged with the plain one, patients out of
B's training. Flips are out: front and back, up and down differ in anatomy. Inverted contrast costs A .01 to
.03 and B up to .23; gamma, blur and noise change A by less than .005 either way; a smaller image (0.9) costs
A up to .005. A larger image (1.1, 1.2) and a shift by half the network's stride help both, and so do
rotations by 5 degrees, which add nothing to these. With the four views taken here the Dice rose by:

==================== ===== ===== ==========================
model                T1    T2    the same on other patients
==================== ===== ===== ==========================
A after 2,046 steps  .006  .006  .000 T1, .003 T2
A after 6,572 steps  .006  .005  .001 T1, .003 T2
B                    .012  .026  .003 T1, .007 T2 (it learned from their T1)
==================== ===== ===== ==========================

So it helps little where the model is at home and more where it is not; it takes about 5 times as long.
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
    """How a slice is shown to the network; the answer is brought back by the same amount.

    Attributes:
        magnification: the slice is enlarged by this factor about its centre.
        shift: how far it is moved down and to the right, as a share of the network's stride.
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
    """Mean class probabilities over views.

    Args:
        model: ``(B, 1, H, W)`` image in [0, 1] to logits ``(B, K, H, W)``, H and W multiples of its
            ``stride``, or of 16 where it has none.
        slices: at the model's pixel size, float32 in [0, 1], shape ``(B, h, w)``, any size.
        views: at least one.
        device: where the model lives.

    Returns:
        float32, shape ``(B, K, h, w)``.

    Raises:
        ValueError: no view.
    """
    if not views:
        raise ValueError("class probabilities need at least one view")
    total = _seen(model, slices, views[0], device)
    for view in views[1:]:
        total += _seen(model, slices, view, device)
    total /= np.float32(len(views))
    return total


def _seen(model: nn.Module, slices: np.ndarray, view: View, device: torch.device | str) -> np.ndarray:
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
    """Slices with a margin of 0 up to a multiple of the model's stride, and where they lie in it.

    They lie ``shift`` pixels, less than the stride, further down and right than without a shift.
    """
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
