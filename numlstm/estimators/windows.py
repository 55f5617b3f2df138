"""Windows of a long series."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from ..checks import check_integer
from ..layers.sequences import as_numbers
from .data.frames import as_list, is_frame, labels_of, numbers_in

Columns = Hashable | list[Hashable] | None


class Roles(NamedTuple):
    """The columns of a series that are forecast, that are known until then, and that are known beyond."""

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
    """Windows of a long series, and what comes next after each: what a regressor learns forecasting from.

    Parameters
    ----------
    series : array, shape (M,) or (M, C); or DataFrame of pandas or polars, with M rows
        In the order of time.
    steps : int, at least 1
        Steps of a window.
    horizon : int, at least 1, default 1
        Steps to forecast.
    stride : int, at least 1, default 1
        Steps from the beginning of a window to that of the next.
    target : column or list of columns, optional
        What is forecast: numbers of columns, counted from 0, or labels of a DataFrame's. By default all columns that
        `past` and `future` leave.
    past : column or list of columns, optional
        What is known until the forecast is made, and helps it. By default all columns that `target` and `future` leave,
        if there is a `target`, else none.
    future : column or list of columns, optional
        What is known for the steps of the forecast, too: a calendar, prices, a plan. None by default. With it, `steps`
        must be at least `horizon`.

    Returns
    -------
    X : array, shape (n, steps, C)
        Channels are the columns `target`, `past`, `future`, and `future` once more, moved by the horizon: at each step
        there stands what will be `horizon` steps later, so that the last steps of a window hold what is known for the
        steps of its forecast. C is 1 for an (M,) series.
    y : array, shape (n, horizon · K)
        The K columns of `target` in the steps right after each window, one step behind the other: several targets for a
        sequence, as estimators take them. ``y.reshape(n, horizon, K)`` has an axis for each.

    Raises
    ------
    TypeError, ValueError
        If the series is not numeric, or shorter than a window and its forecast; or if columns are not there, stand in
        two places, or in none; or if `steps` are fewer than `horizon` with `future`.

    Notes
    -----
    To forecast what comes after the series itself: give it `horizon` more rows, with what is known of `future` and NaN
    elsewhere; the last of X is what `predict` takes, if ``M - steps - horizon`` is a multiple of `stride`.

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

    The load of a grid, with the day of the week, which is known beforehand:

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
            f"steps must be at least horizon = {horizon} with future, whose values for the forecast stand in the last "
            f"{horizon} steps of a window, got {steps}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(values, steps + horizon, axis=0)[::stride].swapaxes(1, 2)
    now, later = windows[:, :steps], windows[:, horizon:]
    X = np.concatenate([now[:, :, [*roles.target, *roles.past, *roles.future]], later[:, :, roles.future]], axis=2)
    return X, windows[:, steps:, roles.target].reshape(len(windows), -1)


def _columns_of(series: Any) -> tuple[np.ndarray, list[Hashable]]:
    """The numbers of a series, (M, C), and what its columns are called."""
    if is_frame(series):
        return numbers_in(series, "series"), labels_of(series, "series")
    values = as_numbers(series, "series")
    if values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise ValueError(f"series must have shape (M,) or (M, C), got {values.shape}")
    columns = values[:, None] if values.ndim == 1 else values
    return columns, list(range(columns.shape[1]))


def _roles(labels: list[Hashable], target: Columns, past: Columns, future: Columns) -> Roles:
    """The places of columns; each has one role."""
    given = {
        name: None if value is None else _places(labels, name, value)
        for name, value in (("target", target), ("past", past), ("future", future))
    }
    taken = [place for places in given.values() if places for place in places]
    for place in taken:
        if taken.count(place) > 1:
            raise ValueError(f"target, past and future must name a column once, got {labels[place]!r} twice")
    rest = [place for place in range(len(labels)) if place not in taken]
    if given["target"] is None:
        given["target"], rest = rest, []
    if given["past"] is None:
        given["past"], rest = rest, []
    if not given["target"]:
        raise ValueError("target must name at least one column, got none")
    return Roles(*(given[name] or [] for name in Roles._fields))


def _places(labels: list[Hashable], name: str, columns: Any) -> list[int]:
    columns = as_list(columns)
    for column in columns:
        if isinstance(column, bool) or column not in labels:
            raise ValueError(f"{name} must name columns of series, among {labels}, got {column!r}")
    return [labels.index(column) for column in columns]
