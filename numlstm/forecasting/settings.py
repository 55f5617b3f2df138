"""Settings of a forecaster: those of the user, or for "auto" those that suit the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .frequency import FEATURES, season_of
from .series import Panel, lengths_at_least
from .transforms import transform_of
from .windows import Lengths

SEASONS = 2  # seasons in a context
FEWEST = 8  # steps of a context, if there is no season
TREND = 0.1  # a series has a trend if a line explains this share of its variance
MOST = 200  # series that are searched for a trend
CYCLES = 2  # a calendar feature needs so many cycles in the data
WINDOWS = 4  # least number of windows that a context of "auto" leaves in the shortest series


class Settings(NamedTuple):
    """How windows are cut from series, differenced and transformed.

    Attributes
    ----------
    lengths : Lengths
    kinds : tuple of {"none", "first", "seasonal"}
    transform : {"none", "log"}
    calendar : tuple of str
    """

    lengths: Lengths
    kinds: tuple[str, ...]
    transform: str
    calendar: tuple[str, ...]

    @property
    def reach(self) -> int:
        """Steps of the past that windows contain."""
        return max(self.lengths.history(kind) for kind in self.kinds)


def settings_for(panel: Panel, forecaster: Any) -> Settings:
    """The settings of a forecaster for some series.

    Raises
    ------
    ValueError
        If series are too short, or their values do not suit `transform` or `distribution`.
    """
    season = _season(panel, forecaster.season_length)
    horizon = max(season, 1) if forecaster.horizon == "auto" else int(forecaster.horizon)
    shortest = min(map(len, panel.series))
    context = _context(panel, forecaster.context_length, horizon, season, shortest)
    lengths = Lengths(context, horizon, season)
    kinds = _kinds(panel, forecaster.differencing, lengths, shortest)
    if forecaster.distribution == "negative_binomial":
        _check_counts(panel, forecaster)
        return Settings(lengths, ("counts",), "none", _calendar(panel, forecaster.calendar))
    values = [series.values for series in panel.series]
    transform = transform_of(values, season) if forecaster.transform == "auto" else forecaster.transform
    if transform == "log":
        for series in panel.series:
            if (series.values <= 0).any():
                raise ValueError(
                    f"y must be positive for transform='log', got {np.nanmin(series.values)}"
                    + ("" if series.key is None else f" in series {series.key!r}")
                )
    calendar = _calendar(panel, forecaster.calendar)
    return Settings(lengths, kinds, transform, calendar)


def _check_counts(panel: Panel, forecaster: Any) -> None:
    """Check that values are counts, and that no option changes them, for a negative binomial distribution."""
    for name, allowed in (("differencing", ("auto", "none")), ("transform", ("auto", "none"))):
        if getattr(forecaster, name) not in allowed:
            raise ValueError(
                f"{name} must be one of {list(allowed)} for distribution='negative_binomial', "
                f"got {getattr(forecaster, name)!r}"
            )
    for series in panel.series:
        known = series.values[np.isfinite(series.values)]
        wrong = known[(known < 0) | (known != np.round(known))]
        if len(wrong):
            place = "" if series.key is None else f" in series {series.key!r}"
            raise ValueError(f"y must hold counts for distribution='negative_binomial', got {wrong[0]}{place}")


def _season(panel: Panel, chosen: Any) -> int:
    if chosen != "auto":
        return int(chosen)
    return panel.frequency.season or season_of([series.values for series in panel.series])


def _context(panel: Panel, chosen: Any, horizon: int, season: int, shortest: int) -> int:
    """Steps of the context. "auto" shrinks it for the shortest series, but not below half a horizon or 2 steps."""
    if chosen != "auto":
        lengths_at_least(panel.series, int(chosen) + horizon, f"context_length + horizon = {int(chosen)} + {horizon}")
        return int(chosen)
    preferred = max(SEASONS * season if season > 1 else FEWEST, horizon)
    least = max(2, horizon // 2)
    lengths_at_least(panel.series, least + horizon, f"context_length + horizon = {least} + {horizon} at least")
    return max(min(preferred, shortest - horizon - WINDOWS), least)


def _kinds(panel: Panel, chosen: str, lengths: Lengths, shortest: int) -> tuple[str, ...]:
    if chosen == "seasonal":
        if lengths.season < 2:
            raise ValueError("differencing must not be 'seasonal' for season_length 1: pass a longer season_length")
        needed = lengths.history(chosen) + lengths.horizon
        lengths_at_least(panel.series, needed, "season_length + context_length + horizon")
    if chosen != "auto":
        return (chosen,)
    has_room = lengths.season > 1 and lengths.history("seasonal") + lengths.horizon + WINDOWS <= shortest
    has_no_trend = np.median([_trend(series.values) for series in panel.series[:MOST]]) < TREND
    return ("none",) * bool(has_no_trend) + ("first",) + ("seasonal",) * has_room


def _trend(values: np.ndarray) -> float:
    """The share of the variance of a series that a line explains."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 3 or np.ptp(values[known]) == 0:
        return 1.0
    return float(np.corrcoef(known, values[known])[0, 1] ** 2)


def _calendar(panel: Panel, chosen: Any) -> tuple[str, ...]:
    if chosen == "auto":
        longest = max(map(len, panel.series))
        return tuple(name for name, steps in panel.frequency.calendar.items() if longest >= CYCLES * steps)
    if chosen and panel.frequency.kind == "step":
        raise ValueError(f"calendar must be 'auto' or () for series without dates, got {chosen!r}")
    return tuple(chosen)


__all__ = ["FEATURES", "Settings", "settings_for"]
