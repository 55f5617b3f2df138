"""Means and scales of columns."""

from __future__ import annotations

import numpy as np


def moments(values: np.ndarray, name: str, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each column, NaN apart; 1 for the deviation of a constant.

    Raises
    ------
    ValueError
        If one is not finite.
    """
    from sklearn.preprocessing import StandardScaler

    with np.errstate(over="ignore", invalid="ignore"):
        found = StandardScaler().fit(values, sample_weight=weights)
    if not np.isfinite([found.mean_, found.scale_]).all():
        most = np.nanmax(np.abs(values))
        raise ValueError(f"{name} must have a finite standard deviation, got numbers of up to {most}")
    return found.mean_, found.scale_


def scaled(values: np.ndarray, mean: np.ndarray, scale: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """Numbers with a mean taken from each column, and divided by a scale.

    Raises
    ------
    ValueError
        If they are too large for `dtype` then.
    """
    with np.errstate(over="ignore"):
        found = ((values - mean) / scale).astype(dtype)
    if not np.isfinite(found).all():
        most = np.abs(values).max()
        raise ValueError(f"{name} must be in the range of {dtype} when scaled, got numbers of up to {most}")
    return found
