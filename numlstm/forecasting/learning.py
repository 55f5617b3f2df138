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
    "hidden_size", "num_layers", "cell", "dropout", "learning_rate_init", "max_iter", "batch_size", "backend", "dtype",
    "verbose",
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
    recipe = Recipe(settings.kinds, linear, head, seeds, options)
    origins = _origins(panel.series, settings)
    windows = _windows(panel.series, origins, settings, panel.frequency)
    combination, trial = combined(windows, settings.lengths, recipe)
    calibration = _calibration(head, trial) if forecaster.conformal else None
    return Learnt(settings, panel.frequency, head, combination, calibration)


def _head(forecaster: Any) -> Head:
    if forecaster.quantiles is not None:
        return Head("quantiles", tuple(float(each) for each in forecaster.quantiles))
    return Head(forecaster.distribution or "point")


def _calibration(head: Head, trial: Trial) -> Calibration:
    if head.kind == "quantiles":
        return Shifts.of(*trial, np.array(head.levels))
    return Stretch.of(*trial) if head.is_distribution else Widths.of(*trial)


def names_of(forecaster: Any) -> Names:
    """The names of columns that a forecaster knows."""
    past, future = (
        None if each is None else list(each) for each in (forecaster.past_covariates, forecaster.future_covariates)
    )
    return Names(forecaster.id_column, forecaster.time_column, past, future)


def _origins(series: Sequence[Series], settings: Settings) -> list[np.ndarray]:
    """Where the windows of each series end: everywhere, or at equal distances, so that they are no more than `MOST`."""
    lengths = settings.lengths
    least = min(lengths.history(kind) for kind in settings.kinds)
    everywhere = [np.arange(least, len(each) - lengths.horizon + 1) for each in series]
    stride = max(1, -(-sum(map(len, everywhere)) // MOST))
    return [each[::-1][::stride][::-1] for each in everywhere]


def _windows(
    series: Sequence[Series], origins: Sequence[np.ndarray], settings: Settings, frequency: Frequency
) -> Windows:
    change = FORWARD[settings.transform]
    changed = [replace(each, values=change(each.values)) for each in series]
    return windows_before(changed, origins, settings.lengths, settings.reach, settings.calendar, frequency)


def seen(series: Series, settings: Settings) -> Series:
    """The series with what is known of it."""
    mean, deviation = spread_of(FORWARD[settings.transform](series.values))
    return replace(series, seen=Seen(mean, deviation, naive_error(series.values, settings.lengths.season)))


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
