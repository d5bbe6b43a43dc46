"""Agreement of neighbouring slices: a hidden Markov model across the slices of a volume.

The network sees single slices. In slices through the side of a vertebra, bone and muscle share the thickness
of the slice, and muscle beside them looks like bone; the next slice tells which is which. Along every line of
pixels across the slices the structure is a Markov chain with the network's probabilities as evidence, and the
forward-backward algorithm gives its probabilities in the light of all slices (Rabiner 1989, "A tutorial on
hidden Markov models", eq. 19-27). docs/evaluation.md has the measurements behind the two lengths.
"""

import math

import numpy as np
import torch

from synthspine.gen.core.schemes import LabelScheme
from synthspine.train.decoding import merge_logits, structure_table

INDEPENDENT_MM = 4.4
"""Distance over which the errors of slices become independent: slices much closer are wrong together."""
CHANGE_MM = 8.5
"""Distance over which the structure is forgotten."""
_LEAST = 1e-4
"""Smallest probability of a structure that one slice can give."""
_ROWS = 64
"""Rows at once; bounds the memory."""


def agree_across_slices(
    probabilities: np.ndarray, scheme: LabelScheme, distance_mm: float, shown: np.ndarray
) -> None:
    """Change class probabilities in place to those in the light of all slices.

    The ratios of the classes of one structure stay those of the slice.

    Args:
        probabilities: of the classes of ``scheme``, float, shape ``(Z, K, h, w)``.
        scheme: the label scheme.
        distance_mm: distance of the slices.
        shown: which slices show anything, bool, shape ``(Z,)``; the others give no evidence.
    """
    if len(probabilities) == 1:
        return
    table = structure_table(scheme, torch.device("cpu"))[: scheme.num_classes].long()
    for start in range(0, probabilities.shape[2], _ROWS):
        rows = probabilities[:, :, start : start + _ROWS]
        # Half precision holds no smaller number for certain, and nothing is impossible.
        classes = torch.from_numpy(rows.astype(np.float32)).clamp(min=1e-7)
        structures = merge_logits(classes.log(), scheme).exp()
        evidence = structures.clamp(min=_LEAST) ** (1 - math.exp(-distance_mm / INDEPENDENT_MM))
        evidence[~torch.from_numpy(shown)] = 1.0
        posterior = _forward_backward(evidence, math.exp(-distance_mm / CHANGE_MM))
        rows[:] = (classes * (posterior / structures)[:, table]).numpy()


def _forward_backward(evidence: torch.Tensor, kept: float) -> torch.Tensor:
    """Probabilities of the states of chains along the first axis, shape ``(Z, S, ...)`` like the evidence.

    From slice to slice a state stays with probability ``kept``; otherwise a new one is drawn, all equally
    likely.
    """
    states = evidence.shape[1]

    def messages(order: torch.Tensor) -> list[torch.Tensor]:
        """Probabilities of the states of each slice, given the slices before it."""
        result = [torch.full_like(order[0], 1 / states)]
        for slice_evidence in order[:-1]:
            state = result[-1] * slice_evidence
            result.append(kept * state / state.sum(dim=0) + (1 - kept) / states)
        return result

    before = torch.stack(messages(evidence))
    after = torch.stack(messages(evidence.flip(0))).flip(0)
    posterior = before * evidence * after
    return posterior / posterior.sum(dim=1, keepdim=True)
