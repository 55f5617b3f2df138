"""Rivals to compare with: the seasonal naive forecast, drift, and exponential smoothing."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import numpy as np

LEAST_SEASONS = 2  # seasons that exponential smoothing with a season needs


def seasonal_naive(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The last season, repeated, (origins, H).

    Parameters
    ----------
    values : array, shape (T,)
        Without gaps.
    origins : int array
        Number of known steps for each forecast.
    """
    return values[origins[:, None] - season + np.arange(horizon) % season]


def drift(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The line through the first and the last known value, (origins, H)."""
    last = values[origins - 1]
    slope = (last - values[0]) / np.maximum(origins - 1, 1)
    return last[:, None] + slope[:, None] * np.arange(1, horizon + 1)


def ets(values: np.ndarray, origins: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Exponential smoothing with a damped trend and a season, fitted to the steps before the first origin.

    Errors and seasons are additive. If all values are positive, a multiplicative model is fitted, too, and the one with
    the lower AIC is used.
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
        warnings.simplefilter("ignore")  # the search for parameters warns
        fits = [ETSModel(values[: origins[0]], **model_options).fit(disp=False) for model_options in options]
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
