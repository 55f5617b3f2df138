"""Dropout of the outputs of a layer, and a penalty on their size and change."""

from __future__ import annotations

import numpy as np

from ..contract import Noise
from ..streams import stream_key, threshold
from .machine import recording, threads
from .machine.arrays import aligned
from .machine.compiling import free_sums, inner, kernel
from .recurrent.masks import next_key

U32 = np.uint32
FLOP_PER_NUMBER = 16.0  # work of dropout, from which the number of threads follows


@inner
def _hash(unit, low, high):
    """``hash(u)`` of the contract, for one unit; products and sums are cut to 32 bits, as Numba makes them 64."""
    v = U32(U32(unit) * U32(0x9E3779B1) + low)
    v = U32(U32(v ^ (v >> U32(16))) * U32(0x7FEB352D))
    v = U32(v ^ (v >> U32(15)) ^ high)
    v = U32(v * U32(0x846CA68B))
    return U32(v ^ (v >> U32(16)))


@kernel
def _dropout(x, out, key, limit, scale, per_step, first, last):
    """Rows first <= n < last of an (N, T, F) array, dropped out; `key` is an array with one."""
    _, steps, units = x.shape
    for n in range(first, last):
        for t in range(steps):
            row = next_key(next_key(np.uint64(key[0]), t if per_step else 0), n)
            low, high = U32(row & np.uint64(0xFFFFFFFF)), U32(row >> np.uint64(32))
            for u in range(units):
                out[n, t, u] = x[n, t, u] * scale if np.int64(_hash(u, low, high)) >= limit else x.dtype.type(0)


def dropout(x: np.ndarray, probability: float, noise: Noise, per_step: bool) -> np.ndarray:
    """`Backend.dropout` for NumPy arrays."""
    out, key = recording.memory(x.shape, x.dtype), np.empty(1, np.int64)
    recording.do(_write_key, key, noise)
    scale = x.dtype.type(1.0 / (1.0 - probability))
    shards = threads.even_shards(len(x), FLOP_PER_NUMBER * x.size)
    threads.run(_dropout, (x.dtype, x.flags.c_contiguous), shards, x, out, key, threshold(probability), scale, per_step)
    return out


def _write_key(out: np.ndarray, noise: Noise) -> None:
    """Write the key of the units that are dropped."""
    out[0] = stream_key(noise, "dropout")


@free_sums
def _squares(a):
    """The sum of squares, in float64."""
    total = 0.0
    for value in a:
        total += np.float64(value) * np.float64(value)
    return total


@free_sums
def _squared_changes(a, b):
    """The sum of squared differences, in float64."""
    total = 0.0
    for k in range(len(a)):
        total += (np.float64(a[k]) - np.float64(b[k])) ** 2
    return total


@kernel
def _activity(y, lengths, sums, gradient, size, change, first, last):
    """Both sums for each of the rows first <= n < last, and the gradient with the factors `size` and `change`."""
    _, steps, units = y.shape
    for n in range(first, last):
        sums[n, 0] = sums[n, 1] = 0.0
        for t in range(steps):
            if t >= lengths[n]:
                gradient[n, t] = 0
                continue
            sums[n, 0] += _squares(y[n, t])
            if t > 0:
                sums[n, 1] += _squared_changes(y[n, t], y[n, t - 1])
            for u in range(units):
                here = y[n, t, u]
                slope = size * here
                if t > 0:
                    slope += change * (here - y[n, t - 1, u])
                if t + 1 < lengths[n]:
                    slope += change * (here - y[n, t + 1, u])
                gradient[n, t, u] = slope


def activity_loss(y: np.ndarray, lengths: np.ndarray | None, size: float, change: float) -> tuple[float, np.ndarray]:
    """`Backend.activity_loss` for NumPy arrays."""
    rows, steps, units = y.shape
    ends = np.full(rows, steps) if lengths is None else lengths
    counts = float(ends.sum() * units), float((ends - 1).sum() * units)
    shares = size / counts[0], change / counts[1] if counts[1] else 0.0
    sums, gradient = np.empty((rows, 2)), aligned(y.shape, y.dtype)
    shards = threads.even_shards(rows, FLOP_PER_NUMBER * y.size)
    factors = [y.dtype.type(2.0 * share) for share in shares]
    threads.run(_activity, (y.dtype, y.flags.c_contiguous), shards, y, ends, sums, gradient, *factors)
    return float(sums.sum(axis=0) @ shares), gradient
