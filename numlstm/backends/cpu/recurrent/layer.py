"""A recurrent layer in one direction on the CPU: calls of the kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....concurrency import cached_property
from ...contract import Lookup, Noise, States, UnsupportedError
from ..linear.gradients import Target, add_sums
from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, integers
from ..machine.moving import MachineCalls
from .arguments import BackwardCall, ForwardCall, LayerShape, SortedRows, place, strided
from .backward import backward
from .batch import Batch, Rows, number
from .buffers import Buffers, Piece, new_states
from .forward import forward
from .prepared import PreparedLayer
from .weights import LayerWeights, bring_up_to_date

NO_TRACES: Mapping[str, np.ndarray] = {}
CALLS_KEPT = 8  # arguments of calls with different arrays, for a shape


@dataclass
class Tape:
    """The values that a forward pass keeps for the backward pass."""

    x: np.ndarray  # (N, T, D), or (N, T, 1) numbers of rows that are looked up
    batch: Batch
    rows: list[Rows]  # of each group
    reverse: bool
    ragged: bool
    masks: list[np.ndarray]  # the table of each group
    checkpoints: list[States] | None = None  # states every `batch.steps` steps, if the rest is not kept

    def __del__(self) -> None:
        self.batch.prepared.release(self.batch)

    @cached_property
    def places(self) -> tuple[Any, ...]:
        """The steps of x, and where those arrays are that a call brings with it."""
        brought = [array for rows in self.rows for array in rows] if self.ragged else []
        return self.x.shape[1], *map(_place_of, brought), *(_place_of(masks) for masks in self.masks if len(masks))

    @property
    def groups(self) -> Iterator[tuple[Buffers, SortedRows, np.ndarray, Rows]]:
        """The memory of each group, its rows as kernels take them, its masks, and the arrays with the rows."""
        for group, rows, masks in zip(self.batch.groups, self.rows, self.masks, strict=True):
            order, lengths = map(address_of, rows)
            yield group, SortedRows(order, lengths, int(self.reverse)), masks, rows

    def shards(self, first: int, last: int, flop_per_step: float) -> Sequence[Sequence[threads.Shard]]:
        """The shards of each group, for the steps first <= s < last."""
        if self.ragged:
            return self.batch.shards(self.rows, first, last, flop_per_step)
        return self.batch.full_shards(last - first, flop_per_step)

    def pieces(self) -> Iterator[tuple[Piece, ...]]:
        """The chunks of all steps, the last first, each as a piece of every group.

        The records of their steps hold what the way back needs.
        """
        steps, span = self.x.shape[1], self.batch.steps
        if self.checkpoints is None:
            yield from self._numbered(0, steps) if self.ragged else self.batch.full_pieces
            return
        weights = self.batch.weights
        unused, none = new_states(weights, len(self.x)), [None] * len(weights.packing.cell.states)
        for k in range(len(self.checkpoints) - 1, -1, -1):
            first, last = k * span, min((k + 1) * span, steps)
            _run_forward(self, first, last, self.checkpoints[k], unused, none)
            yield from self._numbered(first, last)

    def _numbered(self, first: int, last: int) -> list[tuple[Piece, ...]]:
        """The chunks of the steps first <= s < last; a recording numbers their pairs anew each time."""
        pieces = self.batch.pieces(first, last)
        recording.aside(number, pieces, self.rows)
        return pieces


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
    rows, steps, _ = x.shape
    groups = prepared.groups_of(rows, steps, training)
    if training and recompute:
        return _forward_in_segments(prepared, x, groups, initial, outputs, lengths, reverse, noise)
    batch = prepared.acquire(rows, steps, groups, training, training or bool(traces))
    tape = _tape(x, batch, lengths, reverse, noise)
    final = batch.final if batch.kept else new_states(prepared.weights, rows)
    _run_forward(tape, 0, steps, initial, final, outputs, traces)
    return final, tape if training else None


def _tape(x: np.ndarray, batch: Batch, lengths: np.ndarray | None, reverse: bool, noise: Noise | None) -> Tape:
    """The tape of a call, before the call has run."""
    rows = batch.all_rows(x.shape[1]) if lengths is None else batch.new_rows()
    if lengths is not None:
        recording.aside(batch.sort, lengths, rows)
    return Tape(x, batch, rows, reverse, lengths is not None, batch.masks(noise))


def _run_forward(
    tape: Tape, first: int, last: int, initial: States, final: States, outputs: States,
    traces: Mapping[str, np.ndarray] = NO_TRACES,
) -> None:  # fmt: skip
    """Run the steps first <= s < last."""
    batch, weights = tape.batch, tape.batch.weights
    arrays = tape.x, *initial, *outputs, *traces.values(), *(() if batch.kept and final is batch.final else final)
    key = first, last, tape.reverse, *traces, *tape.places, *map(_place_of, arrays)
    calls = _kept(batch.calls, key)
    if calls is None:
        places = _places(weights, (*initial, *final), outputs, traces)
        calls = _keep(batch.calls, key, _forward_calls(tape, first, last, places))
    shards = tape.shards(first, last, weights.step_flop)
    recording.keep(tape, *arrays)
    threads.share_all(forward, weights.real, list(zip(calls, shards, strict=True)))


def _place_of(array: np.ndarray | None) -> Any:
    """Where an array is."""
    return None if array is None else (address_of(array), array.strides)


def _kept(kept: dict[Any, list[Arguments]], key: Any) -> list[Arguments] | None:
    """The arguments of a call with arrays in the same places: training has it at every step."""
    return None if recording.current() else kept.get(key)


def _keep(kept: dict[Any, list[Arguments]], key: Any, calls: list[Arguments]) -> list[Arguments]:
    """Keep the arguments of a call for another one. A recording has its own: its arrays may move."""
    if not recording.current():
        if len(kept) >= CALLS_KEPT:
            kept.clear()
        kept[key] = calls
    return calls


def _forward_calls(tape: Tape, first: int, last: int, places: np.ndarray) -> list[Arguments]:
    """The `ForwardCall` of each group."""
    x, calls = strided(tape.x), []
    for group, rows, masks, kept in tape.groups:
        call = ForwardCall(
            layer=group.layer, shape=group.layer_shape, memory=group.memory, team=group.team,
            masks=address_of(masks), mask_count=len(masks), places=address_of(places), place_count=len(places),
            x=x, records=group.records._replace(first=first, last=last), rows=rows,
        )  # fmt: skip
        calls.append(Arguments.of(integers(call), (places, masks, kept)))
    return calls


def _forward_in_segments(
    prepared: PreparedLayer, x: np.ndarray, groups: int, initial: States, outputs: States,
    lengths: np.ndarray | None, reverse: bool, noise: Noise | None,
) -> tuple[tuple[np.ndarray, ...], Tape]:  # fmt: skip
    """Keep the states of every √T-th step alone; the way back runs each segment of steps again, and keeps all of it."""
    rows, steps, _ = x.shape
    span = math.isqrt(steps - 1) + 1
    tape = _tape(x, prepared.acquire(rows, steps, groups, False, False), lengths, reverse, noise)
    checkpoints: list[States] = [[None if state is None else state.copy() for state in initial]]
    final: tuple[np.ndarray, ...] = ()
    for first in range(0, steps, span):
        final = new_states(prepared.weights, rows)
        _run_forward(tape, first, min(first + span, steps), checkpoints[-1], final, outputs)
        checkpoints.append(final)
    if lengths is not None:
        ends = -(-lengths // span) - 1  # where each row's last state is
        segments = [np.stack(of_steps) for of_steps in zip(*checkpoints[1:], strict=True)]  # (segments, N, S)
        final = tuple(array[ends, np.arange(rows)] for array in segments)
    del checkpoints[-1]
    tape = _tape(x, prepared.acquire(rows, span, groups, True, True), lengths, reverse, noise)
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
    lengths: np.ndarray | None,
) -> MachineCalls:
    """`Backend.runner` for NumPy arrays: it makes the arguments of the kernel once."""
    (rows, steps, _), weights = x.shape, prepared.weights
    batch = Batch(prepared, rows, steps, prepared.groups_of(rows, steps, False), False, False)
    tape, none = _tape(x, batch, lengths, reverse, None), [None] * len(states)
    places = _places(weights, (*(states if resume else none), *states), (y, *none[1:]), {})
    calls = _forward_calls(tape, 0, steps, places)

    def works() -> list[tuple[Arguments, Sequence[threads.Shard]]]:
        return list(zip(calls, tape.shards(0, steps, weights.step_flop), strict=True))

    first = works()

    def run() -> None:
        if lengths is not None:
            batch.sort(lengths, tape.rows)
        again = lengths is not None or batch.parts > 1
        threads.share_all(forward, weights.real, works() if again else first)

    return MachineCalls(run, (calls, tape, states, y))  # the kernel knows their addresses alone


def layer_backward(
    prepared: PreparedLayer,
    tape: Tape,
    doutputs: States,
    dfinal: States,
    gradient: np.ndarray,
    dx: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """`Backend.sequence_backward` for NumPy arrays: a chunk of steps back, then its weight gradients."""
    weights, batch, lookup = prepared.weights, tape.batch, tape.batch.prepared.lookup
    dtable = None
    if lookup:
        dtable, dx = dx, None
        lookup.clear()
    dinitial = batch.dinitial if weights.training else new_states(weights, len(tape.x))
    bring_up_to_date(batch.transposes, dx is not None)
    arrays = tape.x, dx, *doutputs, *dfinal, *(() if weights.training else dinitial)
    key = tape.reverse, *tape.places, *map(_place_of, arrays)
    calls = _kept(batch.calls_back, key)
    if calls is None:
        sizes = weights.packing.spec.state_sizes
        places = np.array([place(array, k % len(sizes), sizes[k % len(sizes)])
                           for k, array in enumerate((*doutputs, *dfinal, *dinitial))])  # fmt: skip
        calls = _keep(batch.calls_back, key, _backward_calls(tape, places, dx))
    recording.keep(gradient, *arrays, calls)
    _run_backward(tape, calls, address_of(gradient), dx is not None)
    back = batch.groups[0].backward
    if lookup:
        for last_sums in back.last_sums:
            add_sums([last_sums], [Target(address_of(gradient), lookup.count, True)])
        if dtable is not None:
            lookup.table_gradient(dtable)
    for first, second in back.copies:
        recording.do(np.copyto, gradient[second], gradient[first])
    if weights.packing.unused:
        recording.do(gradient[weights.packing.used :].fill, 0)
    return dinitial


def _backward_calls(tape: Tape, places: np.ndarray, dx: np.ndarray | None) -> list[Arguments]:
    """The `BackwardCall` of each group."""
    x, out, calls = strided(tape.x), strided(dx), []
    for group, rows, masks, kept in tape.groups:
        call = BackwardCall(
            shape=LayerShape(tape.x.shape[1], *group.layer_shape[1:]), masks=address_of(masks), mask_count=len(masks),
            places=address_of(places), x=x, dx=out, rows=rows,
        )  # fmt: skip
        calls.append(Arguments.of(integers(call), (places, masks, kept)))
    return calls


def _run_backward(tape: Tape, calls: Sequence[Arguments], gradient: int, with_dx: bool) -> None:
    """Run all chunks, each with its weight gradients: sums over the rows of a group, and then over groups."""
    batch, weights = tape.batch, tape.batch.weights
    back = [group.backward for group in batch.groups]
    gradients = [gradient, *(batch.partial.addresses if len(back) > 1 else ())]
    fresh, flop = [True] * len(back), weights.step_flop
    if not with_dx:
        flop -= 2.0 * back[0].tables.input_columns * weights.packing.spec.input_size
    for pieces in tape.pieces():
        chunk = pieces[0].chunk
        for piece, call in zip(pieces, calls, strict=True):
            piece.arguments.integers[0] = call.address
        shards = tape.shards(chunk.first, chunk.last, flop)
        works = [(piece.arguments, of_group) for piece, of_group in zip(pieces, shards, strict=True)]
        threads.share_all(backward, weights.real, works)
        targets = [Target(start, piece.pairs, new) for start, piece, new in zip(gradients, pieces, fresh, strict=True)]
        for sums in zip(*(each.sums for each in back), strict=True):
            add_sums(sums, targets)
        noted = recording.current() is not None
        fresh = [new and not (piece.pairs[0] or noted) for new, piece in zip(fresh, pieces, strict=True)]
    if len(back) > 1:
        batch.partial.add_to(gradient)
