"""Scaling of channels, for sequences of any form."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from ..checks import check_option
from ..training.batches import Sequences
from .base.transformer import SequenceTransformer, documented


@documented
class SequenceScaler(SequenceTransformer):
    """Center and scale every channel, over all steps of all sequences.

    It does with channels what `sklearn.preprocessing.StandardScaler`, `RobustScaler` and `MinMaxScaler` do with
    columns, and takes inputs that they refuse: arrays with three axes, and lists of sequences. A channel whose scale
    would be 0, such as a constant channel, is only centered. X must be finite.

    <<THREADS>>

    Parameters
    ----------
    method : {"standard", "robust", "minmax"}, default "standard"
        The center and the scale of each channel. "standard": the mean and the standard deviation. "robust": the median
        and the range between the quartiles (25 % and 75 %), on which a few outliers have little influence. "minmax":
        the minimum and the range, so that the data of `fit` come to lie in [0, 1].

    Attributes
    ----------
    center_, scale_ : array, shape (C,)
        The number that is subtracted from each channel, and the number it is then divided by.
    mean_ : array, shape (C,)
        `center_`, if `method` was "standard" in `fit`.
    <<FITTED>>

    See Also
    --------
    SequenceImputer : Fills missing values.
    SequenceEncoder : Encodes categories.

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
        """The sequences before `transform`.

        Parameters
        ----------
        X, lengths
            As in `fit`.

        Returns
        -------
        array or list of array
            As in `transform`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `transform`.
        """
        return self._apply(X, lengths, lambda fitted, sequences: sequences.values * fitted.scale_ + fitted.center_)

    def _check_parameters(self) -> None:
        check_option(self.method, "method", [*_methods])

    def _fit_sequences(self, sequences: Sequences) -> None:
        self.center_, self.scale_ = _methods[self.method](sequences.values)
        if self.method == "standard":
            self.mean_ = self.center_

    def _transform_sequences(self, sequences: Sequences) -> np.ndarray:
        return (sequences.values - self.center_) / self.scale_


def _standard(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(values)  # it also finds channels that are constant but for rounding errors
    return scaler.mean_, scaler.scale_


def _robust(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, median, high = np.percentile(values, (25, 50, 75), axis=0)
    return median, _not_zero(high - low)


def _minmax(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = values.min(axis=0)
    return low, _not_zero(values.max(axis=0) - low)


def _not_zero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale == 0, 1.0, scale)


_methods = {"standard": _standard, "robust": _robust, "minmax": _minmax}
