"""The forward pass of a layer over whole sequences, for a range of rows."""

from __future__ import annotations

from ..linear.halves import round_rows
from ..linear.tile import ProductTile, height_of
from ..machine.compiling import call, inner, kernel, once, takes
from ..machine.memory import copy_row, load_row, rows_at, slots_at, time_of, vector_bytes, zero_steps
from ..machine.simd import load, stack_bytes, store
from ..machine.team import NO_PART, claim, complete, next_unclaimed
from .arguments import ForwardCall, ForwardLayer, ForwardStep
from .equations import PhaseForward
from .masks import keys_of_rows
from .norm import NormForward

SCRATCH_BYTES = 1 << 14  # holds the pre-activations of a panel for some rows


@kernel
@takes(ForwardLayer, ForwardCall, last=("first", "last"))
def forward(
    real, phases, tiles, sources, constants, norm, states, shape, memory, team, masks, places, x, records, rows, first,
    last,
):  # fmt: skip
    """Rows first <= m < last of a batch, each up to its last step; or, in a team, part `first` of all rows.

    It runs the steps that the records are for: initial states are those before the first of these steps, and final ones
    those after the last.
    """
    own_part, addresses, halves = 0, memory.addresses, memory.halves
    if team.parts > 1:
        own_part, first, last = first, 0, team.rows
        addresses += own_part * (len(sources) + 1) * memory.span
        halves += own_part * (len(sources) + 1) * team.rows * memory.halves_row
    part, stage = own_part, 0
    while part != NO_PART:
        if claim(team, part, stage):
            if part == 0:
                _load_initial(real, shape, places, states, records, rows, first, last)
            complete(team)
        part = next_unclaimed(team, stage)
    active = last
    end = min(rows.lengths[first], records.last)
    for s in range(records.first, end):
        were_active = active
        while rows.lengths[active - 1] <= s:
            active -= 1
        rows_at(addresses, x, rows, s, first, active)
        if memory.halves:
            round_rows(real, addresses, shape.inputs, halves, memory.halves_row, first, active)
        keys_of_rows(masks, rows, s, first, active)
        step = ForwardStep(
            first=first, active=active, before=_record(records, s - 1), now=_record(records, s),
            addresses=addresses, halves=halves + (memory.span // 8) * memory.halves_row,
        )  # fmt: skip
        for p in range(len(phases)):
            stage += 1
            part = own_part
            while part != NO_PART:
                if claim(team, part, stage):
                    if p == 0 and part == 0 and s > records.first:
                        _store_outputs(real, places, states, records, rows, s - 1, first, were_active)
                    panels = phases[p].panels
                    share = panels * part // team.parts, panels * (part + 1) // team.parts
                    _run_phase(real, phases[p], tiles, sources, masks, constants, norm, memory, records, step, share)
                    complete(team)
                part = next_unclaimed(team, stage)
    if claim(team, 0, stage + 1):
        if end > records.first:
            _store_outputs(real, places, states, records, rows, end - 1, first, active)
        _store_final(real, shape, places, states, records, rows, first, last)


@inner
def _record(records, s):
    """The records of a step, of the first row."""
    return records.address + ((s - records.first + 1) & records.wrap) * records.step


@once
def _load_initial(real, shape, places, states, records, rows, first, last):
    """Copy initial states to the first record of every row."""
    for k in range(states):
        initial = places[k]
        count = initial.units if initial.address else 0
        for m in range(first, last):
            slot = records.address + m * records.row + initial.slot * records.slot
            load_row(real, slot, initial.address + rows.order[m] * initial.row, count, shape.groups)


@inner
def _store_outputs(real, places, states, records, rows, s, first, active):
    """Copy the values of a step to the outputs."""
    now = _record(records, s)
    for k in range(2 * states, len(places)):
        output = places[k]
        for m in range(first, active):
            place = output.address + rows.order[m] * output.row + time_of(rows, m, s) * output.step
            copy_row(real, place, now + m * records.row + output.slot * records.slot, output.units)


@once
def _store_final(real, shape, places, states, records, rows, first, last):
    """Copy the final states from the last record of every row, and write zeros to outputs past the row's length."""
    for k in range(states, 2 * states):
        final = places[k]
        for m in range(first, last):
            steps = min(rows.lengths[m], records.last) - records.first
            if steps > 0:
                record = records.address + (steps & records.wrap) * records.step + m * records.row
                place = final.address + rows.order[m] * final.row
                copy_row(real, place, record + final.slot * records.slot, final.units)
    for k in range(2 * states, len(places) if records.first == 0 else 0):
        for m in range(first, last):
            zero_steps(real, places[k], rows.order[m], rows.lengths[m], shape.steps, places[k].units)


@once
def _run_phase(real, phase, tiles, sources, masks, constants, norm, memory, records, step, share):
    """The panels share[0] <= p < share[1] of a phase of a step.

    Panels are outermost, so that each is read from far memory once. Equations take the sums of some rows and panels
    together. Where they need whole rows, or there are no products, they come last, with all rows.
    """
    scratch = stack_bytes(SCRATCH_BYTES)
    masks_at = masks.ctypes.data
    _find_sources(real, phase, sources, memory, records, step)
    if phase.copied_slot >= 0:
        _copy_source(real, phase, memory, records, step)
    whole = phase.norm_weight != 0 or phase.gates == 0 or phase.copied_slot >= 0
    together = max(1, phase.block // (step.active - step.first))
    for first in range(share[0], share[1] if phase.last_tile > phase.first_tile else 0, together):
        last = min(first + together, share[1])
        for start in range(step.first, step.active, phase.block):
            end = min(start + phase.block, step.active)
            sums, sums_row = scratch, (last - first) * phase.tile_row
            if whole:
                sums, sums_row = memory.sums + start * memory.sums_row + first * phase.tile_row, memory.sums_row
            for panel in range(first, last):
                m = start
                while m < end:
                    height = height_of(phase.tallest, end - m)
                    place = sums + (m - start) * sums_row + (panel - first) * phase.tile_row
                    _multiply(real, phase, tiles, step.addresses, memory.span, panel, height, place, sums_row, 8 * m)
                    m += height
            if not whole:
                vectors = first * phase.groups, (last - first) * phase.groups
                _equations(phase, sums, sums_row, records, step, start, end, vectors, constants, masks_at)
    if whole:
        sums = memory.sums + step.first * memory.sums_row
        if phase.norm_weight:
            _normalise(phase, norm, sums, memory, records, step)
        vectors = 0, phase.panels * phase.groups
        _equations(phase, sums, memory.sums_row, records, step, step.first, step.active, vectors, constants, masks_at)


@once
def _find_sources(real, phase, sources, memory, records, step):
    """Write the addresses of the vectors that weights multiply, and round the vectors where products are of halves."""
    for k in range(phase.first_source, phase.last_source):
        source = sources[k]
        vectors = (step.now if source.now else step.before) + source.slot * records.slot
        addresses = step.addresses + (k + 1) * memory.span
        slots_at(addresses, vectors, records.row, step.first, step.active)
        if memory.halves:
            place = step.halves + k * (memory.span // 8) * memory.halves_row
            round_rows(real, addresses, source.numbers, place, memory.halves_row, step.first, step.active)


@once
def _copy_source(real, phase, memory, records, step):
    """Copy a vector that is the only pre-activation of a phase."""
    vectors = (step.now if phase.copied_now else step.before) + phase.copied_slot * records.slot
    for m in range(step.first, step.active):
        sums = memory.sums + m * memory.sums_row
        load_row(real, sums, vectors + m * records.row, phase.units, phase.panels * phase.groups)


@inner
def _equations(phase, sums, sums_row, records, step, first, last, vectors, constants, masks):
    """The equations of a phase, for the rows first <= m < last and vectors[1] vectors of units from vectors[0] on."""
    call(
        phase.forward,
        PhaseForward(
            sums=sums, sums_row=sums_row,
            before=step.before + first * records.row, now=step.now + first * records.row,
            record_row=records.row, slot=records.slot,
            first=vectors[0], vectors=vectors[1], rows=last - first, keep=records.keep,
            parameters=phase.parameters, constants=constants, masks=masks, number=first,
        ),
    )  # fmt: skip


@once
def _normalise(phase, norm, sums, memory, records, step):
    """Normalise the pre-activations of all rows."""
    call(
        norm,
        NormForward(
            sums=sums, sums_row=memory.sums_row, rows=step.active - step.first,
            gates=phase.gates, groups=phase.panels * phase.groups, units=phase.units,
            weight=phase.norm_weight, bias=phase.norm_bias,
            now=step.now + step.first * records.row, record_row=records.row, slot=records.slot,
            first=phase.norm_slot, factors=phase.norm_factors, keep=records.keep,
        ),
    )  # fmt: skip


@once
def _multiply(real, phase, tiles, addresses, span, panel, height, place, row, offset):
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
            ProductTile(
                rows=height, out=place + tile.offset, out_row=row, start=start + tile.offset, start_row=start_row,
                w=tile.w + panel * tile.w_panel, a=addresses + tile.a * span + offset, a_count=tile.a_count,
                v=tile.v + panel * tile.v_panel, b=addresses + tile.b * span + offset, b_count=tile.b_count,
            ),
        )  # fmt: skip
