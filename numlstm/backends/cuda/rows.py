"""Some rows of a matrix, and sums at some rows."""

from __future__ import annotations

import numpy as np

from .arrays import DeviceArray, axes_of, empty, to_device
from .device import cuda
from .launching import kernel


@kernel
def _take(out, x, axes, rows, columns, count):
    for q in range(cuda.grid(1), count, cuda.gridsize(1)):
        n, k = q // columns, q % columns
        out[q] = x[axes[0] + rows[n] * axes[2] + k * axes[3]]


@kernel
def _add(out, axes, rows, value, value_axes, columns, count):
    for q in range(cuda.grid(1), count, cuda.gridsize(1)):
        n, k = q // columns, q % columns
        out[axes[0] + rows[n] * axes[2] + k * axes[3]] += value[value_axes[0] + n * value_axes[2] + k * value_axes[3]]


def take_rows(x: DeviceArray, rows: np.ndarray) -> DeviceArray:
    """`Backend.take_rows` for arrays on a device."""
    out = empty(x.device, (len(rows), x.shape[1]), str(x.dtype))
    if out.size:
        _take.for_all(out.size, out.base, x.base, axes_of(x), _on_device(x, rows).base, x.shape[1], out.size)
    return out


def add_rows(out: DeviceArray, rows: np.ndarray, value: DeviceArray) -> None:
    """`Backend.add_rows` for arrays on a device; a thread owns a number."""
    if value.size:
        _add.for_all(
            value.size, out.base, axes_of(out), _on_device(out, rows).base, value.base, axes_of(value), out.shape[1],
            value.size,
        )  # fmt: skip


def _on_device(array: DeviceArray, rows: np.ndarray) -> DeviceArray:
    return to_device(array.device, np.ascontiguousarray(rows, np.int64))
