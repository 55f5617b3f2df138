"""Register tiles: the products that take most of the time.

The sums of a tile stay in registers from the first product to the last. The number of its rows is chosen at run time
among the heights that were compiled. All heights sum a row in the same order, so a result does not depend on the place
of its row in the batch.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..machine.arrays import LINE
from ..machine.compiling import inner, pointed
from ..machine.simd import I64, Vector, VectorLayout, prefetch
from ..machine.tags import width
from ..machine.target import TILE_VECTORS, target

ROWS_TOGETHER = 2  # threads share rows in multiples of it: tiles of two rows waste nothing, those of one do
TILE_BYTES = 2048  # holds the largest tile: 24 registers of 64 bytes


class ProductTile(NamedTuple):
    """``out = start + A W + B V`` for some rows and a panel of weights.

    Where rows of W are looked up, A W is the row of W whose number is at the address in `a`.
    """

    rows: int  # number of rows, one of the heights that were compiled
    out: int  # address of (rows, vectors) vectors, written
    out_row: int  # bytes from row to row
    start: int  # address of (rows, vectors) vectors, the first summands; may be `out`
    start_row: int  # bytes from row to row; 0 where one row serves all
    w: int  # address of (a_count, vectors) vectors, a panel of weights
    a: int  # address of (rows,) addresses of rows of `a_count` numbers
    a_count: int  # length of the sum; 0 leaves it out
    v: int  # the second product: as `w`, `a` and `a_count`
    b: int
    b_count: int


class NarrowRows(NamedTuple):
    """Rows that are written in fewer bits: those first <= m < active of a batch."""

    addresses: int  # of the addresses of the rows, which those of the narrow rows replace
    count: int  # numbers of a row
    place: int  # where narrow rows go
    row: int  # bytes from one to the next
    first: int
    active: int


class OuterTile(NamedTuple):
    """``out[r] = start[r] + sum over k of a[k][column + r] * d[k]`` for some rows r."""

    rows: int  # number of rows, one of the heights that were compiled
    out: int  # address of (rows, vectors) vectors, written
    out_row: int  # bytes from row to row
    start: int  # address of (rows, vectors) vectors; may be `out`
    start_row: int  # bytes from row to row; 0 where one row serves all
    a: int  # address of (steps,) addresses of rows of numbers
    column: int  # bytes from there to the first number
    d: int  # address of (steps, vectors) vectors
    d_row: int  # bytes from step to step
    steps: int  # length of the sum, at least 1; it starts from zero, so that a long sum is a sum of short ones


@inner
def height_of(tallest, rows, before):
    """The height of the next tile for `rows` more rows: the largest of `tallest`, 4, 2 and 1 that they fill.

    A tile of one row takes as long as one of two rows: so 4 rows are no 3 and 1. One of two rows takes longer than half
    of one of four: so 8 rows are no 6 and 2, but for the first, which wait for their panel: `before` rows have had it.
    """
    if rows >= tallest and (rows, tallest) != (4, 3) and (before == 0 or (rows, tallest) != (8, 6)):
        return tallest
    height = 4
    while height > rows or height >= tallest:
        height //= 2
    return height


@inner
def nth_panel(k, count, back):
    """The number of the panel that is taken after `k` others, of `count`; the last one first if `back`.

    Steps take turns, so that each begins with the panels that the one before has left in the cache.
    """
    return count - 1 - k if back else k


def by_height(builder, heights, rows, emit):
    """Emit a switch over heights, the last of them 1; `emit(height)` emits each case."""
    done = builder.append_basic_block("tile.done")
    cases = [builder.append_basic_block(f"tile.{height}") for height in heights]
    switch = builder.switch(rows, cases[-1])
    for height, case in zip(heights[:-1], cases[:-1], strict=True):
        switch.add_case(I64(height), case)
    for height, case in zip(heights, cases, strict=True):
        builder.position_at_end(case)
        emit(height)
        builder.branch(done)
    builder.position_at_end(done)


def accumulate(builder, count, start, steps, multiply):
    """Registers `start` after `steps` rounds of ``multiply(k, registers)``; none where `steps` is 0."""
    before = builder.block
    loop = builder.append_basic_block("k")
    done = builder.append_basic_block("k.done")
    builder.cbranch(builder.icmp_signed(">", steps, I64(0)), loop, done)
    builder.position_at_end(loop)
    k = builder.phi(I64)
    k.add_incoming(I64(0), before)
    sums = [builder.phi(start[0].type) for _ in range(count)]
    for phi, value in zip(sums, start, strict=True):
        phi.add_incoming(value, before)
    new = multiply(k, sums)
    next_k = builder.add(k, I64(1))
    k.add_incoming(next_k, loop)
    for phi, value in zip(sums, new, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", next_k, steps), loop, done)
    builder.position_at_end(done)
    results = [builder.phi(start[0].type) for _ in range(count)]
    for phi, old, value in zip(results, start, new, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(value, loop)
    return results


class Terms:
    """How a tile loads numbers and vectors, and adds their products."""

    def __init__(self, layout: VectorLayout) -> None:
        self.layout, self.element = layout, layout.real

    def number(self, builder, pointer):
        """A number in every lane."""
        return self.layout.splat(builder, builder.load(pointer))

    def column(self, builder, address):
        """A vector."""
        return self.layout.load(builder, address)

    def add(self, builder, factor, column, total):
        """``total + factor * column``."""
        return self.layout.fma(builder, factor, column, total)


def outer_sums(terms, builder, panel, numbers, sums, wide):
    """``sums[r, i] + numbers[r] * panel[i]``; `numbers` are pointers.

    The fewer of both, numbers or vectors, stay in registers, and the others are loaded one after the other.
    """
    size = terms.layout.lanes * terms.layout.bits // 8

    def number(r):
        return terms.number(builder, numbers[r])

    def column(i):
        return terms.column(builder, builder.add(panel, I64(i * size)))

    new = list(sums)
    if len(numbers) <= wide:
        factors = [number(r) for r in range(len(numbers))]
        for i in range(wide):
            vector = column(i)
            for r, factor in enumerate(factors):
                new[r * wide + i] = terms.add(builder, factor, vector, sums[r * wide + i])
    else:
        columns = [column(i) for i in range(wide)]
        for r in range(len(numbers)):
            factor = number(r)
            for i, vector in enumerate(columns):
                new[r * wide + i] = terms.add(builder, factor, vector, sums[r * wide + i])
    return new


def row_pointers(builder, addresses, rows, element):
    """Pointers to the numbers of each row, of type `element`, from an array of row addresses."""
    array = builder.inttoptr(addresses, I64.as_pointer())
    loaded = [builder.load(builder.gep(array, [I64(row)])) for row in range(rows)]
    return [builder.inttoptr(address, element.as_pointer()) for address in loaded]


def fields_of(builder, packed, arguments: Any) -> Any:
    """The LLVM values of a named tuple, by name."""
    return arguments(*cgutils.unpack_tuple(builder, packed, len(arguments._fields)))


def named_integers(arguments: Any) -> types.NamedUniTuple:
    """Numba's type of a named tuple of integers."""
    return types.NamedUniTuple(types.intp, len(arguments._fields), arguments)


def tile_of(arguments: Any, emit: Any) -> Any:
    """An intrinsic of a tile whose rows are `wide` vectors wide; ``emit(layout, wide, builder, tile)`` emits it."""

    @intrinsic
    def tile_intrinsic(typing_context, real, width, tile):
        layout, wide = VectorLayout.of(Vector(real.dtype)), width.vectors

        def generate(context, builder, signature, values):
            emit(layout, wide, builder, fields_of(builder, values[2], arguments))
            return context.get_dummy_value()

        return types.void(real, width, named_integers(arguments)), generate

    return tile_intrinsic


def emit_product(terms, wide, builder, tile, looks_up=False):
    """Emit a `product_tile` of some kind of terms, or a `lookup_tile`."""
    layout = terms.layout
    size = layout.lanes * layout.bits // 8

    def emit(height):
        def place(base, row, index):
            r, i = divmod(index, wide)
            return builder.add(base, builder.add(builder.mul(row, I64(r)), I64(i * size)))

        count = wide * height
        sums = [layout.load(builder, place(tile.start, tile.start_row, index)) for index in range(count)]
        sums = add_rows(sums, height) if looks_up else add_products(sums, height, tile.w, tile.a, tile.a_count)
        sums = add_products(sums, height, tile.v, tile.b, tile.b_count)
        for index, value in enumerate(sums):
            layout.store(builder, value, place(tile.out, tile.out_row, index))

    def add_rows(sums, height):
        numbers = [builder.load(pointer) for pointer in row_pointers(builder, tile.a, height, I64)]
        rows = [builder.add(tile.w, builder.mul(number, I64(wide * size))) for number in numbers]
        places = [builder.add(row, I64(i * size)) for row in rows for i in range(wide)]
        return [builder.fadd(value, layout.load(builder, at)) for value, at in zip(sums, places, strict=True)]

    def add_products(sums, height, weights, addresses, steps):
        numbers = row_pointers(builder, addresses, height, terms.element)

        def multiply(k, sums):
            panel = builder.add(weights, builder.mul(k, I64(wide * size)))
            return outer_sums(terms, builder, panel, [builder.gep(number, [k]) for number in numbers], sums, wide)

        return accumulate(builder, len(sums), sums, steps, multiply)

    by_height(builder, product_heights(wide), tile.rows, emit)


def product_heights(wide: int) -> tuple[int, ...]:
    """Heights of product tiles; a narrow tile has those of a tile that is `TILE_VECTORS` wide, too."""
    heights = {*target().tile_rows(wide), *(target().tile_rows(TILE_VECTORS) if wide < TILE_VECTORS else ())}
    return tuple(sorted(heights, reverse=True))


product_tile = tile_of(ProductTile, lambda layout, *rest: emit_product(Terms(layout), *rest))
lookup_tile = tile_of(ProductTile, lambda layout, *rest: emit_product(Terms(layout), *rest, looks_up=True))


@pointed(ProductTile)
def product(real, width, tile):
    """`product_tile`, to be called by its address."""
    product_tile(real, width, tile)


@pointed(ProductTile)
def lookup(real, width, tile):
    """`lookup_tile`, to be called by its address."""
    lookup_tile(real, width, tile)


def _emit_outer(layout, wide, builder, tile):
    size = layout.lanes * layout.bits // 8
    addresses = builder.inttoptr(tile.a, I64.as_pointer())

    def emit(height):
        def multiply(k, sums):
            address = builder.load(builder.gep(addresses, [k]))
            row = builder.inttoptr(builder.add(address, tile.column), layout.real.as_pointer())
            gradients = builder.add(tile.d, builder.mul(k, tile.d_row))
            numbers = [builder.gep(row, [I64(r)]) for r in range(height)]
            return outer_sums(Terms(layout), builder, gradients, numbers, sums, wide)

        def place(base, row, r, offset):
            return builder.add(base, builder.add(builder.mul(row, I64(r)), I64(offset)))

        for r in range(height):  # what is written comes from far memory meanwhile
            for offset in range(0, wide * size, LINE):
                prefetch(builder, place(tile.out, tile.out_row, r, offset))
        zeros = [ir.Constant(layout.vector, None)] * (height * wide)
        for index, value in enumerate(accumulate(builder, len(zeros), zeros, tile.steps, multiply)):
            r, i = divmod(index, wide)
            first = layout.load(builder, place(tile.start, tile.start_row, r, i * size))
            layout.store(builder, builder.fadd(first, value), place(tile.out, tile.out_row, r, i * size))

    by_height(builder, target().tile_rows(wide), tile.rows, emit)


outer_tile = tile_of(OuterTile, _emit_outer)


@pointed(OuterTile)
def outer(real, width, tile):
    """`outer_tile`, to be called by its address."""
    outer_tile(real, width, tile)


@cache
def product_address(real: Any, vectors: int) -> int:
    """The machine code of product tiles of a width; `real` is numpy.float32 or numpy.float64."""
    return product.address(numba.typeof(real), width(vectors))


@cache
def lookup_address(real: Any, vectors: int) -> int:
    """The machine code of such tiles that look rows up."""
    return lookup.address(numba.typeof(real), width(vectors))


@cache
def outer_address(real: Any, vectors: int) -> int:
    """The machine code of outer tiles of a width."""
    return outer.address(numba.typeof(real), width(vectors))
