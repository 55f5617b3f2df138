"""Activation functions and their slopes, by the names of ONNX, each with its parameters as it defines them.

Slopes are computed from the argument, not from the value, so that they keep their relative accuracy for large
arguments. At a kink of a function, the slope is that of one side, as `SLOPES` defines it.

References
----------
.. [1] ONNX operator schemas, LSTM, "Activation functions".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit

Function = Callable[..., np.ndarray]
Activation = tuple[Any, ...]


def apply(activation: Activation, x: np.ndarray) -> np.ndarray:
    """The value at x of an activation: its name, and its parameters."""
    name, *parameters = activation
    return VALUES[name](x, *parameters)


def slope(activation: Activation, x: np.ndarray) -> np.ndarray:
    """The derivative at x."""
    name, *parameters = activation
    return SLOPES[name](x, *parameters)


def clip(x: np.ndarray, bound: float) -> np.ndarray:
    """x within ±bound."""
    return np.clip(x, -bound, bound)


def clip_slope(clipped: np.ndarray, bound: float) -> np.ndarray:
    """0 where a value lies at its bounds, 1 elsewhere."""
    return np.where((np.abs(clipped) >= bound) & (bound < np.inf), 0.0, 1.0)


def sigmoid_slope(x: np.ndarray) -> np.ndarray:
    """σ'(x) = σ(x) σ(-x), which keeps its relative accuracy where 1 - σ(x) cancels."""
    return expit(x) * expit(-x)


def tanh_slope(x: np.ndarray) -> np.ndarray:
    """tanh'(x) = 4 σ'(2x), since tanh(x) = 2 σ(2x) - 1."""
    return 4.0 * sigmoid_slope(2.0 * x)


# Each function gives NaN for NaN: comparisons are written so that NaN takes the branch with x.
VALUES: dict[str, Function] = {
    "identity": lambda x: x,
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "sigmoid": expit,
    "tanh": np.tanh,
    "scaled_tanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "relu": lambda x: np.maximum(x, 0.0),
    "leaky_relu": lambda x, alpha: np.where(x < 0.0, alpha * x, x),
    "thresholded_relu": lambda x, alpha: np.where(x < alpha, 0.0, x),
    "hard_sigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0.0, 1.0),
    "elu": lambda x, alpha: np.where(x < 0.0, alpha * np.expm1(np.minimum(x, 0.0)), x),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(0.0, x),
}

SLOPES: dict[str, Function] = {
    "identity": np.ones_like,
    "affine": lambda x, alpha, beta: np.full_like(x, alpha),
    "sigmoid": sigmoid_slope,
    "tanh": tanh_slope,
    "scaled_tanh": lambda x, alpha, beta: alpha * beta * tanh_slope(beta * x),
    "relu": lambda x: np.where(x > 0.0, 1.0, 0.0),
    "leaky_relu": lambda x, alpha: np.where(x < 0.0, alpha, 1.0),
    "thresholded_relu": lambda x, alpha: np.where(x < alpha, 0.0, 1.0),
    "hard_sigmoid": lambda x, alpha, beta: np.where((alpha * x + beta > 0.0) & (alpha * x + beta < 1.0), alpha, 0.0),
    "elu": lambda x, alpha: np.where(x < 0.0, alpha * np.exp(np.minimum(x, 0.0)), 1.0),
    "softsign": lambda x: 1.0 / (1.0 + np.abs(x)) ** 2,
    "softplus": expit,
}
