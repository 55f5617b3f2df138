"""Weights of sequences and of steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.sequences import as_numbers
from ...training.data import Data


def sample_weights(sample_weight: Any, count: int) -> np.ndarray:
    """Checked weights, one for each sequence; the largest becomes 1.

    Raises
    ------
    TypeError, ValueError
        If they are not `count` finite numbers of at least 0, or are all 0.
    """
    if sample_weight is None:
        return np.ones(count)
    weights = as_numbers(sample_weight, "sample_weight", "float64")
    weights = np.full(count, weights) if weights.ndim == 0 else weights
    if weights.shape != (count,):
        raise ValueError(f"sample_weight must have shape ({count},), one for each sequence, got {weights.shape}")
    return _normalized(weights)


def step_weights(sample_weight: Any, lengths: np.ndarray, steps: int) -> np.ndarray:
    """Checked weights of all steps, sequence after sequence; the largest becomes 1.

    They are given as (n,), one for all steps of a sequence; as a list of (T_i,) arrays; or as (n, steps), where
    numbers past the lengths do not matter.

    Raises
    ------
    TypeError, ValueError
        If they are in none of these forms, not finite, negative, or all 0.
    """
    if getattr(sample_weight, "dtype", None) == np.dtype(object):
        sample_weight = list(sample_weight)
    if isinstance(sample_weight, list | tuple) and any(np.ndim(weights) for weights in sample_weight):
        return _normalized(_concatenated(sample_weight, lengths))
    if np.ndim(sample_weight) < 2:
        return np.repeat(sample_weights(sample_weight, len(lengths)), lengths)
    weights = as_numbers(sample_weight, "sample_weight", "float64")
    if weights.shape != (len(lengths), steps):
        raise ValueError(
            f"sample_weight must have shape ({len(lengths)},), one for each sequence, or ({len(lengths)}, {steps}), "
            f"one for each step, or be a list of (T_i,) arrays, got {weights.shape}"
        )
    return _normalized(weights[np.arange(steps) < lengths[:, None]])


def _concatenated(sample_weight: Any, lengths: np.ndarray) -> np.ndarray:
    """A list of (T_i,) arrays as one array."""
    if len(sample_weight) != len(lengths):
        expected = f"{len(lengths)} entries, one for each sequence"
        raise ValueError(f"sample_weight must have {expected}, got {len(sample_weight)}")
    arrays = [as_numbers(weights, f"sample_weight[{i}]", "float64") for i, weights in enumerate(sample_weight)]
    for i, (array, length) in enumerate(zip(arrays, lengths.tolist(), strict=True)):
        if array.shape != (length,):
            raise ValueError(
                f"sample_weight[{i}] must have shape ({length},), a weight for each step, got {array.shape}"
            )
    return np.concatenate(arrays)


def _normalized(weights: np.ndarray) -> np.ndarray:
    """Weights divided by the largest one."""
    if not np.isfinite(weights).all() or (weights < 0).any():
        wrong = weights[~(weights >= 0) | np.isinf(weights)][0]
        raise ValueError(f"sample_weight must be finite and not negative, got {wrong}")
    if not weights.any():
        raise ValueError("sample_weight must have at least one positive weight, got only zeros")
    return weights / weights.max()


def with_mean_weight_one(data: Data) -> Data:
    """The sequences with a positive weight; their weights are divided by the mean weight.

    Raises
    ------
    ValueError
        If no sequence has a positive weight.
    """
    rows = np.flatnonzero(data.targets.counts)
    if not len(rows):
        raise ValueError("sample_weight and class_weight must give a positive weight to some sequence, got only zeros")
    data = data if len(rows) == len(data) else data.subset(rows)
    weights = data.targets.weights
    weights /= data.targets.mean_weight
    return data
