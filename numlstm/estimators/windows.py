"""Sequences made of other data: padded batches, and windows of a long series."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers.sequences import as_numbers, check_integer, check_real, pad


def pad_sequences(sequences: Any, value: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of unequal length as one array, padded at the end.

    Estimators and layers take lists as they are; this is for what does not.

    Parameters
    ----------
    sequences : list of array, shape (T_i, C) or (T_i,)
        Of one number of channels.
    value : float, default 0.0
        What stands behind the end of a sequence.

    Returns
    -------
    padded : array, shape (n, T, C), or (n, T) if sequences are (T_i,)
        T is the length of the longest; in float64, or float32 if all sequences are.
    lengths : int64 array, shape (n,)
        T_i: pass them on as ``lengths=``.

    Raises
    ------
    TypeError, ValueError
        Naming the sequence that is empty, of another number of channels, or not numeric.

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
    arrays = [as_numbers(each, f"sequences[{i}]") for i, each in enumerate(sequences)]
    flat = bool(arrays) and all(array.ndim == 1 for array in arrays)
    dtype = "float32" if arrays and all(array.dtype == np.float32 for array in arrays) else "float64"
    padded, lengths = pad([array[:, None] for array in arrays] if flat else arrays, dtype, "sequences")
    padded[np.arange(padded.shape[1]) >= lengths[:, None]] = check_real(value, "value", -np.inf, np.inf)
    return (padded[:, :, 0] if flat else padded), lengths


def sliding_windows(series: Any, steps: int, horizon: int = 1, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a long series, and what comes next after each: what a regressor learns forecasting from.

    Parameters
    ----------
    series : array, shape (M,) or (M, C)
        In the order of time.
    steps : int, at least 1
        Steps of a window.
    horizon : int, at least 1, default 1
        Steps to forecast.
    stride : int, at least 1, default 1
        Steps from the beginning of a window to that of the next.

    Returns
    -------
    X : array, shape (n, steps, C)
        C is 1 for an (M,) series.
    y : array, shape (n, horizon · C)
        The steps right after each window, one behind the other: several targets for a sequence, as estimators take
        them. ``y.reshape(n, horizon, C)`` has an axis for each.

    Raises
    ------
    TypeError, ValueError
        If the series is not numeric, or shorter than a window and its forecast.

    Examples
    --------
    >>> import numpy as np
    >>> from numlstm import sliding_windows
    >>> X, y = sliding_windows(np.arange(6), steps=3, horizon=2)
    >>> X[:, :, 0]
    array([[0, 1, 2],
           [1, 2, 3]])
    >>> y
    array([[3, 4],
           [4, 5]])
    """
    values = as_numbers(series, "series")
    if values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise ValueError(f"series must have shape (M,) or (M, C), got {values.shape}")
    steps, horizon = check_integer(steps, "steps", 1), check_integer(horizon, "horizon", 1)
    stride = check_integer(stride, "stride", 1)
    if len(values) < steps + horizon:
        raise ValueError(f"series must have at least steps + horizon = {steps + horizon} steps, got {len(values)}")
    columns = values[:, None] if values.ndim == 1 else values
    windows = np.lib.stride_tricks.sliding_window_view(columns, steps + horizon, axis=0)[::stride].swapaxes(1, 2)
    return windows[:, :steps].copy(), windows[:, steps:].copy().reshape(len(windows), -1)
