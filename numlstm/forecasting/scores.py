"""Errors of forecasts, of their quantiles and of their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_integer, check_real
from ..layers.sequences import as_numbers


def mase(y_true: Any, y_pred: Any, *, y_train: Any, season_length: int = 1) -> float:
    """The mean absolute scaled error [1]_: errors divided by those of the seasonal naive forecast in the past.

    Parameters
    ----------
    y_true, y_pred : array, shape (H,)
        Truth and forecast; steps with NaN in `y_true` are left out.
    y_train : array, shape (T,), with T above `season_length`
        The series before the forecast; NaN values are left out.
    season_length : int, at least 1, default 1
        Steps of a season; 1 scales by the errors of the last value.

    Returns
    -------
    float, at least 0
        Below 1 if the forecast is better than the seasonal naive forecast was in the past. Infinite if the seasonal
        naive forecast was always exact and this forecast is not.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    .. [1] R. Hyndman, A. Koehler, "Another look at measures of forecast accuracy", 2006.

    Examples
    --------
    >>> from numlstm.metrics import mase
    >>> mase([10.0, 12.0], [11.0, 12.0], y_train=[1.0, 3.0, 5.0, 7.0])
    0.25
    """
    true, predicted = _pair(y_true, y_pred)
    train = _numbers(y_train, "y_train")
    check_integer(season_length, "season_length", 1)
    if train.ndim != 1 or len(train) <= season_length:
        raise ValueError(f"y_train must have shape (T,) with T above season_length, got {train.shape}")
    error, scale = float(np.nanmean(np.abs(true - predicted))), naive_error(train, season_length)
    if scale == 0:
        return 0.0 if error == 0 else float("inf")
    return error / scale


def naive_error(values: np.ndarray, season: int) -> float:
    """The mean absolute difference of values (T,) from those a season before; a short series takes its longest lag."""
    season = min(season, max(len(values) - 1, 1))
    differences = np.abs(values[season:] - values[:-season])
    known = differences[np.isfinite(differences)]
    return float(known.mean()) if len(known) else 0.0


def smape(y_true: Any, y_pred: Any) -> float:
    """The symmetric mean absolute percentage error [1]_, between 0 and 200.

    Parameters
    ----------
    y_true, y_pred : array, of one shape
        Truth and forecast; entries with NaN in `y_true` are left out. If both are 0, the error is 0.

    Returns
    -------
    float
        The mean of ``200 |y - f| / (|y| + |f|)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    .. [1] S. Makridakis, M. Hibon, "The M3-Competition: results, conclusions and implications", 2000.

    Examples
    --------
    >>> from numlstm.metrics import smape
    >>> smape([100.0, 0.0], [300.0, 0.0])
    50.0
    """
    true, predicted = _pair(y_true, y_pred)
    sizes = np.abs(true) + np.abs(predicted)
    return float(np.nanmean(200 * np.abs(true - predicted) / np.where(sizes > 0, sizes, 1.0)))


def pinball_loss(y_true: Any, y_pred: Any, *, quantiles: Any) -> float:
    """The mean pinball loss of quantiles [1]_.

    Parameters
    ----------
    y_true : array, shape (...)
        NaN values are left out.
    y_pred : array, shape (..., Q)
        A forecast for each quantile.
    quantiles : sequence of Q floats in (0, 1)
        Levels of the quantiles.

    Returns
    -------
    float, at least 0

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    References
    ----------
    .. [1] R. Koenker, G. Bassett, "Regression Quantiles", 1978.

    Examples
    --------
    >>> from numlstm.metrics import pinball_loss
    >>> pinball_loss([10.0], [[8.0, 11.0]], quantiles=[0.1, 0.9])
    0.15
    """
    true, predicted = _numbers(y_true, "y_true"), _numbers(y_pred, "y_pred")
    levels = np.array([check_real(level, "quantiles", 0.0, 1.0) for level in np.atleast_1d(quantiles)])
    if predicted.shape != (*true.shape, len(levels)):
        raise ValueError(f"y_pred must have shape {(*true.shape, len(levels))}, got {predicted.shape}")
    above = true[..., None] - predicted
    return round(float(np.nanmean(np.maximum(levels * above, (levels - 1) * above))), 15)


def crps(y_true: Any, samples: Any) -> float:
    """The mean continuous ranked probability score [1]_ of paths drawn from a forecast.

    Parameters
    ----------
    y_true : array, shape (...)
        NaN values are left out.
    samples : array, shape (m, ...), m at least 1
        Paths drawn from the forecast.

    Returns
    -------
    float, at least 0
        In the unit of y. With one path it is the mean absolute error.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    The mean of ``|x - y|`` over samples, minus half the mean of ``|x - x'|`` over pairs of samples.

    References
    ----------
    .. [1] T. Gneiting, A. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007, equation 21.

    Examples
    --------
    >>> from numlstm.metrics import crps
    >>> crps([1.0], [[0.0], [2.0]])
    0.5
    """
    true, paths = _numbers(y_true, "y_true"), _numbers(samples, "samples")
    if paths.ndim < 1 or not len(paths) or paths.shape[1:] != true.shape:
        raise ValueError(f"samples must have shape (m, {', '.join(map(str, true.shape))}), got {paths.shape}")
    count = len(paths)
    ranks = (2 * np.arange(1, count + 1) - count - 1).reshape(-1, *[1] * true.ndim)
    mean_distance = (ranks * np.sort(paths, axis=0)).sum(axis=0) * 2 / count**2  # between two paths
    return float(np.nanmean(np.abs(paths - true).mean(axis=0) - mean_distance / 2))


def coverage(y_true: Any, lower: Any, upper: Any) -> float:
    """The share of true values that lie in their intervals.

    Parameters
    ----------
    y_true, lower, upper : array, of one shape
        Entries with NaN in `y_true` are left out.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from numlstm.metrics import coverage
    >>> coverage([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0])
    0.75
    """
    true, low = _pair(y_true, lower, "lower")
    _, high = _pair(y_true, upper, "upper")
    known = np.isfinite(true)
    return float(((low <= true) & (true <= high))[known].mean())


def _pair(y_true: Any, y_pred: Any, name: str = "y_pred") -> tuple[np.ndarray, np.ndarray]:
    true, predicted = _numbers(y_true, "y_true"), _numbers(y_pred, name)
    if true.shape != predicted.shape or not true.size:
        raise ValueError(f"{name} must have the shape of y_true, {true.shape}, and not be empty, got {predicted.shape}")
    if np.isnan(predicted).any():
        raise ValueError(f"{name} must be without NaN, but contains some")
    if np.isnan(true).all():
        raise ValueError("y_true must have at least one number, got only NaN")
    return true, predicted


def _numbers(values: Any, name: str) -> np.ndarray:
    values = values.to_numpy() if hasattr(values, "to_numpy") else values
    return as_numbers(values, name, "float64")
