"""Losses and their gradients: computed in float64, whatever the scores are stored in."""

from __future__ import annotations

import math

import numpy as np

from .. import plain
from ..contract import LossSpec
from ..equations import losses as equations
from .machine import threads
from .machine.compiling import kernel, once
from .machine.log_sums import NEVER, exponentials, len_of_vector

FLOP_OF_A_SCORE = 40.0  # roughly: an exponential and a division

elementwise_loss = plain.compiled(equations.elementwise, once, ())
softmax_loss = plain.compiled(equations.softmax_loss, once, ())
softmax_slope = plain.compiled(equations.softmax_slope, once, ())


@kernel
def softmax(scores, targets, weights, gradient, losses, first, last):
    """The weighted cross-entropy of each row, and its gradient: of the rows first <= n < last.

    Terms are `softmax_term` on vectors: none is below exp(-700).
    """
    classes = scores.shape[1]
    values = np.full(-(-classes // len_of_vector()) * len_of_vector(), NEVER)
    terms = np.empty_like(values)
    for n in range(first, last):
        gradient[n], losses[n] = 0, 0.0
        if weights[n] == 0:
            continue
        highest = -math.inf
        for k in range(classes):
            values[k] = scores[n, k]
            highest = max(highest, values[k])
        exponentials(values, highest, terms, classes)
        total = 0.0
        for k in range(classes):
            total += terms[k]
        losses[n] = weights[n] * softmax_loss(values[targets[n]], highest, total)
        for k in range(classes):
            gradient[n, k] = weights[n] * softmax_slope(terms[k], total, k == targets[n])


@kernel
def elementwise(kind, parameter, scores, targets, weights, gradient):
    """Weighted sum of the losses of all scores; overwrites `gradient`."""
    rows, outputs = scores.shape
    loss = 0.0
    for n in range(rows):
        gradient[n] = 0
        if weights[n] == 0:
            continue
        total = 0.0
        for k in range(outputs):
            value, slope = elementwise_loss(kind, parameter, np.float64(scores[n, k]), np.float64(targets[n, k]))
            total += value
            gradient[n, k] = weights[n] * slope
        loss += weights[n] * total
    return loss


def loss(spec: LossSpec, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """`Backend.loss` for NumPy arrays."""
    scores, gradient = np.ascontiguousarray(scores), np.empty(scores.shape, scores.dtype)
    if spec.kind == "softmax":
        losses, labels = np.empty(len(scores)), np.ascontiguousarray(targets, np.int64)
        shards = threads.even_shards(len(scores), FLOP_OF_A_SCORE * scores.size)
        threads.run(softmax[scores.dtype], shards, scores, labels, weights, gradient, losses)
        return float(losses.sum()), gradient
    kind, targets = equations.ELEMENTWISE.index(spec.kind), np.ascontiguousarray(targets, scores.dtype)
    return elementwise[scores.dtype](kind, float(spec.parameter), scores, targets, weights, gradient), gradient
