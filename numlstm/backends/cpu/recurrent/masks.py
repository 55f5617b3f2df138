"""Random masks: the hash of `numlstm.backends.contract`, on vectors of units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llvmlite import ir

from ....cells import Mask
from ...contract import Noise
from ...streams import GOLDEN, stream_key, threshold
from ..machine import recording
from ..machine.compiling import inner
from ..machine.memory import (
    integer_at,
    store_address,
    stored_entry,
    time_of,
)
from ..machine.simd import I64, VectorLayout
from .arguments import MASK, MASK_BYTES, MaskEntry

I32 = ir.IntType(32)
U64 = np.uint64


def mask_table(
    masks: Sequence[Mask], noise: Noise | None, keys: int, rows: int, values: int, vector: int
) -> np.ndarray:
    """The table of masks; `keys` and `values` are addresses, of (masks, rows) keys and (masks, 3) vectors."""
    entries = [
        MaskEntry(
            limit=-1 if noise is None else threshold(mask.probability), keys=keys + 8 * k * rows,
            values=values + 3 * k * vector, stream=0, per_step=int(mask.per_step),
        )
        for k, mask in enumerate(masks)
    ]  # fmt: skip
    table = np.array(entries, MASK)
    if noise is not None:
        recording.do(_write_streams, table["stream"], masks, noise)
    return table


def _write_streams(out: np.ndarray, masks: Sequence[Mask], noise: Noise) -> None:
    """Write the keys of all masks."""
    out[:] = [stream_key(noise, mask.kind, mask.index) for mask in masks]


@inner
def next_key(key, word):
    """The key that follows from a key and a word."""
    z = key + U64(GOLDEN) * (U64(word) + U64(1))
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@inner
def keys_of_rows(masks, count, rows, s, first, active):
    """Write the keys of the rows first <= m < active at computing step `s`, for each of `count` masks."""
    for k in range(count):
        mask = stored_entry(MaskEntry, masks, k)
        if mask.limit < 0:
            continue
        stream = U64(mask.stream)
        for m in range(first, active):
            t = time_of(rows, m, s) if mask.per_step else 0
            key = next_key(next_key(stream, t), integer_at(rows.order, m))
            store_address(mask.keys + 8 * m, np.int64(key))


def mask_value(layout: VectorLayout, builder, table, index: int, number, unit):
    """LLVM code for the value of mask `index` for the units from `unit` on, in the row of a number."""
    integers = builder.inttoptr(builder.add(table, I64(MASK_BYTES * index)), I64.as_pointer())
    mask = MaskEntry(*(builder.load(builder.gep(integers, [I64(k)])) for k in range(len(MaskEntry._fields))))
    size = layout.lanes * layout.bits // 8
    expected = layout.load(builder, builder.add(mask.values, I64(2 * size)))
    masked = builder.icmp_signed(">=", mask.limit, I64(0))
    start = builder.block
    with builder.if_then(masked):
        key = builder.load(builder.inttoptr(builder.add(mask.keys, builder.mul(number, I64(8))), I64.as_pointer()))
        hashed = _hash(layout, builder, key, unit)
        vector_limit = _splat(layout, builder, builder.trunc(mask.limit, I32))
        chosen = builder.select(
            builder.icmp_unsigned("<", hashed, vector_limit),
            layout.load(builder, mask.values), layout.load(builder, builder.add(mask.values, I64(size))),
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
