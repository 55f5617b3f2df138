"""Sequences from one long table."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from .data.frames import as_list, column_labels, factorize, frame_numbers, group_rows, is_frame


class SequencesFromFrame(NamedTuple):
    """The result of `sequences_from_frame`.

    Attributes
    ----------
    sequences : list of n arrays, shape (T_i, C)
    keys : list of n objects
        The value of each sequence in the column `by`; a tuple of values if `by` is a list.
    y : array, shape (n,); or list of n arrays, shape (T_i,); or None
        The target of each sequence, or of each step; None without `target`.
    """

    sequences: list[np.ndarray]
    keys: list[Any]
    y: Any


def sequences_from_frame(
    frame: Any,
    by: Hashable | list[Hashable] = "id",
    sort_by: Hashable | None = "time",
    columns: Hashable | list[Hashable] | None = None,
    target: Hashable | None = None,
) -> SequencesFromFrame:
    """Convert a long table, in which each row is a step of a sequence, to a list of sequences.

    Parameters
    ----------
    frame : pandas.DataFrame or polars.DataFrame
        The table.
    by : label or list of labels, default "id"
        The columns that identify the sequence of a row.
    sort_by : label or None, default "time"
        The column with the order of the steps: numbers, times or text. Steps with equal values keep the order of the
        rows. With None, all steps keep the order of the rows.
    columns : label or list of labels, optional
        The channels, in this order; by default all columns except `by`, `sort_by` and `target`.
    target : label, optional
        The column with the targets. If it is constant in each sequence, there is one target for each sequence,
        otherwise one for each step.

    Returns
    -------
    SequencesFromFrame
        A named tuple ``(sequences, keys, y)``. Sequences are in the order of their first rows. Missing numbers are NaN,
        which estimators refuse.

    Raises
    ------
    TypeError
        If `frame` is not a table, a channel does not hold numbers, or values of `by`, `sort_by` or `target` cannot be
        compared.
    ValueError
        If there are no rows or no channels, a column is missing or occurs twice, or a value is missing in `by` or
        `sort_by`.

    See Also
    --------
    sliding_windows : Windows of one series.

    Examples
    --------
    >>> import pandas as pd
    >>> from numlstm import sequences_from_frame
    >>> columns = {"patient": ["b", "b", "a", "b"], "time": [2, 1, 1, 3], "pulse": [72.0, 70.0, 64.0, 75.0]}
    >>> frame = pd.DataFrame(columns | {"ill": [1, 1, 0, 1]})
    >>> sequences, keys, y = sequences_from_frame(frame, by="patient", target="ill")
    >>> sequences[0][:, 0]
    array([70., 72., 75.])
    >>> keys, y
    (['b', 'a'], array([1, 0]))
    """
    if not is_frame(frame):
        raise TypeError(f"frame must be a DataFrame of pandas or polars, got {type(frame).__name__}")
    if not len(frame):
        raise ValueError("frame must have at least one row, got none")
    labels = column_labels(frame, "frame")
    by_columns, sort_columns = as_list(by), [] if sort_by is None else [sort_by]
    target_columns = [] if target is None else [target]
    others = [label for label in labels if label not in [*by_columns, *sort_columns, *target_columns]]
    channels = others if columns is None else as_list(columns)
    _check_labels(frame, labels, by=by_columns, sort_by=sort_columns, columns=channels, target=target_columns)
    if not by_columns:
        raise ValueError("by must name at least one column, got none")
    key_columns = [_check_complete(frame[label], "by", label).to_list() for label in by_columns]
    tuples = bool(isinstance(by, list) or getattr(by, "ndim", None))
    try:
        rows, keys = factorize(zip(*key_columns, strict=True) if tuples else key_columns[0])
    except TypeError as error:
        raise TypeError(f"by must name columns of numbers, text or times, got {by!r}: {error}") from error
    order = np.arange(len(rows)) if sort_by is None else _order(frame[sort_by], sort_by)
    sequences = group_rows(frame_numbers(frame, "frame", channels)[order], rows[order])
    y = None if target is None else _targets(frame[target], rows, order)
    return SequencesFromFrame(sequences, keys, y)


def _check_labels(frame: Any, labels: list[Hashable], **parameters: list[Hashable]) -> None:
    """The columns that each parameter names must be in the table."""
    for parameter, label in ((name, label) for name, columns in parameters.items() for label in columns):
        if label not in labels:
            hint = ""
            if label in getattr(getattr(frame, "index", None), "names", ()):
                hint = "; it is in the index: pass frame.reset_index()"
            elif parameter == "sort_by":
                hint = "; sort_by=None keeps the order of the rows"
            raise ValueError(f"{parameter} must name columns of frame, {labels}, got {label!r}{hint}")


def _missing(column: Any) -> list[bool]:
    """For each row, whether a column has no value there."""
    if not hasattr(column, "is_null"):
        return column.isna().to_list()
    is_null = column.is_null()  # polars
    return ((is_null | column.is_nan().fill_null(True)) if column.dtype.is_float() else is_null).to_list()


def _check_complete(column: Any, parameter: str, label: Hashable) -> Any:
    """A column that must have a value in every row."""
    missing = _missing(column)
    if any(missing):
        raise ValueError(
            f"{parameter} must name columns with a value in every row, got none in row {missing.index(True)} of "
            f"{label!r}"
        )
    return column


def _order(column: Any, label: Hashable) -> np.ndarray:
    """The rows sorted by a column; rows with equal values keep their order."""
    column = _check_complete(column, "sort_by", label)
    try:
        ranks = column.rank(method="dense").to_numpy()
    except Exception as error:
        raise TypeError(f"sort_by must name a column whose values can be compared, got {label!r}: {error}") from error
    return np.argsort(ranks, kind="stable")


def _targets(column: Any, rows: np.ndarray, order: np.ndarray) -> Any:
    """One target for each sequence if the target is constant in each sequence, otherwise one for each step."""
    if any(isinstance(value, list | np.ndarray) for value in column.to_list()):
        raise TypeError(f"target must name a column with one value in each row, got {column.name!r}")
    values = [None if missing else value for value, missing in zip(column.to_list(), _missing(column), strict=True)]
    targets = np.array([value for value in values if value is not None])
    if len(targets) < len(values):
        targets = np.array(values, "float64" if targets.dtype.kind in "fiub" else object)
    constant = len(set(zip(rows.tolist(), values, strict=True))) == rows.max() + 1
    _, first = np.unique(rows, return_index=True)
    return targets[first] if constant else group_rows(targets[order], rows[order])
