"""Standardised channels, for sequences of any form."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from ..io.saving import Savable
from ..training.batches import Sequences
from .inputs import array_or_list, is_list_of_sequences, sequences_of
from .parameters import documented
from .results import adopt, results_of, snapshot


@documented
class SequenceScaler(Savable, TransformerMixin, BaseEstimator):
    """Give every channel mean 0 and standard deviation 1, over all steps of all sequences.

    What `sklearn.preprocessing.StandardScaler` does with columns, for what it refuses: arrays of three axes and lists
    of sequences. A constant channel is only centred.

    Attributes
    ----------
    mean_, scale_ : array, shape (C,)
        What is taken from each channel, and what it is then divided by.
    n_channels_ : int
        C, the features of a step; 1 where X was (n, T).
    n_features_in_ : int
        As scikit-learn counts: C, or T where X was (n, T).
    feature_names_in_ : array of str, shape (n_features_in_,)
        The names of the columns of DataFrames, if X was some and all of these are strings.
    n_steps_seen_ : int
        Steps of all sequences together.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import SequenceScaler
    >>> X = [np.array([[1.0, 10.0], [3.0, 30.0]]), np.array([[5.0, 20.0]])]
    >>> scaler = SequenceScaler().fit(X)
    >>> scaler.mean_
    array([ 3., 20.])
    >>> scaler.transform(X)[1].round(2)
    array([[1.22, 0.  ]])
    >>> scaler.inverse_transform(scaler.transform(X))[1]
    array([[ 5., 20.]])
    """

    def fit(self, X: Any, y: Any = None, *, lengths: Any = None) -> SequenceScaler:
        """Find each channel's mean and standard deviation.

        Parameters
        ----------
        <<SEQUENCES>>
        y : ignored
            For pipelines.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If X is not as described; the scaler is unchanged then.
        """
        other = type(self)()
        sequences = sequences_of(other, X, lengths, "float64", reset=True)
        values = np.concatenate(sequences.apart())
        found = StandardScaler().fit(values)
        other.mean_, other.scale_, other.n_steps_seen_ = found.mean_, found.scale_, len(values)
        other._lengths_given = lengths is not None
        adopt(self, results_of(other))
        return self

    def fit_transform(self, X: Any, y: Any = None, *, lengths: Any = None) -> Any:
        """Find each channel's mean and standard deviation, and scale.

        Parameters
        ----------
        <<SEQUENCES>>
        y : ignored
            For pipelines.

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
        """Scaled sequences, in the form of X.

        Parameters
        ----------
        <<SEQUENCES>>

        Returns
        -------
        array or list of array
            As X, in float64, or float32 if X is; zeros past each length.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If X is not as described, or has other channels than in `fit`.
        """
        return self._mapped(X, lengths, lambda known, values: (values - known.mean_) / known.scale_)

    def inverse_transform(self, X: Any, *, lengths: Any = None) -> Any:
        """Sequences as they were before `transform`.

        Parameters
        ----------
        <<SEQUENCES>>

        Returns
        -------
        array or list of array
            As from `transform`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `transform` does.
        """
        return self._mapped(X, lengths, lambda known, values: values * known.scale_ + known.mean_)

    def _mapped(self, X: Any, lengths: Any, function: Any) -> Any:
        known = snapshot(self)
        check_is_fitted(known)
        X = array_or_list(X)
        sequences = sequences_of(known, X, lengths, "float64", reset=False)
        if not len(sequences):
            return [] if isinstance(X, list | tuple) else np.empty(np.shape(X), _dtype_of([X]))
        as_list = is_list_of_sequences(X, "X")
        dtype = _dtype_of(X if as_list else [X])
        scaled = Sequences(function(known, sequences.values).astype(dtype), sequences.starts, sequences.lengths)
        if as_list:
            rank = np.ndim(X[0])
            return [part if rank == 2 else part[:, 0] for part in scaled.apart()]
        shape = np.shape(X)
        padded = scaled.values.reshape(*shape[:2], -1)
        padded[np.arange(shape[1]) >= sequences.lengths[:, None]] = 0
        return padded.reshape(shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _dtype_of(arrays: Any) -> type:
    """The type of scaled numbers: float32 only where all numbers are."""
    return np.float32 if all(getattr(each, "dtype", None) == np.float32 for each in arrays) else np.float64
