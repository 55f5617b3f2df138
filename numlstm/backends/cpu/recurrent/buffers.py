"""What kernels work in, for batches of one shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ....concurrency import cached_property
from ...contract import Noise
from ..linear.gradients import ColumnSums, Outer, OuterSums
from ..linear.halves import row_bytes
from ..linear.tile import product_address
from ..machine import threads
from ..machine.arrays import address_of, aligned
from ..machine.target import TILE_VECTORS
from ..machine.team import Team, synchronisation
from .arguments import Chunk, Gradients, Memory, Records, Shape
from .masks import MASK_FIELDS, mask_table
from .packing import PhaseBlocks
from .tables import BackwardTables, ForwardTables, batched
from .weights import LayerWeights

BUFFERS_KEPT = 32  # shapes of batches in training; they share their memory
SPARE_BYTES = 1 << 18  # the largest memory of a call that is kept for the next
SPARE_SHAPES, SPARE_EACH = 8, 2  # of so many shapes, for so many calls at once
NOTHING = np.zeros((1, 0), np.int64)
NO_MASKS = np.zeros((0, MASK_FIELDS), np.int64)
CHUNK_BYTES = 1 << 23  # of gate gradients between two sums of weight gradients: they stay in the last cache,
CHUNK_ROWS = 512  # (step, row) pairs, or more: threads are not to meet too often

Piece = tuple[Chunk, np.ndarray, int]  # a chunk, the number of the first pair of each of its steps, and its pairs


class PreparedLayer:
    """Weights, the tables that tell of them, and memory for batches, which is kept from call to call.

    Parameters
    ----------
    weights : LayerWeights
    """

    def __init__(self, weights: LayerWeights) -> None:
        self.weights = weights
        self._kept: dict[tuple[int, int], Buffers] = {}
        self._idle: dict[tuple[int, int, bool, bool], list[Buffers]] = {}
        self._arena: dict[str, np.ndarray] = {}

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        self.weights.refresh()

    @cached_property
    def tables(self) -> ForwardTables:
        """What tells the forward kernel of the weights."""
        return ForwardTables(self.weights)

    def memory(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Memory to work in: in training, batches of all shapes have the same, which grows as it must."""
        dtype = self.weights.flat.dtype
        if not self.weights.training:
            return aligned(shape, dtype)
        size = math.prod(shape)
        if name not in self._arena or self._arena[name].size < size:
            self._arena[name] = aligned(size, dtype)
        return self._arena[name][:size].reshape(shape)

    def acquire(self, rows: int, steps: int, training: bool, keep: bool) -> Buffers:
        """Memory for a batch of a shape: kept from call to call in training, of the call's own otherwise."""
        if not (training and self.weights.training):
            idle = self._idle.get((rows, steps, training, keep))
            try:
                return idle.pop() if idle else Buffers(self, rows, steps, training, keep)
            except IndexError:  # another thread was quicker
                return Buffers(self, rows, steps, training, keep)
        if (rows, steps) not in self._kept:
            while len(self._kept) >= BUFFERS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[rows, steps] = Buffers(self, rows, steps, training, keep)
        return self._kept[rows, steps]

    def release(self, buffers: Buffers) -> None:
        """Keep a call's memory for later ones, if it is small."""
        if buffers.values.nbytes > SPARE_BYTES or buffers.kept:
            return
        if buffers.shape not in self._idle and len(self._idle) >= SPARE_SHAPES:
            self._idle.clear()
        idle = self._idle.setdefault(buffers.shape, [])
        if len(idle) < SPARE_EACH:
            idle.append(buffers)


class Buffers:
    """Memory that the forward kernel works in, for batches of one shape."""

    def __init__(self, prepared: PreparedLayer, rows: int, steps: int, training: bool, keep: bool) -> None:
        weights = prepared.weights
        self.prepared, self.weights, self.rows, self.steps = prepared, weights, rows, steps
        self.shape, self.kept = (rows, steps, training, keep), training and weights.training
        packing = weights.packing
        kept = steps + 1 if training else 2
        size = packing.record_sizes[keep]
        self.values = prepared.memory("values", (kept, rows, size))
        row = size * weights.flat.itemsize
        slot = packing.groups * weights.vector
        self.records = Records(
            address_of(self.values), row, rows * row, slot, -1 if training else 1, int(keep), 0, steps
        )  # fmt: skip
        columns = packing.sums_columns
        self.sums = prepared.memory("sums", (rows, columns)) if columns else NOTHING
        self.parts = weights.team_of(rows, steps)
        self.room = np.empty((self.parts, 1 + len(prepared.tables.sources), rows), np.int64)
        self.synchronisation = synchronisation(self.parts)
        self.halves = self._room_for_halves()
        memory = Memory(
            address_of(self.room), 8 * rows, address_of(self.sums) if columns else 0, self.sums.strides[0],
            address_of(self.halves) if self.halves.size else 0, self.halves.shape[-1],
        )  # fmt: skip
        self.memory = Shape(steps, packing.spec.input_size, packing.groups), memory
        self.crew = Team(self.parts, rows, address_of(self.synchronisation))

    def _room_for_halves(self) -> np.ndarray:
        """Rounded rows of everything that weights multiply: (parts, sources and x, N, bytes)."""
        blocks = self.weights.halves
        if not blocks:
            return np.empty((0, 0), np.uint8)
        row = row_bytes(max(block.inputs for block in blocks), self.weights.packing.lanes)
        return aligned((*self.room.shape, row), np.uint8)

    def team(self) -> Sequence[threads.Shard]:
        """The parts of a team, for a new call; none where there is no team."""
        if self.parts == 1:
            return ()
        self.synchronisation[:] = 0
        return [(part, part + 1) for part in range(self.parts)]

    @cached_property
    def final(self) -> tuple[np.ndarray, ...]:
        """Final states."""
        return new_states(self.weights, self.rows)

    @cached_property
    def backward(self) -> BackwardBuffers:
        """Memory for the way back."""
        return BackwardBuffers(self)

    def masks(self, noise: Noise | None) -> np.ndarray:
        """The table of masks."""
        masks, weights = self.weights.packing.cell.masks, self.weights
        if not masks:
            return NO_MASKS
        return mask_table(
            masks, noise, address_of(self.keys), self.rows, address_of(weights.mask_values), weights.vector
        )

    @cached_property
    def keys(self) -> np.ndarray:
        """Room for the keys of all masks and rows."""
        return np.empty((len(self.weights.packing.cell.masks), self.rows), np.int64)


class BackwardBuffers:
    """Memory for the way back: gate gradients of a chunk of steps, what is carried on, and the tables."""

    def __init__(self, buffers: Buffers) -> None:
        prepared, weights, rows = buffers.prepared, buffers.weights, buffers.rows
        packing = weights.packing
        self.weights, self.rows, self.steps = weights, rows, buffers.steps
        bytes_each = sum(phase.columns for phase in packing.phases) * weights.flat.itemsize
        self.span = min(buffers.steps, max(1, max(CHUNK_ROWS, CHUNK_BYTES // max(1, bytes_each)) // rows))
        self.room = rows * self.span
        states = len(packing.cell.states)
        count = 2 * states + len(packing.slots.handed_on)
        carried = prepared.memory("carried", (rows, count, packing.groups * packing.lanes))
        self.carried = carried, Gradients(address_of(carried), *carried.strides[:2])
        self.xs = np.empty(self.room, np.int64)
        self.room_for_places = np.empty((buffers.parts, 2, rows), np.int64)
        self.tables = BackwardTables(weights, prepared.tables, prepared.memory, rows, self.room, self.xs)
        gates = self.tables.gates
        self.memory = (
            address_of(self.xs), address_of(gates), gates.strides[0], self.tables.input_columns,
            address_of(buffers.sums), buffers.sums.strides[0], address_of(self.room_for_places),
            address_of(self.room_for_places) + 8 * rows, 16 * rows, product_address(weights.real, TILE_VECTORS),
        )  # fmt: skip
        self.copies: list[tuple[slice, slice]] = []  # parts of the gradient, and others that are the same
        outers = [each for index, blocks in enumerate(packing.phases) for each in self._outers(index, blocks)]
        sums = [OuterSums(weights.real, pair, self.room) for pair in batched(outers)]
        unit_sums = [ColumnSums(weights.real, *part) for parts in self.tables.parts for part in parts]
        self.sums: list[OuterSums | ColumnSums] = [*sums, *unit_sums]  # what makes the gradient of all parameters

    def _outers(self, index: int, blocks: PhaseBlocks) -> Iterator[Outer]:
        """Sums for the weights and biases of a phase; biases of the same gates have the same gradient."""
        size, tables = self.weights.flat.itemsize, self.tables
        for number, copies in enumerate(tables.copies[index]):
            products = [each for each in blocks.products if each.side == number]
            biases = [each.bias for each in products if each.bias]
            for each in products:
                bias = biases[0].start * size if biases and each.bias is biases[0] else -1
                rows = address_of(tables.sources[index, each.source])
                yield Outer(each.weight, each.weight.start * size, bias, rows, address_of(copies))
            for other in biases[1:]:
                self.copies.append((slice(biases[0].start, biases[0].end), slice(other.start, other.end)))

    @cached_property
    def dinitial(self) -> tuple[np.ndarray, ...]:
        """Gradients of the initial states."""
        return new_states(self.weights, self.rows)

    @cached_property
    def full_chunks(self) -> list[Piece]:
        """The chunks of a batch whose rows all have all steps."""
        return self.full_chunks_of(0, self.steps)

    def full_chunks_of(self, first: int, last: int) -> list[Piece]:
        """The same of some of the steps."""
        return [
            (chunk, self.rows * np.arange(chunk.last - chunk.first), self.rows * (chunk.last - chunk.first))
            for chunk in self.chunks(first, last)
        ]

    def ragged_chunks(self, lengths: np.ndarray, first: int, last: int) -> list[Piece]:
        """Chunks of the steps first <= s < last of rows of unequal lengths; no empty ones."""
        active = np.searchsorted(-lengths, -np.arange(first, last), side="left")  # rows longer than s
        made = []
        for chunk in self.chunks(first, last):
            counts = active[chunk.first - first : chunk.last - first]
            if counts[0]:
                made.append((chunk, np.cumsum(counts) - counts, int(counts.sum())))
        return made

    def chunks(self, first: int, last: int) -> list[Chunk]:
        """Chunks of some steps, the last first."""
        ends = range(last, first, -self.span)
        return [Chunk(max(first, end - self.span), end, self.room, *self.memory) for end in ends]


def new_states(weights: LayerWeights, rows: int) -> tuple[np.ndarray, ...]:
    """New arrays (N, .) for states."""
    return tuple(np.empty((rows, size), weights.flat.dtype) for size in weights.packing.spec.state_sizes)
