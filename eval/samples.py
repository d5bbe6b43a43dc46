"""The slices that the overlays show: of the patient in the middle, not of the best or the worst."""

from collections.abc import Mapping

import numpy as np
import torch

from eval.batches import SliceBatches
from eval.degrade import degrade
from eval.figures import Overlay
from eval.metrics import STRUCTURE_SCHEME, group_structures
from eval.outcome import CONTRAST_NAMES, Outcome
from gen.anatomy import IGNORE, label_scheme
from train.options import ModelName
from train.unet import UNet

TRUTH = "truth"


def median_overlays(
    outcome: Outcome, models: Mapping[ModelName, UNet], batches: dict[str, SliceBatches], device: torch.device
) -> list[Overlay]:
    """One slice of every contrast at the finest resolution, and of the last contrast at the coarsest too.

    The patient is the one with the median overall Dice of the first model at the finest resolution; of that
    patient the slice with the largest annotated area is shown.
    """
    rows = [(contrast, outcome.factors[0]) for contrast in batches]
    if len(outcome.factors) > 1:
        rows.append((rows[-1][0], outcome.factors[-1]))
    return [
        _overlay(outcome, models, batches[contrast], contrast, factor, device) for contrast, factor in rows
    ]


@torch.inference_mode()
def _overlay(
    outcome: Outcome,
    models: Mapping[ModelName, UNet],
    loaded: SliceBatches,
    contrast: str,
    factor: float,
    device: torch.device,
) -> Overlay:
    first = next(iter(models))
    dices = outcome.patients(first, contrast, outcome.factors[0])
    ordered = sorted(dices, key=lambda patient: (np.nan_to_num(dices[patient], nan=-1.0), patient))
    patient = ordered[len(ordered) // 2]
    image, label, record = loaded.slice_at(_fullest_slice(loaded, patient))
    degraded = degrade(image[None, None].to(device), factor)
    maps = {TRUTH: STRUCTURE_SCHEME.encode(label).numpy()}
    for name, model in models.items():
        logits = model(degraded)
        answer = group_structures(logits.argmax(dim=1)[0], label_scheme(logits.shape[1])).cpu()
        answer[label == IGNORE] = 0
        maps[f"Model {name}"] = answer.numpy()
    return Overlay(
        title=f"{CONTRAST_NAMES[contrast]}, {factor * outcome.spacing_mm:g} mm\n{record['source']}",
        image=degraded[0, 0].cpu().numpy(),
        inside=(label != IGNORE).numpy(),
        maps=maps,
    )


def _fullest_slice(loaded: SliceBatches, patient: str) -> int:
    indices = [index for index, name in enumerate(loaded.patients) if name == patient]
    areas = []
    for index in indices:
        structures = STRUCTURE_SCHEME.encode(loaded.slice_at(index)[1])
        areas.append(int(((structures > 0) & (structures != IGNORE)).sum()))
    return indices[int(np.argmax(areas))]
