"""The mean and the scale of columns."""

from __future__ import annotations

import numpy as np


def mean_and_scale(values: np.ndarray, name: str, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each column, without NaN; a constant column has the scale 1.

    Raises
    ------
    ValueError
        If a standard deviation is not finite.
    """
    from sklearn.preprocessing import StandardScaler

    with np.errstate(over="ignore", invalid="ignore"):
        scaler = StandardScaler().fit(values, sample_weight=weights)
    if not np.isfinite([scaler.mean_, scaler.scale_]).all():
        largest = np.nanmax(np.abs(values))
        raise ValueError(f"{name} must have a finite standard deviation, got numbers of up to {largest}")
    return scaler.mean_, scaler.scale_


def standardize(values: np.ndarray, mean: np.ndarray, scale: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """Values minus the mean of their column, divided by its scale, in `dtype`.

    Raises
    ------
    ValueError
        If a result is too large for `dtype`.
    """
    with np.errstate(over="ignore"):
        standardized = ((values - mean) / scale).astype(dtype)
    if not np.isfinite(standardized).all():
        largest = np.abs(values).max()
        raise ValueError(f"{name} must be in the range of {dtype} when scaled, got numbers of up to {largest}")
    return standardized
