"""Tags: arguments that carry a choice made when a kernel is compiled, and nothing when it runs.

A jitted function passed as an argument, or captured in a closure, never hits Numba's disk cache; an argument
whose *type* names the cell does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import types
from numba.extending import NativeValue, intrinsic, models, overload, register_model, typeof_impl, unbox

from ... import cells
from . import elementary  # noqa: F401  (gives the functions in equations their meaning on vectors)
from .compiling import inner
from .simd import Layout, vector_of
from .slots import Slots, slots_of


class WidthType(types.Opaque):
    """The width of a tile, in vectors."""

    def __init__(self, vectors: int, name: str = "") -> None:
        self.vectors = vectors
        super().__init__(name=name or f"Width({vectors})")


class PhaseType(WidthType):
    """One phase of a cell. The digest keeps apart cells that share a name but not their equations."""

    def __init__(self, cell: str, digest: str, index: int, vectors: int) -> None:
        self.cell, self.index = cell, index
        super().__init__(vectors, name=f"Phase({cell}, {digest}, {index})")

    @property
    def slots(self) -> Slots:
        """Where the values of the cell are kept."""
        return slots_of(cells.get(self.cell))

    @property
    def phase(self) -> cells.Phase:
        """The description of the phase."""
        return self.slots.cell.phases[self.index]


class Tag:
    """The run-time side of a tag type."""

    def __init__(self, numba_type: WidthType) -> None:
        self.numba_type = numba_type


@cache
def width(vectors: int) -> Tag:
    """The tag for tiles `vectors` wide."""
    return Tag(WidthType(vectors))


@cache
def phases(cell: cells.Cell) -> tuple[Tag, ...]:
    """The tags of a cell's phases."""
    vectors = slots_of(cell).vectors
    return tuple(Tag(PhaseType(cell.name, cell.digest, i, v)) for i, v in enumerate(vectors))


register_model(WidthType)(models.OpaqueModel)
register_model(PhaseType)(models.OpaqueModel)


@typeof_impl.register(Tag)
def _typeof(tag, context):
    return tag.numba_type


@unbox(WidthType)
def _unbox(tag_type, tag, context):
    return NativeValue(context.context.get_dummy_value())


def width_of(tag) -> int:
    """The number of columns of a tile, in vectors."""
    raise NotImplementedError


def groups_of(tag) -> int:
    """Vectors of hidden units in a panel of a phase."""
    raise NotImplementedError


def gates_of(tag) -> int:
    """Number of gates of a phase."""
    raise NotImplementedError


@overload(width_of)
def _width_of(tag):
    vectors = tag.vectors
    return lambda tag: vectors


@overload(groups_of)
def _groups_of(tag):
    groups = tag.vectors // len(tag.phase.gates)
    return lambda tag: groups


@overload(gates_of)
def _gates_of(tag):
    gates = len(tag.phase.gates)
    return lambda tag: gates


def equations_forward(tag, one, values) -> Any:
    """The forward equations of a phase on vectors."""
    raise NotImplementedError


def equations_backward(tag, one, values) -> Any:
    """The backward equations of a phase on vectors."""
    raise NotImplementedError


@overload(equations_forward)
def _equations_forward(tag, one, values):
    function = inner(tag.phase.forward)
    return lambda tag, one, values: function(one, *values)


@overload(equations_backward)
def _equations_backward(tag, one, values):
    function = inner(tag.phase.backward)
    return lambda tag, one, values: function(one, *values)


def _offset(builder, address, index, stride):
    return builder.add(address, builder.mul(stride, stride.type(index)))


@intrinsic
def load_values(typing_context, real, tag, gates, before, now, slot):
    """What the forward equations take: pre-activations from `gates`, values from two records."""
    vector, cell_slots = vector_of(real), tag.slots
    phase = tag.phase

    def generate(context, builder, signature, arguments):
        layout = Layout.of(vector)
        _, _, gates, before, now, slot = arguments
        size = slot.type(layout.lanes * layout.bits // 8)
        values = [layout.load(builder, _offset(builder, gates, i, size)) for i in range(len(phase.gates))]
        for name in phase.reads:
            index, previous = cell_slots.place(name)
            values.append(layout.load(builder, _offset(builder, before if previous else now, index, slot)))
        return context.make_tuple(builder, signature.return_type, values)

    count = len(phase.gates) + len(phase.reads)
    return types.UniTuple(vector, count)(real, tag, *[types.intp] * 4), generate


@intrinsic
def store_values(typing_context, tag, values, now, slot, training):
    """Write the results of the forward equations to a record; those only kept for `training` if it is set."""
    cell_slots, phase = tag.slots, tag.phase

    def generate(context, builder, signature, arguments):
        _, values, now, slot, training = arguments
        layout = Layout.of(signature.args[1].dtype)

        def put(names, start):
            for position, name in enumerate(names, start):
                index, _ = cell_slots.place(name)
                value = builder.extract_value(values, position)
                layout.store(builder, value, _offset(builder, now, index, slot))

        put(phase.gives, 0)
        with builder.if_then(training):
            put(phase.keeps, len(phase.gives))
        return context.get_dummy_value()

    return types.void(tag, values, types.intp, types.intp, types.boolean), generate


@intrinsic
def load_gradients(typing_context, real, tag, dnow, dvalues, dslot, before, now, slot):
    """What the backward equations take: gradients of what the phase gives, and values from two records."""
    vector, cell_slots, phase = vector_of(real), tag.slots, tag.phase

    def generate(context, builder, signature, arguments):
        layout = Layout.of(vector)
        _, _, dnow, dvalues, dslot, before, now, slot = arguments
        regions = {"now": dnow, "values": dvalues}
        values = []
        for name in phase.gives:
            index, region = cell_slots.gradient(name)
            values.append(layout.load(builder, _offset(builder, regions[region], index, dslot)))
        for name in phase.uses:
            index, previous = cell_slots.place(name)
            values.append(layout.load(builder, _offset(builder, before if previous else now, index, slot)))
        return context.make_tuple(builder, signature.return_type, values)

    count = len(phase.gives) + len(phase.uses)
    return types.UniTuple(vector, count)(real, tag, *[types.intp] * 6), generate


@intrinsic
def store_gradients(typing_context, tag, values, row, panel, count, dbefore, dnow, dvalues, slot):
    """Write the results of the backward equations.

    Gradients of the gates go to `row` and `panel`, zeros behind the first `count` lanes; those of values read
    go to the slots of `dbefore`, `dnow` (states) and `dvalues`.
    """
    cell_slots, phase = tag.slots, tag.phase
    gates = len(phase.gates)

    def generate(context, builder, signature, arguments):
        _, values, row, panel, count, dbefore, dnow, dvalues, slot = arguments
        regions = {"before": dbefore, "now": dnow, "values": dvalues}
        layout = Layout.of(signature.args[1].dtype)
        size = slot.type(layout.lanes * layout.bits // 8)
        mask, zero = layout.first(builder, count), layout.constant(0)
        for i in range(gates):
            value = builder.select(mask, builder.extract_value(values, i), zero)
            layout.store(builder, value, _offset(builder, row, i, size))
            layout.store(builder, value, _offset(builder, panel, i, size))
        for position, name in enumerate(phase.reads, gates):
            value = builder.extract_value(values, position)
            index, region = cell_slots.gradient(name)
            place = _offset(builder, regions[region], index, slot)
            if not cell_slots.overwrites(tag.index, name):
                value = builder.fadd(layout.load(builder, place), value)
            layout.store(builder, value, place)
        return context.get_dummy_value()

    return types.void(tag, values, *[types.intp] * 7), generate
