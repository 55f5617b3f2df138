"""Series on a regular grid of time: what was given, checked, with its covariates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .frequency import Frequency, frequency_of
from .tables import Form, Table, read_tables

SHOWN = 5  # names in a message
LONGEST_GAP = 100  # times the steps that there are: more is no gap, but another frequency


class Seen(NamedTuple):
    """What is known of a series after windows of it are forgotten.

    Attributes
    ----------
    mean, deviation : float
        Of its transformed values.
    naive_error : float
        The mean absolute difference of its values from those a season before.
    end : int
        The number of the step after the last one that was learnt from.
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
        What it is called.
    values : float64 array, shape (T,)
        NaN where a value is missing.
    start : int
        The number of its first step, on the grid of the frequency.
    past : float64 array, shape (T, P)
        Covariates that are known until the forecast.
    future : float64 array, shape (T + F, Q)
        Covariates that are known for F steps more.
    static : float64 array, shape (S,)
    seen : Seen or None
        What a forecaster knows of all that it has learnt from.
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
        """The numbers of the steps after the last."""
        return self.start + frequency.count * (len(self) + np.arange(steps))

    def until(self, count: int, horizon: int = 0) -> Series:
        """The first `count` steps, and what is known of the future for `horizon` more."""
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
    """All series that were given together.

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
        """Every series changed."""
        return replace(self, series=[change(each) for each in self.series])

    def times(self, steps: int) -> list[np.ndarray]:
        """The time stamps of the steps after the last, for each series."""
        ends = {each.start + self.frequency.count * len(each): each for each in self.series}
        known = {end: self.frequency.times(each.numbers(self.frequency, steps)) for end, each in ends.items()}
        return [known[each.start + self.frequency.count * len(each)] for each in self.series]


@dataclass(frozen=True)
class Names:
    """Which columns are which: of long tables the series and the time, of X the covariates.

    Attributes
    ----------
    id_column, time_column : str
    past, future : list or None
        Names of covariates; None leaves them to what X has.
    """

    id_column: str
    time_column: str
    past: list[Any] | None
    future: list[Any] | None


def read_panel(y: Any, X: Any, static: Any, names: Names, frequency: Frequency | None = None, name: str = "y") -> Panel:
    """Series in any of their forms, with their covariates.

    Steps that are missing between two time stamps are there, with NaN for their values.

    Raises
    ------
    TypeError, ValueError
        Naming what is wrong, and in which series.
    """
    tables, form = read_tables(y, name, names.id_column, names.time_column)
    tables = _apart(tables, form, name)
    found = frequency or _frequency(tables, name)
    series = [_on_grid(table, found, name) for table in tables]
    if X is not None:
        series = _with_covariates(series, X, names, found)
    if static is not None:
        series = _with_static(series, static)
    return Panel(series, found, form)


def _apart(tables: list[Table], form: Form, name: str) -> list[Table]:
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
    times = [table.times for table in tables if table.times is not None]
    for table in tables:
        if table.times is not None:
            _check_order(table, name)
    return frequency_of(times, name) if times else Frequency("step", 1)


def _check_order(table: Table, name: str) -> None:
    """Time stamps must rise, each of them once."""
    assert table.times is not None
    steps = np.diff(table.times).astype(np.int64)
    if (steps == 0).any():
        raise ValueError(
            f"{name} must have each time stamp once, got {table.times[:-1][steps == 0][0]} twice{_of(table.key)}"
        )
    if (steps < 0).any():
        raise ValueError(f"{name} must be in the order of time{_of(table.key)}: pass {name}.sort_index()")


def _of(key: Any) -> str:
    return "" if key is None else f" in series {key!r}"


def _on_grid(table: Table, frequency: Frequency, name: str) -> Series:
    """The values of a table at all steps from its first to its last."""
    values, start = table.values, 0
    if table.times is not None:
        start, values = _filled(table, frequency, name)
    values = values[:, 0]
    if np.isinf(values).any():
        raise ValueError(f"{name} must be finite or NaN, but contains infinity{_of(table.key)}")
    if np.isnan(values).all():
        raise ValueError(f"{name} must hold a number at some step, got NaN at every step{_of(table.key)}")
    empty = np.empty((len(values), 0))
    return Series(table.key, values, start, empty, empty, np.empty(0))


def _filled(table: Table, frequency: Frequency, name: str) -> tuple[int, np.ndarray]:
    """The number of the first step, and the rows of all steps; those that are missing are NaN."""
    assert table.times is not None
    if (table.times.dtype.kind == "M") != (frequency.kind != "step"):
        raise TypeError(f"{name} must have time stamps of the kind that fit was given, got {table.times.dtype}")
    _check_order(table, name)
    numbers = frequency.numbers(table.times)
    places, rest = np.divmod(numbers - numbers[0], frequency.count)
    if rest.any() or (frequency.times(numbers[:1]) != table.times[:1]).any():
        raise ValueError(f"{name} must have time stamps at the frequency of fit, got others{_of(table.key)}")
    if places[-1] > LONGEST_GAP * len(places):
        raise ValueError(f"{name} must have at least one step in {LONGEST_GAP}, got longer gaps{_of(table.key)}")
    rows = np.full((int(places[-1]) + 1, table.values.shape[1]), np.nan)
    rows[places] = table.values
    return int(numbers[0]), rows


# Covariates ----------------------------------------------------------------------------------------------


def _with_covariates(series: list[Series], X: Any, names: Names, frequency: Frequency) -> list[Series]:
    tables, form = read_tables(X, "X", names.id_column, names.time_column)
    tables = _for_each(tables, form, series)
    columns = tables[0].columns
    future = [] if names.future is None else list(names.future)
    past = [each for each in columns if each not in future] if names.past is None else list(names.past)
    for role, wanted in (("past_covariates", past), ("future_covariates", future)):
        for column in wanted:
            if column not in columns:
                raise ValueError(f"X must have the columns of {role}, got no {column!r} among {columns}")
    return [
        _covered(
            own, table, [columns.index(each) for each in past], [columns.index(each) for each in future], frequency
        )
        for own, table in zip(series, tables, strict=True)
    ]


def _for_each(tables: list[Table], form: Form, series: list[Series]) -> list[Table]:
    """The table of covariates of each series; one alone is for all."""
    if form.kind in ("long", "indexed"):
        known = {table.key: table for table in tables}
        missing = [each.key for each in series if each.key not in known]
        if missing:
            raise ValueError(f"X must have rows for each series of y, got none for {missing[:SHOWN]}")
        return [known[each.key] for each in series]
    if not form.listed:
        return tables * len(series)
    if len(tables) != len(series):
        raise ValueError(f"X must have {len(series)} entries, one for each series of y, got {len(tables)}")
    return tables


def _covered(own: Series, table: Table, past: list[int], future: list[int], frequency: Frequency) -> Series:
    """The series with its covariates, which begin no later, and end no earlier, than it does."""
    start, rows = (own.start, table.values) if table.times is None else _filled(table, frequency, "X")
    before = (own.start - start) // frequency.count
    if before < 0:
        raise ValueError(f"X must begin no later than y, got {-before} steps later{_of(own.key)}")
    rows = rows[before:]
    if len(rows) < len(own):
        raise ValueError(f"X must end no earlier than y, got {len(own) - len(rows)} steps fewer{_of(own.key)}")
    if np.isinf(rows).any():
        raise ValueError(f"X must be finite or NaN, but contains infinity{_of(own.key)}")
    return replace(own, past=rows[: len(own), past], future=rows[:, future])


def with_future(series: Series, X: Table, places: list[int], frequency: Frequency) -> Series:
    """The series with covariates of the future that begin at the step after its last."""
    start, rows = series.start, X.values
    if X.times is not None:
        start, rows = _filled(X, frequency, "X")
        first = (series.start - start) // frequency.count + len(series)
        if first < 0:
            raise ValueError(f"X must begin no later than the forecast, got {-first} steps later{_of(series.key)}")
        rows = rows[first:]
    return replace(series, future=np.concatenate([series.future[: len(series)], rows[:, places]]))


def read_future(panel: Panel, X: Any, names: Names) -> Panel:
    """A panel with covariates for steps to come, which X has in the form of `fit`, or for these steps alone.

    Raises
    ------
    TypeError, ValueError
        If it is not as described.
    """
    tables, form = read_tables(X, "X", names.id_column, names.time_column)
    tables = _for_each(tables, form, panel.series)
    columns = list(names.future or [])
    for column in columns:
        if column not in tables[0].columns:
            raise ValueError(
                f"X must have the columns of future_covariates, got no {column!r} among {tables[0].columns}"
            )
    places = [tables[0].columns.index(each) for each in columns]
    series = [with_future(own, table, places, panel.frequency) for own, table in zip(panel.series, tables, strict=True)]
    return replace(panel, series=series)


def _with_static(series: list[Series], static: Any) -> list[Series]:
    """The series with a row of numbers each."""
    if hasattr(static, "index") and hasattr(static, "loc"):
        missing = [each.key for each in series if each.key not in static.index]
        if missing:
            raise ValueError(
                f"static must have a row for each series of y, by its index, got none for {missing[:SHOWN]}"
            )
        rows = static.loc[[each.key for each in series]].to_numpy(np.float64)
    else:
        rows = np.asarray(static, np.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or len(rows) != len(series):
        raise ValueError(f"static must have {len(series)} rows, one for each series of y, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("static must be finite, but contains NaN or infinity")
    return [replace(each, static=row) for each, row in zip(series, rows, strict=True)]


# Going on ------------------------------------------------------------------------------------------------


def joined(before: Series, after: Series, frequency: Frequency, counted: bool) -> Series:
    """A series with the observations that follow; steps between them are missing.

    Parameters
    ----------
    before, after : Series
    frequency : Frequency
    counted : bool
        Whether there are no time stamps: `after` begins where `before` ends.

    Raises
    ------
    ValueError
        If they overlap.
    """
    gap = 0 if counted else (after.start - before.start) // frequency.count - len(before)
    if gap < 0:
        raise ValueError(f"y must begin after the last step of the series, got {-gap} steps before{_of(before.key)}")
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
    """Every series must be that long.

    Raises
    ------
    ValueError
        Naming those that are not.
    """
    short = [each for each in series if len(each) < least]
    if short:
        named = ", ".join(f"{each.key!r} has {len(each)}" for each in short[:SHOWN]) + (", ..." * (len(short) > SHOWN))
        raise ValueError(f"y must have at least {least} steps in each series, {needs}; too short: {named}")
