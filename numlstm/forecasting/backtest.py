"""Backtests: errors of a forecaster and of simple rivals over windows at the end of series."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ..checks import check_flag, check_integer
from .learning import Learnt, checked_future, learn, names_of, seen
from .parameters import check_coverage, check_parameters
from .rivals import RIVALS
from .scores import naive_error
from .series import Panel, Series, lengths_at_least, read_panel
from .settings import settings_for
from .transforms import BACK

LEVELS = np.arange(1, 10) / 10  # levels of the quantiles that are scored
COLUMNS = ("model", "series", "step", "mase", "smape", "rmse", "pinball", "coverage", "seconds")


class Forecasts(NamedTuple):
    """Forecasts of one model for the windows of one series.

    Attributes
    ----------
    point : array, shape (windows, H)
    quantiles : array, shape (windows, H, levels), or None
        None if the model has no quantiles.
    interval : array, shape (windows, H, 2), or None
        None if the model has no intervals.
    seconds : float
        Time for learning and forecasting.
    levels : array, shape (levels,)
        Of the quantiles.
    """

    point: np.ndarray
    quantiles: np.ndarray | None
    interval: np.ndarray | None
    seconds: float
    levels: np.ndarray = LEVELS


def backtest(
    forecaster: Any, y: Any, X: Any, static: Any, n_windows: int, horizon: Any, refit: bool, coverage: float
) -> Any:
    """See `LSTMForecaster.backtest`."""
    check_integer(n_windows, "n_windows", 1)
    check_flag(refit, "refit")
    share = check_coverage(coverage)
    forecaster = clone(forecaster)
    if horizon is not None:
        forecaster.set_params(horizon=check_integer(horizon, "horizon", 1))
    check_parameters(forecaster)
    panel = read_panel(y, X, static, names_of(forecaster))
    steps = settings_for(panel, forecaster).lengths.horizon
    lengths_at_least(panel.series, (n_windows + 1) * steps + 1, f"a horizon before {n_windows} windows of {steps}")
    origins = [len(series) - steps * np.arange(n_windows, 0, -1) for series in panel.series]
    models = {"LSTMForecaster": _forecaster_forecasts(forecaster, panel, origins, steps, refit, share)}
    season = settings_for(_before(panel, origins, 0, steps), forecaster).lengths.season
    for name, rival in RIVALS.items():
        models[name] = [
            _rival_forecasts(rival, series, series_origins, steps, season)
            for series, series_origins in zip(panel.series, origins, strict=True)
        ]
    rows = [
        row
        for name, forecasts in models.items()
        for series, series_origins, series_forecasts in zip(panel.series, origins, forecasts, strict=True)
        for row in _rows(name, series, series_origins, series_forecasts, season)
    ]
    return _table(rows)


def _before(panel: Panel, origins: Sequence[np.ndarray], window: int, horizon: int) -> Panel:
    """The series up to the start of a window."""
    cut = [
        series.until(int(series_origins[window]), horizon)
        for series, series_origins in zip(panel.series, origins, strict=True)
    ]
    return replace(panel, series=cut)


def _forecaster_forecasts(
    forecaster: Any, panel: Panel, origins: list[np.ndarray], horizon: int, refit: bool, coverage: float
) -> list[Forecasts]:
    """Forecasts of the forecaster for each series."""
    count, began = len(origins[0]), time.perf_counter()
    last_known = [series.until(len(series) - horizon, horizon) for series in panel.series]
    checked_future(last_known, horizon, forecaster.future_covariates or ())
    parts: list[Any] = []
    learnt: Any = None
    for window in range(count):
        known = _before(panel, origins, window, horizon)
        if refit or learnt is None:
            learnt = learn(forecaster, known)
            statistics = [seen(series, learnt.settings, panel.frequency).seen for series in known.series]
        known_series = [
            replace(series, seen=series_statistics)
            for series, series_statistics in zip(known.series, statistics, strict=True)
        ]
        if not refit and window:
            learnt = learnt.observed(known_series, [len(series) - horizon for series in known_series])
        parts.append(_window_forecasts(learnt, known_series, coverage))
    point: Any
    point, quantiles, interval = (
        None if parts[0][k] is None else np.concatenate([part[k] for part in parts], axis=1) for k in range(3)
    )
    seconds = (time.perf_counter() - began) / len(panel.series)
    return [
        Forecasts(
            point[k],
            None if quantiles is None else quantiles[k],
            None if interval is None else interval[k],
            seconds,
            _scored_levels(learnt),
        )
        for k in range(len(panel.series))
    ]


def _window_forecasts(learnt: Learnt, series: list[Series], coverage: float) -> list[Any]:
    """Point forecasts, quantiles and intervals of the next window, each of shape (series, 1, H, ...)."""
    windows = learnt.windows(series, [np.array([len(one_series)]) for one_series in series])
    shape = len(series), 1
    point = learnt.point(windows).reshape(*shape, -1)
    if not learnt.has_quantiles:
        return [point, None, None]
    quantiles = learnt.quantiles(windows, _scored_levels(learnt))
    edges = [(1 - coverage) / 2, (1 + coverage) / 2]
    has_edges = learnt.levels is None or all(np.isclose(edge, learnt.levels).any() for edge in edges)
    interval = learnt.quantiles(windows, edges) if has_edges else None
    return [point] + [
        None if array is None else array.reshape(*shape, *array.shape[1:]) for array in (quantiles, interval)
    ]


def _scored_levels(learnt: Learnt) -> np.ndarray:
    """The levels of the quantiles that are scored: those that the forecaster has learnt, if it has levels."""
    return LEVELS if learnt.levels is None else np.asarray(learnt.levels, np.float64)


def _rival_forecasts(rival: Any, series: Series, origins: np.ndarray, horizon: int, season: int) -> Forecasts:
    """Forecasts of a rival for one series, whose missing values are interpolated."""
    began = time.perf_counter()
    places, known = np.arange(len(series)), np.isfinite(series.values)
    filled = np.interp(places, places[known], series.values[known])
    point = rival(filled, origins, horizon, season)
    return Forecasts(point, None, None, time.perf_counter() - began)


def _rows(name: str, series: Series, origins: np.ndarray, forecasts: Forecasts, season: int) -> list[tuple[Any, ...]]:
    """A row of the table for each step ahead."""
    truth = series.values[origins[:, None] + np.arange(forecasts.point.shape[1])]
    scales = np.array([naive_error(series.values[:origin], season) for origin in origins])[:, None]
    errors = np.abs(truth - forecasts.point)
    with np.errstate(invalid="ignore", divide="ignore"):
        mase = np.where(errors == 0, 0.0, errors / scales)
        smape = np.where(errors == 0, 0.0, 200 * errors / (np.abs(truth) + np.abs(forecasts.point)))
    smape[np.isnan(truth)] = np.nan
    pinball, covered = np.full_like(errors, np.nan), np.full_like(errors, np.nan)
    if forecasts.quantiles is not None:
        above, levels = truth[:, :, None] - forecasts.quantiles, forecasts.levels
        pinball = 2 * np.maximum(levels * above, (levels - 1) * above).mean(axis=2)
    if forecasts.interval is not None:
        covered = ((forecasts.interval[:, :, 0] <= truth) & (truth <= forecasts.interval[:, :, 1])).astype(float)
        covered[np.isnan(truth)] = np.nan
    columns = [_mean(scores) for scores in (mase, smape, errors**2, pinball, covered)]
    columns[2] = np.sqrt(columns[2])
    return [
        (name, series.key, step + 1, *(float(column[step]) for column in columns), forecasts.seconds)
        for step in range(truth.shape[1])
    ]


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over windows; NaN values are left out."""
    known = np.isfinite(values) | np.isinf(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / np.where((count := known.sum(axis=0)) > 0, count, np.nan)


def _table(rows: list[tuple[Any, ...]]) -> Any:
    if importlib.util.find_spec("pandas") is not None:
        return importlib.import_module("pandas").DataFrame(rows, columns=list(COLUMNS))
    dtypes = ["U32", object, int] + [float] * 6
    return np.array(rows, dtype=list(zip(COLUMNS, dtypes, strict=True)))


def score(forecaster: Any, y: Any, X: Any) -> float:
    """See `LSTMForecaster.score`."""
    learnt, panel = forecaster._learnt, forecaster._extended_panel(y, X)
    horizon, starts = learnt.settings.lengths.horizon, [len(series) for series in forecaster._panel.series]
    origins = [np.arange(start, len(series), horizon) for start, series in zip(starts, panel.series, strict=True)]
    windows = learnt.windows(panel.series, origins)
    truth = BACK[learnt.settings.transform](windows.ahead)
    scales = np.array([series.seen.naive_error for series in panel.series])[windows.owner]
    errors = np.abs(truth - learnt.point(windows))
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(errors == 0, 0.0, errors / scales[:, None])
    return -float(np.nanmean(scaled))
