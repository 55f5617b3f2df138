"""Sequences in tables of pandas and polars, neither of which is imported: who passes a table has done so."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np


class NamedSequences(list[np.ndarray]):
    """(T_i, C) arrays whose C channels have names."""

    def __init__(self, arrays: Iterable[np.ndarray], names: Sequence[str]) -> None:
        super().__init__(arrays)
        self.names = list(names)


def is_frame(X: Any) -> bool:
    """Whether X is a table of pandas or polars; looks only if they are loaded."""
    tables = [getattr(sys.modules.get(name), "DataFrame", None) for name in ("pandas", "polars")]
    return isinstance(X, tuple(table for table in tables if table))


def is_indexed(X: Any) -> bool:
    """Whether X is a DataFrame or Series of pandas whose rows are steps: with a MultiIndex."""
    pandas = sys.modules.get("pandas")
    return (
        pandas is not None
        and isinstance(X, pandas.DataFrame | pandas.Series)
        and isinstance(X.index, pandas.MultiIndex)
    )


def numbers_in(frame: Any, name: str, columns: Sequence[Hashable] | None = None) -> np.ndarray:
    """Some columns of a table, or all, as an array (rows, columns); missing numbers are NaN.

    Raises
    ------
    TypeError
        If a column holds anything but numbers.
    ValueError
        If there is no column, or two have one name.
    """
    columns = labels_of(frame, name) if columns is None else columns
    if not columns:
        raise ValueError(f"{name} must have a column for each channel, got none")
    return np.stack([_numbers(frame[label], label, name) for label in columns], axis=1)


def labels_of(frame: Any, name: str) -> list[Hashable]:
    """The labels of a table's columns.

    Raises
    ------
    ValueError
        If two columns have the same.
    """
    labels = list(frame.columns)
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{name} must have columns with names of their own, got {twice!r} twice")
    return labels


def as_list(columns: Any) -> list[Hashable]:
    """The columns that a user names, alone or in a list or an array."""
    columns = columns.tolist() if hasattr(columns, "tolist") else columns
    return columns if isinstance(columns, list) else [columns]


def _numbers(column: Any, label: Hashable, name: str) -> np.ndarray:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind in "fiub":
            return column.to_numpy()
    elif hasattr(dtype, "is_numeric"):  # polars'
        if dtype.is_float():
            return column.to_numpy()
        if dtype.is_numeric() or dtype == sys.modules["polars"].Boolean:
            whole = dtype.is_integer() and not column.null_count()
            return column.to_numpy() if whole else column.cast(sys.modules["polars"].Float64).to_numpy()
    elif sys.modules["pandas"].api.types.is_numeric_dtype(dtype):  # with a mark for what is missing
        return column.to_numpy(dtype="float32" if str(dtype).lower() == "float32" else "float64", na_value=np.nan)
    raise TypeError(
        f"{name} must hold numbers, got column {label!r} of dtype {dtype}: leave it out, or make numbers of it "
        "(numlstm.SequenceEncoder makes them of categories, in arrays of objects: to_numpy() gives such)"
    )


def from_list(frames: Sequence[Any], name: str) -> list[np.ndarray]:
    """Tables, one for each sequence, as arrays.

    Raises
    ------
    TypeError, ValueError
        Naming the one that is no table, has other columns, or holds anything but numbers.
    """
    labels: list[Hashable] = []
    for i, frame in enumerate(frames):
        if not is_frame(frame):
            kind = type(frame).__name__
            raise TypeError(f"{name}[{i}] must be a DataFrame, as others in {name} are, got {kind}: pass all or none")
        own = labels_of(frame, f"{name}[{i}]")
        if i and own != labels:
            raise ValueError(f"{name}[{i}] must have the columns of {name}[0], in the same order: {labels}, got {own}")
        labels = own
    return named([numbers_in(frame, f"{name}[{i}]") for i, frame in enumerate(frames)], labels, name)


def from_index(X: Any, name: str) -> list[np.ndarray]:
    """The sequences in a DataFrame or Series with an index of two levels: the sequence, and the time.

    They come in the order in which they begin; those in a Series are (T_i,).

    Raises
    ------
    TypeError, ValueError
        If there are other levels, steps are not in the order of time, or something is no number.
    """
    levels = X.index.nlevels
    if levels != 2:
        raise ValueError(f"{name} must have an index of two levels, (sequence, time), got {levels}: {X.index.names}")
    rows, keys = numbered(X.index.get_level_values(0).tolist())
    times = X.index.get_level_values(1)
    for number, own in enumerate(split(np.arange(len(X)), rows)):
        if not times[own].is_monotonic_increasing:
            raise ValueError(
                f"{name} must have its steps in the order of time, but those of sequence {keys[number]!r} are not: "
                f"pass {name}.sort_index()"
            )
    if X.ndim == 1:
        return split(_numbers(X, X.name, name), rows)
    return named(split(numbers_in(X, name), rows), labels_of(X, name), name)


def named(arrays: list[np.ndarray], labels: Sequence[Hashable], name: str) -> list[np.ndarray]:
    """Arrays that know the names of their channels, if these are all strings.

    Raises
    ------
    TypeError
        If only some are.
    """
    strings = [label for label in labels if isinstance(label, str)]
    if 0 < len(strings) < len(labels):
        raise TypeError(f"{name} must have columns whose names are all strings, or none of them, got {list(labels)}")
    return NamedSequences(arrays, strings) if strings else arrays


def numbered(keys: Iterable[Hashable]) -> tuple[np.ndarray, list[Any]]:
    """For each row the number of its key, in the order in which they appear, and the keys."""
    numbers: dict[Hashable, int] = {}
    rows = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(rows, np.int64), list(numbers)


def split(values: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """What belongs to each number in `rows`, in the order in which it stands."""
    ends = np.cumsum(np.bincount(rows))
    return np.split(values[np.argsort(rows, kind="stable")], ends[:-1])
