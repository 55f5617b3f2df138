"""The equations of a phase as machine code, for a range of rows and units; kernels call them by their addresses."""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any, NamedTuple

from numba import types
from numba.extending import intrinsic

from ....cells.cell import Phase
from ... import plain
from ..machine import elementary
from ..machine.compiling import calls, inner, pointed
from ..machine.memory import lanes_of, vector_bytes
from ..machine.simd import I64, VectorLayout, splat, vector_of
from ..machine.tags import of_tag
from .arguments import SIDE_BYTES, SideEntry
from .masks import mask_value


@cache
def compiled(function: Any) -> Any:
    """A plain function of a cell, compiled for kernels."""
    return plain.compiled(function, inner, elementary.FUNCTIONS)


@cache
def _record(kind: str, names: tuple[str, ...]) -> Any:
    """A named tuple; equations reach names that are no identifiers by their places."""
    return namedtuple(kind, names, rename=True)


@intrinsic
def equations_forward(typing_context, tag, one, values):
    """The forward equations of a phase on vectors."""
    return calls(typing_context, compiled(tag.phase.forward), tag, one, values, first=1)


@intrinsic
def equations_backward(typing_context, tag, one, gradients, values):
    """The backward equations of a phase on vectors."""
    return calls(typing_context, compiled(tag.phase.backward), tag, one, gradients, values, first=1)


@intrinsic
def equations_finish(typing_context, tag, one, values):
    """The end of the forward equations of a phase, on vectors."""
    return calls(typing_context, compiled(tag.phase.finish), tag, one, values, first=1)


@of_tag
def gates_of(tag):
    """Number of gates of a phase."""
    return len(tag.phase.gates)


@of_tag
def parameters_of(tag):
    """Number of parameters of a phase that have one number per unit."""
    return len(tag.phase.parameters)


# Phase forward ------------------------------------------------------------------------------------------------


class PhaseForward(NamedTuple):
    """The arguments of `phase_forward`: addresses and bytes, unless said otherwise."""

    sums: int  # pre-activations (rows, vectors, gates) vectors
    sums_row: int
    before: int  # records of the step before, of the first row
    now: int  # records of this step, of the first row
    record_row: int
    slot: int
    first: int  # the first vector of units
    vectors: int  # how many follow
    rows: int  # number of rows
    keep: int  # whether values are kept that no other phase needs
    parameters: int  # (units, parameters) vectors
    constants: int  # vectors
    masks: int  # table of masks
    number: int  # the number of the first row, in the masks


@pointed(PhaseForward)
def phase_forward(real, tag, p):
    """The equations of a phase, for some vectors of units of some rows."""
    size, lanes = vector_bytes(real), lanes_of(real)
    one = splat(real, real(1))
    for m in range(p.rows):
        for j in range(p.vectors):
            unit, place = m * p.record_row + (p.first + j) * size, p.sums + m * p.sums_row + j * gates_of(tag) * size
            values = _load_values(
                real, tag, place, p.before + unit, p.now + unit, p.slot,
                p.parameters + (p.first + j) * parameters_of(tag) * size, p.constants, p.masks, p.number + m,
                (p.first + j) * lanes,
            )  # fmt: skip
            _store_values(tag, equations_forward(tag, one, values), place, p.now + unit, p.slot, p.keep)
    finish_all(real, tag, p)


@intrinsic
def finish_all(typing_context, real, tag, p):
    """Finish the forward equations, for all units and rows, if they have an end."""
    return calls(typing_context, finish_vectors if tag.phase.finish else finish_none, real, tag, p)


@inner
def finish_none(real, tag, p):
    """Do nothing."""


@inner
def finish_vectors(real, tag, p):
    """Run `finish` on each vector of units."""
    size = vector_bytes(real)
    one = splat(real, real(1))
    for m in range(p.rows):
        for j in range(p.vectors):
            unit, place = m * p.record_row + (p.first + j) * size, p.sums + m * p.sums_row + j * gates_of(tag) * size
            values = _load_late(real, tag, place, p.now + unit, p.slot, p.constants)
            _store_finished(tag, equations_finish(tag, one, values), p.now + unit, p.slot)


def _offset(builder, address, index, stride):
    return builder.add(address, builder.mul(stride, stride.type(index)))


def _load_common(builder, layout, phase: Phase, cell, parameters, constants, masks, number, unit):
    """The parameters, constants and masks of forward and backward equations: vectors."""
    size = I64(layout.lanes * layout.bits // 8)
    values = [layout.load(builder, _offset(builder, parameters, k, size)) for k in range(len(phase.parameters))]
    order = [name for name, _ in cell.constants]
    for name in phase.constants:
        values.append(layout.load(builder, _offset(builder, constants, order.index(name), size)))
    order = [mask.name for mask in cell.masks]
    for name in phase.masks:
        values.append(mask_value(layout, builder, masks, order.index(name), number, unit))
    return values


@intrinsic
def _load_values(typing_context, real, tag, gates, before, now, slot, parameters, constants, masks, number, unit):
    """Load what the forward equations take."""
    vector, slots, phase = vector_of(real), tag.slots, tag.phase
    names = (*phase.gates, *phase.reads, *(name for name, _, _ in phase.parameters), *phase.constants, *phase.masks)
    record = types.NamedUniTuple(vector, len(names), _record("Values", names))

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(vector)
        _, _, gates, before, now, slot, *common = arguments
        size = I64(layout.lanes * layout.bits // 8)
        order = slots.gates[tag.index]
        values = [layout.load(builder, _offset(builder, gates, order.index(gate), size)) for gate in phase.gates]
        for name in phase.reads:
            index, previous = slots.place(name)
            values.append(layout.load(builder, _offset(builder, before if previous else now, index, slot)))
        values += _load_common(builder, layout, phase, slots.cell, *common)
        return context.make_tuple(builder, signature.return_type, values)

    return record(real, tag, *[types.intp] * 9), generate


@intrinsic
def _store_values(typing_context, tag, values, gates, now, slot, keep):
    """Write what the equations give, and keep if wanted, to a record; what `finish` reads alone to `gates`."""
    slots, phase = tag.slots, tag.phase

    def generate(context, builder, signature, arguments):
        _, values, gates, now, slot, keep = arguments
        layout = VectorLayout.of(signature.args[1].dtype)
        size = I64(layout.lanes * layout.bits // 8)
        for k, name in enumerate(_only_finished(phase)):
            value = builder.extract_value(values, phase.results.index(name))
            layout.store(builder, value, _offset(builder, gates, k, size))

        def put(names):
            for name in names:
                value = builder.extract_value(values, phase.results.index(name))
                layout.store(builder, value, _offset(builder, now, slots.place(name)[0], slot))

        put(name for name in phase.gives if name not in phase.finish_gives)
        with builder.if_then(builder.icmp_signed("!=", keep, I64(0))):
            put(phase.keeps)
        return context.get_dummy_value()

    return types.void(tag, values, *[types.intp] * 4), generate


def _only_finished(phase: Phase) -> list[str]:
    """The values that `finish` reads and records do not hold; they are kept in the places of pre-activations."""
    names = [name for name in phase.finish_reads if name not in phase.gives]
    assert len(names) <= len(phase.gates), "no place for what finish reads"
    return names


@intrinsic
def _load_late(typing_context, real, tag, gates, now, slot, constants):
    """Load what `finish` takes."""
    vector, slots, phase = vector_of(real), tag.slots, tag.phase
    names = (*phase.finish_reads, *phase.constants)
    record = types.NamedUniTuple(vector, len(names), _record("Late", names))

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(vector)
        _, _, gates, now, slot, constants = arguments
        size = I64(layout.lanes * layout.bits // 8)
        order, only = [name for name, _ in slots.cell.constants], _only_finished(phase)
        places = [
            _offset(builder, gates, only.index(name), size) if name in only
            else _offset(builder, now, slots.place(name)[0], slot)
            for name in phase.finish_reads
        ]  # fmt: skip
        places += [_offset(builder, constants, order.index(name), size) for name in phase.constants]
        return context.make_tuple(builder, signature.return_type, [layout.load(builder, place) for place in places])

    return record(real, tag, *[types.intp] * 4), generate


@intrinsic
def _store_finished(typing_context, tag, values, now, slot):
    """Write the results of `finish` to a record."""
    slots, phase = tag.slots, tag.phase

    def generate(context, builder, signature, arguments):
        _, values, now, slot = arguments
        layout = VectorLayout.of(signature.args[1].dtype)
        for k, name in enumerate(phase.finish_gives):
            value = builder.extract_value(values, k)
            layout.store(builder, value, _offset(builder, now, slots.place(name)[0], slot))
        return context.get_dummy_value()

    return types.void(tag, values, types.intp, types.intp), generate


# Phase backward -----------------------------------------------------------------------------------------------


class PhaseBackward(NamedTuple):
    """The arguments of `phase_backward`: addresses and bytes, unless said otherwise."""

    sums: int  # gate gradients (rows, vectors, gates) vectors, written where pre-activations are normalised
    sums_row: int
    sides: int  # entries of the sides, to whose places gate gradients are written elsewhere
    pair: int  # number of the pair of row 0
    before: int  # records of the step before, of the first row
    now: int  # records of this step, of the first row
    record_row: int
    slot: int
    dbefore: int  # gradients of states of the step before, of the first row
    dnow: int  # gradients of states of this step, of the first row
    dvalues: int  # gradients of values given, of the first row
    gradient_row: int
    gradient_slot: int
    first: int  # the vectors first <= j < last of units
    last: int
    units: int  # number of all units
    rows: int  # number of rows
    parameters: int  # as in `PhaseForward`
    dparameters: int  # gradients of parameters (rows, vectors, parameters) vectors, written
    dparameters_row: int
    constants: int  # as in `PhaseForward`
    masks: int
    number: int


@pointed(PhaseBackward)
def phase_backward(real, tag, p):
    """The backward equations of a phase: gradients of gates, of values read, of parameters."""
    size, lanes = vector_bytes(real), lanes_of(real)
    one = splat(real, real(1))
    for m in range(p.rows):
        for j in range(p.first, p.last):
            unit, dunit = m * p.record_row + j * size, m * p.gradient_row + j * size
            d = _load_gradients(real, tag, p.dnow + dunit, p.dvalues + dunit, p.gradient_slot)
            values = _load_uses(
                real, tag, p.before + unit, p.now + unit, p.slot,
                p.parameters + j * parameters_of(tag) * size, p.constants, p.masks, p.number + m, j * lanes,
            )  # fmt: skip
            results = equations_backward(tag, one, d, values)
            place = p.sums + m * p.sums_row + j * gates_of(tag) * size
            _store_gates(tag, results, place, p.sides, p.pair + p.number + m, j, p.units - j * lanes)
            _store_gradients(
                tag, results, p.dbefore + dunit, p.dnow + dunit, p.dvalues + dunit, p.gradient_slot
            )  # fmt: skip
            place = p.dparameters + m * p.dparameters_row + j * parameters_of(tag) * size
            _store_parameters(tag, results, place, p.units - j * lanes)


@intrinsic
def _load_gradients(typing_context, real, tag, dnow, dvalues, dslot):
    """Load the gradients of what the phase gives."""
    vector, slots, phase = vector_of(real), tag.slots, tag.phase
    record = types.NamedUniTuple(vector, len(phase.gives), _record("Gradients", phase.gives))

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(vector)
        _, _, dnow, dvalues, dslot = arguments
        regions = {"now": dnow, "values": dvalues}
        values = []
        for name in phase.gives:
            index, region = slots.gradient(name)
            values.append(layout.load(builder, _offset(builder, regions[region], index, dslot)))
        return context.make_tuple(builder, signature.return_type, values)

    return record(real, tag, *[types.intp] * 3), generate


@intrinsic
def _load_uses(typing_context, real, tag, before, now, slot, parameters, constants, masks, number, unit):
    """Load what else the backward equations take."""
    vector, slots, phase = vector_of(real), tag.slots, tag.phase
    names = (*phase.uses, *(name for name, _, _ in phase.parameters), *phase.constants, *phase.masks)
    record = types.NamedUniTuple(vector, len(names), _record("Values", names))

    def generate(context, builder, signature, arguments):
        layout = VectorLayout.of(vector)
        _, _, before, now, slot, *common = arguments
        values = []
        for name in phase.uses:
            index, previous = slots.place(name)
            values.append(layout.load(builder, _offset(builder, before if previous else now, index, slot)))
        values += _load_common(builder, layout, phase, slots.cell, *common)
        return context.make_tuple(builder, signature.return_type, values)

    return record(real, tag, *[types.intp] * 8), generate


@intrinsic
def _store_gates(typing_context, tag, values, place, sides, pair, group, count):
    """Write gate gradients, with zeros behind the first `count` lanes."""
    slots, phase = tag.slots, tag.phase
    order = slots.gates[tag.index]

    def generate(context, builder, signature, arguments):
        _, values, place, sides, pair, group, count = arguments
        layout = VectorLayout.of(signature.args[1].dtype)
        size = layout.lanes * layout.bits // 8
        mask, zero = layout.first(builder, count), layout.constant(0)
        gradients = {
            gate: builder.select(mask, builder.extract_value(values, phase.gradients.index(gate)), zero)
            for gate in order
        }
        if phase.norm:
            for k, gate in enumerate(order):
                layout.store(builder, gradients[gate], builder.add(place, I64(k * size)))
            return context.get_dummy_value()
        for number, side in enumerate(slots.sides[tag.index]):
            entry = _side_entry(builder, sides, number)
            row = builder.add(entry.address, builder.mul(pair, entry.row))
            first = builder.add(row, builder.mul(group, I64(len(side.gates) * size)))
            for k, gate in enumerate(side.gates):
                layout.store(builder, gradients[gate], builder.add(first, I64(k * size)))
        return context.get_dummy_value()

    return types.void(tag, values, *[types.intp] * 5), generate


def _side_entry(builder, sides, number: int) -> SideEntry:
    """The integers of a side."""
    first = builder.inttoptr(builder.add(sides, I64(SIDE_BYTES * number)), I64.as_pointer())
    return SideEntry(*(builder.load(builder.gep(first, [I64(k)])) for k in range(len(SideEntry._fields))))


@intrinsic
def _store_gradients(typing_context, tag, values, dbefore, dnow, dvalues, slot):
    """Write the gradients of values read, or add them to what is there."""
    slots, phase = tag.slots, tag.phase

    def generate(context, builder, signature, arguments):
        _, values, dbefore, dnow, dvalues, slot = arguments
        regions = {"before": dbefore, "now": dnow, "values": dvalues}
        layout = VectorLayout.of(signature.args[1].dtype)
        for name in phase.reads:
            value = builder.extract_value(values, phase.gradients.index(name))
            index, region = slots.gradient(name)
            place = _offset(builder, regions[region], index, slot)
            if not slots.contributions[tag.index, name]:
                value = builder.fadd(layout.load(builder, place), value)
            layout.store(builder, value, place)
        return context.get_dummy_value()

    return types.void(tag, values, *[types.intp] * 4), generate


@intrinsic
def _store_parameters(typing_context, tag, values, place, count):
    """Write the gradients of parameters of a row, with zeros behind the first `count` lanes."""
    phase = tag.phase

    def generate(context, builder, signature, arguments):
        _, values, place, count = arguments
        layout = VectorLayout.of(signature.args[1].dtype)
        mask, zero = layout.first(builder, count), layout.constant(0)
        for k, (name, _, _) in enumerate(phase.parameters):
            value = builder.extract_value(values, phase.gradients.index(name))
            value = builder.select(mask, value, zero)
            layout.store(builder, value, builder.add(place, I64(k * layout.lanes * layout.bits // 8)))
        return context.get_dummy_value()

    return types.void(tag, values, types.intp, types.intp), generate
