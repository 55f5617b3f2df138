"""Reads series from the forms that users have into tables of numbers and time stamps, and writes forecasts back."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..estimators.data.frames import column_labels, frame_numbers, is_frame
from ..layers.sequences import as_numbers

FORMS = (
    "an array (T,) or (T, series), a list of arrays, a Series or DataFrame of pandas or polars with a column for each "
    "series, or a long DataFrame with columns for the series and the time"
)


@dataclass(frozen=True)
class Stamps:
    """How the time stamps of a form are written.

    Attributes
    ----------
    kind : {"none", "range", "integers", "dates", "periods", "column"}
        "none": rows are only counted; "range": the default index of pandas; "integers", "dates" and "periods": an index
        of pandas that holds these; "column": a column that holds the time.
    name : str or None
        The name of the index or column.
    frequency : str or None
        The frequency, as pandas writes it.
    zone : str or None
        The time zone.
    local : bool
        Whether the stamps read are local time; else they are UTC.
    """

    kind: str = "none"
    name: Any = None
    frequency: str | None = None
    zone: str | None = None
    local: bool = True


@dataclass(frozen=True)
class Table:
    """One series, or several with the same time stamps.

    Attributes
    ----------
    key : hashable
        The name of the series, if a form has several tables.
    times : array, shape (T,), or None
        Integers or datetime64; None if the form has no time stamps.
    values : float64 array, shape (T, C)
    columns : list
        The names of the columns.
    stamps : Stamps
    """

    key: Any
    times: np.ndarray | None
    values: np.ndarray
    columns: list[Hashable]
    stamps: Stamps = Stamps()


@dataclass(frozen=True)
class Form:
    """The form of series, so that forecasts are returned in the same form.

    Attributes
    ----------
    kind : {"array", "series", "frame", "long", "indexed"}
        "array": an array (T,); "series": a Series; "frame": an array or DataFrame with a column for each series;
        "long": a DataFrame with a row for each series and time; "indexed": the same with an index of two levels.
    library : {"numpy", "pandas", "polars"}
    listed : bool
        Whether y is a list of these; for "indexed", whether y is a Series.
    stamps : Stamps
        The time stamps of the first table.
    names : tuple
        "long" and "indexed": the names of the columns for series, time and value; "series": the name of the Series.
    """

    kind: str
    library: str = "numpy"
    listed: bool = False
    stamps: Stamps = Stamps()
    names: tuple[Any, ...] = ()


ARRAY, MATRIX = Form("array"), Form("frame")


def read_tables(data: Any, name: str, id_column: str, time_column: str) -> tuple[list[Table], Form]:
    """The tables of data in any form, and the form.

    Raises
    ------
    TypeError, ValueError
        If the data have none of the forms.
    """
    if isinstance(data, list | tuple) and len(data) and any(np.ndim(entry) or is_table(entry) for entry in data):
        return _read_list(data, name, time_column)
    if is_frame(data):
        columns = column_labels(data, name)
        if id_column in columns:
            return _read_long(data, name, id_column, time_column)
    if _is_indexed(data):
        return _read_indexed(data, name)
    table, form = _read_one(data, name, time_column)
    return [table], form


def is_table(data: Any) -> bool:
    """Whether data are a Series or DataFrame of pandas or polars."""
    return is_frame(data) or _library(data) != "numpy"


def _library(data: Any) -> str:
    if isinstance(data, np.ndarray):
        return "numpy"
    for library in ("pandas", "polars"):
        module = sys.modules.get(library)
        if module is not None and isinstance(data, module.Series | module.DataFrame):
            return library
    return "numpy"


def _is_indexed(data: Any) -> bool:
    return _library(data) == "pandas" and isinstance(data.index, sys.modules["pandas"].MultiIndex)


# Reading -------------------------------------------------------------------------------------------------


def _read_list(data: Sequence[Any], name: str, time_column: str) -> tuple[list[Table], Form]:
    """The tables of a list with an entry for each series."""
    entries = [_read_one(entry, f"{name}[{k}]", time_column, k) for k, entry in enumerate(data)]
    first_table, first_form = entries[0]
    for k, (table, form) in enumerate(entries):
        if form is not first_form and _kinds(form) != _kinds(first_form):
            raise TypeError(f"{name}[{k}] must have the form of {name}[0], {_kinds(first_form)}, got {_kinds(form)}")
        if table.columns != first_table.columns and first_form.kind == "frame":
            raise ValueError(
                f"{name}[{k}] must have the columns {first_table.columns} of {name}[0], got {table.columns}"
            )
    return [table for table, _ in entries], replace(first_form, listed=True)


def _kinds(form: Form) -> str:
    """The kind, library and time stamps of a form, to compare and to show in messages."""
    return f"{form.kind} of {form.library} with time stamps {form.stamps.kind!r}"


def _read_one(data: Any, name: str, time_column: str, key: Any = None) -> tuple[Table, Form]:
    """The table of one array, Series or wide DataFrame."""
    library = _library(data)
    if library == "numpy":
        values = as_numbers(data, name, "float64")
        if values.ndim not in (1, 2) or 0 in values.shape:
            raise ValueError(f"{name} must be {FORMS}, got an array of shape {values.shape}")
        columns = values.reshape(len(values), -1)
        return Table(key, None, columns, list(range(columns.shape[1]))), ARRAY if values.ndim == 1 else MATRIX
    if not len(data):
        raise ValueError(f"{name} must have at least one row, got none")
    if not hasattr(data, "columns"):
        return _read_series(data, name, library, key)
    labels = column_labels(data, name)
    times: np.ndarray | None
    if time_column in labels:
        times, stamps = _stamps_of_column(data[time_column], name, time_column)
        labels.remove(time_column)
    else:
        times, stamps = _stamps_of_index(data.index, name) if library == "pandas" else (None, Stamps())
    values = frame_numbers(data, name, labels).astype(np.float64)
    return Table(key, times, values, labels, stamps), Form("frame", library, stamps=stamps)


def _read_series(data: Any, name: str, library: str, key: Any) -> tuple[Table, Form]:
    """The table of a Series of pandas or polars."""
    frame = data.to_frame(name="value") if library == "pandas" else data.alias("value").to_frame()
    times, stamps = _stamps_of_index(data.index, name) if library == "pandas" else (None, Stamps())
    values = frame_numbers(frame, name).astype(np.float64)
    return Table(key, times, values, [data.name], stamps), Form("series", library, stamps=stamps, names=(data.name,))


def _read_long(data: Any, name: str, id_column: str, time_column: str) -> tuple[list[Table], Form]:
    """The tables of a DataFrame with a row for each series and time; rows may be in any order."""
    labels = column_labels(data, name)
    if time_column not in labels:
        raise ValueError(
            f"{name} has a column {id_column!r}, so it must have {time_column!r} for the time, too, got {labels}"
        )
    columns = [label for label in labels if label not in (id_column, time_column)]
    keys = data[id_column].to_list() if hasattr(data[id_column], "to_list") else list(data[id_column])
    times, stamps = _stamps_of_column(data[time_column], name, time_column)
    matrix = frame_numbers(data, name, columns).astype(np.float64)
    tables = _split(keys, times, matrix, columns, stamps)
    return tables, Form("long", _library(data), stamps=stamps, names=(id_column, time_column, *columns[:1]))


def _read_indexed(data: Any, name: str) -> tuple[list[Table], Form]:
    """The tables of pandas data whose index has two levels, the series and the time."""
    if data.index.nlevels != 2:
        raise ValueError(f"{name} must have an index of two levels, (series, time), got {data.index.nlevels} levels")
    frame = data.to_frame(name="value") if data.ndim == 1 else data
    times, stamps = _stamps_of_index(data.index.get_level_values(1), name)
    if times is None:
        times = data.index.get_level_values(1).to_numpy()
        stamps = Stamps("integers", data.index.names[1])
    columns = column_labels(frame, name)
    tables = _split(data.index.get_level_values(0).tolist(), times, frame_numbers(frame, name), columns, stamps)
    names = (data.index.names[0], data.index.names[1], data.name if data.ndim == 1 else columns[0])
    return tables, Form("indexed", "pandas", data.ndim == 1, stamps, names)


def _split(keys: list[Any], times: Any, matrix: np.ndarray, columns: list[Any], stamps: Stamps) -> list[Table]:
    """A table for each key, with its rows in the order of time."""
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    tables = []
    for key, key_rows in rows.items():
        order = np.array(key_rows)[np.argsort(times[key_rows], kind="stable")]
        tables.append(Table(key, times[order], matrix[order].astype(np.float64), columns, stamps))
    return tables


def _stamps_of_index(index: Any, name: str) -> tuple[np.ndarray | None, Stamps]:
    """Time stamps in an index of pandas; None for the default index."""
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1:
        return None, Stamps("range", index.name)
    if isinstance(index, pandas.PeriodIndex):
        return index.to_timestamp().to_numpy().astype("M8[us]"), Stamps("periods", index.name, index.freqstr)
    if isinstance(index, pandas.DatetimeIndex):
        if index.isna().any():
            raise ValueError(f"{name} must have a time stamp in each row of its index, got NaT")
        times, zone, local = _without_zone(index)
        return times, Stamps("dates", index.name, index.freqstr, zone, local)
    if pandas.api.types.is_integer_dtype(index.dtype):
        return index.to_numpy().astype(np.int64), Stamps("integers", index.name)
    raise TypeError(f"{name} must have an index of dates, periods or integers, got dtype {index.dtype}")


def _stamps_of_column(column: Any, name: str, label: str) -> tuple[np.ndarray, Stamps]:
    """Time stamps in a column."""
    dtype = str(column.dtype)
    if dtype.startswith("period"):
        return column.dt.to_timestamp().to_numpy().astype("M8[us]"), Stamps("column", label, dtype[len("period[") : -1])
    if getattr(column.dtype, "tz", None) is not None:  # dates of pandas
        times, zone, local = _without_zone(sys.modules["pandas"].DatetimeIndex(column))
        return times, Stamps("column", label, None, zone, local)
    times = column.to_numpy()
    if times.dtype.kind in "iu":
        return times.astype(np.int64), Stamps("column", label)
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise TypeError(f"{name} must hold dates or integers in column {label!r}, without gaps, got dtype {dtype}")
    return times.astype("M8[us]"), Stamps("column", label)


def _without_zone(index: Any) -> tuple[np.ndarray, str | None, bool]:
    """Time stamps without their zone: local time if all are at one time of day, as days are; else UTC."""
    if index.tz is None:
        return index.to_numpy().astype("M8[us]"), None, True
    times = index.tz_localize(None).to_numpy().astype("M8[us]")
    local = len(np.unique(times - times.astype("M8[D]"))) == 1
    if not local:
        times = index.tz_convert("UTC").tz_localize(None).to_numpy().astype("M8[us]")
    return times, str(index.tz), local


# Writing -------------------------------------------------------------------------------------------------


def written(form: Form, keys: list[Any], times: list[np.ndarray], values: list[np.ndarray], columns: Any = None) -> Any:
    """Forecasts of several series, in the form of y.

    Parameters
    ----------
    form : Form
    keys : list
        The names of the series.
    times : list of array, shape (H,)
    values : list of array, shape (H,) or (H, C)
        With the axis C, `columns` must have C names.
    columns : list of str or None
        Names of the values of each step, such as levels of quantiles; None if there is one value.
    """
    if form.kind in ("long", "indexed"):
        return _written_long(form, keys, times, values, columns)
    if form.listed:
        entry_form = replace(form, listed=False)
        return [
            written(entry_form, [key], [entry_times], [entry_values], columns)
            for key, entry_times, entry_values in zip(keys, times, values, strict=True)
        ]
    if form.kind == "frame" and columns is None:
        return _framed(form, times[0], np.stack(values, axis=1), keys)
    if form.kind == "frame":
        labels = [(key, column) for key in keys for column in columns]
        return _framed(form, times[0], np.concatenate(values, axis=1), labels, len(keys))
    if columns is not None:
        return _framed(form, times[0], values[0], columns)
    return _series(form, times[0], values[0])


def _series(form: Form, times: np.ndarray, values: np.ndarray) -> Any:
    """An array or Series with the forecast of one series."""
    if form.library == "numpy":
        return values
    name = form.names[0]
    if form.library == "polars":
        return sys.modules["polars"].Series(name, values)
    return sys.modules["pandas"].Series(values, index=_index(form.stamps, times), name=name)


def _framed(form: Form, times: np.ndarray, values: np.ndarray, labels: list[Any], groups: int = 0) -> Any:
    """An array or wide DataFrame; with `groups`, the array has an axis for the series."""
    if form.library == "numpy":
        return values.reshape(len(values), groups, -1) if groups else values
    time_columns = {form.stamps.name: _column(form, times)} if form.stamps.kind == "column" else {}
    if form.library == "polars":
        names = ["_".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels]
        return sys.modules["polars"].DataFrame({**time_columns, **dict(zip(names, values.T, strict=True))})
    pandas = sys.modules["pandas"]
    frame = pandas.DataFrame(values, columns=labels if not groups else pandas.MultiIndex.from_tuples(labels))
    if time_columns:
        frame.insert(0, form.stamps.name, time_columns[form.stamps.name])
    else:
        frame.index = _index(form.stamps, times)
    return frame


def _written_long(form: Form, keys: list[Any], times: Any, values: list[np.ndarray], columns: Any) -> Any:
    """A DataFrame with a row for each series and time, or pandas data with an index of two levels."""
    id_name, time_name, value_name = form.names
    counts = [len(stamps) for stamps in times]
    joined = np.concatenate(times)
    matrix = np.concatenate([array.reshape(len(array), -1) for array in values])
    labels = [value_name] if columns is None else columns
    ids = [key for key, count in zip(keys, counts, strict=True) for _ in range(count)]
    if form.kind == "indexed":
        pandas = sys.modules["pandas"]
        index = pandas.MultiIndex.from_arrays([ids, _index(form.stamps, joined)], names=[id_name, time_name])
        if columns is None and form.listed:
            return pandas.Series(matrix[:, 0], index=index, name=value_name)
        return pandas.DataFrame(matrix, index=index, columns=labels)
    data = {id_name: ids, time_name: _column(form, joined), **dict(zip(labels, matrix.T, strict=True))}
    return sys.modules[form.library].DataFrame(data)


def _column(form: Form, times: np.ndarray) -> Any:
    """Time stamps as a column of the form's library."""
    stamps = form.stamps
    if form.library == "pandas" and stamps.frequency is not None:
        return sys.modules["pandas"].PeriodIndex(times.astype("M8[ns]"), freq=stamps.frequency)
    if form.library == "pandas" and stamps.zone is not None:
        return _with_zone(sys.modules["pandas"].DatetimeIndex(times), stamps)
    return times


def _index(stamps: Stamps, times: np.ndarray) -> Any:
    """The index of pandas that continues the index of y."""
    pandas = sys.modules["pandas"]
    if stamps.kind == "range" and len(times):
        return pandas.RangeIndex(times[0], times[-1] + 1, name=stamps.name)
    if stamps.kind in ("none", "range", "integers"):
        return pandas.Index(times, name=stamps.name)
    if stamps.kind == "periods":
        return pandas.PeriodIndex(times.astype("M8[ns]"), freq=stamps.frequency, name=stamps.name)
    index = pandas.DatetimeIndex(times, name=stamps.name)
    if stamps.zone is not None:
        index = _with_zone(index, stamps)
    if stamps.frequency is not None:
        index.freq = stamps.frequency
    return index


def _with_zone(index: Any, stamps: Stamps) -> Any:
    return index.tz_localize(stamps.zone) if stamps.local else index.tz_localize("UTC").tz_convert(stamps.zone)
