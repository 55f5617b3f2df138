"""The kernel that takes a step of layers on top of one another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..machine.board import ShardCall
from ..machine.compiling import apart, c_function, call, inner, once
from ..machine.memory import (
    allocate,
    copy_row,
    entry_bytes,
    free,
    lanes_of,
    store_integers,
    stored,
    stored_entry,
    vector_bytes,
)
from ..machine.simd import load, load_first, stack_bytes, store, store_first
from ..machine.team import Team
from .arguments import (
    Ahead,
    ForwardCall,
    ForwardMemory,
    LayerShape,
    PlaceEntry,
    Records,
    SortedRows,
    Strided,
    table,
)
from .direct import StepState, run_direct, state_at

ROOM = 1 << 14  # bytes on the stack for the memory of a step; it is allocated if it needs more
PLACE_BYTES, CALL_BYTES = entry_bytes(PlaceEntry), entry_bytes(ForwardCall)


class StepPlan(NamedTuple):
    """What a step is. Compiled functions of users have read the first five fields: these stay in their places."""

    entry: int  # address of the C function
    x: int  # numbers of the input
    out: int  # numbers of the output
    states: int  # table of the numbers of each state, all layers together
    code: int  # address of the machine code behind the C function, which `call_code` calls
    rows: int  # N
    layers: int  # table of `StepLayer`
    layer_count: int
    residual: int  # whether every layer but the first adds its input to its output
    forward: int  # address of the machine code; 0 where all layers are direct
    order: int  # 0, 1, ...
    lengths: int  # ones
    room: int  # bytes of memory that a step needs


class StepLayer(NamedTuple):
    """A layer."""

    states: int  # table of `StepState`
    direct: int  # a `DirectLayer`; 0 where it is a `WholeLayer`
    whole: int


class WholeLayer(NamedTuple):
    """A layer that `forward` takes; places in memory count from the start of the room."""

    layer: int  # a `ForwardLayer`
    state_count: int
    inputs: int
    groups: int
    record_row: int
    slot: int
    sums_row: int
    narrow_row: int
    masks: int
    mask_count: int
    addresses: int
    sums: int  # 0 where there are none
    narrow: int  # 0 where there are none
    narrowing: int  # as in `ForwardMemory`
    records: int


STEP_LAYER = table(StepLayer)


@once
def run_step(real, plan_at, x, states, out):
    """One step: from `x` (N, D) to `out` (N, H); `states` are the addresses of arrays that it updates."""
    plan = stored(StepPlan, plan_at)
    room, memory = stack_bytes(ROOM), 0
    if plan.room > ROOM:
        memory = allocate(plan.room + 64)
        if memory == 0:
            raise MemoryError("no memory for a step")
        room = memory + (-memory & 63)
    _run_layers(real, plan, room, x, states, out)
    if memory:
        free(memory)


@once
def _run_layers(real, plan, room, x, states, out):
    """The layers, one after the other, with memory for them."""
    for k in range(plan.layer_count):
        layer = stored_entry(StepLayer, plan.layers, k)
        if layer.direct:
            run_direct(real, layer.direct, room, x, states)
        else:
            _run_whole(real, plan, layer.whole, layer.states, room, x, states)
        y, count = state_at(states, layer.states, 0), plan.rows * stored(StepState, layer.states).units
        if k == 0 or plan.residual == 0:
            x = y
            if k == plan.layer_count - 1:
                copy_row(real, out, y, count)
        else:
            _add_numbers(real, out, x, y, count)
            x = out


@apart
def _run_whole(real, plan, at, table, room, x, states):
    """A step of the `WholeLayer` at an address, with a table of `StepState`."""
    layer, number = stored(WholeLayer, at), vector_bytes(real) // lanes_of(real)
    call_at, places = room, room + CALL_BYTES
    for j in range(layer.state_count):
        units = stored_entry(StepState, table, j).units
        place = PlaceEntry(address=state_at(states, table, j), row=number * units, step=0, slot=j, units=units)
        store_integers(place, places + PLACE_BYTES * j)
        store_integers(place, places + PLACE_BYTES * (layer.state_count + j))
    store_integers(_forward_call(plan, layer, room, places, x, number), call_at)
    call(plan.forward, ShardCall(at=call_at, first=0, last=plan.rows))


@inner
def _forward_call(plan, layer, room, places, x, number):
    """The arguments of `forward` for a layer."""
    return ForwardCall(
        layer=layer.layer,
        shape=LayerShape(steps=1, inputs=layer.inputs, groups=layer.groups),
        memory=ForwardMemory(
            addresses=room + layer.addresses, span=8 * plan.rows,
            sums=room + layer.sums if layer.sums else 0, sums_row=layer.sums_row,
            narrowing=layer.narrowing, narrow=room + layer.narrow, narrow_row=layer.narrow_row,
            ahead=Ahead(steps=0, room=0, sums=0, row=0, xs=0, multiply=0),
        ),
        team=Team(parts=1, rows=plan.rows, address=0),
        masks=layer.masks, mask_count=layer.mask_count, places=places, place_count=2 * layer.state_count,
        x=Strided(address=x, row=number * layer.inputs, step=0),
        records=Records(
            address=room + layer.records, row=layer.record_row, step=plan.rows * layer.record_row, slot=layer.slot,
            wrap=1, keep=0, first=0, last=1,
        ),
        rows=SortedRows(order=plan.order, lengths=plan.lengths, reverse=0),
    )  # fmt: skip


@apart
def _add_numbers(real, out, x, y, count):
    """``out = y + x``, of `count` numbers."""
    lanes, size = lanes_of(real), vector_bytes(real)
    whole, rest = count // lanes, count % lanes
    for group in range(whole):
        at = group * size
        store(load(real, y + at) + load(real, x + at), out + at)
    if rest:
        at = whole * size
        store_first(load_first(real, y + at, rest) + load_first(real, x + at, rest), out + at, rest)


@c_function
def step_float32(plan, x, states, out):
    """A step in float32."""
    run_step(np.float32, plan, x, states, out)


@c_function
def step_float64(plan, x, states, out):
    """A step in float64."""
    run_step(np.float64, plan, x, states, out)
