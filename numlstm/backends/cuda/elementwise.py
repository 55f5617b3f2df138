"""Sums, products and dropout, number by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contract import Noise
from ..streams import stream_key, threshold
from .arrays import DeviceArray, axes_of, copy, empty, place, sizes_of
from .device import cuda
from .launching import kernel
from .masks import is_below, row_key
from .reductions import row_grid


@kernel
def _add(out, out_axes, value, value_axes, sizes, count):
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[place(k, sizes, out_axes)] += value[place(k, sizes, value_axes)]


@kernel
def _multiply(out, a, a_axes, b, b_axes, sizes, count):
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[k] = a[place(k, sizes, a_axes)] * b[place(k, sizes, b_axes)]


@kernel
def _scale(out, a, a_axes, factor, sizes, count):
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        out[k] = a[place(k, sizes, a_axes)] * factor


@kernel
def _dropout(x, axes, out, shape, key, limit, scale, per_step):
    """Rows of threads take pairs of a row and a step, lanes take units."""
    rows, steps, units = shape
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, rows * steps, cuda.gridDim.x * cuda.blockDim.y):
        row = first + cuda.threadIdx.y
        if row < rows * steps:
            n, t = row // steps, row % steps
            of_row = row_key(key, t if per_step else 0, n)
            start = axes[0] + n * axes[1] + t * axes[2]
            for u in range(cuda.threadIdx.x, units, cuda.blockDim.x):
                kept = x[start + u * axes[3]] * scale
                out[row * units + u] = x.dtype.type(0) if is_below(of_row, limit, u) else kept


def add(out: DeviceArray, value: DeviceArray) -> None:
    """``out += value``, of the same shape."""
    _check_shapes(out, value)
    _add.for_all(out.size, out.base, axes_of(out), value.base, axes_of(value), sizes_of(out), out.size)


def multiply(a: DeviceArray, b: DeviceArray | float) -> DeviceArray:
    """A new array ``a * b``, `b` an array of the same shape or a number."""
    out = empty(a.device, a.shape, str(a.dtype))
    if isinstance(b, DeviceArray):
        _check_shapes(a, b)
        _multiply.for_all(a.size, out.base, a.base, axes_of(a), b.base, axes_of(b), sizes_of(a), a.size)
    else:
        _scale.for_all(a.size, out.base, a.base, axes_of(a), a.dtype.type(b), sizes_of(a), a.size)
    return out


def concatenate(arrays: Sequence[DeviceArray]) -> DeviceArray:
    """A new array, `arrays` side by side along the last axis."""
    first = arrays[0]
    out = empty(first.device, (*first.shape[:-1], sum(array.shape[-1] for array in arrays)), str(first.dtype))
    start = 0
    for array in arrays:
        stop = start + array.shape[-1]
        copy(out[..., start:stop], array)
        start = stop
    return out


def dropout(x: DeviceArray, probability: float, noise: Noise, per_step: bool) -> DeviceArray:
    """`Backend.dropout` for arrays on a device."""
    out, (rows, steps, units) = empty(x.device, x.shape, str(x.dtype)), x.shape
    scale = x.dtype.type(1.0 / (1.0 - probability))
    _dropout.launch(
        *row_grid(rows * steps, units), x.base, axes_of(x), out.base, x.shape, stream_key(noise, "dropout"),
        threshold(probability), scale, np.bool_(per_step),
    )  # fmt: skip
    return out


def _check_shapes(a: DeviceArray, b: DeviceArray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"arrays must have the same shape, got {a.shape} and {b.shape}")
