"""From series to a combination of members, and from windows to forecasts, quantiles and paths."""

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
from .windows import Windows, spread_of, windows_before

MOST = 4000  # windows that are learnt from
OF_NETWORKS = (
    "hidden_size", "num_layers", "cell", "pooling", "dropout", "learning_rate_init", "max_iter", "batch_size",
    "backend", "dtype", "verbose",
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
        None if there is to be none.
    """

    settings: Settings
    frequency: Frequency
    head: Head
    combination: Combination
    calibration: Calibration | None

    @property
    def has_quantiles(self) -> bool:
        """Whether there are quantiles of forecasts."""
        return self.calibration is not None or self.head.kind != "point"

    @property
    def levels(self) -> np.ndarray | None:
        """The levels that there are quantiles of; None for all."""
        return np.array(self.head.levels) if self.head.kind == "quantiles" else None

    def windows(self, series: Sequence[Series], origins: Sequence[np.ndarray]) -> Windows:
        """The windows of series, as they were given, before some origins."""
        return _windows(series, origins, self.settings, self.frequency)

    def point(self, windows: Windows) -> np.ndarray:
        """Forecasts, (n, H)."""
        return BACK[self.settings.transform](self.combination.predict(windows))

    def quantiles(self, windows: Windows, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles of forecasts, (n, H, levels)."""
        own = np.asarray(levels, np.float64)
        said = (
            self.combination.quantiles(windows, own)
            if self.calibration is None
            else self.calibration.quantiles(self.combination, windows, own)
        )
        return BACK[self.settings.transform](said)

    def observed(self, series: Sequence[Series], before: Sequence[int]) -> Learnt:
        """The same with intervals that rest on what has been observed since, too.

        Parameters
        ----------
        series : sequence of Series
        before : sequence of int
            The steps of each that were known before.
        """
        if self.calibration is None:
            return self
        horizon, count = self.settings.lengths.horizon, self.frequency.count
        origins = []
        for own, known in zip(series, before, strict=True):
            learnt = 0 if own.seen is None else (own.seen.end - own.start) // count
            origins.append(np.arange(max(known - horizon + 1, learnt, 0), len(own) - horizon + 1))
        if not sum(map(len, origins)):
            return self
        windows = self.windows(series, origins)
        return replace(self, calibration=self.calibration.observed(self.combination, windows))

    def paths(self, windows: Windows, count: int, rng: np.random.Generator) -> np.ndarray:
        """Paths that are drawn from the distribution, (count, n, H)."""
        horizon = self.settings.lengths.horizon
        places = rng.normal(size=(count, len(windows), horizon))
        if isinstance(self.calibration, Stretch):
            before = self.calibration.correlation
            for step in range(1, horizon):
                places[:, :, step] = before * places[:, :, step - 1] + np.sqrt(1 - before**2) * places[:, :, step]
            places = self.calibration.stretched(places)
        drawn = at_normal_places(self.combination.quantiles(windows, GRID), places)
        drawn = np.round(drawn) if self.head.kind == "negative_binomial" else drawn
        return BACK[self.settings.transform](drawn)


def learn(forecaster: Any, panel: Panel) -> Learnt:
    """What a forecaster can learn of all series.

    Raises
    ------
    ValueError
        If they are too short.
    """
    settings = settings_for(panel, forecaster)
    seeds = check_random_state(forecaster.random_state).randint(2**31 - 1, size=forecaster.n_members).tolist()
    options = {name: getattr(forecaster, name) for name in OF_NETWORKS}
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
        return Head("quantiles", tuple(float(each) for each in forecaster.quantiles))
    return Head(forecaster.distribution or "point")


def _calibration(head: Head, trial: Trial, horizon: int) -> Calibration:
    """How far off the combination is on windows that were held out."""
    if head.kind == "quantiles":
        empty = np.empty((0, horizon, len(head.levels)))
        blank: Calibration = Shifts(trial.held_out, empty, np.array(head.levels))
    else:
        blank = (Stretch if head.is_distribution else Widths)(trial.held_out, np.empty((0, horizon)))
    windows = trial.windows[np.argsort(trial.windows.origin, kind="stable")]
    return replace(blank, errors=blank.measured(trial.combination, windows))


def names_of(forecaster: Any) -> Names:
    """The names of columns that a forecaster knows."""
    past, future = (
        None if each is None else list(each) for each in (forecaster.past_covariates, forecaster.future_covariates)
    )
    return Names(forecaster.id_column, forecaster.time_column, past, future)


def _origins(series: Sequence[Series], settings: Settings) -> list[np.ndarray]:
    """Where the windows of each series end: everywhere, or at even distances, so that they are about `MOST`."""
    lengths = settings.lengths
    least = min(lengths.history(kind) for kind in settings.kinds)
    everywhere = [np.arange(least, len(each) - lengths.horizon + 1) for each in series]
    share = min(1.0, MOST / max(sum(map(len, everywhere)), 1))
    counts = [int(np.ceil(share * len(each))) for each in everywhere]
    return [each[_evenly(len(each), count)] for each, count in zip(everywhere, counts, strict=True)]


def _evenly(length: int, count: int) -> np.ndarray:
    """So many places, up to the last one."""
    return length - 1 - np.round(np.arange(count)[::-1] * (length / max(count, 1))).astype(np.int64)


def _windows(
    series: Sequence[Series], origins: Sequence[np.ndarray], settings: Settings, frequency: Frequency
) -> Windows:
    change = FORWARD[settings.transform]
    if settings.transform != "none":
        series = [replace(each, values=change(each.values)) for each in series]
    return windows_before(series, origins, settings.lengths, settings.reach, settings.calendar, frequency)


def seen(series: Series, settings: Settings, frequency: Frequency) -> Series:
    """The series with what is known of it."""
    mean, deviation = spread_of(FORWARD[settings.transform](series.values))
    error = naive_error(series.values, settings.lengths.season)
    return replace(series, seen=Seen(mean, deviation, error, series.start + frequency.count * len(series)))


def checked_future(series: Sequence[Series], horizon: int, columns: Sequence[Any]) -> None:
    """Covariates of the future must reach the horizon.

    Raises
    ------
    ValueError
        If they do not.
    """
    for each in series if columns else ():
        known = len(each.future) - len(each)
        if known < horizon:
            of = "" if each.key is None else f" for series {each.key!r}"
            raise ValueError(
                f"X must have the future covariates {list(columns)} for all {horizon} steps of the forecast, "
                f"got {max(known, 0)}{of}"
            )
