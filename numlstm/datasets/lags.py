"""Tasks with long time lags: the first steps tell what to predict at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_flag, check_integer, check_rng
from .drawing import cut, one_hot, random_lengths


def make_long_lag(
    n_samples: int = 100, *, lag: int = 100, regular: bool = True, random_state: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """The long-lag problem: predict the next symbol; the last symbol is the first again (experiments 2a, 2b of [1]_).

    There are p + 1 symbols, p being the `lag`. A sequence begins with one of two, x and y, and ends with the same one.
    Between them are p - 1 other symbols: always a_1, a_2, ..., a_(p-1) in experiment 2a, random ones in 2b.

    Parameters
    ----------
    n_samples : int, at least 1, default 100
        Number of sequences.
    lag : int, at least 2, default 100
        Steps from the first symbol to the last.
    regular : bool, default True
        Whether the symbols between are always the same, as in 2a. Otherwise they are random, as in 2b, and only the
        last symbol can be predicted.
    random_state : int, numpy.random.Generator or None, default None
        Where random numbers come from; with an int, each call gives the same data.

    Returns
    -------
    X : float32 array, shape (n_samples, lag, lag + 1)
        All symbols but the last, as vectors with one 1; the last two columns are x and y.
    y : float32 array, shape (n_samples, lag, lag + 1)
        The symbol that follows each of them.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Notes
    -----
    A sequence counts as right if the error of every output is below 0.25: at all steps in 2a, at the last one in 2b.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, section 5.2.

    Examples
    --------
    >>> from numlstm.datasets import make_long_lag
    >>> X, y = make_long_lag(2, lag=4, random_state=0)
    >>> X[0].argmax(axis=1), y[0].argmax(axis=1)
    (array([4, 0, 1, 2]), array([0, 1, 2, 4]))
    """
    count, lag = check_integer(n_samples, "n_samples", 1), check_integer(lag, "lag", 2)
    rng = check_rng(random_state, "random_state")
    between = np.arange(lag - 1) if check_flag(regular, "regular") else rng.integers(0, lag - 1, (count, lag - 1))
    symbols = np.empty((count, lag + 1), np.int64)
    symbols[:, 0] = symbols[:, -1] = lag - 1 + rng.integers(0, 2, count)
    symbols[:, 1:-1] = between
    vectors = one_hot(symbols, lag + 1)
    return vectors[:, :-1], vectors[:, 1:]


def make_two_sequence(
    n_samples: int = 100, *, length: int = 100, n_informative: int = 3, noisy: bool = False, random_state: Any = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The two-sequence problem: the first steps tell the class, the rest is noise (experiments 3a and 3b of [1]_).

    Parameters
    ----------
    n_samples : int, at least 1, default 100
        Number of sequences.
    length : int, at least 2, default 100
        Steps of the shortest sequences; the longest have a tenth more.
    n_informative : int, at least 1 and below `length`, default 3
        Steps at the beginning that are 1 in class 1 and -1 in class 0. All others are drawn from a normal distribution
        with mean 0 and variance 0.2.
    noisy : bool, default False
        Whether such noise is also added to the first steps: experiment 3b.
    random_state : int, numpy.random.Generator or None, default None
        Where random numbers come from; with an int, each call gives the same data.

    Returns
    -------
    X : list of float32 array, shape (T_i, 1)
    y : int64 array, shape (n_samples,)
        The class, 0 or 1.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Notes
    -----
    A sequence counts as right if the error is below 0.2. The problem is from [2]_.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, section 5.3.
    .. [2] Y. Bengio, P. Simard, P. Frasconi, "Learning Long-Term Dependencies with Gradient Descent is Difficult",
       1994.

    Examples
    --------
    >>> from numlstm.datasets import make_two_sequence
    >>> X, y = make_two_sequence(3, random_state=0)
    >>> print(X[0][:3, 0], y[0])
    [-1. -1. -1.] 0
    """
    count, shortest = check_integer(n_samples, "n_samples", 1), check_integer(length, "length", 2)
    if check_integer(n_informative, "n_informative", 1) >= shortest:
        raise ValueError(f"n_informative must be below length={shortest}, got {n_informative}")
    rng = check_rng(random_state, "random_state")
    lengths, y = random_lengths(rng, count, shortest), rng.integers(0, 2, count)
    padded = rng.normal(0.0, 0.2**0.5, (count, lengths.max(), 1)).astype(np.float32)
    signal = (2.0 * y - 1.0)[:, None, None]
    start = padded[:, :n_informative]
    start[...] = signal + (start if check_flag(noisy, "noisy") else 0.0)
    return cut(padded, lengths), y
