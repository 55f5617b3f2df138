"""Products of a block: its slice of the weights in shared memory, times a tile of rows, added to sums.

A plain product is computed by tiles of four rows and four columns, one for each thread. Where there are fewer tiles
than threads, several threads share the length of a tile's sums; their parts are added in a fixed order. With a lower
precision, warps multiply fragments on tensor cores instead: see `fragments`.
"""

from __future__ import annotations

from collections.abc import Callable

from . import fragments
from . import tables as of
from .device import SIMULATED, cuda
from .intrinsics import load4, quotient, rounded, store4
from .launching import by_name, device_function


@device_function
def weight_at(ints, at, flat, first, k, column, forward):
    """A number of a block's slice of a product's weights, (length, columns); 0 beside the matrix.

    `first` is the first unit of the slice: of the phase's units forward, of the source's back.
    """
    units, part = ints[at + of.P_UNITS], ints[at + of.P_SLICE]
    inside = column < ints[at + of.USED] and k < ints[at + of.LENGTH]
    gate, unit, other = 0, 0, 0
    if inside and forward:
        gate = quotient(column, part)
        unit, other = first + column - gate * part, k
        inside = unit < units
    elif inside:
        gate = quotient(k, units)
        unit, other = k - gate * units, first + column
        inside = other < ints[at + of.WIDTH]
    value = flat.dtype.type(0)
    if inside:
        row = ints[at + of.WEIGHT_ROWS + gate] * units + unit
        value = flat[ints[at + of.OFFSET] + ints[at + of.COLUMN] + row * ints[at + of.STEP] + other]
    return value


@device_function
def bring(kind, reals, source, start, step, rows, tile, count, sources):
    """`count` numbers of each of a tile's rows to shared memory, (count, tile): the last row for those that are not.

    Sixteen are loaded before the first is written, or four where rows are not aligned: no load waits for another.
    """
    threads = cuda.blockDim.x
    items = tile * ((count + 3) >> 2)
    if start & 3 == 0 and step & 3 == 0 and count & 3 == 0:
        for q in range(cuda.threadIdx.x, items, 4 * threads):
            a = load4(source, place_of(q, items, start, step, rows, tile))
            b = load4(source, place_of(q + threads, items, start, step, rows, tile))
            c = load4(source, place_of(q + 2 * threads, items, start, step, rows, tile))
            d = load4(source, place_of(q + 3 * threads, items, start, step, rows, tile))
            put(kind, reals, sources, tile, count, items, q, a)
            put(kind, reals, sources, tile, count, items, q + threads, b)
            put(kind, reals, sources, tile, count, items, q + 2 * threads, c)
            put(kind, reals, sources, tile, count, items, q + 3 * threads, d)
        return
    for q in range(cuda.threadIdx.x, items, threads):
        place, last = place_of(q, items, start, step, rows, tile), count - 1 - (quotient(q, tile) << 2)
        a, b = source[place], source[place + min(1, last)]
        c, d = source[place + min(2, last)], source[place + min(3, last)]
        put(kind, reals, sources, tile, count, items, q, (a, b, c, d))


@device_function
def place_of(q, items, start, step, rows, tile):
    """Where the first of the four numbers of an item is, an item being some row's next four."""
    q = min(q, items - 1)
    k = quotient(q, tile)
    return start + min(q - k * tile, rows - 1) * step + (k << 2)


@device_function
def put(kind, reals, sources, tile, count, items, q, four):
    """Write the four numbers of an item, if there is one, each where the others of its column are."""
    if q < items:
        k = quotient(q, tile)
        place, last = sources + q + 3 * k * tile, count - (k << 2)
        reals[place] = rounded(kind, four[0])
        if last > 1:
            reals[place + tile] = rounded(kind, four[1])
        if last > 2:
            reals[place + 2 * tile] = rounded(kind, four[2])
        if last > 3:
            reals[place + 3 * tile] = rounded(kind, four[3])


@device_function
def add4(reals, place, four):
    """Add to four numbers."""
    a, b, c, d = load4(reals, place)
    store4(reals, place, a + four[0], b + four[1], c + four[2], d + four[3])


@device_function
def clear(reals, place, count):
    """Write zeros, before anybody adds to them."""
    for q in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        reals[place + q] = reals.dtype.type(0)
    cuda.syncthreads()


@device_function
def join_parts(reals, place, count, parts):
    """Add up the parts of sums, in their order."""
    for q in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        total = reals[place + q]
        for part in range(1, parts):
            total += reals[place + part * count + q]
        reals[place + q] = total
    cuda.syncthreads()


def _load_for(kind: str) -> Callable:
    """The function that brings a block's slice of a product's weights into shared memory.

    It takes (ints, at, reals, flat, first, forward); `first` is the first unit of the slice.
    """
    if kind and not SIMULATED:
        return fragments.load_for(kind, weight_at)

    def load(ints, at, reals, flat, first, forward):
        length, columns, place = ints[at + of.LENGTH], ints[at + of.COLUMNS], ints[at + of.WEIGHTS]
        for q in range(cuda.threadIdx.x, length * columns, cuda.blockDim.x):
            if forward:  # neighbours in memory are for neighbouring threads
                column = quotient(q, length)
                k = q - column * length
            else:
                k = quotient(q, columns)
                column = q - k * columns
            reals[place + k * columns + column] = rounded(kind, weight_at(ints, at, flat, first, k, column, forward))

    return load


@device_function
def four_by_four(reals, weights, weights_step, sources, sources_step, end):
    """The sums of four rows and four columns, from where the rows' sources begin to before their end."""
    zero = reals.dtype.type(0)
    s00, s01, s02, s03 = zero, zero, zero, zero
    s10, s11, s12, s13 = zero, zero, zero, zero
    s20, s21, s22, s23 = zero, zero, zero, zero
    s30, s31, s32, s33 = zero, zero, zero, zero
    w, x = weights, sources
    while x < end:
        w0, w1, w2, w3 = load4(reals, w)
        x0, x1, x2, x3 = load4(reals, x)
        s00, s01, s02, s03 = s00 + x0 * w0, s01 + x0 * w1, s02 + x0 * w2, s03 + x0 * w3
        s10, s11, s12, s13 = s10 + x1 * w0, s11 + x1 * w1, s12 + x1 * w2, s13 + x1 * w3
        s20, s21, s22, s23 = s20 + x2 * w0, s21 + x2 * w1, s22 + x2 * w2, s23 + x2 * w3
        s30, s31, s32, s33 = s30 + x3 * w0, s31 + x3 * w1, s32 + x3 * w2, s33 + x3 * w3
        w, x = w + weights_step, x + sources_step
    return (s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33)


def _multiply_for(kind: str) -> Callable:
    """The function that adds products of a tile of rows with a product's weights to sums in shared memory.

    It takes (ints, at, reals, source, start, step, rows, launch, row_sums, target). The rows of `source` begin at
    `start` and every `step` numbers; of the tile's rows the first `rows` are there. Sums are (parts, tile, row_sums);
    those of the product begin at column `target`.
    """
    if kind and not SIMULATED:
        return fragments.multiply_for(kind)

    def multiply(ints, at, reals, source, start, step, rows, launch, row_sums, target):
        length, columns, parts = ints[at + of.LENGTH], ints[at + of.COLUMNS], ints[at + of.PARTS]
        tile, wide, high, weights = launch.tile, columns >> 2, launch.tile >> 2, ints[at + of.WEIGHTS]
        for first in range(0, length, launch.chunk):
            count = min(launch.chunk, length - first)
            bring(kind, reals, source, start + first, step, rows, tile, count, launch.sources)
            cuda.syncthreads()
            for q in range(cuda.threadIdx.x, wide * high * parts, cuda.blockDim.x):
                down = quotient(q, wide)
                across, part = (q - down * wide) * 4, quotient(down, high)
                down = (down - part * high) * 4
                w, x = weights + (first + part) * columns + across, launch.sources + part * tile + down
                end = launch.sources + count * tile
                s0, s1, s2, s3 = four_by_four(reals, w, parts * columns, x, parts * tile, end)
                place = launch.sums + (part * tile + down) * row_sums + target + across
                add4(reals, place, s0)
                add4(reals, place + row_sums, s1)
                add4(reals, place + 2 * row_sums, s2)
                add4(reals, place + 3 * row_sums, s3)
            cuda.syncthreads()

    return multiply


# What kernels call, with a kind of precision that they have captured: "" for plain products. The simulator has no
# tensor cores, and rounds what would go into them.
load_weights, multiply_tile = by_name(_load_for), by_name(_multiply_for)
