"""The base class of transformers: forms of X, results of `fit`, and names of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from ...documenting import sharing
from ...savable import Savable
from ...training.batches import Sequences
from ..data.forms import array_or_list, is_list_of_sequences
from ..data.inputs import check_sequences
from .results import adopt, results_of, snapshot

THREADS = """
    Several threads may use it, also while another thread fits it: each result comes from one fit."""

FITTED = """
    n_channels_ : int
        C, the number of features at each step; 1 if X was (n, T).
    n_features_in_ : int
        Number of features as scikit-learn counts them: C, or T if X was (n, T).
    feature_names_in_ : array of str, one for each column
        Names of the columns, if X was in DataFrames and all names are strings.
    n_steps_seen_ : int
        Number of steps of all sequences together."""

documented = sharing({"THREADS": THREADS, "FITTED": FITTED})


class SequenceTransformer(Savable, TransformerMixin, BaseEstimator):
    """Base class of transformers of sequences. The result has the form of X.

    Several threads may use a transformer, also while another thread fits it: each result comes from one fit.

    Subclasses define `_check_parameters`, `_fit_sequences`, `_transform_sequences` and `_output_names`.
    """

    _dtype = "float64"  # the dtype in which X is checked
    _nan_allowed = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **options)  # no `set_output`: a table has two axes

    def fit(self, X: Any, y: Any = None, *, lengths: Any = None) -> Any:
        """Learn from all steps of all sequences what `transform` needs.

        Parameters
        ----------
        X : array, shape (n, T, C), or (n, T) for one channel; or list of n arrays of shape (T_i, C) or (T_i,)
            The sequences. Arrays in a GPU's memory are copied to the host's memory.
        y : ignored
            Pipelines pass it.
        lengths : int array, shape (n,), in 1..T; optional
            Number of steps of each sequence in a padded array; T by default. A transformer that was fitted with lengths
            needs them with every array, because without them it would read padding.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or X is not as described. The transformer does not change then.
        """
        fitted = type(self)(**self.get_params(deep=False))
        fitted._check_parameters()
        sequences = fitted._sequences(array_or_list(X), lengths, reset=True)
        fitted._fit_sequences(sequences)
        fitted.n_steps_seen_ = len(sequences.values)
        fitted._lengths_given = lengths is not None
        adopt(self, results_of(fitted))
        return self

    def fit_transform(self, X: Any, y: Any = None, *, lengths: Any = None) -> Any:
        """Fit the transformer to X, and transform X.

        Parameters
        ----------
        X, y, lengths
            As in `fit`.

        Returns
        -------
        array or list of array
            As in `transform`.

        Raises
        ------
        TypeError, ValueError
            As in `fit`.
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
            In float64, or in float32 if X is float32, with zeros past each length. If X has one channel, as (n, T) or a
            list of (T_i,) arrays, and the result has several, the result has an axis of channels.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other channels than in `fit`.
        """
        return self._apply(X, lengths, lambda fitted, sequences: fitted._transform_sequences(sequences))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the channels that `transform` returns, or of the columns if it takes and returns (n, T).

        Parameters
        ----------
        input_features : list of str, optional
            Names of the channels, or of the columns, of X. The default is ``feature_names_in_`` if it exists, otherwise
            "x0", "x1" and so on.

        Returns
        -------
        array of str objects

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `input_features` are not those of `fit`.
        """
        fitted = snapshot(self)
        check_is_fitted(fitted)
        names = _check_feature_names_in(fitted, input_features)
        if fitted._columns is None:
            return np.array(fitted._output_names(list(names)), object)
        channel_names = fitted._output_names(["x0"])
        return names if len(channel_names) == 1 else np.array(channel_names, object)

    def _check_parameters(self) -> None:
        """Refuse parameters that are not as described."""
        raise NotImplementedError

    def _fit_sequences(self, sequences: Sequences) -> None:
        """Learn from sequences without padding, and store the results as attributes."""
        raise NotImplementedError

    def _transform_sequences(self, sequences: Sequences) -> np.ndarray:
        """The transformed steps (M, K) of sequences without padding."""
        raise NotImplementedError

    def _output_names(self, names: list[str]) -> list[str]:
        """The names of the K output channels, given the names of the C input channels."""
        return names

    def _sequences(self, X: Any, lengths: Any, *, reset: bool) -> Sequences:
        sequences = check_sequences(self, X, lengths, self._dtype, reset=reset, nan_allowed=self._nan_allowed)
        if sequences.lengths.sum() == len(sequences.values):
            return sequences
        return Sequences.from_list(sequences.split(), self._dtype)

    def _apply(self, X: Any, lengths: Any, function: Callable[[Any, Sequences], np.ndarray]) -> Any:
        """The steps that ``function(fitted transformer, sequences)`` returns, in the form of X."""
        fitted = snapshot(self)
        check_is_fitted(fitted)
        X = array_or_list(X)
        sequences = fitted._sequences(X, lengths, reset=False)
        if not len(sequences):
            shape = (*np.shape(X)[:2], len(fitted._output_names(sequences.channels * [""])))
            return [] if isinstance(X, list | tuple) else np.empty(shape[: np.ndim(X)], output_dtype([X]))
        as_list = is_list_of_sequences(X, "X")
        values: np.ndarray = function(fitted, sequences).astype(output_dtype(X if as_list else [X]), copy=False)
        return _as_list(X, sequences, values) if as_list else _as_array(X, sequences, values)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self._nan_allowed
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def output_dtype(arrays: Any) -> type:
    """The dtype of transformed numbers: float32 if all arrays are float32, otherwise float64."""
    return np.float32 if all(getattr(array, "dtype", None) == np.float32 for array in arrays) else np.float64


def locate(sequences: Sequences, row: int) -> tuple[int, int]:
    """The sequence that contains a row of values, and the step of this row in it."""
    i = int(np.searchsorted(sequences.starts, row, side="right")) - 1
    return i, row - int(sequences.starts[i])


def _as_list(X: Any, sequences: Sequences, values: np.ndarray) -> list[np.ndarray]:
    parts = Sequences(values, sequences.starts, sequences.lengths).split()
    flat = np.ndim(X[0]) == 1 and values.shape[1] == 1
    return [part[:, 0] for part in parts] if flat else parts


def _as_array(X: Any, sequences: Sequences, values: np.ndarray) -> np.ndarray:
    shape = np.shape(X)
    padded = np.zeros((*shape[:2], values.shape[1]), values.dtype)
    padded[np.arange(shape[1]) < sequences.lengths[:, None]] = values
    return padded[:, :, 0] if len(shape) == 2 and values.shape[1] == 1 else padded
