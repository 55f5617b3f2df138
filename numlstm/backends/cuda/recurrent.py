"""The kernels of recurrent layers: many steps in one launch, forward and back.

A block owns a slice of the units of every phase, and some of the rows. It keeps its slice of the recurrent weights in
shared memory for all steps; what blocks tell one another, states forward and gradients of pre-activations back, goes
through the device's memory, with a barrier between the blocks that share rows wherever a product reads what others
have written.

The same kernels serve where the weights do not fit into shared memory: products are then made outside, step by step,
and a launch computes equations alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from . import tables as of
from .device import cuda
from .equations import advance, begin, complete, normalise_back, retreat
from .intrinsics import ALIGNMENT, arrive_and_wait, launch_together, prefetch, quotient
from .launching import Kernel, by_name, device_function
from .tiles import clear, join_parts, load_weights, multiply_tile

EPSILON = 1e-5  # added to the variance, in layer normalisation
REGISTERS = 255  # of a thread, at most: a block of 256 threads has a multiprocessor to itself


@device_function
def copy_table(table, ints, count):
    """Bring the tables into shared memory, where they are read without waiting."""
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        ints[k] = table[k]
    cuda.syncthreads()


@device_function
def prefetch_row(array, start, first, step, last):
    """Ask for every `step`-th number of a row from the first on to be brought nearer."""
    for k in range(first, last, step):
        prefetch(array, start + k)


@device_function
def wait_for_others(counters, group, wanted):
    """Wait until all blocks that share rows have come here: what they wrote before is there then."""
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        arrive_and_wait(counters, group, wanted)
    cuda.syncthreads()


@device_function
def total_of(reals, place, lane, lanes):
    """The sum of what `lanes` neighbouring threads wrote from `place` on; all threads of the block take part."""
    cuda.syncthreads()
    if lane == 0:
        total = reals[place]
        for k in range(1, min(lanes, cuda.blockDim.x - cuda.threadIdx.x)):  # the last threads may be fewer
            total += reals[place + k]
        reals[place] = total
    cuda.syncthreads()
    return reals[place]


@device_function
def lanes_for(pairs, threads):
    """How many threads share each of some pairs of a row and a gate."""
    return max(1, threads // pairs)


@device_function
def standardise(ints, at, reals, pre, row, step, rows, factors, scales, scale, scale_step, keep):
    """Mean and factor of every gate of some rows, over all units: to shared memory, and for the way back to `scales`.

    Factors are (rows, gates, 2) in shared memory, behind a number for each thread.
    """
    threads, thread = cuda.blockDim.x, cuda.threadIdx.x
    units, pairs = ints[at + of.UNITS], rows * ints[at + of.GATES]
    lanes = lanes_for(pairs, threads)
    count, lane, mine = reals.dtype.type(units), thread % lanes, factors + thread - thread % lanes
    for first in range(0, pairs, threads // lanes):
        pair = min(first + thread // lanes, pairs - 1)
        start = row + pair // ints[at + of.GATES] * step + ints[at + of.ROW] + pair % ints[at + of.GATES] * units
        total = reals.dtype.type(0)
        for u in range(lane, units, lanes):
            total += pre[start + u]
        reals[factors + thread] = total
        mean = total_of(reals, mine, lane, lanes) / count
        total = reals.dtype.type(0)
        for u in range(lane, units, lanes):
            total += (pre[start + u] - mean) * (pre[start + u] - mean)
        cuda.syncthreads()
        reals[factors + thread] = total
        variance = total_of(reals, mine, lane, lanes) / count
        scaled = reals.dtype.type(1) / math.sqrt(variance + reals.dtype.type(EPSILON))
        if lane == 0 and is_own(first, lanes, pairs):
            reals[factors + threads + 2 * pair] = mean
            reals[factors + threads + 2 * pair + 1] = scaled
            if keep:
                place = scale + pair // ints[at + of.GATES] * scale_step
                scales[place + ints[at + of.FIRST_SCALE] + pair % ints[at + of.GATES]] = scaled
        cuda.syncthreads()


@device_function
def is_own(first, lanes, pairs):
    """Whether there is a pair of a row and a gate for this thread, and all the threads to share it."""
    group = cuda.threadIdx.x // lanes
    return group < cuda.blockDim.x // lanes and first + group < pairs


@device_function
def gradient_means(ints, at, reals, flat, records, record, record_step, units, unit, unit_step, rows, factors, scales,
                   scale, scale_step):  # fmt: skip
    """The means over all units that the gradient of a normalised gate needs, and its factor: to shared memory.

    They are (rows, gates, 3), behind a number for each thread: the mean of the gradient d, that of d times the
    normalised gate, and the factor.
    """
    threads, thread = cuda.blockDim.x, cuda.threadIdx.x
    size, pairs = ints[at + of.UNITS], rows * ints[at + of.GATES]
    lanes = lanes_for(pairs, threads)
    count, lane, mine = reals.dtype.type(size), thread % lanes, factors + thread - thread % lanes
    for first in range(0, pairs, threads // lanes):
        pair = min(first + thread // lanes, pairs - 1)
        row, gate = pair // ints[at + of.GATES], pair % ints[at + of.GATES]
        delta = unit + row * unit_step + ints[at + of.NORM_UNITS] + (2 * gate + 1) * size
        value = record + row * record_step + ints[at + of.NORMALISED] + gate * size
        weight = ints[at + of.NORM_WEIGHT] + ints[at + of.NORM_BLOCKS + gate] * size
        total = reals.dtype.type(0)
        for u in range(lane, size, lanes):
            total += units[delta + u] * flat[weight + u]
        reals[factors + thread] = total
        mean = total_of(reals, mine, lane, lanes) / count
        total = reals.dtype.type(0)
        for u in range(lane, size, lanes):
            total += units[delta + u] * flat[weight + u] * records[value + u]
        cuda.syncthreads()
        reals[factors + thread] = total
        other = total_of(reals, mine, lane, lanes) / count
        if lane == 0 and is_own(first, lanes, pairs):
            place = factors + threads + 3 * pair
            reals[place] = mean
            reals[place + 1] = other
            reals[place + 2] = scales[scale + row * scale_step + ints[at + of.FIRST_SCALE] + gate]
        cuda.syncthreads()


@device_function
def in_batch(launch, order, lengths, s, r):
    """The step of x and the row of the batch that row r has at step s; needed where there is noise."""
    t, n = 0, 0
    if launch[of.NOISY]:
        n, t = order[r], launch[of.ORIGIN] + s
        if launch[of.REVERSE]:
            t = lengths[r] - 1 - t
    return t, n


def _multiply_forward(kind: str) -> Callable:
    """The function that makes the sums of a phase for a tile of rows, with products of a kind."""

    def multiply(ints, at, reals, records, start, rows, launch):
        """The recurrent products of a phase for a tile of rows, whose records begin at `start`: sums of all gates."""
        products, tile = launch[of.PHASES] * of.PHASE_FIELDS, launch[of.TILE]
        row_sums = ints[at + of.SLICE] * ints[at + of.GATES]
        parts = 1
        for p in range(ints[at + of.FIRST_PRODUCT], ints[at + of.LAST_PRODUCT]):
            parts = max(parts, ints[products + p * of.PRODUCT_FIELDS + of.PARTS])
        clear(reals, launch[of.SUMS], parts * tile * row_sums)
        for p in range(ints[at + of.FIRST_PRODUCT], ints[at + of.LAST_PRODUCT]):
            one = products + p * of.PRODUCT_FIELDS
            multiply_tile(
                kind, ints, one, reals, records, start + ints[one + of.SOURCE], launch[of.RECORD], rows, tile,
                launch[of.CHUNK], launch[of.SOURCES], launch[of.SUMS], row_sums,
                ints[one + of.TARGET] * ints[at + of.SLICE],
            )  # fmt: skip
        join_parts(reals, launch[of.SUMS], tile * row_sums, parts)

    return multiply


def _start_step(digest: str) -> Callable:
    """The function that begins a step back of a cell for a tile of rows."""

    def start_step(records, grads, doutputs, given, launch, part, first, m, rows, now, before, last):
        """Stage 0 for a tile of rows: m is the first of them in `doutputs`, `last` its record of the step before."""
        arrays = records, grads, doutputs
        for size in range(2):
            length = launch[of.HIDDEN] if size == 0 else launch[of.PROJECTED]
            wide = (quotient(length + launch[of.SLICES] - 1, launch[of.SLICES]) + 3) >> 2 << 2
            for q in range(cuda.threadIdx.x, rows * wide, cuda.blockDim.x):
                row = quotient(q, wide)
                u = part * wide + q - row * wide
                if u < length:
                    place = (first + row) * launch[of.GRADIENT_ROW], now, before, (m + row) * launch[of.DOUTPUT_ROW]
                    begin(digest, size, arrays, given, place, u)
                    if size == 0:  # what the next step back begins with
                        prefetch_row(records, (last + row) * launch[of.RECORD], u, length, launch[of.RECORD])

    return start_step


def _multiply_back(kind: str) -> Callable:
    """The function that takes gradients back through the products of a phase, of a kind, for a tile of rows."""

    def multiply(ints, at, reals, pre, start, rows, grads, first, launch, part, now, before):
        """Gradients of what a phase's recurrent products multiply, from those of its pre-activations."""
        products, tile = launch[of.PHASES] * of.PHASE_FIELDS, launch[of.TILE]
        for p in range(ints[at + of.FIRST_PRODUCT], ints[at + of.LAST_PRODUCT]):
            one = products + p * of.PRODUCT_FIELDS
            columns, parts = ints[one + of.USED], ints[one + of.PARTS]
            clear(reals, launch[of.SUMS], parts * tile * columns)
            multiply_tile(
                kind, ints, one, reals, pre, start + ints[one + of.SOURCE], launch[of.PRE_ROW], rows, tile,
                launch[of.CHUNK], launch[of.SOURCES], launch[of.SUMS], columns, 0,
            )  # fmt: skip
            join_parts(reals, launch[of.SUMS], tile * columns, parts)
            region = 0
            if ints[one + of.REGION] == 0:
                region = before
            elif ints[one + of.REGION] == 1:
                region = now
            for q in range(cuda.threadIdx.x, rows * columns, cuda.blockDim.x):
                row = quotient(q, columns)
                column = q - row * columns
                u = part * ints[one + of.P_SLICE] + column
                if u < ints[one + of.WIDTH]:
                    target = (first + row) * launch[of.GRADIENT_ROW] + region + ints[one + of.TARGET] + u
                    grads[target] += reals[launch[of.SUMS] + row * columns + column]
            cuda.syncthreads()

    return multiply


multiply_forward, multiply_back, start_step = by_name(_multiply_forward), by_name(_multiply_back), by_name(_start_step)


def _forward_kernel(digest: str, kind: str) -> Callable:
    """The forward kernel of a cell: stages 2 p and 2 p + 1 are a phase, and what comes after its normalisation."""

    def forward(
        records, pre, scales, flat, steps, order, lengths, table, offsets, constants, noise, launch, counters
    ):  # fmt: skip
        """Run some stages of some steps.

        Parameters
        ----------
        records : (M + 2N, record), states of the first step in; behind M, rows that go on past the last step, then the
            last states of those that have ended
        pre : (M, row), products with the input in, or all products
        scales : (M, scales), out
        flat, offsets : parameters, and where each begins
        steps : (steps + 1, 2): the first row of a step in the arrays, and the number of its rows
        order, lengths : (N,), place in the batch and steps of each row
        table : phases, then products
        constants, noise, launch : see `equations` and `LAUNCH`
        counters : (groups,), zeros
        """
        launch_together()  # blocks wait for one another
        ints = cuda.shared.array(0, table.dtype, alignment=ALIGNMENT)
        reals = cuda.shared.array(0, records.dtype, alignment=ALIGNMENT)
        arrays = records, pre, flat, reals
        given = offsets, constants, noise, launch[of.HIDDEN], launch[of.PROJECTED], launch[of.KEEP], launch[of.FUSED]
        group = quotient(cuda.blockIdx.x, launch[of.SLICES])
        part = cuda.blockIdx.x - group * launch[of.SLICES]
        threads, tile, factors = cuda.blockDim.x, launch[of.TILE], launch[of.FACTORS]
        record_step, pre_step = launch[of.RECORD], launch[of.PRE_ROW]
        products = launch[of.PHASES] * of.PHASE_FIELDS
        copy_table(table, ints, products + launch[of.PRODUCTS] * of.PRODUCT_FIELDS)
        for p in range(launch[of.PRODUCTS]):
            at = products + p * of.PRODUCT_FIELDS
            load_weights(kind, ints, at, reals, flat, part * ints[at + of.P_SLICE], True)
        began, waits = False, 0
        next_start, next_active = steps[2 * launch[of.FIRST_STEP]], steps[2 * launch[of.FIRST_STEP] + 1]
        for s in range(launch[of.FIRST_STEP], launch[of.LAST_STEP]):
            start, active = next_start, next_active
            next_start, next_active = steps[2 * s + 2], steps[2 * s + 3]
            for stage in range(launch[of.FIRST_STAGE], launch[of.LAST_STAGE]):
                phase, second = stage >> 1, stage & 1 == 1
                at = phase * of.PHASE_FIELDS
                if second and not ints[at + of.NORM]:
                    continue
                if began and (second or ints[at + of.WAITS]) and launch[of.SLICES] > 1:
                    waits += 1
                    wait_for_others(counters, group, waits * launch[of.SLICES])
                began = True
                width, gates, units = ints[at + of.SLICE], ints[at + of.GATES], ints[at + of.UNITS]
                for first in range(group * tile, active, launch[of.GROUPS] * tile):
                    rows, m = min(tile, active - first), start + first
                    if not second and ints[at + of.FIRST_PRODUCT] < ints[at + of.LAST_PRODUCT]:
                        multiply_forward(kind, ints, at, reals, records, m * record_step, rows, launch)
                    if second:
                        standardise(
                            ints, at, reals, pre, m * pre_step, pre_step, rows, factors, scales,
                            m * launch[of.SCALES], launch[of.SCALES], launch[of.KEEP] and part == 0,
                        )  # fmt: skip
                    for q in range(cuda.threadIdx.x, rows * width, threads):
                        row = quotient(q, width)
                        column, r = q - row * width, first + row
                        u = part * width + column
                        if u < units:
                            following = next_start + r if r < next_active else launch[of.FINAL] + r
                            t, n = in_batch(launch, order, lengths, s, r)
                            place = (
                                (m + row) * record_step, following * record_step, (m + row) * pre_step,
                                launch[of.SUMS] + row * width * gates + column, width,
                                factors + threads + 2 * row * gates, t, n,
                            )  # fmt: skip
                            if second or not ints[at + of.NORM]:
                                advance(digest, phase, arrays, given, place, u)
                            else:
                                complete(digest, phase, arrays, given, place, u)
                            if not second and r < next_active and s + 1 < launch[of.LAST_STEP]:
                                after = (next_start + r) * pre_step + ints[at + of.ROW]  # what the next step reads
                                prefetch_row(pre, after, u, units, gates * units)
                    cuda.syncthreads()

    return forward


def _backward_kernel(digest: str, kind: str) -> Callable:
    """The backward kernel of a cell.

    Stages are 0, which clears gradients, then from the last phase to the first three each: equations, the way back
    through a normalisation, products.
    """

    def backward(
        records, pre, scales, flat, steps, order, lengths, table, offsets, constants, noise, launch, counters,
        grads, units, doutputs, outside,
    ):  # fmt: skip
        """Run some stages of some steps, the last step first.

        Parameters
        ----------
        records, scales : as `forward` left them
        pre : (M, row), out: the gradients of pre-activations
        grads : (N, gradient row), two regions for states in turns, in: gradients of final states; out: those of
            initial ones
        units : (M, unit row), out: gradients of parameters that have one number per unit
        doutputs, outside : (M, doutput row), gradients of states at every step, and the place of each state, or -1
        flat, offsets, steps, order, lengths, table, constants, noise, launch, counters : as in `forward`
        """
        launch_together()  # blocks wait for one another
        ints = cuda.shared.array(0, table.dtype, alignment=ALIGNMENT)
        reals = cuda.shared.array(0, records.dtype, alignment=ALIGNMENT)
        arrays = records, pre, flat, reals, grads, units
        given = offsets, constants, noise, launch[of.HIDDEN], launch[of.PROJECTED]
        from_outside = outside, launch[of.HIDDEN], launch[of.PROJECTED]
        group = quotient(cuda.blockIdx.x, launch[of.SLICES])
        part = cuda.blockIdx.x - group * launch[of.SLICES]
        threads, tile, factors = cuda.blockDim.x, launch[of.TILE], launch[of.FACTORS]
        record_step, pre_step = launch[of.RECORD], launch[of.PRE_ROW]
        products = launch[of.PHASES] * of.PHASE_FIELDS
        copy_table(table, ints, products + launch[of.PRODUCTS] * of.PRODUCT_FIELDS)
        for p in range(launch[of.PRODUCTS]):
            at = products + p * of.PRODUCT_FIELDS
            load_weights(kind, ints, at, reals, flat, part * ints[at + of.P_SLICE], False)
        began, waits = False, 0
        start, active = steps[2 * launch[of.LAST_STEP]], steps[2 * launch[of.LAST_STEP] + 1]
        last_start, last_active = steps[2 * launch[of.LAST_STEP] - 2], steps[2 * launch[of.LAST_STEP] - 1]
        for back in range(launch[of.LAST_STEP] - launch[of.FIRST_STEP]):
            s = launch[of.LAST_STEP] - 1 - back
            next_start, next_active, start, active = start, active, last_start, last_active
            last_start, last_active = steps[2 * max(0, s - 1)], steps[2 * max(0, s - 1) + 1]
            now = ((launch[of.ORIGIN] + s) & 1) * launch[of.STATE_ROW]
            before = launch[of.STATE_ROW] - now
            for stage in range(launch[of.FIRST_STAGE], launch[of.LAST_STAGE]):
                turn = quotient(stage + 2, 3) - 1
                phase, part_of = max(0, launch[of.PHASES] - 1 - turn), stage - 1 - 3 * turn
                if stage == 0:
                    phase, part_of = 0, -1
                at = phase * of.PHASE_FIELDS
                if part_of == 1 and not ints[at + of.NORM]:
                    continue
                if part_of == 2 and ints[at + of.FIRST_PRODUCT] == ints[at + of.LAST_PRODUCT]:
                    continue
                if began and part_of > 0 and launch[of.SLICES] > 1:
                    waits += 1
                    wait_for_others(counters, group, waits * launch[of.SLICES])
                began = True
                width, gates = ints[at + of.SLICE], ints[at + of.GATES]
                for first in range(group * tile, active, launch[of.GROUPS] * tile):
                    rows, m = min(tile, active - first), start + first
                    if part_of == -1:
                        start_step(
                            digest, records, grads, doutputs, from_outside, launch, part, first, m, rows, now, before,
                            last_start + first,
                        )  # fmt: skip
                    elif part_of == 2:
                        multiply_back(
                            kind, ints, at, reals, pre, m * pre_step, rows, grads, first, launch, part, now,
                            before,
                        )  # fmt: skip
                    else:
                        if part_of == 1:
                            gradient_means(
                                ints, at, reals, flat, records, m * record_step, record_step, units,
                                m * launch[of.UNIT_ROW], launch[of.UNIT_ROW], rows, factors, scales,
                                m * launch[of.SCALES], launch[of.SCALES],
                            )  # fmt: skip
                        for q in range(cuda.threadIdx.x, rows * width, threads):
                            row = quotient(q, width)
                            u, r = part * width + q - row * width, first + row
                            if u < ints[at + of.UNITS]:
                                following = next_start + r if r < next_active else launch[of.FINAL] + r
                                t, n = in_batch(launch, order, lengths, s, r)
                                place = (
                                    (m + row) * record_step, following * record_step, (m + row) * pre_step,
                                    r * launch[of.GRADIENT_ROW], now, before, (m + row) * launch[of.UNIT_ROW],
                                    factors + threads + 3 * row * gates, t, n,
                                )  # fmt: skip
                                if part_of == 0:
                                    retreat(digest, phase, arrays, given, place, u)
                                else:
                                    normalise_back(digest, phase, arrays, given, place, u)
                    cuda.syncthreads()

    return backward


@cache
def forward_kernel(digest: str, kind: str = "") -> Kernel:
    """The forward kernel of the cell of a fingerprint, with products of a kind."""
    return Kernel(_forward_kernel(digest, kind), max_registers=REGISTERS)


@cache
def backward_kernel(digest: str, kind: str = "") -> Kernel:
    """The backward kernel of the cell of a fingerprint, with products of a kind."""
    return Kernel(_backward_kernel(digest, kind), max_registers=REGISTERS)
