"""A recurrent layer in one direction on the CPU: weights, buffers, shards, and calls of the kernels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..contract import States
from . import threads
from .arguments import ABSENT, Chunk, Gradients, Panels, Records, Rows, Shape, Transposed, address_of, aligned, rows_of
from .backward import backward
from .forward import forward
from .gradients import Outer, OuterSums
from .packing import Block, LayerPacking
from .products import transpose
from .tags import Tag, phases, width
from .target import TILE_VECTORS, target

CHUNK_ROWS = 512  # (step, row) pairs between two sums of weight gradients: their gate gradients stay in cache
REGIONS = {"before": 0, "now": 1, "values": 2}
BUFFERS_KEPT = 32  # shapes of batches in training; they share their memory


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
        self.biases = [aligned(p.w.panels * p.w.columns, flat.dtype, zero=True) for p in packing.phases]
        self.bias_sums = [
            (bias, [flat[block.start : block.start + block.size] for block in p.biases])
            for bias, p in zip(self.biases, packing.phases, strict=True)
            if p.biases
        ]
        self.recurrent_turned = [TurnedWeights(flat, [blocks.r]) for blocks in packing.phases]
        self.input_turned = TurnedWeights(flat, [blocks.w for blocks in packing.phases])
        self.buffers: dict[tuple[int, int], Buffers] = {}
        self.arena: dict[str, np.ndarray] = {}
        self.refresh()

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        for bias, (first, second) in self.bias_sums:
            np.add(first, second, out=bias)
        self.input_turned.stale = True
        for turned in self.recurrent_turned:
            turned.stale = True

    @cached_property
    def step_flop(self) -> float:
        """Work of a row at a step."""
        spec = self.packing.spec
        return 2.0 * self.packing.columns * (spec.input_size + spec.hidden_size)

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

    def memory(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Memory to work in: in training, batches of all shapes have the same, which grows as it must."""
        if not self.training:
            return aligned(shape, self.flat.dtype)
        size = math.prod(shape)
        if name not in self.arena or self.arena[name].size < size:
            self.arena[name] = aligned(size, self.flat.dtype)
        return self.arena[name][:size].reshape(shape)

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
        packing = weights.packing
        slots, units = packing.slots, packing.groups * packing.lanes
        count = len(slots.names) if training else slots.carried
        self.values = weights.memory("values", (steps + 1 if training else 2, rows, count, units))
        step, row, slot, _ = self.values.strides
        self.records = Records(address_of(self.values), row, step, slot, -1 if training else 1)
        self.room = np.empty(2 * rows, np.int64)
        self.addresses = address_of(self.room)
        self.full = _full_batch(rows, steps)
        self.shape = Shape(steps, packing.spec.input_size, packing.spec.hidden_size, packing.groups)

    @cached_property
    def final(self) -> tuple[tuple[np.ndarray, ...], tuple[Rows, ...]]:
        """Final states, and where they are."""
        return _states(self.weights, self.rows)

    @cached_property
    def backward(self) -> BackwardBuffers:
        """Memory for the way back."""
        return BackwardBuffers(self.weights, self.rows, self.steps)


class BackwardBuffers:
    """Memory for the way back: gate gradients of a chunk of steps, and what is carried from chunk to chunk."""

    def __init__(self, weights: LayerWeights, rows: int, steps: int) -> None:
        packing = weights.packing
        self.weights, self.rows, self.steps = weights, rows, steps
        self.span = min(steps, max(1, CHUNK_ROWS // rows))
        self.room = rows * self.span
        self.gates = weights.memory("gates", (rows, packing.columns))
        self.panels = [weights.memory(f"panels {i}", (p.w.panels, self.room, p.w.columns))
                       for i, p in enumerate(packing.phases)]  # fmt: skip
        self.xs = np.empty(self.room, np.int64)
        self.sources = [np.empty(self.room, np.int64) for _ in packing.phases]
        self.places = np.empty((2, rows), np.int64)
        slots = 2 * len(packing.cell.states) + len(packing.slots.handed_on)
        carried = weights.memory("carried", (rows, slots, packing.groups * packing.lanes))
        self.carried = carried, Gradients(address_of(carried), *carried.strides[:2])
        self.phases = self._phases(weights)
        gates = address_of(self.gates), self.gates.strides[0], self.gates.shape[1]
        self.gradient = -1  # where the last one was
        self.sums: list[OuterSums] = []  # what adds to it
        self.biases: list[tuple[np.ndarray, np.ndarray]] = []  # and its parts that are copies of others
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

    def outer_sums(self, weights: LayerWeights, gradient: np.ndarray) -> list[OuterSums]:
        """The sums over a chunk's gate gradients that make the gradients of all weights, phase by phase."""
        start, size = address_of(gradient), gradient.itemsize
        if start != self.gradient:
            self.gradient, self.sums, self.biases = start, [], []
            for blocks, (_, transposed) in zip(weights.packing.phases, reversed(self.phases), strict=True):
                bias = start + blocks.biases[0].start * size if blocks.biases else 0
                products = [
                    Outer(blocks.w, start + blocks.w.start * size, bias, self.memory[0]),
                    Outer(blocks.r, start + blocks.r.start * size, 0, transposed.sources),
                ]
                self.sums.append(OuterSums(weights.real, products, transposed.panels, self.room))
                if blocks.biases:  # both biases of a gate have the same gradient
                    first, second = (gradient[b.start : b.start + b.size] for b in blocks.biases)
                    self.biases.append((first, second))
        return self.sums

    @cached_property
    def dinitial(self) -> tuple[tuple[np.ndarray, ...], tuple[Rows, ...]]:
        """Gradients of the initial states, and where they are."""
        return _states(self.weights, self.rows)

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


@dataclass(slots=True)
class Tape:
    """What a forward pass leaves for the backward pass."""

    x: np.ndarray
    buffers: Buffers
    order: np.ndarray
    lengths: np.ndarray
    ragged: bool
    reverse: bool


def row_shards(lengths: np.ndarray, flop_per_step: float) -> Sequence[threads.Shard]:
    """Split rows, longest first, so that all threads have equal work: whole tiles, one shard a thread."""
    rows, total, unit = len(lengths), np.cumsum(lengths), target().unit
    parts = threads.parts_for(rows, total[-1] * flop_per_step, unit)
    inner = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts) + 1
    edges = [0, *(min(rows, unit * round(edge / unit)) for edge in inner.tolist()), rows]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def full_shards(rows: int, steps: int, flop_per_step: float) -> Sequence[threads.Shard]:
    """The same for rows of equal length."""
    return threads.even_shards(rows, rows * steps * flop_per_step, target().unit)


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
    rows = len(x)
    buffers = weights.buffers_for(rows, x.shape[1], training)
    ragged = lengths is not None
    order, lengths = buffers.full if lengths is None else _longest_first(lengths)
    final, places = buffers.final
    arguments = (
        weights.real, weights.phases, buffers.shape, rows_of(x), _each(initial), _each(outputs), places,
        buffers.records, buffers.addresses, order, lengths, reverse, training,
    )  # fmt: skip
    run = forward[weights.choice]
    flop = weights.step_flop
    shards = row_shards(lengths, flop) if ragged else full_shards(rows, x.shape[1], flop)
    threads.run(run, shards, *arguments)
    return final, Tape(x, buffers, order, lengths, ragged, reverse) if training else None


def stepper(weights: LayerWeights, x: np.ndarray, states: Sequence[np.ndarray]) -> Callable[[], None]:
    """`Backend.stepper` for NumPy arrays: every argument of the kernel is made once."""
    rows = len(x)
    buffers = weights.buffers_for(rows, 1, False)
    order, lengths = buffers.full
    places = _each(states)
    arguments = (
        weights.real, weights.phases, buffers.shape, rows_of(x), places, _each([None] * len(states)), places,
        buffers.records, buffers.addresses, order, lengths, False, False,
    )  # fmt: skip
    shards = full_shards(rows, 1, weights.step_flop)
    kept = buffers, x, states  # the kernel knows only their addresses

    def step() -> None:
        assert kept
        threads.run(forward[weights.choice], shards, *arguments)

    return step


@lru_cache(maxsize=64)
def _full_batch(rows: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Order and lengths of a batch that needs no sorting; read only."""
    return np.arange(rows), np.full(rows, steps)


def _longest_first(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-lengths, kind="stable")
    return order, lengths[order]


def _each(arrays: Any) -> tuple[Rows, ...]:
    return tuple([ABSENT if array is None else rows_of(array) for array in arrays])


def _states(weights: LayerWeights, rows: int) -> tuple[tuple[np.ndarray, ...], tuple[Rows, ...]]:
    """New arrays (N, H) for states, and where they are."""
    cell, units = weights.packing.cell, weights.packing.spec.hidden_size
    states = tuple(np.empty((rows, units), weights.flat.dtype) for _ in cell.states)
    return states, _each(states)


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
    dinitial, places = buffers.dinitial if weights.training else _states(weights, rows)
    for turned in weights.recurrent_turned:
        turned.fresh_address()
    wx = 0 if dx is None else weights.input_turned.fresh_address()
    outer = rows_of(tape.x), _each(doutputs), _each(dfinal), places, rows_of(dx)
    flop = 2.0 * packing.columns * (spec.hidden_size + (0 if dx is None else spec.input_size))
    run, sums, fresh = backward[weights.choice], buffers.outer_sums(weights, gradient), True
    for chunk, starts, pairs in buffers.ragged_chunks(tape.lengths) if tape.ragged else buffers.full_chunks:
        arguments = (
            weights.real, width(TILE_VECTORS), buffers.phases, wx, tape.buffers.shape, chunk, starts, *outer,
            tape.buffers.records, buffers.carried[1], tape.order, tape.lengths, tape.reverse,
        )  # fmt: skip
        threads.run(run, _chunk_shards(tape, chunk, flop), *arguments)
        for each in sums:
            each.add(pairs, fresh)
        fresh = False
    for first, second in buffers.biases:
        second[:] = first
    return dinitial


def _chunk_shards(tape: Tape, chunk: Chunk, flop_per_step: float) -> Sequence[threads.Shard]:
    """Rows for each thread, so that all have equal work in a chunk."""
    if not tape.ragged:
        return full_shards(len(tape.x), chunk.last - chunk.first, flop_per_step)
    return row_shards(np.clip(tape.lengths - chunk.first, 0, chunk.last - chunk.first), flop_per_step)
