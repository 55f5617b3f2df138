"""Losses of one row of scores: each function returns the loss, and its gradient with respect to the scores.

It takes the scores s (K,), the row's target t, and the parameter of the loss, all in float64. NaN passes through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit

Loss = Callable[[np.ndarray, Any, Any], tuple[float, np.ndarray]]  # the parameter is a number, or levels of quantiles


def softmax(s: np.ndarray, t: int, _: float) -> tuple[float, np.ndarray]:
    """Cross-entropy of ``p = softmax(s)``: -log p[t]; its gradient is p, minus 1 at t."""
    shifted = s - np.max(s)  # the largest becomes 0: exp does not overflow, and the sum is at least 1
    exponentials = np.exp(shifted)
    total = np.sum(exponentials)
    return np.log(total) - shifted[t], exponentials / total - (np.arange(len(s)) == t)


def binary(s: np.ndarray, t: np.ndarray, _: float) -> tuple[float, np.ndarray]:
    """Cross-entropy of ``p = σ(s)``: -t log p - (1 - t) log(1 - p); its gradient is p - t.

    Since ``-log σ(s) = log(1 + exp(-s))`` and ``1 - σ(s) = σ(-s)``, nothing cancels.
    """
    loss = t * np.logaddexp(0.0, -s) + (1.0 - t) * np.logaddexp(0.0, s)
    return np.sum(loss), (1.0 - t) * expit(s) - t * expit(-s)


def squared(s: np.ndarray, t: np.ndarray, _: float) -> tuple[float, np.ndarray]:
    """``(s - t)²``."""
    return np.sum((s - t) ** 2), 2.0 * (s - t)


def absolute(s: np.ndarray, t: np.ndarray, _: float) -> tuple[float, np.ndarray]:
    """``|s - t|``."""
    return np.sum(np.abs(s - t)), np.sign(s - t)


def huber(s: np.ndarray, t: np.ndarray, delta: float) -> tuple[float, np.ndarray]:
    """Huber (1964): a parabola within `delta` of t, straight outside, and smooth where they meet.

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1), 1964.
    """
    e = s - t
    near = np.abs(e) <= delta
    loss = np.where(near, e**2 / 2.0, delta * (np.abs(e) - delta / 2.0))
    return np.sum(loss), np.where(near, e, delta * np.sign(e))


def pinball(s: np.ndarray, t: np.ndarray, level: float) -> tuple[float, np.ndarray]:
    """Koenker & Bassett (1978): ``level * (t - s)`` if s is too low, ``(1 - level) * (s - t)`` if it is too high.

    References
    ----------
    .. [1] R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46(1), 1978.
    """
    loss = np.where(t > s, level * (t - s), (1.0 - level) * (s - t))
    return np.sum(loss), np.select([t > s, t < s, t == s], [-level, 1.0 - level, 0.0], default=np.nan)


LOSSES: dict[str, Loss] = {
    "softmax": softmax,
    "binary": binary,
    "squared": squared,
    "absolute": absolute,
    "huber": huber,
    "pinball": pinball,
}
