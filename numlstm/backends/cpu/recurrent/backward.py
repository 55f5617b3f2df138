"""Back-propagation through time over a chunk of steps, for a range of rows."""

from __future__ import annotations

from ..linear.tile import TILE_BYTES, NarrowRows, ProductTile, height_of, nth_panel
from ..machine.board import ShardCall
from ..machine.compiling import call, inner, kernel, once
from ..machine.memory import (
    add_row,
    copy_row,
    greater,
    integer_at,
    lanes_of,
    lesser,
    load_address,
    load_row,
    rows_at,
    slots_at,
    stored,
    stored_entry,
    time_of,
    vector_bytes,
    zero_steps,
)
from ..machine.simd import splat, stack_bytes, store
from ..machine.target import TILE_VECTORS
from ..machine.team import NO_PART, claim, complete, next_unclaimed
from .arguments import (
    SIDE_BYTES,
    BackEntry,
    BackwardCall,
    BackwardChunk,
    BackwardLayer,
    BackwardStep,
    PhaseEntry,
    PlaceEntry,
    SideEntry,
)
from .equations import PhaseBackward
from .masks import keys_of_rows
from .norm import NormBackward, Spread


@kernel
def backward(real, at, first, last):
    """Rows first <= m < last, from the chunk's last step to its first; or, in a team, part `first` of all rows.

    Besides the gradients of initial states and of x, this leaves the gate gradients of the chunk, those of parameters
    with one number per unit, and the addresses of the vectors that weights multiplied. The pair (s, m) has the number
    ``starts[s - chunk.first] + m``. A `BackwardChunk` is at the address.
    """
    part_of_run = stored(BackwardChunk, at)
    layer, run = stored(BackwardLayer, part_of_run.layer), stored(BackwardCall, part_of_run.call)
    chunk, records = part_of_run.chunk, part_of_run.records
    memory, team, rows, gradients = layer.memory, layer.team, run.rows, layer.gradients
    scratch, zeros = stack_bytes(TILE_BYTES), stack_bytes(TILE_BYTES)
    for offset in range(0, TILE_VECTORS * vector_bytes(real), vector_bytes(real)):
        store(splat(real, real(0)), zeros + offset)
    region = layer.states * gradients.slot
    own_part = 0
    if team.parts > 1:
        own_part, first, last = first, 0, team.rows
    active, stage = first, -1
    for s in range(lesser(chunk.last, integer_at(rows.lengths, first)) - 1, chunk.first - 1, -1):
        while active < last and integer_at(rows.lengths, active) > s:
            active += 1
        pair = integer_at(part_of_run.starts, s - chunk.first)
        rows_at(memory.xs + 8 * pair, run.x, rows, s, first, active)
        keys_of_rows(run.masks, run.mask_count, rows, s, first, active)
        before = records.address + (s - records.first) * records.step
        step = BackwardStep(
            first=first, active=active, pair=pair, before=before, now=before + records.step,
            dbefore=gradients.address + ((s + 1) & 1) * region, dnow=gradients.address + (s & 1) * region,
            dvalues=gradients.address + 2 * region, scratch=scratch, zeros=zeros,
            room=own_part * memory.span + 8 * (memory.together - 1) * first,
            factors=_factors(memory, own_part, pair), back=s & 1,
        )  # fmt: skip
        for p in range(layer.phase_count - 1, -1, -1):
            phase = stored_entry(PhaseEntry, layer.phases, p)
            stage += 1
            part = own_part
            while part != NO_PART:
                if claim(team, part, stage):
                    a, b = _share(phase, run.shape, part, team.parts)
                    if p == layer.phase_count - 1:
                        _add_outer_gradients(real, layer, run, s, step, a, b)
                    _run_phase(phase, layer, run, records, step, a, b)
                    complete(team)
                part = next_unclaimed(team, stage)
            stage += 1
            part = own_part
            while part != NO_PART:
                if claim(team, part, stage):
                    if memory.narrowing:
                        _narrow(real, phase, layer, step)
                    _products(real, phase, layer, records, step, part)
                    if p == 0 and run.dx.address and (s - chunk.first) % memory.together == 0:
                        _multiply_inputs(real, layer, run, part_of_run.starts, chunk, step, s, own_part, part)
                    complete(team)
                part = next_unclaimed(team, stage)
    if chunk.first == 0 and claim(team, 0, stage + 1):
        _store_initial(real, layer, run, region, first, last)


@inner
def _factors(memory, part, pair):
    """What products of a step take, of row 0: the gate gradients, or a part's room for those in fewer bits."""
    return memory.factors + (part * memory.factors_part if memory.narrowing else pair * memory.row)


@inner
def _share(phase, shape, part, parts):
    """The vectors a <= v < b of units that a part of a team takes; all vectors where there is no team."""
    if parts == 1:
        return 0, shape.groups
    return phase.panels * part // parts * phase.groups, phase.panels * (part + 1) // parts * phase.groups


backward.takes(ShardCall)


@once
def _add_outer_gradients(real, layer, run, s, step, a, b):
    """Take in the gradients of final states and outputs, for the vectors a <= v < b of units."""
    _seed_final(real, layer, run, s, step, a, b)
    _add_outputs(real, layer, run, s, step, a, b)


@once
def _seed_final(real, layer, run, s, step, a, b):
    """Start the rows whose last step this is with the gradients of their final states: the vectors a <= v < b.

    Vectors behind the units of a state become zeros.
    """
    gradients, rows = layer.gradients, run.rows
    for m in range(step.first, step.active):
        if integer_at(rows.lengths, m) == s + 1:
            for k in range(layer.states, 2 * layer.states):
                final = stored_entry(PlaceEntry, run.places, k)
                offset = a * vector_bytes(real)
                count = greater(0, final.units - a * lanes_of(real)) if final.address else 0
                slot = step.dnow + m * gradients.row + final.slot * gradients.slot
                place = final.address + integer_at(rows.order, m) * final.row
                load_row(real, slot + offset, place + offset, count, b - a)


@once
def _add_outputs(real, layer, run, s, step, a, b):
    """Add the gradients of the outputs of a step to those from the step after: the vectors a <= v < b."""
    gradients, rows, offset = layer.gradients, run.rows, a * vector_bytes(real)
    for k in range(layer.states):
        output = stored_entry(PlaceEntry, run.places, k)
        count = lesser(output.units, b * lanes_of(real)) - a * lanes_of(real)
        if output.address and count > 0:
            for m in range(step.first, step.active):
                slot = step.dnow + m * gradients.row + output.slot * gradients.slot
                place = output.address + integer_at(rows.order, m) * output.row + time_of(rows, m, s) * output.step
                add_row(real, slot + offset, place + offset, count)


@once
def _store_initial(real, layer, run, region, first, last):
    """Copy the gradients of the initial states, and write zeros to dx past the length of each row."""
    gradients, rows, dx = layer.gradients, run.rows, run.dx
    dbefore = gradients.address + region  # of step 0
    for m in range(first, last):
        row = integer_at(rows.order, m)
        for k in range(2 * layer.states, 3 * layer.states):
            initial = stored_entry(PlaceEntry, run.places, k)
            slot = dbefore + m * gradients.row + initial.slot * gradients.slot
            copy_row(real, initial.address + row * initial.row, slot, initial.units)
        if dx.address:
            zero_steps(real, dx, row, integer_at(rows.lengths, m), run.shape.steps, run.shape.inputs)


@once
def _run_phase(phase, layer, run, records, step, a, b):
    """The equations of a phase, for its vectors a <= v < b of units, and the way back through normalisation."""
    _equations(phase, layer, run, records, step, a, lesser(b, phase.panels * phase.groups))
    if phase.norm_weight:
        _normalise(phase, layer, records, step)


@once
def _equations(phase, layer, run, records, step, a, b):
    """The equations of a phase, for the vectors a <= v < b of units."""
    memory, gradients, m = layer.memory, layer.gradients, step.first
    at, dat = m * records.row, m * gradients.row
    call(
        phase.backward,
        PhaseBackward(
            sums=memory.sums + m * memory.sums_row, sums_row=memory.sums_row,
            sides=layer.sides + SIDE_BYTES * phase.first_side, pair=step.pair,
            before=step.before + at, now=step.now + at, record_row=records.row, slot=records.slot,
            dbefore=step.dbefore + dat, dnow=step.dnow + dat, dvalues=step.dvalues + dat,
            gradient_row=gradients.row, gradient_slot=gradients.slot,
            first=a, last=b, units=phase.units, rows=step.active - m, parameters=phase.parameters,
            dparameters=phase.dparameters + (step.pair + m) * phase.dparameters_row,
            dparameters_row=phase.dparameters_row, constants=layer.constants, masks=run.masks, number=m,
        ),
    )  # fmt: skip


@once
def _normalise(phase, layer, records, step):
    """The way back through normalisation, and gate gradients to their sides."""
    memory, m, groups = layer.memory, step.first, phase.panels * phase.groups
    pair = (step.pair + m) * phase.dnorm_row
    call(
        layer.norm,
        NormBackward(
            sums=memory.sums + m * memory.sums_row, sums_row=memory.sums_row, rows=step.active - m,
            gates=phase.gates, groups=groups, units=phase.units, weight=phase.norm_weight,
            now=step.now + m * records.row, record_row=records.row, slot=records.slot,
            first=phase.norm_slot, factors=phase.norm_factors,
            dweight=phase.dnorm_weight + pair, dbias=phase.dnorm_bias + pair, dnorm_row=phase.dnorm_row,
        ),
    )  # fmt: skip
    call(
        layer.spread,
        Spread(
            sums=memory.sums, sums_row=memory.sums_row, first=m, last=step.active, gates=phase.gates, groups=groups,
            sides=layer.sides + SIDE_BYTES * phase.first_side, side_count=phase.sides, pair=step.pair,
        ),
    )  # fmt: skip


@once
def _narrow(real, phase, layer, step):
    """Write the gate gradients of a phase in fewer bits, those of a side in the place that it has among all."""
    memory, addresses = layer.memory, layer.memory.gate_rows + step.room
    for k in range(phase.first_side, phase.first_side + phase.sides):
        side = stored_entry(SideEntry, layer.sides, k)
        slots_at(addresses, side.address + step.pair * memory.row, memory.row, step.first, step.active)
        call(
            memory.narrowing,
            NarrowRows(
                addresses=addresses, count=phase.panels * phase.groups * side.gates * lanes_of(real),
                place=step.factors + (side.address - memory.gates) // memory.ratio, row=memory.factors_row,
                first=step.first, active=step.active,
            ),
        )  # fmt: skip


@once
def _products(real, phase, layer, records, step, part):
    """The way back through the weights of a phase."""
    memory, gradients = layer.memory, layer.gradients
    for k in range(phase.first_back, phase.last_back):
        back = stored_entry(BackEntry, layer.backs, k)
        region = step.dbefore if back.region == 0 else step.dnow if back.region == 1 else step.dvalues
        target = region + back.slot * gradients.slot + back.offset
        if back.sources:
            source = (step.now if back.source_now else step.before) + back.source_slot * records.slot
            slots_at(back.sources + 8 * step.pair, source, records.row, step.first, step.active)
        if back.weights:
            gates = memory.gate_rows + step.room
            factors = step.factors + back.gates // memory.ratio
            slots_at(gates, factors, memory.factors_row, step.first, step.active)
            _multiply(real, back, target, layer, step, gates, step.active, part)
        else:
            for row in range(step.first, step.active):
                _put_row(
                    real, target + row * gradients.row, memory.sums + row * memory.sums_row, back.numbers,
                    back.overwrites,
                )  # fmt: skip


@once
def _multiply_inputs(real, layer, run, starts, chunk, step, s, own_part, part):
    """The gradients of x of the steps that are computed together, the first of which is `s`.

    Input weights come from far memory once for all these steps, and tiles are as high as they can be.
    """
    memory, rows, first, active, last = layer.memory, run.rows, step.first, step.active, step.first
    gates, places = memory.gate_rows + step.room, memory.places + step.room
    for t in range(s, lesser(s + memory.together, lesser(chunk.last, integer_at(rows.lengths, first)))):
        while integer_at(rows.lengths, active - 1) <= t:
            active -= 1
        of_step = 8 * (last - first)
        factors = _factors(memory, own_part, integer_at(starts, t - chunk.first))
        slots_at(gates + of_step, factors, memory.factors_row, first, active)
        rows_at(places + of_step, run.dx, rows, t, first, active)
        last += active - first
    for k in range(layer.first_dx, layer.last_dx):
        _multiply(real, stored_entry(BackEntry, layer.backs, k), 0, layer, step, gates, last, part)


@once
def _multiply(real, back, target, layer, step, gates, last, part):
    """Gate gradients times transposed weights, in a part's share of the panels: to `target`, or to rows of dx.

    The rows are those first <= m < last whose addresses begin at `gates`.
    """
    memory, parts, gradient_row = layer.memory, layer.team.parts, layer.gradients.row
    row_bytes = back.vectors * vector_bytes(real)
    numbers = back.vectors * lanes_of(real)
    begin, end = back.panels * part // parts, back.panels * (part + 1) // parts
    for p in range(end - begin):
        panel = begin + nth_panel(p, end - begin, step.back)
        weights = back.weights + panel * back.columns * row_bytes
        m = step.first
        while m < last:
            height, rows = height_of(back.tallest, last - m, m - step.first), gates + 8 * m
            out, out_row = step.scratch, row_bytes
            if target:
                out, out_row = target + m * gradient_row + panel * row_bytes, gradient_row
            start, start_row = (step.zeros, 0) if back.overwrites else (out, out_row)
            call(
                back.tile,
                ProductTile(
                    rows=height, out=out, out_row=out_row, start=start, start_row=start_row,
                    w=weights, a=rows, a_count=back.columns, v=weights, b=rows, b_count=0,
                ),
            )  # fmt: skip
            if not target:
                some, offset = lesser(numbers, back.numbers - panel * numbers), back.offset + panel * row_bytes
                for row in range(height):
                    place = load_address(memory.places + step.room + 8 * (m + row)) + offset
                    copy_row(real, place, step.scratch + row * row_bytes, some)
            m += height


@inner
def _put_row(real, place, numbers, count, overwrites):
    """Copy `count` numbers to a place, or add them to what is there."""
    if overwrites:
        copy_row(real, place, numbers, count)
    else:
        add_row(real, place, numbers, count)
