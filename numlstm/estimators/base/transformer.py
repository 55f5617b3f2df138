"""What transformers of sequences have in common: forms of X, what `fit` leaves, and names of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from ...savable import Savable
from ...training.batches import Sequences
from ..data.forms import array_or_list, is_list_of_sequences
from ..data.inputs import sequences_of
from .results import adopt, results_of, snapshot


class SequenceTransformer(Savable, TransformerMixin, BaseEstimator):
    """Sequences in any form, changed step by step or sequence by sequence, in the form in which they came.

    It serves several threads at once, also while another one fits: what it does is of one fit.

    Subclasses say how: `_check` looks at the parameters, `_learn` keeps what it finds in sequences without padding,
    `_changed` gives the (M, K) steps that their (M, C) steps become, and `_named` the names of K channels.
    """

    _dtype = "float64"  # that X is taken in
    _nan_allowed = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **options)  # no `set_output`: a table has two axes

    def fit(self, X: Any, y: Any = None, *, lengths: Any = None) -> Any:
        """Learn from all steps of all sequences what `transform` needs.

        Parameters
        ----------
        X : array, shape (n, T, C), or (n, T) for one channel; or list of n arrays of shape (T_i, C) or (T_i,)
            As the class takes them. What is in a GPU's memory is copied to the host's.
        y : ignored
            For pipelines.
        lengths : int array, shape (n,), in 1..T; optional
            Steps of each sequence of a padded array; T by default. A transformer that was fitted with lengths asks for
            them with every array: without them it would read padding.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or X is not as described; what was fitted before is unchanged then.
        """
        other = type(self)(**self.get_params(deep=False))
        other._check()
        sequences = other._sequences(array_or_list(X), lengths, reset=True)
        other._learn(sequences)
        other.n_steps_seen_ = len(sequences.values)
        other._lengths_given = lengths is not None
        adopt(self, results_of(other))
        return self

    def fit_transform(self, X: Any, y: Any = None, *, lengths: Any = None) -> Any:
        """Learn what `transform` needs, and transform.

        Parameters
        ----------
        X, y, lengths
            As in `fit`.

        Returns
        -------
        array or list of array
            As from `transform`.

        Raises
        ------
        TypeError, ValueError
            As `fit` does.
        """
        return self.fit(X, lengths=lengths).transform(X, lengths=lengths)

    def transform(self, X: Any, *, lengths: Any = None) -> Any:
        """Transformed sequences, in the form of X.

        Parameters
        ----------
        X, lengths
            As in `fit`.

        Returns
        -------
        array or list of array
            In float64, or float32 if X is; zeros past each length. One channel, as (n, T) or a list of (T_i,), gets an
            axis of channels where it becomes several.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other channels than in `fit`.
        """
        return self._mapped(X, lengths, lambda known, sequences: known._changed(sequences))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the channels that `transform` gives; of the columns, where it takes (n, T) and gives (n, T).

        Parameters
        ----------
        input_features : list of str, optional
            Names of the channels, or columns, of X. By default ``feature_names_in_`` if there are such, or
            "x0", "x1" and so on.

        Returns
        -------
        array of str objects

        Raises
        ------
        NotFittedError, ValueError
            Before `fit`; if there are other `input_features` than in `fit`.
        """
        known = snapshot(self)
        check_is_fitted(known)
        names = _check_feature_names_in(known, input_features)
        if known._columns is None:
            return np.array(known._named(list(names)), object)
        own = known._named(["x0"])
        return names if len(own) == 1 else np.array(own, object)

    def _check(self) -> None:
        """Refuse parameters that are not as described."""
        raise NotImplementedError

    def _learn(self, sequences: Sequences) -> None:
        """Keep what sequences without padding say, as attributes."""
        raise NotImplementedError

    def _changed(self, sequences: Sequences) -> np.ndarray:
        """What the steps (M, C) of sequences without padding become, (M, K)."""
        raise NotImplementedError

    def _named(self, names: list[str]) -> list[str]:
        """Names of K channels, for those of C."""
        return names

    def _sequences(self, X: Any, lengths: Any, *, reset: bool) -> Sequences:
        found = sequences_of(self, X, lengths, self._dtype, reset=reset, nan_allowed=self._nan_allowed)
        if found.lengths.sum() == len(found.values):
            return found
        return Sequences.from_list(found.apart(), self._dtype)

    def _mapped(self, X: Any, lengths: Any, function: Callable[[Any, Sequences], np.ndarray]) -> Any:
        """What a function of the fitted transformer and sequences gives, in the form of X."""
        known = snapshot(self)
        check_is_fitted(known)
        X = array_or_list(X)
        sequences = known._sequences(X, lengths, reset=False)
        if not len(sequences):
            shape = (*np.shape(X)[:2], len(known._named(sequences.channels * [""])))
            return [] if isinstance(X, list | tuple) else np.empty(shape[: np.ndim(X)], dtype_of([X]))
        as_list = is_list_of_sequences(X, "X")
        values: np.ndarray = function(known, sequences).astype(dtype_of(X if as_list else [X]), copy=False)
        return _parts(X, sequences, values) if as_list else _padded(X, sequences, values)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self._nan_allowed
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def dtype_of(arrays: Any) -> type:
    """The type of transformed numbers: float32 only where all numbers are."""
    return np.float32 if all(getattr(each, "dtype", None) == np.float32 for each in arrays) else np.float64


def place(sequences: Sequences, row: int) -> tuple[int, int]:
    """The sequence that a row of values belongs to, and the step in it."""
    i = int(np.searchsorted(sequences.starts, row, side="right")) - 1
    return i, row - int(sequences.starts[i])


def _parts(X: Any, sequences: Sequences, values: np.ndarray) -> list[np.ndarray]:
    parts = Sequences(values, sequences.starts, sequences.lengths).apart()
    flat = np.ndim(X[0]) == 1 and values.shape[1] == 1
    return [part[:, 0] for part in parts] if flat else parts


def _padded(X: Any, sequences: Sequences, values: np.ndarray) -> np.ndarray:
    shape = np.shape(X)
    padded = np.zeros((*shape[:2], values.shape[1]), values.dtype)
    padded[np.arange(shape[1]) < sequences.lengths[:, None]] = values
    return padded[:, :, 0] if len(shape) == 2 and values.shape[1] == 1 else padded
