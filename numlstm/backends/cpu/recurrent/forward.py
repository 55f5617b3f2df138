"""The forward pass of a layer over whole sequences, for a range of rows."""

from __future__ import annotations

from ..linear.halves import round_rows
from ..linear.tile import height_of
from ..machine.compiling import call, inner, kernel, once
from ..machine.memory import copy_row, load_row, rows_at, slots_at, vector_bytes, zero_steps
from ..machine.simd import load, stack_bytes, store
from ..machine.team import NOBODY, begin, end, following
from .arguments import Step
from .masks import keys_of_rows

SCRATCH_BYTES = 1 << 14  # holds the pre-activations of a panel for some rows


@kernel
def forward(
    real, phases, tiles, sources, constants, norm, masks, places, states, x, shape, memory, records, team, order,
    lengths, reverse, first, last,
):  # fmt: skip
    """Rows first <= m < last of a batch, each up to its last step; or, in a team, part `first` of all rows.

    All of their steps, or those that records are for: then initial states are those before the first of these steps,
    and final ones those after the last.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    phases, tiles, sources, masks : tables
        See `arguments` and `masks`.
    constants, norm : int
        Addresses of the cell's constants, vectors, and of the normalisation's machine code.
    places : table of PLACE
        Initial states, final states, then outputs: (N, .) read, zeros if absent; (N, .) written; (N, T, .) written.
    states : int
        Number of states.
    x : Rows
        (N, T, D), read.
    shape : Shape
    memory : Memory
    records : Records
        Written; never read before it is written.
    team : Team
        It divides the panels of a phase; then there is no mask, and no phase that needs whole rows.
    order : int64 array, shape (N,)
        Rows of `x` and of the states, longest first; row m is `order[m]` there.
    lengths : int64 array, shape (N,)
        Steps of each row, in that order.
    reverse : bool
        Whether to go from each row's last step to its first.
    """
    own, addresses, halves = 0, memory.addresses, memory.halves
    if team.parts > 1:
        own, first, last = first, 0, team.rows
        addresses += own * (len(sources) + 1) * memory.span
        halves += own * (len(sources) + 1) * team.rows * memory.halves_row
    part, stage = own, 0
    while part != NOBODY:
        if begin(team, part, stage):
            if part == 0:
                _start(real, shape, places, states, records, order, first, last)
            end(team)
        part = following(team, stage)
    active, begun = last, records.first
    past = min(lengths[first], records.last)
    for s in range(begun, past):
        were_active = active
        while lengths[active - 1] <= s:
            active -= 1
        rows_at(addresses, x, order, lengths, reverse, s, first, active)
        if memory.halves:
            round_rows(real, addresses, shape.inputs, halves, memory.halves_row, first, active)
        keys_of_rows(masks, order, lengths, reverse, s, first, active)
        before = records.address + ((s - begun) & records.wrap) * records.step
        now = records.address + ((s - begun + 1) & records.wrap) * records.step
        step = Step(first, active, before, now, addresses, halves + (memory.span // 8) * memory.halves_row)
        for p in range(len(phases)):
            part = own
            stage += 1
            while part != NOBODY:
                if begin(team, part, stage):
                    if p == 0 and part == 0 and s > begun:
                        _outputs(real, places, states, records, order, lengths, reverse, s - 1, first, were_active)
                    panels = phases[p].panels
                    some = panels * part // team.parts, panels * (part + 1) // team.parts
                    _phase(real, phases[p], tiles, sources, masks, constants, norm, memory, records, step, some)
                    end(team)
                part = following(team, stage)
    if begin(team, 0, stage + 1):
        if past > begun:
            _outputs(real, places, states, records, order, lengths, reverse, past - 1, first, active)
        _finish(real, shape, places, states, records, order, lengths, first, last)


@once
def _start(real, shape, places, states, records, order, first, last):
    """Initial states to the first record of every row."""
    for k in range(states):
        start = places[k]
        count = start.units if start.address else 0
        for m in range(first, last):
            slot = records.address + m * records.row + start.slot * records.slot
            load_row(real, slot, start.address + order[m] * start.row, count, shape.groups)


@inner
def _outputs(real, places, states, records, order, lengths, reverse, s, first, active):
    """What a caller wants to have of every step."""
    now = records.address + ((s - records.first + 1) & records.wrap) * records.step
    for k in range(2 * states, len(places)):
        output = places[k]
        for m in range(first, active):
            t = lengths[m] - 1 - s if reverse else s
            place = output.address + order[m] * output.row + t * output.step
            copy_row(real, place, now + m * records.row + output.slot * records.slot, output.units)


@once
def _finish(real, shape, places, states, records, order, lengths, first, last):
    """Final states out of every row's last record; zeros to the outputs past a row's length."""
    for k in range(states, 2 * states):
        final = places[k]
        for m in range(first, last):
            steps = min(lengths[m], records.last) - records.first
            if steps > 0:
                record = records.address + (steps & records.wrap) * records.step + m * records.row
                copy_row(real, final.address + order[m] * final.row, record + final.slot * records.slot, final.units)
    for k in range(2 * states, len(places) if records.first == 0 else 0):
        for m in range(first, last):
            zero_steps(real, places[k], order[m], lengths[m], shape.steps, places[k].units)


@once
def _phase(real, phase, tiles, sources, masks, constants, norm, memory, records, step, some):
    """Some panels of a phase of a step; panels outermost, so that each is read from far memory once.

    Equations take the sums of some rows and panels together, as many as are at hand.
    """
    scratch = stack_bytes(SCRATCH_BYTES)
    masks_at = masks.ctypes.data
    for k in range(phase.first_source, phase.last_source):
        source = sources[k]
        at = (step.now if source.now else step.before) + source.slot * records.slot
        addresses = step.addresses + (k + 1) * memory.span
        slots_at(addresses, at, records.row, step.first, step.active)
        if memory.halves:
            place = step.halves + k * (memory.span // 8) * memory.halves_row
            round_rows(real, addresses, source.count, place, memory.halves_row, step.first, step.active)
    if phase.copied_slot >= 0:
        at = (step.now if phase.copied_now else step.before) + phase.copied_slot * records.slot
        for m in range(step.first, step.active):
            place = memory.sums + m * memory.sums_row
            load_row(real, place, at + m * records.row, phase.units, phase.panels * phase.groups)
    whole = phase.norm_weight != 0 or phase.gates == 0 or phase.copied_slot >= 0
    together = max(1, phase.block // (step.active - step.first))
    for first in range(some[0], some[1] if phase.last_tile > phase.first_tile else 0, together):
        last = min(first + together, some[1])
        for start in range(step.first, step.active, phase.block):
            end = min(start + phase.block, step.active)
            place, row = scratch, (last - first) * phase.tile_row
            if whole:
                place, row = memory.sums + start * memory.sums_row + first * phase.tile_row, memory.sums_row
            for panel in range(first, last):
                m = start
                while m < end:
                    height = height_of(phase.tallest, end - m)
                    at = place + (m - start) * row + (panel - first) * phase.tile_row
                    _products(real, phase, tiles, step.addresses, memory.span, panel, height, at, row, 8 * m)
                    m += height
            if not whole:
                call(
                    phase.forward,
                    (
                        0, 0, place, row, step.before + start * records.row, step.now + start * records.row,
                        records.row, records.slot, first * phase.groups, (last - first) * phase.groups, end - start,
                        records.keep, phase.parameters, constants, masks_at, start,
                    ),
                )  # fmt: skip
    if whole:
        m, rows, groups = step.first, step.active - step.first, phase.panels * phase.groups
        sums = memory.sums + m * memory.sums_row
        if phase.norm_weight:
            call(
                norm,
                (
                    0, sums, memory.sums_row, rows, phase.gates, groups, phase.units, phase.norm_weight,
                    phase.norm_bias, step.now + m * records.row, records.row, records.slot, phase.norm_slot,
                    phase.norm_factors, records.keep,
                ),
            )  # fmt: skip
        call(
            phase.forward,
            (
                0, 0, sums, memory.sums_row, step.before + m * records.row, step.now + m * records.row,
                records.row, records.slot, 0, groups, rows, records.keep, phase.parameters, constants, masks_at, m,
            ),
        )  # fmt: skip


@once
def _products(real, phase, tiles, addresses, span, panel, height, place, row, offset):
    """The pre-activations of one panel and `height` rows to `place`."""
    size = vector_bytes(real)
    start, start_row = phase.bias + panel * phase.tile_row, 0
    if phase.last_tile - phase.first_tile > 1:  # tiles may leave some gates out
        for m in range(height):
            for at in range(0, phase.tile_row, size):
                store(load(real, start + at), place + m * row + at)
        start, start_row = place, row
    for k in range(phase.first_tile, phase.last_tile):
        tile = tiles[k]
        call(
            tile.tile,
            (
                0, 0, height, place + tile.offset, row, start + tile.offset, start_row,
                tile.w + panel * tile.w_panel, addresses + tile.a * span + offset, tile.a_count,
                tile.v + panel * tile.v_panel, addresses + tile.b * span + offset, tile.b_count,
            ),
        )  # fmt: skip
