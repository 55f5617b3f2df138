"""The sums in pre-activations: a block of weights times a vector, plus a bias.

`side` is ``"ih"`` for the weights of the input, ``"hh"`` for the weights of a vector of the step before.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def forward(weights: Mapping[str, np.ndarray], side: str, block: int, v: np.ndarray) -> np.ndarray:
    """``W v + b``, for a batch v of rows."""
    return v @ weights[f"weight_{side}"][block].T + weights[f"bias_{side}"][block]


def backward(
    weights: Mapping[str, np.ndarray],
    side: str,
    block: int,
    v: np.ndarray,
    delta: np.ndarray,
    gradient: Mapping[str, np.ndarray],
) -> np.ndarray:
    """The gradient of v from that of the sum; adds the gradients of W and b to `gradient`."""
    gradient[f"weight_{side}"][block] += delta.T @ v
    gradient[f"bias_{side}"][block] += delta.sum(axis=0)
    return delta @ weights[f"weight_{side}"][block]
