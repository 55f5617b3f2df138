"""Arrays that calls know by their addresses, and others in their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from .arrays import address_of
from .recording import Aside


class MachineCalls:
    """Calls of machine code that can be made again.

    Parameters
    ----------
    run : callable
        Makes them.
    known : sequence
        All integers that they read, in nested sequences.
    others : sequence of callable
        What `run` calls besides.
    """

    def __init__(self, run: Callable[[], Any], known: Sequence[Any], others: Sequence[Callable[[], Any]] = ()) -> None:
        self.run, self.known, self.others = run, known, others

    def __call__(self) -> Any:
        return self.run()


def mover(calls: Sequence[Callable[[], Any]], array: np.ndarray) -> Callable[[np.ndarray], None] | None:
    """What puts another array in the place of one that calls read or write.

    It writes the address of the other array wherever these calls have an address inside of the first one. The other
    has the same shape and dtype, and is C-contiguous. None if a call knows the array by more than addresses.
    """
    start = address_of(array)
    end, places = start + array.nbytes, []
    for call in calls:
        if not isinstance(call, MachineCalls) or any(_refers(other, array) for other in call.others):
            return None
        for table in _tables(call.known):
            places += [(table, k, int(table[k]) - start) for k in np.flatnonzero((table >= start) & (table < end))]

    def move(other: np.ndarray) -> None:
        address = address_of(other)
        for table, k, offset in places:
            table[k] = address + offset

    return move


def _tables(known: Any) -> Iterator[np.ndarray]:
    """The integers in nested sequences, as flat views."""
    if isinstance(known, tuple | list):
        for each in known:
            yield from _tables(each)
    elif isinstance(known, np.ndarray) and (known.dtype == np.int64 or known.dtype.names):
        yield known.reshape(-1).view(np.int64)


def _refers(value: Any, array: np.ndarray) -> bool:
    """Whether a call, or one of its arguments, may read or write the array."""
    if isinstance(value, Aside):
        return False
    if isinstance(value, partial):
        return any(_refers(each, array) for each in (value.func, *value.args, *value.keywords.values()))
    if isinstance(value, tuple | list):
        return any(_refers(each, array) for each in value)
    if isinstance(value, int):
        return 0 <= value - address_of(array) < array.nbytes
    owner = getattr(value, "__self__", value)  # of a method of an array
    if isinstance(owner, np.ndarray):
        return np.may_share_memory(owner, array)
    return not (isinstance(value, np.ufunc | np.dtype | float | str) or getattr(value, "__module__", "") == "numpy")
