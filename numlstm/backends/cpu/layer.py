"""A recurrent layer in one direction on the CPU: weights, buffers, shards, and calls of the kernels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from ..contract import States
from . import threads
from .arguments import Chunk, Gradients, Panels, Records, Rows, Shape, Transposed, address_of, aligned, rows_of
from .backward import backward
from .forward import forward
from .gradients import Outer, add_products
from .packing import Block, LayerPacking
from .products import transpose
from .tags import Tag, phases, width
from .target import TILE_VECTORS, target

CHUNK_ROWS = 512  # (step, row) pairs between two sums of weight gradients: their gate gradients stay in cache
REGIONS = {"before": 0, "now": 1, "values": 2}
BUFFERS_KEPT = 2  # shapes of batches in an epoch of training: the full ones, and the last


class TurnedWeights:
    """Packed weights turned round for the way back; made when first asked for after a change."""

    def __init__(self, flat: np.ndarray, blocks: list[Block]) -> None:
        numbers = TILE_VECTORS * blocks[0].lanes
        columns = sum(block.panels * block.columns for block in blocks)
        self.array = aligned((-(-blocks[0].inputs // numbers), columns, numbers), flat.dtype, zero=True)
        self.panels = [
            flat[block.start : block.start + block.size].reshape(block.panels, block.inputs, -1) for block in blocks
        ]
        self.address = address_of(self.array)
        self.stale = True

    def fresh_address(self) -> int:
        """Where they are, up to date."""
        if self.stale:
            first = 0
            for panels in self.panels:
                transpose[self.array.dtype](panels, self.array, first)
                first += panels.shape[0] * panels.shape[2]
            self.stale = False
        return self.address


class LayerWeights:
    """Packed weights, and what is derived from them."""

    def __init__(self, packing: LayerPacking, flat: np.ndarray, training: bool) -> None:
        self.packing, self.flat, self.training = packing, flat, training
        self.real = flat.dtype.type
        self.tags = phases(packing.cell)
        self.choice = self.real, self.tags
        self.biases = [aligned(p.w.panels * p.w.columns, flat.dtype) for p in packing.phases]
        self.recurrent_turned = [TurnedWeights(flat, [blocks.r]) for blocks in packing.phases]
        self.input_turned = TurnedWeights(flat, [blocks.w for blocks in packing.phases])
        self.buffers: dict[tuple[int, int], Buffers] = {}
        self.refresh()

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        for bias, blocks in zip(self.biases, self.packing.phases, strict=True):
            bias[:] = 0
            for block in blocks.biases:
                bias += self.flat[block.start : block.start + block.size]
        for turned in (self.input_turned, *self.recurrent_turned):
            turned.stale = True

    @cached_property
    def sources(self) -> list[tuple[int, int]]:
        """For each phase, the slot of the vector that its recurrent weights multiply, and whether it is new."""
        places = [self.packing.slots.place(phase.source) for phase in self.packing.cell.phases]
        return [(slot, int(not previous)) for slot, previous in places]

    @cached_property
    def phases(self) -> tuple[tuple[Tag, Panels], ...]:
        """The weights as the forward kernel takes them."""
        start, size = address_of(self.flat), self.flat.itemsize
        panels = (
            Panels(b.w.panels, start + b.w.start * size, start + b.r.start * size, address_of(bias), slot, now)
            for b, bias, (slot, now) in zip(self.packing.phases, self.biases, self.sources, strict=True)
        )
        return tuple(zip(self.tags, panels, strict=True))

    def buffers_for(self, rows: int, steps: int, training: bool) -> Buffers:
        """Memory for a batch of a shape: kept from call to call in training, of the call's own otherwise."""
        if not (training and self.training):
            return Buffers(self, rows, steps, training)
        if (rows, steps) not in self.buffers:
            while len(self.buffers) >= BUFFERS_KEPT:
                del self.buffers[next(iter(self.buffers))]
            self.buffers[rows, steps] = Buffers(self, rows, steps, training)
        return self.buffers[rows, steps]


class Buffers:
    """Memory that the kernels work in, for batches of one shape."""

    def __init__(self, weights: LayerWeights, rows: int, steps: int, training: bool) -> None:
        self.weights, self.rows, self.steps = weights, rows, steps
        packing, dtype = weights.packing, weights.flat.dtype
        slots, units = packing.slots, packing.groups * packing.lanes
        count = len(slots.names) if training else slots.carried
        self.values = aligned((steps + 1 if training else 2, rows, count, units), dtype)
        step, row, slot, _ = self.values.strides
        self.records = Records(address_of(self.values), row, step, slot, -1 if training else 1)
        self.addresses = np.empty(2 * rows, np.int64)
        self.full = _full_batch(rows, steps)
        self.shape = Shape(steps, packing.spec.input_size, packing.spec.hidden_size, packing.groups)

    @cached_property
    def backward(self) -> BackwardBuffers:
        """Memory for the way back."""
        return BackwardBuffers(self.weights, self.rows, self.steps)


class BackwardBuffers:
    """Memory for the way back: gate gradients of a chunk of steps, and what is carried from chunk to chunk."""

    def __init__(self, weights: LayerWeights, rows: int, steps: int) -> None:
        packing, dtype = weights.packing, weights.flat.dtype
        self.rows, self.steps = rows, steps
        self.span = min(steps, max(1, CHUNK_ROWS // rows))
        self.room = rows * self.span
        self.gates = aligned((rows, packing.columns), dtype)
        self.panels = [aligned((p.w.panels, self.room, p.w.columns), dtype) for p in packing.phases]
        self.xs = np.empty(self.room, np.int64)
        self.sources = [np.empty(self.room, np.int64) for _ in packing.phases]
        self.places = np.empty((2, rows), np.int64)
        slots = 2 * len(packing.cell.states) + len(packing.slots.handed_on)
        carried = aligned((rows, slots, packing.groups * packing.lanes), dtype)
        self.carried = carried, Gradients(address_of(carried), *carried.strides[:2])
        self.phases = self._phases(weights)
        gates = address_of(self.gates), self.gates.strides[0], self.gates.shape[1]
        self.memory = address_of(self.xs), *gates, address_of(self.places[0]), address_of(self.places[1])

    def _phases(self, weights: LayerWeights) -> tuple[tuple[Tag, Transposed], ...]:
        """The phases as the backward kernel takes them: the last one first."""
        packing, made, row = weights.packing, [], 0
        for index, blocks in enumerate(packing.phases):
            columns = blocks.w.panels * blocks.w.columns
            slot, region = packing.slots.gradient(packing.cell.phases[index].source)
            made.append(
                Transposed(
                    blocks.w.panels, weights.recurrent_turned[index].address, columns, row * self.gates.itemsize,
                    address_of(self.panels[index]), address_of(self.sources[index]), *weights.sources[index],
                    REGIONS[region], slot, int(packing.slots.overwrites(index)),
                )
            )  # fmt: skip
            row += columns
        return tuple(zip(weights.tags, made, strict=True))[::-1]

    @cached_property
    def full_chunks(self) -> list[tuple[Chunk, np.ndarray, int]]:
        """The chunks of a batch whose rows all have all steps."""
        return [
            (chunk, self.rows * np.arange(chunk.last - chunk.first), self.rows * (chunk.last - chunk.first))
            for chunk in self.chunks()
        ]

    def ragged_chunks(self, lengths: np.ndarray) -> list[tuple[Chunk, np.ndarray, int]]:
        """Chunks, the number of the first pair of each of their steps, and their pairs; no empty ones."""
        active = np.searchsorted(-lengths, -np.arange(self.steps), side="left")  # rows longer than s
        made = []
        for chunk in self.chunks():
            counts = active[chunk.first : chunk.last]
            if counts[0]:
                made.append((chunk, np.cumsum(counts) - counts, int(counts.sum())))
        return made

    def chunks(self) -> list[Chunk]:
        """All chunks, the last first."""
        ends = range(self.steps, 0, -self.span)
        return [Chunk(max(0, last - self.span), last, self.room, *self.memory) for last in ends]


@dataclass
class Tape:
    """What a forward pass leaves for the backward pass."""

    x: np.ndarray
    buffers: Buffers
    order: np.ndarray
    lengths: np.ndarray
    ragged: bool
    reverse: bool


def row_shards(lengths: np.ndarray, flop_per_step: float) -> list[threads.Shard]:
    """Split rows, longest first, so that all threads have equal work: whole tiles, one shard a thread."""
    rows, total, unit = len(lengths), np.cumsum(lengths), target().tile_rows(TILE_VECTORS)[0]
    parts = threads.parts_for(rows, total[-1] * flop_per_step, unit)
    inner = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts) + 1
    edges = [0, *(min(rows, unit * round(edge / unit)) for edge in inner.tolist()), rows]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def full_shards(rows: int, steps: int, flop_per_step: float) -> list[threads.Shard]:
    """The same for rows of equal length."""
    return threads.even_shards(rows, rows * steps * flop_per_step, target().tile_rows(TILE_VECTORS)[0])


def layer_forward(
    weights: LayerWeights,
    x: np.ndarray,
    initial: States,
    outputs: States,
    lengths: np.ndarray | None,
    reverse: bool,
    training: bool,
) -> tuple[tuple[np.ndarray, ...], Tape | None]:
    """`Backend.sequence_forward` for NumPy arrays."""
    spec, rows = weights.packing.spec, len(x)
    buffers = weights.buffers_for(rows, x.shape[1], training)
    ragged = lengths is not None
    order, lengths = buffers.full if lengths is None else _longest_first(lengths)
    final = tuple(np.empty((rows, spec.hidden_size), weights.flat.dtype) for _ in initial)
    arguments = (
        weights.real, weights.phases, buffers.shape, rows_of(x), _each(initial), _each(outputs), _each(final),
        buffers.records, address_of(buffers.addresses), order, lengths, reverse, training,
    )  # fmt: skip
    run = forward[weights.choice]
    flop = 2.0 * weights.packing.columns * (spec.input_size + spec.hidden_size)
    shards = row_shards(lengths, flop) if ragged else full_shards(rows, x.shape[1], flop)
    threads.run(partial(run, *arguments), shards)
    return final, Tape(x, buffers, order, lengths, ragged, reverse) if training else None


def stepper(weights: LayerWeights, x: np.ndarray, states: Sequence[np.ndarray]) -> Callable[[], None]:
    """`Backend.stepper` for NumPy arrays: every argument of the kernel is made once."""
    spec, rows = weights.packing.spec, len(x)
    buffers = weights.buffers_for(rows, 1, False)
    order, lengths = buffers.full
    places = _each(states)
    arguments = (
        weights.real, weights.phases, buffers.shape, rows_of(x), places, _each([None] * len(states)), places,
        buffers.records, address_of(buffers.addresses), order, lengths, False, False,
    )  # fmt: skip
    shards = full_shards(rows, 1, 2.0 * weights.packing.columns * (spec.input_size + spec.hidden_size))
    kept = buffers, x, states  # the kernel knows only their addresses

    def step() -> None:
        assert kept
        run = forward[weights.choice]
        if len(shards) == 1:
            run(*arguments, 0, rows)
        else:
            threads.run(partial(run, *arguments), shards)

    return step


@lru_cache(maxsize=64)
def _full_batch(rows: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Order and lengths of a batch that needs no sorting; read only."""
    return np.arange(rows), np.full(rows, steps)


def _longest_first(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-lengths, kind="stable")
    return order, lengths[order]


def _each(arrays: Any) -> tuple[Rows, ...]:
    return tuple(map(rows_of, arrays))


def layer_backward(
    weights: LayerWeights,
    tape: Tape,
    doutputs: States,
    dfinal: States,
    gradient: np.ndarray,
    dx: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """`Backend.sequence_backward` for NumPy arrays: a chunk of steps back, then its weight gradients."""
    packing, spec = weights.packing, weights.packing.spec
    buffers, rows = tape.buffers.backward, len(tape.x)
    dinitial = tuple(np.empty((rows, spec.hidden_size), weights.flat.dtype) for _ in dfinal)
    gradient[:] = 0
    for turned in weights.recurrent_turned:
        turned.fresh_address()
    wx = 0 if dx is None else weights.input_turned.fresh_address()
    outer = rows_of(tape.x), _each(doutputs), _each(dfinal), _each(dinitial), rows_of(dx)
    flop = 2.0 * packing.columns * (spec.hidden_size + (0 if dx is None else spec.input_size))
    run = backward[weights.choice]
    for chunk, starts, pairs in buffers.ragged_chunks(tape.lengths) if tape.ragged else buffers.full_chunks:
        arguments = (
            weights.real, width(TILE_VECTORS), buffers.phases, wx, tape.buffers.shape, chunk, starts, *outer,
            tape.buffers.records, buffers.carried[1], tape.order, tape.lengths, tape.reverse,
        )  # fmt: skip
        threads.run(partial(run, *arguments), _chunk_shards(tape, chunk, flop))
        _add_weight_gradients(weights, buffers, gradient, pairs)
    _copy_to_second_biases(packing, gradient)
    return dinitial


def _chunk_shards(tape: Tape, chunk: Chunk, flop_per_step: float) -> list[threads.Shard]:
    """Rows for each thread, so that all have equal work in a chunk."""
    if not tape.ragged:
        return full_shards(len(tape.x), chunk.last - chunk.first, flop_per_step)
    return row_shards(np.clip(tape.lengths - chunk.first, 0, chunk.last - chunk.first), flop_per_step)


def _add_weight_gradients(weights: LayerWeights, buffers: BackwardBuffers, gradient: np.ndarray, pairs: int) -> None:
    """Add a chunk's share to the gradients of all weights."""
    start, size = address_of(gradient), gradient.itemsize
    for blocks, (_, transposed) in zip(weights.packing.phases, reversed(buffers.phases), strict=True):
        bias = start + blocks.biases[0].start * size if blocks.biases else 0
        products = [
            Outer(blocks.w, start + blocks.w.start * size, bias, buffers.memory[0]),
            Outer(blocks.r, start + blocks.r.start * size, 0, transposed.sources),
        ]
        add_products(weights.real, products, transposed.panels, buffers.room, pairs)


def _copy_to_second_biases(packing: LayerPacking, gradient: np.ndarray) -> None:
    """Both biases of a gate have the same gradient."""
    for first, second in (blocks.biases for blocks in packing.phases if blocks.biases):
        gradient[second.start :][: second.size] = gradient[first.start :][: first.size]
