"""The distance between the steps of a series: found in its time stamps, continued, and what it says of seasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DAY = 86_400_000_000  # microseconds
SHOWN = 3  # kinds of steps in a message


@dataclass(frozen=True)
class Frequency:
    """A regular grid of time stamps: each has a number, and numbers of neighbours differ by `count`.

    Attributes
    ----------
    kind : {"step", "fixed", "month", "business"}
        Numbers are the time stamps themselves, which are integers; or microseconds, months or working days.
    count : int
        From one step to the next.
    offset : int
        Microseconds from the beginning of a month, or of a day for "business", to the time stamp.
    at_end : bool
        Whether `offset` counts back from the end of the month.
    """

    kind: str
    count: int
    offset: int = 0
    at_end: bool = False

    def numbers(self, times: np.ndarray) -> np.ndarray:
        """The numbers of time stamps (T,), as int64."""
        if self.kind == "month":
            return times.astype("M8[M]").astype(np.int64)
        if self.kind == "business":
            return np.busday_count(np.datetime64(0, "D"), times.astype("M8[D]"))
        return times.astype(np.int64)

    def times(self, numbers: np.ndarray) -> np.ndarray:
        """The time stamps of numbers."""
        numbers = np.asarray(numbers, np.int64)
        if self.kind == "step":
            return numbers
        if self.kind == "fixed":
            return numbers.astype("M8[us]")
        if self.kind == "month":
            months = (numbers + self.at_end).astype("M8[M]").astype("M8[us]")
            return months - np.timedelta64(self.offset, "us") if self.at_end else months + self.offset
        days = np.busday_offset(np.datetime64(0, "D"), numbers, roll="forward")
        return days.astype("M8[us]") + self.offset

    @property
    def season(self) -> int | None:
        """Steps of a season that the calendar suggests, or None."""
        if self.kind == "business":
            return 5
        if self.kind == "month":
            return 12 // self.count if 12 % self.count == 0 and self.count < 12 else None
        if self.kind == "step":
            return None
        if self.count == 7 * DAY:
            return 52
        whole = 7 * DAY if self.count == DAY else DAY if self.count >= DAY // 288 else DAY // 24
        return whole // self.count if whole % self.count == 0 and whole > self.count else None

    @property
    def calendar(self) -> dict[str, int]:
        """Cycles of the calendar that are longer than a season, and their steps."""
        if self.kind == "business":
            return {"month": 260}
        if self.kind != "fixed" or self.count >= 7 * DAY:
            return {}
        return {"month": 365 * DAY // self.count} if self.count >= DAY else {"weekday": 7 * DAY // self.count}


def frequency_of(times: Sequence[np.ndarray], name: str) -> Frequency:
    """The one frequency of several series' time stamps, each in the order of time.

    Raises
    ------
    ValueError
        If time stamps are not on one regular grid.
    """
    steps = np.concatenate([np.diff(each) for each in times]) if times else np.empty(0)
    if not len(steps):
        raise ValueError(f"{name} must have at least two time stamps in a series, to tell its frequency, got one")
    joined = np.concatenate(times)
    if joined.dtype.kind != "M":
        return _checked(Frequency("step", _most_common(steps)), times, name)
    joined = joined.astype("M8[us]")
    return _checked(_monthly(joined, times) or _business(joined, steps) or _fixed(steps), times, name)


def _monthly(joined: np.ndarray, times: Sequence[np.ndarray]) -> Frequency | None:
    """Stamps at one place in months, at most one a month."""
    months = joined.astype("M8[M]")
    apart = np.concatenate([np.diff(each.astype("M8[M]")) for each in times]).astype(np.int64)
    if (apart < 1).any():
        return None
    for at_end in (False, True):
        edges = (months + 1 if at_end else months).astype("M8[us]")
        offsets = (edges - joined if at_end else joined - edges).astype(np.int64)
        if (offsets == offsets[0]).all():
            return Frequency("month", _most_common(apart), int(offsets[0]), at_end)
    return None


def _business(joined: np.ndarray, steps: np.ndarray) -> Frequency | None:
    """Working days, at one time of the day, with weekends left out."""
    of_day = (joined - joined.astype("M8[D]")).astype(np.int64)
    days = np.unique(steps.astype("m8[us]").astype(np.int64) // DAY)
    if (of_day != of_day[0]).any() or not np.is_busday(joined.astype("M8[D]")).all() or days[0] != 1 or 3 not in days:
        return None
    return Frequency("business", 1, int(of_day[0]))


def _fixed(steps: np.ndarray) -> Frequency:
    return Frequency("fixed", _most_common(steps.astype("m8[us]").astype(np.int64)))


def _most_common(steps: np.ndarray) -> int:
    values, counts = np.unique(steps.astype(np.int64), return_counts=True)
    return int(values[counts.argmax()])


def _checked(found: Frequency, times: Sequence[np.ndarray], name: str) -> Frequency:
    """The frequency, if all time stamps lie on its grid."""
    for each in times:
        numbers = found.numbers(each)
        if ((numbers - numbers[0]) % found.count).any():
            steps = np.unique(np.diff(each))
            shown = ", ".join(str(step) for step in steps[:SHOWN]) + (", ..." if len(steps) > SHOWN else "")
            raise ValueError(
                f"{name} must have an index with a frequency, but its steps are {shown}: resample it, for example with "
                "pandas' resample"
            )
    return found


# Calendar ------------------------------------------------------------------------------------------------

FEATURES = ("minute", "hour", "weekday", "day", "month")


def calendar_features(times: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Sine and cosine of the phase in each cycle of the calendar, (T, 2 · names).

    Parameters
    ----------
    times : datetime64 array, shape (T,)
    names : sequence of {"minute", "hour", "weekday", "day", "month"}
        The minute of the hour, the hour of the day, the day of the week, the day of the month, the month of the year.
    """
    phases = [_phase(times.astype("M8[us]"), name) for name in names]
    return np.stack([wave(2 * np.pi * phase) for phase in phases for wave in (np.sin, np.cos)], axis=1)


def _phase(times: np.ndarray, name: str) -> np.ndarray:
    days, months = times.astype("M8[D]"), times.astype("M8[M]")
    in_day = (times - days).astype(np.int64)
    if name == "minute":
        return in_day // (DAY // 1440) % 60 / 60
    if name == "hour":
        return in_day // (DAY // 24) / 24
    if name == "weekday":
        return (days.astype(np.int64) + 3) % 7 / 7
    if name == "day":
        return (days - months.astype("M8[D]")).astype(np.int64) / 31
    return months.astype(np.int64) % 12 / 12


# Seasons -------------------------------------------------------------------------------------------------

LONGEST = 400  # steps of a season that is looked for
WEAKEST = 0.3  # autocorrelation of a season
MOST = 50  # series that are looked at


def season_of(series: Sequence[Any]) -> int:
    """The season that most of some series have, 1 for none: the lag at which the autocorrelation peaks.

    Of the peaks at 0.9 of the highest or more the first one counts, as a season's multiples peak, too.

    Parameters
    ----------
    series : sequence of array, shape (T_i,)
        NaN where a value is missing.
    """
    found = [_season(values) for values in series[:MOST]]
    lags, counts = np.unique(found, return_counts=True)
    return int(lags[counts.argmax()])


def _season(values: np.ndarray) -> int:
    known = np.flatnonzero(np.isfinite(values))
    longest = min(len(values) // 3, LONGEST)
    if len(known) < 9 or longest < 2:
        return 1
    line = np.polynomial.Polynomial.fit(known, values[known], 1)
    rest = np.where(np.isfinite(values), values - line(np.arange(len(values))), 0.0)
    spectrum = np.abs(np.fft.rfft(rest, 2 * len(rest))) ** 2
    waves = np.fft.irfft(spectrum)[: longest + 2]
    if waves[0] <= 1e-12 * np.sum(values[known] ** 2):
        return 1
    waves = waves / waves[0] * len(rest) / (len(rest) - np.arange(len(waves)))
    lags = np.arange(2, longest + 1)
    chance = 3 / np.sqrt(len(known) - lags)  # deviations of the autocorrelation of noise
    high = waves[lags] > np.maximum(WEAKEST, chance)
    peaks = lags[(waves[lags] >= waves[lags - 1]) & (waves[lags] > waves[lags + 1]) & high]
    return int(peaks[waves[peaks] >= 0.9 * waves[peaks].max()][0]) if len(peaks) else 1
