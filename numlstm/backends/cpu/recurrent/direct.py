"""The step of one row in a layer of one phase: products, then equations, on the states where the caller has them."""

from __future__ import annotations

from typing import NamedTuple

from ..linear.tile import ProductTile
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
from .arguments import PhaseEntry, TileEntry
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
