"""Series on a regular grid of time, with their covariates; read from the forms that users have, and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .frequency import Frequency, frequency_of
from .tables import Form, Table, read_tables

SHOWN = 5  # names that a message shows
LONGEST_GAP = 100  # the grid has at most so many steps for each time stamp; else the frequency is wrong


class Seen(NamedTuple):
    """Statistics of the part of a series that a forecaster has learnt from.

    Attributes
    ----------
    mean, deviation : float
        Mean and standard deviation of its transformed values.
    naive_error : float
        Mean absolute difference of its values from those a season before.
    end : int
        The number of the first step after that part.
    """

    mean: float
    deviation: float
    naive_error: float
    end: int


@dataclass(frozen=True, eq=False)
class Series:
    """One series.

    Attributes
    ----------
    key : hashable
        The name of the series.
    values : float64 array, shape (T,)
        NaN where a value is missing.
    start : int
        The number of the first step, on the grid of the frequency.
    past : float64 array, shape (T, P)
        Covariates that are known up to the forecast.
    future : float64 array, shape (T + F, Q)
        Covariates that are known for F more steps.
    static : float64 array, shape (S,)
    seen : Seen or None
        Statistics of the part that a forecaster has learnt from; None before learning.
    """

    key: Any
    values: np.ndarray
    start: int
    past: np.ndarray
    future: np.ndarray
    static: np.ndarray
    seen: Seen | None = None

    def __len__(self) -> int:
        return len(self.values)

    def numbers(self, frequency: Frequency, steps: int) -> np.ndarray:
        """The numbers of the next `steps` steps."""
        return self.start + frequency.count * (len(self) + np.arange(steps))

    def until(self, count: int, horizon: int = 0) -> Series:
        """The first `count` steps, with future covariates for `horizon` more."""
        return replace(self, values=self.values[:count], past=self.past[:count], future=self.future[: count + horizon])

    def tail(self, count: int, frequency: Frequency) -> Series:
        """The last `count` steps, or all if there are fewer."""
        first = max(len(self) - count, 0)
        start = self.start + first * frequency.count
        return replace(
            self, values=self.values[first:], start=start, past=self.past[first:], future=self.future[first:]
        )


@dataclass(frozen=True)
class Panel:
    """All series of one call, with their frequency and form.

    Attributes
    ----------
    series : list of Series
    frequency : Frequency
    form : Form
    """

    series: list[Series]
    frequency: Frequency
    form: Form

    def map(self, change: Callable[[Series], Series]) -> Panel:
        """The panel with `change` applied to each series."""
        return replace(self, series=[change(series) for series in self.series])

    def times(self, steps: int) -> list[np.ndarray]:
        """The time stamps of the next `steps` steps of each series."""
        ends = [series.start + self.frequency.count * len(series) for series in self.series]
        times = {
            end: self.frequency.times(series.numbers(self.frequency, steps))
            for end, series in dict(zip(ends, self.series, strict=True)).items()
        }
        return [times[end] for end in ends]


@dataclass(frozen=True)
class Names:
    """Names of columns: of the series and the time in tables, and of the covariates in X.

    Attributes
    ----------
    id_column, time_column : str
    past, future : list or None
        Names of covariates. None for `past`: all columns of X that are not in `future`; None for `future`: no column.
    """

    id_column: str
    time_column: str
    past: list[Any] | None
    future: list[Any] | None


def read_panel(y: Any, X: Any, static: Any, names: Names, frequency: Frequency | None = None, name: str = "y") -> Panel:
    """Read series in any form, with their covariates.

    Steps that are missing between two time stamps are filled in, with NaN as values.

    Raises
    ------
    TypeError, ValueError
        If the data are not as described; the message says what is wrong, and in which series.
    """
    tables, form = read_tables(y, name, names.id_column, names.time_column)
    tables = _single_columns(tables, form, name)
    frequency = frequency or _frequency(tables, name)
    series = [_on_grid(table, frequency, name) for table in tables]
    _check_values(series, name)
    if X is not None:
        series = _with_covariates(series, X, names, frequency)
    if static is not None:
        series = _with_static(series, static)
    return Panel(series, frequency, form)


def _single_columns(tables: list[Table], form: Form, name: str) -> list[Table]:
    """A table of one column for each series."""
    if form.kind in ("long", "indexed"):
        for table in tables:
            if len(table.columns) != 1:
                raise ValueError(
                    f"{name} must have one column beside those of the series and the time, got {table.columns}: "
                    "pass covariates in X"
                )
        return tables
    if form.listed and tables[0].values.shape[1] > 1:
        raise ValueError(f"{name} must be a list of series of one column, got {tables[0].values.shape[1]} columns")
    if form.listed:
        return tables
    (table,) = tables
    return [replace(table, key=key, values=table.values[:, [k]], columns=[key]) for k, key in enumerate(table.columns)]


def _frequency(tables: list[Table], name: str) -> Frequency:
    """The frequency of the time stamps; steps are counted if there are none."""
    times = [table.times for table in tables if table.times is not None]
    for table in tables:
        if table.times is not None:
            _check_order(table, name)
    return frequency_of(times, name) if times else Frequency("step", 1)


def _check_order(table: Table, name: str) -> None:
    """Check that time stamps rise and that none repeats."""
    assert table.times is not None
    steps = np.diff(table.times).astype(np.int64)
    if (steps == 0).any():
        raise ValueError(
            f"{name} must have each time stamp once, got {table.times[:-1][steps == 0][0]} twice{_in_series(table.key)}"
        )
    if (steps < 0).any():
        raise ValueError(f"{name} must be in the order of time{_in_series(table.key)}: pass {name}.sort_index()")


def _in_series(key: Any) -> str:
    return "" if key is None else f" in series {key!r}"


def _on_grid(table: Table, frequency: Frequency, name: str) -> Series:
    """The series of a table, with a value for each step from the first to the last."""
    values, start = table.values, 0
    if table.times is not None:
        start, values = _fill_gaps(table, frequency, name)
    empty = np.empty((len(values), 0))
    return Series(table.key, values[:, 0], start, empty, empty, empty[0])


def _check_values(series: list[Series], name: str) -> None:
    """Check that values are finite or NaN, and that each series has some that are not NaN."""
    if np.isfinite(np.concatenate([one_series.values for one_series in series])).all():
        return
    for one_series in series:
        if np.isinf(one_series.values).any():
            raise ValueError(f"{name} must be finite or NaN, but contains infinity{_in_series(one_series.key)}")
        if np.isnan(one_series.values).all():
            raise ValueError(
                f"{name} must hold a number at some step, got NaN at every step{_in_series(one_series.key)}"
            )


def _fill_gaps(table: Table, frequency: Frequency, name: str) -> tuple[int, np.ndarray]:
    """The number of the first step, and a row for each step of the grid; missing rows are NaN."""
    assert table.times is not None
    if (table.times.dtype.kind == "M") != (frequency.kind != "step"):
        raise TypeError(f"{name} must have time stamps of the same kind as in fit, got {table.times.dtype}")
    _check_order(table, name)
    numbers = frequency.numbers(table.times)
    places, remainders = np.divmod(numbers - numbers[0], frequency.count)
    if remainders.any() or (frequency.times(numbers[:1]) != table.times[:1]).any():
        raise ValueError(
            f"{name} must have time stamps at the frequency of fit, got others{_in_series(table.key)}: resample {name}"
        )
    if places[-1] > LONGEST_GAP * len(places):
        raise ValueError(
            f"{name} must have at least one step in {LONGEST_GAP}, got longer gaps{_in_series(table.key)}: check its "
            "time stamps"
        )
    rows = np.full((int(places[-1]) + 1, table.values.shape[1]), np.nan)
    rows[places] = table.values
    return int(numbers[0]), rows


# Covariates ----------------------------------------------------------------------------------------------


def _with_covariates(series: list[Series], X: Any, names: Names, frequency: Frequency) -> list[Series]:
    """The series with the covariates in X."""
    tables, form = read_tables(X, "X", names.id_column, names.time_column)
    tables = _for_each(tables, form, series)
    columns = tables[0].columns
    future = [] if names.future is None else list(names.future)
    past = [column for column in columns if column not in future] if names.past is None else list(names.past)
    for role, expected in (("past_covariates", past), ("future_covariates", future)):
        for column in expected:
            if column not in columns:
                raise ValueError(f"X must have the columns of {role}, got no {column!r} among {columns}")
    past_places, future_places = ([columns.index(column) for column in group] for group in (past, future))
    return [
        _with_rows(one_series, table, past_places, future_places, frequency)
        for one_series, table in zip(series, tables, strict=True)
    ]


def _for_each(tables: list[Table], form: Form, series: list[Series]) -> list[Table]:
    """The table of covariates for each series; a single table is for all series."""
    if form.kind in ("long", "indexed"):
        known = {table.key: table for table in tables}
        missing = [one_series.key for one_series in series if one_series.key not in known]
        if missing:
            raise ValueError(f"X must have rows for each series of y, got none for {missing[:SHOWN]}")
        return [known[one_series.key] for one_series in series]
    if not form.listed:
        return tables * len(series)
    if len(tables) != len(series):
        raise ValueError(f"X must have {len(series)} entries, one for each series of y, got {len(tables)}")
    return tables


def _with_rows(series: Series, table: Table, past: list[int], future: list[int], frequency: Frequency) -> Series:
    """The series with the covariates of a table, which must contain all steps of the series."""
    start, rows = (series.start, table.values) if table.times is None else _fill_gaps(table, frequency, "X")
    before = (series.start - start) // frequency.count
    if before < 0:
        raise ValueError(f"X must begin no later than y, got {-before} steps later{_in_series(series.key)}")
    rows = rows[before:]
    if len(rows) < len(series):
        raise ValueError(
            f"X must end no earlier than y, got {len(series) - len(rows)} steps fewer{_in_series(series.key)}"
        )
    if np.isinf(rows).any():
        raise ValueError(f"X must be finite or NaN, but contains infinity{_in_series(series.key)}")
    return replace(series, past=rows[: len(series), past], future=rows[:, future])


def with_future(series: Series, X: Table, places: list[int], frequency: Frequency) -> Series:
    """The series with the future covariates in X for the next steps; without time stamps, X has only these steps."""
    start, rows = series.start, X.values
    if X.times is not None:
        start, rows = _fill_gaps(X, frequency, "X")
        first = (series.start - start) // frequency.count + len(series)
        if first < 0:
            raise ValueError(
                f"X must begin no later than the forecast, got {-first} steps later{_in_series(series.key)}"
            )
        rows = rows[first:]
    return replace(series, future=np.concatenate([series.future[: len(series)], rows[:, places]]))


def read_future(panel: Panel, X: Any, names: Names) -> Panel:
    """The panel with the future covariates in X for the next steps; X has the form of `fit`.

    Raises
    ------
    TypeError, ValueError
        If X is not as described.
    """
    tables, form = read_tables(X, "X", names.id_column, names.time_column)
    tables = _for_each(tables, form, panel.series)
    columns = list(names.future or [])
    for column in columns:
        if column not in tables[0].columns:
            raise ValueError(
                f"X must have the columns of future_covariates, got no {column!r} among {tables[0].columns}"
            )
    places = [tables[0].columns.index(column) for column in columns]
    series = [
        with_future(one_series, table, places, panel.frequency)
        for one_series, table in zip(panel.series, tables, strict=True)
    ]
    return replace(panel, series=series)


def _with_static(series: list[Series], static: Any) -> list[Series]:
    """The series, each with its row of static numbers."""
    if hasattr(static, "index") and hasattr(static, "loc"):
        missing = [one_series.key for one_series in series if one_series.key not in static.index]
        if missing:
            raise ValueError(f"static must have each series of y in its index, got no row for {missing[:SHOWN]}")
        rows = static.loc[[one_series.key for one_series in series]].to_numpy(np.float64)
    else:
        rows = np.asarray(static, np.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or len(rows) != len(series):
        raise ValueError(f"static must have {len(series)} rows, one for each series of y, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("static must be finite, but contains NaN or infinity")
    return [replace(one_series, static=row) for one_series, row in zip(series, rows, strict=True)]


# New observations ----------------------------------------------------------------------------------------


def joined(before: Series, after: Series, frequency: Frequency, counted: bool) -> Series:
    """A series with new observations after it; values of steps between the two are missing.

    Parameters
    ----------
    before, after : Series
    frequency : Frequency
    counted : bool
        Whether steps are only counted, as there are no time stamps: then `after` begins where `before` ends.

    Raises
    ------
    ValueError
        If the two overlap.
    """
    gap = 0 if counted else (after.start - before.start) // frequency.count - len(before)
    if gap < 0:
        raise ValueError(
            f"y must begin after the last step of the series, got {-gap} steps before{_in_series(before.key)}"
        )
    blank = np.full((gap, before.past.shape[1]), np.nan)
    values = np.concatenate([before.values, np.full(gap, np.nan), after.values])
    past = np.concatenate([before.past, blank, after.past])
    known = before.future[len(before) :]
    future = np.full((len(values), before.future.shape[1]), np.nan)
    future[: min(len(before.future), len(values))] = before.future[: len(values)]
    if after.future.shape[1]:
        future = np.concatenate([future[: len(before) + gap], after.future])
    elif len(known) > len(values) - len(before):
        future = before.future
    return replace(before, values=values, past=past, future=future)


def lengths_at_least(series: Sequence[Series], least: int, needs: str) -> None:
    """Check that each series has at least `least` steps.

    Raises
    ------
    ValueError
        If some are shorter; the message names them.
    """
    short = [one_series for one_series in series if len(one_series) < least]
    if short:
        shown = [f"{one_series.key!r} has {len(one_series)}" for one_series in short[:SHOWN]]
        named = ", ".join(shown) + (", ..." * (len(short) > SHOWN))
        raise ValueError(f"y must have at least {least} steps in each series, {needs}; too short: {named}")
