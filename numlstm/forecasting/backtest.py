"""Errors of forecasts over windows at the end of series, beside those of rivals."""

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

LEVELS = np.arange(1, 10) / 10  # of the quantiles that are scored
COLUMNS = ("model", "series", "step", "mase", "smape", "rmse", "pinball", "coverage", "seconds")


class Forecasts(NamedTuple):
    """What a model says of the windows of one series.

    Attributes
    ----------
    point : array, shape (windows, H)
    quantiles : array, shape (windows, H, levels), or None
    interval : array, shape (windows, H, 2), or None
    seconds : float
    """

    point: np.ndarray
    quantiles: np.ndarray | None
    interval: np.ndarray | None
    seconds: float


def backtest(
    forecaster: Any, y: Any, X: Any, static: Any, n_windows: int, horizon: Any, refit: bool, coverage: float
) -> Any:
    """As `LSTMForecaster.backtest`."""
    check_integer(n_windows, "n_windows", 1)
    check_flag(refit, "refit")
    share = check_coverage(coverage)
    own = clone(forecaster)
    if horizon is not None:
        own.set_params(horizon=check_integer(horizon, "horizon", 1))
    check_parameters(own)
    panel = read_panel(y, X, static, names_of(own))
    steps = settings_for(panel, own).lengths.horizon
    lengths_at_least(panel.series, (n_windows + 1) * steps + 1, f"a horizon before {n_windows} windows of {steps}")
    origins = [len(each) - steps * np.arange(n_windows, 0, -1) for each in panel.series]
    models = {"LSTMForecaster": _own(own, panel, origins, steps, refit, share)}
    season = settings_for(_before(panel, origins, 0, steps), own).lengths.season
    for name, rival in RIVALS.items():
        models[name] = [
            _rival(rival, each, origin, steps, season) for each, origin in zip(panel.series, origins, strict=True)
        ]
    rows = [
        row
        for name, said in models.items()
        for each, origin, own_said in zip(panel.series, origins, said, strict=True)
        for row in _rows(name, each, origin, own_said, season)
    ]
    return _table(rows)


def _before(panel: Panel, origins: Sequence[np.ndarray], window: int, horizon: int) -> Panel:
    """The series up to the beginning of a window."""
    series = [each.until(int(own[window]), horizon) for each, own in zip(panel.series, origins, strict=True)]
    return replace(panel, series=series)


def _own(
    forecaster: Any, panel: Panel, origins: list[np.ndarray], horizon: int, refit: bool, coverage: float
) -> list[Forecasts]:
    """What the forecaster says, for each series."""
    count, began = len(origins[0]), time.perf_counter()
    checked_future(
        [each.until(len(each) - horizon, horizon) for each in panel.series], horizon, forecaster.future_covariates or ()
    )
    parts: list[Any] = []
    found: Any = None
    for window in range(count):
        known = _before(panel, origins, window, horizon)
        if refit or found is None:
            found = learn(forecaster, known)
            learnt = [seen(own, found.settings, panel.frequency).seen for own in known.series]
        series = [replace(own, seen=each) for own, each in zip(known.series, learnt, strict=True)]
        if not refit and window:
            found = found.observed(series, [len(each) - horizon for each in series])
        parts.append(_said(found, series, coverage))
    point: Any
    point, quantiles, interval = (
        None if parts[0][k] is None else np.concatenate([part[k] for part in parts], axis=1) for k in range(3)
    )
    seconds = (time.perf_counter() - began) / len(panel.series)
    return [
        Forecasts(
            point[k], None if quantiles is None else quantiles[k], None if interval is None else interval[k], seconds
        )
        for k in range(len(panel.series))
    ]


def _said(found: Learnt, series: list[Series], coverage: float) -> list[Any]:
    """Forecasts, quantiles and intervals of what comes next, each (series, 1, H, ...)."""
    windows = found.windows(series, [np.array([len(each)]) for each in series])
    shape = len(series), 1
    point = found.point(windows).reshape(*shape, -1)
    if not found.has_quantiles:
        return [point, None, None]
    levels = found.levels if found.levels is not None else LEVELS
    quantiles = found.quantiles(windows, levels)
    edges = [(1 - coverage) / 2, (1 + coverage) / 2]
    known = found.levels is None or all(np.isclose(edge, found.levels).any() for edge in edges)
    interval = found.quantiles(windows, edges) if known else None
    return [point] + [None if each is None else each.reshape(*shape, *each.shape[1:]) for each in (quantiles, interval)]


def _rival(rival: Any, series: Series, origins: np.ndarray, horizon: int, season: int) -> Forecasts:
    began = time.perf_counter()
    places, known = np.arange(len(series)), np.isfinite(series.values)
    filled = np.interp(places, places[known], series.values[known])
    point = rival(filled, origins, horizon, season)
    return Forecasts(point, None, None, time.perf_counter() - began)


def _rows(name: str, series: Series, origins: np.ndarray, said: Forecasts, season: int) -> list[tuple[Any, ...]]:
    """A row of the table for each step ahead."""
    truth = series.values[origins[:, None] + np.arange(said.point.shape[1])]
    scales = np.array([naive_error(series.values[:origin], season) for origin in origins])[:, None]
    errors = np.abs(truth - said.point)
    with np.errstate(invalid="ignore", divide="ignore"):
        mase = np.where(errors == 0, 0.0, errors / scales)
        smape = np.where(errors == 0, 0.0, 200 * errors / (np.abs(truth) + np.abs(said.point)))
    smape[np.isnan(truth)] = np.nan
    pinball, covered = np.full_like(errors, np.nan), np.full_like(errors, np.nan)
    if said.quantiles is not None:
        levels = LEVELS if said.quantiles.shape[2] == len(LEVELS) else None
        above = truth[:, :, None] - said.quantiles
        weights = LEVELS if levels is not None else np.linspace(0, 1, said.quantiles.shape[2] + 2)[1:-1]
        pinball = 2 * np.maximum(weights * above, (weights - 1) * above).mean(axis=2)
    if said.interval is not None:
        covered = ((said.interval[:, :, 0] <= truth) & (truth <= said.interval[:, :, 1])).astype(float)
        covered[np.isnan(truth)] = np.nan
    columns = [_mean(each) for each in (mase, smape, errors**2, pinball, covered)]
    columns[2] = np.sqrt(columns[2])
    return [
        (name, series.key, step + 1, *(float(each[step]) for each in columns), said.seconds)
        for step in range(truth.shape[1])
    ]


def _mean(values: np.ndarray) -> np.ndarray:
    """Over windows, without those that are NaN."""
    known = np.isfinite(values) | np.isinf(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / np.where((count := known.sum(axis=0)) > 0, count, np.nan)


def _table(rows: list[tuple[Any, ...]]) -> Any:
    if importlib.util.find_spec("pandas") is not None:
        return importlib.import_module("pandas").DataFrame(rows, columns=list(COLUMNS))
    kinds = ["U32", object, int] + [float] * 6
    return np.array(rows, dtype=list(zip(COLUMNS, kinds, strict=True)))


def score(forecaster: Any, y: Any, X: Any) -> float:
    """As `LSTMForecaster.score`."""
    found, panel = forecaster._learnt, forecaster._gone_on(y, X)
    horizon, known = found.settings.lengths.horizon, [len(each) for each in forecaster._panel.series]
    origins = [np.arange(first, len(own), horizon) for first, own in zip(known, panel.series, strict=True)]
    windows = found.windows(panel.series, origins)
    truth = BACK[found.settings.transform](windows.ahead)
    scales = np.array([each.seen.naive_error for each in panel.series])[windows.owner]
    errors = np.abs(truth - found.point(windows))
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(errors == 0, 0.0, errors / scales[:, None])
    return -float(np.nanmean(scaled))
