"""Products on tensor cores: fragments of weights and of rows, laid out in shared memory as a warp's threads hold them.

Weights are the first factor, 16 columns of a block's slice at once, and eight rows of the batch the second: small
batches leave less undone. `DEPTH` terms of the sums go into one instruction. Of a fragment, thread 4 g + t of a warp
holds words whose places are given below (PTX ISA, "Matrix fragments for mma.m16n8k8" and "... mma.m16n8k16"); a word is
a tf32 number, or two halves that follow on one another along the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import tables as of
from .device import SIMULATED, cuda
from .intrinsics import KINDS, load4, quotient
from .launching import device_function

if not SIMULATED:  # it has no warps: `tiles` rounds instead
    from .intrinsics import multiply_fragments, word_of

WARP = 32
ACROSS, DOWN = 16, 8  # columns of weights, and rows of the batch, of a fragment
BLOCKS = 4  # fragments of rows that a warp multiplies each fragment of weights with: it loads the latter once
HALVES = {kind: kind != "tf32" for kind in KINDS}
DEPTH = {kind: 16 if halves else 8 for kind, halves in HALVES.items()}  # terms of the sums in a fragment


def weight_place(word: int) -> tuple[int, int]:
    """Column and first term, in words, of a word (thread, 4) of a fragment of weights."""
    thread, register = word >> 2, word & 3
    return (thread >> 2) + (register & 1) * 8, (thread & 3) + (register >> 1) * 4


def source_place(word: int) -> tuple[int, int]:
    """Row and first term, in words, of a word (thread, 2) of a fragment of rows."""
    thread, register = word >> 1, word & 1
    return thread >> 2, (thread & 3) + register * 4


def sum_place(thread: int, register: int) -> tuple[int, int]:
    """Column and row of a sum, of four that a thread has."""
    return (thread >> 2) + (register >> 1) * 8, (thread & 3) * 2 + (register & 1)


def load_for(kind: str, weight_at: Any) -> Callable:
    """The function that brings a block's slice of weights into shared memory, as fragments of a kind.

    They are (length / DEPTH, columns / 16, threads, 4) words; zeros beside the matrix. `weight_at` gives a number of
    the slice.
    """
    per_word, deep = 1 + HALVES[kind], DEPTH[kind]
    place_of, word = device_function(weight_place), word_of(kind)

    def load(ints, at, reals, flat, first, forward):
        """See `load_for`."""
        across = ints[at + of.COLUMNS] >> 4
        words = quotient(ints[at + of.LENGTH] + deep - 1, deep) * across * (4 * WARP)
        for q in range(cuda.threadIdx.x, words, cuda.blockDim.x):
            fragment = q >> 7
            column, term = place_of(q & 127)
            block = quotient(fragment, across)
            column += (fragment - block * across) * ACROSS
            k = block * deep + term * per_word
            a = weight_at(ints, at, flat, first, k, column, forward)
            b = weight_at(ints, at, flat, first, k + per_word - 1, column, forward)
            reals[ints[at + of.WEIGHTS] + q] = word(a, b)

    return load


def multiply_for(kind: str) -> Callable:
    """The function that multiplies a tile of rows with a block's weights, in fragments of a kind.

    Each warp takes 16 columns, up to 32 rows, and some part of the sums' length.
    """
    per_word, deep = 1 + HALVES[kind], DEPTH[kind]
    place_of, place_of_sum = device_function(source_place), device_function(sum_place)
    word, product = word_of(kind), multiply_fragments(kind)

    def pair_at(source, start, step, rows, down, count, q):
        """The numbers of a word; zeros behind the sums' length, the last row for those that are not."""
        fragment = q >> 6
        row, term = place_of(q & 63)
        block = quotient(fragment, down)
        row += (fragment - block * down) * DOWN
        k = block * deep + term * per_word
        place, last, zero = start + min(row, rows - 1) * step, count - 1, source.dtype.type(0)
        a, b = source[place + min(k, last)], source[place + min(k + per_word - 1, last)]
        return a if k <= last else zero, b if k + per_word - 1 <= last else zero

    pair_at = device_function(pair_at)

    def bring(reals, source, start, step, rows, tile, first, count, sources):
        """Part of a tile's rows to shared memory, as fragments (count / DEPTH, tile / 8, threads, 2); zeros behind."""
        down, threads = tile >> 3, cuda.blockDim.x
        words = quotient(count + deep - 1, deep) * down * (2 * WARP)
        for q in range(cuda.threadIdx.x, words, 4 * threads):  # no load waits for another
            a0, a1 = pair_at(source, start + first, step, rows, down, count, min(q, words - 1))
            b0, b1 = pair_at(source, start + first, step, rows, down, count, min(q + threads, words - 1))
            c0, c1 = pair_at(source, start + first, step, rows, down, count, min(q + 2 * threads, words - 1))
            d0, d1 = pair_at(source, start + first, step, rows, down, count, min(q + 3 * threads, words - 1))
            reals[sources + q] = word(a0, a1)
            if q + threads < words:
                reals[sources + q + threads] = word(b0, b1)
            if q + 2 * threads < words:
                reals[sources + q + 2 * threads] = word(c0, c1)
            if q + 3 * threads < words:
                reals[sources + q + 3 * threads] = word(d0, d1)

    def add(reals, sums, row_sums, used, column, row, four):
        """Add a thread's four sums of a fragment to those in shared memory."""
        for register in range(4):
            across, down = place_of_sum(cuda.threadIdx.x & (WARP - 1), register)
            if column + across < used:
                reals[sums + (row + down) * row_sums + column + across] += four[register]

    bring, add = device_function(bring), device_function(add)

    def multiply(ints, at, reals, source, start, step, rows, tile, chunk, sources, sums, row_sums, target):
        """See `multiply_for`."""
        length, across, parts = ints[at + of.LENGTH], ints[at + of.COLUMNS] >> 4, ints[at + of.PARTS]
        down, warps, lane = tile >> 3, cuda.blockDim.x >> 5, cuda.threadIdx.x & (WARP - 1)
        groups = (down + BLOCKS - 1) >> 2
        zero = reals.dtype.type(0)
        for first in range(0, length, chunk):
            count = min(chunk, length - first)
            bring(reals, source, start, step, rows, tile, first, count, sources)
            cuda.syncthreads()
            blocks = quotient(count + deep - 1, deep)
            for q in range(cuda.threadIdx.x >> 5, across * groups * parts, warps):
                rest = quotient(q, across)
                part = quotient(rest, groups)
                column, group = q - rest * across, (rest - part * groups) * BLOCKS
                s0, s1, s2, s3 = (zero, zero, zero, zero), (zero, zero, zero, zero), (zero, zero, zero, zero), (
                    zero, zero, zero, zero
                )  # fmt: skip
                w = ints[at + of.WEIGHTS] + ((quotient(first, deep) + part) * across + column) * (4 * WARP) + 4 * lane
                x = sources + (part * down + group) * (2 * WARP) + 2 * lane
                for _ in range(part, blocks, parts):
                    a = load4(reals, w)
                    s0 = product(a, (reals[x], reals[x + 1]), s0)
                    if group + 1 < down:
                        s1 = product(a, (reals[x + 64], reals[x + 65]), s1)
                    if group + 2 < down:
                        s2 = product(a, (reals[x + 128], reals[x + 129]), s2)
                    if group + 3 < down:
                        s3 = product(a, (reals[x + 192], reals[x + 193]), s3)
                    w, x = w + parts * across * (4 * WARP), x + parts * down * (2 * WARP)
                place, row = sums + part * tile * row_sums + target, group * DOWN
                add(reals, place, row_sums, ints[at + of.USED], column * ACROSS, row, s0)
                if group + 1 < down:
                    add(reals, place, row_sums, ints[at + of.USED], column * ACROSS, row + DOWN, s1)
                if group + 2 < down:
                    add(reals, place, row_sums, ints[at + of.USED], column * ACROSS, row + 2 * DOWN, s2)
                if group + 3 < down:
                    add(reals, place, row_sums, ints[at + of.USED], column * ACROSS, row + 3 * DOWN, s3)
            cuda.syncthreads()

    return multiply
