"""Losses of distributions and their gradients, computed in float64 for scores of any dtype."""

from __future__ import annotations

import numpy as np

from .. import plain
from ..contract import LIKELIHOODS, LossSpec
from ..equations import distributions as equations
from .machine.compiling import inner, kernel
from .machine.recording import contiguous, do, resulting

QUANTILES, GAUSSIAN, STUDENT_T, NEGATIVE_BINOMIAL = range(len(LIKELIHOODS))
quantiles, gaussian, student_t, negative_binomial = (
    plain.compiled(getattr(equations, kind), inner, ()) for kind in LIKELIHOODS
)


@kernel
def likelihood(kind, levels, scores, targets, weights, gradient, losses):
    """The weighted loss of each row, and its gradient. Scores and gradient are flat, targets (M, numbers)."""
    rows, width = len(weights), len(scores) // len(weights)
    for n in range(rows):
        first, weight = n * width, weights[n]
        gradient[first : first + width], losses[n] = 0, 0.0
        if weight == 0:
            continue
        t = np.float64(targets[n, 0])
        if kind == QUANTILES:
            losses[n] = weight * quantiles(scores, first, 1, levels, width, t, weight, gradient, first)
            continue
        a, b = np.float64(scores[first]), np.float64(scores[first + 1])
        if kind == GAUSSIAN:
            value, of_a, of_b = gaussian(a, b, t)
        elif kind == STUDENT_T:
            value, of_a, of_b, of_c = student_t(a, b, np.float64(scores[first + 2]), t)
            gradient[first + 2] = weight * of_c
        else:
            value, of_a, of_b = negative_binomial(a, b, t, np.float64(targets[n, 1]))
        gradient[first], gradient[first + 1] = weight * of_a, weight * of_b
        losses[n] = weight * value


def loss(spec: LossSpec, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """`Backend.loss` of `LIKELIHOODS`, for NumPy arrays."""
    gradient, levels = np.empty(scores.shape, scores.dtype), np.asarray(spec.levels, np.float64)
    targets, flat, losses = contiguous(targets, scores.dtype), contiguous(scores).reshape(-1), np.empty(len(weights))
    kind = LIKELIHOODS.index(spec.kind)
    do(likelihood[scores.dtype], kind, levels, flat, targets, weights, gradient.reshape(-1), losses)
    return resulting(lambda: float(losses.sum())), gradient
