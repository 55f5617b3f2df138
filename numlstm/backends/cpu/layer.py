"""A recurrent layer in one direction on the CPU: weights, buffers, shards, and calls of the kernels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numba
import numpy as np

from ...cells.cell import INPUT
from ..contract import Noise, States, UnsupportedError
from . import threads
from .arguments import (
    PLACE,
    Chunk,
    Gradients,
    Memory,
    Records,
    Shape,
    address_of,
    aligned,
    rows_of,
)
from .backward import backward
from .forward import forward
from .gradients import ColumnSums, Outer, OuterSums
from .halves import paired, row_bytes
from .masks import MASK_FIELDS, mask_table
from .norm import norm_backward, spread
from .packing import Block, LayerPacking, PhaseBlocks
from .products import transpose
from .tables import BackwardTables, ForwardTables, batched
from .tags import phase_types, width
from .target import TILE_VECTORS, target
from .team import Team, synchronisation
from .tile import product_address

NOTHING = np.zeros((1, 0), np.int64)
NO_TRACES: Mapping[str, np.ndarray] = {}
NO_MASKS = np.zeros((0, MASK_FIELDS), np.int64)
CHUNK_BYTES = 1 << 23  # of gate gradients between two sums of weight gradients: they stay in the last cache,
CHUNK_ROWS = 512  # (step, row) pairs, or more: threads are not to meet too often
BUFFERS_KEPT = 32  # shapes of batches in training; they share their memory
TEAM_ROWS = 10  # or fewer for each thread, and they share the units of each step instead
TEAM_FLOP = 2e5  # of a step for each thread, some microseconds: they wait for one another a tenth of that
SPARE_BYTES = 1 << 18  # the largest memory of a call that is kept for the next
SPARE_SHAPES, SPARE_EACH = 8, 2  # of so many shapes, for so many calls at once


Piece = tuple[Chunk, np.ndarray, int]  # a chunk, the number of the first pair of each of its steps, and its pairs


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
        self.real: Any = flat.dtype.type
        self.vector = packing.lanes * flat.itemsize
        self.biases = [self._bias(phase) for phase in packing.phases]
        self.constants = _vectors([value for _, value in packing.cell.constants], packing.lanes, flat.dtype)
        self.mask_values = _vectors(
            [value for mask in packing.cell.masks for value in (mask.dropped, mask.kept, mask.expected)],
            packing.lanes, flat.dtype,
        )  # fmt: skip
        blocks: dict[bool, list[Block]] = {True: [], False: []}
        for each in (each for phase in packing.phases for each in phase.products):
            blocks[each.source == INPUT].append(each.weight)
        self.recurrent_turned = {block: TurnedWeights(flat, [block]) for block in blocks[False]}
        self.input_turned = TurnedWeights(flat, blocks[True])
        self.buffers: dict[tuple[int, int], Buffers] = {}
        self.halves: dict[Block, np.ndarray] = {}  # weights rounded to bfloat16, if that is what products are of
        self.spare: dict[tuple[int, int, bool, bool], list[Buffers]] = {}
        self.arena: dict[str, np.ndarray] = {}
        self.refresh()

    def _bias(self, phase: PhaseBlocks) -> np.ndarray:
        """Room for the biases of a phase: (panels, groups, gates, lanes)."""
        return aligned((phase.panels, phase.groups, max(1, phase.gates), phase.lanes), self.flat.dtype, zero=True)

    def refresh(self) -> None:
        """Follow a change of the flat vector."""
        for total, phase, sides in zip(self.biases, self.packing.phases, self.packing.slots.sides, strict=True):
            total[...] = 0
            for each in phase.products:
                if each.bias:
                    side = sides[each.side]
                    total[:, :, side.first : side.first + len(side.gates)] += each.bias.view(self.flat)[:, 0]
        if self.packing.spec.compute_dtype:
            for block in (each.weight for phase in self.packing.phases for each in phase.products):
                self.halves.setdefault(block, aligned((block.panels, -(-block.inputs // 2), block.columns), np.uint32))
                self.halves[block][...] = paired(block, self.flat)
        self.input_turned.stale = True
        for turned in self.recurrent_turned.values():
            turned.stale = True

    @cached_property
    def step_flop(self) -> float:
        """Work of a row at a step."""
        return 2.0 * sum(block.size for phase in self.packing.phases for block in phase.blocks())

    @cached_property
    def shares_steps(self) -> bool:
        """Whether threads can share a step: if it has one phase, whose equations take a unit's numbers alone."""
        packing = self.packing
        return len(packing.phases) == 1 and not (packing.sums_columns or packing.cell.masks or packing.phases[0].copied)

    def team_of(self, rows: int, steps: int) -> int:
        """Threads that are to share the units of each step; 1 where they share the rows."""
        work = rows * self.step_flop
        parts = min(threads.parts_for(self.packing.phases[0].panels, work * steps), int(work / TEAM_FLOP))
        return parts if parts > 1 and rows <= TEAM_ROWS * parts and self.shares_steps else 1

    @cached_property
    def tables(self) -> ForwardTables:
        """What tells the forward kernel of them."""
        return ForwardTables(self)

    @cached_property
    def entries(self) -> tuple[Any, tuple[Any, ...]]:
        """The types that machine code is chosen by: of numbers, and of each phase."""
        return numba.typeof(self.real), phase_types(self.packing.cell)

    @cached_property
    def norms(self) -> tuple[int, int]:
        """The machine code for the way back through normalisation, where there is any."""
        real = self.entries[0]
        return (norm_backward.address(real), spread.address(real)) if self.packing.sums_columns else (0, 0)

    def memory(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Memory to work in: in training, batches of all shapes have the same, which grows as it must."""
        if not self.training:
            return aligned(shape, self.flat.dtype)
        size = math.prod(shape)
        if name not in self.arena or self.arena[name].size < size:
            self.arena[name] = aligned(size, self.flat.dtype)
        return self.arena[name][:size].reshape(shape)

    def buffers_for(self, rows: int, steps: int, training: bool, keep: bool) -> Buffers:
        """Memory for a batch of a shape: kept from call to call in training, of the call's own otherwise."""
        if not (training and self.training):
            spare = self.spare.get((rows, steps, training, keep))
            try:
                return spare.pop() if spare else Buffers(self, rows, steps, training, keep)
            except IndexError:  # another thread was quicker
                return Buffers(self, rows, steps, training, keep)
        if (rows, steps) not in self.buffers:
            while len(self.buffers) >= BUFFERS_KEPT:
                del self.buffers[next(iter(self.buffers))]
            self.buffers[rows, steps] = Buffers(self, rows, steps, training, keep)
        return self.buffers[rows, steps]

    def take_back(self, buffers: Buffers) -> None:
        """Keep a call's memory for later ones, if it is small."""
        if buffers.values.nbytes > SPARE_BYTES or buffers.kept:
            return
        if buffers.shape not in self.spare and len(self.spare) >= SPARE_SHAPES:
            self.spare.clear()
        spare = self.spare.setdefault(buffers.shape, [])
        if len(spare) < SPARE_EACH:
            spare.append(buffers)


class Buffers:
    """Memory that the forward kernel works in, for batches of one shape."""

    def __init__(self, weights: LayerWeights, rows: int, steps: int, training: bool, keep: bool) -> None:
        self.weights, self.rows, self.steps = weights, rows, steps
        self.shape, self.kept = (rows, steps, training, keep), training and weights.training
        packing = weights.packing
        kept = steps + 1 if training else 2
        size = packing.record_sizes[keep]
        self.values = weights.memory("values", (kept, rows, size))
        row = size * weights.flat.itemsize
        slot = packing.groups * weights.vector
        self.records = Records(
            address_of(self.values), row, rows * row, slot, -1 if training else 1, int(keep), 0, steps
        )  # fmt: skip
        columns = packing.sums_columns
        self.sums = weights.memory("sums", (rows, columns)) if columns else NOTHING
        self.parts = weights.team_of(rows, steps)
        self.room = np.empty((self.parts, 1 + len(weights.tables.sources), rows), np.int64)
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
        return _states(self.weights, self.rows)

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
        weights, rows = buffers.weights, buffers.rows
        packing = weights.packing
        self.weights, self.rows, self.steps = weights, rows, buffers.steps
        bytes_each = sum(phase.columns for phase in packing.phases) * weights.flat.itemsize
        self.span = min(buffers.steps, max(1, max(CHUNK_ROWS, CHUNK_BYTES // max(1, bytes_each)) // rows))
        self.room = rows * self.span
        states = len(packing.cell.states)
        count = 2 * states + len(packing.slots.handed_on)
        carried = weights.memory("carried", (rows, count, packing.groups * packing.lanes))
        self.carried = carried, Gradients(address_of(carried), *carried.strides[:2])
        self.xs = np.empty(self.room, np.int64)
        self.room_for_places = np.empty((buffers.parts, 2, rows), np.int64)
        self.tables = BackwardTables(self)
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
        return _states(self.weights, self.rows)

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


def _vectors(values: Sequence[float], lanes: int, dtype: Any) -> np.ndarray:
    """Each value in all lanes of a vector."""
    made = aligned((len(values), lanes), dtype)
    made[...] = np.reshape(values, (-1, 1)) if len(values) else 0
    return made


@dataclass
class Tape:
    """What a forward pass leaves for the backward pass."""

    x: np.ndarray
    buffers: Buffers
    order: np.ndarray
    lengths: np.ndarray
    ragged: bool
    reverse: bool
    masks: np.ndarray
    checkpoints: list[States] | None = None  # states every so many steps as the buffers have, if the rest is not kept

    def __del__(self) -> None:
        self.buffers.weights.take_back(self.buffers)

    def chunks(self, first: int, last: int) -> list[Piece]:
        """Chunks of the steps first <= s < last, the last first."""
        back = self.buffers.backward
        if self.ragged:
            return back.ragged_chunks(self.lengths, first, last)
        return back.full_chunks_of(first, last) if self.checkpoints else back.full_chunks

    def segments(self) -> Iterator[tuple[Records, list[Piece]]]:
        """Records of some steps, and chunks of these steps, the last first."""
        steps, span = self.x.shape[1], self.buffers.steps
        if self.checkpoints is None:
            yield self.buffers.records, self.chunks(0, steps)
            return
        weights = self.buffers.weights
        unused, none = _states(weights, len(self.x)), [None] * len(weights.packing.cell.states)
        for k in range(len(self.checkpoints) - 1, -1, -1):
            first, last = k * span, min((k + 1) * span, steps)
            records = self.buffers.records._replace(first=first, last=last)
            _run_forward(self, records, self.checkpoints[k], unused, none)
            yield records, self.chunks(first, last)


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
    recompute: bool,
    noise: Noise | None,
    traces: Mapping[str, np.ndarray],
) -> tuple[tuple[np.ndarray, ...], Tape | None]:
    """`Backend.sequence_forward` for NumPy arrays."""
    if training and weights.halves:
        raise UnsupportedError("compute_dtype='bfloat16' has no gradients on backend 'cpu': it is for inference")
    if training and recompute:
        return _forward_in_segments(weights, x, initial, outputs, lengths, reverse, noise)
    buffers = weights.buffers_for(len(x), x.shape[1], training, training or bool(traces))
    tape = _tape(x, buffers, lengths, reverse, noise)
    final = buffers.final if buffers.kept else _states(weights, len(x))
    _run_forward(tape, buffers.records, initial, final, outputs, traces)
    return final, tape if training else None


def _tape(x: np.ndarray, buffers: Buffers, lengths: np.ndarray | None, reverse: bool, noise: Noise | None) -> Tape:
    """The tape of a call, before it is run."""
    order, by_length = _full_batch(*x.shape[:2]) if lengths is None else _longest_first(lengths)
    return Tape(x, buffers, order, by_length, lengths is not None, reverse, buffers.masks(noise))


def _run_forward(
    tape: Tape, records: Records, initial: States, final: States, outputs: States,
    traces: Mapping[str, np.ndarray] = NO_TRACES,
) -> None:  # fmt: skip
    """The steps that records are for."""
    buffers, weights = tape.buffers, tape.buffers.weights
    places = _places(weights, (*initial, *final), outputs, traces)
    shards = buffers.team() or _shards(tape, records.first, records.last, weights.step_flop)
    arguments = *weights.tables.arguments, tape.masks, places, len(final), rows_of(tape.x), *buffers.memory, records
    threads.run(forward[weights.real], shards, *arguments, buffers.crew, tape.order, tape.lengths, tape.reverse)


def _forward_in_segments(
    weights: LayerWeights, x: np.ndarray, initial: States, outputs: States, lengths: np.ndarray | None, reverse: bool,
    noise: Noise | None,
) -> tuple[tuple[np.ndarray, ...], Tape]:  # fmt: skip
    """Keep no more than the states every √T steps: the way back runs each segment again, and keeps all of that."""
    rows, steps, _ = x.shape
    span = math.isqrt(steps - 1) + 1
    tape = _tape(x, weights.buffers_for(rows, steps, False, False), lengths, reverse, noise)
    checkpoints: list[States] = [initial]
    final: tuple[np.ndarray, ...] = ()
    for first in range(0, steps, span):
        records = tape.buffers.records._replace(first=first, last=min(first + span, steps))
        final = _states(weights, rows)
        _run_forward(tape, records, checkpoints[-1], final, outputs)
        checkpoints.append(final)
    if lengths is not None:
        ends = -(-lengths // span) - 1  # where each row's last state is
        every = [np.stack(of_steps) for of_steps in zip(*checkpoints[1:], strict=True)]  # (segments, N, S)
        final = tuple(array[ends, np.arange(rows)] for array in every)
    del checkpoints[-1]
    buffers = weights.buffers_for(rows, span, True, True)
    tape = _tape(x, buffers, lengths, reverse, noise)
    tape.checkpoints = checkpoints
    return final, tape


def _places(weights: LayerWeights, states: States, outputs: States, traces: Mapping[str, np.ndarray]) -> np.ndarray:
    """The table of a caller's arrays: initial and final states, then what else is wanted."""
    sizes = weights.packing.spec.state_sizes
    count = len(sizes)
    rows = [[*rows_of(array), k % count, sizes[k % count]] for k, array in enumerate(states)]
    rows += [[*rows_of(array), k, sizes[k]] for k, array in enumerate(outputs) if array is not None]
    if traces:
        cell, slots = weights.packing.cell, weights.packing.slots
        values = dict(cell.traces)
        for name, array in traces.items():
            size = weights.packing.spec.size(cell.sizes[values[name]])
            rows.append([*rows_of(array), slots.place(values[name])[0], size])
    return np.array(rows).view(PLACE)[:, 0]


def runner(
    weights: LayerWeights,
    x: np.ndarray,
    states: Sequence[np.ndarray],
    y: np.ndarray | None,
    reverse: bool,
    resume: bool,
) -> Callable[[], None]:
    """`Backend.runner` for NumPy arrays: every argument of the kernel is made once."""
    rows, steps, _ = x.shape
    buffers = Buffers(weights, rows, steps, False, False)
    order, lengths = _full_batch(rows, steps)
    none = [None] * len(states)
    places = _places(weights, (*(states if resume else none), *states), (y, *none[1:]), {})
    arguments = (
        *weights.tables.arguments, buffers.masks(None), places, len(states), rows_of(x), *buffers.memory,
        buffers.records, buffers.crew, order, lengths, reverse,
    )  # fmt: skip
    shards = full_shards(rows, steps, weights.step_flop)
    kept = buffers, x, states, y  # the kernel knows only their addresses

    def run() -> None:
        assert kept
        threads.run(forward[weights.real], buffers.team() or shards, *arguments)

    return run


@lru_cache(maxsize=64)
def _full_batch(rows: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Order and lengths of a batch that needs no sorting; read only."""
    return np.arange(rows), np.full(rows, steps)


def _longest_first(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-lengths, kind="stable")
    return order, lengths[order]


def _states(weights: LayerWeights, rows: int) -> tuple[np.ndarray, ...]:
    """New arrays (N, .) for states."""
    return tuple(np.empty((rows, size), weights.flat.dtype) for size in weights.packing.spec.state_sizes)


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
    dinitial = buffers.dinitial if weights.training else _states(weights, rows)
    for turned in weights.recurrent_turned.values():
        turned.fresh_address()
    wx = 0 if dx is None else weights.input_turned.fresh_address()
    sizes = spec.state_sizes
    places = np.array(
        [[*rows_of(array), slot, sizes[slot]]
         for arrays in (doutputs, dfinal, dinitial) for slot, array in enumerate(arrays)]
    ).view(PLACE)[:, 0]  # fmt: skip
    tables = buffers.tables
    flop = weights.step_flop - (2.0 * tables.input_columns * spec.input_size if dx is None else 0.0)
    start, fresh = address_of(gradient), True
    shape = Shape(tape.x.shape[1], spec.input_size, packing.groups)
    pieces = ((records, piece) for records, pieces in tape.segments() for piece in pieces)
    for records, (chunk, starts, pairs) in pieces:
        arguments = (
            weights.real, width(TILE_VECTORS), tables.phases, tables.sides, tables.backs, tape.masks,
            address_of(weights.constants), *weights.norms, wx, shape, chunk, starts, places, len(sizes),
            rows_of(tape.x), rows_of(dx), records, buffers.carried[1], tape.buffers.crew, tape.order, tape.lengths,
            tape.reverse,
        )  # fmt: skip
        shards = tape.buffers.team() or _shards(tape, chunk.first, chunk.last, flop)
        threads.run(backward[weights.real], shards, *arguments)
        for each in buffers.sums:
            each.add(start, pairs, fresh)
        fresh = False
    for first, second in buffers.copies:
        gradient[second] = gradient[first]
    gradient[packing.used :] = 0
    return dinitial


def _shards(tape: Tape, first: int, last: int, flop_per_step: float) -> Sequence[threads.Shard]:
    """Rows for each thread, so that all have equal work in the steps first <= s < last."""
    if not tape.ragged:
        return full_shards(len(tape.x), last - first, flop_per_step)
    return row_shards(np.clip(tape.lengths - first, 0, last - first), flop_per_step)
