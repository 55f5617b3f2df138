"""Arguments of a kernel as the driver takes them: numba-cuda takes longer to pack them than a short kernel runs.

At a kernel's first launch numba-cuda packs them too. If its result differs from ours, it packs all later ones.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

AS_THEY_ARE = int, bool, np.bool_
C_TYPES = {
    np.float32: ctypes.c_float, np.float64: ctypes.c_double, float: ctypes.c_double, np.int32: ctypes.c_int32,
    np.int64: ctypes.c_int64,
}  # fmt: skip


def is_array(argument: Any) -> bool:
    """Whether it is an array of Numba's on a device; to ask for its interface would take long."""
    return getattr(type(argument), "__cuda_ndarray__", False)


def kind_of(argument: Any) -> Any:
    """What the code of a kernel depends on: it is compiled for each kind."""
    if isinstance(argument, tuple):
        return type(argument), len(argument), frozenset(map(type, argument))
    return argument.dtype if is_array(argument) else type(argument)


def packed(arguments: Sequence[Any]) -> list[Any]:
    """All arguments one after another, arrays and tuples by their parts; arrays are one-dimensional and contiguous."""
    parts: list[Any] = []
    for argument in arguments:
        if type(argument) in AS_THEY_ARE:
            parts.append(argument)
        elif isinstance(argument, tuple):
            parts += packed(argument)
        elif is_array(argument):
            size, itemsize = argument.size, argument.dtype.itemsize
            parts += 0, 0, size, itemsize, argument.device_ctypes_pointer.value or 0, size, itemsize
        else:
            parts.append(C_TYPES[type(argument)](argument))
    return parts


def alike(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    """Whether two lists of arguments are the same to the driver, to which an int has 64 bits."""

    def form(value: Any) -> tuple[Any, ...]:
        if isinstance(value, ctypes.c_int64):
            return int, value.value
        return (type(value), value.value) if hasattr(value, "value") else (type(value), value)

    return list(map(form, ours)) == list(map(form, theirs))
