"""Missing values of sequences, filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..checks import check_flag, check_option, check_real
from ..training.batches import Sequences
from .base.transformer import SequenceTransformer

METHODS = "forward", "interpolate", "mean", "median", "constant"
LARGEST = float(np.finfo("float64").max)


class SequenceImputer(SequenceTransformer):
    """Fill the missing values (NaN) of sequences.

    What `sklearn.impute.SimpleImputer` does with columns, and two methods that know that steps come one after another.
    Infinity is refused.

    Threads may use it at once, also while another one fits it: each result is of one fit.

    Parameters
    ----------
    method : {"forward", "interpolate", "mean", "median", "constant"}, or list or tuple of C of them, default "forward"
        What stands for a missing value; a list has one for each channel.

        - "forward": the last value before it in the sequence;
        - "interpolate": what lies on the line between the values before and after it, by the number of the step; the
          nearest value before the first one and after the last one. It reads later steps: streams refuse it;
        - "mean", "median": of all values of the channel that `fit` has seen;
        - "constant": `fill_value`.

        Where a sequence has no value to take, "forward" before the first one and both "forward" and "interpolate" where
        a channel is all missing, it is the mean of the channel in `fit`.
    indicator : bool, default False
        Whether channels of 0 and 1 come after the others: 1 where a value was missing. Each channel has one, whether
        or not something was missing in `fit`: it may be later.
    fill_value : float, or list or tuple of C floats, default 0.0
        Of "constant"; a list has one for each channel. Finite.

    Attributes
    ----------
    statistics_ : array, shape (C,)
        The mean, median or constant of each channel, whichever its method uses.
    methods_ : list of str
        The method of each channel.
    indicator_ : bool
        `indicator`, as it was in `fit`.
    n_channels_ : int
        C, the features of a step; 1 where X was (n, T).
    n_features_in_ : int
        As scikit-learn counts: C, or T where X was (n, T).
    n_steps_seen_ : int
        Steps of all sequences together.

    See Also
    --------
    SequenceScaler : Scales channels; it comes after this in a Pipeline.
    SequenceEncoder : Makes channels of categories; it comes before this, and leaves NaN in other channels.

    Notes
    -----
    `fit` refuses a channel of which every value is missing, unless its method is "constant".

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

    def _check(self) -> None:
        for value, name in _each(self.method, "method"):
            check_option(value, name, METHODS)
        check_flag(self.indicator, "indicator")
        for value, name in _each(self.fill_value, "fill_value"):
            check_real(value, name, -LARGEST, np.inf)

    def _learn(self, sequences: Sequences) -> None:
        channels = sequences.channels
        self.methods_ = _for_channels(self.method, "method", channels)
        fill_values = _for_channels(self.fill_value, "fill_value", channels)
        parts = zip(sequences.values.T, self.methods_, fill_values, strict=True)
        self.statistics_ = np.array([_statistic(k, *part) for k, part in enumerate(parts)], np.float64)
        self.indicator_ = bool(self.indicator)

    def _changed(self, sequences: Sequences) -> np.ndarray:
        first = np.repeat(sequences.starts, sequences.lengths)
        last = first + np.repeat(sequences.lengths, sequences.lengths) - 1
        missing = np.isnan(sequences.values)
        filled = sequences.values.copy()
        for k in np.flatnonzero(missing.any(axis=0)):
            column = sequences.values[:, k]
            fill = _fillers.get(self.methods_[k], _with_statistic)
            filled[:, k] = fill(column, first, last, self.statistics_[k])
        return np.concatenate([filled, missing], axis=1) if self.indicator_ else filled

    def _named(self, names: list[str]) -> list[str]:
        return [*names, *(f"missingindicator_{name}" for name in names)] if self.indicator_ else names


def _each(value: Any, name: str) -> list[tuple[Any, str]]:
    """A parameter's values, and what they are called: it has one, or one for each channel."""
    if isinstance(value, list | tuple):
        return [(each, f"{name}[{k}]") for k, each in enumerate(value)]
    return [(value, name)]


def _for_channels(value: Any, name: str, channels: int) -> list[Any]:
    """One value for each channel."""
    if not isinstance(value, list | tuple):
        return [value] * channels
    if len(value) != channels:
        raise ValueError(
            f"{name} must be one for all channels, or a list of one for each of {channels}, got {len(value)}"
        )
    return list(value)


def _statistic(k: int, column: np.ndarray, method: str, fill_value: float) -> float:
    """What stands for missing values of channel k where no step of a sequence does."""
    if method == "constant":
        return fill_value
    values = column[~np.isnan(column)]
    if not len(values):
        raise ValueError(
            f"X must have values in channel {k}, but all {len(column)} steps are NaN: leave it out, or give it the "
            "method 'constant'"
        )
    return float(np.median(values) if method == "median" else np.mean(values))


# Each takes a column of all steps, the first and the last row of the sequence that each of them belongs to, and the
# number for what has no neighbours.


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
    share = (rows - left) / np.maximum(right - left, 1)  # of no matter where both are the same
    line = column[left] + (column[right] - column[left]) * share
    return np.where(has_before | has_after, line, statistic)


def _last_known(known: np.ndarray) -> np.ndarray:
    """For each row, the last one up to it that is known; -1 where there is none."""
    return np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))


_fillers: dict[str, Callable[..., np.ndarray]] = {"forward": _forward, "interpolate": _interpolated}
