"""Weights of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers.sequences import as_numbers
from ..training.loop import Data
from ..training.targets import StepTargets


def sample_weights(sample_weight: Any, count: int) -> np.ndarray:
    """Checked weights, one for each sequence, the largest 1.

    Raises
    ------
    TypeError, ValueError
        If they are not `count` finite numbers of at least 0, or all are 0.
    """
    if sample_weight is None:
        return np.ones(count)
    weights = as_numbers(sample_weight, "sample_weight", "float64")
    weights = np.full(count, weights) if weights.ndim == 0 else weights
    if weights.shape != (count,):
        raise ValueError(f"sample_weight must have shape ({count},), one for each sequence, got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        wrong = weights[~(weights >= 0) | np.isinf(weights)][0]
        raise ValueError(f"sample_weight must be finite and not negative, got {wrong}")
    if not weights.any():
        raise ValueError("sample_weight must have a weight above 0, got only zeros")
    return weights / weights.max()


def weighted(data: Data) -> Data:
    """Data without sequences of weight 0, and with a mean weight of 1.

    Raises
    ------
    ValueError
        If none is left.
    """
    weights = data.targets.weights
    if not weights.any():
        raise ValueError("sample_weight and class_weight must leave a sequence with a weight above 0, got none")
    data = data if weights.all() else data.subset(np.flatnonzero(weights))
    counts = data.sequences.lengths if isinstance(data.targets, StepTargets) else None
    data.targets.weights[...] /= np.average(data.targets.weights, weights=counts)
    return data
