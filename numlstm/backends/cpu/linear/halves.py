"""Products of numbers rounded to bfloat16, two at a time, with sums in float32.

Memory holds a pair of numbers in 32 bits, the first in the low half: two inputs of a column of weights, or two
neighbours of a vector. AVX-512 BF16 multiplies and adds such pairs in one instruction. Other processors need several
instructions, which are slower than float32, so that the backend refuses it there; tests run it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..machine import threads
from ..machine.arrays import Arguments, address_of, odd_lines
from ..machine.board import ShardCall
from ..machine.compiling import kernel, pointed
from ..machine.memory import lanes_of, load_address, store_address, stored, vector_bytes
from ..machine.simd import Vector, VectorLayout, load, load_first, splat
from ..machine.tags import width
from ..machine.target import target
from .packing import Block
from .tile import NarrowRows, ProductTile, Terms, emit_product, tile_of

I32 = ir.IntType(32)
NEEDS = "AVX-512 BF16"
LONGEST = 2**31  # numbers of a vector: any
GRADIENTS = True
BYTES = 2  # of a number in a row
PAIR_FLOP = 4  # what to make a pair of two weights counts when threads share it


class BFloat(ir.Type):
    """LLVM's type of 16 bits with the exponent of a float."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, BFloat)

    def __hash__(self):
        return hash(BFloat)


def supported() -> bool:
    """Whether the processor multiplies pairs in one instruction."""
    return target().bfloat16


def packed_shape(block: Block) -> tuple[int, ...]:
    """The shape of a block of weights for `half_product`: (panels, pairs of inputs, width)."""
    return block.panels, words(block.inputs), block.columns


def pack(block: Block, flat: np.ndarray, out: np.ndarray) -> None:
    """Write a block of weights as `half_product` takes it."""
    pair(flat[block.start : block.end].reshape(block.panels, block.inputs, block.columns), out)


def pair(matrices: np.ndarray, out: np.ndarray) -> None:
    """Write the pairs that the rows of matrices (count, rows, numbers) make, two by two; a last one alone has zeros."""
    count, rows, numbers = matrices.shape
    call = RowPairs(source=address_of(matrices), out=address_of(out), rows=rows, numbers=numbers)
    shards = threads.even_shards(count, float(PAIR_FLOP * out.size))
    threads.share(pair_rows, np.float32, Arguments.of(np.array(call, np.int64), (matrices, out)), shards)


def words(count: int) -> int:
    """The number of pairs that hold `count` numbers."""
    return -(-count // 2)


def row_bytes(count: int, lanes: int) -> int:
    """Bytes of a rounded row of `count` numbers."""
    return odd_lines(BYTES * -(-count // lanes) * lanes)


class Pairs(Terms):
    """Pairs of numbers, and how their products are added."""

    def __init__(self, layout: VectorLayout) -> None:
        super().__init__(layout)
        self.element = I32

    def column(self, builder, address):
        return builder.load(builder.inttoptr(address, self.layout.integer.as_pointer()), align=4)

    def add(self, builder, factor, column, total):
        if not target().bfloat16:
            for half in (self._low, self._high):
                total = self.layout.fma(builder, half(builder, factor), half(builder, column), total)
            return total
        halves = ir.VectorType(BFloat(), 2 * self.layout.lanes)
        kind = ir.FunctionType(self.layout.vector, [self.layout.vector, halves, halves])
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.layout.lanes}"
        dot = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(dot, [total, builder.bitcast(factor, halves), builder.bitcast(column, halves)])

    def _low(self, builder, pair):
        return builder.bitcast(builder.shl(pair, self.layout.integers(16)), self.layout.vector)

    def _high(self, builder, pair):
        return builder.bitcast(builder.and_(pair, self.layout.integers(0xFFFF0000 - 2**32)), self.layout.vector)


# Of pairs: `a_count` and `b_count` are numbers of pairs.
half_tile = tile_of(ProductTile, lambda layout, *rest: emit_product(Pairs(layout), *rest))


@pointed(ProductTile)
def half_product(real, width, tile):
    """`half_tile`, to be called by its address."""
    half_tile(real, width, tile)


@cache
def tile_address(real: Any, vectors: int) -> int:
    """The machine code of tiles of pairs of a width."""
    return half_product.address(numba.typeof(real), width(vectors))


@intrinsic
def store_rounded(typing_context, value, place):
    """All lanes to `place` as bfloat16."""
    if not isinstance(value, Vector):
        return None

    def generate(context, builder, signature, arguments):
        value, place = arguments
        layout = VectorLayout.of(signature.args[0])
        narrow = ir.VectorType(ir.IntType(16), layout.lanes)
        halves = builder.trunc(_rounded(builder, layout, value), narrow)
        builder.store(halves, builder.inttoptr(place, narrow.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(value, types.intp), generate


@intrinsic
def store_pairs(typing_context, low, high, place):
    """Pairs of the lanes of two vectors to `place`."""
    if not isinstance(low, Vector):
        return None

    def generate(context, builder, signature, arguments):
        low, high, place = arguments
        layout = VectorLayout.of(signature.args[0])
        halves = [_rounded(builder, layout, value) for value in (low, high)]
        pairs = builder.or_(halves[0], builder.shl(halves[1], layout.integers(16)))
        builder.store(pairs, builder.inttoptr(place, layout.integer.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(low, low, types.intp), generate


def _rounded(builder, layout, value):
    """The nearest bfloat16 in the low half of each lane; of two that are equally near, the even one. NaN stays NaN."""
    bits = builder.bitcast(value, layout.integer)
    odd = builder.and_(builder.lshr(bits, layout.integers(16)), layout.integers(1))
    nearest = builder.add(builder.add(bits, layout.integers(0x7FFF)), odd)
    nan = builder.or_(bits, layout.integers(0x400000))
    bits = builder.select(builder.fcmp_unordered("uno", value, value), nan, nearest)
    return builder.lshr(bits, layout.integers(16))


class RowPairs(NamedTuple):
    """Rows of matrices that become pairs."""

    source: int  # address of (matrices, rows, numbers) numbers
    out: int  # address of (matrices, pairs of rows, numbers) pairs, written
    rows: int
    numbers: int  # a multiple of the lanes


@kernel
def pair_rows(real, at, first, last):
    """Write the pairs of the matrices first <= k < last; a `RowPairs` is at the address."""
    p = stored(RowPairs, at)
    size, zeros = vector_bytes(real), splat(real, real(0))
    row = p.numbers // lanes_of(real) * size
    pairs = (p.rows + 1) // 2
    for k in range(first, last):
        for r in range(pairs):
            source, place = p.source + (k * p.rows + 2 * r) * row, p.out + (k * pairs + r) * row
            if 2 * r + 1 < p.rows:
                for offset in range(0, row, size):
                    store_pairs(load(real, source + offset), load(real, source + row + offset), place + offset)
            else:
                for offset in range(0, row, size):
                    store_pairs(load(real, source + offset), zeros, place + offset)


pair_rows.takes(ShardCall)


@pointed(NarrowRows)
def round_rows(real, rows):
    """Round rows."""
    lanes, size = lanes_of(real), vector_bytes(real)
    for m in range(rows.first, rows.active):
        source, place = load_address(rows.addresses + 8 * m), rows.place + m * rows.row
        for group in range(-(-rows.count // lanes)):
            values = load_first(real, source + group * size, rows.count - group * lanes)
            store_rounded(values, place + group * size // 2)
        store_address(rows.addresses + 8 * m, place)


@cache
def rows_address(real: Any) -> int:
    """The machine code that rounds rows."""
    return round_rows.address(numba.typeof(real))
