"""Products of numbers quantised to 8 bits, four at a time, with sums in integers.

A vector v becomes bytes q in 0..255 with a step and a zero point, ``v ≈ step (q - zero)``; a column of weights becomes
bytes in -127..127 with a step alone. Memory holds four bytes in 32 bits, the first in the lowest: four inputs of a
column, or four neighbours of a vector. VNNI multiplies and adds fours in one instruction. The sum of a product is an
exact integer, so that it does not depend on how it is computed; it becomes float32 once. Other processors need several
instructions, which are slower than float32, so that the backend refuses it there; tests run it.

- A vector's step is its range, 0 included, divided by 254. So neither end is clipped, where both the zero point and
  the quotient are rounded; a 0 stays exact, and a vector of zeros, too.
- A column's step is its largest magnitude divided by 127, or by a smaller number, where this keeps the column as it is:
  weights that were quantised before lose nothing.
- A vector that is not finite has the step NaN, and so makes all of its sums NaN. Where the range alone is not, the step
  is infinite and all bytes are 0, which gives NaN, too.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..machine.compiling import pointed
from ..machine.memory import lanes_of, load_address, store_address, vector_bytes
from ..machine.simd import I64, VectorLayout, load, load_first, splat, store_first, sum_lanes
from ..machine.tags import width
from ..machine.target import target
from .packing import Block
from .tile import (
    NarrowRows,
    ProductTile,
    Terms,
    accumulate,
    by_height,
    outer_sums,
    product_heights,
    row_pointers,
    tile_of,
)

I8, I32 = ir.IntType(8), ir.IntType(32)
NEEDS = "AVX-512 VNNI or AVX-VNNI"
GRADIENTS = False
LONGEST = 1 << 16  # numbers of a vector: 255 * 127 times as much fits in 32 bits
HEADER = 64  # bytes before a row; they also keep rows from sharing sets of the cache
STEP, ZERO = -HEADER, 16 - HEADER  # places in it
STEPS = 254  # of a vector's range
MOST, LEAST = 127, 64  # steps of a column's largest magnitude
SAMPLE, NEAR = 8, 1e-3  # weights of a column that are looked at first; how near to whole they must be
FLOOR = 1e-30  # the least range that counts, so that no step is 0
MAGIC = 1.5 * 2**23  # a float32 with this summand is rounded to an integer, in its lowest bits


def supported() -> bool:
    """Whether the processor multiplies fours in one instruction."""
    return target().vnni


def quantised(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes and steps of columns (inputs, columns); those of a column that is not finite are 0 and NaN."""
    largest = np.maximum(np.abs(columns).max(axis=0), np.float32(FLOOR))
    largest[~np.isfinite(largest)] = np.nan
    counts = _counts(columns, largest)
    values = np.rint(columns * (counts / largest))
    return np.where(np.isnan(largest), 0, values).astype(np.int8), (largest / counts).astype(np.float32)


def _counts(columns: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """How many steps the largest magnitude of each column is."""
    counts = np.full(len(largest), MOST, np.float32)
    for count in range(MOST - 1, LEAST - 1, -1):
        left = np.flatnonzero(counts == MOST)
        for rows in (columns[:SAMPLE], columns):
            steps = rows[:, left] * (np.float32(count) / largest[left])
            left = left[(np.abs(steps - np.rint(steps)) < NEAR).all(axis=0)]
        counts[left] = count
    return counts


def packed_shape(block: Block) -> tuple[int, ...]:
    """The shape of a block for `quantised_product`: in each panel fours of inputs, then sums of bytes, then steps."""
    return block.panels, words(block.inputs) + 2, block.columns


def pack(block: Block, flat: np.ndarray, out: np.ndarray) -> None:
    """Write a block of weights as `quantised_product` takes it."""
    values = flat[block.start : block.end].reshape(block.panels, block.inputs, block.columns)
    with np.errstate(invalid="ignore"):
        numbers, steps = quantised(values.transpose(1, 0, 2).reshape(block.inputs, -1))
    fours = np.zeros((4 * words(block.inputs), block.panels, block.columns), np.int8)
    fours[: block.inputs] = numbers.reshape(block.inputs, block.panels, block.columns)
    out[:, :-2] = fours.reshape(-1, 4, *fours.shape[1:]).transpose(2, 0, 3, 1).copy().view(np.int32)[..., 0]
    out[:, -2] = fours.sum(axis=0, dtype=np.int32)
    out[:, -1] = steps.view(np.int32).reshape(block.panels, block.columns)


def words(count: int) -> int:
    """The number of fours that hold `count` numbers."""
    return -(-count // 4)


def row_bytes(count: int, lanes: int) -> int:
    """Bytes of a quantised row of `count` numbers."""
    return HEADER + -(-count // lanes) * lanes


class Fours(Terms):
    """Fours of bytes, and how their products are added: those of vectors have no sign, those of weights have one."""

    def __init__(self, layout: VectorLayout) -> None:
        super().__init__(layout)
        self.element = I32

    def column(self, builder, address):
        return builder.load(builder.inttoptr(address, self.layout.integer.as_pointer()), align=4)

    def add(self, builder, factor, column, total):
        if not target().vnni:
            for byte in range(4):
                product = builder.mul(self._unsigned(builder, factor, byte), self._signed(builder, column, byte))
                total = builder.add(total, product)
            return total
        kind = ir.FunctionType(self.layout.integer, [self.layout.integer] * 3)
        name = f"llvm.x86.avx512.vpdpbusd.{32 * self.layout.lanes}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [total, factor, column])

    def _unsigned(self, builder, four, byte):
        return builder.and_(builder.lshr(four, self.layout.integers(8 * byte)), self.layout.integers(255))

    def _signed(self, builder, four, byte):
        return builder.ashr(builder.shl(four, self.layout.integers(24 - 8 * byte)), self.layout.integers(24))


def emit_quantised_product(layout, wide, builder, tile):
    """Emit a `quantised_tile`."""
    terms, size = Fours(layout), 4 * layout.lanes

    def emit(height):
        add_product(height, tile.w, tile.a, tile.a_count, tile.start, tile.start_row)
        with builder.if_then(builder.icmp_signed(">", tile.b_count, I64(0))):
            add_product(height, tile.v, tile.b, tile.b_count, tile.out, tile.out_row)

    def add_product(height, weights, addresses, steps, start, start_row):
        numbers = row_pointers(builder, addresses, height, I32)
        totals = builder.add(weights, builder.mul(steps, I64(wide * size)))

        def multiply(k, sums):
            panel = builder.add(weights, builder.mul(k, I64(wide * size)))
            return outer_sums(terms, builder, panel, [builder.gep(number, [k]) for number in numbers], sums, wide)

        rows = [builder.ptrtoint(number, I64) for number in numbers]
        zeros = [header(row, ZERO, I8) for row in rows]
        zeros = [layout.splat(builder, builder.neg(builder.zext(zero, I32))) for zero in zeros]
        bytes_of = [terms.column(builder, builder.add(totals, I64(i * size))) for i in range(wide)]
        sums = [builder.mul(zero, total) for zero in zeros for total in bytes_of]
        sums = accumulate(builder, len(sums), sums, steps, multiply)
        row_steps = [layout.splat(builder, header(row, STEP, layout.real)) for row in rows]
        for index, total in enumerate(sums):
            r, i = divmod(index, wide)
            step = layout.load(builder, builder.add(totals, I64((wide + i) * size)))
            value = builder.fmul(builder.sitofp(total, layout.vector), step)
            before = layout.load(builder, place(start, start_row, r, i))
            layout.store(builder, layout.fma(builder, value, row_steps[r], before), place(tile.out, tile.out_row, r, i))

    def header(row, offset, kind):
        return builder.load(builder.inttoptr(builder.add(row, I64(offset)), kind.as_pointer()))

    def place(base, row, r, i):
        return builder.add(base, builder.add(builder.mul(row, I64(r)), I64(i * size)))

    by_height(builder, product_heights(wide), tile.rows, emit)


# Of fours: `a_count` and `b_count` are numbers of fours; `a_count` must not be 0.
quantised_tile = tile_of(ProductTile, emit_quantised_product)


@pointed(ProductTile)
def quantised_product(real, width, tile):
    """`quantised_tile`, to be called by its address."""
    quantised_tile(real, width, tile)


@cache
def tile_address(real: Any, vectors: int) -> int:
    """The machine code of tiles of fours of a width."""
    return quantised_product.address(numba.typeof(real), width(vectors))


# Rows ---------------------------------------------------------------------------------------------------------


@intrinsic
def _smaller(typing_context, a, b):
    """The smaller of two numbers in each lane, `b` where `a` is NaN."""
    return _choice(a, b, "<")


@intrinsic
def _larger(typing_context, a, b):
    """The larger of two numbers in each lane, `b` where `a` is NaN."""
    return _choice(a, b, ">")


def _choice(a, b, comparison):
    def generate(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered(comparison, *arguments), *arguments)

    return a(a, b), generate


@intrinsic
def _smallest(typing_context, value):
    """The smallest of all lanes, none of which is NaN."""
    return _fold(value, "<")


@intrinsic
def _largest(typing_context, value):
    """The largest of all lanes, none of which is NaN."""
    return _fold(value, ">")


def _fold(value, comparison):
    def generate(context, builder, signature, arguments):
        (rest,), count = arguments, value.lanes
        while count > 1:
            count //= 2
            halves = [_lanes(builder, rest, first, count) for first in (0, count)]
            rest = builder.select(builder.fcmp_ordered(comparison, *halves), *halves)
        return builder.extract_element(rest, I32(0))

    return value.real(value), generate


def _lanes(builder, value, first, count):
    numbers = ir.Constant(ir.VectorType(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), numbers)


@intrinsic
def _store_bytes(typing_context, value, place):
    """The lowest bits of all lanes, eight of each, to `place`."""

    def generate(context, builder, signature, arguments):
        value, place = arguments
        layout = VectorLayout.of(signature.args[0])
        numbers = ir.VectorType(I8, layout.lanes)
        lowest = builder.trunc(builder.bitcast(value, layout.integer), numbers)
        builder.store(lowest, builder.inttoptr(place, numbers.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(value, types.intp), generate


@pointed(NarrowRows)
def quantise_rows(real, rows):
    """Quantise rows. Products and sums must not be contracted: a quotient is rounded to float32, then to an integer."""
    lanes, size = lanes_of(real), vector_bytes(real)
    whole, rest, zeros = rows.count // lanes, rows.count % lanes, splat(real, real(0))
    for m in range(rows.first, rows.active):
        source, place = load_address(rows.addresses + 8 * m), rows.place + m * rows.row + HEADER
        last = load_first(real, source + whole * size, rest)
        low, high, spoilt = _smaller(last, zeros), _larger(last, zeros), last * zeros
        for group in range(whole):
            values = load(real, source + group * size)
            low, high = _smaller(values, low), _larger(values, high)
            spoilt = spoilt + values * zeros  # NaN, where a number is not finite
        least, span = _smallest(low), _largest(high) - _smallest(low)
        wide = max(span, real(FLOOR))
        step = wide / real(STEPS) + sum_lanes(spoilt)
        factor = real(STEPS) / wide
        offset = splat(real, real(MAGIC) - least * factor)
        store_first(splat(real, step), place + STEP, 1)
        _store_bytes(offset, place + ZERO)
        factors = splat(real, factor)
        for group in range(whole):
            _store_bytes(load(real, source + group * size) * factors + offset, place + group * lanes)
        if rest:
            _store_bytes(last * factors + offset, place + whole * lanes)
        store_address(rows.addresses + 8 * m, place)


@cache
def rows_address(real: Any) -> int:
    """The machine code that quantises rows."""
    return quantise_rows.address(numba.typeof(real))
