"""Random masks: the hash of `numlstm.backends.contract`, on vectors of units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llvmlite import ir

from ....cells import Mask
from ...contract import Noise
from ...streams import GOLDEN, stream_key, threshold
from ..machine.compiling import inner
from ..machine.memory import store_address
from ..machine.simd import I64, Layout

I32 = ir.IntType(32)
U64 = np.uint64
MASK_FIELDS = 5  # of a mask in the table that kernels take: integers, in this order:
# the threshold (negative: nothing is dropped), the address of the rows' keys, that of three vectors (dropped, kept,
# expected), the key of seed and stream, whether each step has a mask of its own.


def mask_table(
    masks: Sequence[Mask], noise: Noise | None, keys: int, rows: int, values: int, vector: int
) -> np.ndarray:
    """What kernels take of masks; `keys` and `values` are addresses, (masks, rows) keys and (masks, 3) vectors."""
    table = np.zeros((len(masks), MASK_FIELDS), np.int64)
    for k, mask in enumerate(masks):
        limit = -1 if noise is None else threshold(mask.probability)
        key = 0 if noise is None else stream_key(noise, mask.kind, mask.index)
        table[k] = limit, keys + 8 * k * rows, values + 3 * k * vector, key, mask.per_step
    return table


@inner
def next_key(key, word):
    """The key that follows from a word."""
    z = key + U64(GOLDEN) * (U64(word) + U64(1))
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@inner
def keys_of_rows(table, order, lengths, reverse, s, first, active):
    """Write the keys of the rows first <= m < active at computing step `s`, for every mask."""
    for k in range(len(table)):
        if table[k, 0] < 0:
            continue
        stream = U64(table[k, 3])
        for m in range(first, active):
            t = 0
            if table[k, 4]:
                t = lengths[m] - 1 - s if reverse else s
            key = next_key(next_key(stream, t), order[m])
            store_address(table[k, 1] + 8 * m, np.int64(key))


def mask_value(layout: Layout, builder, table, index: int, number, unit):
    """LLVM code for the value of mask `index` for units `unit`, `unit` + 1, ... of the row of a number."""
    fields = builder.inttoptr(builder.add(table, I64(8 * MASK_FIELDS * index)), I64.as_pointer())
    limit, keys, values = (builder.load(builder.gep(fields, [I64(k)])) for k in range(3))
    size = layout.lanes * layout.bits // 8
    expected = layout.load(builder, builder.add(values, I64(2 * size)))
    masked = builder.icmp_signed(">=", limit, I64(0))
    start = builder.block
    with builder.if_then(masked):
        key = builder.load(builder.inttoptr(builder.add(keys, builder.mul(number, I64(8))), I64.as_pointer()))
        hashed = _hash(layout, builder, key, unit)
        vector_limit = _splat(layout, builder, builder.trunc(limit, I32))
        chosen = builder.select(
            builder.icmp_unsigned("<", hashed, vector_limit),
            layout.load(builder, values), layout.load(builder, builder.add(values, I64(size))),
        )  # fmt: skip
        end = builder.block
    value = builder.phi(layout.vector)
    value.add_incoming(expected, start)
    value.add_incoming(chosen, end)
    return value


def _splat(layout, builder, scalar):
    """A 32-bit integer in every lane."""
    kind = ir.VectorType(I32, layout.lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(kind, None))


def _hash(layout, builder, key, unit):
    """``hash(u)`` for as many units as a vector has lanes."""
    kind = ir.VectorType(I32, layout.lanes)

    def constant(value):
        return ir.Constant(kind, [value] * layout.lanes)

    def fold(v, bits):
        return builder.xor(v, builder.lshr(v, constant(bits)))

    low = _splat(layout, builder, builder.trunc(key, I32))
    high = _splat(layout, builder, builder.trunc(builder.lshr(key, I64(32)), I32))
    units = builder.add(_splat(layout, builder, builder.trunc(unit, I32)), ir.Constant(kind, [*range(layout.lanes)]))
    v = builder.add(builder.mul(units, constant(0x9E3779B1)), low)
    v = builder.mul(fold(v, 16), constant(0x7FEB352D))
    v = builder.xor(fold(v, 15), high)
    return fold(builder.mul(v, constant(0x846CA68B)), 16)
