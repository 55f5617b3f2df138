"""The frequency of a series: the distance between its steps, and the seasons and calendar cycles that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DAY = 86_400_000_000  # microseconds
SHOWN = 3  # step lengths that a message shows


@dataclass(frozen=True)
class Frequency:
    """A regular grid of time stamps. Each stamp has a number; numbers of neighbours differ by `count`.

    Attributes
    ----------
    kind : {"step", "fixed", "month", "business"}
        What a number counts. "step": time stamps are integers, and are the numbers; "fixed": microseconds; "month":
        months; "business": working days.
    count : int
        The difference between the numbers of one step and the next.
    offset : int
        Microseconds from the start of a month, or of a day for "business", to the time stamp.
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
        """Steps of the season that the calendar suggests, or None."""
        if self.kind == "business":
            return 5
        if self.kind == "month":
            return 12 // self.count if 12 % self.count == 0 and self.count < 12 else None
        if self.kind == "step":
            return None
        if self.count == 7 * DAY:
            return 52
        cycle = 7 * DAY if self.count == DAY else DAY if self.count >= DAY // 288 else DAY // 24
        return cycle // self.count if cycle % self.count == 0 and cycle > self.count else None

    @property
    def calendar(self) -> dict[str, int]:
        """Calendar cycles that are longer than a season, and the number of their steps."""
        if self.kind == "business":
            return {"month": 260}
        if self.kind != "fixed" or self.count >= 7 * DAY:
            return {}
        return {"month": 365 * DAY // self.count} if self.count >= DAY else {"weekday": 7 * DAY // self.count}


def frequency_of(times: Sequence[np.ndarray], name: str) -> Frequency:
    """The common frequency of the time stamps of several series; the stamps of each series are in time order.

    Raises
    ------
    ValueError
        If time stamps are not on one regular grid.
    """
    steps = np.concatenate([np.diff(stamps) for stamps in times]) if times else np.empty(0)
    if not len(steps):
        raise ValueError(f"{name} must have at least two time stamps in one of its series, got one in each")
    joined = np.concatenate(times)
    if joined.dtype.kind != "M":
        return _checked(Frequency("step", _most_common(steps)), times, name)
    joined = joined.astype("M8[us]")
    return _checked(_monthly(joined, times) or _business(joined, steps) or _fixed(steps), times, name)


def _monthly(joined: np.ndarray, times: Sequence[np.ndarray]) -> Frequency | None:
    """Monthly frequency, if all stamps have the same place in their month and each month has at most one; else None."""
    months = joined.astype("M8[M]")
    month_steps = np.concatenate([np.diff(stamps.astype("M8[M]")) for stamps in times]).astype(np.int64)
    if (month_steps < 1).any():
        return None
    for at_end in (False, True):
        edges = (months + 1 if at_end else months).astype("M8[us]")
        offsets = (edges - joined if at_end else joined - edges).astype(np.int64)
        if (offsets == offsets[0]).all():
            return Frequency("month", _most_common(month_steps), int(offsets[0]), at_end)
    return None


def _business(joined: np.ndarray, steps: np.ndarray) -> Frequency | None:
    """Business frequency, if all stamps are working days at one time of day and weekends are left out; else None."""
    time_of_day = (joined - joined.astype("M8[D]")).astype(np.int64)
    days = np.unique(steps.astype("m8[us]").astype(np.int64) // DAY)
    one_time, all_working = (time_of_day == time_of_day[0]).all(), np.is_busday(joined.astype("M8[D]")).all()
    if not one_time or not all_working or days[0] != 1 or 3 not in days:
        return None
    return Frequency("business", 1, int(time_of_day[0]))


def _fixed(steps: np.ndarray) -> Frequency:
    return Frequency("fixed", _most_common(steps.astype("m8[us]").astype(np.int64)))


def _most_common(steps: np.ndarray) -> int:
    values, counts = np.unique(steps.astype(np.int64), return_counts=True)
    return int(values[counts.argmax()])


def _checked(frequency: Frequency, times: Sequence[np.ndarray], name: str) -> Frequency:
    """The frequency, if all time stamps lie on its grid."""
    for stamps in times:
        numbers = frequency.numbers(stamps)
        if ((numbers - numbers[0]) % frequency.count).any():
            steps = np.unique(np.diff(stamps))
            shown = ", ".join(str(step) for step in steps[:SHOWN]) + (", ..." if len(steps) > SHOWN else "")
            raise ValueError(
                f"{name} must have an index with a frequency, but its steps are {shown}: resample it, for example with "
                "pandas' resample"
            )
    return frequency


# Calendar ------------------------------------------------------------------------------------------------

FEATURES = ("minute", "hour", "weekday", "day", "month")


def calendar_features(times: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Sine and cosine of the phase in each calendar cycle, (T, 2 · names).

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

LONGEST = 400  # steps of the longest season that is searched for
WEAKEST = 0.3  # least autocorrelation of a season
MOST = 50  # series that are searched


def season_of(series: Sequence[Any]) -> int:
    """The most common season of some series, 1 for none: the lag at which the autocorrelation peaks.

    Multiples of a season also have peaks. So the first peak counts that reaches 0.9 of the highest one.

    Parameters
    ----------
    series : sequence of array, shape (T_i,)
        NaN where a value is missing.
    """
    seasons = [_season(values) for values in series[:MOST]]
    lags, counts = np.unique(seasons, return_counts=True)
    return int(lags[counts.argmax()])


def _season(values: np.ndarray) -> int:
    """The season of one series, 1 for none."""
    known = np.flatnonzero(np.isfinite(values))
    longest = min(len(values) // 3, LONGEST)
    if len(known) < 9 or longest < 2:
        return 1
    line = np.polynomial.Polynomial.fit(known, values[known], 1)
    residual = np.where(np.isfinite(values), values - line(np.arange(len(values))), 0.0)
    spectrum = np.abs(np.fft.rfft(residual, 2 * len(residual))) ** 2
    correlation = np.fft.irfft(spectrum)[: longest + 2]
    if correlation[0] <= 1e-12 * np.sum(values[known] ** 2):
        return 1
    correlation = correlation / correlation[0] * len(residual) / (len(residual) - np.arange(len(correlation)))
    lags = np.arange(2, longest + 1)
    chance = 3 / np.sqrt(len(known) - lags)  # three standard deviations of the autocorrelation of noise
    high = correlation[lags] > np.maximum(WEAKEST, chance)
    rises, falls = correlation[lags] >= correlation[lags - 1], correlation[lags] > correlation[lags + 1]
    peaks = lags[rises & falls & high]
    return int(peaks[correlation[peaks] >= 0.9 * correlation[peaks].max()][0]) if len(peaks) else 1
