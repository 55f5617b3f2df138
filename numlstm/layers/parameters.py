"""Named parameters that a user sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .sequences import as_numbers


def checked_parameters(
    parameters: Any, shapes: Mapping[str, tuple[int, ...]], dtype: str, *, finite: bool = False
) -> dict[str, np.ndarray]:
    """Copies of all parameters, read-only, in the order of `shapes`.

    Raises
    ------
    ValueError
        If names are missing or unknown, a shape is wrong, or, with `finite`, a number is not finite in `dtype`.
    TypeError
        If they are no mapping, or an array is not numeric.
    """
    if not isinstance(parameters, Mapping):
        raise TypeError(f"parameters must be a mapping of names to arrays, got {type(parameters).__name__}")
    if missing := sorted(shapes.keys() - parameters.keys()):
        raise ValueError(f"parameters must hold {missing}, which are missing")
    if unknown := sorted(parameters.keys() - shapes.keys(), key=str):
        raise ValueError(f"parameters must be among {list(shapes)}, got {unknown}")
    return {name: _checked(parameters[name], name, shape, dtype, finite) for name, shape in shapes.items()}


def _checked(value: Any, name: str, shape: tuple[int, ...], dtype: str, finite: bool) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = np.array(as_numbers(value, name), dtype)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but contains NaN, infinity or a number too large for {dtype}")
    return read_only(array)


def read_only(array: np.ndarray) -> np.ndarray:
    """A view of an array that cannot be made writeable again, if the array is nobody else's."""
    array.flags.writeable = False
    return array.view()
