"""A recurrent layer in one direction on the CPU: buffers, shards, and calls of the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from . import threads
from .arguments import Chunk, Gradients, Panels, Records, Rows, Shape, Transposed, address_of, aligned, rows_of
from .backward import backward
from .forward import forward
from .gradients import add_products
from .packing import LayerPacking
from .products import transpose
from .tags import Tag, phases, width
from .target import TILE_VECTORS, target

CHUNK_ROWS = 512  # (step, row) pairs between two sums of weight gradients: their gate gradients stay in cache
REGIONS = {"before": 0, "now": 1, "values": 2}


class LayerWeights:
    """Packed weights, and what is derived from them; a view of `flat`, valid until that changes."""

    def __init__(self, packing: LayerPacking, flat: np.ndarray, training: bool) -> None:
        self.packing, self.flat = packing, flat
        self.real = flat.dtype.type
        self.tags = phases(packing.cell)
        self.choice = self.real, self.tags
        self.biases = [self._bias(blocks) for blocks in packing.phases]
        if training:
            _ = self.recurrent_transposed, self.input_transposed

    def _bias(self, blocks) -> np.ndarray:
        bias = aligned(blocks.w.panels * blocks.w.columns, self.flat.dtype, zero=True)
        for block in blocks.biases:
            bias += self.flat[block.start : block.start + block.size]
        return bias

    @cached_property
    def phases(self) -> tuple[tuple[Tag, Panels], ...]:
        """The weights as the forward kernel takes them."""
        start, size = address_of(self.flat), self.flat.itemsize
        panels = (
            Panels(b.w.panels, start + b.w.start * size, start + b.r.start * size, address_of(bias), slot, now)
            for b, bias, (slot, now) in zip(self.packing.phases, self.biases, self.sources, strict=True)
        )
        return tuple(zip(self.tags, panels, strict=True))

    @cached_property
    def sources(self) -> list[tuple[int, int]]:
        """For each phase, the slot of the vector that its recurrent weights multiply, and whether it is new."""
        places = [self.packing.slots.place(phase.source) for phase in self.packing.cell.phases]
        return [(slot, int(not previous)) for slot, previous in places]

    @cached_property
    def recurrent_transposed(self) -> list[np.ndarray]:
        """Recurrent weights of every phase for the way back."""
        return [self._transposed([blocks.r]) for blocks in self.packing.phases]

    @cached_property
    def input_transposed(self) -> np.ndarray:
        """Input weights of all phases for the way back."""
        return self._transposed([blocks.w for blocks in self.packing.phases])

    def _transposed(self, blocks) -> np.ndarray:
        numbers = TILE_VECTORS * self.packing.lanes
        columns = sum(block.panels * block.columns for block in blocks)
        out = aligned((-(-blocks[0].inputs // numbers), columns, numbers), self.flat.dtype, zero=True)
        first = 0
        for block in blocks:
            panels = self.flat[block.start : block.start + block.size].reshape(block.panels, block.inputs, -1)
            transpose[self.real](panels, out, first)
            first += block.panels * block.columns
        return out


@dataclass
class Tape:
    """What a forward pass leaves for the backward pass."""

    x: np.ndarray
    values: np.ndarray
    records: Records
    order: np.ndarray
    lengths: np.ndarray
    reverse: bool


def shape_of(packing: LayerPacking, steps: int) -> Shape:
    """The sizes that kernels take."""
    return Shape(steps, packing.spec.input_size, packing.spec.hidden_size, packing.groups)


def row_shards(lengths: np.ndarray, flop_per_step: float) -> list[threads.Shard]:
    """Split rows, longest first, so that all threads have equal work: whole tiles, one shard a thread."""
    total = np.cumsum(lengths)
    parts = max(1, min(threads.thread_count(), int(total[-1] * flop_per_step / threads.WORK_PER_THREAD)))
    if parts == 1:
        return [(0, len(lengths))]
    unit = target().tile_rows(TILE_VECTORS)[0]
    edges = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts) + 1
    edges = [0, *(min(len(lengths), unit * round(edge / unit)) for edge in edges.tolist()), len(lengths)]
    return [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]


def layer_forward(weights: LayerWeights, x, initial, outputs, lengths, reverse, training):
    """`Backend.sequence_forward` for NumPy arrays."""
    packing, dtype = weights.packing, weights.flat.dtype
    rows, steps, _ = x.shape
    if lengths is None:
        order, lengths = np.arange(rows), np.full(rows, steps)
    else:
        order = np.argsort(-lengths, kind="stable")
        lengths = lengths[order]
    slots, units = packing.slots, packing.groups * packing.lanes
    count = len(slots.names) if training else slots.carried
    values = aligned((steps + 1 if training else 2, rows, count, units), dtype)
    records = Records(address_of(values), *reversed(values.strides[:2]), values.strides[2], -1 if training else 1)
    final = tuple(np.empty((rows, packing.spec.hidden_size), dtype) for _ in packing.cell.states)
    addresses = np.empty(2 * rows, np.int64)
    arguments = (
        weights.real, weights.phases, shape_of(packing, steps), rows_of(x),
        _each(initial), _each(outputs), _each(final), records, address_of(addresses), order, lengths,
        reverse, training,
    )  # fmt: skip
    flop = 2.0 * packing.columns * (packing.spec.input_size + packing.spec.hidden_size)
    threads.run(lambda first, last: forward[weights.choice](*arguments, first, last), row_shards(lengths, flop))
    return final, Tape(x, values, records, order, lengths, reverse) if training else None


def _each(arrays) -> tuple[Rows, ...]:
    return tuple(map(rows_of, arrays))


class BackwardPass:
    """One backward pass: buffers, and a loop over chunks of steps."""

    def __init__(self, weights: LayerWeights, tape: Tape, gradient: np.ndarray) -> None:
        self.weights, self.tape, self.gradient = weights, tape, gradient
        self.packing, self.dtype = weights.packing, weights.flat.dtype
        self.rows, self.steps, self.inputs = tape.x.shape
        self.span = min(self.steps, max(1, CHUNK_ROWS // self.rows))
        self.room = self.rows * self.span
        packing = self.packing
        self.gates = aligned((self.rows, packing.columns), self.dtype)
        self.panels = [aligned((p.w.panels, self.room, p.w.columns), self.dtype) for p in packing.phases]
        self.xs = np.empty(self.room, np.int64)
        self.sources = [np.empty(self.room, np.int64) for _ in packing.phases]
        self.row_addresses = np.empty((2, self.rows), np.int64)
        slots = 2 * len(packing.cell.states) + len(packing.slots.handed_on)
        self.carried = aligned((self.rows, slots, packing.groups * packing.lanes), self.dtype)

    def run(self, doutputs, dfinal, dx) -> tuple[np.ndarray, ...]:
        """Fill `gradient` and `dx`; return the gradients of the initial states."""
        weights, tape = self.weights, self.tape
        units = self.packing.spec.hidden_size
        dinitial = tuple(np.empty((self.rows, units), self.dtype) for _ in self.packing.cell.states)
        self.gradient[:] = 0
        wx = 0 if dx is None else address_of(weights.input_transposed)
        transposed = self._transposed()
        carried = Gradients(address_of(self.carried), *self.carried.strides[:2])
        outer = (rows_of(tape.x), _each(doutputs), _each(dfinal), _each(dinitial), rows_of(dx))
        flop = 2.0 * self.packing.columns * (units + (0 if dx is None else self.inputs))
        for last in range(self.steps, 0, -self.span):
            chunk = self._chunk(max(0, last - self.span), last)
            active = np.array([np.count_nonzero(tape.lengths > s) for s in range(chunk.first, last)])
            pairs = int(active.sum())
            if not pairs and chunk.first:
                continue
            starts = np.cumsum(active) - active
            arguments = (
                weights.real, width(TILE_VECTORS), transposed, wx,
                shape_of(self.packing, self.steps), chunk, starts, *outer, tape.records, carried,
                tape.order, tape.lengths, tape.reverse,
            )  # fmt: skip
            steps = np.minimum(tape.lengths, last) - np.minimum(tape.lengths, chunk.first)
            threads.run(
                lambda a, b, arguments=arguments: backward[weights.choice](*arguments, a, b), row_shards(steps, flop)
            )
            self._add_weight_gradients(pairs)
        self._second_biases()
        return dinitial

    def _chunk(self, first: int, last: int) -> Chunk:
        gates, rows = self.gates, self.row_addresses
        return Chunk(
            first, last, self.room, address_of(self.xs), address_of(gates), gates.strides[0], gates.shape[1],
            address_of(rows[0]), address_of(rows[1]),
        )  # fmt: skip

    def _transposed(self) -> tuple[tuple[Tag, Transposed], ...]:
        weights, slots = self.weights, self.packing.slots
        made, row = [], 0
        for index, blocks in enumerate(self.packing.phases):
            columns = blocks.w.panels * blocks.w.columns
            slot, region = slots.gradient(self.packing.cell.phases[index].source)
            made.append(
                Transposed(
                    blocks.w.panels, address_of(weights.recurrent_transposed[index]), columns,
                    row * self.dtype.itemsize, address_of(self.panels[index]), address_of(self.sources[index]),
                    *weights.sources[index], REGIONS[region], slot, int(slots.overwrites(index)),
                )
            )  # fmt: skip
            row += columns
        # Backward, the last phase comes first.
        return tuple(zip(weights.tags, made, strict=True))[::-1]

    def _add_weight_gradients(self, pairs: int) -> None:
        """Add a chunk's share to the gradients of all weights; each block of them belongs to one thread."""
        start, size = address_of(self.gradient), self.gradient.itemsize
        for index, blocks in enumerate(self.packing.phases):
            vectors = self.packing.slots.vectors[index]
            bias = start + blocks.biases[0].start * size if blocks.biases else 0
            panels = address_of(self.panels[index]), self.room, pairs
            for block, a, its_bias in ((blocks.w, self.xs, bias), (blocks.r, self.sources[index], 0)):
                add_products(self.weights.real, vectors, start + block.start * size, its_bias, a, block, panels)

    def _second_biases(self) -> None:
        """Both biases of a gate have the same gradient."""
        for first, second in (blocks.biases for blocks in self.packing.phases if blocks.biases):
            self.gradient[second.start :][: second.size] = self.gradient[first.start :][: first.size]
