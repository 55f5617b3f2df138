"""Register tiles: the products that all time is spent in.

A tile is a block of sums that stays in registers from the first product to the last. The number of its rows
is chosen at run time among the heights that were compiled; every row is summed in the same order in each of
them, so a result does not depend on where in a batch its row stands.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import I64, Layout, Vector
from .target import target

TILE_BYTES = 2048  # holds the largest tile: 24 registers of 64 bytes


@intrinsic
def tile_height(typing_context, width, rows):
    """The tallest compiled tile of a width that `rows` more rows fill."""

    def generate(context, builder, signature, arguments):
        heights = target().tile_rows(width.vectors)
        chosen = I64(1)
        for height in heights[-2::-1]:
            fits = builder.icmp_signed(">=", arguments[1], I64(height))
            chosen = builder.select(fits, I64(height), chosen)
        return chosen

    return types.intp(width, types.intp), generate


def _call(builder, name, arguments, emit):
    """Call a function of integers that `emit(builder, *arguments)` writes, once in a module.

    Kept out of line, so that a kernel with several calls is compiled with one copy.
    """
    kind = ir.FunctionType(ir.VoidType(), [I64] * len(arguments))
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    if function.is_declaration:
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        body = ir.IRBuilder(function.append_basic_block("entry"))
        emit(body, *function.args)
        body.ret_void()
    builder.call(function, arguments)


def _by_height(builder, vectors, rows, emit):
    """A switch over the compiled heights; `emit(height)` writes each case."""
    heights = target().tile_rows(vectors)
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


def _accumulate(builder, count, start, steps, multiply):
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
    following = builder.add(k, I64(1))
    k.add_incoming(following, loop)
    for phi, value in zip(sums, new, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
    builder.position_at_end(done)
    results = [builder.phi(start[0].type) for _ in range(count)]
    for phi, old, value in zip(results, start, new, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(value, loop)
    return results


def outer_sums(layout, builder, panel, factors, sums, wide):
    """``sums[r, i] + factors[r] * panel[i]``, one vector of the panel after the other: few registers at a time."""
    new = list(sums)
    for i in range(wide):
        place = builder.add(panel, I64(i * layout.lanes * layout.bits // 8))
        column = layout.load(builder, place)
        for r, factor in enumerate(factors):
            new[r * wide + i] = layout.fma(builder, factor, column, sums[r * wide + i])
    return new


def _row_pointers(layout, builder, addresses, rows):
    """Pointers to the numbers of each row, from an array of row addresses."""
    array = builder.inttoptr(addresses, I64.as_pointer())
    loaded = [builder.load(builder.gep(array, [I64(row)])) for row in range(rows)]
    return [builder.inttoptr(address, layout.real.as_pointer()) for address in loaded]


@intrinsic
def product_tile(typing_context, real, width, rows, out, start, w, a, ak, v, b, bk):
    """``out = start + A W + B V`` for `rows` rows and a panel of weights.

    Parameters (addresses unless said otherwise)
    --------------------------------------------
    width : tag
        The number of vectors in a row of the tile.
    out : (rows, vectors) vectors, written
    start : (vectors,) vectors, the first summand of every row
    w, v : (ak, vectors) and (bk, vectors) vectors, panels of weights
    a, b : (rows,) addresses of rows of `ak` and of `bk` numbers
    ak, bk : int
        Lengths of the two sums; 0 leaves one out.
    """
    layout, wide = Layout.of(Vector(real.dtype)), width.vectors

    def generate(context, builder, signature, arguments):
        name = f"numlstm.product.{wide}.{layout.suffix}"
        _call(builder, name, arguments[2:], partial(_emit_product, layout, wide))
        return context.get_dummy_value()

    return types.void(real, width, *[types.intp] * 9), generate


def _emit_product(layout, wide, builder, rows, out, start, *terms):
    size = layout.lanes * layout.bits // 8

    def emit(height):
        first = [layout.load(builder, builder.add(start, I64(i * size))) for i in range(wide)]
        sums = add_products(add_products(first * height, height, *terms[:3]), height, *terms[3:])
        for index, value in enumerate(sums):
            layout.store(builder, value, builder.add(out, I64(index * size)))

    def add_products(sums, height, weights, addresses, steps):
        numbers = _row_pointers(layout, builder, addresses, height)

        def multiply(k, sums):
            panel = builder.add(weights, builder.mul(k, I64(wide * size)))
            factors = [layout.splat(builder, builder.load(builder.gep(number, [k]))) for number in numbers]
            return outer_sums(layout, builder, panel, factors, sums, wide)

        return _accumulate(builder, len(sums), sums, steps, multiply)

    _by_height(builder, wide, rows, emit)


@intrinsic
def outer_tile(typing_context, real, width, rows, out, out_row, a, a_row, d, steps):
    """``out[r] += sum over k of a[k][r] * d[k]`` for `rows` rows r.

    Parameters (addresses and bytes unless said otherwise)
    ------------------------------------------------------
    out, out_row : (rows, width) vectors, added to, and the distance between rows
    a, a_row : (steps, rows) numbers, and the distance between rows
    d : (steps, width) vectors
    steps : int
        Length of the sum, at least 1; it starts from zero, so that a long sum is a sum of short ones.
    """
    layout, wide = Layout.of(Vector(real.dtype)), width.vectors

    def generate(context, builder, signature, arguments):
        name = f"numlstm.outer.{wide}.{layout.suffix}"
        _call(builder, name, arguments[2:], partial(_emit_outer, layout, wide))
        return context.get_dummy_value()

    return types.void(real, width, *[types.intp] * 7), generate


def _emit_outer(layout, wide, builder, rows, out, out_row, a, a_row, d, steps):
    size = layout.lanes * layout.bits // 8

    def emit(height):
        def multiply(k, sums):
            row = builder.inttoptr(builder.add(a, builder.mul(k, a_row)), layout.real.as_pointer())
            factors = [layout.splat(builder, builder.load(builder.gep(row, [I64(r)]))) for r in range(height)]
            gradients = builder.add(d, builder.mul(k, I64(wide * size)))
            return outer_sums(layout, builder, gradients, factors, sums, wide)

        start = [ir.Constant(layout.vector, None)] * (height * wide)
        for index, value in enumerate(_accumulate(builder, len(start), start, steps, multiply)):
            r, i = divmod(index, wide)
            place = builder.add(out, builder.add(builder.mul(out_row, I64(r)), I64(i * size)))
            layout.store(builder, builder.fadd(layout.load(builder, place), value), place)

    _by_height(builder, wide, rows, emit)
