"""Conversion between lists of sequences and padded arrays."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from ..checks import check_real
from ..layers.sequences import as_numbers, pad
from .data.forms import lengths_before_padding


def pad_sequences(sequences: Any, value: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Convert sequences of unequal length to one array, padded at the end.

    Estimators and layers do not need this function, because they take lists. Other libraries may need it.

    Parameters
    ----------
    sequences : list of array, shape (T_i, C) or (T_i,)
        All must have the same number of channels.
    value : float, default 0.0
        The number after the end of a sequence; it may be NaN.

    Returns
    -------
    padded : array, shape (n, T, C), or (n, T) if sequences are (T_i,)
        T is the length of the longest sequence. The dtype is float32 if all sequences are float32, otherwise float64.
    lengths : int64 array, shape (n,)
        The lengths T_i, to be passed as ``lengths=``.

    Raises
    ------
    TypeError, ValueError
        If a sequence is empty, has another number of channels, or is not numeric; the message names it.

    See Also
    --------
    split_padded : The inverse.

    Examples
    --------
    >>> from numlstm import pad_sequences
    >>> padded, lengths = pad_sequences([[1.0, 2.0, 3.0], [4.0]])
    >>> padded
    array([[1., 2., 3.],
           [4., 0., 0.]])
    >>> lengths
    array([3, 1])
    """
    if isinstance(sequences, str | bytes) or not hasattr(sequences, "__len__"):
        raise TypeError(f"sequences must be a list of arrays, got {type(sequences).__name__}")
    arrays = [as_numbers(sequence, f"sequences[{i}]") for i, sequence in enumerate(sequences)]
    flat = bool(arrays) and all(array.ndim == 1 for array in arrays)
    dtype = "float32" if arrays and all(array.dtype == np.float32 for array in arrays) else "float64"
    padded, lengths = pad([array[:, None] for array in arrays] if flat else arrays, dtype, "sequences")
    padded[np.arange(padded.shape[1]) >= lengths[:, None]] = _check_value(value)
    return (padded[:, :, 0] if flat else padded), lengths


def split_padded(X: Any, value: float = np.nan) -> list[np.ndarray]:
    """Convert a padded array to a list of sequences, which estimators take.

    A step is removed if all its channels hold `value`, and if all later steps of the sequence are removed. Other steps
    stay, even if they contain `value`.

    Parameters
    ----------
    X : array, shape (n, T, C) or (n, T)
        Padded at the end, for example by tslearn.
    value : float, default NaN
        The number after the end of a sequence.

    Returns
    -------
    list of n arrays, shape (T_i, C), or (T_i,) if X is (n, T)
        Copies, with the dtype of X.

    Raises
    ------
    TypeError
        If X does not hold numbers, or `value` is not a number.
    ValueError
        If X has another shape, or a sequence is only padding.

    See Also
    --------
    pad_sequences : The inverse.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import split_padded
    >>> split_padded([[1.0, 2.0, 3.0], [4.0, np.nan, np.nan]])
    [array([1., 2., 3.]), array([4.])]
    """
    x = as_numbers(X, "X")
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise ValueError(f"X must have shape (n, T, C) or (n, T), got {x.shape}")
    value = _check_value(value)
    padding = np.isnan(x) if np.isnan(value) else x == value
    ends = lengths_before_padding(padding.reshape(*x.shape[:2], -1).all(axis=2))
    if not ends.all():
        raise ValueError(f"X[{ends.argmin()}] must have a step that is not padding, got {value} at all steps")
    return [row[:end].copy() for row, end in zip(x, ends.tolist(), strict=True)]


def _check_value(value: Any) -> float:
    is_nan = isinstance(value, numbers.Real) and value != value
    return np.nan if is_nan else check_real(value, "value", -np.inf, np.inf)
