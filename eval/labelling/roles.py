"""What dense codes are to the count of ranks: vertebra, disc or canal, and their ranks."""

import numpy as np

from synthspine.gen.core.anatomy import (
    CANAL,
    CODES,
    DISC_NAMES,
    IGNORE,
    MAX_RANK,
    POSTERIOR_OFFSET,
    RANK_NAMES,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.core.schemes import LabelClass, LabelScheme, Structure

ROLES = ("vertebra", "disc", "canal")
LOWEST_IN_VIEW = " (lowest vertebra in view)"
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


def by_rank(scheme: LabelScheme) -> LabelScheme:
    """The structures of a scheme with a class for every code: for the colours of counted ranks.

    Posterior elements are a structure of their own where a class tells them from the body. Ranks above the
    named ones have a class only in a structure of such ranks alone.
    """
    table, parts = scheme.table, []
    for each in scheme.structures:
        whole = [code for code in each.codes if code <= POSTERIOR_OFFSET]
        apart = [code for code in each.codes if table[code] != table[code % POSTERIOR_OFFSET]]
        name = f"posterior elements of {each.name}" if whole else each.name
        parts += [(part, codes) for part, codes in ((each.name, whole), (name, apart)) if codes]
    classes = [scheme.classes[0]]
    for part, codes in parts:
        named = [code for code in codes if _RANKS[code] <= len(RANK_NAMES)]
        for code in named or codes:
            classes.append(LabelClass(name=f"{part} {code_name(code)}", codes=(code,)))
    return LabelScheme(
        name=f"{scheme.name}, ranks",
        structures=tuple(Structure(name=part, codes=tuple(codes)) for part, codes in parts),
        classes=tuple(classes),
    )


def code_name(code: int, *, relative: bool = False) -> str:
    """Anatomical name of a vertebra (L5 for the lowest), disc (L4/L5) or posterior elements by dense code.

    Vertebrae and discs above the named ones are called by their rank, other codes by their number. With
    ``relative``, where the lowest vertebra in view may be any, all are called by their rank.
    """
    rank = int(_RANKS[code])
    if not rank:
        return str(code)
    kind, names = ("disc", DISC_NAMES) if _ROLES[code] == DISC else ("vertebra", RANK_NAMES)
    if relative:
        return f"{kind} {rank}{LOWEST_IN_VIEW if (kind, rank) == ('vertebra', 1) else ''}"
    return names[rank - 1] if rank <= len(names) else f"{kind} {rank}"
