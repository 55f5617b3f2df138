"""Pooling of one sequence y (T, F) without padding, in float64.

Forward returns the pooled vector (F,) and a trace: the weight of each step, or the step of each feature's maximum.
Backward takes the trace and the gradient of the pooled vector, and returns the gradients of y and of the parameters by
name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Weights = Mapping[str, np.ndarray]


class Pooling(NamedTuple):
    """The forward and the backward function of a kind of pooling."""

    forward: Callable[[Weights, np.ndarray], tuple[np.ndarray, np.ndarray]]
    backward: Callable[[Weights, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]


def mean(_: Weights, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the steps."""
    return np.sum(y, axis=0) / len(y), np.full(len(y), 1.0 / len(y))


def mean_backward(
    _: Weights, y: np.ndarray, trace: np.ndarray, dpooled: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Each step gets its share of the gradient."""
    return np.outer(trace, dpooled), {}


def maximum(_: Weights, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first maximum, or the first NaN, as `numpy.argmax` finds it."""
    steps = np.argmax(y, axis=0)
    return y[steps, np.arange(y.shape[1])], steps


def maximum_backward(
    _: Weights, y: np.ndarray, trace: np.ndarray, dpooled: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The step of each maximum gets the whole gradient."""
    dy = np.zeros_like(y)
    dy[trace, np.arange(y.shape[1])] = dpooled
    return dy, {}


def attention(weights: Weights, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raffel & Ellis (2015): ``c = Σ α_t y_t``, with ``α = softmax(e)`` and ``e_t = tanh(w · y_t + b)``.

    References
    ----------
    .. [1] C. Raffel, D. P. W. Ellis, "Feed-forward networks with attention can solve some long-term memory
       problems", arXiv:1512.08756, 2015.
    """
    exponentials = np.exp(np.tanh(y @ weights["weight"] + weights["bias"]))  # between 1/e and e
    alpha = exponentials / np.sum(exponentials)
    return alpha @ y, alpha


def attention_backward(
    weights: Weights, y: np.ndarray, trace: np.ndarray, dpooled: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Back through the sum, the softmax, and tanh, whose slope is ``1 / cosh²``."""
    alpha, dalpha = trace, y @ dpooled
    de = alpha * (dalpha - alpha @ dalpha)
    delta = de / np.cosh(y @ weights["weight"] + weights["bias"]) ** 2
    dy = np.outer(alpha, dpooled) + np.outer(delta, weights["weight"])
    return dy, {"weight": delta @ y, "bias": np.sum(delta, keepdims=True)}


POOLINGS = {
    "mean": Pooling(mean, mean_backward),
    "max": Pooling(maximum, maximum_backward),
    "attention": Pooling(attention, attention_backward),
}
