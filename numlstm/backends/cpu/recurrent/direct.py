"""The step of one row in a layer of one phase: products, then equations, on the states where the caller has them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ....cells.cell import PREVIOUS
from ..linear.tile import ProductTile
from ..machine.arrays import address_of
from ..machine.compiling import call, inner, once
from ..machine.memory import (
    copy_row,
    lanes_of,
    load_address,
    store_address,
    stored,
    stored_entry,
    vector_bytes,
)
from ..machine.simd import splat, store
from .arguments import PhaseEntry, TileEntry, table
from .buffers import PreparedLayer
from .equations import PhaseForward


class StepState(NamedTuple):
    """A state of a layer."""

    units: int
    offset: int  # from the start of the array with this state of all layers
    read: int  # whether equations take it as it was before the step


class DirectLayer(NamedTuple):
    """A layer that needs no `forward`; places in memory count from the start of the room."""

    phase: int  # its only `PhaseEntry`
    tiles: int  # table of `TileEntry`, whose sources are x and the first state
    constants: int
    states: int  # table of `StepState`
    state_count: int
    in_place: int  # whether the states of the caller, at most two, are the record: they fill whole vectors
    groups: int  # vectors of a slot
    slot: int
    addresses: int  # of x and of the first state
    sums: int  # pre-activations of all panels
    record: int  # where the states are not in place


STEP_STATE = table(StepState)


def state_table(layer: PreparedLayer, offsets: Any) -> np.ndarray:
    """The table of the states of a layer, which begin so many bytes behind the starts of arrays."""
    packing = layer.weights.packing
    read = [any(name + PREVIOUS in phase.reads for phase in packing.cell.phases) for name in packing.cell.states]
    return np.array([*zip(packing.spec.state_sizes, offsets, read, strict=True)], STEP_STATE)


def is_direct(layer: PreparedLayer) -> bool:
    """Whether one row of a layer needs no `forward`.

    It has one phase, whose products are of x and of the first state. Its pre-activations go to the equations as they
    are, and no product takes fewer bits, nor a mask a part.
    """
    weights, packing = layer.weights, layer.weights.packing
    (phase, *others), sources = packing.phases, layer.tables.sources.tolist()
    return not (
        others or phase.norm or phase.copied or packing.slots.handed_on or packing.cell.masks or weights.narrowing
    ) and [(slot, now) for slot, now, _ in sources] == [(0, 0)]  # fmt: skip


def direct_layer(layer: PreparedLayer, states: np.ndarray, room: Any) -> DirectLayer:
    """A layer that needs no `forward`, with the table of its states; `room` shares memory out."""
    weights, packing, tables = layer.weights, layer.weights.packing, layer.tables
    slot, sizes = packing.groups * weights.vector, {*packing.spec.state_sizes}
    in_place = len(states) <= 2 and sizes == {packing.groups * packing.lanes}
    return DirectLayer(
        phase=address_of(tables.phases), tiles=address_of(tables.tiles), constants=tables.constants,
        states=address_of(states), state_count=len(states), in_place=int(in_place),
        groups=packing.groups, slot=slot, addresses=room.take(16),
        sums=room.take(packing.phases[0].columns * weights.flat.itemsize), record=room.take(len(states) * slot),
    )  # fmt: skip


@inner
def state_at(states, table, number):
    """The address of a state of a layer; `states` are those of the arrays with the states of all layers."""
    return load_address(states + 8 * number) + stored_entry(StepState, table, number).offset


@once
def run_direct(real, at, room, x, states):
    """A step of the `DirectLayer` at an address, from `x` (D,).

    All products end before the equations write, and these read a unit before they write it: so the states before the
    step and after it can be the same memory.
    """
    layer = stored(DirectLayer, at)
    phase = stored(PhaseEntry, layer.phase)
    h = state_at(states, layer.states, 0)
    addresses, sums, start = room + layer.addresses, room + layer.sums, phase.bias
    store_address(addresses, x)
    store_address(addresses + 8, h)
    if phase.last_tile > 1:  # tiles may leave some gates out
        copy_row(real, sums, start, phase.panels * phase.tile_row // (vector_bytes(real) // lanes_of(real)))
        start = sums
    for k in range(phase.last_tile):
        tile = stored_entry(TileEntry, layer.tiles, k)
        out, first, w, v = sums + tile.offset, start + tile.offset, tile.w, tile.v
        for _ in range(phase.panels):
            call(
                tile.tile,
                ProductTile(
                    rows=1, out=out, out_row=0, start=first, start_row=0,
                    w=w, a=addresses + 8 * tile.a, a_count=tile.a_count,
                    v=v, b=addresses + 8 * tile.b, b_count=tile.b_count,
                ),
            )  # fmt: skip
            out, first, w, v = out + phase.tile_row, first + phase.tile_row, w + tile.w_panel, v + tile.v_panel
    if layer.in_place:
        slot = state_at(states, layer.states, 1) - h if layer.state_count > 1 else 0
        _equations(phase, layer, sums, h, slot)
    else:
        record = room + layer.record
        for j in range(layer.state_count):
            state = stored_entry(StepState, layer.states, j)
            if state.read:
                _fill_slot(real, record + j * layer.slot, state_at(states, layer.states, j), state.units, layer.groups)
        _equations(phase, layer, sums, record, layer.slot)
        for j in range(layer.state_count):
            state = stored_entry(StepState, layer.states, j)
            copy_row(real, state_at(states, layer.states, j), record + j * layer.slot, state.units)


@inner
def _fill_slot(real, slot, place, count, groups):
    """Copy a state to a slot of so many vectors, with zeros behind it."""
    for group in range(count // lanes_of(real), groups):
        store(splat(real, real(0)), slot + group * vector_bytes(real))
    copy_row(real, slot, place, count)


@inner
def _equations(phase, layer, sums, record, slot):
    """The equations of all units, in a record of states alone."""
    call(
        phase.forward,
        PhaseForward(
            sums=sums, sums_row=0, before=record, now=record, record_row=0, slot=slot,
            first=0, vectors=phase.panels * phase.groups, rows=1, keep=0,
            parameters=phase.parameters, constants=layer.constants, masks=0, number=0,
        ),
    )  # fmt: skip
