"""The adding and the multiplication problem: two marked numbers among many."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_integer, check_rng
from .drawing import cut, random_lengths


def make_adding(
    n_samples: int = 100, *, length: int = 100, random_state: Any = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The adding problem: the scaled sum of the two numbers that are marked (experiment 4 of [1]_).

    The first channel has random numbers in [-1, 1]. The second marks two steps with 1, and the first and the last step
    with -1; it is 0 elsewhere. One mark is among the first ten steps, the other among the first half.

    Parameters
    ----------
    n_samples : int, at least 1, default 100
        Number of sequences.
    length : int, at least 20, default 100
        Steps of the shortest sequences; the longest have a tenth more.
    random_state : int, numpy.random.Generator or None, default None
        Where random numbers come from; with an int, each call gives the same data.

    Returns
    -------
    X : list of float32 array, shape (T_i, 2)
    y : float32 array, shape (n_samples,)
        ``0.5 + (x1 + x2) / 4`` of the marked numbers: from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Notes
    -----
    A sequence counts as right if the error is below 0.04. If the first step is marked, its number is 0.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, section 5.4.

    Examples
    --------
    >>> from numlstm.datasets import make_adding
    >>> X, y = make_adding(3, random_state=0)
    >>> x = X[0]
    >>> x1, x2 = x[x[:, 1] == 1, 0]
    >>> bool(abs(y[0] - (0.5 + (x1 + x2) / 4)) < 1e-6)
    True
    """
    X, x1, x2 = _marked(n_samples, length, -1.0, 0.0, random_state)
    return X, 0.5 + (x1 + x2) / 4


def make_multiplication(
    n_samples: int = 100, *, length: int = 100, random_state: Any = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The multiplication problem: the product of the two numbers that are marked (experiment 5 of [1]_).

    It works as `make_adding`, with numbers in [0, 1].

    Parameters
    ----------
    n_samples : int, at least 1, default 100
        Number of sequences.
    length : int, at least 20, default 100
        Steps of the shortest sequences; the longest have a tenth more.
    random_state : int, numpy.random.Generator or None, default None
        Where random numbers come from; with an int, each call gives the same data.

    Returns
    -------
    X : list of float32 array, shape (T_i, 2)
    y : float32 array, shape (n_samples,)
        ``x1 * x2`` of the marked numbers.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Notes
    -----
    A sequence counts as right if the error is below 0.04. If the first step is marked, its number is 1.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, section 5.5.

    Examples
    --------
    >>> from numlstm.datasets import make_multiplication
    >>> X, y = make_multiplication(3, random_state=0)
    >>> x = X[0]
    >>> bool(abs(y[0] - x[x[:, 1] == 1, 0].prod()) < 1e-6)
    True
    """
    X, x1, x2 = _marked(n_samples, length, 0.0, 1.0, random_state)
    return X, x1 * x2


def _marked(
    n_samples: int, length: int, lowest: float, neutral: float, random_state: Any
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Sequences, and the two marked numbers of each. If the first step is marked, its number is `neutral`."""
    count, shortest = check_integer(n_samples, "n_samples", 1), check_integer(length, "length", 20)
    rng = check_rng(random_state, "random_state")
    rows, lengths = np.arange(count), random_lengths(rng, count, shortest)
    padded = np.zeros((count, lengths.max(), 2), np.float32)
    padded[:, :, 0] = rng.uniform(lowest, 1.0, padded.shape[:2])
    first = rng.integers(0, 10, count)
    second = rng.integers(0, shortest // 2 - 1, count)
    second += second >= first  # one of the steps that are not marked yet
    padded[:, 0, 1] = padded[rows, lengths - 1, 1] = -1.0
    padded[rows, first, 1] = padded[rows, second, 1] = 1.0
    marked_first = padded[:, 0, 1] == 1.0
    padded[marked_first, 0, 0] = neutral
    return cut(padded, lengths), padded[rows, first, 0], padded[rows, second, 0]
