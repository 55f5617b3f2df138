"""Imputation of missing values, for sequences of any form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..checks import check_flag, check_option, check_real
from ..training.batches import Sequences
from .base.transformer import SequenceTransformer, documented

METHODS = "forward", "interpolate", "mean", "median", "constant"
LARGEST = float(np.finfo("float64").max)


@documented
class SequenceImputer(SequenceTransformer):
    """Fill the missing values (NaN) of sequences.

    It does with channels what `sklearn.impute.SimpleImputer` does with columns, and has two methods that use the order
    of the steps. It refuses infinity.

    <<THREADS>>

    Parameters
    ----------
    method : {"forward", "interpolate", "mean", "median", "constant"}, or list or tuple of C of them, default "forward"
        The number that replaces a missing value; a list has one method for each channel.

        - "forward": the last value before it in the sequence.
        - "interpolate": the value on the straight line between the last value before it and the next value after it;
          before the first value and after the last value, the nearest value. It reads later steps, so streams refuse
          it.
        - "mean", "median": the mean or the median of all values of the channel in `fit`.
        - "constant": `fill_value`.

        If the sequence has no value that "forward" or "interpolate" can use, they take the mean of the channel in
        `fit`: "forward" before the first value, and both if all values of the channel are missing.
    indicator : bool, default False
        Whether to add one channel for each channel, after all others: 1 if a value was missing, otherwise 0. Every
        channel gets one, because a value may be missing later that was not missing in `fit`.
    fill_value : float, or list or tuple of C floats, default 0.0
        The number for "constant", finite; a list has one number for each channel.

    Attributes
    ----------
    statistics_ : array, shape (C,)
        The mean, the median or the constant of each channel, according to its method.
    methods_ : list of str
        The method of each channel.
    indicator_ : bool
        The value of `indicator` in `fit`.
    <<FITTED>>

    See Also
    --------
    SequenceScaler : Scales channels; in a Pipeline it comes after the imputer.
    SequenceEncoder : Encodes categories; it comes before the imputer, and keeps NaN in channels without categories.

    Notes
    -----
    `fit` refuses a channel without any value, unless its method is "constant".

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import SequenceImputer
    >>> nan = np.nan
    >>> X = [np.array([[1.0, 5.0], [nan, nan], [3.0, 7.0]]), np.array([[nan, 6.0], [8.0, nan]])]
    >>> imputer = SequenceImputer(["forward", "interpolate"], indicator=True).fit(X)
    >>> imputer.statistics_
    array([4., 6.])
    >>> imputer.transform(X)[0]
    array([[1., 5., 0., 0.], [1., 6., 1., 1.], [3., 7., 0., 0.]])
    >>> imputer.transform(X)[1]
    array([[4., 6., 1., 0.], [8., 6., 0., 1.]])
    """

    _nan_allowed = True

    def __init__(
        self,
        method: str | Sequence[str] = "forward",
        *,
        indicator: bool = False,
        fill_value: float | Sequence[float] = 0.0,
    ) -> None:
        self.method = method
        self.indicator = indicator
        self.fill_value = fill_value

    def _check_parameters(self) -> None:
        for value, name in _with_names(self.method, "method"):
            check_option(value, name, METHODS)
        check_flag(self.indicator, "indicator")
        for value, name in _with_names(self.fill_value, "fill_value"):
            check_real(value, name, -LARGEST, np.inf)

    def _fit_sequences(self, sequences: Sequences) -> None:
        channels = sequences.channels
        self.methods_ = _for_channels(self.method, "method", channels)
        fill_values = _for_channels(self.fill_value, "fill_value", channels)
        parts = zip(sequences.values.T, self.methods_, fill_values, strict=True)
        self.statistics_ = np.array([_statistic(k, *part) for k, part in enumerate(parts)], np.float64)
        self.indicator_ = bool(self.indicator)

    def _transform_sequences(self, sequences: Sequences) -> np.ndarray:
        first = np.repeat(sequences.starts, sequences.lengths)
        last = first + np.repeat(sequences.lengths, sequences.lengths) - 1
        missing = np.isnan(sequences.values)
        filled = sequences.values.copy()
        for k in np.flatnonzero(missing.any(axis=0)):
            column = sequences.values[:, k]
            fill = _fillers.get(self.methods_[k], _with_statistic)
            filled[:, k] = fill(column, first, last, self.statistics_[k])
        return np.concatenate([filled, missing], axis=1) if self.indicator_ else filled

    def _output_names(self, names: list[str]) -> list[str]:
        return [*names, *(f"missingindicator_{name}" for name in names)] if self.indicator_ else names


def _with_names(value: Any, name: str) -> list[tuple[Any, str]]:
    """The values of a parameter, one or one for each channel, with names for messages."""
    if isinstance(value, list | tuple):
        return [(item, f"{name}[{k}]") for k, item in enumerate(value)]
    return [(value, name)]


def _for_channels(value: Any, name: str, channels: int) -> list[Any]:
    """One value for each channel."""
    if not isinstance(value, list | tuple):
        return [value] * channels
    if len(value) != channels:
        raise ValueError(
            f"{name} must be one value for all channels, or a list with one for each of {channels}, got {len(value)}"
        )
    return list(value)


def _statistic(k: int, column: np.ndarray, method: str, fill_value: float) -> float:
    """The number for missing values of channel k that does not depend on the sequence."""
    if method == "constant":
        return fill_value
    values = column[~np.isnan(column)]
    if not len(values):
        raise ValueError(
            f"X must have a value in channel {k}, but all {len(column)} steps are NaN: leave the channel out, or use "
            "the method 'constant' for it"
        )
    return float(np.median(values) if method == "median" else np.mean(values))


# Each function fills a column of all steps. `first` and `last` are, for each row, the first and the last row of its
# sequence; `statistic` is the number for rows without a neighbour.


def _with_statistic(column: np.ndarray, first: np.ndarray, last: np.ndarray, statistic: float) -> np.ndarray:
    return np.where(np.isnan(column), statistic, column)


def _forward(column: np.ndarray, first: np.ndarray, last: np.ndarray, statistic: float) -> np.ndarray:
    before = _last_known(~np.isnan(column))
    return np.where(before >= first, column[before], statistic)


def _interpolated(column: np.ndarray, first: np.ndarray, last: np.ndarray, statistic: float) -> np.ndarray:
    known, rows = ~np.isnan(column), np.arange(len(column))
    before = _last_known(known)
    after = len(column) - 1 - _last_known(known[::-1])[::-1]
    has_before, has_after = before >= first, after <= last
    left = np.where(has_before, before, np.minimum(after, len(column) - 1))
    right = np.where(has_after, after, before)
    fraction = (rows - left) / np.maximum(right - left, 1)  # it does not matter if left and right are the same row
    line = column[left] + (column[right] - column[left]) * fraction
    return np.where(has_before | has_after, line, statistic)


def _last_known(known: np.ndarray) -> np.ndarray:
    """For each row, the last row up to it with a value; -1 if there is none."""
    return np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))


_fillers: dict[str, Callable[..., np.ndarray]] = {"forward": _forward, "interpolate": _interpolated}
