"""The temporal order problem: in which order did two symbols come?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_integer, check_rng
from .drawing import cut, one_hot

PLACES = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
DISTRACTORS, X, START, TRIGGER = 4, 4, 6, 7  # a, b, c, d are 0 to 3; Y is 5


def make_temporal_order(
    n_samples: int = 100, *, n_symbols: int = 2, random_state: Any = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The temporal order problem: classes are orders of symbols far apart (experiments 6a and 6b of [1]_).

    A sequence has 100 to 110 symbols: E, then symbols drawn among a, b, c and d, and B at the end. At some steps there
    is an X or a Y instead: with two of them between steps 10 and 20, and 50 and 60; with three between steps 10 and 20,
    33 and 43, and 66 and 76.

    Parameters
    ----------
    n_samples : int, at least 1, default 100
        Number of sequences.
    n_symbols : {2, 3}, default 2
        How many X and Y there are: 2 in experiment 6a, 3 in 6b.
    random_state : int, numpy.random.Generator or None, default None
        Where random numbers come from; with an int, each call gives the same data.

    Returns
    -------
    X : list of float32 array, shape (T_i, 8)
        Vectors with one 1, for a, b, c, d, X, Y, E and B.
    y : int64 array, shape (n_samples,)
        The class: 0 for X, X; 1 for X, Y; 2 for Y, X; 3 for Y, Y; likewise from 0 to 7 for three symbols.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Notes
    -----
    A sequence counts as right if the error of every output, one for each class, is below 0.3.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, section 5.6.

    Examples
    --------
    >>> from numlstm.datasets import make_temporal_order
    >>> X, y = make_temporal_order(3, random_state=0)
    >>> symbols = X[0].argmax(axis=1)
    >>> print("".join("abcdXYEB"[k] for k in symbols if k > 3), y[0])
    EXYB 1
    """
    count = check_integer(n_samples, "n_samples", 1)
    if check_integer(n_symbols, "n_symbols", 2) not in PLACES:
        raise ValueError(f"n_symbols must be 2 or 3, got {n_symbols}")
    rng = check_rng(random_state, "random_state")
    rows, lengths = np.arange(count), rng.integers(100, 111, count)
    symbols = rng.integers(0, DISTRACTORS, (count, 110))
    symbols[:, 0], symbols[rows, lengths - 1] = START, TRIGGER
    y = np.zeros(count, np.int64)
    for earliest, latest in PLACES[n_symbols]:
        choices = rng.integers(0, 2, count)
        symbols[rows, rng.integers(earliest, latest + 1, count)] = X + choices
        y = 2 * y + choices
    return cut(one_hot(symbols, 8), lengths), y
