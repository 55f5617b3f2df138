"""Arrays as kernels take them: by their addresses."""

from __future__ import annotations

import ctypes
import math
from typing import Any, NamedTuple

import numpy as np

LINE = 64  # bytes that memory gives at once


def address_of(array: np.ndarray) -> int:
    """The address of an array's first element."""
    try:
        # four times as fast as `array.ctypes`
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, or not contiguous
        return array.ctypes.data


def aligned(shape: tuple[int, ...] | int, dtype: Any, *, zero: bool = False) -> np.ndarray:
    """A new C-contiguous array that starts on a cache line: vector loads that cross lines take twice as long."""
    dtype = np.dtype(dtype)
    size = (shape if isinstance(shape, int) else math.prod(shape)) * dtype.itemsize
    memory = (np.zeros if zero else np.empty)(size + LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -address_of(memory) % LINE)


def odd_lines(size: int) -> int:
    """Bytes from row to row of `size` bytes: an odd number of lines, so that rows share no sets of the cache."""
    return (-(-size // LINE) | 1) * LINE


class Room:
    """Memory that is shared out, in whole cache lines."""

    def __init__(self) -> None:
        self.end = 0

    def take(self, size: int) -> int:
        """Where the next `size` bytes are; 0 for none."""
        if size == 0:
            return 0
        start = -(-self.end // LINE) * LINE
        self.end = start + size
        return start


class Arguments(NamedTuple):
    """The integers that a kernel reads."""

    integers: np.ndarray
    address: int
    kept: Any = None  # what they refer to

    @classmethod
    def of(cls, integers: np.ndarray, kept: Any = None) -> Arguments:
        """The arguments that an array holds."""
        return cls(integers, address_of(integers), kept)


def integers(*groups: Any) -> np.ndarray:
    """The integers of named tuples, one after the other, as kernels read them."""
    return np.array(flat(groups), np.int64)


def flat(values: Any) -> list[int]:
    """The integers in nested tuples."""
    result: list[int] = []
    for value in values:
        if isinstance(value, tuple):
            result += flat(value)
        else:
            result.append(value)
    return result
