"""Losses and their gradients: computed in float64, whatever the scores are stored in."""

from __future__ import annotations

import math

import numpy as np

from ..contract import LOSSES, LossSpec
from .machine.compiling import kernel, once

BINARY, SQUARED, ABSOLUTE, HUBER, PINBALL = map(LOSSES.index, ("binary", "squared", "absolute", "huber", "pinball"))


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
            total += math.exp(scores[n, k] - highest)
        loss += weights[n] * (math.log(total) - (scores[n, targets[n]] - highest))
        for k in range(classes):
            gradient[n, k] = weights[n] * (math.exp(scores[n, k] - highest) / total - (k == targets[n]))
    return loss


@once
def _one(kind, parameter, s, t):
    """The loss of one score, and its derivative."""
    error = s - t
    if error != error:
        return error, error
    if kind == BINARY:
        odds = math.exp(-abs(s))  # of the less likely label
        return max(s, 0.0) - t * s + math.log1p(odds), (1.0 if s > 0 else odds) / (1 + odds) - t
    if kind == SQUARED:
        return error * error, 2 * error
    if kind == HUBER and abs(error) <= parameter:
        return error * error / 2, error
    if kind == HUBER:
        return parameter * (abs(error) - parameter / 2), math.copysign(parameter, error)
    above = below = 1.0
    if kind == PINBALL:
        above, below = 1 - parameter, parameter
    slope = above if error > 0 else -below
    return slope * error, slope if error != 0 else 0.0


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
            value, slope = _one(kind, parameter, np.float64(scores[n, k]), np.float64(targets[n, k]))
            total += value
            gradient[n, k] = weights[n] * slope
        loss += weights[n] * total
    return loss


def loss(spec: LossSpec, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """`Backend.loss` for NumPy arrays."""
    scores, gradient = np.ascontiguousarray(scores), np.empty(scores.shape, scores.dtype)
    if spec.kind == "softmax":
        return softmax[scores.dtype](scores, np.ascontiguousarray(targets, np.int64), weights, gradient), gradient
    kind, targets = LOSSES.index(spec.kind), np.ascontiguousarray(targets, scores.dtype)
    return elementwise[scores.dtype](kind, float(spec.parameter), scores, targets, weights, gradient), gradient
