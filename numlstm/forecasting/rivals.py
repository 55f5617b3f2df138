"""Forecasts that cost nothing, and exponential smoothing, to compare with."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import numpy as np

LEAST_SEASONS = 2  # that exponential smoothing of a season begins with


def seasonal_naive(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The last season again, (origins, H).

    Parameters
    ----------
    values : array, shape (T,)
        Without gaps.
    origins : int array
        Steps that are known for each forecast.
    """
    return values[origins[:, None] - season + np.arange(horizon) % season]


def drift(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The line through the first and the last value."""
    last = values[origins - 1]
    slope = (last - values[0]) / np.maximum(origins - 1, 1)
    return last[:, None] + slope[:, None] * np.arange(1, horizon + 1)


def ets(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Exponential smoothing with a damped trend and a season, fitted before the first origin.

    Of additive and, where all values are positive, multiplicative errors and seasons, those with the lower AIC.
    """
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    seasons = season > 1 and origins[0] >= LEAST_SEASONS * season + 1
    kinds = ("add", "mul") if seasons and (values[: origins[0]] > 0).all() else ("add",)
    options = [
        {"error": kind, "trend": "add", "damped_trend": True}
        | ({"seasonal": kind, "seasonal_periods": season} if seasons else {})
        for kind in kinds
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the search for parameters
        fits = [ETSModel(values[: origins[0]], **each).fit(disp=False) for each in options]
        best = int(np.argmin([fit.aic for fit in fits]))
        forecasts = [
            ETSModel(values[:origin], **options[best]).smooth(fits[best].params).forecast(horizon) for origin in origins
        ]
    return np.array(forecasts)


RIVALS: dict[str, Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]] = {
    "seasonal naive": seasonal_naive,
    "drift": drift,
}
if importlib.util.find_spec("statsmodels") is not None:
    RIVALS["ETS"] = ets
