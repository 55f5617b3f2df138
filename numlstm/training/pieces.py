"""Pieces of long sequences for truncated back-propagation through time: the state goes on from piece to piece.

The gradient of a piece ends at its first step (Williams & Peng 1990; Mikolov et al. 2010).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from .data import Data


@dataclass(slots=True)
class Piece:
    """Sequences, or pieces of them, that a network trains on together.

    Attributes
    ----------
    data : Data
    rows : array, shape (N,)
        The sequences of `data`.
    last : bool
        Whether no piece of the same sequences follows.
    initial : list or None
        The states that the piece begins with, of each layer and direction; None for zeros.
    final : list or None
        The states after the piece. Whoever trains on a piece that is not the last one sets them.
    """

    data: Data
    rows: np.ndarray
    last: bool = True
    initial: list[tuple[Any, ...]] | None = None
    final: list[tuple[Any, ...]] | None = None


def whole(data: Data, batches: list[np.ndarray]) -> list[Piece]:
    """Batches of whole sequences."""
    return [Piece(data, rows) for rows in batches]


def pieces(data: Data, batches: list[np.ndarray], steps: int) -> Iterator[list[Piece]]:
    """The first pieces of all batches, of at most so many steps, then the second pieces, and so on."""
    for group in zip_longest(*(_pieces_of(data, rows, steps) for rows in batches)):
        yield [piece for piece in group if piece is not None]


def count(lengths: np.ndarray, batch_size: int, steps: int) -> int:
    """About how many pieces batches of sequences have; exactly, if the lengths are equal."""
    longest = np.sort(lengths)[::-1][::batch_size]
    return int((-(-longest // steps)).sum())


def _pieces_of(data: Data, rows: np.ndarray, steps: int) -> Iterator[Piece]:
    """The pieces of some sequences; those that go on come first, so their states are the first rows of all states."""
    lengths = data.sequences.lengths[rows]
    rows = rows[np.argsort(-lengths, kind="stable")]
    states = None
    for start in range(0, int(lengths.max()), steps):
        going_on = rows[: np.count_nonzero(lengths > start)]
        initial = states and [tuple(state[: len(going_on)] for state in layer) for layer in states]
        last = start + steps >= lengths.max()
        piece = Piece(data.window(going_on, start, steps), np.arange(len(going_on)), last, initial)
        yield piece
        states = piece.final
