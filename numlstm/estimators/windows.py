"""Sliding windows of a long series."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from ..checks import check_integer
from ..layers.sequences import as_numbers
from .data.frames import as_list, column_labels, frame_numbers, is_frame

Columns = Hashable | list[Hashable] | None


class Roles(NamedTuple):
    """The columns of a series: targets, columns known in the past, and columns known in the future."""

    target: list[int]
    past: list[int]
    future: list[int]


def sliding_windows(
    series: Any,
    steps: int,
    horizon: int = 1,
    stride: int = 1,
    *,
    target: Columns = None,
    past: Columns = None,
    future: Columns = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a long series into windows, and take the steps after each window as its targets, for forecasting.

    Parameters
    ----------
    series : array, shape (M,) or (M, C); or DataFrame of pandas or polars, with M rows
        Rows are in the order of time.
    steps : int, at least 1
        Number of steps in a window.
    horizon : int, at least 1, default 1
        Number of steps to forecast.
    stride : int, at least 1, default 1
        Number of steps from the beginning of one window to the beginning of the next.
    target : column or list of columns, optional
        The columns to forecast: their numbers, counted from 0, or their labels in a DataFrame. The default is all
        columns that are not in `past` or `future`.
    past : column or list of columns, optional
        Further columns that are known until the forecast begins. With `target`, the default is all columns that are not
        in `target` or `future`; otherwise it is none.
    future : column or list of columns, optional
        Columns that are also known for the steps of the forecast: a calendar, prices, a plan. None by default. With
        `future`, `steps` must be at least `horizon`.

    Returns
    -------
    X : array, shape (n, steps, C)
        The channels are the columns `target`, `past` and `future`, and then `future` again, shifted by the horizon:
        each step holds the values of `horizon` steps later. So the last steps of a window hold the values for the steps
        of its forecast. C is 1 for an (M,) series.
    y : array, shape (n, horizon · K)
        The K columns of `target` at the `horizon` steps after each window, step by step: several targets for each
        sequence, as estimators take them. ``y.reshape(n, horizon, K)`` has separate axes for steps and columns.

    Raises
    ------
    TypeError, ValueError
        If the series is not numeric, or is shorter than a window and its forecast; if a column does not exist or is
        named twice, or if `target` has no column; or if `steps` is less than `horizon` with `future`.

    Notes
    -----
    To forecast the steps after the end of the series, add `horizon` rows to it, with the known values of `future` and
    NaN in other columns. The last window in X is then the input of `predict`, if ``M - steps - horizon`` is a multiple
    of `stride`.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import sliding_windows
    >>> X, y = sliding_windows(np.arange(6), steps=3, horizon=2)
    >>> X[:, :, 0]
    array([[0, 1, 2],
           [1, 2, 3]])
    >>> y
    array([[3, 4],
           [4, 5]])

    The load of a power grid, with the day of the week, which is known in advance:

    >>> load_and_day = np.array([[50, 1], [52, 2], [51, 3], [55, 4], [57, 5], [40, 6]])
    >>> X, y = sliding_windows(load_and_day, steps=3, horizon=2, target=0, future=1)
    >>> X[0]
    array([[50,  1,  3],
           [52,  2,  4],
           [51,  3,  5]])
    >>> y[0]
    array([55, 57])
    """
    values, labels = _columns_of(series)
    roles = _roles(labels, target, past, future)
    steps, horizon = check_integer(steps, "steps", 1), check_integer(horizon, "horizon", 1)
    stride = check_integer(stride, "stride", 1)
    if len(values) < steps + horizon:
        raise ValueError(f"series must have at least steps + horizon = {steps + horizon} steps, got {len(values)}")
    if roles.future and steps < horizon:
        raise ValueError(
            f"steps must be at least horizon = {horizon} with future, because the last {horizon} steps of a window "
            f"hold its values for the forecast, got {steps}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(values, steps + horizon, axis=0)[::stride].swapaxes(1, 2)
    now, later = windows[:, :steps], windows[:, horizon:]
    X = np.concatenate([now[:, :, [*roles.target, *roles.past, *roles.future]], later[:, :, roles.future]], axis=2)
    return X, windows[:, steps:, roles.target].reshape(len(windows), -1)


def _columns_of(series: Any) -> tuple[np.ndarray, list[Hashable]]:
    """The numbers of a series, (M, C), and the labels of its columns."""
    if is_frame(series):
        return frame_numbers(series, "series"), column_labels(series, "series")
    values = as_numbers(series, "series")
    if values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise ValueError(f"series must have shape (M,) or (M, C), got {values.shape}")
    columns = values[:, None] if values.ndim == 1 else values
    return columns, list(range(columns.shape[1]))


def _roles(labels: list[Hashable], target: Columns, past: Columns, future: Columns) -> Roles:
    """The numbers of the columns in each role; a column has at most one role."""
    roles = {
        name: None if value is None else _column_numbers(labels, name, value)
        for name, value in (("target", target), ("past", past), ("future", future))
    }
    assigned = [column for columns in roles.values() if columns for column in columns]
    for column in assigned:
        if assigned.count(column) > 1:
            raise ValueError(f"target, past and future must name a column once, got {labels[column]!r} twice")
    rest = [column for column in range(len(labels)) if column not in assigned]
    if roles["target"] is None:
        roles["target"], rest = rest, []
    if roles["past"] is None:
        roles["past"], rest = rest, []
    if not roles["target"]:
        raise ValueError("target must name at least one column, got none")
    return Roles(*(roles[name] or [] for name in Roles._fields))


def _column_numbers(labels: list[Hashable], name: str, columns: Any) -> list[int]:
    columns = as_list(columns)
    for column in columns:
        if isinstance(column, bool) or column not in labels:
            raise ValueError(f"{name} must name columns of series, among {labels}, got {column!r}")
    return [labels.index(column) for column in columns]
