"""A layer that is ready to compute: its weights, and memory that is kept from call to call."""

from __future__ import annotations

import math

import numpy as np

from ....concurrency import cached_property
from ..machine.arrays import aligned
from .batch import Batch, groups_of
from .lookup import LookupMemory
from .tables import ForwardTables
from .weights import LayerWeights

BATCHES_KEPT = 32  # shapes of batches in training; they share their memory
SPARE_BYTES = 1 << 29  # memory of calls that is kept for later ones: new pages take as long as their steps
SPARE_SHAPES, SPARE_CALLS = 8, 2  # of so many shapes, for so many calls at once


class PreparedLayer:
    """Weights, the tables that kernels find them by, and memory for batches, which is kept from call to call.

    Parameters
    ----------
    weights : LayerWeights
    lookup : LookupMemory or None
        Where inputs are rows of a table, what stands for the input weights.
    arena : dict or None
        Memory that batches share in training.
    """

    def __init__(
        self, weights: LayerWeights, lookup: LookupMemory | None = None, arena: dict[str, np.ndarray] | None = None
    ) -> None:
        self.weights, self.lookup = weights, lookup
        self._kept: dict[tuple[int, int, int], Batch] = {}
        self._idle: dict[tuple[int, ...], list[Batch]] = {}
        self._arena: dict[str, np.ndarray] = {} if arena is None else arena
        self._looking_up: dict[int, PreparedLayer] = {}

    def looking_up(self, count: int) -> PreparedLayer:
        """The layer for inputs that are rows of a table of so many rows."""
        if count not in self._looking_up:
            memory = LookupMemory(self.weights, count, self.allocate)
            self._looking_up[count] = PreparedLayer(self.weights, memory, self._arena)
        return self._looking_up[count]

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        self.weights.refresh()

    @cached_property
    def tables(self) -> ForwardTables:
        """The tables that the forward kernel finds the weights by."""
        return ForwardTables(self.weights, self.lookup.products if self.lookup else None)

    def allocate(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Memory to work in; in training, batches of all shapes share it, and it grows when one needs more."""
        dtype = self.weights.flat.dtype
        if not self.weights.training:
            return aligned(shape, dtype)
        size = math.prod(shape)
        if name not in self._arena or self._arena[name].size < size:
            self._arena[name] = aligned(size, dtype)
        return self._arena[name][:size].reshape(shape)

    def groups_of(self, rows: int, steps: int, training: bool) -> int:
        """The number of groups that the rows of a batch are in; in training, whatever the number of threads."""
        team = not training and self.weights.team_of(rows, steps) > 1
        return 1 if team or self.lookup else groups_of(self.weights, rows, steps)

    def acquire(self, rows: int, steps: int, groups: int, training: bool, keep: bool) -> Batch:
        """Memory for a batch of a shape: in training kept from call to call, else for this call alone."""
        if not (training and self.weights.training):
            idle = self._idle.get((rows, steps, groups, training, keep))
            try:
                return idle.pop() if idle else Batch(self, rows, steps, groups, training, keep)
            except IndexError:  # another thread took the last one
                return Batch(self, rows, steps, groups, training, keep)
        shape = rows, steps, groups
        if shape not in self._kept:
            while len(self._kept) >= BATCHES_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[shape] = Batch(self, rows, steps, groups, training, keep)
        return self._kept[shape]

    def release(self, batch: Batch) -> None:
        """Keep the memory of a call for later ones, in place of others if it is too much."""
        if batch.kept or batch.nbytes > SPARE_BYTES:
            return
        spare = sum(other.nbytes for others in list(self._idle.values()) for other in list(others))
        if spare + batch.nbytes > SPARE_BYTES or len(self._idle | {batch.shape: ()}) > SPARE_SHAPES:
            self._idle.clear()
        idle = self._idle.setdefault(batch.shape, [])
        if len(idle) < SPARE_CALLS:
            idle.append(batch)
