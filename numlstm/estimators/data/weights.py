"""Weights of sequences, and of their steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.sequences import as_numbers
from ...training.loop import Data


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
    return _relative(weights)


def step_weights(sample_weight: Any, lengths: np.ndarray, steps: int) -> np.ndarray:
    """Checked weights of all steps, those of one sequence after those of another, the largest 1.

    They come as (n,), the same at all steps of a sequence; as a list of (T_i,) arrays; or as (n, steps) with anything
    past the lengths.

    Raises
    ------
    TypeError, ValueError
        If they are in none of these forms, not finite, below 0, or all 0.
    """
    if getattr(sample_weight, "dtype", None) == np.dtype(object):
        sample_weight = list(sample_weight)
    if isinstance(sample_weight, list | tuple) and any(np.ndim(each) for each in sample_weight):
        return _relative(_joined(sample_weight, lengths))
    if np.ndim(sample_weight) < 2:
        return np.repeat(sample_weights(sample_weight, len(lengths)), lengths)
    weights = as_numbers(sample_weight, "sample_weight", "float64")
    if weights.shape != (len(lengths), steps):
        raise ValueError(
            f"sample_weight must have shape ({len(lengths)},), one for each sequence, or ({len(lengths)}, {steps}), "
            f"one for each step, or be a list of (T_i,) arrays, got {weights.shape}"
        )
    return _relative(weights[np.arange(steps) < lengths[:, None]])


def _joined(weights: Any, lengths: np.ndarray) -> np.ndarray:
    """A list of (T_i,) arrays as one."""
    if len(weights) != len(lengths):
        raise ValueError(f"sample_weight must have {len(lengths)} entries, one for each sequence, got {len(weights)}")
    arrays = [as_numbers(each, f"sample_weight[{i}]", "float64") for i, each in enumerate(weights)]
    for i, (array, length) in enumerate(zip(arrays, lengths.tolist(), strict=True)):
        if array.shape != (length,):
            raise ValueError(
                f"sample_weight[{i}] must have shape ({length},), a weight for each step, got {array.shape}"
            )
    return np.concatenate(arrays)


def _relative(weights: np.ndarray) -> np.ndarray:
    """Weights as shares of the largest."""
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
    rows = np.flatnonzero(data.targets.counts)
    if not len(rows):
        raise ValueError("sample_weight and class_weight must leave a sequence with a weight above 0, got none")
    data = data if len(rows) == len(data) else data.subset(rows)
    weights = data.targets.weights
    weights /= weights[weights > 0].mean()
    return data
