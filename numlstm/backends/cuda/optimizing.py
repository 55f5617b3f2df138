"""Norms and optimizer steps on flat vectors, which are contiguous.

Kernels get the offsets of all vectors in their memory as a tuple; an offset of -1 means that there is no such vector.
The gradient's factor is the number `scale`, or `clip` where that has an offset. The hyper-parameters are a named tuple
of `equations.optimizers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..equations import optimizers as equations
from .arrays import DeviceArray, empty, to_numpy
from .device import THREADS, cuda
from .elementary import device_equation
from .launching import Kernel, kernel
from .reductions import block_sum, new_parts, row_grid, sum_of_parts

clip_factor = device_equation(equations.clip_scale)
penalised = device_equation(equations.penalised)
adam_decay = device_equation(equations.adam_decay)
adam = device_equation(equations.adam)
sgd = device_equation(equations.sgd)
rmsprop = device_equation(equations.rmsprop)


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
    """The root of the sum of parts, and the factor that clips it."""
    shared = cuda.shared.array(THREADS, np.float64)
    root = math.sqrt(sum_of_parts(shared, parts, count))
    if cuda.threadIdx.x == 0:
        norm[0] = root
        scale[0] = clip_factor(root, limit)


@kernel
def adam_kernel(flat, gradient, mean, square, decay, clip, offsets, count, scale, numbers):
    """One step of Adam or AdamW."""
    at, at_gradient, at_mean, at_square, at_decay, at_clip = offsets
    if at_clip >= 0:
        scale = clip[at_clip]
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        theta, g = flat[at + k], gradient[at_gradient + k] * scale
        if at_decay >= 0:
            theta, g = adam_decay(theta, g, decay[at_decay + k], numbers)
        theta, m, v = adam(theta, g, mean[at_mean + k], square[at_square + k], numbers)
        flat[at + k], mean[at_mean + k], square[at_square + k] = theta, m, v


@kernel
def sgd_kernel(flat, gradient, velocity, decay, clip, offsets, count, scale, numbers):
    """One step of gradient descent with momentum."""
    at, at_gradient, at_velocity, at_decay, at_clip = offsets
    if at_clip >= 0:
        scale = clip[at_clip]
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        theta, g = flat[at + k], gradient[at_gradient + k] * scale
        if at_decay >= 0:
            g = penalised(theta, g, decay[at_decay + k])
        flat[at + k], velocity[at_velocity + k] = sgd(theta, g, velocity[at_velocity + k], numbers)


@kernel
def rmsprop_kernel(flat, gradient, square, decay, clip, offsets, count, scale, numbers):
    """One step of RMSprop."""
    at, at_gradient, at_square, at_decay, at_clip = offsets
    if at_clip >= 0:
        scale = clip[at_clip]
    for k in range(cuda.grid(1), count, cuda.gridsize(1)):
        theta, g = flat[at + k], gradient[at_gradient + k] * scale
        if at_decay >= 0:
            g = penalised(theta, g, decay[at_decay + k])
        flat[at + k], square[at_square + k] = rmsprop(theta, g, square[at_square + k], numbers)


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


def step(
    kernel: Kernel,
    numbers: Any,
    flat: DeviceArray,
    gradient: DeviceArray,
    states: Sequence[DeviceArray],
    scale: float | DeviceArray,
    decay: DeviceArray | None,
) -> None:
    """Launch the kernel of an optimizer with the hyper-parameters of a step."""
    clip, factor = (scale, 1.0) if isinstance(scale, DeviceArray) else (None, scale)
    vectors = [flat, gradient, *states, decay, clip]
    bases = [flat.base if vector is None else vector.base for vector in vectors]
    offsets = tuple(-1 if vector is None else vector.offset for vector in vectors)
    real = flat.dtype.type
    with np.errstate(over="ignore"):  # a number that is too large becomes infinite, and `flat` shows it
        rounded = type(numbers)(*map(real, numbers))
    kernel.for_all(flat.size, *bases, offsets, flat.size, real(factor), rounded)
