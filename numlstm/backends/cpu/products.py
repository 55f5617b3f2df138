"""Plain products on register tiles: weight gradients, affine maps, and weights turned round for the way back."""

from __future__ import annotations

from .compiling import kernel
from .memory import copy_row, lanes_of, slots_at, vector_bytes
from .simd import load, splat, stack_bytes, store
from .tags import width_of
from .tile import TILE_BYTES, outer_tile, product_tile, tile_height

BLOCK = 256  # steps of a sum taken at once: they stay in the first cache, and long sums stay exact


@kernel(choices=2)
def weight_gradient(real, width, out, a, inputs, d, room, steps, first, last):
    """``out += sum over k of outer(a[k], d[k])``, the part that consists of blocks first <= b < last.

    Blocks are as many inputs as a tile has rows; they are numbered within a panel first, then over panels.

    Parameters (addresses unless said otherwise)
    --------------------------------------------
    out : (panels, inputs, width) vectors
    a : (steps,) addresses of rows of `inputs` numbers
    d : (panels, room, width) vectors; the first `steps` of each panel are summed
    """
    row_bytes = width_of(width) * vector_bytes(real)
    tallest = tile_height(width, 1 << 30)
    blocks = -(-inputs // tallest)
    for block in range(first, last):
        panel, column = block // blocks, (block % blocks) * tallest
        end = min(column + tallest, inputs)
        while column < end:
            height = tile_height(width, end - column)
            place = out + (panel * inputs + column) * row_bytes
            for k in range(0, steps, BLOCK):
                gradients = d + (panel * room + k) * row_bytes
                outer_tile(
                    real, width, height, place, row_bytes, a + 8 * k, column, gradients, min(BLOCK, steps - k)
                )
            column += height


@kernel(choices=2)
def bias_gradient(real, width, out, panels, d, room, steps):
    """``out += sum over k of d[k]``: (panels, width) vectors, `d` as in `weight_gradient`."""
    size = vector_bytes(real)
    row_bytes = width_of(width) * size
    for panel in range(panels):
        for i in range(width_of(width)):
            place = out + panel * row_bytes + i * size
            for block in range(0, steps, BLOCK):
                total = splat(real, real(0))
                for k in range(block, min(block + BLOCK, steps)):
                    total = total + load(real, d + (panel * room + k) * row_bytes + i * size)
                store(load(real, place) + total, place)


@kernel(choices=2)
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
            height = tile_height(wide, last - m)
            rows = addresses + 8 * m
            product_tile(real, wide, height, scratch, start + panel * row_bytes, weights, rows, inputs, w, rows, 0)
            for row in range(height):
                place = out + (m + row) * out_row + panel * row_bytes
                copy_row(real, place, scratch + row * row_bytes, count)
            m += height


@kernel(choices=1)
def transpose(real, panels, out, first):
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
