"""Plain products on register tiles: weight gradients, affine maps, and weights turned round for the way back."""

from __future__ import annotations

from ..machine.compiling import call, inner, kernel
from ..machine.memory import copy_row, lanes_of, load_address, slots_at, vector_bytes
from ..machine.simd import keep_first, load, load_first, splat, stack_bytes, store
from ..machine.tags import width_of
from .tile import TILE_BYTES, height_of, product_tile, tallest_tile

BLOCK = 128  # steps of a sum taken at once: they stay in the first cache, and long sums stay exact
SPREAD = 64  # bytes between copied rows, against cache lines that would all want the same place


def copied_row_bytes(inputs: int, lanes: int, itemsize: int) -> int:
    """Room for one row of `inputs` numbers and a 1 behind them, in whole vectors."""
    return (inputs // lanes + 1) * lanes * itemsize + SPREAD


@kernel
def weight_gradients(real, sums, room, gradient, steps, copy, copy_row_bytes, fresh, first, last):
    """For each of `sums`: ``out += sum over k of outer(a[k], d[k])``, ``bias += sum over k of d[k]``: a part of all.

    The part consists of the blocks first <= b < last. A block is as many inputs as a tile has rows; the bias
    counts as one more input. Blocks are numbered within a panel first, then over panels, then over sums.

    Parameters (addresses unless said otherwise)
    --------------------------------------------
    sums : tuple of OuterSum
    room, steps : int, gate gradients that a panel has room for, and how many of them are summed
    gradient : where `out` and `bias` count from
    copy, copy_row_bytes : room for BLOCK rows of any `a`, of that many bytes each
    fresh : whether `out` and `bias` are to be overwritten instead
    """
    for each in sums:
        a, b = max(first, each.first) - each.first, min(last, each.last) - each.first
        if a < b:
            _add_outer(real, each, room, gradient, steps, copy, copy_row_bytes, fresh, a, b)


@inner
def _add_outer(real, own, room, gradient, steps, copy, copy_row_bytes, fresh, first, last):
    """The same for some blocks of one of them."""
    row_bytes = own.vectors * vector_bytes(real)
    number = vector_bytes(real) // lanes_of(real)
    columns = own.inputs + 1 if own.bias >= 0 else own.inputs
    blocks = -(-columns // own.tallest)
    for k in range(0, steps, BLOCK):
        count = min(BLOCK, steps - k)
        for i in range(count):
            _copy_with_one(real, copy + i * copy_row_bytes, load_address(own.a + 8 * (k + i)), own.inputs)
        for block in range(first, last):
            panel, column = block // blocks, (block % blocks) * own.tallest
            end = min(column + own.tallest, columns)
            gradients = own.d + (panel * room + k) * row_bytes
            place = gradient + own.out + (panel * own.inputs + column) * row_bytes
            if fresh and k == 0:
                _clear(real, place, (min(end, own.inputs) - column) * row_bytes)
            if end == own.inputs + 1:
                end -= 1
                bias = gradient + own.bias + panel * row_bytes
                if fresh and k == 0:
                    _clear(real, bias, row_bytes)
                numbers = copy + own.inputs * number
                call(own.tile, (0, 0, 1, bias, row_bytes, numbers, copy_row_bytes, gradients, count))
            while column < end:
                height = height_of(own.tallest, end - column)
                numbers = copy + column * number
                call(own.tile, (0, 0, height, place, row_bytes, numbers, copy_row_bytes, gradients, count))
                place += height * row_bytes
                column += height


@kernel
def column_sums(real, out, d, row, steps, fresh, first, last):
    """``out += sum over k of d[k]`` for the vectors first <= v < last, with `row` bytes from one k to the next."""
    size = vector_bytes(real)
    for v in range(first, last):
        total = load(real, out + v * size)
        if fresh:
            total = splat(real, real(0))
        for start in range(0, steps, BLOCK):
            part = splat(real, real(0))
            for k in range(start, min(start + BLOCK, steps)):
                part = part + load(real, d + k * row + v * size)
            total = total + part
        store(total, out + v * size)


@inner
def _clear(real, place, size):
    """Zeros in `size` bytes, a number of whole vectors."""
    zero = splat(real, real(0))
    for offset in range(0, size, vector_bytes(real)):
        store(zero, place + offset)


@inner
def _copy_with_one(real, place, row, count):
    """`count` numbers and a 1 behind them."""
    lanes, size = lanes_of(real), vector_bytes(real)
    whole = count // lanes
    for group in range(whole):
        store(load(real, row + group * size), place + group * size)
    last = load_first(real, row + whole * size, count % lanes)
    one = splat(real, real(1))
    store(last + (one - keep_first(one, count % lanes)), place + whole * size)


@kernel
def product(real, wide, out, out_row, columns, start, w, a, a_row, inputs, addresses, first, last):
    """``out = start + a W`` for the rows first <= m < last.

    Parameters (addresses and bytes unless said otherwise)
    ------------------------------------------------------
    out, out_row : (N, columns) numbers, written
    start : (panels, width) vectors
    w : (panels, inputs, width) vectors
    a, a_row : (N, inputs) numbers
    addresses : room for N of them
    """
    scratch = stack_bytes(TILE_BYTES)
    row_bytes = width_of(wide) * vector_bytes(real)
    numbers = width_of(wide) * lanes_of(real)
    slots_at(addresses, a, a_row, first, last)
    for panel in range(-(-columns // numbers)):
        count = min(numbers, columns - panel * numbers)
        weights = w + panel * inputs * row_bytes
        m = first
        while m < last:
            height = height_of(tallest_tile(wide), last - m)
            rows = addresses + 8 * m
            product_tile(
                real, wide, height, scratch, row_bytes, start + panel * row_bytes, 0, weights, rows, inputs, w, rows, 0
            )
            for row in range(height):
                place = out + (m + row) * out_row + panel * row_bytes
                copy_row(real, place, scratch + row * row_bytes, count)
            m += height


@kernel
def take_in(dy, panels, a, a_row, addresses):
    """dy (N, columns) to (panels, N, width) numbers; places without a column are not written. Addresses of rows a."""
    rows, columns = dy.shape
    numbers = panels.shape[2]
    for n in range(rows):
        addresses[n] = a + n * a_row
        for j in range(columns):
            panels[j // numbers, n, j % numbers] = dy[n, j]


@kernel
def transpose(panels, out, first):
    """Turn packed weights round: (P, K, columns) to rows first, first + 1, ... of (Q, all columns, width numbers).

    Row ``first + p * columns + j`` of panel q holds the weights of column j from the inputs q * width, ...;
    places without an input are not written.
    """
    count, inputs, columns = panels.shape
    numbers = out.shape[2]
    for panel in range(count):
        for k in range(inputs):
            q, c = k // numbers, k % numbers
            for j in range(columns):
                out[q, first + panel * columns + j, c] = panels[panel, k, j]
