"""The kernels of recurrent layers: many steps in one launch, forward and back.

A block owns a slice of the units of every phase, and some of the rows. It keeps its slice of the recurrent weights in
shared memory for all steps; what blocks tell one another, states forward and gradients of pre-activations back, goes
through the device's memory, with a barrier between the blocks that share rows wherever a product reads what others
have written.

If the weights do not fit into shared memory, the host launches products step by step, and the same kernels compute the
equations alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from . import tables as of
from .device import cuda
from .equations import (
    BackwardArrays,
    BackwardPlace,
    BackwardSettings,
    ForwardArrays,
    ForwardPlace,
    ForwardSettings,
    StartArrays,
    StartPlace,
    StartSettings,
    backward_equations,
    forward_equations,
    normalisation_backward,
    start_gradients,
    sum_preactivations,
)
from .intrinsics import ALIGNMENT, arrive_and_wait, launch_together, prefetch, quotient
from .launching import Kernel, by_name, device_function
from .tiles import clear, join_parts, load_weights, multiply_tile

EPSILON = 1e-5  # added to the variance, in layer normalisation
REGISTERS = 255  # of a thread, at most: a block of 256 threads has a multiprocessor to itself


CLEARING, EQUATIONS, NORMALISATION, PRODUCTS = range(-1, 3)  # what a stage back does


class Arguments(NamedTuple):
    """What kernels take, in their order; M are the pairs of a step and a row, N the rows.

    Attributes
    ----------
    records : (M + 2N, record), states of the first step in; behind M, rows that go on past the last step, then the last
        states of those that have ended; back: as the forward kernel left them
    pre : (M, pre_row), products with the input in, or all products; back: out, the gradients of pre-activations
    scales : (M, scale_row), out; back: as the forward kernel left them
    flat : parameters
    steps : (steps + 1, 2): the first row of a step in the arrays, and the number of its rows
    order, lengths : (N,), place in the batch and steps of each row
    table : phases, then products; see `tables`
    offsets, constants, noise : see `equations.ForwardSettings`
    launch : Launch
    counters : (groups,), zeros
    """

    records: Any
    pre: Any
    scales: Any
    flat: Any
    steps: Any
    order: Any
    lengths: Any
    table: Any
    offsets: tuple[int, ...]
    constants: tuple[Any, ...]
    noise: tuple[int, ...]
    launch: of.Launch
    counters: Any


class GradientArguments(NamedTuple):
    """What backward kernels take besides.

    Attributes
    ----------
    grads : (N, gradient_row), two regions for states in turns, in: gradients of final states; out: those of initial
        ones
    units : (M, unit_row), out: gradients of parameters that have one number per unit
    doutputs, outside : (M, doutput_row), gradients of states at every step, and the place of each state, or -1
    """

    grads: Any
    units: Any
    doutputs: Any
    outside: tuple[int, ...]


class Moment(NamedTuple):
    """A step: its number, its first pair and its rows, and those of the next step; how x and the batch are ordered."""

    s: int
    start: int
    active: int
    next_start: int
    next_active: int
    order: Any
    lengths: Any


class Regions(NamedTuple):
    """Where gradients of the states after a step, and of those before it, are in a row of gradients."""

    now: int
    before: int


class Tile(NamedTuple):
    """Rows that a block works on at once: the first of them, their number, and the pair of the first with the step."""

    first: int
    rows: int
    pair: int


@device_function
def copy_table(table, ints, count):
    """Copy the tables to shared memory."""
    for k in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        ints[k] = table[k]
    cuda.syncthreads()


@device_function
def prefetch_row(array, start, first, step, last):
    """Prefetch every `step`-th number of a row, from the first on."""
    for k in range(first, last, step):
        prefetch(array, start + k)


@device_function
def wait_for_others(counters, group, arrivals):
    """Wait until all blocks that share rows arrive; their earlier writes are visible afterwards."""
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        arrive_and_wait(counters, group, arrivals)
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
    """How many threads share a pair of a row and a gate."""
    return max(1, threads // pairs)


@device_function
def has_pair(first, lanes, pairs):
    """Whether this thread has a pair of a row and a gate, and all the threads to share it with."""
    group = cuda.threadIdx.x // lanes
    return group < cuda.blockDim.x // lanes and first + group < pairs


@device_function
def standardise(ints, at, reals, pre, scales, tile, launch, keep):
    """Mean and factor of every gate of a tile's rows, over all units.

    They are (rows, gates, 2) in shared memory, behind a number for each thread; `scales` keeps the factors for the way
    back.
    """
    threads, thread, factors = cuda.blockDim.x, cuda.threadIdx.x, launch.factors
    units, pairs = ints[at + of.UNITS], tile.rows * ints[at + of.GATES]
    lanes = lanes_for(pairs, threads)
    count, lane, leader = reals.dtype.type(units), thread % lanes, factors + thread - thread % lanes
    for first in range(0, pairs, threads // lanes):
        pair = min(first + thread // lanes, pairs - 1)
        row, gate = pair // ints[at + of.GATES], pair % ints[at + of.GATES]
        start = (tile.pair + row) * launch.pre_row + ints[at + of.ROW] + gate * units
        total = reals.dtype.type(0)
        for u in range(lane, units, lanes):
            total += pre[start + u]
        reals[factors + thread] = total
        mean = total_of(reals, leader, lane, lanes) / count
        total = reals.dtype.type(0)
        for u in range(lane, units, lanes):
            total += (pre[start + u] - mean) * (pre[start + u] - mean)
        cuda.syncthreads()
        reals[factors + thread] = total
        variance = total_of(reals, leader, lane, lanes) / count
        scale = reals.dtype.type(1) / math.sqrt(variance + reals.dtype.type(EPSILON))
        if lane == 0 and has_pair(first, lanes, pairs):
            reals[factors + threads + 2 * pair] = mean
            reals[factors + threads + 2 * pair + 1] = scale
            if keep:
                scales[(tile.pair + row) * launch.scale_row + ints[at + of.FIRST_SCALE] + gate] = scale
        cuda.syncthreads()


@device_function
def gradient_means(ints, at, arrays, scales, tile, launch):
    """The means over all units that the gradient of a normalised gate needs, and its factor: to shared memory.

    They are (rows, gates, 3), behind a number for each thread: the mean of the gradient d, that of d times the
    normalised gate, and the factor.
    """
    threads, thread, factors, reals = cuda.blockDim.x, cuda.threadIdx.x, launch.factors, arrays.shared
    size, pairs = ints[at + of.UNITS], tile.rows * ints[at + of.GATES]
    lanes = lanes_for(pairs, threads)
    count, lane, leader = reals.dtype.type(size), thread % lanes, factors + thread - thread % lanes
    for first in range(0, pairs, threads // lanes):
        pair = min(first + thread // lanes, pairs - 1)
        row, gate = pair // ints[at + of.GATES], pair % ints[at + of.GATES]
        delta = (tile.pair + row) * launch.unit_row + ints[at + of.NORM_UNITS] + (2 * gate + 1) * size
        value = (tile.pair + row) * launch.record + ints[at + of.NORMALISED] + gate * size
        weight = ints[at + of.NORM_WEIGHT] + ints[at + of.NORM_BLOCKS + gate] * size
        total = reals.dtype.type(0)
        for u in range(lane, size, lanes):
            total += arrays.units[delta + u] * arrays.flat[weight + u]
        reals[factors + thread] = total
        mean = total_of(reals, leader, lane, lanes) / count
        total = reals.dtype.type(0)
        for u in range(lane, size, lanes):
            total += arrays.units[delta + u] * arrays.flat[weight + u] * arrays.records[value + u]
        cuda.syncthreads()
        reals[factors + thread] = total
        product_mean = total_of(reals, leader, lane, lanes) / count
        if lane == 0 and has_pair(first, lanes, pairs):
            place = factors + threads + 3 * pair
            reals[place] = mean
            reals[place + 1] = product_mean
            reals[place + 2] = scales[(tile.pair + row) * launch.scale_row + ints[at + of.FIRST_SCALE] + gate]
        cuda.syncthreads()


@device_function
def in_batch(launch, moment, r):
    """The step of x and the row of the batch that row r has at a step; needed where there is noise."""
    t, n = 0, 0
    if launch.noisy:
        n, t = moment.order[r], launch.origin + moment.s
        if launch.reverse:
            t = moment.lengths[r] - 1 - t
    return t, n


@device_function
def next_record(launch, moment, r):
    """Where the record of row r's next step begins."""
    pair = moment.next_start + r if r < moment.next_active else launch.final + r
    return pair * launch.record


@device_function
def place_of_block(launch):
    """The number of a block's group of rows, and that of its slice of the units."""
    group = quotient(cuda.blockIdx.x, launch.slices)
    return group, cuda.blockIdx.x - group * launch.slices


def _load_tables(kind: str) -> Callable:
    """The function that brings tables and a block's slice of all weights into shared memory."""

    def load_tables(ints, reals, table, flat, launch, part, forward):
        products = launch.phases * of.PHASE_FIELDS
        copy_table(table, ints, products + launch.products * of.PRODUCT_FIELDS)
        for p in range(launch.products):
            at = products + p * of.PRODUCT_FIELDS
            load_weights(kind, ints, at, reals, flat, part * ints[at + of.P_SLICE], forward)

    return load_tables


def _multiply_forward(kind: str) -> Callable:
    """The function that makes the sums of a phase for a tile of rows, with products of a kind."""

    def multiply(ints, at, reals, records, tile, launch):
        """The recurrent products of a phase for a tile of rows: sums of all gates."""
        products = launch.phases * of.PHASE_FIELDS
        row_sums = ints[at + of.SLICE] * ints[at + of.GATES]
        parts = 1
        for p in range(ints[at + of.FIRST_PRODUCT], ints[at + of.LAST_PRODUCT]):
            parts = max(parts, ints[products + p * of.PRODUCT_FIELDS + of.PARTS])
        clear(reals, launch.sums, parts * launch.tile * row_sums)
        for p in range(ints[at + of.FIRST_PRODUCT], ints[at + of.LAST_PRODUCT]):
            product = products + p * of.PRODUCT_FIELDS
            start = tile.pair * launch.record + ints[product + of.SOURCE]
            target = ints[product + of.TARGET] * ints[at + of.SLICE]
            multiply_tile(
                kind, ints, product, reals, records, start, launch.record, tile.rows, launch, row_sums, target
            )  # fmt: skip
        join_parts(reals, launch.sums, launch.tile * row_sums, parts)

    return multiply


def _forward_units(digest: str) -> Callable:
    """The function for the equations of a cell's phase, or for what comes before its normalisation."""

    def forward_units(ints, arrays, settings, launch, part, moment, tile, phase, second):
        """All units of a block's slice, of a tile of rows."""
        at = phase * of.PHASE_FIELDS
        width, gates, units = ints[at + of.SLICE], ints[at + of.GATES], ints[at + of.UNITS]
        for q in range(cuda.threadIdx.x, tile.rows * width, cuda.blockDim.x):
            row = quotient(q, width)
            column, r = q - row * width, tile.first + row
            u = part * width + column
            if u < units:
                t, n = in_batch(launch, moment, r)
                place = ForwardPlace(
                    record=(tile.pair + row) * launch.record, following=next_record(launch, moment, r),
                    row=(tile.pair + row) * launch.pre_row, at=launch.sums + row * width * gates + column, step=width,
                    factor=launch.factors + cuda.blockDim.x + 2 * row * gates, t=t, n=n,
                )  # fmt: skip
                if second or not ints[at + of.NORM]:
                    forward_equations(digest, phase, arrays, settings, place, u)
                else:
                    sum_preactivations(digest, phase, arrays, settings, place, u)
                if not second and r < moment.next_active and moment.s + 1 < launch.last_step:
                    after = (moment.next_start + r) * launch.pre_row + ints[at + of.ROW]  # what the next step reads
                    prefetch_row(arrays.pre, after, u, units, gates * units)

    return forward_units


def _start_step(digest: str) -> Callable:
    """The function that begins a step back of a cell for a tile of rows."""

    def start_step(arrays, settings, launch, part, tile, regions, last):
        """Add gradients from outside, and clear others; `last` is the pair of the tile's first row one step before."""
        for size in range(2):
            length = launch.hidden if size == 0 else launch.projected
            wide = (quotient(length + launch.slices - 1, launch.slices) + 3) >> 2 << 2
            for q in range(cuda.threadIdx.x, tile.rows * wide, cuda.blockDim.x):
                row = quotient(q, wide)
                u = part * wide + q - row * wide
                if u < length:
                    place = StartPlace(
                        grad=(tile.first + row) * launch.gradient_row, now=regions.now, before=regions.before,
                        doutput=(tile.pair + row) * launch.doutput_row,
                    )  # fmt: skip
                    start_gradients(digest, size, arrays, settings, place, u)
                    if size == 0:  # what the next step back begins with
                        prefetch_row(arrays.records, (last + row) * launch.record, u, length, launch.record)

    return start_step


def _multiply_back(kind: str) -> Callable:
    """The function that takes gradients back through the products of a phase, of a kind, for a tile of rows."""

    def multiply(ints, at, arrays, launch, part, tile, regions):
        """Gradients of what a phase's recurrent products multiply, from those of its pre-activations."""
        products, reals = launch.phases * of.PHASE_FIELDS, arrays.shared
        for p in range(ints[at + of.FIRST_PRODUCT], ints[at + of.LAST_PRODUCT]):
            product = products + p * of.PRODUCT_FIELDS
            columns, parts = ints[product + of.USED], ints[product + of.PARTS]
            clear(reals, launch.sums, parts * launch.tile * columns)
            start = tile.pair * launch.pre_row + ints[product + of.SOURCE]
            multiply_tile(
                kind, ints, product, reals, arrays.pre, start, launch.pre_row, tile.rows, launch, columns, 0
            )  # fmt: skip
            join_parts(reals, launch.sums, launch.tile * columns, parts)
            region = 0
            if ints[product + of.REGION] == of.BEFORE:
                region = regions.before
            elif ints[product + of.REGION] == of.NOW:
                region = regions.now
            for q in range(cuda.threadIdx.x, tile.rows * columns, cuda.blockDim.x):
                row = quotient(q, columns)
                column = q - row * columns
                u = part * ints[product + of.P_SLICE] + column
                if u < ints[product + of.WIDTH]:
                    target = (tile.first + row) * launch.gradient_row + region + ints[product + of.TARGET] + u
                    arrays.grads[target] += reals[launch.sums + row * columns + column]
            cuda.syncthreads()

    return multiply


def _backward_units(digest: str) -> Callable:
    """The function for the gradients of a cell's phase, or for the way back through its normalisation."""

    def backward_units(ints, arrays, settings, launch, part, moment, tile, regions, phase, second):
        """All units of a block's slice, of a tile of rows."""
        at = phase * of.PHASE_FIELDS
        width, gates = ints[at + of.SLICE], ints[at + of.GATES]
        for q in range(cuda.threadIdx.x, tile.rows * width, cuda.blockDim.x):
            row = quotient(q, width)
            u, r = part * width + q - row * width, tile.first + row
            if u < ints[at + of.UNITS]:
                t, n = in_batch(launch, moment, r)
                place = BackwardPlace(
                    record=(tile.pair + row) * launch.record, following=next_record(launch, moment, r),
                    row=(tile.pair + row) * launch.pre_row, grad=r * launch.gradient_row, now=regions.now,
                    before=regions.before, unit=(tile.pair + row) * launch.unit_row,
                    factor=launch.factors + cuda.blockDim.x + 3 * row * gates, t=t, n=n,
                )  # fmt: skip
                if second:
                    normalisation_backward(digest, phase, arrays, settings, place, u)
                else:
                    backward_equations(digest, phase, arrays, settings, place, u)

    return backward_units


load_tables, multiply_forward, multiply_back = map(by_name, (_load_tables, _multiply_forward, _multiply_back))
forward_units, backward_units, start_step = map(by_name, (_forward_units, _backward_units, _start_step))


def _forward_kernel(digest: str, kind: str) -> Callable:
    """The forward kernel of a cell: stages 2 p and 2 p + 1 are a phase, and what comes after its normalisation."""

    def forward(
        records, pre, scales, flat, steps, order, lengths, table, offsets, constants, noise, launch, counters
    ):  # fmt: skip
        """Run some stages of some steps; see `Arguments`."""
        launch_together()  # blocks wait for one another
        ints = cuda.shared.array(0, table.dtype, alignment=ALIGNMENT)
        reals = cuda.shared.array(0, records.dtype, alignment=ALIGNMENT)
        arrays = ForwardArrays(records, pre, flat, reals)
        settings = ForwardSettings(
            offsets, constants, noise, launch.hidden, launch.projected, launch.keep, launch.fused
        )  # fmt: skip
        group, part = place_of_block(launch)
        load_tables(kind, ints, reals, table, flat, launch, part, True)
        began, waits = False, 0
        next_start, next_active = steps[2 * launch.first_step], steps[2 * launch.first_step + 1]
        for s in range(launch.first_step, launch.last_step):
            start, active = next_start, next_active
            next_start, next_active = steps[2 * s + 2], steps[2 * s + 3]
            moment = Moment(s, start, active, next_start, next_active, order, lengths)
            for stage in range(launch.first_stage, launch.last_stage):
                phase, second = stage >> 1, stage & 1 == 1
                at = phase * of.PHASE_FIELDS
                if second and not ints[at + of.NORM]:
                    continue
                if began and (second or ints[at + of.WAITS]) and launch.slices > 1:
                    waits += 1
                    wait_for_others(counters, group, waits * launch.slices)
                began = True
                for first in range(group * launch.tile, active, launch.groups * launch.tile):
                    tile = Tile(first, min(launch.tile, active - first), start + first)
                    if second:
                        standardise(ints, at, reals, pre, scales, tile, launch, launch.keep and part == 0)
                    elif ints[at + of.FIRST_PRODUCT] < ints[at + of.LAST_PRODUCT]:
                        multiply_forward(kind, ints, at, reals, records, tile, launch)
                    forward_units(digest, ints, arrays, settings, launch, part, moment, tile, phase, second)
                    cuda.syncthreads()

    return forward


@device_function
def stage_back(stage, phases):
    """The phase of a stage of the way back, and what it does there."""
    if stage == 0:
        return 0, CLEARING
    turn = quotient(stage - 1, 3)
    return phases - 1 - turn, stage - 1 - 3 * turn


def _backward_kernel(digest: str, kind: str) -> Callable:
    """The backward kernel of a cell.

    Stages are 0, which clears gradients, then from the last phase to the first three each: equations, the way back
    through a normalisation, products.
    """

    def backward(
        records, pre, scales, flat, steps, order, lengths, table, offsets, constants, noise, launch, counters,
        grads, units, doutputs, outside,
    ):  # fmt: skip
        """Run some stages of some steps, the last step first; see `Arguments` and `GradientArguments`."""
        launch_together()  # blocks wait for one another
        ints = cuda.shared.array(0, table.dtype, alignment=ALIGNMENT)
        reals = cuda.shared.array(0, records.dtype, alignment=ALIGNMENT)
        arrays = BackwardArrays(records, pre, flat, reals, grads, units)
        settings = BackwardSettings(offsets, constants, noise, launch.hidden, launch.projected)
        outer_arrays = StartArrays(records, grads, doutputs)
        outer_settings = StartSettings(outside, launch.hidden, launch.projected)
        group, part = place_of_block(launch)
        load_tables(kind, ints, reals, table, flat, launch, part, False)
        began, waits = False, 0
        start, active = steps[2 * launch.last_step], steps[2 * launch.last_step + 1]
        last_start, last_active = steps[2 * launch.last_step - 2], steps[2 * launch.last_step - 1]
        for back in range(launch.last_step - launch.first_step):
            s = launch.last_step - 1 - back
            next_start, next_active, start, active = start, active, last_start, last_active
            last_start, last_active = steps[2 * max(0, s - 1)], steps[2 * max(0, s - 1) + 1]
            moment = Moment(s, start, active, next_start, next_active, order, lengths)
            now = ((launch.origin + s) & 1) * launch.state_row
            regions = Regions(now, launch.state_row - now)
            for stage in range(launch.first_stage, launch.last_stage):
                phase, work = stage_back(stage, launch.phases)
                at = phase * of.PHASE_FIELDS
                if work == NORMALISATION and not ints[at + of.NORM]:
                    continue
                if work == PRODUCTS and ints[at + of.FIRST_PRODUCT] == ints[at + of.LAST_PRODUCT]:
                    continue
                if began and work > EQUATIONS and launch.slices > 1:
                    waits += 1
                    wait_for_others(counters, group, waits * launch.slices)
                began = True
                for first in range(group * launch.tile, active, launch.groups * launch.tile):
                    tile = Tile(first, min(launch.tile, active - first), start + first)
                    if work == CLEARING:
                        start_step(
                            digest, outer_arrays, outer_settings, launch, part, tile, regions, last_start + first
                        )
                    elif work == PRODUCTS:
                        multiply_back(kind, ints, at, arrays, launch, part, tile, regions)
                    else:
                        second = work == NORMALISATION
                        if second:
                            gradient_means(ints, at, arrays, scales, tile, launch)
                        backward_units(
                            digest, ints, arrays, settings, launch, part, moment, tile, regions, phase, second
                        )  # fmt: skip
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
