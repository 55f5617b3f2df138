"""Norms and optimizer steps on flat vectors. `decay` has no elements where there is none."""

from __future__ import annotations

import math

import numpy as np

from .machine.compiling import free_sums, kernel

BLOCK = 1024


@free_sums
def _squares(vector, start, stop):
    total = 0.0
    for i in range(start, stop):
        value = np.float64(vector[i])  # float() of a float32 is a float32 to Numba
        total += value * value
    return total


@kernel
def global_norm(vector):
    """Euclidean norm in float64; blocks bound the rounding of a long sum."""
    norm = 0.0
    for start in range(0, vector.size, BLOCK):
        norm += _squares(vector, start, min(start + BLOCK, vector.size))
    return math.sqrt(norm)


# Hyper-parameters come in float64 and are rounded here, once; one too large becomes infinity, and shows in `flat`.


@kernel
def adam_step(flat, gradient, mean, square, decay, numbers):
    """Kingma & Ba 2015, algorithm 1, with `numbers` beta1, 1 - beta1, beta2, 1 - beta2, rate, epsilon, and so on.

    The rate is alpha / (1 - beta1**t), the correction 1 / sqrt(1 - beta2**t). In float32, five digits of 1 - 0.999 are
    right, so it is given. `coupled` is 1 with an L2 penalty, 0 with AdamW's `shrink`.
    """
    real = flat.dtype.type
    beta1, new1, beta2, new2 = real(numbers[0]), real(numbers[1]), real(numbers[2]), real(numbers[3])
    rate, epsilon, correction = real(numbers[4]), real(numbers[5]), real(numbers[6])
    scale, coupled, shrink = real(numbers[7]), real(numbers[8]), real(numbers[9])
    for i in range(flat.size):
        g, before = gradient[i] * scale, flat[i]
        if decay.size:
            g += coupled * decay[i] * before
            before -= shrink * decay[i] * before
        mean[i] = beta1 * mean[i] + new1 * g
        square[i] = beta2 * square[i] + new2 * (g * g)
        flat[i] = before - rate * mean[i] / (math.sqrt(square[i]) * correction + epsilon)


@kernel
def sgd_step(flat, gradient, velocity, decay, numbers):
    """With momentum (Sutskever et al. 2013): the step is ``ahead * velocity + now * g``."""
    real = flat.dtype.type
    scale, rate, momentum = real(numbers[0]), real(numbers[1]), real(numbers[2])
    ahead, now = real(numbers[3]), real(numbers[4])
    for i in range(flat.size):
        g = gradient[i] * scale
        if decay.size:
            g += decay[i] * flat[i]
        velocity[i] = momentum * velocity[i] + g
        flat[i] -= rate * (ahead * velocity[i] + now * g)


@kernel
def rmsprop_step(flat, gradient, square, decay, numbers):
    """Hinton 2012, lecture 6e."""
    real = flat.dtype.type
    scale, rate, rho = real(numbers[0]), real(numbers[1]), real(numbers[2])
    new, epsilon = real(numbers[3]), real(numbers[4])
    for i in range(flat.size):
        g = gradient[i] * scale
        if decay.size:
            g += decay[i] * flat[i]
        square[i] = rho * square[i] + new * (g * g)
        flat[i] -= rate * g / (math.sqrt(square[i]) + epsilon)
