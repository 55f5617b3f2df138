"""Input with tokens, or with tokens and numbers: its categorical channels, and the numbers of their tokens."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dicts import columns_of, features_of, is_list_of_dicts
from .forms import array_or_list
from .frames import column_labels, group_rows, is_frame, is_indexed, rows_of_sequences
from .tokens import END, Analyzer, Vocabulary, checked_texts, is_text

Table = tuple[list[np.ndarray], list[Hashable]]  # (T_i, C) arrays of objects, and the names of the channels


@dataclass(frozen=True)
class TokenReading:
    """How an estimator reads tokens.

    Attributes
    ----------
    vocabularies : tuple of Vocabulary
        The vocabulary of each categorical channel.
    channels : tuple of int
        The categorical channels.
    names : tuple or None
        The names of all channels; None if X holds texts.
    analyzer : {"char", "byte", "word"} or callable
    lowercase : bool
    """

    vocabularies: tuple[Vocabulary, ...]
    channels: tuple[int, ...]
    names: tuple[Hashable, ...] | None
    analyzer: Analyzer
    lowercase: bool

    @property
    def width(self) -> int:
        """C, the number of channels."""
        return 1 if self.names is None else len(self.names)

    @property
    def text(self) -> bool:
        """Whether X holds texts: one token at each step."""
        return self.names is None

    @property
    def feature_names(self) -> list[str]:
        """The names of all rows of the tables of vectors; if X holds several channels, with the channel's before."""
        names = []
        for channel, words in zip(self.channels, self.vocabularies, strict=True):
            prefix = "" if self.names is None else f"{self.names[channel]}_"
            tokens = ["<end>" if token == END else str(token) for token in words.tokens]
            names += [prefix + token for token in ("<unknown>", *tokens)]
        return names

    def encode(self, X: Any, name: str) -> list[np.ndarray]:
        """X as numbers: (T_i, C) arrays with the numbers of tokens in categorical channels.

        Raises
        ------
        TypeError, ValueError
            If X has another form than in `fit`.
        """
        if self.text:
            if not is_text(X) and len(X):
                raise TypeError(f"{name} must hold texts or lists of tokens, as in fit, got numbers")
            texts = checked_texts(X, name, self.analyzer, self.lowercase)
            return [self.vocabularies[0].encode(tokens)[:, None].astype(np.float64) for tokens in texts]
        arrays, names = table_of(X, name, self._absent())
        if len(arrays) and (*names,) != self.names:
            raise ValueError(f"{name} must have the channels {[*(self.names or ())]}, as in fit, got {names}")
        return [self._numbers(array, f"{name}[{i}]") for i, array in enumerate(arrays)]

    def step(self, x_t: Any, count: int) -> np.ndarray:
        """One step of `count` sequences, (count, C)."""
        steps = [x_t] if self.is_one_step(x_t) else x_t
        if len(steps) != count:
            raise ValueError(f"x_t must hold a step for each of {count} sequences, got {len(steps)}")
        if self.text:
            tokens = checked_texts([[token] for token in steps], "x_t", self.analyzer, self.lowercase)
            return np.stack([self.vocabularies[0].encode(token) for token in tokens]).astype(np.float64)
        sequences = [[step] if isinstance(step, Mapping) else np.array([step], object) for step in steps]
        return np.concatenate(self.encode(sequences, "x_t"))

    def is_one_step(self, x_t: Any) -> bool:
        """Whether `x_t` is the step of one sequence, not a list of steps."""
        return isinstance(x_t, str | Mapping) or np.ndim(x_t) < 2 - self.text

    def _absent(self) -> dict[Hashable, Any]:
        """What a feature is in a dict that lacks it: a category of its own, None, or the number 0."""
        return {label: None if k in self.channels else 0.0 for k, label in enumerate(self.names or ())}

    def _numbers(self, array: np.ndarray, name: str) -> np.ndarray:
        numbers = np.empty(array.shape)
        known = dict(zip(self.channels, self.vocabularies, strict=True))
        for k in range(array.shape[1]):
            if k in known:
                numbers[:, k] = known[k].encode(plain(array[:, k]))
                continue
            try:
                numbers[:, k] = array[:, k]
            except (TypeError, ValueError):
                channel = self.names[k] if self.names else k
                raise TypeError(
                    f"{name} must hold numbers in channel {channel!r}: name it in categorical_features if it holds "
                    "categories"
                ) from None
        return numbers


def reading_of(
    X: Any,
    name: str,
    analyzer: Analyzer,
    lowercase: bool,
    min_frequency: int,
    max_vocabulary: int | None,
    categorical_features: Sequence[Hashable] | None,
) -> TokenReading | None:
    """How an estimator reads X, with the vocabularies of X; None if X holds only numbers.

    Raises
    ------
    TypeError, ValueError
        If `TokenReading.encode` does not take X, or if `categorical_features` are not among its channels.
    """

    def vocabulary(sequences: Any) -> Vocabulary:
        words = Vocabulary.of(sequences, min_frequency, max_vocabulary)
        if not words.tokens:
            raise ValueError(f"min_frequency must leave at least one token, got {min_frequency}")
        return words

    if is_text(X):
        if categorical_features is not None:
            raise ValueError(f"categorical_features must be None for texts, got {categorical_features!r}")
        texts = checked_texts(X, name, analyzer, lowercase)
        if not texts:
            raise ValueError(f"{name} must hold at least one sequence, got none")
        return TokenReading((vocabulary(texts),), (0,), None, analyzer, lowercase)
    dicts = _is_of_dicts(X)
    if categorical_features is None and not dicts and not (has_named_columns(X) and _begins_with_strings(X)):
        return None
    arrays, names = table_of(X, name)
    chosen = categorical(arrays, names, categorical_features)
    if dicts and not chosen:
        raise TypeError(
            f"{name} must have a string among the values of its dicts, or names in categorical_features, got numbers "
            "alone: pass them as arrays, which sklearn.feature_extraction.DictVectorizer makes"
        )
    if not chosen:
        return None
    vocabularies = tuple(vocabulary(plain(array[:, k]) for array in arrays) for k in chosen)
    return TokenReading(vocabularies, tuple(chosen), (*names,), analyzer, lowercase)


def categorical(arrays: list[np.ndarray], names: list[Hashable], features: Sequence[Hashable] | None) -> list[int]:
    """The channels that hold categories: the named ones, and those with a string."""
    chosen = {k for k in range(len(names)) if any(isinstance(value, str) for array in arrays for value in array[:, k])}
    for feature in [] if features is None else features:
        place = names.index(feature) if feature in names else feature
        if isinstance(place, bool) or not isinstance(place, int | np.integer) or not 0 <= place < len(names):
            raise ValueError(f"categorical_features must be among the channels {names}, got {feature!r}")
        chosen.add(int(place))
    return sorted(chosen)


def has_named_columns(X: Any) -> bool:
    """Whether X is a list of tables, of structured arrays or of lists of dicts; or a table with an index."""
    if is_indexed(X):
        return X.ndim == 2
    if not isinstance(X, list | tuple) or not len(X):
        return False
    first = X[0]
    return is_frame(first) or bool(getattr(getattr(first, "dtype", None), "names", None)) or is_list_of_dicts(first)


def _is_of_dicts(X: Any) -> bool:
    return isinstance(X, list | tuple) and len(X) > 0 and is_list_of_dicts(X[0])


def _begins_with_strings(X: Any) -> bool:
    """Whether a channel of the first step of X is a string."""
    first = X.iloc[:1] if is_indexed(X) else X[0][:1]
    return any(isinstance(column[0], str) for column in _columns(first, "X").values() if len(column))


def table_of(X: Any, name: str, absent: Mapping[Hashable, Any] | None = None) -> Table:
    """Sequences as arrays of objects, and the names of their channels.

    Dicts have the channels of `absent`, with the values that stand for missing ones; by default all that occur in X.

    Raises
    ------
    TypeError, ValueError
        If sequences have other channels than the first, or a form that is not a sequence.
    """
    if is_indexed(X):
        rows = rows_of_sequences(X, name)
        X = [X.iloc[steps] for steps in group_rows(np.arange(len(X)), rows)]
    if not has_named_columns(X):
        X = array_or_list(X, name)
        arrays = [np.asarray(sequence, object) for sequence in X]
        arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
        for i, array in enumerate(arrays):
            if array.ndim != 2 or array.shape[1] != arrays[0].shape[1]:
                raise ValueError(f"{name}[{i}] must have shape (T_i, C) with the C of {name}[0], got {array.shape}")
        return arrays, [*range(arrays[0].shape[1])] if arrays else []
    if _is_of_dicts(X):
        absent = dict.fromkeys(features_of(X, name)) if absent is None else absent
        return [np.stack(columns_of(steps, absent, f"{name}[{i}]"), axis=1) for i, steps in enumerate(X)], [*absent]
    tables = [_columns(sequence, f"{name}[{i}]") for i, sequence in enumerate(X)]
    names = [*tables[0]]
    for i, table in enumerate(tables):
        if [*table] != names:
            raise ValueError(
                f"{name}[{i}] must have the channels of {name}[0], in the same order: {names}, got {[*table]}"
            )
    return [np.stack([*table.values()], axis=1) for table in tables], names


def _columns(sequence: Any, name: str) -> dict[Hashable, np.ndarray]:
    """The channels of a sequence, as arrays of objects."""
    if is_frame(sequence):
        return {label: np.array(sequence[label].to_list(), object) for label in column_labels(sequence, name)}
    names = getattr(getattr(sequence, "dtype", None), "names", None)
    if names:
        return {label: np.array(sequence[label].tolist(), object) for label in names}
    raise TypeError(f"{name} must be a table or a structured array, as the first sequence is")


def plain(column: np.ndarray) -> list[Hashable]:
    """Categories of a channel in Python's types: 1.0, 1 and True are the same category, and so are None and NaN."""
    values = [value.item() if isinstance(value, np.generic) else value for value in column]
    return [None if value != value else value for value in values]
