"""Categories in sequences, as channels of 0 and 1."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..checks import check_integer, check_option
from ..training.batches import Sequences
from .base.transformer import SequenceTransformer, place

UNKNOWN = -1


class SequenceEncoder(SequenceTransformer):
    """Make a channel of 0 and 1 of every category, where channels of sequences hold categories: one-hot encoding.

    What `sklearn.preprocessing.OneHotEncoder` does with columns. Sequences may hold objects: strings, numbers, booleans
    and None. None and NaN are categories, too, where they are in `fit`. Each channel with categories is replaced, in
    its place, by one channel for each of them. The others hold numbers, or strings of numbers, and stay; None is NaN
    there, which stays, too, so that a `SequenceImputer` may come later. Infinity is refused there.

    Threads may use it at once, also while another one fits it: each result is of one fit.

    Parameters
    ----------
    categories : "auto", or list of list or array, default "auto"
        The categories of each channel of `columns`, in that order. "auto" takes those that are in X in `fit`, sorted,
        with None and NaN at the end.
    handle_unknown : {"error", "ignore"}, default "error"
        What a category is that is not known: an error, or 0 in all channels.
    columns : list of int in 0..C-1, or None, default None
        The channels that hold categories; None is all of them.

    Attributes
    ----------
    categories_ : list of array
        The categories of each channel of `columns_`, in the order of what `transform` gives: numbers, or objects.
    columns_ : list of int
        The channels that hold categories.
    n_channels_ : int
        C, the features of a step; 1 where X was (n, T).
    n_features_in_ : int
        As scikit-learn counts: C, or T where X was (n, T).
    n_steps_seen_ : int
        Steps of all sequences together.

    See Also
    --------
    SequenceScaler : Scales channels.
    SequenceImputer : Fills missing values.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import SequenceEncoder
    >>> X = [np.array([["rain", 3.5], ["sun", 8.0]], object), np.array([["fog", 1.0]], object)]
    >>> encoder = SequenceEncoder(columns=[0]).fit(X)
    >>> encoder.categories_
    [array(['fog', 'rain', 'sun'], dtype=object)]
    >>> encoder.transform(X)[0]
    array([[0. , 1. , 0. , 3.5], [0. , 0. , 1. , 8. ]])
    >>> encoder.get_feature_names_out(["weather", "wind"])
    array(['weather_fog', 'weather_rain', 'weather_sun', 'wind'], dtype=object)
    """

    _dtype = "object"
    _nan_allowed = True

    def __init__(
        self,
        categories: str | Sequence[Any] = "auto",
        *,
        handle_unknown: str = "error",
        columns: Sequence[int] | None = None,
    ) -> None:
        self.categories = categories
        self.handle_unknown = handle_unknown
        self.columns = columns

    def _check(self) -> None:
        check_option(self.handle_unknown, "handle_unknown", ["error", "ignore"])
        columns = self.columns
        if columns is not None:
            if not isinstance(columns, list | tuple | np.ndarray):
                raise TypeError(f"columns must be a list of integers, or None, got {type(columns).__name__}")
            for k, each in enumerate(columns):
                check_integer(each, f"columns[{k}]", 0)
            if not len(columns) or len({*columns}) < len(columns):
                raise ValueError(f"columns must hold at least one channel, each of them once, got {list(columns)}")
        if isinstance(self.categories, str):
            check_option(self.categories, "categories", ["auto"])
        elif not isinstance(self.categories, list | tuple | np.ndarray):
            raise TypeError(f"categories must be 'auto' or a list of lists, got {type(self.categories).__name__}")
        else:
            for k, each in enumerate(self.categories):
                checked_categories(each, f"categories[{k}]")

    def _learn(self, sequences: Sequences) -> None:
        channels = sequences.channels
        self.columns_ = [*range(channels)] if self.columns is None else [int(each) for each in self.columns]
        if max(self.columns_) >= channels:
            raise ValueError(f"columns must be in 0..{channels - 1}, the channels of X, got {max(self.columns_)}")
        if isinstance(self.categories, str):
            self.categories_ = [_found(sequences, channel) for channel in self.columns_]
        elif len(self.categories) != len(self.columns_):
            raise ValueError(
                f"categories must be 'auto', or a list of one list for each of {len(self.columns_)} channels, got "
                f"{len(self.categories)}"
            )
        else:
            self.categories_ = [checked_categories(each, "categories") for each in self.categories]
            if self.handle_unknown == "error":
                self._changed(sequences)

    def _changed(self, sequences: Sequences) -> np.ndarray:
        return Encoding(self)(sequences.values, lambda row: _where(sequences, row))

    def _named(self, names: list[str]) -> list[str]:
        own = dict(zip(self.columns_, self.categories_, strict=True))
        parts = [[f"{name}_{each}" for each in own[k]] if k in own else [name] for k, name in enumerate(names)]
        return [each for part in parts for each in part]


class Encoding:
    """What a fitted encoder does with steps, wherever they come from."""

    def __init__(self, encoder: SequenceEncoder) -> None:
        self.channels = encoder.n_channels_
        self._ignore = encoder.handle_unknown == "ignore"
        self._numbers = {
            channel: {category: k for k, category in enumerate(_plain(categories.tolist()))}
            for channel, categories in zip(encoder.columns_, encoder.categories_, strict=True)
        }

    def __call__(self, values: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
        """Steps (M, C) as (M, K) in float64; `where` says in an error what a row is.

        Raises
        ------
        TypeError, ValueError
            If there is a category that is not known, or anything but numbers in the other channels.
        """
        parts = [
            self._one_hot(column, channel, where) if channel in self._numbers else _numbers(column, channel, where)
            for channel, column in enumerate(values.T)
        ]
        return np.concatenate(parts, axis=1)

    def _one_hot(self, column: np.ndarray, channel: int, where: Callable[[int], str]) -> np.ndarray:
        """One channel of each category, (M, categories)."""
        known = self._numbers[channel]
        values = _checked(column, channel, where)
        codes = np.fromiter((known.get(each, UNKNOWN) for each in values), np.intp, len(values))
        rows = np.flatnonzero(codes != UNKNOWN)
        if len(rows) < len(codes) and not self._ignore:
            row = int(np.argmax(codes == UNKNOWN))
            raise ValueError(
                f"{where(row)} has a category in channel {channel} that is not known: {str(values[row])[:80]!r}; with "
                "handle_unknown='ignore' it is 0 in all of the channel's"
            )
        encoded = np.zeros((len(codes), len(known)))
        encoded[rows, codes[rows]] = 1.0
        return encoded


def checked_categories(given: Any, name: str) -> np.ndarray:
    """The categories of one channel: numbers, or objects.

    Raises
    ------
    TypeError, ValueError
        If they are no list of strings, numbers, booleans and None, each of them once.
    """
    if not isinstance(given, list | tuple) and getattr(given, "ndim", None) != 1:
        raise TypeError(f"{name} must be a list of categories, got {type(given).__name__}")
    values = _plain(given)
    for each in values:
        if not _is_category(each):
            raise TypeError(f"{name} must hold strings, numbers, booleans or None, got {type(each).__name__}")
    if not values or len({*values}) < len(values):
        raise ValueError(f"{name} must hold at least one category, each of them once")
    return _as_array(values)


def _found(sequences: Sequences, channel: int) -> np.ndarray:
    """The categories in one channel of sequences, sorted; None and NaN come last."""
    values = {*_checked(sequences.values[:, channel], channel, lambda row: _where(sequences, row))}
    last = [each for each in (None, math.nan) if each in values]
    try:
        return _as_array([*sorted(values.difference(last)), *last])
    except TypeError:
        raise TypeError(
            f"X must hold either strings or numbers in channel {channel}, as its categories are sorted, got both: pass "
            "categories="
        ) from None


def _checked(column: np.ndarray, channel: int, where: Callable[[int], str]) -> list[Any]:
    """Plain values of one channel, or an error that says which is no category."""
    values = _plain(column)
    for row, each in enumerate(values):
        if isinstance(each, complex):
            raise ValueError(f"{where(row)} has a complex number in channel {channel}: Complex data not supported")
        if not _is_category(each):
            raise TypeError(
                f"{where(row)} holds no category in channel {channel}: an argument must be a string, a number, a "
                f"boolean or None, got {type(each).__name__}"
            )
    return values


def _plain(values: Iterable[Any]) -> list[Any]:
    """Values of Python's own types, and one NaN for all: as keys of a dictionary it is the same by being one object."""
    plain = [each.item() if isinstance(each, np.generic) else each for each in values]
    return [math.nan if isinstance(each, float) and each != each else each for each in plain]


def _is_category(value: Any) -> bool:
    return value is None or isinstance(value, str | numbers.Real)


def _as_array(values: list[Any]) -> np.ndarray:
    """Numbers of one type as an array of that type; all else as one of objects."""
    if {*map(type, values)} in ({bool}, {int}, {float}):
        return np.array(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _numbers(column: np.ndarray, channel: int, where: Callable[[int], str]) -> np.ndarray:
    """A channel without categories, (M, 1)."""
    try:
        values = column.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        row = next(row for row, each in enumerate(column) if not _is_number(each))
        raise TypeError(
            f"{where(row)} must hold a number in channel {channel}, which is not in columns, got {column[row]!r:.80}"
        ) from None
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise ValueError(f"{where(row)} must be finite, or NaN, in channel {channel}, got infinity")
    return values[:, None]


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return value is None
    return True


def _where(sequences: Sequences, row: int) -> str:
    i, t = place(sequences, row)
    return f"X[{i}] at step {t}"
