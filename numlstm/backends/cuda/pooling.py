"""One vector for each sequence, made of those of its steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import PoolSpec
from ..equations import pooling as equations
from .arrays import DeviceArray, axes_of, empty, fill, to_device
from .device import SIMULATED, THREADS, cuda
from .elementary import device_equation
from .launching import device_function, kernel
from .products import column_sums
from .reductions import first_row, row_grid, row_step, row_sum

attention = device_equation(equations.attention)
attention_slope = device_equation(equations.attention_slope)
is_larger = device_equation(equations.is_larger)

CHUNKS = 2 if SIMULATED else 256  # of all steps of all rows, whose gradients are summed apart


@kernel
def _even_shares(lengths, shares, steps, count):
    """The same share for each step of a row; zeros past them."""
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        length, real = lengths[k // steps], shares.dtype.type
        shares[k] = real(1) / real(length) if k % steps < length else real(0)


@device_function
def _dot(a, a_start, b, b_start, size, shared):
    """The product of two vectors, by the lanes of a row of threads."""
    total = a.dtype.type(0)
    for f in range(cuda.threadIdx.x, size, cuda.blockDim.x):
        total += a[a_start + f] * b[b_start + f]
    return row_sum(shared, total)


@device_function
def _step_at(row, axes, shape, lengths):
    """Whether a row has a step, the row, and where the step is in y; from the number of their pair."""
    n, t = row // shape[1], row % shape[1]
    return row < shape[0] * shape[1] and t < lengths[n], n, axes[0] + n * axes[1] + t * axes[2]


@kernel
def _attend(y, axes, shape, lengths, weight, at, shares):
    """``exp(tanh(weight y + bias))`` at each step; tanh is at most 1, so it cannot overflow. Zeros past a row."""
    shared = cuda.shared.array(THREADS, y.dtype)
    rows, steps, features = shape
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, rows * steps, cuda.gridDim.x * cuda.blockDim.y):
        row = first + cuda.threadIdx.y
        inside, _, start = _step_at(row, axes, shape, lengths)
        score = _dot(weight, at, y, start, features if inside else 0, shared)
        if cuda.threadIdx.x == 0 and row < rows * steps:
            shares[row] = attention(score + weight[at + features]) if inside else y.dtype.type(0)


@kernel
def _normalise(shares, lengths, rows, steps):
    """Divide the numbers of each row by their sum."""
    shared = cuda.shared.array(THREADS, shares.dtype)
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        n = first + cuda.threadIdx.y
        length = lengths[n] if n < rows else 0
        total = shares.dtype.type(0)
        for t in range(cuda.threadIdx.x, length, cuda.blockDim.x):
            total += shares[n * steps + t]
        total = row_sum(shared, total)
        for t in range(cuda.threadIdx.x, length, cuda.blockDim.x):
            shares[n * steps + t] /= total


@kernel
def _weighted_sums(y, axes, shape, lengths, shares, pooled):
    """Sums of rows' own steps, each times its share; a thread for each feature."""
    rows, steps, features = shape
    for k in range(cuda.grid(1), rows * features, cuda.gridsize(1)):
        n, total = k // features, y.dtype.type(0)
        start = axes[0] + n * axes[1] + k % features * axes[3]
        for t in range(lengths[n]):
            total += shares[n * steps + t] * y[start + t * axes[2]]
        pooled[k] = total


@kernel
def _maxima(y, axes, shape, lengths, pooled, places):
    """The largest of a row's own steps in each feature, and where it first is; NaN is larger than any."""
    rows, _, features = shape
    for k in range(cuda.grid(1), rows * features, cuda.gridsize(1)):
        n, place = k // features, 0
        start = axes[0] + n * axes[1] + k % features * axes[3]
        best = y[start]
        for t in range(1, lengths[n]):
            value = y[start + t * axes[2]]
            if is_larger(value, best):
                best, place = value, t
        pooled[k], places[k] = best, place


@kernel
def _maxima_backward(places, shape, dpooled, axes, dy):
    """Each gradient to the step of its maximum, zeros to all others."""
    rows, steps, features = shape
    for row in range(first_row(), rows * steps, row_step()):
        n, t = row // steps, row % steps
        for f in range(cuda.threadIdx.x, features, cuda.blockDim.x):
            value = dpooled[axes[0] + n * axes[1] + f * axes[2]]
            dy[row * features + f] = value if places[n * features + f] == t else dy.dtype.type(0)


@kernel
def _attend_backward(y, axes, shape, lengths, weight, at, shares, dpooled, dpooled_axes, dshares, slopes):
    """At each step the gradient of its share, and that share times the slope of tanh; zeros past a row."""
    shared = cuda.shared.array(THREADS, y.dtype)
    rows, steps, features = shape
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, rows * steps, cuda.gridDim.x * cuda.blockDim.y):
        row = first + cuda.threadIdx.y
        inside, n, start = _step_at(row, axes, shape, lengths)
        size = features if inside else 0
        score = _dot(weight, at, y, start, size, shared)
        dshare = _dot(dpooled, dpooled_axes[0] + n * dpooled_axes[1], y, start, size, shared)
        if cuda.threadIdx.x == 0 and row < rows * steps:
            dshares[row] = dshare
            slopes[row] = shares[row] * attention_slope(y.dtype.type(1), score + weight[at + features])


@kernel
def _softmax_backward(shares, dshares, slopes, lengths, rows, steps):
    """Multiply `slopes` by what the gradient of a share exceeds their mean by."""
    shared = cuda.shared.array(THREADS, shares.dtype)
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        n = first + cuda.threadIdx.y
        length = lengths[n] if n < rows else 0
        mean = shares.dtype.type(0)
        for t in range(cuda.threadIdx.x, length, cuda.blockDim.x):
            mean += shares[n * steps + t] * dshares[n * steps + t]
        mean = row_sum(shared, mean)
        for t in range(cuda.threadIdx.x, length, cuda.blockDim.x):
            slopes[n * steps + t] *= dshares[n * steps + t] - mean


@kernel
def _weighted_sums_backward(shares, shape, lengths, dpooled, axes, dy, slopes, weight, at):
    """Overwrite `dy`, zeros past the lengths; there are `slopes` where `at`, the place of the weights, is none less."""
    rows, steps, features = shape
    for row in range(first_row(), rows * steps, row_step()):
        n, t = row // steps, row % steps
        for f in range(cuda.threadIdx.x, features, cuda.blockDim.x):
            value = dy.dtype.type(0)
            if t < lengths[n]:
                value = shares[row] * dpooled[axes[0] + n * axes[1] + f * axes[2]]
                if at >= 0:
                    value += slopes[row] * weight[at + f]
            dy[row * features + f] = value


@kernel
def _attention_gradients(y, axes, shape, lengths, slopes, parts, chunk):
    """The gradients of weights and bias that come from so many rows and steps; a thread for each, in every block."""
    rows, steps, features = shape
    first = cuda.blockIdx.y * chunk
    f = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if f <= features:
        total = y.dtype.type(0)
        for row in range(first, min(first + chunk, rows * steps)):
            n, t = row // steps, row % steps
            if t < lengths[n]:
                factor = y.dtype.type(1)
                if f < features:
                    factor = y[axes[0] + n * axes[1] + t * axes[2] + f * axes[3]]
                total += slopes[row] * factor
        parts[cuda.blockIdx.y * (features + 1) + f] = total


class PoolWeights:
    """The parameters of a pooling; a view of the flat vector, so always up to date."""

    def __init__(self, spec: PoolSpec, flat: DeviceArray) -> None:
        self.spec, self.flat = spec, flat

    def refresh(self) -> None:
        """Follow a change of the flat vector."""


def pool_forward(weights: PoolWeights, y: DeviceArray, lengths: np.ndarray | None) -> tuple[DeviceArray, Any]:
    """`Backend.pool_forward` for arrays on a device."""
    kind, dtype, device = weights.spec.kind, str(y.dtype), y.device
    rows, steps, features = y.shape
    pooled, ends = empty(device, (rows, features), dtype), ends_on(y, lengths)
    source = y.base, axes_of(y), y.shape, ends.base
    if kind == "max":
        places = empty(device, (rows, features), "int64")
        _maxima.for_all(pooled.size, *source, pooled.base, places.base)
        return pooled, places
    shares = empty(device, (rows, steps), dtype)
    if kind == "mean":
        _even_shares.for_all(shares.size, ends.base, shares.base, steps, shares.size)
    else:
        flat = weights.flat
        _attend.launch(*row_grid(rows * steps, features), *source, flat.base, flat.offset, shares.base)
        _normalise.launch(*row_grid(rows, steps), shares.base, ends.base, rows, steps)
    _weighted_sums.for_all(pooled.size, *source, shares.base, pooled.base)
    return pooled, shares


def pool_backward(
    weights: PoolWeights,
    y: DeviceArray,
    lengths: np.ndarray | None,
    tape: DeviceArray,
    dpooled: DeviceArray,
    gradient: DeviceArray,
) -> DeviceArray:
    """`Backend.pool_backward` for arrays on a device."""
    dy, (rows, steps, features) = empty(y.device, y.shape, str(y.dtype)), y.shape
    axes, grid = (dpooled.offset, *dpooled.steps), row_grid(rows * steps, features)
    if weights.spec.kind == "max":
        _maxima_backward.launch(*grid, tape.base, y.shape, dpooled.base, axes, dy.base)
        return dy
    ends = ends_on(y, lengths)
    slopes, flat, at = tape, weights.flat, -1
    if weights.spec.kind == "attention":
        slopes, at = _slopes(weights, y, ends, tape, dpooled), flat.offset
        _gradients(y, ends, slopes, gradient)
    _weighted_sums_backward.launch(
        *grid, tape.base, y.shape, ends.base, dpooled.base, axes, dy.base, slopes.base, flat.base, at
    )
    return dy


def ends_on(y: DeviceArray, lengths: np.ndarray | None) -> DeviceArray:
    """The length of each row of y (N, T, F), where that is."""
    if lengths is not None:
        return to_device(y.device, np.asarray(lengths, np.int64))
    ends = empty(y.device, y.shape[:1], "int64")
    fill(ends, y.shape[1])
    return ends


def _slopes(
    weights: PoolWeights, y: DeviceArray, ends: DeviceArray, shares: DeviceArray, dpooled: DeviceArray
) -> DeviceArray:  # fmt: skip
    """The gradient of what attention takes the tanh of, (N, T)."""
    rows, steps, features = y.shape
    dshares, slopes = (empty(y.device, (rows, steps), str(y.dtype)) for _ in range(2))
    flat, axes = weights.flat, (dpooled.offset, *dpooled.steps)
    _attend_backward.launch(
        *row_grid(rows * steps, features), y.base, axes_of(y), y.shape, ends.base, flat.base, flat.offset, shares.base,
        dpooled.base, axes, dshares.base, slopes.base,
    )  # fmt: skip
    _softmax_backward.launch(*row_grid(rows, steps), shares.base, dshares.base, slopes.base, ends.base, rows, steps)
    return slopes


def _gradients(y: DeviceArray, ends: DeviceArray, slopes: DeviceArray, gradient: DeviceArray) -> None:
    """Overwrite `gradient` with that of attention's weights and bias."""
    rows, steps, features = y.shape
    chunk = max(1, -(-rows * steps // CHUNKS))
    parts = empty(y.device, (-(-rows * steps // chunk), features + 1), str(y.dtype))
    blocks = -(-(features + 1) // THREADS), len(parts)
    _attention_gradients.launch(
        blocks, THREADS, y.base, axes_of(y), y.shape, ends.base, slopes.base, parts.base, chunk
    )  # fmt: skip
    column_sums(gradient, parts)
