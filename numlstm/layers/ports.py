"""Arrays of a caller in the places of those that repeated calls were made for; or copies, where they cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..backends.contract import Array, Backend

WORTH = 1 << 12  # numbers that take longer to copy than to put an array in the place of another


class Port:
    """An array (N, T, .) that repeated calls read or write.

    Parameters
    ----------
    backend : Backend
    calls : sequence of callable
        All that read or write it, as `Backend.mover` takes them.
    array : array
        The one that they were made for.
    """

    def __init__(self, backend: Backend, calls: Sequence[Callable[[], object]], array: Array) -> None:
        self._backend, self._array = backend, array
        self._move = backend.mover(calls, array) if array.size >= WORTH else None


class Input(Port):
    """An array that repeated calls read."""

    def take(self, given: np.ndarray) -> np.ndarray:
        """Let the next calls read what `given` holds, (N, T, .) or (T, .). The result must live until they have."""
        if self._move is None:
            self._array[...] = given if given.ndim == 3 else given[None]
        else:
            given = np.ascontiguousarray(given)
            self._move(given)
        return given


class Output(Port):
    """An array that repeated calls overwrite."""

    def renew(self) -> None:
        """Let the next calls write to a new array."""
        if self._move:
            self._array = np.empty(self._array.shape, self._array.dtype)
            self._move(self._array)

    def result(self) -> np.ndarray:
        """What they have written, which stays as it is."""
        return self._array if self._move else self._backend.to_numpy(self._array).copy()
