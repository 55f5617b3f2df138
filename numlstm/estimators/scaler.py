"""Scaled channels, for sequences of any form."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from ..checks import check_option
from ..training.batches import Sequences
from .base.transformer import SequenceTransformer


class SequenceScaler(SequenceTransformer):
    """Give every channel one centre and one scale, over all steps of all sequences.

    What `sklearn.preprocessing.StandardScaler`, `RobustScaler` and `MinMaxScaler` do with columns, for what they
    refuse: arrays of three axes and lists of sequences. A channel whose scale would be 0, as that of a constant one, is
    only centred. X must be finite.

    Threads may use it at once, also while another one fits it: each result is of one fit.

    Parameters
    ----------
    method : {"standard", "robust", "minmax"}, default "standard"
        What is taken from each channel, and what it is then divided by: the mean and the standard deviation; the median
        and the range between the quartiles (25 % and 75 %), which a few outliers do not move; or the minimum and the
        range, so that all that `fit` has seen comes to lie in [0, 1].

    Attributes
    ----------
    center_, scale_ : array, shape (C,)
        What is taken from each channel, and what it is then divided by.
    mean_ : array, shape (C,)
        `center_`, if `method` was "standard" in `fit`.
    n_channels_ : int
        C, the features of a step; 1 where X was (n, T).
    n_features_in_ : int
        As scikit-learn counts: C, or T where X was (n, T).
    feature_names_in_ : array of str, shape (n_features_in_,)
        The names of the columns of DataFrames, if X was some and all of these are strings.
    n_steps_seen_ : int
        Steps of all sequences together.

    See Also
    --------
    SequenceImputer : Fills missing values.
    SequenceEncoder : Makes channels of categories.

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
    >>> SequenceScaler("minmax").fit_transform(X)[0]
    array([[0. , 0. ], [0.5, 1. ]])
    """

    def __init__(self, method: str = "standard") -> None:
        self.method = method

    def inverse_transform(self, X: Any, *, lengths: Any = None) -> Any:
        """Sequences as they were before `transform`.

        Parameters
        ----------
        X, lengths
            As in `fit`.

        Returns
        -------
        array or list of array
            As from `transform`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `transform` does.
        """
        return self._mapped(X, lengths, lambda known, sequences: sequences.values * known.scale_ + known.center_)

    def _check(self) -> None:
        check_option(self.method, "method", [*_methods])

    def _learn(self, sequences: Sequences) -> None:
        self.center_, self.scale_ = _methods[self.method](sequences.values)
        if self.method == "standard":
            self.mean_ = self.center_

    def _changed(self, sequences: Sequences) -> np.ndarray:
        return (sequences.values - self.center_) / self.scale_


def _standard(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = StandardScaler().fit(values)  # which knows by rounding errors, too, what is constant
    return found.mean_, found.scale_


def _robust(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, median, high = np.percentile(values, (25, 50, 75), axis=0)
    return median, _not_zero(high - low)


def _minmax(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = values.min(axis=0)
    return low, _not_zero(values.max(axis=0) - low)


def _not_zero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale == 0, 1.0, scale)


_methods = {"standard": _standard, "robust": _robust, "minmax": _minmax}
