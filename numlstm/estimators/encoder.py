"""One-hot encoding of categories, for sequences of any form."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..checks import check_integer, check_option
from ..training.batches import Sequences
from .base.transformer import SequenceTransformer, documented, locate

UNKNOWN = -1


@documented
class SequenceEncoder(SequenceTransformer):
    """Encode channels of categories by one channel of 0 and 1 for each category: one-hot encoding.

    It does with channels what `sklearn.preprocessing.OneHotEncoder` does with columns. Sequences may hold objects:
    strings, numbers, booleans and None. None and NaN are categories if they occur in `fit`. The channels of the
    categories take the place of the encoded channel. Other channels must hold numbers, or strings of numbers, and stay
    as they are. There, None becomes NaN, and NaN stays, so that a `SequenceImputer` can follow; infinity is refused.

    <<THREADS>>

    Parameters
    ----------
    categories : "auto", or list of list or array, default "auto"
        The categories of each channel in `columns`, in the same order. "auto" takes the categories in X in `fit`,
        sorted, with None and NaN at the end.
    handle_unknown : {"error", "ignore"}, default "error"
        How unknown categories are treated: with an error, or with 0 in all channels of the categories.
    columns : list of int in 0..C-1, or None, default None
        The channels that hold categories; None for all channels.

    Attributes
    ----------
    categories_ : list of array
        The categories of each channel in `columns_`, in the order of the channels that `transform` returns.
    columns_ : list of int
        The channels that hold categories.
    <<FITTED>>

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

    def _check_parameters(self) -> None:
        check_option(self.handle_unknown, "handle_unknown", ["error", "ignore"])
        columns = self.columns
        if columns is not None:
            if not isinstance(columns, list | tuple | np.ndarray):
                raise TypeError(f"columns must be a list of integers, or None, got {type(columns).__name__}")
            for k, column in enumerate(columns):
                check_integer(column, f"columns[{k}]", 0)
            if not len(columns) or len({*columns}) < len(columns):
                raise ValueError(f"columns must hold at least one channel, and none of them twice, got {list(columns)}")
        if isinstance(self.categories, str):
            check_option(self.categories, "categories", ["auto"])
        elif not isinstance(self.categories, list | tuple | np.ndarray):
            raise TypeError(f"categories must be 'auto' or a list of lists, got {type(self.categories).__name__}")
        else:
            for k, categories in enumerate(self.categories):
                checked_categories(categories, f"categories[{k}]")

    def _fit_sequences(self, sequences: Sequences) -> None:
        channels = sequences.channels
        self.columns_ = [*range(channels)] if self.columns is None else [int(column) for column in self.columns]
        if max(self.columns_) >= channels:
            raise ValueError(f"columns must be in 0..{channels - 1}, the channels of X, got {max(self.columns_)}")
        if isinstance(self.categories, str):
            self.categories_ = [_categories_in(sequences, channel) for channel in self.columns_]
        elif len(self.categories) != len(self.columns_):
            raise ValueError(
                f"categories must be 'auto', or a list with one list for each of {len(self.columns_)} channels, got "
                f"{len(self.categories)}"
            )
        else:
            self.categories_ = [checked_categories(categories, "categories") for categories in self.categories]
            if self.handle_unknown == "error":
                self._transform_sequences(sequences)

    def _transform_sequences(self, sequences: Sequences) -> np.ndarray:
        return OneHotEncoding(self)(sequences.values, lambda row: _describe_row(sequences, row))

    def _output_names(self, names: list[str]) -> list[str]:
        categories = dict(zip(self.columns_, self.categories_, strict=True))
        output_names = []
        for k, name in enumerate(names):
            output_names += [f"{name}_{category}" for category in categories[k]] if k in categories else [name]
        return output_names


class OneHotEncoding:
    """The encoding of a fitted encoder, for the steps of sequences or of streams."""

    def __init__(self, encoder: SequenceEncoder) -> None:
        self.channels = encoder.n_channels_
        self._ignore = encoder.handle_unknown == "ignore"
        self._codes = {
            channel: {category: k for k, category in enumerate(_plain(categories.tolist()))}
            for channel, categories in zip(encoder.columns_, encoder.categories_, strict=True)
        }

    def __call__(self, values: np.ndarray, describe: Callable[[int], str]) -> np.ndarray:
        """Encoded steps (M, K) in float64, for steps (M, C); `describe` names a row in an error.

        Raises
        ------
        TypeError, ValueError
            If a category is unknown, or if a channel without categories does not hold numbers.
        """
        parts = [
            self._one_hot(column, channel, describe) if channel in self._codes else _numbers(column, channel, describe)
            for channel, column in enumerate(values.T)
        ]
        return np.concatenate(parts, axis=1)

    def _one_hot(self, column: np.ndarray, channel: int, describe: Callable[[int], str]) -> np.ndarray:
        """One column for each category, (M, categories)."""
        code_of = self._codes[channel]
        values = _check_values(column, channel, describe)
        codes = np.fromiter((code_of.get(value, UNKNOWN) for value in values), np.intp, len(values))
        rows = np.flatnonzero(codes != UNKNOWN)
        if len(rows) < len(codes) and not self._ignore:
            row = int(np.argmax(codes == UNKNOWN))
            raise ValueError(
                f"{describe(row)} must have a known category in channel {channel}, got {str(values[row])[:80]!r}: "
                "handle_unknown='ignore' encodes unknown categories as 0 everywhere"
            )
        encoded = np.zeros((len(codes), len(code_of)))
        encoded[rows, codes[rows]] = 1.0
        return encoded


def checked_categories(categories: Any, name: str) -> np.ndarray:
    """The categories of one channel, as an array of numbers or objects.

    Raises
    ------
    TypeError, ValueError
        If they are not a list of strings, numbers, booleans and None, or if one occurs twice.
    """
    if not isinstance(categories, list | tuple) and getattr(categories, "ndim", None) != 1:
        raise TypeError(f"{name} must be a list of categories, got {type(categories).__name__}")
    values = _plain(categories)
    for value in values:
        if not _is_category(value):
            raise TypeError(f"{name} must hold strings, numbers, booleans or None, got {type(value).__name__}")
    if not values or len({*values}) < len(values):
        raise ValueError(f"{name} must hold at least one category, and none of them twice, got {str(values)[:80]}")
    return _as_array(values)


def _categories_in(sequences: Sequences, channel: int) -> np.ndarray:
    """The categories in one channel of sequences, sorted; None and NaN come last."""
    values = {*_check_values(sequences.values[:, channel], channel, lambda row: _describe_row(sequences, row))}
    last = [value for value in (None, math.nan) if value in values]
    try:
        return _as_array([*sorted(values.difference(last)), *last])
    except TypeError:
        raise TypeError(
            f"X must hold either strings or numbers in channel {channel}, because its categories are sorted, got both: "
            "pass categories="
        ) from None


def _check_values(column: np.ndarray, channel: int, describe: Callable[[int], str]) -> list[Any]:
    """The values of one channel in Python's own types; all must be categories."""
    values = _plain(column)
    for row, value in enumerate(values):
        if isinstance(value, complex):
            raise ValueError(f"{describe(row)} has a complex number in channel {channel}: Complex data not supported")
        if not _is_category(value):
            raise TypeError(
                f"{describe(row)} must hold a category in channel {channel}: an argument must be a string, a number, a "
                f"boolean or None, got {type(value).__name__}"
            )
    return values


def _plain(values: Iterable[Any]) -> list[Any]:
    """Values in Python's own types. All NaN become one object, because a dictionary finds NaN only by identity."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return [math.nan if isinstance(value, float) and value != value else value for value in plain]


def _is_category(value: Any) -> bool:
    return value is None or isinstance(value, str | numbers.Real)


def _as_array(values: list[Any]) -> np.ndarray:
    """An array of numbers, if all values have the same type of number; otherwise an array of objects."""
    if {*map(type, values)} in ({bool}, {int}, {float}):
        return np.array(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _numbers(column: np.ndarray, channel: int, describe: Callable[[int], str]) -> np.ndarray:
    """A channel without categories, (M, 1)."""
    try:
        values = column.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        row = next(row for row, value in enumerate(column) if not _is_number(value))
        raise TypeError(
            f"{describe(row)} must hold a number in channel {channel}, which is not in columns, got {column[row]!r:.80}"
        ) from None
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise ValueError(f"{describe(row)} must be finite, or NaN, in channel {channel}, got infinity")
    return values[:, None]


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return value is None
    return True


def _describe_row(sequences: Sequences, row: int) -> str:
    i, t = locate(sequences, row)
    return f"X[{i}] at step {t}"
