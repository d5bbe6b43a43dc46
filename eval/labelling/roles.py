"""What dense codes are to the count of ranks: vertebra, disc or canal, and their ranks."""

import numpy as np

from synthspine.gen.core.anatomy import (
    CANAL,
    CODES,
    IGNORE,
    MAX_RANK,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.core.schemes import LabelScheme

ROLES = ("vertebra", "disc", "canal")
VERTEBRA, DISC, CANAL_ROLE = range(1, len(ROLES) + 1)


def _tables() -> tuple[np.ndarray, np.ndarray]:
    roles, ranks = np.zeros((2, CODES), dtype=np.uint8)
    for rank in range(1, MAX_RANK + 1):
        for code, role in ((vertebra_code, VERTEBRA), (posterior_code, VERTEBRA), (disc_code, DISC)):
            roles[code(rank)], ranks[code(rank)] = role, rank
    roles[CANAL], roles[IGNORE] = CANAL_ROLE, IGNORE
    return roles, ranks


_ROLES, _RANKS = _tables()


def roles_of(codes: np.ndarray) -> np.ndarray:
    """Roles of dense codes, uint8, any shape: vertebra 1 (its posterior elements too), disc 2, canal 3.

    All others, the sacrum among them, are background 0; 255 stays 255.
    """
    return _ROLES[codes]


def ranks_of(codes: np.ndarray) -> np.ndarray:
    """Ranks of the vertebrae (their posterior elements too) and discs of dense codes, uint8; 0 elsewhere."""
    return _RANKS[codes]


def scheme_roles(scheme: LabelScheme) -> list[int]:
    """The roles that classes of a scheme have, ascending."""
    present = np.unique(roles_of(np.array(scheme.codes)))
    return [role for role in present.tolist() if role]


def ranked_classes(scheme: LabelScheme) -> np.ndarray:
    """Whether the class that a code stands for holds one rank alone, bool ``(256,)``.

    A model tells ranks where any does.
    """
    ranked = np.zeros(CODES, dtype=bool)
    for each in scheme.classes:
        ranks = np.unique(ranks_of(np.array(each.codes)))
        ranked[each.codes[0]] = len(ranks) == 1 and ranks[0] > 0
    return ranked
