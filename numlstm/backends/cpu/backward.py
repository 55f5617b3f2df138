"""Back-propagation through time over a chunk of steps, for a range of rows."""

from __future__ import annotations

from numba import literal_unroll

from .arguments import BackwardStep
from .compiling import inner, kernel, once
from .memory import add_row, copy_row, lanes_of, load_address, load_row, rows_at, slots_at, vector_bytes, zero_steps
from .simd import splat, stack_bytes, store
from .tags import equations_backward, gates_of, groups_of, load_gradients, store_gradients, width_of
from .tile import TILE_BYTES, product_tile, tile_height


@kernel
def backward(
    real, wide, phases, wx, shape, chunk, starts, x, doutputs, dfinal, dinitial, dx, records, gradients,
    order, lengths, reverse, first, last,
):  # fmt: skip
    """Rows first <= m < last, from the chunk's last step to its first.

    Besides `dinitial` and `dx`, this leaves the gate gradients of the chunk, and addresses of the vectors they
    meet in the weight gradients; the pair (s, m) is number ``starts[s - chunk.first] + m``.

    Parameters
    ----------
    real, shape, x, records, order, lengths, reverse
        As in `forward`.
    wide : tag
        The width of plain products.
    phases : tuple of (tag, Transposed)
        One for each phase of the cell, the last one first.
    wx : int
        Input weights for the way back, (panels of inputs, columns of all phases, width).
    chunk : Chunk
    starts : int64 array, shape (steps of the chunk,)
    doutputs, dfinal : tuple of Rows
        One for each state: (N, T, H) and (N, H), read; zeros if absent.
    dinitial : tuple of Rows
        (N, H), written by the chunk that holds step 0.
    dx : Rows
        (N, T, D), written, if present.
    gradients : Gradients
        Carried from chunk to chunk. A state has two slots, for even and for odd steps.
    """
    scratch, zeros = stack_bytes(TILE_BYTES), stack_bytes(TILE_BYTES)
    for i in range(width_of(wide)):
        store(splat(real, real(0)), zeros + i * vector_bytes(real))
    states = len(dinitial) * gradients.slot
    active = first
    for s in range(min(chunk.last, lengths[first]) - 1, chunk.first - 1, -1):
        dnow = gradients.address + (s & 1) * states
        dbefore = gradients.address + ((s + 1) & 1) * states
        while active < last and lengths[active] > s:
            if lengths[active] == s + 1:
                _meet(real, shape, dfinal, dnow, gradients, order, active)
            active += 1
        _add_outputs(real, shape, doutputs, dnow, gradients, order, lengths, reverse, s, first, active)
        pair = starts[s - chunk.first]
        rows_at(chunk.xs + 8 * pair, x, order, lengths, reverse, s, first, active)
        before = records.address + s * records.step
        step = BackwardStep(
            first, active, pair, before, before + records.step,
            dbefore, dnow, gradients.address + 2 * states, scratch, zeros,
        )  # fmt: skip
        for each in literal_unroll(phases):
            _phase(real, wide, each[0], each[1], shape, chunk, records, gradients, step)
        if dx.address:
            rows_at(chunk.places, dx, order, lengths, reverse, s, first, active)
            _back_product(real, wide, wx, 0, chunk.columns, shape.inputs, 1, chunk, step)
    if chunk.first == 0:
        _finish(real, shape, dinitial, dx, gradients, order, lengths, states, first, last)


@once
def _meet(real, shape, dfinal, dnow, gradients, order, m):
    """Going backward, row m begins here: with the gradient of its final states."""
    for state in range(len(dfinal)):
        end = dfinal[state]
        count = shape.units if end.address else 0
        slot = dnow + m * gradients.row + state * gradients.slot
        load_row(real, slot, end.address + order[m] * end.row, count, shape.groups)


@once
def _add_outputs(real, shape, doutputs, dnow, gradients, order, lengths, reverse, s, first, active):
    """Gradients of the outputs of a step join those that come from the step after."""
    for state in range(len(doutputs)):
        output = doutputs[state]
        if output.address:
            for m in range(first, active):
                t = lengths[m] - 1 - s if reverse else s
                slot = dnow + m * gradients.row + state * gradients.slot
                add_row(real, slot, output.address + order[m] * output.row + t * output.step, shape.units)


@once
def _finish(real, shape, dinitial, dx, gradients, order, lengths, states, first, last):
    """Gradients of the initial states; zeros to dx past a row's length."""
    dbefore = gradients.address + states  # of step 0
    for m in range(first, last):
        for state in range(len(dinitial)):
            place = dinitial[state].address + order[m] * dinitial[state].row
            copy_row(real, place, dbefore + m * gradients.row + state * gradients.slot, shape.units)
        if dx.address:
            zero_steps(real, dx, order[m], lengths[m], shape.steps, shape.inputs)


@once
def _phase(real, wide, phase, weights, shape, chunk, records, gradients, step):
    """One phase: equations of all units, then the way back through the recurrent weights."""
    source = (step.now if weights.source_now else step.before) + weights.source_slot * records.slot
    slots_at(weights.sources + 8 * step.pair, source, records.row, step.first, step.active)
    _gate_gradients(real, phase, weights, shape, chunk, records, gradients, step)
    target = _target(weights, step) + weights.target_slot * gradients.slot
    slots_at(chunk.places, target, gradients.row, step.first, step.active)
    count = shape.groups * lanes_of(real)
    _back_product(real, wide, weights.r, weights.row, weights.columns, count, weights.overwrites, chunk, step)


@once
def _gate_gradients(real, phase, weights, shape, chunk, records, gradients, step):
    lanes, size = lanes_of(real), vector_bytes(real)
    ones = splat(real, real(1))
    row_bytes, group_bytes = width_of(phase) * size, gates_of(phase) * size
    for m in range(step.first, step.active):
        for panel in range(weights.number):
            row = chunk.gates + m * chunk.row + weights.row + panel * row_bytes
            copy = weights.panels + (panel * chunk.rows + step.pair + m) * row_bytes
            for group in range(groups_of(phase)):
                index = panel * groups_of(phase) + group
                unit = m * records.row + index * size
                dunit = m * gradients.row + index * size
                values = load_gradients(
                    real, phase, step.dnow + dunit, step.dvalues + dunit, gradients.slot,
                    step.before + unit, step.now + unit, records.slot,
                )  # fmt: skip
                results = equations_backward(phase, ones, values)
                store_gradients(
                    phase, results, row + group * group_bytes, copy + group * group_bytes, shape.units - index * lanes,
                    step.dbefore + dunit, step.dnow + dunit, step.dvalues + dunit, gradients.slot,
                )  # fmt: skip


@once
def _target(weights, step):
    """Where the gradient of the vector goes that the recurrent weights multiplied."""
    if weights.target_region == 0:
        return step.dbefore
    return step.dnow if weights.target_region == 1 else step.dvalues


@inner
def _back_product(real, wide, w, offset, columns, count, overwrites, chunk, step):
    """Gate gradients times transposed weights, to the places of the rows: `count` numbers each."""
    lanes, row_bytes = lanes_of(real), width_of(wide) * vector_bytes(real)
    numbers = width_of(wide) * lanes
    slots_at(chunk.gate_rows, chunk.gates + offset, chunk.row, step.first, step.active)
    for panel in range(-(-count // numbers)):
        some = min(numbers, count - panel * numbers)
        weights = w + panel * columns * row_bytes
        m = step.first
        while m < step.active:
            height = tile_height(wide, step.active - m)
            a = chunk.gate_rows + 8 * m
            product_tile(real, wide, height, step.scratch, step.zeros, weights, a, columns, weights, a, 0)
            for row in range(height):
                place = load_address(chunk.places + 8 * (m + row)) + panel * row_bytes
                sums = step.scratch + row * row_bytes
                if overwrites:
                    copy_row(real, place, sums, some)
                else:
                    add_row(real, place, sums, some)
            m += height
