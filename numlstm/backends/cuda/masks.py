"""Random masks: the hash of `numlstm.backends.contract`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..streams import GOLDEN
from .device import SIMULATED
from .launching import device_function


def _unsigned(bits: int) -> Callable:
    """Conversion to an unsigned integer: for the simulator one of Python's, as NumPy warns where a scalar wraps."""
    if not SIMULATED:
        return np.uint64 if bits == 64 else np.uint32
    most = 2**bits - 1

    def convert(value: Any) -> int:
        return int(value) & most

    return convert


U64, U32 = _unsigned(64), _unsigned(32)
# Constants are of their type: a signed integer among unsigned ones of 64 bits makes a float to Numba.
STEP, ONE = U64(GOLDEN), U64(1)
FIRST64, SECOND64 = U64(0xBF58476D1CE4E5B9), U64(0x94D049BB133111EB)
BY27, BY30, BY31, BY32 = map(U64, (27, 30, 31, 32))
UNIT, FIRST32, SECOND32 = U32(0x9E3779B1), U32(0x7FEB352D), U32(0x846CA68B)
BY15, BY16 = map(U32, (15, 16))


@device_function
def _next_key(key, word):
    """The key that follows from a word."""
    z = U64(key + STEP * U64(U64(word) + ONE))
    z = U64((z ^ (z >> BY30)) * FIRST64)
    z = U64((z ^ (z >> BY27)) * SECOND64)
    return z ^ (z >> BY31)


@device_function
def row_key(key, t, n):
    """The key of row `n` at step `t`, from that of a stream."""
    return _next_key(_next_key(U64(key), t), n)


@device_function
def is_below(row, limit, unit):
    """Whether a unit of a row, by its key, is dropped: ``hash(unit) < limit``."""
    v = U32(U32(unit) * UNIT + U32(row))  # products and sums of 32 bits have 64 to Numba
    v = U32(U32(v ^ (v >> BY16)) * FIRST32)
    v = U32(v ^ (v >> BY15) ^ U32(row >> BY32))
    v = U32(v * SECOND32)
    return np.int64(U32(v ^ (v >> BY16))) < limit


@device_function
def is_dropped(key, limit, t, n, unit):
    """Whether unit `unit` of row `n` is dropped at step `t`, by a stream's key and threshold."""
    return is_below(row_key(key, t, n), limit, unit)
