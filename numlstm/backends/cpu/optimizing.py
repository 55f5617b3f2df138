"""Losses, norms and optimizer steps on flat vectors."""

from __future__ import annotations

import math

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
            highest = max(highest, float(scores[n, k]))
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
            part += float(vector[i]) * float(vector[i])
        norm += part
    return math.sqrt(norm)


@kernel
def adam_step(flat, gradient, mean, square, beta1, beta2, rate, epsilon, correction, scale):
    """Kingma & Ba 2015, algorithm 1; `rate` is alpha / (1 - beta1**t), `correction` 1 / sqrt(1 - beta2**t)."""
    one = type(beta1)(1)
    for i in range(flat.size):
        g = gradient[i] * scale
        mean[i] = beta1 * mean[i] + (one - beta1) * g
        square[i] = beta2 * square[i] + (one - beta2) * (g * g)
        flat[i] -= rate * mean[i] / (math.sqrt(square[i]) * correction + epsilon)
