"""Rows of numbers from memory to memory: between the arrays of a caller and the padded slots of records."""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import Any, get_type_hints

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model
from numba.np import arrayobj

from .compiling import inner
from .simd import I64, VectorLayout, load, load_first, splat, store, store_first, vector_of


@intrinsic
def vector_bytes(typing_context, real):
    """Bytes in a vector of `real` numbers."""
    vector = vector_of(real)
    size = vector.lanes * vector.real.bitwidth // 8

    def generate(context, builder, signature, arguments):
        return context.get_constant(types.intp, size)

    return types.intp(real), generate


@intrinsic
def lanes_of(typing_context, real):
    """Numbers in a vector of `real` numbers."""
    lanes = vector_of(real).lanes

    def generate(context, builder, signature, arguments):
        return context.get_constant(types.intp, lanes)

    return types.intp(real), generate


@intrinsic
def copy_rest(typing_context, real, place, source, count):
    """Copy the last ``count % lanes`` of `count` numbers, in pieces of half a vector, a quarter, and so on.

    They can be read again at once: after a masked store, loads must wait until it has reached the cache.
    """
    vector = vector_of(real)

    def generate(context, builder, signature, arguments):
        _, place, source, count = arguments
        layout = VectorLayout.of(vector)
        size, numbers = layout.bits // 8, layout.lanes // 2
        while numbers:
            pointer = ir.VectorType(layout.real, numbers).as_pointer()
            with builder.if_then(builder.icmp_signed("!=", builder.and_(count, I64(numbers)), I64(0))):
                done = builder.mul(builder.and_(count, I64(-2 * numbers)), I64(size))
                piece = builder.load(builder.inttoptr(builder.add(source, done), pointer), align=size)
                builder.store(piece, builder.inttoptr(builder.add(place, done), pointer), align=size)
            numbers //= 2
        return context.get_dummy_value()

    return types.void(real, types.intp, types.intp, types.intp), generate


@inner
def copy_row(real, place, source, count):
    """Copy `count` numbers; memory behind them is neither read nor written."""
    lanes, size = lanes_of(real), vector_bytes(real)
    for group in range(count // lanes):
        store(load(real, source + group * size), place + group * size)
    copy_rest(real, place, source, count)


@inner
def load_row(real, slot, place, count, groups):
    """Copy `count` numbers from `place` to `slot`, with zeros behind them: `groups` vectors in all.

    Where there are none, `place` may be no address: to load no lanes from there takes as long as twenty vectors.
    """
    lanes, size = lanes_of(real), vector_bytes(real)
    whole = lesser(count // lanes, groups)
    for group in range(whole):
        store(load(real, place + group * size), slot + group * size)
    if count > whole * lanes and whole < groups:
        store(load_first(real, place + whole * size, count - whole * lanes), slot + whole * size)
        whole += 1
    zero = splat(real, real(0))
    for group in range(whole, groups):
        store(zero, slot + group * size)


@inner
def add_row(real, slot, place, count):
    """Add `count` numbers at `place` to `slot`."""
    lanes, size = lanes_of(real), vector_bytes(real)
    whole, rest = count // lanes, count % lanes
    for group in range(whole):
        offset = group * size
        store(load(real, slot + offset) + load(real, place + offset), slot + offset)
    if rest:
        offset = whole * size
        store(load(real, slot + offset) + load_first(real, place + offset, rest), slot + offset)


@inner
def zero_steps(real, array, row, start, end, count):
    """Zeros in `count` numbers of a row of an (N, T, .) array, in the steps start <= t < end."""
    lanes, size = lanes_of(real), vector_bytes(real)
    zero = splat(real, real(0))
    for t in range(start, end):
        place = array.address + row * array.row + t * array.step
        for group in range(count // lanes):
            store(zero, place + group * size)
        if count % lanes:
            store_first(zero, place + (count // lanes) * size, count % lanes)


@intrinsic
def store_address(typing_context, place, address):
    """Write an address to memory."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[1], builder.inttoptr(arguments[0], I64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def load_address(typing_context, place):
    """Read an address from memory."""

    def generate(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], I64.as_pointer()))

    return types.intp(types.intp), generate


@intrinsic
def allocate(typing_context, size):
    """The address of new memory; 0 where there is none."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(context.nrt.allocate(builder, arguments[0]), I64)

    return types.intp(types.intp), generate


@intrinsic
def free(typing_context, address):
    """Give such memory back."""

    def generate(context, builder, signature, arguments):
        context.nrt.free(builder, builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def array_at(typing_context, number, address, count):
    """The numbers at an address, as an array."""
    kind = types.Array(number.dtype, 1, "C")

    def generate(context, builder, signature, arguments):
        array = context.make_array(kind)(context, builder)
        size = I64(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        data = builder.inttoptr(arguments[1], array.data.type)
        arrayobj.populate_array(array, data, [arguments[2]], [size], size, None)
        return array._getvalue()

    return kind(number, types.intp, types.intp), generate


@cache
def _fields(entry) -> dict[str, tuple[Any, int]]:
    """For each field of a named tuple of integers, and of others: its class, and the bytes before it."""
    fields: dict[str, tuple[Any, int]] = {}
    end = 0
    for name, kind in get_type_hints(entry).items():
        fields[name] = kind, end
        end += entry_bytes(kind)
    return fields


def entry_bytes(entry) -> int:
    """Bytes of such a named tuple, or of an integer, in memory."""
    return sum(entry_bytes(kind) for kind, _ in _fields(entry).values()) if hasattr(entry, "_fields") else 8


class Stored(types.Type):
    """Such a named tuple in memory, as its address."""

    def __init__(self, entry) -> None:
        self.entry = entry
        super().__init__(name=f"Stored({entry.__module__}.{entry.__qualname__})")

    def field(self, name: str) -> tuple[types.Type, int]:
        """The type of an attribute, and the bytes before it."""
        kind, before = _fields(self.entry)[name]
        return Stored(kind) if hasattr(kind, "_fields") else types.intp, before


@register_model(Stored)
class _StoredModel(models.PrimitiveModel):
    def __init__(self, dmm, kind):
        super().__init__(dmm, kind, I64)


@infer_getattr
class _StoredAttributes(AttributeTemplate):
    key = Stored

    def generic_resolve(self, kind, name):
        return kind.field(name)[0] if name in kind.entry._fields else None


@lower_getattr_generic(Stored)
def _attribute(context, builder, kind, address, name):
    result, before = kind.field(name)
    place = builder.add(address, I64(before))
    if isinstance(result, Stored):
        return place
    value = builder.load(builder.inttoptr(place, I64.as_pointer()))
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


@intrinsic
def stored(typing_context, kind, address):
    """The named tuple of class `kind` at an address: read where it is used, so nobody may change it."""

    def generate(context, builder, signature, arguments):
        return arguments[1]

    return Stored(kind.instance_class)(kind, types.intp), generate


@intrinsic
def stored_entry(typing_context, kind, table, index):
    """Such an entry of a table of named tuples."""
    entry = kind.instance_class

    def generate(context, builder, signature, arguments):
        _, table, index = arguments
        return builder.add(table, builder.mul(index, I64(entry_bytes(entry))))

    return Stored(entry)(kind, types.intp, types.intp), generate


@cache
def integers_type(entry) -> types.BaseTuple:
    """Numba's type of a named tuple of integers, and of other such named tuples."""
    kinds = [integers_type(hint) if hasattr(hint, "_fields") else types.intp for hint in get_type_hints(entry).values()]
    alike = all(kind is types.intp for kind in kinds)
    return types.NamedUniTuple(types.intp, len(kinds), entry) if alike else types.NamedTuple(kinds, entry)


def _read(context, builder, kind, place):
    """The integers of a named tuple from memory, one after the other."""
    pointer, numbers = builder.inttoptr(place, I64.as_pointer()), count()

    def read(kind):
        if kind is types.intp:
            return builder.load(builder.gep(pointer, [I64(next(numbers))]))
        return context.make_tuple(builder, kind, [read(part) for part in kind.types])

    return read(kind)


@intrinsic
def load_integers(typing_context, kind, address):
    """Read the integers of a named tuple, of class `kind`, from memory."""
    result = integers_type(kind.instance_class)

    def generate(context, builder, signature, arguments):
        return _read(context, builder, result, arguments[1])

    return result(kind, types.intp), generate


@intrinsic
def load_entry(typing_context, kind, table, index):
    """Read an entry of a table of named tuples of class `kind`."""
    entry = kind.instance_class
    result, size = integers_type(entry), entry_bytes(entry)

    def generate(context, builder, signature, arguments):
        _, table, index = arguments
        return _read(context, builder, result, builder.add(table, builder.mul(index, I64(size))))

    return result(kind, types.intp, types.intp), generate


@intrinsic
def store_integers(typing_context, values, address):
    """Write the integers of a named tuple to memory."""

    def generate(context, builder, signature, arguments):
        pointer, numbers = builder.inttoptr(arguments[1], I64.as_pointer()), count()

        def write(kind, value):
            if isinstance(kind, types.BaseTuple):
                for k, part in enumerate(kind.types):
                    write(part, builder.extract_value(value, k))
            else:
                number = context.cast(builder, value, kind, types.intp)
                builder.store(number, builder.gep(pointer, [I64(next(numbers))]))

        write(signature.args[0], arguments[0])
        return context.get_dummy_value()

    return types.void(values, types.intp), generate


@intrinsic
def lesser(typing_context, a, b):
    """The smaller of two integers. Numba's `min` would be compiled for each pair of types."""
    return _chosen("<")


@intrinsic
def greater(typing_context, a, b):
    """The larger of two integers."""
    return _chosen(">")


def _chosen(comparison):
    def generate(context, builder, signature, arguments):
        a, b = arguments
        return builder.select(builder.icmp_signed(comparison, a, b), a, b)

    return types.intp(types.intp, types.intp), generate


@inner
def integer_at(integers, index):
    """A number of an array of integers."""
    return load_address(integers + 8 * index)


@inner
def time_of(rows, m, s):
    """The step of x that row m has at computing step `s`."""
    return integer_at(rows.lengths, m) - 1 - s if rows.reverse else s


@inner
def rows_at(addresses, array, rows, s, first, active):
    """Write the addresses, at computing step `s`, of the rows first <= m < active to ``addresses + 8 * m``."""
    for m in range(first, active):
        row = array.address + integer_at(rows.order, m) * array.row + time_of(rows, m, s) * array.step
        store_address(addresses + 8 * m, row)


@inner
def slots_at(addresses, start, row, first, last):
    """Write ``start + m * row`` for the rows first <= m < last to ``addresses + 8 * m``."""
    for m in range(first, last):
        store_address(addresses + 8 * m, start + m * row)
