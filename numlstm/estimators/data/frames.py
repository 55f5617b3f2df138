"""Sequences in tables of pandas and polars. Neither is imported here: a user who passes a table has imported it."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np


class NamedSequences(list[np.ndarray]):
    """A list of (T_i, C) arrays, with the names of the C channels."""

    def __init__(self, arrays: Iterable[np.ndarray], names: Sequence[str]) -> None:
        super().__init__(arrays)
        self.names = list(names)


def is_frame(X: Any) -> bool:
    """Whether X is a table of pandas or polars."""
    classes = [getattr(sys.modules.get(name), "DataFrame", None) for name in ("pandas", "polars")]
    return isinstance(X, tuple(kind for kind in classes if kind))


def is_indexed(X: Any) -> bool:
    """Whether X is a DataFrame or Series of pandas with a MultiIndex, so that its rows are steps."""
    pandas = sys.modules.get("pandas")
    return (
        pandas is not None
        and isinstance(X, pandas.DataFrame | pandas.Series)
        and isinstance(X.index, pandas.MultiIndex)
    )


def frame_numbers(frame: Any, name: str, columns: Sequence[Hashable] | None = None) -> np.ndarray:
    """Some columns of a table, or all, as an array (rows, columns); missing numbers are NaN.

    Raises
    ------
    TypeError
        If a column does not hold numbers.
    ValueError
        If there is no column, or if two columns have the same name.
    """
    columns = column_labels(frame, name) if columns is None else columns
    if not columns:
        raise ValueError(f"{name} must have a column for each channel, got none")
    return np.stack([_column_numbers(frame[label], label, name) for label in columns], axis=1)


def column_labels(frame: Any, name: str) -> list[Hashable]:
    """The labels of all columns of a table.

    Raises
    ------
    ValueError
        If two columns have the same label.
    """
    labels = list(frame.columns)
    if len(set(labels)) < len(labels):
        duplicate = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{name} must have columns with different names, got {duplicate!r} twice")
    return labels


def as_list(columns: Any) -> list[Hashable]:
    """One column, or a list or an array of columns, as a list."""
    columns = columns.tolist() if hasattr(columns, "tolist") else columns
    return columns if isinstance(columns, list) else [columns]


def _column_numbers(column: Any, label: Hashable, name: str) -> np.ndarray:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind in "fiub":
            return column.to_numpy()
    elif hasattr(dtype, "is_numeric"):  # a dtype of polars
        if dtype.is_float():
            return column.to_numpy()
        if dtype.is_numeric() or dtype == sys.modules["polars"].Boolean:
            is_integer = dtype.is_integer() and not column.null_count()
            return column.to_numpy() if is_integer else column.cast(sys.modules["polars"].Float64).to_numpy()
    elif sys.modules["pandas"].api.types.is_numeric_dtype(dtype):  # an extension dtype, which may have missing values
        return column.to_numpy(dtype="float32" if str(dtype).lower() == "float32" else "float64", na_value=np.nan)
    raise TypeError(
        f"{name} must hold numbers, got column {label!r} of dtype {dtype}: leave it out, or convert it to numbers "
        "(numlstm.SequenceEncoder converts categories, if you pass arrays of objects, as to_numpy() gives them)"
    )


def arrays_from_frames(frames: Sequence[Any], name: str) -> list[np.ndarray]:
    """A list of tables, one for each sequence, as a list of arrays.

    Raises
    ------
    TypeError, ValueError
        If one of them is not a table, has other columns, or does not hold numbers; the message names it.
    """
    labels: list[Hashable] = []
    for i, frame in enumerate(frames):
        if not is_frame(frame):
            kind = type(frame).__name__
            raise TypeError(
                f"{name}[{i}] must be a DataFrame like others in {name}, got {kind}: pass only DataFrames, or none"
            )
        frame_labels = column_labels(frame, f"{name}[{i}]")
        if i and frame_labels != labels:
            raise ValueError(
                f"{name}[{i}] must have the columns of {name}[0] in the same order, {labels}, got {frame_labels}"
            )
        labels = frame_labels
    return with_names([frame_numbers(frame, f"{name}[{i}]") for i, frame in enumerate(frames)], labels, name)


def arrays_from_index(X: Any, name: str) -> list[np.ndarray]:
    """The sequences in a DataFrame or Series whose index has two levels, the sequence and the time.

    Sequences are in the order of their first rows. The sequences of a Series are (T_i,) arrays.

    Raises
    ------
    TypeError, ValueError
        As in `rows_of_sequences`, or if a column is not numeric.
    """
    rows = rows_of_sequences(X, name)
    if X.ndim == 1:
        return group_rows(_column_numbers(X, X.name, name), rows)
    return with_names(group_rows(frame_numbers(X, name), rows), column_labels(X, name), name)


def rows_of_sequences(X: Any, name: str) -> np.ndarray:
    """The number of each row's sequence, for an index with two levels.

    Raises
    ------
    ValueError
        If the index has another number of levels, or steps are not in the order of time.
    """
    levels = X.index.nlevels
    if levels != 2:
        raise ValueError(
            f"{name} must have an index of two levels, (sequence, time), got {levels} levels: {X.index.names}"
        )
    rows, keys = factorize(X.index.get_level_values(0).tolist())
    times = X.index.get_level_values(1)
    for number, sequence_rows in enumerate(group_rows(np.arange(len(X)), rows)):
        if not times[sequence_rows].is_monotonic_increasing:
            raise ValueError(
                f"{name} must have its steps in the order of time, but sequence {keys[number]!r} is not in this order: "
                f"pass {name}.sort_index()"
            )
    return rows


def with_names(arrays: list[np.ndarray], labels: Sequence[Hashable], name: str) -> list[np.ndarray]:
    """Arrays with the names of their channels, if all labels are strings.

    Raises
    ------
    TypeError
        If only some labels are strings.
    """
    strings = [label for label in labels if isinstance(label, str)]
    if 0 < len(strings) < len(labels):
        raise TypeError(
            f"{name} must have column names that are all strings, or no string among them, got {list(labels)}"
        )
    return NamedSequences(arrays, strings) if strings else arrays


def factorize(keys: Iterable[Hashable]) -> tuple[np.ndarray, list[Any]]:
    """The number of each row's key, and the keys; keys are numbered in the order of their first rows."""
    numbers: dict[Hashable, int] = {}
    rows = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(rows, np.int64), list(numbers)


def group_rows(values: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """One array for each number in `rows`, with the values of its rows in their order."""
    ends = np.cumsum(np.bincount(rows))
    return np.split(values[np.argsort(rows, kind="stable")], ends[:-1])
