"""A recurrent layer in one direction on the CPU: calls of the kernels, and how threads share them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....concurrency import cached_property
from ...contract import Lookup, Noise, States, UnsupportedError
from ..linear.tile import ROWS_TOGETHER
from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, integers
from .arguments import BackwardCall, ForwardCall, LayerShape, Records, SortedRows, place, strided
from .backward import backward
from .buffers import Buffers, Piece, PreparedLayer, new_states
from .forward import forward
from .weights import LayerWeights

NO_TRACES: Mapping[str, np.ndarray] = {}
CALLS_KEPT = 8  # arguments of calls with different arrays, for a shape


@dataclass
class Tape:
    """The values that a forward pass keeps for the backward pass."""

    x: np.ndarray  # (N, T, D), or (N, T, 1) numbers of rows that are looked up
    buffers: Buffers
    order: np.ndarray  # the rows of the batch, the longest first
    lengths: np.ndarray  # of these rows
    reverse: bool
    ragged: bool
    masks: np.ndarray
    checkpoints: list[States] | None = None  # states every `buffers.steps` steps, if the rest is not kept

    def __del__(self) -> None:
        self.buffers.prepared.release(self.buffers)

    @cached_property
    def places(self) -> tuple[Any, ...]:
        """The steps of x, and where those arrays are that a call brings with it."""
        brought = [*([self.order, self.lengths] if self.ragged else []), *([self.masks] if len(self.masks) else [])]
        return self.x.shape[1], *map(_place_of, brought)

    @property
    def rows(self) -> SortedRows:
        """The rows as kernels take them."""
        return SortedRows(order=address_of(self.order), lengths=address_of(self.lengths), reverse=int(self.reverse))

    def pieces(self) -> Iterator[Piece]:
        """The chunks of all steps, the last first; the records of their steps hold what the way back needs."""
        steps, span = self.x.shape[1], self.buffers.steps
        if self.checkpoints is None:
            yield from self._pieces(self.buffers.records)
            return
        weights = self.buffers.weights
        unused, none = new_states(weights, len(self.x)), [None] * len(weights.packing.cell.states)
        for k in range(len(self.checkpoints) - 1, -1, -1):
            records = self.buffers.records._replace(first=k * span, last=min((k + 1) * span, steps))
            _run_forward(self, records, self.checkpoints[k], unused, none)
            yield from self._pieces(records)

    def _pieces(self, records: Records) -> list[Piece]:
        """The chunks of the steps that records are for."""
        back = self.buffers.backward
        if self.ragged:
            return back.ragged_chunks(self.lengths, records)
        return back.full_chunks_of(records) if self.checkpoints else back.full_chunks


def row_shards(lengths: np.ndarray, flop_per_step: float) -> Sequence[threads.Shard]:
    """Split rows, the longest first, into one shard of pairs of rows for each thread, with equal work."""
    rows, total, unit = len(lengths), np.cumsum(lengths), ROWS_TOGETHER
    parts = threads.parts_for(rows, total[-1] * flop_per_step, unit)
    inner = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts) + 1
    edges = [0, *(min(rows, unit * round(edge / unit)) for edge in inner.tolist()), rows]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def full_shards(rows: int, steps: int, flop_per_step: float) -> Sequence[threads.Shard]:
    """Split rows of equal length in that way."""
    return threads.even_shards(rows, rows * steps * flop_per_step, ROWS_TOGETHER)


def layer_forward(
    prepared: PreparedLayer,
    x: np.ndarray | Lookup,
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
    kind = prepared.weights.kind
    if training and kind and not kind.GRADIENTS:
        name = prepared.weights.packing.spec.compute_dtype
        raise UnsupportedError(f"compute_dtype={name!r} has no gradients on backend 'cpu': it is for inference")
    prepared.weights.bring_up_to_date()
    if isinstance(x, Lookup):
        assert kind is None
        prepared = prepared.looking_up(len(x.table))
        assert prepared.lookup
        x = prepared.lookup.read(x)
    if training and recompute:
        return _forward_in_segments(prepared, x, initial, outputs, lengths, reverse, noise)
    buffers = prepared.acquire(len(x), x.shape[1], training, training or bool(traces))
    tape = _tape(x, buffers, lengths, reverse, noise)
    final = buffers.final if buffers.kept else new_states(prepared.weights, len(x))
    _run_forward(tape, buffers.records, initial, final, outputs, traces)
    return final, tape if training else None


def _tape(x: np.ndarray, buffers: Buffers, lengths: np.ndarray | None, reverse: bool, noise: Noise | None) -> Tape:
    """The tape of a call, before the call has run."""
    order, by_length = buffers.all_rows(x.shape[1]) if lengths is None else _longest_first(lengths)
    return Tape(x, buffers, order, by_length, reverse, lengths is not None, buffers.masks(noise))


def _run_forward(
    tape: Tape, records: Records, initial: States, final: States, outputs: States,
    traces: Mapping[str, np.ndarray] = NO_TRACES,
) -> None:  # fmt: skip
    """Run the steps that records are for."""
    buffers, weights = tape.buffers, tape.buffers.weights
    arrays = tape.x, *initial, *outputs, *traces.values(), *(() if buffers.kept and final is buffers.final else final)
    key = records.first, records.last, tape.reverse, *traces, *tape.places, *map(_place_of, arrays)
    arguments = buffers.calls.get(key)
    if arguments is None:
        places = _places(weights, (*initial, *final), outputs, traces)
        arguments = _kept(buffers.calls, key, _forward_call(tape, records, places), tape, places)
    shards = buffers.team_shards() or _shards(tape, records.first, records.last, weights.step_flop)
    recording.keep(tape, *arrays)
    threads.share(forward, weights.real, arguments, shards)


def _place_of(array: np.ndarray | None) -> Any:
    """Where an array is."""
    return None if array is None else (address_of(array), array.strides)


def _kept(calls: dict[Any, Arguments], key: Any, call: np.ndarray, tape: Tape, places: np.ndarray) -> Arguments:
    """Keep the arguments of a call, for another one with arrays in the same places: training has it at every step."""
    if len(calls) >= CALLS_KEPT:
        calls.clear()
    arguments = calls[key] = Arguments.of(call, (places, tape.order, tape.lengths, tape.masks))
    return arguments


def _forward_call(tape: Tape, records: Records, places: np.ndarray) -> np.ndarray:
    """The `ForwardCall` of a call."""
    buffers = tape.buffers
    return integers(
        ForwardCall(
            layer=buffers.layer, shape=buffers.layer_shape, memory=buffers.memory, team=buffers.team,
            masks=address_of(tape.masks), mask_count=len(tape.masks), places=address_of(places),
            place_count=len(places), x=strided(tape.x), records=records, rows=tape.rows,
        )
    )  # fmt: skip


def _forward_in_segments(
    prepared: PreparedLayer, x: np.ndarray, initial: States, outputs: States, lengths: np.ndarray | None,
    reverse: bool, noise: Noise | None,
) -> tuple[tuple[np.ndarray, ...], Tape]:  # fmt: skip
    """Keep the states of every √T-th step alone; the way back runs each segment of steps again, and keeps all of it."""
    rows, steps, _ = x.shape
    span = math.isqrt(steps - 1) + 1
    tape = _tape(x, prepared.acquire(rows, steps, False, False), lengths, reverse, noise)
    checkpoints: list[States] = [[None if state is None else state.copy() for state in initial]]
    final: tuple[np.ndarray, ...] = ()
    for first in range(0, steps, span):
        records = tape.buffers.records._replace(first=first, last=min(first + span, steps))
        final = new_states(prepared.weights, rows)
        _run_forward(tape, records, checkpoints[-1], final, outputs)
        checkpoints.append(final)
    if lengths is not None:
        ends = -(-lengths // span) - 1  # where each row's last state is
        segments = [np.stack(of_steps) for of_steps in zip(*checkpoints[1:], strict=True)]  # (segments, N, S)
        final = tuple(array[ends, np.arange(rows)] for array in segments)
    del checkpoints[-1]
    buffers = prepared.acquire(rows, span, True, True)
    tape = _tape(x, buffers, lengths, reverse, noise)
    tape.checkpoints = checkpoints
    return final, tape


def _places(weights: LayerWeights, states: States, outputs: States, traces: Mapping[str, np.ndarray]) -> np.ndarray:
    """The table of the arrays of a caller: initial and final states, then outputs and traces."""
    sizes = weights.packing.spec.state_sizes
    count = len(sizes)
    places = [place(array, k % count, sizes[k % count]) for k, array in enumerate(states)]
    places += [place(array, k, sizes[k]) for k, array in enumerate(outputs) if array is not None]
    if traces:
        cell, slots = weights.packing.cell, weights.packing.slots
        values = dict(cell.traces)
        for name, array in traces.items():
            size = weights.packing.spec.size(cell.sizes[values[name]])
            places.append(place(array, slots.place(values[name])[0], size))
    return np.array(places)


def runner(
    prepared: PreparedLayer,
    x: np.ndarray,
    states: Sequence[np.ndarray],
    y: np.ndarray | None,
    reverse: bool,
    resume: bool,
) -> Callable[[], None]:
    """`Backend.runner` for NumPy arrays: it makes the arguments of the kernel once."""
    (rows, steps, _), weights = x.shape, prepared.weights
    buffers = Buffers(prepared, rows, steps, False, False)
    none = [None] * len(states)
    tape = _tape(x, buffers, None, reverse, None)
    places = _places(weights, (*(states if resume else none), *states), (y, *none[1:]), {})
    arguments = _forward_call(tape, buffers.records, places)
    shards = full_shards(rows, steps, weights.step_flop)
    call = Arguments.of(arguments, (tape, places, states, y))

    def run() -> None:
        threads.share(forward, weights.real, call, buffers.team_shards() or shards)

    return run


def _longest_first(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-lengths, kind="stable")
    return order, lengths[order]


def layer_backward(
    prepared: PreparedLayer,
    tape: Tape,
    doutputs: States,
    dfinal: States,
    gradient: np.ndarray,
    dx: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """`Backend.sequence_backward` for NumPy arrays: a chunk of steps back, then its weight gradients."""
    weights, buffers, lookup = prepared.weights, tape.buffers.backward, tape.buffers.prepared.lookup
    dtable = None
    if lookup:
        dtable, dx = dx, None
        lookup.clear()
    dinitial = buffers.dinitial if weights.training else new_states(weights, len(tape.x))
    for transposed in weights.recurrent_transposed.values():
        transposed.bring_up_to_date()
    if dx is not None:
        weights.input_transposed.bring_up_to_date()
    arrays = tape.x, dx, *doutputs, *dfinal, *(() if weights.training else dinitial)
    key = tape.reverse, *tape.places, *map(_place_of, arrays)
    arguments = buffers.calls.get(key)
    if arguments is None:
        sizes = weights.packing.spec.state_sizes
        places = np.array([place(array, k % len(sizes), sizes[k % len(sizes)])
                           for k, array in enumerate((*doutputs, *dfinal, *dinitial))])  # fmt: skip
        arguments = _kept(buffers.calls, key, _backward_call(tape, places, dx), tape, places)
    recording.keep(gradient, *arrays, arguments)
    flop, fresh, start = weights.step_flop, True, address_of(gradient)
    if dx is None:
        flop -= 2.0 * buffers.tables.input_columns * weights.packing.spec.input_size
    for chunk, pairs, of_chunk in tape.pieces():
        shards = tape.buffers.team_shards() or _shards(tape, chunk.first, chunk.last, flop)
        of_chunk.integers[0] = arguments.address
        threads.share(backward, weights.real, of_chunk, shards)
        for sums in buffers.sums:
            sums.add(start, pairs, fresh)
        fresh = False
    if lookup:
        for last_sums in buffers.last_sums:
            last_sums.add(start, lookup.rows, True)
        if dtable is not None:
            lookup.table_gradient(dtable)
    for first, second in buffers.copies:
        recording.do(np.copyto, gradient[second], gradient[first])
    if weights.packing.unused:
        recording.do(gradient[weights.packing.used :].fill, 0)
    return dinitial


def _backward_call(tape: Tape, places: np.ndarray, dx: np.ndarray | None) -> np.ndarray:
    """The `BackwardCall` of a call."""
    return integers(
        BackwardCall(
            shape=LayerShape(tape.x.shape[1], *tape.buffers.layer_shape[1:]), masks=address_of(tape.masks),
            mask_count=len(tape.masks), places=address_of(places), x=strided(tape.x), dx=strided(dx), rows=tape.rows,
        )
    )  # fmt: skip


def _shards(tape: Tape, first: int, last: int, flop_per_step: float) -> Sequence[threads.Shard]:
    """Shards of rows with equal work in the steps first <= s < last."""
    if not tape.ragged:
        return full_shards(len(tape.x), last - first, flop_per_step)
    return row_shards(np.clip(tape.lengths - first, 0, last - first), flop_per_step)
