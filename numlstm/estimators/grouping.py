"""Sequences made of one long table."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from .data.frames import as_list, is_frame, labels_of, numbered, numbers_in, split


class SequencesFromFrame(NamedTuple):
    """What `sequences_from_frame` finds.

    Attributes
    ----------
    sequences : list of n arrays, shape (T_i, C)
    keys : list of n objects
        What each sequence has in the columns `by`; tuples, if that is a list.
    y : array, shape (n,); or list of n arrays, shape (T_i,); or None
        The target of each sequence, or of each of its steps; None if none was asked for.
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
    """Sequences out of a long table, in which each row is a step of one of them.

    Parameters
    ----------
    frame : pandas.DataFrame or polars.DataFrame
    by : label or list of labels, default "id"
        The columns that say which sequence a row belongs to.
    sort_by : label or None, default "time"
        The column that steps are sorted by: numbers, times or text. Steps of one time stay in the order of the rows;
        so do all with None.
    columns : label or list of labels, optional
        The channels, in this order; by default all columns that are not in `by`, `sort_by` or `target`.
    target : label, optional
        The column with the targets. If it is constant in each sequence, each has one target, else each step has.

    Returns
    -------
    SequencesFromFrame
        A named tuple ``(sequences, keys, y)``. Sequences come in the order in which they first appear in the table;
        missing numbers are NaN, which estimators refuse.

    Raises
    ------
    TypeError
        If `frame` is no such table, a channel does not hold numbers, or values of `by`, `sort_by` or `target` cannot be
        compared.
    ValueError
        If there are no rows or no channels, a column is missing or there twice, or a value is missing in `by` or
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
    labels = labels_of(frame, "frame")
    keys_in, ordering, targets = as_list(by), [] if sort_by is None else [sort_by], [] if target is None else [target]
    others = [label for label in labels if label not in [*keys_in, *ordering, *targets]]
    channels = others if columns is None else as_list(columns)
    for parameter, wanted in (("by", keys_in), ("sort_by", ordering), ("columns", channels), ("target", targets)):
        _check_there(frame, labels, parameter, wanted)
    if not keys_in:
        raise ValueError("by must name at least one column, got none")
    of_keys = [_all_there(frame[label], "by", label).to_list() for label in keys_in]
    several = bool(isinstance(by, list) or getattr(by, "ndim", None))
    try:
        rows, keys = numbered(zip(*of_keys, strict=True) if several else of_keys[0])
    except TypeError as error:
        raise TypeError(f"by must name columns of numbers, text or times, got {by!r}: {error}") from error
    order = np.arange(len(rows)) if sort_by is None else _order(_all_there(frame[sort_by], "sort_by", sort_by), sort_by)
    sequences = split(numbers_in(frame, "frame", channels)[order], rows[order])
    y = None if target is None else _targets(frame[target], rows, order)
    return SequencesFromFrame(sequences, keys, y)


def _check_there(frame: Any, labels: list[Hashable], parameter: str, wanted: list[Hashable]) -> None:
    for label in wanted:
        if label not in labels:
            hint = ""
            if label in getattr(getattr(frame, "index", None), "names", ()):
                hint = "; it is in the index: pass frame.reset_index()"
            elif parameter == "sort_by":
                hint = "; sort_by=None keeps the order of the rows"
            raise ValueError(f"{parameter} must name columns of frame, {labels}, got {label!r}{hint}")


def _missing(column: Any) -> list[bool]:
    """Where a column has no value."""
    if not hasattr(column, "is_null"):
        return column.isna().to_list()
    gone = column.is_null()  # polars'
    return ((gone | column.is_nan().fill_null(True)) if column.dtype.is_float() else gone).to_list()


def _all_there(column: Any, parameter: str, label: Hashable) -> Any:
    """A column, if nothing is missing in it."""
    missing = _missing(column)
    if any(missing):
        raise ValueError(
            f"{parameter} must name columns with a value in every row, got none in row {missing.index(True)} of "
            f"{label!r}"
        )
    return column


def _order(column: Any, label: Hashable) -> np.ndarray:
    """The order of rows by time; those of one time stay as they are."""
    try:
        ranks = column.rank(method="dense").to_numpy()
    except Exception as error:
        raise TypeError(f"sort_by must name a column whose values can be compared, got {label!r}: {error}") from error
    return np.argsort(ranks, kind="stable")


def _targets(column: Any, rows: np.ndarray, order: np.ndarray) -> Any:
    """One target for each sequence if all of its steps have the same, else one for each step."""
    if any(isinstance(value, list | np.ndarray) for value in column.to_list()):
        raise TypeError(f"target must name a column with one value in each row, got {column.name!r}")
    known = [None if gone else value for value, gone in zip(column.to_list(), _missing(column), strict=True)]
    targets = np.array([value for value in known if value is not None])
    if len(targets) < len(known):
        targets = np.array(known, "float64" if targets.dtype.kind in "fiub" else object)
    constant = len(set(zip(rows.tolist(), known, strict=True))) == rows.max() + 1
    _, first = np.unique(rows, return_index=True)
    return targets[first] if constant else split(targets[order], rows[order])
