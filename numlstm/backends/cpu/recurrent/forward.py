"""The forward pass of a layer over whole sequences, for a range of rows."""

from __future__ import annotations

from ..linear.tile import NarrowRows, nth_panel
from ..machine.board import ShardCall
from ..machine.compiling import call, inner, kernel, once
from ..machine.memory import (
    copy_row,
    greater,
    integer_at,
    lesser,
    load_row,
    rows_at,
    slots_at,
    stored,
    stored_entry,
    time_of,
    zero_steps,
)
from ..machine.simd import stack_bytes
from ..machine.team import NO_PART, claim, complete, next_unclaimed
from .arguments import (
    AheadCall,
    ForwardCall,
    ForwardLayer,
    ForwardStep,
    PhaseEntry,
    PlaceEntry,
    SourceEntry,
)
from .equations import PhaseForward
from .masks import keys_of_rows
from .multiplying import multiply, row_ahead
from .norm import NormForward

SCRATCH_BYTES = 1 << 14  # holds the pre-activations of a panel for some rows


@kernel
def forward(real, at, first, last):
    """Rows first <= m < last of a batch, each up to its last step; or, in a team, part `first` of all rows.

    It runs the steps that the records are for: initial states are those before the first of these steps, and final ones
    those after the last. A `ForwardCall` is at the address.
    """
    run = stored(ForwardCall, at)
    layer = stored(ForwardLayer, run.layer)
    memory, team, records, rows = run.memory, run.team, run.records, run.rows
    own_part, addresses, narrow = 0, memory.addresses, memory.narrow
    if team.parts > 1:
        own_part, first, last = first, 0, team.rows
        addresses += own_part * (layer.source_count + 1) * memory.span
        narrow += own_part * (layer.source_count + 1) * team.rows * memory.narrow_row
    part, stage, pair = own_part, 0, 0
    while part != NO_PART:
        if claim(team, part, stage):
            if part == 0:
                _load_initial(real, layer, run, first, last)
            complete(team)
        part = next_unclaimed(team, stage)
    active = last
    end = lesser(integer_at(rows.lengths, first), records.last)
    for s in range(records.first, end):
        were_active = active
        while integer_at(rows.lengths, active - 1) <= s:
            active -= 1
        if memory.ahead.steps:
            if (s - records.first) % memory.ahead.steps == 0:
                pair, stage = memory.ahead.steps * first, stage + 1
                part = own_part
                while part != NO_PART:
                    if claim(team, part, stage):
                        call(
                            memory.ahead.multiply,
                            AheadCall(
                                run=at, own_part=own_part, part=part, step=s, end=end, first=first, active=active
                            ),
                        )
                        complete(team)
                    part = next_unclaimed(team, stage)
        else:
            rows_at(addresses, run.x, rows, s, first, active)
        if memory.narrowing:
            _narrow(memory, addresses, run.shape.inputs, narrow, first, active)
        keys_of_rows(run.masks, run.mask_count, rows, s, first, active)
        step = ForwardStep(
            first=first, active=active, before=_record(records, s - 1), now=_record(records, s),
            addresses=addresses, narrow=narrow + (memory.span // 8) * memory.narrow_row, back=s & 1,
            pair=pair - first,
        )  # fmt: skip
        pair += active - first
        for p in range(layer.phase_count):
            phase = stored_entry(PhaseEntry, layer.phases, p)
            stage += 1
            part = own_part
            while part != NO_PART:
                if claim(team, part, stage):
                    if p == 0 and part == 0 and s > records.first:
                        _store_outputs(real, layer, run, s - 1, first, were_active)
                    panels = phase.panels
                    share = panels * part // team.parts, panels * (part + 1) // team.parts
                    _run_phase(real, phase, layer, run, step, share)
                    complete(team)
                part = next_unclaimed(team, stage)
    if claim(team, 0, stage + 1):
        if end > records.first:
            _store_outputs(real, layer, run, end - 1, first, active)
        _store_final(real, layer, run, first, last)


forward.takes(ShardCall)


@inner
def _record(records, s):
    """The records of a step, of the first row."""
    return records.address + ((s - records.first + 1) & records.wrap) * records.step


@once
def _load_initial(real, layer, run, first, last):
    """Copy initial states to the first record of every row."""
    records = run.records
    for k in range(layer.states):
        initial = stored_entry(PlaceEntry, run.places, k)
        count = initial.units if initial.address else 0
        for m in range(first, last):
            slot = records.address + m * records.row + initial.slot * records.slot
            place = initial.address + integer_at(run.rows.order, m) * initial.row
            load_row(real, slot, place, count, run.shape.groups)


@inner
def _store_outputs(real, layer, run, s, first, active):
    """Copy the values of a step to the outputs."""
    rows, now = run.rows, _record(run.records, s)
    for k in range(2 * layer.states, run.place_count):
        output = stored_entry(PlaceEntry, run.places, k)
        for m in range(first, active):
            place = output.address + integer_at(rows.order, m) * output.row + time_of(rows, m, s) * output.step
            copy_row(real, place, now + m * run.records.row + output.slot * run.records.slot, output.units)


@once
def _store_final(real, layer, run, first, last):
    """Copy the final states from the last record of every row, and write zeros to outputs past the row's length."""
    records, rows = run.records, run.rows
    for k in range(layer.states, 2 * layer.states):
        final = stored_entry(PlaceEntry, run.places, k)
        for m in range(first, last):
            steps = lesser(integer_at(rows.lengths, m), records.last) - records.first
            if steps > 0:
                record = records.address + (steps & records.wrap) * records.step + m * records.row
                place = final.address + integer_at(rows.order, m) * final.row
                copy_row(real, place, record + final.slot * records.slot, final.units)
    for k in range(2 * layer.states, run.place_count if records.first == 0 else 0):
        output = stored_entry(PlaceEntry, run.places, k)
        for m in range(first, last):
            row, length = integer_at(rows.order, m), integer_at(rows.lengths, m)
            zero_steps(real, output, row, length, run.shape.steps, output.units)


@once
def _run_phase(real, phase, layer, run, step, share):
    """The panels share[0] <= p < share[1] of a phase of a step.

    Panels are outermost, so that each is read from far memory once. Equations take the sums of some rows and panels
    together. Where they need whole rows, or there are no products, they come last, with all rows.
    """
    scratch = stack_bytes(SCRATCH_BYTES)
    memory = run.memory
    _find_sources(real, phase, layer, run, step)
    if phase.copied_slot >= 0:
        _copy_source(real, phase, run, step)
    ahead = memory.ahead.steps != 0 and phase.ahead >= 0
    whole = phase.norm_weight != 0 or phase.gates == 0 or phase.copied_slot >= 0
    together = greater(1, phase.block // (step.active - step.first))
    blocks = -(-(share[1] - share[0]) // together) if phase.last_tile > phase.first_tile else 0
    for k in range(blocks):
        first = share[0] + together * nth_panel(k, blocks, step.back)
        last = lesser(first + together, share[1])
        for start in range(step.first, step.active, phase.block):
            end = lesser(start + phase.block, step.active)
            sums, sums_row = scratch, (last - first) * phase.tile_row
            if whole:
                sums, sums_row = memory.sums + start * memory.sums_row + first * phase.tile_row, memory.sums_row
            for p in range(last - first):
                panel = first + nth_panel(p, last - first, step.back)
                place = sums + (panel - first) * phase.tile_row
                bias, bias_row = phase.bias + panel * phase.tile_row, 0
                if ahead:
                    bias, bias_row = row_ahead(phase, memory, panel, step.pair + start), memory.ahead.row
                multiply(
                    real, phase, layer.tiles, step.addresses + 8 * start, memory.span, panel, end - start, bias,
                    bias_row, place, sums_row, start - step.first, not ahead, True,
                )  # fmt: skip
            if not whole:
                vectors = first * phase.groups, (last - first) * phase.groups
                _equations(phase, sums, sums_row, layer, run, step, start, end, vectors)
    if whole:
        sums = memory.sums + step.first * memory.sums_row
        if phase.norm_weight:
            _normalise(phase, layer.norm, sums, memory, run.records, step)
        vectors = 0, phase.panels * phase.groups
        _equations(phase, sums, memory.sums_row, layer, run, step, step.first, step.active, vectors)


@once
def _find_sources(real, phase, layer, run, step):
    """Write the addresses of the vectors that weights multiply; where products take fewer bits, write these vectors."""
    memory, records = run.memory, run.records
    for k in range(phase.first_source, phase.last_source):
        source = stored_entry(SourceEntry, layer.sources, k)
        vectors = (step.now if source.now else step.before) + source.slot * records.slot
        addresses = step.addresses + (k + 1) * memory.span
        slots_at(addresses, vectors, records.row, step.first, step.active)
        if memory.narrowing:
            place = step.narrow + k * (memory.span // 8) * memory.narrow_row
            _narrow(memory, addresses, source.numbers, place, step.first, step.active)


@inner
def _narrow(memory, addresses, count, place, first, active):
    """Write rows in fewer bits to `place`."""
    call(
        memory.narrowing,
        NarrowRows(addresses=addresses, count=count, place=place, row=memory.narrow_row, first=first, active=active),
    )


@once
def _copy_source(real, phase, run, step):
    """Copy a vector that is the only pre-activation of a phase."""
    memory, records = run.memory, run.records
    vectors = (step.now if phase.copied_now else step.before) + phase.copied_slot * records.slot
    for m in range(step.first, step.active):
        sums = memory.sums + m * memory.sums_row
        load_row(real, sums, vectors + m * records.row, phase.units, phase.panels * phase.groups)


@inner
def _equations(phase, sums, sums_row, layer, run, step, first, last, vectors):
    """The equations of a phase, for the rows first <= m < last and vectors[1] vectors of units from vectors[0] on."""
    records = run.records
    call(
        phase.forward,
        PhaseForward(
            sums=sums, sums_row=sums_row,
            before=step.before + first * records.row, now=step.now + first * records.row,
            record_row=records.row, slot=records.slot,
            first=vectors[0], vectors=vectors[1], rows=last - first, keep=records.keep,
            parameters=phase.parameters, constants=layer.constants, masks=run.masks, number=first,
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
