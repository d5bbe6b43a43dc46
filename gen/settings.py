"""What every configuration is checked for: ordered finite ranges, probabilities, lengths a field can hold.

A range is ``(low, high)`` of a uniform distribution. A probability of 0 leaves a feature out altogether:
nothing is drawn for it and its step costs nothing.
"""

import dataclasses
import math
from typing import Any

Range = tuple[float, float]


def check(config: Any) -> None:
    """Refuse reversed or non-finite ranges, non-finite numbers and probabilities outside 0..1.

    Args:
        config: a configuration dataclass.

    Raises:
        TypeError: a field holds something that is not what its annotation says.
        ValueError: a field holds a value that makes no sense; the message names it.
    """
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        where = f"{type(config).__name__}.{entry.name}"
        if entry.type is bool:
            if not isinstance(value, bool):
                raise TypeError(f"{where} is {value!r}; want true or false")
        elif entry.type == Range:
            _check_range(where, value)
        elif entry.type is float:
            _check_number(where, value)
            if entry.name.endswith("probability") and not 0 <= value <= 1:
                raise ValueError(f"{where} is {value}; a probability lies in 0..1")


def check_within(config: Any, **bounds: Range) -> None:
    """Refuse ranges that leave the bounds given by field name.

    Raises:
        ValueError: a range goes below the lower or above the upper bound.
    """
    for name, (least, greatest) in bounds.items():
        value = getattr(config, name)
        low, high = value if isinstance(value, tuple) else (value, value)
        if low < least or high > greatest:
            raise ValueError(
                f"{type(config).__name__}.{name} is {value}; it must stay in {least}..{greatest}"
            )


def _check_range(where: str, value: Any) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{where} is {value!r}; want two numbers (low, high)")
    for number in value:
        _check_number(where, number)
    if value[0] > value[1]:
        raise ValueError(f"{where} is {value}; the lower end must come first")


def _check_number(where: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where} is {value!r}; want a number")
    if not math.isfinite(value):
        raise ValueError(f"{where} is {value}; want a finite number")
