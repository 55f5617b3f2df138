"""Losses and their gradients: computed in float64, whatever the scores are stored in."""

from __future__ import annotations

import math

import numpy as np

from .. import plain
from ..contract import LossSpec
from ..equations import losses as equations
from .machine.compiling import kernel, once

elementwise_loss = plain.compiled(equations.elementwise, once, ())
softmax_term = plain.compiled(equations.softmax_term, once, ())
softmax_loss = plain.compiled(equations.softmax_loss, once, ())
softmax_slope = plain.compiled(equations.softmax_slope, once, ())


@kernel
def softmax(scores, targets, weights, gradient):
    """Weighted sum of each row's cross-entropy; overwrites `gradient`."""
    rows, classes = scores.shape
    loss = 0.0
    for n in range(rows):
        gradient[n] = 0
        if weights[n] == 0:
            continue
        highest = -math.inf
        for k in range(classes):
            highest = max(highest, np.float64(scores[n, k]))
        total = 0.0
        for k in range(classes):
            total += softmax_term(np.float64(scores[n, k]), highest)
        loss += weights[n] * softmax_loss(np.float64(scores[n, targets[n]]), highest, total)
        for k in range(classes):
            term = softmax_term(np.float64(scores[n, k]), highest)
            gradient[n, k] = weights[n] * softmax_slope(term, total, k == targets[n])
    return loss


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
        return softmax[scores.dtype](scores, np.ascontiguousarray(targets, np.int64), weights, gradient), gradient
    kind, targets = equations.ELEMENTWISE.index(spec.kind), np.ascontiguousarray(targets, scores.dtype)
    return elementwise[scores.dtype](kind, float(spec.parameter), scores, targets, weights, gradient), gradient
