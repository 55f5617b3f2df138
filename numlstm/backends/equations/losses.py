"""Losses of a score s with target t, and their derivatives by s; all in float64.

The functions for both return the loss and the derivative. `numlstm.backends.contract.LossSpec` has the formulas.
"""

from __future__ import annotations

import math

ELEMENTWISE = "binary", "squared", "absolute", "huber", "pinball"  # kernels know these losses by their places here
BINARY, SQUARED, ABSOLUTE, HUBER, PINBALL = range(len(ELEMENTWISE))


def binary(s, t):
    """Cross-entropy of the probability ``sigmoid(s)``; the exponential cannot overflow."""
    odds = math.exp(-abs(s))  # of the less likely label
    return max(s, 0.0) - t * s + math.log1p(odds), (1.0 if s > 0 else odds) / (1 + odds) - t


def squared(error):
    """The square of the error."""
    return error * error, 2 * error


def absolute(error):
    """The size of the error."""
    return abs(error), math.copysign(1.0, error) if error != 0 else 0.0


def huber(threshold, error):
    """A parabola up to the threshold, a straight line beyond it."""
    if abs(error) <= threshold:
        return error * error / 2, error
    return threshold * (abs(error) - threshold / 2), math.copysign(threshold, error)


def pinball(level, error):
    """`level` times an error below zero, 1 - `level` times one above."""
    slope = 1 - level if error > 0 else -level
    return slope * error, slope if error != 0 else 0.0


def elementwise(kind, parameter, s, t):
    """The loss of a kind, one of `ELEMENTWISE`; NaN where the error is NaN."""
    error = s - t
    if error != error:
        return error, error
    if kind == BINARY:
        return binary(s, t)
    if kind == SQUARED:
        return squared(error)
    if kind == ABSOLUTE:
        return absolute(error)
    if kind == HUBER:
        return huber(parameter, error)
    return pinball(parameter, error)


# Cross-entropy of a row's softmax. The highest score is subtracted first, so that no exponential overflows.


def softmax_term(s, highest):
    """A score's exponential."""
    return math.exp(s - highest)


def softmax_loss(s, highest, total):
    """The row's loss: s is the target's score, `total` the sum of the row's terms."""
    return math.log(total) - (s - highest)


def softmax_slope(term, total, is_target):
    """The loss's derivative by the score of a term."""
    return term / total - (1.0 if is_target else 0.0)
