"""Losses and their gradients: computed in float64, whatever the scores are stored in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..contract import LossSpec
from ..equations import losses as equations
from .arrays import DeviceArray, empty, to_device, to_numpy
from .device import THREADS, cuda
from .elementary import device_equation
from .launching import kernel
from .reductions import block_sum, new_parts, row_grid, row_maximum, row_sum, total_of

elementwise_loss = device_equation(equations.elementwise)
softmax_term = device_equation(equations.softmax_term)
softmax_loss = device_equation(equations.softmax_loss)
softmax_slope = device_equation(equations.softmax_slope)


class DeviceScalar:
    """A number on a device; the host waits for it when it first reads the value.

    Parameters
    ----------
    array : DeviceArray, shape (1,)
    """

    def __init__(self, array: DeviceArray) -> None:
        self._array = array
        self._value: float | None = None

    def __float__(self) -> float:
        if self._value is None:
            self._value = float(to_numpy(self._array)[0])
        return self._value

    def __repr__(self) -> str:
        return repr(float(self))

    def __add__(self, other: Any) -> float:
        return float(self) + float(other)

    def __mul__(self, other: Any) -> float:
        return float(self) * float(other)

    __radd__, __rmul__ = __add__, __mul__


@kernel
def _softmax(scores, axes, shape, targets, weights, gradient, parts):
    """Each row's cross-entropy: its gradient, and the weighted sum of a block's rows."""
    shared = cuda.shared.array(THREADS, np.float64)
    rows, classes = shape
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    loss = 0.0
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        n = first + cuda.threadIdx.y
        weight = weights[n] if n < rows else 0.0
        start = axes[0] + n * axes[1]
        highest, total = -math.inf, 0.0
        if weight != 0:
            for k in range(lane, classes, lanes):
                highest = max(highest, np.float64(scores[start + k * axes[2]]))
        highest = row_maximum(shared, highest)
        if weight != 0:
            for k in range(lane, classes, lanes):
                total += softmax_term(np.float64(scores[start + k * axes[2]]), highest)
        total = row_sum(shared, total)
        if weight != 0:
            for k in range(lane, classes, lanes):
                term = softmax_term(np.float64(scores[start + k * axes[2]]), highest)
                gradient[n * classes + k] = weight * softmax_slope(term, total, k == targets[n])
            if lane == 0:
                loss += weight * softmax_loss(np.float64(scores[start + targets[n] * axes[2]]), highest, total)
        elif n < rows:
            for k in range(lane, classes, lanes):
                gradient[n * classes + k] = 0
    loss = block_sum(shared, loss)
    if lane == 0 and cuda.threadIdx.y == 0:
        parts[cuda.blockIdx.x] = loss


@kernel
def _elementwise(kind, parameter, scores, axes, shape, targets, weights, gradient, parts):
    """Losses of single scores: their gradients, and the weighted sum of a block's rows."""
    shared = cuda.shared.array(THREADS, np.float64)
    rows, outputs = shape
    loss = 0.0
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, rows, cuda.gridDim.x * cuda.blockDim.y):
        n = first + cuda.threadIdx.y
        weight = weights[n] if n < rows else 0.0
        start, total = axes[0] + n * axes[1], 0.0
        if n < rows:
            for k in range(cuda.threadIdx.x, outputs, cuda.blockDim.x):
                slope = 0.0
                if weight != 0:
                    s, t = np.float64(scores[start + k * axes[2]]), np.float64(targets[n * outputs + k])
                    value, slope = elementwise_loss(kind, parameter, s, t)
                    total += value
                gradient[n * outputs + k] = weight * slope
        loss += weight * total
    loss = block_sum(shared, loss)
    if cuda.threadIdx.x == 0 and cuda.threadIdx.y == 0:
        parts[cuda.blockIdx.x] = loss


def loss(
    spec: LossSpec, scores: DeviceArray, targets: np.ndarray, weights: np.ndarray
) -> tuple[DeviceScalar, DeviceArray]:
    """`Backend.loss` for arrays on a device."""
    device, gradient = scores.device, empty(scores.device, scores.shape, str(scores.dtype))
    blocks, threads = row_grid(*scores.shape)
    parts = new_parts(device, blocks)
    device_targets = to_device(device, np.asarray(targets, np.int64 if spec.kind == "softmax" else scores.dtype))
    device_weights = to_device(device, np.asarray(weights, np.float64))
    axes = (scores.offset, *scores.steps)
    common = scores.base, axes, scores.shape, device_targets.base, device_weights.base, gradient.base, parts.base
    if spec.kind == "softmax":
        _softmax.launch(blocks, threads, *common)
    else:
        kind = equations.ELEMENTWISE.index(spec.kind)
        _elementwise.launch(blocks, threads, kind, float(spec.parameter), *common)
    return DeviceScalar(total_of(parts)), gradient
