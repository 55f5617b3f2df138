"""The memory for a batch, whose rows are in groups.

Each group has memory of its own, and gradients of the weights that are summed over its rows alone; the sums of all
groups are added at the end. So threads that take a group each write to no lines that others read. That costs most
where networks are small: a line that two cores hold takes as long to write as many products. Groups follow from the
shape of a batch, whatever the number of threads, as sums are to have the same bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ....concurrency import cached_property
from ...contract import Noise
from ..linear.gradients import PartialSums
from ..linear.tile import ROWS_TOGETHER
from ..machine import threads
from ..machine.arrays import Arguments
from .buffers import Buffers, Layer, Piece, chunk_steps, new_states
from .weights import LayerWeights, Transposes

GROUPS = 2
GROUP_FLOP = 4e6  # least work of a batch forward
GROUP_PAIRS = 64  # least pairs of a step and a row, whose gradients are summed before groups are added
GROUP_BYTES, BYTES_PER_ROW = 1 << 21, 1 << 18  # most weights, and most for each row: every group reads them all
Rows = tuple[np.ndarray, np.ndarray]  # numbers of rows in the batch, the longest first, and their lengths


def groups_of(weights: LayerWeights, rows: int, steps: int) -> int:
    """The number of groups of a batch."""
    pairs, size = rows * steps, weights.flat.nbytes
    enough = rows >= GROUPS * ROWS_TOGETHER and pairs >= GROUP_PAIRS and pairs * weights.step_flop >= GROUP_FLOP
    return GROUPS if enough and size <= min(GROUP_BYTES, rows * BYTES_PER_ROW) else 1


def is_shared(weights: LayerWeights, rows: int, steps: int) -> bool:
    """Whether threads share the steps of a batch."""
    return weights.team_of(rows, steps) > 1 or _parts(rows, rows * steps * weights.step_flop) > 1


def _parts(rows: int, flop: float) -> int:
    """The number of threads that share rows."""
    return threads.parts_for(rows, flop, ROWS_TOGETHER)


class Batch:
    """Memory for batches of one shape.

    Parameters
    ----------
    prepared : Layer
    rows, steps : int
    groups : int
    training, keep : bool
        Whether the way back follows; whether values are kept that no phase needs forward.
    """

    def __init__(self, prepared: Layer, rows: int, steps: int, groups: int, training: bool, keep: bool) -> None:
        self.prepared, self.weights, self.rows, self.steps = prepared, prepared.weights, rows, steps
        self.shape, self.kept = (rows, steps, groups, training, keep), training and self.weights.training
        pairs_of_rows = np.arange(rows) // ROWS_TOGETHER
        self._members = [np.flatnonzero(pairs_of_rows % groups == k) for k in range(groups)]
        self._sizes = tuple(map(len, self._members))
        self.parts = self.weights.team_of(rows, steps) if groups == 1 else 1
        span = chunk_steps(self.weights, rows, steps)
        self.groups = [
            Buffers(prepared, size, steps, span, self.parts, k, training, keep) for k, size in enumerate(self._sizes)
        ]
        self.calls: dict[Any, list[Arguments]] = {}
        self.calls_back: dict[Any, list[Arguments]] = {}
        self._all_rows: dict[int, list[Rows]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all memory but that for addresses."""
        return sum(group.nbytes for group in self.groups)

    def all_rows(self, steps: int) -> list[Rows]:
        """The rows of each group, where all have so many steps."""
        if steps not in self._all_rows:
            orders = np.split(np.arange(self.rows), np.cumsum(self._sizes)[:-1])
            self._all_rows[steps] = [(order, np.full(len(order), steps)) for order in orders]
        return self._all_rows[steps]

    def new_rows(self) -> list[Rows]:
        """Arrays for the rows of each group."""
        return [(np.empty(size, np.int64), np.empty(size, np.int64)) for size in self._sizes]

    def sort(self, lengths: np.ndarray, rows: list[Rows]) -> None:
        """Write the rows of each group, longest first; groups have about the same number of steps."""
        by_length = np.argsort(-lengths, kind="stable")
        for members, (order, of_rows) in zip(self._members, rows, strict=True):
            by_length.take(members, out=order)
            lengths.take(order, out=of_rows)

    def masks(self, noise: Noise | None) -> list[np.ndarray]:
        """The table of masks of each group."""
        return [group.masks(noise) for group in self.groups]

    @cached_property
    def final(self) -> tuple[np.ndarray, ...]:
        """Final states."""
        return new_states(self.weights, self.rows)

    @cached_property
    def dinitial(self) -> tuple[np.ndarray, ...]:
        """Gradients of the initial states."""
        return new_states(self.weights, self.rows)

    @property
    def transposes(self) -> list[Transposes]:
        """The transposed weights that the groups read."""
        return list(dict.fromkeys(group.backward.transposes for group in self.groups))

    @cached_property
    def partial(self) -> PartialSums:
        """The gradients of all groups but the first, whose sums go where the sum of all goes."""
        size = self.weights.packing.used
        arrays = [group.allocate("gradient", (size,)) for group in self.groups[1:]]
        return PartialSums(self.weights.real, arrays)

    @cached_property
    def full_pieces(self) -> list[tuple[Piece, ...]]:
        """The chunks of a batch whose rows all have all steps."""
        pieces = self.pieces(0, self.steps)
        number(pieces, self.all_rows(self.steps))
        return pieces

    def pieces(self, first: int, last: int) -> list[tuple[Piece, ...]]:
        """The chunks of the steps first <= s < last, the last first, each as a piece of every group."""
        of_groups = [group.backward.pieces(group.records._replace(first=first, last=last)) for group in self.groups]
        return list(zip(*of_groups, strict=True))

    def full_shards(self, steps: int, flop_per_step: float) -> Sequence[Sequence[threads.Shard]]:
        """The shards of each group, for so many steps of all rows."""
        if self.parts > 1:
            return [group.team_shards() for group in self.groups]
        return _full_shards(self._sizes, _parts(self.rows, self.rows * steps * flop_per_step))

    def shards(
        self, rows: Sequence[Rows], first: int, last: int, flop_per_step: float
    ) -> Sequence[Sequence[threads.Shard]]:
        """The same for the steps first <= s < last of rows of unequal length."""
        if self.parts > 1:
            return [group.team_shards() for group in self.groups]
        steps = [np.clip(lengths - first, 0, last - first) for _, lengths in rows]
        parts = _parts(self.rows, flop_per_step * sum(int(each.sum()) for each in steps))
        each_has = threads.parts_of_each(parts, len(steps))
        return [row_shards(each, each_has) if each_has > 1 else ((0, len(each)),) for each in steps]


def number(pieces: Sequence[tuple[Piece, ...]], rows: Sequence[Rows]) -> None:
    """Number the pairs of chunks, where groups have these rows."""
    for of_groups in pieces:
        for piece, (_, lengths) in zip(of_groups, rows, strict=True):
            piece.number(lengths)


@lru_cache(maxsize=256)
def _full_shards(rows: tuple[int, ...], parts: int) -> list[Sequence[threads.Shard]]:
    """The shards of groups of so many rows; they must not be changed."""
    each = threads.parts_of_each(parts, len(rows))
    return [threads.split(count, each, ROWS_TOGETHER) for count in rows]


def row_shards(lengths: np.ndarray, parts: int) -> Sequence[threads.Shard]:
    """Split rows, the longest first, into so many shards of pairs of rows, or fewer, with equal work."""
    rows, total, unit = len(lengths), np.cumsum(lengths), ROWS_TOGETHER
    inner = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts) + 1
    edges = [0, *(min(rows, unit * round(edge / unit)) for edge in inner.tolist()), rows]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]
