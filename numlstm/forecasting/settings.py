"""What is forecast from how much of the past, and in which way: what users say, or what suits the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .frequency import FEATURES, season_of
from .series import Panel, lengths_at_least
from .transforms import transform_of
from .windows import Lengths

SEASONS = 2  # of a context
FEWEST = 8  # steps of a context, where there is no season
TREND = 0.1  # share of a series' variance from which on a trend is no chance
MOST = 200  # series that are looked at
CYCLES = 2  # of the calendar, that a feature is learnt from
WINDOWS = 4  # at least, that a context of "auto" leaves of the shortest series


class Settings(NamedTuple):
    """How series are looked at.

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
        """Steps of the past that windows have."""
        return max(self.lengths.history(kind) for kind in self.kinds)


def settings_for(panel: Panel, forecaster: Any) -> Settings:
    """What the parameters of a forecaster mean for some series.

    Raises
    ------
    ValueError
        If series are too short.
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
    values = [each.values for each in panel.series]
    transform = transform_of(values, season) if forecaster.transform == "auto" else forecaster.transform
    if transform == "log":
        for each in panel.series:
            if (each.values <= 0).any():
                raise ValueError(
                    f"y must be positive for transform='log', got {np.nanmin(each.values)}"
                    + ("" if each.key is None else f" in series {each.key!r}")
                )
    calendar = _calendar(panel, forecaster.calendar)
    return Settings(lengths, kinds, transform, calendar)


def _check_counts(panel: Panel, forecaster: Any) -> None:
    """What a negative binomial distribution is of."""
    for name, fine in (("differencing", ("auto", "none")), ("transform", ("auto", "none"))):
        if getattr(forecaster, name) not in fine:
            raise ValueError(
                f"{name} must be one of {list(fine)} for distribution='negative_binomial', "
                f"got {getattr(forecaster, name)!r}"
            )
    for each in panel.series:
        known = each.values[np.isfinite(each.values)]
        wrong = known[(known < 0) | (known != np.round(known))]
        if len(wrong):
            of = "" if each.key is None else f" in series {each.key!r}"
            raise ValueError(f"y must hold counts for distribution='negative_binomial', got {wrong[0]}{of}")


def _season(panel: Panel, chosen: Any) -> int:
    if chosen != "auto":
        return int(chosen)
    return panel.frequency.season or season_of([each.values for each in panel.series])


def _context(panel: Panel, chosen: Any, horizon: int, season: int, shortest: int) -> int:
    """Steps that are read; "auto" shrinks to what the shortest series has, but not below half a horizon or 2."""
    if chosen != "auto":
        lengths_at_least(panel.series, int(chosen) + horizon, f"context_length + horizon = {int(chosen)} + {horizon}")
        return int(chosen)
    wanted = max(SEASONS * season if season > 1 else FEWEST, horizon)
    least = max(2, horizon // 2)
    lengths_at_least(panel.series, least + horizon, f"context_length + horizon = {least} + {horizon} at least")
    return max(min(wanted, shortest - horizon - WINDOWS), least)


def _kinds(panel: Panel, chosen: str, lengths: Lengths, shortest: int) -> tuple[str, ...]:
    if chosen == "seasonal":
        if lengths.season < 2:
            raise ValueError("differencing must not be 'seasonal' of series without a season: pass season_length")
        needed = lengths.history(chosen) + lengths.horizon
        lengths_at_least(panel.series, needed, "season_length + context_length + horizon")
    if chosen != "auto":
        return (chosen,)
    fits = lengths.season > 1 and lengths.history("seasonal") + lengths.horizon + WINDOWS <= shortest
    level = np.median([_trend(each.values) for each in panel.series[:MOST]]) < TREND
    return ("none",) * bool(level) + ("first",) + ("seasonal",) * fits


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
