"""Products of rows with the weights of a phase: those of a panel, and those of x for several steps."""

from __future__ import annotations

from ..linear.tile import ProductTile, height_of
from ..machine.compiling import call, inner, once, pointed
from ..machine.memory import integer_at, lesser, rows_at, stored, stored_entry, vector_bytes
from ..machine.simd import load, store
from .arguments import AheadCall, ForwardCall, ForwardLayer, PhaseEntry, TileEntry


@once
def multiply(
    real, phase, tiles, addresses, span, panel, rows, start, start_row, place, place_row, before, with_x, with_others
):
    """Products of one panel and some rows to `place`, after what is at `start`: those of x, and all others.

    So many rows `before` have had the panel.
    """
    m = 0
    while m < rows:
        height = height_of(phase.tallest, rows - m, before + m)
        first, first_row, out = start + m * start_row, start_row, place + m * place_row
        if phase.last_tile - phase.first_tile > 1:  # tiles may leave some gates out
            for r in range(height):
                for at in range(0, phase.tile_row, vector_bytes(real)):
                    store(load(real, first + r * first_row + at), out + r * place_row + at)
            first, first_row = out, place_row
        for k in range(phase.first_tile, phase.last_tile):
            tile = stored_entry(TileEntry, tiles, k)
            with_a = with_x if tile.a == 0 else with_others
            a_count, b_count = tile.a_count if with_a else 0, tile.b_count if with_others else 0
            call(
                tile.tile,
                ProductTile(
                    rows=height, out=out + tile.offset, out_row=place_row, start=first + tile.offset,
                    start_row=first_row,
                    w=tile.w + panel * tile.w_panel, a=addresses + tile.a * span + 8 * m, a_count=a_count,
                    v=tile.v + panel * tile.v_panel, b=addresses + tile.b * span + 8 * m, b_count=b_count,
                ),
            )  # fmt: skip
        m += height


@inner
def row_ahead(phase, memory, panel, pair):
    """Where the bias and the products of x of a pair are, for a panel."""
    return memory.ahead.sums + pair * memory.ahead.row + phase.ahead + panel * phase.tile_row


@pointed(AheadCall)
def multiply_ahead(real, p):
    """Bias and products of x for some steps from a step on, and a part's share of the panels of each phase.

    Input weights come from far memory once for all these steps, and tiles are as high as they can be.
    """
    run = stored(ForwardCall, p.run)
    layer = stored(ForwardLayer, run.layer)
    team, rows, ahead = run.team, run.rows, run.memory.ahead
    first, active, count = p.first, p.active, 0
    xs = ahead.xs + 8 * (p.own_part * ahead.room + ahead.steps * first)
    for t in range(p.step, lesser(p.step + ahead.steps, p.end)):
        while integer_at(rows.lengths, active - 1) <= t:
            active -= 1
        rows_at(xs + 8 * (count - first), run.x, rows, t, first, active)
        count += active - first
    for k in range(layer.phase_count):
        phase = stored_entry(PhaseEntry, layer.phases, k)
        if phase.ahead >= 0:
            for panel in range(phase.panels * p.part // team.parts, phase.panels * (p.part + 1) // team.parts):
                place = row_ahead(phase, run.memory, panel, ahead.steps * first)
                bias = phase.bias + panel * phase.tile_row
                multiply(real, phase, layer.tiles, xs, 0, panel, count, bias, 0, place, ahead.row, 0, True, False)
