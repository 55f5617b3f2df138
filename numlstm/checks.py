"""One check for each kind of argument: each names the parameter, what was expected, and what came."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

SMALLEST = 5e-324  # "positive", as a bound


def check_integer(value: Any, name: str, least: int) -> int:
    """`value` as an int of at least `least`.

    Raises
    ------
    TypeError, ValueError
        If it is no integer, or too small.
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
        If it is no number, or outside.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:  # of an integer
        number = math.inf
    if not low <= number < high:
        raise ValueError(f"{name} must be in [{low}, {high}), got {str(value)[:40]}")
    return number


def check_option(value: Any, name: str, options: Sequence[str]) -> str:
    """The one of `options` that `value` is.

    Raises
    ------
    ValueError
        If not; the message names them all.
    """
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {list(options)}, got {value!r}")
    return options[options.index(value)]


def check_flag(value: Any, name: str) -> bool:
    """`value` as a bool.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_tuple(value: Any, name: str, parts: Sequence[str]) -> Sequence[Any]:
    """`value` if it is a tuple or list with an entry for each of `parts`.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or of another length.
    """
    expected = f"{name} must be a tuple ({', '.join(parts)})"
    if not isinstance(value, list | tuple):
        raise TypeError(f"{expected}, got {type(value).__name__}")
    if len(value) != len(parts):
        raise ValueError(f"{expected}, got length {len(value)}")
    return value


def check_rng(value: Any, name: str) -> np.random.Generator:
    """A source of random numbers: `value` itself, or made from that seed.

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
