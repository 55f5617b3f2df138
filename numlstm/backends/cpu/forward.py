"""The forward pass of a layer over whole sequences, for a range of rows."""

from __future__ import annotations

from numba import literal_unroll

from .arguments import Step
from .compiling import kernel, once
from .memory import copy_row, load_row, rows_at, slots_at, vector_bytes, zero_steps
from .simd import splat, stack_bytes
from .tags import equations_forward, gates_of, groups_of, load_values, store_values, width_of
from .tile import TILE_BYTES, product_tile, tile_height


@kernel
def forward(
    real, phases, shape, x, initial, outputs, final, records, addresses, order, lengths, reverse, training,
    first, last,
):  # fmt: skip
    """Rows first <= m < last of a batch, from their first step to each one's last.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    phases : tuple of (tag, Panels)
        One for each phase of the cell.
    shape : Shape
    x : Rows
        (N, T, D), read.
    initial, outputs, final : tuple of Rows
        One for each state: (N, H) read, zeros if absent; (N, T, H) written, if present; (N, H) written.
    records : Records
        Written; never read before it is written.
    addresses : int
        Room for 2 N of them.
    order : int64 array, shape (N,)
        Rows of `x` and of the states, longest first; row m is `order[m]` there.
    lengths : int64 array, shape (N,)
        Steps of each row, in that order.
    reverse, training : bool
        Whether to go from each row's last step to its first; whether records are for a backward pass.
    """
    _start(real, shape, initial, records, order, first, last)
    sources = addresses + 8 * order.size
    active = last
    for s in range(lengths[first]):
        while lengths[active - 1] <= s:
            active -= 1
        rows_at(addresses, x, order, lengths, reverse, s, first, active)
        before = records.address + (s & records.wrap) * records.step
        now = records.address + ((s + 1) & records.wrap) * records.step
        step = Step(first, active, before, now, addresses, sources)
        for each in literal_unroll(phases):
            _phase(real, each[0], each[1], shape, records, step, training)
        for state in range(len(outputs)):
            output = outputs[state]
            if output.address:
                for m in range(first, active):
                    t = lengths[m] - 1 - s if reverse else s
                    place = output.address + order[m] * output.row + t * output.step
                    copy_row(real, place, now + m * records.row + state * records.slot, shape.units)
    _finish(real, shape, outputs, final, records, order, lengths, first, last)


@once
def _start(real, shape, initial, records, order, first, last):
    """Initial states to the first record of every row."""
    for state in range(len(initial)):
        start = initial[state]
        count = shape.units if start.address else 0
        for m in range(first, last):
            slot = records.address + m * records.row + state * records.slot
            load_row(real, slot, start.address + order[m] * start.row, count, shape.groups)


@once
def _finish(real, shape, outputs, final, records, order, lengths, first, last):
    """Final states out of every row's last record; zeros to the outputs past a row's length."""
    for state in range(len(final)):
        for m in range(first, last):
            record = records.address + (lengths[m] & records.wrap) * records.step + m * records.row
            place = final[state].address + order[m] * final[state].row
            copy_row(real, place, record + state * records.slot, shape.units)
            if outputs[state].address:
                zero_steps(real, outputs[state], order[m], lengths[m], shape.steps, shape.units)


@once
def _phase(real, phase, panels, shape, records, step, training):
    """One phase of a step; panels outermost, so that each is read from far memory once."""
    scratch = stack_bytes(TILE_BYTES)
    ones = splat(real, real(1))
    size = vector_bytes(real)
    row_bytes = width_of(phase) * size
    source = (step.now if panels.source_now else step.before) + panels.source_slot * records.slot
    slots_at(step.sources, source, records.row, step.first, step.active)
    for panel in range(panels.number):
        bias = panels.bias + panel * row_bytes
        w = panels.w + panel * shape.inputs * row_bytes
        r = panels.r + panel * shape.units * row_bytes
        m = step.first
        while m < step.active:
            height = tile_height(phase, step.active - m)
            product_tile(
                real, phase, height, scratch, bias,
                w, step.xs + 8 * m, shape.inputs,
                r, step.sources + 8 * m, shape.units,
            )  # fmt: skip
            for row in range(height):
                for group in range(groups_of(phase)):
                    gates = scratch + row * row_bytes + group * gates_of(phase) * size
                    unit = (m + row) * records.row + (panel * groups_of(phase) + group) * size
                    values = load_values(real, phase, gates, step.before + unit, step.now + unit, records.slot)
                    results = equations_forward(phase, ones, values)
                    store_values(phase, results, step.now + unit, records.slot, training)
            m += height
