"""One check for each kind of argument; its error names the parameter, the expected value and the value that came."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

SMALLEST = 5e-324  # the smallest positive number: a lower bound that excludes 0


def check_integer(value: Any, name: str, least: int) -> int:
    """`value` as an int of at least `least`.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def check_real(value: Any, name: str, low: float, high: float) -> float:
    """`value` as a float in ``low <= value < high``.

    Raises
    ------
    TypeError, ValueError
        If it is not a number, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:  # the integer is too large for a float
        number = math.inf
    if not low <= number < high:
        raise ValueError(f"{name} must be in [{low}, {high}), got {str(value)[:40]}")
    return number


def check_option(value: Any, name: str, options: Sequence[str]) -> str:
    """`value` as one of the `options`.

    Raises
    ------
    ValueError
        If it is none of them; the message lists them.
    """
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {list(options)}, got {value!r}")
    return options[options.index(value)]


def check_flag(value: Any, name: str) -> bool:
    """`value` as a bool.

    Raises
    ------
    TypeError
        If it is not a bool.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_tuple(value: Any, name: str, parts: Sequence[str]) -> Sequence[Any]:
    """`value` as a tuple or list that has one entry for each of `parts`.

    Raises
    ------
    TypeError, ValueError
        If it is not a tuple or list, or has another length.
    """
    expected = f"{name} must be a tuple ({', '.join(parts)})"
    if not isinstance(value, list | tuple):
        raise TypeError(f"{expected}, got {type(value).__name__}")
    if len(value) != len(parts):
        raise ValueError(f"{expected}, got length {len(value)}")
    return value


def check_rng(value: Any, name: str) -> np.random.Generator:
    """A random generator: `value` itself, or a new one with the seed `value`.

    Raises
    ------
    TypeError, ValueError
        If it is neither a generator nor a seed.
    """
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        expected = "a non-negative integer, a numpy.random.Generator or None"
        raise type(error)(f"{name} must be {expected}, got {value!r}") from None
