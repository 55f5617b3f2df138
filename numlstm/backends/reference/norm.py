"""Layer normalisation of vectors of units. Without it in a layer, vectors do not change.

References
----------
.. [1] J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", arXiv:1607.06450, 2016, eq. 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EPSILON = 1e-5


def forward(weights: Mapping[str, np.ndarray], block: int, a: np.ndarray) -> np.ndarray:
    """``γ ⊙ (a - mean(a)) / sqrt(var(a) + ε) + β``, with the block of γ and β, for each row of a."""
    if "layer_norm_weight" not in weights:
        return a
    normal, _ = _standardised(a)
    return weights["layer_norm_weight"][block] * normal + weights["layer_norm_bias"][block]


def backward(
    weights: Mapping[str, np.ndarray],
    block: int,
    a: np.ndarray,
    delta: np.ndarray,
    gradient: Mapping[str, np.ndarray],
) -> np.ndarray:
    """The gradient of a from that of the result; adds the gradients of γ and β to `gradient`.

    With â = (a - mean(a)) / s and d the gradient of â, that of a is ``(d - mean(d) - â mean(d â)) / s``.
    """
    if "layer_norm_weight" not in weights:
        return delta
    normal, deviation = _standardised(a)
    gradient["layer_norm_weight"][block] += (delta * normal).sum(axis=0)
    gradient["layer_norm_bias"][block] += delta.sum(axis=0)
    d = delta * weights["layer_norm_weight"][block]
    return (d - _mean(d) - normal * _mean(d * normal)) / deviation


def _standardised(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The units minus their mean, divided by their deviation; and the deviation."""
    centred = a - _mean(a)
    deviation = np.sqrt(_mean(centred**2) + EPSILON)
    return centred / deviation, deviation


def _mean(a: np.ndarray) -> np.ndarray:
    """Mean over the units of each row."""
    return np.mean(a, axis=-1, keepdims=True)
