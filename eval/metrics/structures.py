"""The structures that models are scored on: those of their schemes that all of them share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import BACKGROUND, IGNORE
from synthspine.gen.core.schemes import LabelClass, LabelScheme, Structure

OVERALL = "overall"
"""Name of the mean over the structures."""


class StructureError(ValueError):
    """Models cannot be scored on common structures; the message is one line."""


def shared_structures(schemes: Mapping[str, LabelScheme]) -> LabelScheme:
    """A scheme of one class for each structure that all schemes share, in the order of the first.

    Structures are the same if they have the same name and the same codes; posterior elements that no class
    names count as codes of their vertebra. The schemes, one or more, are named by their models.

    Raises:
        StructureError: the schemes share no structure, or a structure is called ``"overall"``.
    """
    first, *others = (scheme.by_structure() for scheme in schemes.values())
    covered = [_covered(scheme) for scheme in (first, *others)]
    common = [name for name in covered[0] if all(each.get(name) == covered[0][name] for each in covered)]
    if not common:
        parts = "; ".join(f"{model}: {', '.join(s.structure_names)}" for model, s in schemes.items())
        raise StructureError(
            f"the models share no structure with the same codes ({parts}); measure one alone"
        )
    if OVERALL in common:
        raise StructureError(f"a structure is called {OVERALL!r}, which names the mean over structures")
    if len(common) == len(first.structures):
        return first
    codes = {name: covered[0][name] for name in common}
    return LabelScheme(
        name="shared",
        structures=tuple(Structure(name=name, codes=codes[name]) for name in common),
        classes=(
            LabelClass(name="background", codes=(BACKGROUND,)),
            *(LabelClass(name=name, codes=codes[name]) for name in common),
        ),
    )


def to_measured(classes: Tensor, scheme: LabelScheme, structures: LabelScheme) -> Tensor:
    """The structure of every pixel, uint8, of classes of a scheme; other classes are background, 255 stays.

    ``structures`` has one class for each structure (:func:`shared_structures`).
    """
    numbers = {name: number for number, name in enumerate(structures.class_names)}
    names = ("", *scheme.structure_names)
    table = [IGNORE] * (IGNORE + 1)
    for number, home in enumerate(scheme.class_structures):
        table[number] = numbers.get(names[home], BACKGROUND)
    return torch.tensor(table, dtype=torch.uint8, device=classes.device)[classes.int()]


def _covered(scheme: LabelScheme) -> dict[str, tuple[int, ...]]:
    """Codes that make each structure of a scheme of structures."""
    return {
        name: tuple(code for code, found in enumerate(scheme.table) if found == number)
        for number, name in enumerate(scheme.class_names)
        if number
    }
