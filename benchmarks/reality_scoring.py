"""Scoring a network on real slices: Dice per patient and structure, at the slices' resolution and coarser."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.reality_inputs import INPUTS
from benchmarks.reality_patients import Fold
from benchmarks.reality_slices import CONTRASTS, Slices, select
from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME, PatientTally
from synthspine.eval.studies.degrade import degrade
from synthspine.gen import label_scheme
from synthspine.train.decoding import likeliest_structures
from synthspine.train.model.unet import UNet

FACTORS = (1.0, 2.0, 3.0, 4.0)
CHUNK = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Dice of a patient on one contrast at one resolution.

    Attributes:
        contrast: of the slice.
        factor: in-plane pixel size as a multiple of the slice's.
        patient: whose slice.
        own_mask: whether the mask is the series' own; with several series, whether all are.
        dice: by structure; None where truth and answer are empty.
    """

    contrast: str
    factor: float
    patient: str
    own_mask: bool
    dice: dict[str, float | None]


@torch.inference_mode()
def score(network: UNet, change: str, slices: Slices, fold: Fold, device: torch.device) -> list[Score]:
    """Score a network on the validation patients of a fold.

    Args:
        network: on the device; its mode stays what it was.
        change: what is done to its images, an entry of ``INPUTS``.
        slices: the data.
        fold: whose patients.
        device: where it runs.
    """
    mode = network.training
    network.eval()
    found = []
    for contrast in CONTRASTS:
        arrays = select(slices.real[contrast], fold.validation)
        if not len(arrays.labels):
            continue
        assert arrays.images is not None
        patients = [str(record["patient"]) for record in arrays.records]
        own = dict.fromkeys(patients, True)
        for patient, record in zip(patients, arrays.records, strict=True):
            own[patient] &= record["source"] in slices.own
        images = torch.from_numpy(arrays.images).float().unsqueeze(1).to(device)
        target = STRUCTURE_SCHEME.encode(torch.from_numpy(arrays.labels).to(device))
        for factor in FACTORS:
            tally = PatientTally(STRUCTURE_SCHEME.class_names)
            for start in range(0, len(images), CHUNK):
                part = slice(start, start + CHUNK)
                answer = _answer(network, INPUTS[change](degrade(images[part], factor)))
                tally.add(answer, target[part], patients[part])
            for patient, dices in tally.per_patient().items():
                known = {name: None if math.isnan(value) else value for name, value in dices.items()}
                found.append(
                    Score(
                        contrast=contrast, factor=factor, patient=patient, own_mask=own[patient], dice=known
                    )
                )
    network.train(mode)
    return found


def _answer(network: UNet, images: Tensor) -> Tensor:
    logits = network(images.contiguous(memory_format=torch.channels_last))
    return likeliest_structures(logits, label_scheme(network.num_classes))
