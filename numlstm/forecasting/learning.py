"""Learning: series give a combination of members, which gives forecasts, quantiles and paths for windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .combination import Combination, Recipe, Trial, combined
from .distributions import Head
from .frequency import Frequency
from .intervals import GRID, Calibration, Shifts, Stretch, Widths, at_normal_places
from .scores import naive_error
from .series import Names, Panel, Seen, Series
from .settings import Settings, settings_for
from .transforms import BACK, FORWARD
from .windows import Windows, spreads_of, windows_before

MOST = 4000  # windows to learn from, at most about
NETWORK_PARAMETERS = (
    "hidden_size", "num_layers", "cell", "pooling", "dropout", "learning_rate_init", "max_iter", "batch_size",
    "backend", "dtype", "compute_dtype", "verbose",
)  # fmt: skip


@dataclass(frozen=True)
class Learnt:
    """All that forecasts need.

    Attributes
    ----------
    settings : Settings
    frequency : Frequency
    head : Head
    combination : Combination
    calibration : Widths, Shifts, Stretch or None
        None without `conformal`.
    """

    settings: Settings
    frequency: Frequency
    head: Head
    combination: Combination
    calibration: Calibration | None

    @property
    def has_quantiles(self) -> bool:
        """Whether it can give quantiles of forecasts."""
        return self.calibration is not None or self.head.kind != "point"

    @property
    def levels(self) -> np.ndarray | None:
        """The levels at which it can give quantiles; None for all levels."""
        return np.array(self.head.levels) if self.head.kind == "quantiles" else None

    def check_levels(self, levels: Sequence[float] | np.ndarray, name: str) -> None:
        """Refuse quantiles that it cannot give.

        Raises
        ------
        ValueError
            If it has no quantiles, or not these.
        """
        if not self.has_quantiles:
            raise ValueError("conformal must be True for intervals of a forecaster without quantiles or distribution")
        if self.levels is not None and not np.isclose(np.asarray(levels)[:, None], self.levels).any(axis=1).all():
            raise ValueError(f"{name} must be among those that were learnt, {list(self.head.levels)}, got {levels}")

    def windows(self, series: Sequence[Series], origins: Sequence[np.ndarray]) -> Windows:
        """The windows that end at some origins of series, which are not transformed yet."""
        return _windows(series, origins, self.settings, self.frequency)

    def last_windows(self, panel: Panel) -> Windows:
        """The windows at the ends of the series."""
        return self.windows(panel.series, [*np.array([len(series) for series in panel.series])[:, None]])

    def point(self, windows: Windows) -> np.ndarray:
        """Forecasts, (n, H)."""
        return BACK[self.settings.transform](self.combination.predict(windows))

    def quantiles(self, windows: Windows, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles of forecasts, (n, H, levels)."""
        levels = np.asarray(levels, np.float64)
        transformed = (
            self.combination.quantiles(windows, levels)
            if self.calibration is None
            else self.calibration.quantiles(self.combination, windows, levels)
        )
        return BACK[self.settings.transform](transformed)

    def observed(self, series: Sequence[Series], before: Sequence[int]) -> Learnt:
        """The same, with intervals that also rest on new observations.

        Parameters
        ----------
        series : sequence of Series
        before : sequence of int
            Steps of each series that were known before the new observations.
        """
        if self.calibration is None:
            return self
        horizon, count = self.settings.lengths.horizon, self.frequency.count
        origins = []
        for one_series, known in zip(series, before, strict=True):
            learnt = 0 if one_series.seen is None else (one_series.seen.end - one_series.start) // count
            origins.append(np.arange(max(known - horizon + 1, learnt, 0), len(one_series) - horizon + 1))
        if not sum(map(len, origins)):
            return self
        windows = self.windows(series, origins)
        return replace(self, calibration=self.calibration.observed(self.combination, windows))

    def paths(self, windows: Windows, count: int, rng: np.random.Generator) -> np.ndarray:
        """Paths drawn from the distribution, (count, n, H)."""
        horizon = self.settings.lengths.horizon
        places = rng.normal(size=(count, len(windows), horizon))
        if isinstance(self.calibration, Stretch):
            correlation = self.calibration.correlation
            noise = np.sqrt(1 - correlation**2)
            for step in range(1, horizon):
                places[:, :, step] = correlation * places[:, :, step - 1] + noise * places[:, :, step]
            places = self.calibration.stretched(places)
        drawn = at_normal_places(self.combination.quantiles(windows, GRID), places)
        drawn = np.round(drawn) if self.head.kind == "negative_binomial" else drawn
        return BACK[self.settings.transform](drawn)


def learn(forecaster: Any, panel: Panel) -> Learnt:
    """Fit the members of a forecaster, and calibrate its intervals.

    Raises
    ------
    ValueError
        If series are too short.
    """
    settings = settings_for(panel, forecaster)
    seeds = check_random_state(forecaster.random_state).randint(2**31 - 1, size=forecaster.n_members).tolist()
    options = {name: getattr(forecaster, name) for name in NETWORK_PARAMETERS}
    head = _head(forecaster)
    linear = forecaster.linear_skip and head.kind != "negative_binomial"
    recipe = Recipe(settings.kinds, linear, head, seeds, options, forecaster.conformal)
    origins = _origins(panel.series, settings)
    windows = _windows(panel.series, origins, settings, panel.frequency)
    combination, trial = combined(windows, settings.lengths, recipe)
    calibration = _calibration(head, trial, settings.lengths.horizon) if forecaster.conformal else None
    return Learnt(settings, panel.frequency, head, combination, calibration)


def _head(forecaster: Any) -> Head:
    if forecaster.quantiles is not None:
        return Head("quantiles", tuple(float(level) for level in forecaster.quantiles))
    return Head(forecaster.distribution or "point")


def _calibration(head: Head, trial: Trial, horizon: int) -> Calibration:
    """The errors of the combination on windows that were held out."""
    if head.kind == "quantiles":
        empty = np.empty((0, horizon, len(head.levels)))
        blank: Calibration = Shifts(trial.held_out, empty, np.array(head.levels))
    else:
        blank = (Stretch if head.is_distribution else Widths)(trial.held_out, np.empty((0, horizon)))
    windows = trial.windows[np.argsort(trial.windows.origin, kind="stable")]
    return replace(blank, errors=blank.measured(trial.combination, windows))


def names_of(forecaster: Any) -> Names:
    """The column names in the parameters of a forecaster."""
    past, future = (
        None if columns is None else list(columns)
        for columns in (forecaster.past_covariates, forecaster.future_covariates)
    )
    return Names(forecaster.id_column, forecaster.time_column, past, future)


def _origins(series: Sequence[Series], settings: Settings) -> list[np.ndarray]:
    """Where the windows of each series end: at each step, or at even distances, so that there are about `MOST`."""
    lengths = settings.lengths
    least = min(lengths.history(kind) for kind in settings.kinds)
    all_origins = [np.arange(least, len(one_series) - lengths.horizon + 1) for one_series in series]
    share = min(1.0, MOST / max(sum(map(len, all_origins)), 1))
    counts = [int(np.ceil(share * len(origins))) for origins in all_origins]
    return [origins[_evenly(len(origins), count)] for origins, count in zip(all_origins, counts, strict=True)]


def _evenly(length: int, count: int) -> np.ndarray:
    """`count` indices at even distances, the last of which is `length` - 1."""
    return length - 1 - np.round(np.arange(count)[::-1] * (length / max(count, 1))).astype(np.int64)


def _windows(
    series: Sequence[Series], origins: Sequence[np.ndarray], settings: Settings, frequency: Frequency
) -> Windows:
    """The windows of transformed series that end at some origins."""
    forward = FORWARD[settings.transform]
    if settings.transform != "none":
        series = [replace(one_series, values=forward(one_series.values)) for one_series in series]
    return windows_before(series, origins, settings.lengths, settings.reach, settings.calendar, frequency)


def seen(series: Series, settings: Settings, frequency: Frequency) -> Series:
    """The series, with its statistics in `seen`."""
    mean, deviation = spreads_of(FORWARD[settings.transform](series.values)[None])[0].tolist()
    error = naive_error(series.values, settings.lengths.season)
    return replace(series, seen=Seen(mean, deviation, error, series.start + frequency.count * len(series)))


def checked_future(series: Sequence[Series], horizon: int, columns: Sequence[Any]) -> None:
    """Check that future covariates are known for all steps of the horizon.

    Raises
    ------
    ValueError
        If they are not.
    """
    for one_series in series if columns else ():
        known = len(one_series.future) - len(one_series)
        if known < horizon:
            place = "" if one_series.key is None else f" for series {one_series.key!r}"
            raise ValueError(
                f"X must have the future covariates {list(columns)} for all {horizon} steps of the forecast, "
                f"got {max(known, 0)}{place}"
            )
