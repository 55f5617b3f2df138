"""Windows of series, and how their values are differenced and scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .frequency import Frequency, calendar_features
from .series import Series

KINDS = ("none", "first", "seasonal")  # and "counts", for a negative binomial distribution
LEAST_EXPOSURE = 0.1  # of a window, as a share of the mean of its series
FARTHEST = 20.0  # scaled targets are clipped to this distance
TINY = 1e-9  # scales below this share of the values are rounding


@dataclass(frozen=True)
class Lengths:
    """Steps of the parts of a window.

    Attributes
    ----------
    context : int
        Steps that a member reads.
    horizon : int
        Steps to forecast.
    season : int
        Steps of a season: "seasonal" differencing takes the value so many steps before.
    """

    context: int
    horizon: int
    season: int

    def history(self, kind: str) -> int:
        """Steps of the past that a window of this kind needs."""
        return self.context + (self.season if kind == "seasonal" else 0)


@dataclass(frozen=True)
class Windows:
    """Windows of series: the steps before an origin, and the horizon after it.

    Attributes
    ----------
    history : array, shape (n, T)
        Transformed values before the origin; NaN where a value is missing.
    ahead : array, shape (n, H)
        Transformed values after the origin; NaN where a value is not known.
    past : array, shape (n, L, P)
        Covariates of the context.
    future : array, shape (n, L + H, Q)
        Covariates and calendar features of the context and of the horizon.
    static : array, shape (n, S)
    location, spread : array, shape (n, 1)
        Mean and standard deviation of the whole series.
    owner, origin : int array, shape (n,)
        The index of the series of each window, and the number of its steps before the origin.
    """

    history: np.ndarray
    ahead: np.ndarray
    past: np.ndarray
    future: np.ndarray
    static: np.ndarray
    location: np.ndarray
    spread: np.ndarray
    owner: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.history)

    def __getitem__(self, rows: Any) -> Windows:
        return Windows(*(getattr(self, field.name)[rows] for field in fields(self)))


def windows_before(
    series: Sequence[Series], origins: Sequence[np.ndarray], lengths: Lengths, reach: int, calendar: Sequence[str],
    frequency: Frequency,
) -> Windows:  # fmt: skip
    """The windows at some origins, in the order of the series; an origin is the number of steps before it.

    Values before the first step and after the last one are missing.
    """
    groups: dict[Any, list[int]] = {}
    for k, (one_series, series_origins) in enumerate(zip(series, origins, strict=True)):
        if len(series_origins):
            key = len(one_series), len(one_series.future), one_series.start, series_origins.tobytes()
            groups.setdefault(key, []).append(k)
    parts = [
        _group_windows([series[k] for k in group], group, origins[group[0]], lengths, reach, calendar, frequency)
        for group in groups.values()
    ]
    if len(parts) == 1:
        return parts[0]
    windows = Windows(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Windows)))
    return windows[np.argsort(windows.owner, kind="stable")]


def _group_windows(
    group: list[Series], numbers: list[int], origins: np.ndarray, lengths: Lengths, reach: int, calendar: Sequence[str],
    frequency: Frequency,
) -> Windows:  # fmt: skip
    """The windows of series that have the same start, the same length and the same origins."""
    context, horizon = lengths.context, lengths.horizon
    around = origins[:, None] + np.arange(-context, horizon)
    values = _stacked([series.values for series in group])
    future = _rows(_stacked([series.future for series in group]), around)
    if calendar:
        times = frequency.times(group[0].start + frequency.count * around.ravel())
        features = calendar_features(times, calendar).reshape(*around.shape, -1)
        future = np.concatenate([future, np.tile(features, (len(group), 1, 1))], axis=2)
    moments = np.repeat(_moments_of(group, values), len(origins), axis=0)
    return Windows(
        _rows(values[:, :, None], origins[:, None] + np.arange(-reach, 0))[:, :, 0],
        _rows(values[:, :, None], around[:, context:])[:, :, 0],
        _rows(_stacked([series.past for series in group]), around[:, :context]),
        future,
        np.repeat(_stacked([series.static for series in group]), len(origins), axis=0),
        moments[:, :1],
        moments[:, 1:],
        np.repeat(numbers, len(origins)),
        np.tile(origins, len(group)),
    )


def _stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """Arrays of one shape along a new first axis; faster than `np.stack` for many small arrays."""
    return np.concatenate(arrays).reshape(len(arrays), *arrays[0].shape)


def _moments_of(group: list[Series], values: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each series, (S, 2): what a forecaster has learnt from, or all of the values."""
    seen = [series.seen[:2] for series in group if series.seen is not None]
    return np.array(seen) if len(seen) == len(group) else spreads_of(values)


def _rows(arrays: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows of arrays (S, T, C) at places (n, L), as (S n, L, C); NaN where a place is outside."""
    count, steps, columns = arrays.shape
    shape = (count * len(places), places.shape[1], columns)
    if not steps or not columns:
        return np.full(shape, np.nan)
    inside = (places >= 0) & (places < steps)
    rows = arrays[:, np.clip(places, 0, steps - 1)]
    return (rows if inside.all() else np.where(inside[:, :, None], rows, np.nan)).reshape(shape)


def spreads_of(values: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of the known values of each row (S, T), (S, 2); the deviation of a constant is 1."""
    known = np.isfinite(values)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    filled = np.where(known, values, 0.0)
    means = filled.sum(axis=1, keepdims=True) / counts
    deviations = np.sqrt((np.where(known, values - means, 0.0) ** 2).sum(axis=1, keepdims=True) / counts)
    varies = deviations > TINY * np.abs(filled).max(axis=1, keepdims=True, initial=0.0)
    return np.concatenate([means, np.where(varies, deviations, 1.0)], axis=1)


# Differencing and scaling --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """Windows as a member of the forecast reads them.

    Attributes
    ----------
    channels : array, shape (n, L, C)
        Scaled values: one channel, or two for "seasonal"; 0 where a value is missing.
    missing : bool array, shape (n, L)
    base : array, shape (n, H)
        Scaled forecasts are relative to it.
    scale : array, shape (n, 1)
        Targets are divided by it; 0 where all values of a window are the same.
    """

    channels: np.ndarray
    missing: np.ndarray
    base: np.ndarray
    scale: np.ndarray

    def scaled(self, ahead: np.ndarray) -> np.ndarray:
        """Targets as a member learns them; NaN where a target is missing or the window is constant."""
        scale = np.where(self.scale > 0, self.scale, np.nan)
        return np.clip((ahead - self.base) / scale, -FARTHEST, FARTHEST)

    def restored(self, forecasts: np.ndarray) -> np.ndarray:
        """Transformed values, from scaled forecasts (n, H) or (n, H, P)."""
        axes = (slice(None), slice(None)) + (None,) * (forecasts.ndim - 2)
        return self.base[axes] + self.scale[axes] * forecasts


def prepared(windows: Windows, kind: str, lengths: Lengths) -> Prepared:
    """Windows, prepared in the way of one kind of member.

    - "none": relative to the mean of the series, divided by its standard deviation;
    - "first": relative to the last value of the window, divided by its standard deviation;
    - "counts": divided by the mean of the window, but at least by a tenth of the mean of the series;
    - "seasonal": two channels, differences from the season before and values relative to the last value. Both are
      divided by the root mean square of these differences; targets are relative to the season before.
    """
    history = windows.history[:, windows.history.shape[1] - lengths.history(kind) :]
    missing = np.isnan(history)
    if kind == "none":
        base = np.broadcast_to(windows.location, (len(windows), lengths.horizon))
        channels = (history - windows.location) / windows.spread
        return Prepared(np.nan_to_num(channels)[:, :, None], missing, base, windows.spread)
    if kind == "counts":
        scale = np.maximum(_mean(history), np.maximum(LEAST_EXPOSURE * windows.location, TINY))
        return Prepared(_divided(history, scale)[:, :, None], missing, np.zeros((len(windows), 1)), scale)
    filled, last = _carry_forward(history)
    if kind == "first":
        scale = spread_within(history)
        base = np.repeat(last, lengths.horizon, axis=1)
        return Prepared(_divided(history - last, scale)[:, :, None], missing, base, scale)
    season = lengths.season
    differences = history[:, season:] - history[:, :-season]
    scale = _scale(differences, last)
    phases = filled.shape[1] - season + np.arange(lengths.horizon) % season
    channels = np.stack([_divided(differences, scale), _divided(history[:, season:] - last, scale)], axis=2)
    return Prepared(channels, np.isnan(differences), filled[:, phases], scale)


def _carry_forward(history: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Histories whose missing values get the last known value before, or else the first after; and the last values."""
    if not np.isnan(history).any():
        return history, history[:, -1:]
    places = np.where(np.isnan(history), -1, np.arange(history.shape[1]))
    before = np.maximum.accumulate(places, axis=1)
    first = np.where(places >= 0, places, history.shape[1]).min(axis=1, keepdims=True)
    places = np.where(before >= 0, before, np.minimum(first, history.shape[1] - 1))
    filled = np.nan_to_num(np.take_along_axis(history, places, axis=1))
    return filled, filled[:, -1:]


def _mean(history: np.ndarray) -> np.ndarray:
    """The mean of the known values of each window, (n, 1)."""
    known = np.isfinite(history)
    return np.where(known, history, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)


def spread_within(history: np.ndarray) -> np.ndarray:
    """The standard deviation of the values of each window, (n, 1); 0 where it is only rounding."""
    mean = _mean(history)
    return _scale(history - mean, mean)


def _scale(deviations: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The root mean square of deviations, (n, 1); 0 where they are only rounding."""
    known = np.isfinite(deviations)
    squares = np.where(known, deviations, 0.0) ** 2
    scale = np.sqrt(squares.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1))
    return np.where(scale > TINY * np.abs(level), scale, 0.0)


def _divided(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Values divided by a scale, or by 1 where the scale is 0; 0 where a value is missing."""
    return np.nan_to_num(values / np.where(scale > 0, scale, 1.0))


# Covariates ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CovariateScale:
    """Means and standard deviations of covariates.

    Attributes
    ----------
    past, future, static : array, shape (2, columns)
        The mean and the deviation of each column.
    """

    past: np.ndarray
    future: np.ndarray
    static: np.ndarray

    @classmethod
    def of(cls, windows: Windows) -> CovariateScale:
        """The means and deviations of the covariates of windows."""
        return cls(*(_moments(covariates) for covariates in (windows.past, windows.future, windows.static)))

    def scaled(self, windows: Windows) -> Windows:
        """Windows with covariates of mean 0 and deviation 1; 0 where a covariate is missing."""
        pairs = (windows.past, self.past), (windows.future, self.future), (windows.static, self.static)
        past, future, static = (
            np.nan_to_num((covariates - mean) / deviation) for covariates, (mean, deviation) in pairs
        )
        return replace(windows, past=past, future=future, static=static)


def _moments(array: np.ndarray) -> np.ndarray:
    """The mean and deviation of each column, (2, columns)."""
    return spreads_of(array.reshape(math.prod(array.shape[:-1]), -1).T if array.size else np.empty((0, 1))).T
