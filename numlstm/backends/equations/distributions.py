"""Losses of one target under a distribution whose parameters are a row of scores, and their derivatives by the scores.

All are computed in float64. Each function returns the loss, and a derivative for each of its scores. What must be
positive is the softplus of a score, plus a least number, so that no loss is unbounded.
"""

from __future__ import annotations

import math

import numpy as np

from .losses import PINBALL, elementwise

LEAST_SCALE = 1e-3  # of a distribution of scaled targets
LEAST_FREEDOM = 2.0  # of Student's t: its variance is finite
LEAST_DISPERSION = 1e-4  # of counts; beside it they are Poisson's
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def softplus(s):
    """log(1 + exp(s)); the exponential cannot overflow."""
    return max(s, 0.0) + math.log1p(math.exp(-abs(s)))


def sigmoid(s):
    """The derivative of softplus."""
    e = math.exp(-abs(s))
    return (1.0 if s > 0 else e) / (1 + e)


def digamma(x):
    """The derivative of log Γ for x > 0: the recurrence up to 10, then the asymptotic series."""
    shift = 0.0
    while x < 10.0:
        shift += 1 / x
        x += 1.0
    inverse = 1 / x
    square = inverse * inverse
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square * (1 / 240 - square / 132))))
    return math.log(x) - inverse / 2 - series - shift


def gaussian(mean, raw_scale, t):
    """The negative log-likelihood of a normal distribution."""
    scale = softplus(raw_scale) + LEAST_SCALE
    z = (t - mean) / scale
    loss = math.log(scale) + HALF_LOG_TWO_PI + z * z / 2
    return loss, -z / scale, (1 - z * z) / scale * sigmoid(raw_scale)


def student_t(location, raw_scale, raw_freedom, t):
    """The negative log-likelihood of Student's t distribution with a location and a scale."""
    scale = softplus(raw_scale) + LEAST_SCALE
    freedom = softplus(raw_freedom) + LEAST_FREEDOM
    z = (t - location) / scale
    share = z * z / freedom
    halves = math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2)
    loss = halves + math.log(freedom * math.pi) / 2 + math.log(scale) + (freedom + 1) / 2 * math.log1p(share)
    pull = (freedom + 1) / freedom / (1 + share)
    of_freedom = digamma(freedom / 2) - digamma((freedom + 1) / 2) + 1 / freedom + math.log1p(share) - pull * share
    return (
        loss,
        -pull * z / scale,
        (1 - pull * z * z) / scale * sigmoid(raw_scale),
        of_freedom / 2 * sigmoid(raw_freedom),
    )


def negative_binomial(raw_mean, raw_dispersion, count, exposure):
    """The negative log-likelihood of a count with ``mean = exposure softplus(raw_mean)``.

    Its variance is ``mean + dispersion mean²``.
    """
    rate = softplus(raw_mean) + LEAST_DISPERSION
    mean = exposure * rate
    dispersion = softplus(raw_dispersion) + LEAST_DISPERSION
    r = 1 / dispersion
    log_share = math.log1p(mean * dispersion)  # of failures: log((r + mean) / r)
    loss = math.lgamma(r) + math.lgamma(count + 1) - math.lgamma(count + r)
    loss += (r + count) * log_share - count * math.log(mean * dispersion)
    of_rate = exposure * (mean - count) / (mean * (1 + mean * dispersion))
    of_r = digamma(r) - digamma(count + r) + log_share + (count - mean) / (r + mean)
    return loss, of_rate * sigmoid(raw_mean), -of_r * r * r * sigmoid(raw_dispersion)


# Quantiles that cannot cross: the middle one is a score, each other lies softplus of its score beyond its neighbour.


def middle_of(count):
    """The place of the quantile that is a score itself."""
    return count // 2


def quantiles(scores, start, step, levels, count, t, weight, gradient, first):
    """The sum of the pinball losses of a row's quantiles; writes the gradient, times a weight, from `first` on.

    The row's score k is ``scores[start + k * step]``. A score moves the quantiles from its own place outwards.
    """
    middle = middle_of(count)
    centre = np.float64(scores[start + middle * step])
    loss, slope = elementwise(PINBALL, levels[middle], centre, t)
    for direction in (-1, 1):
        places = middle if direction < 0 else count - 1 - middle
        beyond, quantile = 0.0, centre
        for k in range(1, places + 1):
            at = middle + direction * k
            quantile += direction * softplus(np.float64(scores[start + at * step]))
            own_loss, own_slope = elementwise(PINBALL, levels[at], quantile, t)
            loss, beyond = loss + own_loss, beyond + own_slope
        slope += beyond
        quantile = centre
        for k in range(1, places + 1):
            at = middle + direction * k
            s = np.float64(scores[start + at * step])
            gradient[first + at] = weight * direction * beyond * sigmoid(s)
            quantile += direction * softplus(s)
            beyond -= elementwise(PINBALL, levels[at], quantile, t)[1]
    gradient[first + middle] = weight * slope
    return loss
