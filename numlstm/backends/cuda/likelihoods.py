"""Losses of distributions and their gradients: computed in float64, whatever the scores are stored in."""

from __future__ import annotations

import numpy as np

from ..contract import LIKELIHOODS, LossSpec
from ..equations import distributions as equations
from .arrays import DeviceArray, empty, to_device
from .device import THREADS, cuda
from .elementary import device_equation
from .launching import kernel
from .losses import DeviceScalar
from .reductions import block_sum, first_row, new_parts, row_grid, row_step, total_of

QUANTILES, GAUSSIAN, STUDENT_T, NEGATIVE_BINOMIAL = range(len(LIKELIHOODS))
quantiles, gaussian, student_t, negative_binomial = (device_equation(getattr(equations, kind)) for kind in LIKELIHOODS)


@kernel
def _quantiles(levels, scores, axes, shape, targets, weights, gradient, parts):
    """Losses of rows of ordered quantiles: their gradients, and the weighted sum of a block's rows."""
    shared = cuda.shared.array(THREADS, np.float64)
    rows, width = shape
    loss = 0.0
    for n in range(first_row(), rows, row_step()):
        weight, first = weights[n], n * width
        if weight == 0:
            for k in range(width):
                gradient[first + k] = 0
        else:
            start, t = axes[0] + n * axes[1], np.float64(targets[n])
            loss += weight * quantiles(scores, start, axes[2], levels, width, t, weight, gradient, first)
    loss = block_sum(shared, loss)
    if cuda.threadIdx.y == 0:
        parts[cuda.blockIdx.x] = loss


@kernel
def _likelihood(kind, scores, axes, shape, targets, weights, gradient, parts):
    """Losses of rows of parameters: their gradients, and the weighted sum of a block's rows."""
    shared = cuda.shared.array(THREADS, np.float64)
    rows, width = shape
    loss = 0.0
    for n in range(first_row(), rows, row_step()):
        weight, first, start = weights[n], n * width, axes[0] + n * axes[1]
        value = of_a = of_b = of_c = 0.0
        if weight != 0:
            a, b = np.float64(scores[start]), np.float64(scores[start + axes[2]])
            if kind == GAUSSIAN:
                value, of_a, of_b = gaussian(a, b, np.float64(targets[n]))
            elif kind == STUDENT_T:
                c = np.float64(scores[start + 2 * axes[2]])
                value, of_a, of_b, of_c = student_t(a, b, c, np.float64(targets[n]))
            else:
                count, exposure = np.float64(targets[2 * n]), np.float64(targets[2 * n + 1])
                value, of_a, of_b = negative_binomial(a, b, count, exposure)
        gradient[first], gradient[first + 1] = weight * of_a, weight * of_b
        if kind == STUDENT_T:
            gradient[first + 2] = weight * of_c
        loss += weight * value
    loss = block_sum(shared, loss)
    if cuda.threadIdx.y == 0:
        parts[cuda.blockIdx.x] = loss


def loss(
    spec: LossSpec, scores: DeviceArray, targets: np.ndarray, weights: np.ndarray
) -> tuple[DeviceScalar, DeviceArray]:
    """`Backend.loss` of `LIKELIHOODS`, for arrays on a device."""
    device, gradient = scores.device, empty(scores.device, scores.shape, str(scores.dtype))
    blocks, threads = row_grid(len(weights), 1)
    parts = new_parts(device, blocks)
    device_targets = to_device(device, np.asarray(targets, scores.dtype))
    device_weights = to_device(device, np.asarray(weights, np.float64))
    axes = (scores.offset, *scores.steps)
    common = scores.base, axes, scores.shape, device_targets.base, device_weights.base, gradient.base, parts.base
    if spec.kind == "quantiles":
        levels = to_device(device, np.asarray(spec.levels, np.float64))
        _quantiles.launch(blocks, threads, levels.base, *common)
    else:
        _likelihood.launch(blocks, threads, LIKELIHOODS.index(spec.kind), *common)
    return DeviceScalar(total_of(parts)), gradient
