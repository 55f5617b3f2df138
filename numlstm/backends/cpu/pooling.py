"""Pooling: one vector for each sequence, from the vectors of its steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import plain
from ..contract import PoolSpec
from ..equations import pooling as equations
from .machine.compiling import free_sums, kernel, once
from .machine.recording import contiguous, do, only_if

attention = plain.compiled(equations.attention, once, ())
attention_slope = plain.compiled(equations.attention_slope, once, ())
is_larger = plain.compiled(equations.is_larger, once, ())


@free_sums
def _dot(a, b):
    total = a.dtype.type(0)
    for f in range(a.size):
        total += a[f] * b[f]
    return total


@kernel
def attend(y, lengths, weight, bias, shares):
    """Write the share of each step, ``softmax(tanh(weight y + bias))`` over the steps of a row; zeros past them."""
    for n in range(len(y)):
        shares[n] = 0
        total = 0.0
        for t in range(lengths[n]):
            shares[n, t] = attention(np.float64(_dot(weight, y[n, t]) + bias[0]))
            total += shares[n, t]
        for t in range(lengths[n]):
            shares[n, t] /= total


@kernel
def attend_backward(y, lengths, weight, bias, shares, dpooled, dy, dweight, dbias):
    """Add the gradients that come through the shares to `dy`, `dweight` and `dbias`."""
    dshares = np.empty(y.shape[1])
    for n in range(len(y)):
        mean = 0.0
        for t in range(lengths[n]):
            dshares[t] = _dot(dpooled[n], y[n, t])
            mean += shares[n, t] * dshares[t]
        for t in range(lengths[n]):
            slope_of_tanh = attention_slope(1.0, np.float64(_dot(weight, y[n, t]) + bias[0]))
            slope = y.dtype.type(shares[n, t] * (dshares[t] - mean) * slope_of_tanh)
            dbias[0] += slope
            for f in range(weight.size):
                dy[n, t, f] += slope * weight[f]
                dweight[f] += slope * y[n, t, f]


@kernel
def weighted_sum(y, lengths, shares, pooled):
    """Write the sum of the steps of a row, each times its share."""
    for n in range(len(y)):
        pooled[n] = 0
        for t in range(lengths[n]):
            share = shares[n, t]
            for f in range(y.shape[2]):
                pooled[n, f] += share * y[n, t, f]


@kernel
def weighted_sum_backward(lengths, shares, dpooled, dy):
    """Write `dy`, with zeros past the lengths."""
    for n in range(len(dy)):
        for t in range(dy.shape[1]):
            share = shares[n, t]
            for f in range(dy.shape[2]):
                dy[n, t, f] = share * dpooled[n, f]


@kernel
def maximum(y, lengths, pooled, places):
    """Write the maximum of each feature over the steps of a row, and the first step that has it; NaN is the maximum."""
    for n in range(len(y)):
        for f in range(y.shape[2]):  # `pooled[n] = y[n, 0]` takes Numba a second to compile
            pooled[n, f], places[n, f] = y[n, 0, f], 0
        for t in range(1, lengths[n]):
            for f in range(y.shape[2]):
                if is_larger(y[n, t, f], pooled[n, f]):
                    pooled[n, f] = y[n, t, f]
                    places[n, f] = t


@kernel
def maximum_backward(places, dpooled, dy):
    """Write `dy`: the gradient of each maximum at the step that has it, and zeros elsewhere."""
    for n in range(len(dy)):
        for t in range(dy.shape[1]):
            for f in range(dy.shape[2]):
                dy[n, t, f] = dpooled[n, f] if places[n, f] == t else 0


class PoolWeights:
    """The parameters of a pooling: views of the flat vector, so that they are always up to date."""

    def __init__(self, spec: PoolSpec, flat: np.ndarray) -> None:
        self.spec, self.weight, self.bias = spec, flat[: spec.features], flat[spec.features :]

    def refresh(self) -> None:
        """Follow a change of the flat vector."""


def pool_forward(weights: PoolWeights, y: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, Any]:
    """`Backend.pool_forward` for NumPy arrays."""
    y, kind, dtype = contiguous(y), weights.spec.kind, y.dtype
    rows, steps, features = y.shape
    pooled = np.empty((rows, features), dtype)
    ends = _ends(lengths, rows, steps)
    if kind == "max":
        places = np.empty((rows, features), np.int64)
        do(maximum[dtype], y, ends, pooled, places)
        return pooled, places
    shares = np.empty((rows, steps), dtype)
    if kind == "mean":
        with only_if(lengths is not None):  # else they are the same each time
            do(_share_evenly, ends, shares)
    else:
        do(attend[dtype], y, ends, weights.weight, weights.bias, shares)
    do(weighted_sum[dtype], y, ends, shares, pooled)
    return pooled, shares


def pool_backward(
    weights: PoolWeights,
    y: np.ndarray,
    lengths: np.ndarray | None,
    tape: np.ndarray,
    dpooled: np.ndarray,
    gradient: np.ndarray,
) -> np.ndarray:
    """`Backend.pool_backward` for NumPy arrays."""
    y, dpooled, kind, dtype = contiguous(y), contiguous(dpooled), weights.spec.kind, y.dtype
    dy = np.empty(y.shape, dtype)
    if kind == "max":
        do(maximum_backward[dtype], tape, dpooled, dy)
        return dy
    ends = _ends(lengths, *y.shape[:2])
    do(weighted_sum_backward[dtype], ends, tape, dpooled, dy)
    if kind == "attention":
        features = weights.spec.features
        do(gradient.fill, 0)
        do(
            attend_backward[dtype],
            y, ends, weights.weight, weights.bias, tape, dpooled, dy, gradient[:features], gradient[features:],
        )  # fmt: skip
    return dy


def _share_evenly(lengths: np.ndarray, shares: np.ndarray) -> None:
    """Write the same share for each step of a row, and zeros past its length."""
    shares[...] = np.where(np.arange(shares.shape[1]) < lengths[:, None], 1 / lengths[:, None], 0.0)


def _ends(lengths: np.ndarray | None, rows: int, steps: int) -> np.ndarray:
    return np.full(rows, steps) if lengths is None else np.ascontiguousarray(lengths, np.int64)
