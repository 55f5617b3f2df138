"""Back-propagation through time over a chunk of steps, for a range of rows."""

from __future__ import annotations

from ..linear.tile import TILE_BYTES, height_of, tallest_tile
from ..machine.compiling import call, inner, kernel, once
from ..machine.memory import (
    add_row,
    copy_row,
    lanes_of,
    load_address,
    load_row,
    rows_at,
    slots_at,
    vector_bytes,
    zero_steps,
)
from ..machine.simd import splat, stack_bytes, store
from ..machine.tags import width_of
from ..machine.team import NOBODY, begin, end, following
from .arguments import BackwardStep
from .masks import keys_of_rows


@kernel
def backward(
    real, wide, phases, sides, backs, masks, constants, norm, spread, wx, shape, chunk, starts, places, states, x, dx,
    records, gradients, team, order, lengths, reverse, first, last,
):  # fmt: skip
    """Rows first <= m < last, from the chunk's last step to its first; or, in a team, part `first` of all rows.

    Besides the gradients of initial states and `dx`, this leaves the gate gradients of the chunk, those of parameters
    with one number per unit, and addresses of the vectors they meet in the weight gradients; the pair (s, m) is number
    ``starts[s - chunk.first] + m``.

    Parameters
    ----------
    real, phases, masks, constants, shape, x, records, team, order, lengths, reverse
        As in `forward`; a team has cells of one phase only.
    wide : tag
        The width of plain products.
    sides, backs : tables
        See `arguments`.
    norm, spread : int
        Addresses of machine code.
    wx : int
        Input weights for the way back, (panels of inputs, columns of all phases, width).
    chunk : Chunk
    starts : int64 array, shape (steps of the chunk,)
    places : table of PLACE
        Gradients of outputs, of final states, then of initial states, one for each state: (N, T, .) and (N, .) read,
        zeros if absent; (N, .) written by the chunk that holds step 0. Their slots are those of gradients.
    states : int
    dx : Rows
        (N, T, D), written, if present.
    gradients : Gradients
        Carried from chunk to chunk. A state has two slots, for even and for odd steps.
    """
    scratch, zeros = stack_bytes(TILE_BYTES), stack_bytes(TILE_BYTES)
    for i in range(width_of(wide)):
        store(splat(real, real(0)), zeros + i * vector_bytes(real))
    region = states * gradients.slot
    own = 0
    if team.parts > 1:
        own, first, last = first, 0, team.rows
    active, stage = first, -1
    for s in range(min(chunk.last, lengths[first]) - 1, chunk.first - 1, -1):
        dnow = gradients.address + (s & 1) * region
        dbefore = gradients.address + ((s + 1) & 1) * region
        while active < last and lengths[active] > s:
            active += 1
        pair = starts[s - chunk.first]
        rows_at(chunk.xs + 8 * pair, x, order, lengths, reverse, s, first, active)
        keys_of_rows(masks, order, lengths, reverse, s, first, active)
        before = records.address + (s - records.first) * records.step
        step = BackwardStep(
            first, active, pair, before, before + records.step,
            dbefore, dnow, gradients.address + 2 * region, scratch, zeros, own * chunk.span,
        )  # fmt: skip
        for p in range(len(phases) - 1, -1, -1):
            phase = phases[p]
            stage += 1
            part = own
            while part != NOBODY:
                if begin(team, part, stage):
                    a, b = 0, shape.groups
                    if team.parts > 1:
                        a = phase.panels * part // team.parts * phase.groups
                        b = phase.panels * (part + 1) // team.parts * phase.groups
                    if p == len(phases) - 1:
                        _meet(real, places, states, dnow, gradients, order, lengths, s, first, active, a, b)
                        _add_outputs(
                            real, places, states, dnow, gradients, order, lengths, reverse, s, first, active, a, b
                        )
                    b = min(b, phase.panels * phase.groups)
                    _equations(
                        real, phase, sides, masks, constants, norm, spread, chunk, records, gradients, step, a, b
                    )
                    end(team)
                part = following(team, stage)
            stage += 1
            part = own
            while part != NOBODY:
                if begin(team, part, stage):
                    _products(real, wide, phase, backs, chunk, records, gradients, step, part, team.parts)
                    if p == 0 and dx.address:
                        rows_at(chunk.places + step.room, dx, order, lengths, reverse, s, first, active)
                        _back_product(real, wide, wx, 0, chunk.columns, shape.inputs, 1, chunk, step, part, team.parts)
                    end(team)
                part = following(team, stage)
    if chunk.first == 0 and begin(team, 0, stage + 1):
        _finish(real, shape, places, states, dx, gradients, order, lengths, region, first, last)


@once
def _meet(real, places, states, dnow, gradients, order, lengths, s, first, active, a, b):
    """Going backward, some rows begin here: with the gradients of their final states; the vectors a <= v < b of them.

    Vectors behind a state's units become zeros.
    """
    for m in range(first, active):
        if lengths[m] == s + 1:
            for k in range(states):
                final = places[states + k]
                offset = a * vector_bytes(real)
                count = max(0, final.units - a * lanes_of(real)) if final.address else 0
                slot = dnow + m * gradients.row + final.slot * gradients.slot
                load_row(real, slot + offset, final.address + order[m] * final.row + offset, count, b - a)


@once
def _add_outputs(real, places, states, dnow, gradients, order, lengths, reverse, s, first, active, a, b):
    """Gradients of the outputs of a step join those that come from the step after; the vectors a <= v < b of them."""
    for k in range(states):
        output = places[k]
        count = min(output.units, b * lanes_of(real)) - a * lanes_of(real)
        if output.address and count > 0:
            for m in range(first, active):
                t = lengths[m] - 1 - s if reverse else s
                slot = dnow + m * gradients.row + output.slot * gradients.slot + a * vector_bytes(real)
                place = output.address + order[m] * output.row + t * output.step + a * vector_bytes(real)
                add_row(real, slot, place, count)


@once
def _finish(real, shape, places, states, dx, gradients, order, lengths, region, first, last):
    """Gradients of the initial states; zeros to dx past a row's length."""
    dbefore = gradients.address + region  # of step 0
    for m in range(first, last):
        for k in range(2 * states, 3 * states):
            start = places[k]
            slot = dbefore + m * gradients.row + start.slot * gradients.slot
            copy_row(real, start.address + order[m] * start.row, slot, start.units)
        if dx.address:
            zero_steps(real, dx, order[m], lengths[m], shape.steps, shape.inputs)


@once
def _equations(real, phase, sides, masks, constants, norm, spread, chunk, records, gradients, step, a, b):
    """The equations of a phase, for the vectors a <= v < b of units."""
    m, rows, groups = step.first, step.active - step.first, phase.panels * phase.groups
    sums = chunk.sums + m * chunk.sums_row
    at, dat = m * records.row, m * gradients.row
    call(
        phase.backward,
        (
            0, 0, sums, chunk.sums_row, sides.ctypes.data + 64 * phase.first_side, step.pair,
            step.before + at, step.now + at, records.row, records.slot,
            step.dbefore + dat, step.dnow + dat, step.dvalues + dat, gradients.row, gradients.slot, a, b, phase.units,
            rows, phase.parameters, phase.dparameters + (step.pair + m) * phase.dparameters_row, phase.dparameters_row,
            constants, masks.ctypes.data, m,
        ),
    )  # fmt: skip
    if phase.norm_weight:
        pair = (step.pair + m) * phase.dnorm_row
        call(
            norm,
            (
                0, sums, chunk.sums_row, rows, phase.gates, groups, phase.units, phase.norm_weight, step.now + at,
                records.row, records.slot, phase.norm_slot, phase.norm_factors,
                phase.dnorm_weight + pair, phase.dnorm_bias + pair, phase.dnorm_row,
            ),
        )  # fmt: skip
        call(
            spread,
            (
                0, chunk.sums, chunk.sums_row, m, step.active, phase.gates, groups,
                sides.ctypes.data + 64 * phase.first_side, phase.sides, step.pair, phase.groups,
            ),
        )  # fmt: skip


@once
def _products(real, wide, phase, backs, chunk, records, gradients, step, part, parts):
    """The way back through the weights of a phase."""
    for k in range(phase.first_back, phase.last_back):
        back = backs[k]
        region = step.dbefore if back.region == 0 else step.dnow if back.region == 1 else step.dvalues
        target = region + back.slot * gradients.slot
        if back.weights:
            source = (step.now if back.source_now else step.before) + back.source_slot * records.slot
            slots_at(back.sources + 8 * step.pair, source, records.row, step.first, step.active)
            slots_at(chunk.places + step.room, target, gradients.row, step.first, step.active)
            _back_product(
                real, wide, back.weights, back.gates, back.columns, back.count, back.overwrites, chunk, step, part,
                parts,
            )  # fmt: skip
        else:
            for row in range(step.first, step.active):
                place, sums = target + row * gradients.row, chunk.sums + row * chunk.sums_row
                if back.overwrites:
                    copy_row(real, place, sums, back.count)
                else:
                    add_row(real, place, sums, back.count)


@inner
def _back_product(real, wide, w, offset, columns, count, overwrites, chunk, step, part, parts):
    """Gate gradients times transposed weights, to the places of the rows: a part of `count` numbers each."""
    lanes, row_bytes = lanes_of(real), width_of(wide) * vector_bytes(real)
    numbers = width_of(wide) * lanes
    slots_at(chunk.gate_rows + step.room, chunk.gates + offset, chunk.row, step.first, step.active)
    panels = -(-count // numbers)
    for panel in range(panels * part // parts, panels * (part + 1) // parts):
        some = min(numbers, count - panel * numbers)
        weights = w + panel * columns * row_bytes
        m = step.first
        while m < step.active:
            height = height_of(tallest_tile(wide), step.active - m)
            a = chunk.gate_rows + step.room + 8 * m
            call(
                chunk.tile,
                (0, 0, height, step.scratch, row_bytes, step.zeros, 0, weights, a, columns, weights, a, 0),
            )  # fmt: skip
            for row in range(height):
                place = load_address(chunk.places + step.room + 8 * (m + row)) + panel * row_bytes
                sums = step.scratch + row * row_bytes
                if overwrites:
                    copy_row(real, place, sums, some)
                else:
                    add_row(real, place, sums, some)
            m += height
