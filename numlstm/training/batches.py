"""Batches of sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """Padded sequences with their lengths.

    Attributes
    ----------
    x : array, shape (N, T, D)
    lengths : int64 array, shape (N,), or None
        None where all have T steps.
    """

    x: np.ndarray
    lengths: np.ndarray | None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray | slice) -> Sequences:
        """Some of the sequences, padded no further than the longest of them."""
        if self.lengths is None:
            return Sequences(self.x[rows], None)
        lengths = self.lengths[rows]
        longest = lengths.max()
        return Sequences(self.x[rows, :longest], None if (lengths == longest).all() else lengths)


def shuffled(count: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of all samples in random order, `batch_size` at a time."""
    order = rng.permutation(count)
    for start in range(0, count, batch_size):
        yield order[start : start + batch_size]
