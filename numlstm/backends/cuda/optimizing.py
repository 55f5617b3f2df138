"""Norms and optimizer steps on flat vectors, which are contiguous.

Kernels take the places where vectors start in a tuple: -1 for one that is not there. The factor of the gradient is a
number, or in memory where a place for it is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import DeviceArray, empty, to_numpy
from .device import THREADS, cuda
from .launching import kernel
from .reductions import block_sum, new_parts, row_grid, sum_of_parts


@kernel
def _squares(vector, start, count, parts):
    """The sum of squares in float64, a part from each block."""
    shared = cuda.shared.array(THREADS, np.float64)
    total = 0.0
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        value = np.float64(vector[start + k])
        total += value * value
    total = block_sum(shared, total)
    if cuda.threadIdx.x == 0:
        parts[cuda.blockIdx.x] = total


@kernel
def _norm(parts, count, limit, norm, scale):
    """The root of the sum of parts, and what it is to be multiplied with to be at most `limit`; 1 where it is NaN."""
    shared = cuda.shared.array(THREADS, np.float64)
    found = math.sqrt(sum_of_parts(shared, parts, count))
    if cuda.threadIdx.x == 0:
        norm[0] = found
        ratio = limit / max(found, 1e-30)
        scale[0] = ratio if ratio < 1.0 else 1.0


@kernel
def _adam(flat, gradient, mean, square, decay, clip, places, count, numbers):
    """Kingma & Ba 2015, algorithm 1; see `adam_step` for what the numbers are."""
    scale, beta1, new1, beta2, new2, rate, epsilon, correction, coupled, shrink = numbers
    if places[5] >= 0:
        scale = clip[places[5]]
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        g, before = gradient[places[1] + k] * scale, flat[places[0] + k]
        if places[4] >= 0:
            pull = decay[places[4] + k] * before
            g += coupled * pull
            before -= shrink * pull
        m = beta1 * mean[places[2] + k] + new1 * g
        v = beta2 * square[places[3] + k] + new2 * (g * g)
        mean[places[2] + k], square[places[3] + k] = m, v
        flat[places[0] + k] = before - rate * m / (math.sqrt(v) * correction + epsilon)


@kernel
def _sgd(flat, gradient, velocity, decay, clip, places, count, numbers):
    """With momentum (Sutskever et al. 2013): the step is ``ahead * velocity + now * g``."""
    scale, rate, momentum, ahead, now = numbers
    if places[4] >= 0:
        scale = clip[places[4]]
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        g, before = gradient[places[1] + k] * scale, flat[places[0] + k]
        if places[3] >= 0:
            g += decay[places[3] + k] * before
        v = momentum * velocity[places[2] + k] + g
        velocity[places[2] + k] = v
        flat[places[0] + k] = before - rate * (ahead * v + now * g)


@kernel
def _rmsprop(flat, gradient, square, decay, clip, places, count, numbers):
    """Hinton 2012, lecture 6e."""
    scale, rate, rho, new, epsilon = numbers
    if places[4] >= 0:
        scale = clip[places[4]]
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        g, before = gradient[places[1] + k] * scale, flat[places[0] + k]
        if places[3] >= 0:
            g += decay[places[3] + k] * before
        q = rho * square[places[2] + k] + new * (g * g)
        square[places[2] + k] = q
        flat[places[0] + k] = before - rate * g / (math.sqrt(q) + epsilon)


def _norm_and_scale(vector: DeviceArray, limit: float) -> tuple[DeviceArray, DeviceArray]:
    """Euclidean norm, in float64, and what clips it; one number each."""
    device = vector.device
    blocks, _ = row_grid(-(-vector.size // 4), 1)  # four numbers a thread, at least
    parts = new_parts(device, blocks)
    norm, scale = empty(device, (1,), "float64"), empty(device, (1,), str(vector.dtype))
    _squares.launch(blocks, THREADS, vector.base, vector.offset, vector.size, parts.base)
    _norm.launch(1, THREADS, parts.base, blocks, float(limit), norm.base, scale.base)
    return norm, scale


def global_norm(vector: DeviceArray) -> float:
    """`Backend.global_norm` for arrays on a device."""
    return float(to_numpy(_norm_and_scale(vector, math.inf)[0])[0])


def clip_scale(vector: DeviceArray, limit: float) -> DeviceArray:
    """`Backend.clip_scale` for arrays on a device: one number there, of the vector's dtype."""
    return _norm_and_scale(vector, limit)[1]


def adam_step(
    flat: DeviceArray,
    gradient: DeviceArray,
    moments: tuple[DeviceArray, DeviceArray],
    *,
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    scale: float | DeviceArray,
    decay: DeviceArray | None,
    decoupled: bool,
) -> None:
    """`Backend.adam_step` for arrays on a device."""
    beta1, beta2 = betas
    rate = learning_rate / (1 - beta1**step)
    correction = 1 / math.sqrt(1 - beta2**step)
    coupled, shrink = (0.0, learning_rate) if decoupled else (1.0, 0.0)
    numbers = beta1, 1 - beta1, beta2, 1 - beta2, rate, epsilon, correction, coupled, shrink
    _step(_adam, [flat, gradient, *moments, decay], scale, numbers)


def sgd_step(
    flat: DeviceArray,
    gradient: DeviceArray,
    velocity: DeviceArray,
    *,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    scale: float | DeviceArray,
    decay: DeviceArray | None,
) -> None:
    """`Backend.sgd_step` for arrays on a device."""
    ahead, now = (momentum, 1.0) if nesterov else (1.0, 0.0)
    _step(_sgd, [flat, gradient, velocity, decay], scale, (learning_rate, momentum, ahead, now))


def rmsprop_step(
    flat: DeviceArray,
    gradient: DeviceArray,
    square: DeviceArray,
    *,
    learning_rate: float,
    rho: float,
    epsilon: float,
    scale: float | DeviceArray,
    decay: DeviceArray | None,
) -> None:
    """`Backend.rmsprop_step` for arrays on a device."""
    _step(_rmsprop, [flat, gradient, square, decay], scale, (learning_rate, rho, 1 - rho, epsilon))


def _step(
    step: Any, vectors: Sequence[DeviceArray | None], scale: float | DeviceArray, numbers: Sequence[float]
) -> None:  # fmt: skip
    """Launch a kernel on vectors, of which the first is that of the parameters."""
    flat = vectors[0]
    assert flat is not None
    clip, factor = (scale, 1.0) if isinstance(scale, DeviceArray) else (None, scale)
    given = [*vectors, clip]
    bases = [flat.base if vector is None else vector.base for vector in given]
    places = tuple(-1 if vector is None else vector.offset for vector in given)
    with np.errstate(over="ignore"):  # one too large becomes infinity, and shows in `flat`
        rounded = tuple(flat.dtype.type(number) for number in (factor, *numbers))
    step.for_all(flat.size, *bases, places, flat.size, rounded)
