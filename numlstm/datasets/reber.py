"""The embedded Reber grammar: strings whose last symbol but one repeats the second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..checks import check_integer, check_rng
from .drawing import one_hot

SYMBOLS = "BTPSXVE"
REBER = {  # for each state, the symbols that may follow, and the state after each symbol
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
}
START, CHOICE, BRANCH, LAST = 0, 1, 2, 18  # a branch has 8 states: those of a Reber string, and the end of it


class SymbolSequences(NamedTuple):
    """Strings, and the symbols that may follow each of their symbols.

    Attributes
    ----------
    X : array, or list of array, shape (T_i, 7)
        Symbols as vectors with one 1, in the order of `SYMBOLS`.
    y : array, or list of array, shape (T_i, 7)
        The symbol that follows.
    legal : bool array, or list of bool array, shape (T_i, 7)
        All symbols that may follow.
    """

    X: Any
    y: Any
    legal: Any


def make_embedded_reber(
    n_samples: int = 256, *, exclude: Sequence[np.ndarray] = (), random_state: Any = None
) -> SymbolSequences:
    """Strings of the embedded Reber grammar: predict the next symbol (experiment 1 of [1]_).

    A string is B, then T or P, a Reber string, the same T or P again, and E. Where two symbols may follow, each does
    with probability 0.5.

    Parameters
    ----------
    n_samples : int, at least 1, default 256
        Number of strings.
    exclude : list of array, shape (T_i, 7), default ()
        Strings that must not occur, such as `X` of an earlier call: this keeps test strings separate from training
        strings.
    random_state : int, numpy.random.Generator or None, default None
        Where random numbers come from; with an int, each call gives the same data.

    Returns
    -------
    SymbolSequences
        Lists of arrays (T_i, 7): all symbols but the last, E; the symbol that follows each; and those that may follow.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Notes
    -----
    A string counts as right if at every step the outputs of all symbols that may follow are the largest.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, section 5.1.

    Examples
    --------
    >>> from numlstm.datasets import SYMBOLS, make_embedded_reber
    >>> X, y, legal = make_embedded_reber(3, random_state=1)
    >>> for x in X:
    ...     print("".join(SYMBOLS[k] for k in x.argmax(axis=1)) + "E")
    BPBPTTVVEPE
    BTBTSXSETE
    BPBPTTVPXTTVPXTVPSEPE
    """
    count, rng = check_integer(n_samples, "n_samples", 1), check_rng(random_state, "random_state")
    known = {np.argmax(string, axis=1).tobytes() for string in exclude}
    symbols: list[np.ndarray] = []
    states: list[np.ndarray] = []
    while len(symbols) < count:
        walk_states, walk_symbols = _walk(rng, 16 * count)
        ends = np.flatnonzero(walk_states == LAST)
        for first, last in zip([0, *ends[:-1] + 1], ends, strict=True):
            string = walk_symbols[first : last + 1]
            if string[:-1].tobytes() not in known:
                symbols.append(string)
                states.append(walk_states[first : last + 1])
    symbols, states = symbols[:count], states[:count]
    legal = _legal()
    strings = [one_hot(string, len(SYMBOLS)) for string in symbols]
    return SymbolSequences([string[:-1] for string in strings], [string[1:] for string in strings],
                           [legal[path[1:]] for path in states])  # fmt: skip


def make_continual_reber(n_samples: int = 1, *, length: int = 1000, random_state: Any = None) -> SymbolSequences:
    """Streams of embedded Reber strings, one directly after the other: predict the next symbol [1]_.

    There is no mark where a string begins: a network must forget the last string by itself.

    Parameters
    ----------
    n_samples : int, at least 1, default 1
        Number of streams.
    length : int, at least 1, default 1000
        Symbols of each stream. A stream begins with a string, and may end within one.
    random_state : int, numpy.random.Generator or None, default None
        Where random numbers come from; with an int, each call gives the same data.

    Returns
    -------
    SymbolSequences
        Arrays (n_samples, length, 7).

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as described.

    Notes
    -----
    A network solves the task if it predicts a stream of 10⁶ symbols without a mistake.

    References
    ----------
    .. [1] F. Gers, J. Schmidhuber, F. Cummins, "Learning to Forget: Continual Prediction with LSTM", 2000.

    Examples
    --------
    >>> from numlstm.datasets import SYMBOLS, make_continual_reber
    >>> X, y, legal = make_continual_reber(length=40, random_state=1)
    >>> "".join(SYMBOLS[k] for k in X[0].argmax(axis=1))
    'BPBPTTVVEPEBTBTSXSETEBPBPTTVPXTTVPXTVPSE'
    """
    count, steps = check_integer(n_samples, "n_samples", 1), check_integer(length, "length", 1)
    rng = check_rng(random_state, "random_state")
    walks = [_walk(rng, steps + 1) for _ in range(count)]
    states, symbols = (np.stack(rows) for rows in zip(*walks, strict=True))
    vectors = one_hot(symbols, len(SYMBOLS))
    return SymbolSequences(vectors[:, :-1], vectors[:, 1:], _legal()[states[:, 1:]])


def _edges() -> list[list[tuple[int, int]]]:
    """For each state of the embedded grammar, the symbols that may follow and the states after them."""
    edges: list[dict[str, int]] = [{"B": CHOICE}, {"T": BRANCH, "P": BRANCH + 8}]
    for symbol, first in edges[CHOICE].items():
        edges += [{after: first + state for after, state in REBER[k].items()} for k in REBER]
        edges.append({symbol: LAST})
    edges.append({"E": START})
    return [[(SYMBOLS.index(symbol), state) for symbol, state in choices.items()] for choices in edges]


def _walk(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """A random walk through the grammar: the state before each symbol, and the symbol."""
    edges, state = _edges(), START
    states, symbols = np.empty(steps, np.int64), np.empty(steps, np.int64)
    for step, coin in enumerate(rng.integers(0, 2, steps).tolist()):
        states[step] = state
        symbols[step], state = edges[state][coin % len(edges[state])]
    return states, symbols


def _legal() -> np.ndarray:
    """Which symbols may follow in each state."""
    legal = np.zeros((LAST + 1, len(SYMBOLS)), bool)
    for state, edges in enumerate(_edges()):
        legal[state, [symbol for symbol, _ in edges]] = True
    return legal
