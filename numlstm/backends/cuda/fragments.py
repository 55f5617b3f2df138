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


def _bring_for(kind: str) -> Callable:
    """The function that brings part of a tile's rows into shared memory.

    They are fragments (count / DEPTH, tile / 8, threads, 2) of a kind; zeros behind the sums' length.
    """
    per_word, deep = 1 + HALVES[kind], DEPTH[kind]
    place_of, word = device_function(source_place), word_of(kind)

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

    def bring(reals, source, start, step, rows, tile, count, sources):
        """See `_bring_for`."""
        down, threads = tile >> 3, cuda.blockDim.x
        words = quotient(count + deep - 1, deep) * down * (2 * WARP)
        for q in range(cuda.threadIdx.x, words, 4 * threads):  # no load waits for another
            a0, a1 = pair_at(source, start, step, rows, down, count, min(q, words - 1))
            b0, b1 = pair_at(source, start, step, rows, down, count, min(q + threads, words - 1))
            c0, c1 = pair_at(source, start, step, rows, down, count, min(q + 2 * threads, words - 1))
            d0, d1 = pair_at(source, start, step, rows, down, count, min(q + 3 * threads, words - 1))
            reals[sources + q] = word(a0, a1)
            if q + threads < words:
                reals[sources + q + threads] = word(b0, b1)
            if q + 2 * threads < words:
                reals[sources + q + 2 * threads] = word(c0, c1)
            if q + 3 * threads < words:
                reals[sources + q + 3 * threads] = word(d0, d1)

    return device_function(bring)


def _warp_sums_for(kind: str) -> Callable:
    """The function that multiplies 16 columns of weights with up to `BLOCKS` fragments of rows: a warp's work."""
    product = multiply_fragments(kind)

    def warp_sums(reals, weights, weights_step, sources, sources_step, count, fragments):
        """A thread's four sums of each fragment of rows, over `count` fragments of weights."""
        zero = reals.dtype.type(0)
        zeros = zero, zero, zero, zero
        s0, s1, s2, s3 = zeros, zeros, zeros, zeros
        w, x = weights, sources
        for _ in range(count):
            a = load4(reals, w)
            s0 = product(a, (reals[x], reals[x + 1]), s0)
            if fragments > 1:
                s1 = product(a, (reals[x + 64], reals[x + 65]), s1)
            if fragments > 2:
                s2 = product(a, (reals[x + 128], reals[x + 129]), s2)
            if fragments > 3:
                s3 = product(a, (reals[x + 192], reals[x + 193]), s3)
            w, x = w + weights_step, x + sources_step
        return s0, s1, s2, s3

    return device_function(warp_sums)


def _add_sums() -> Callable:
    """The function that adds the sums of a warp to those in shared memory."""
    place_of = device_function(sum_place)

    def add_fragment(reals, place, row_sums, columns, four):
        """A thread's four sums of a fragment; `columns` of its 16 are used."""
        for register in range(4):
            across, down = place_of(cuda.threadIdx.x & (WARP - 1), register)
            if across < columns:
                reals[place + down * row_sums + across] += four[register]

    add_fragment = device_function(add_fragment)

    def add(reals, place, row_sums, columns, fragments, sums):
        """Those of each fragment of rows."""
        s0, s1, s2, s3 = sums
        add_fragment(reals, place, row_sums, columns, s0)
        if fragments > 1:
            add_fragment(reals, place + DOWN * row_sums, row_sums, columns, s1)
        if fragments > 2:
            add_fragment(reals, place + 2 * DOWN * row_sums, row_sums, columns, s2)
        if fragments > 3:
            add_fragment(reals, place + 3 * DOWN * row_sums, row_sums, columns, s3)

    return device_function(add)


def multiply_for(kind: str) -> Callable:
    """The function that multiplies a tile of rows with a block's weights, in fragments of a kind.

    Each warp takes 16 columns, up to 32 rows, and some part of the sums' length.
    """
    deep = DEPTH[kind]
    bring, warp_sums, add = _bring_for(kind), _warp_sums_for(kind), _add_sums()

    def multiply(ints, at, reals, source, start, step, rows, launch, row_sums, target):
        """See `tiles.multiply_tile`."""
        length, across, parts = ints[at + of.LENGTH], ints[at + of.COLUMNS] >> 4, ints[at + of.PARTS]
        down, warps, lane = launch.tile >> 3, cuda.blockDim.x >> 5, cuda.threadIdx.x & (WARP - 1)
        groups = (down + BLOCKS - 1) >> 2
        for first in range(0, length, launch.chunk):
            count = min(launch.chunk, length - first)
            bring(reals, source, start + first, step, rows, launch.tile, count, launch.sources)
            cuda.syncthreads()
            blocks = quotient(count + deep - 1, deep)
            for q in range(cuda.threadIdx.x >> 5, across * groups * parts, warps):
                rest = quotient(q, across)
                part = quotient(rest, groups)
                column, group = q - rest * across, (rest - part * groups) * BLOCKS
                w = ints[at + of.WEIGHTS] + ((quotient(first, deep) + part) * across + column) * (4 * WARP) + 4 * lane
                x = launch.sources + (part * down + group) * (2 * WARP) + 2 * lane
                sums = warp_sums(
                    reals, w, parts * across * (4 * WARP), x, parts * down * (2 * WARP),
                    quotient(max(0, blocks - part) + parts - 1, parts), down - group,
                )  # fmt: skip
                place = launch.sums + (part * launch.tile + group * DOWN) * row_sums + target + column * ACROSS
                add(reals, place, row_sums, ints[at + of.USED] - column * ACROSS, down - group, sums)
            cuda.syncthreads()

    return multiply
