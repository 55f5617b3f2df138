"""Sequences from the data layouts of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers.sequences import as_numbers
from .data.frames import is_frame


def as_channels_last(X: Any) -> Any:
    """Convert sequences from the layouts of aeon and sktime, in which the axis of channels comes before that of steps.

    Parameters
    ----------
    X : array, shape (n, C, T); list of n arrays, shape (C, T_i); or DataFrame of pandas, n rows and C columns
        Each cell of a DataFrame holds a Series or an array, (T_i,), as in sktime's nested tables.

    Returns
    -------
    array, shape (n, T, C); or list of n arrays, shape (T_i, C), for a list or a DataFrame
        Copies in the layout that estimators take, with the dtype of X.

    Raises
    ------
    TypeError
        If X is in none of these forms, or does not hold numbers.
    ValueError
        If X has another shape, no sequences, or channels of unequal length in a sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import as_channels_last
    >>> as_channels_last(np.zeros((10, 2, 50))).shape
    (10, 50, 2)
    >>> [x.shape for x in as_channels_last([np.zeros((2, 50)), np.zeros((2, 30))])]
    [(50, 2), (30, 2)]
    """
    if is_frame(X):
        return _from_cells(X)
    if getattr(X, "dtype", None) == np.dtype(object):
        X = list(X)
    if isinstance(X, list | tuple):
        arrays = [as_numbers(sequence, f"X[{i}]") for i, sequence in enumerate(X)]
        for i, array in enumerate(arrays):
            if array.ndim != 2 or len(array) != len(arrays[0]):
                raise ValueError(f"X[{i}] must have shape (C, T_i), with the channels of X[0], got {array.shape}")
        return [_transposed(array) for array in _check_not_empty(arrays)]
    x = as_numbers(X, "X")
    if x.ndim != 3:
        raise ValueError(f"X must have shape (n, C, T), got {x.shape}")
    return _transposed(x)


def _from_cells(frame: Any) -> list[np.ndarray]:
    """The sequences in a nested table."""
    if not hasattr(frame, "iloc"):
        raise TypeError("X must be a DataFrame of pandas, an array or a list, got a DataFrame of polars")
    sequences = []
    for i, cells in enumerate(zip(*(frame.iloc[:, k] for k in range(frame.shape[1])), strict=True)):
        channels = [as_numbers(cell, f"X[{i}]") for cell in cells]
        if any(channel.ndim != 1 or len(channel) != len(channels[0]) for channel in channels):
            raise ValueError(f"X[{i}] must have a Series of one length in each cell, got {[c.shape for c in channels]}")
        sequences.append(np.stack(channels, axis=1))
    return _check_not_empty(sequences)


def _check_not_empty(arrays: list[np.ndarray]) -> list[np.ndarray]:
    if not arrays:
        raise ValueError("X must hold at least one sequence, got none")
    return arrays


def _transposed(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(-1, -2).copy()
