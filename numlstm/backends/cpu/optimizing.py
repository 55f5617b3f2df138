"""Losses, norms and optimizer steps on flat vectors."""

from __future__ import annotations

import math

import numpy as np

from .compiling import kernel

BLOCK = 1024


@kernel
def softmax_cross_entropy(scores, targets, gradient):
    """Mean cross-entropy of each row's softmax; overwrites `gradient`. All in float64 but what is stored."""
    rows, classes = scores.shape
    loss = 0.0
    for n in range(rows):
        highest = -math.inf
        for k in range(classes):
            highest = max(highest, np.float64(scores[n, k]))
        total = 0.0
        for k in range(classes):
            total += math.exp(scores[n, k] - highest)
        loss += math.log(total) - (scores[n, targets[n]] - highest)
        for k in range(classes):
            gradient[n, k] = (math.exp(scores[n, k] - highest) / total - (k == targets[n])) / rows
    return loss / rows


@kernel
def global_norm(vector):
    """Euclidean norm in float64; blocks bound the rounding of a long sum."""
    norm = 0.0
    for start in range(0, vector.size, BLOCK):
        part = 0.0
        for i in range(start, min(start + BLOCK, vector.size)):
            value = np.float64(vector[i])  # float() of a float32 is a float32 to Numba
            part += value * value
        norm += part
    return math.sqrt(norm)


@kernel
def adam_step(flat, gradient, mean, square, beta1, new1, beta2, new2, rate, epsilon, correction, scale):
    """Kingma & Ba 2015, algorithm 1; `rate` is alpha / (1 - beta1**t), `correction` 1 / sqrt(1 - beta2**t).

    `new1` is 1 - beta1 and `new2` 1 - beta2: in float32, five digits of 1 - 0.999 are right, so they are given.
    """
    for i in range(flat.size):
        g = gradient[i] * scale
        mean[i] = beta1 * mean[i] + new1 * g
        square[i] = beta2 * square[i] + new2 * (g * g)
        flat[i] -= rate * mean[i] / (math.sqrt(square[i]) * correction + epsilon)
