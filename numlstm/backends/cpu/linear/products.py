"""Plain products on register tiles: weight gradients, affine maps, and transposed weights for the way back."""

from __future__ import annotations

from typing import NamedTuple

from ..machine.board import ShardCall
from ..machine.compiling import call, inner, kernel, once
from ..machine.memory import (
    copy_row,
    greater,
    integer_at,
    lanes_of,
    lesser,
    load_address,
    load_row,
    slots_at,
    stored,
    stored_entry,
    vector_bytes,
)
from ..machine.simd import load, splat, stack_bytes, store
from ..machine.target import TILE_VECTORS
from .tile import TILE_BYTES, OuterTile, ProductTile, height_of

BLOCK = 128  # summands taken together: they stay in the first cache, and long sums stay exact
BLOCK_BYTES = 8 * BLOCK  # of so many addresses


class OuterSum(NamedTuple):
    """A sum of outer products of rows `a` and gate gradients `d`, added to the packed gradient of one parameter."""

    out: int  # (panels, inputs, width) vectors: bytes from the start of the gradient
    bias: int  # (panels, width) vectors: bytes from there too; -1 where there is no bias
    copy: int  # the same of another bias, which has the same gradient; -1 where there is none
    a: int  # address of (steps,) addresses of rows of `inputs` numbers
    inputs: int
    blocks: int  # of a panel
    copied: int  # whether rows are copied before they are read
    d: int  # address of the gate gradients: (width) vectors for each pair and panel
    d_panel: int  # bytes from panel to panel
    d_row: int  # bytes from pair to pair
    tile: int  # address of the machine code for tiles of that width
    vectors: int  # the width
    tallest: int  # rows of the tallest tile


class OuterCall(NamedTuple):
    """Two sums of as many panels that are taken in parts, by blocks.

    A block is as many inputs as a tile has rows; the bias counts as one more input. Blocks are numbered panel by panel,
    in each first those of the first sum: gate gradients that both sums read come from far memory once.
    """

    parts: int
    gradient: int  # the address that `out` and `bias` of the sums count from
    pairs: int  # address of the number of gate gradients that are summed
    fresh: int  # whether `out` and `bias` are overwritten, not added to
    copies: int  # address of room for BLOCK rows of each `a`, if they are copied, for each part
    copies_part: int  # bytes from one part's room to the next
    copy_row: int  # bytes of such a row
    blocks: int  # of all panels
    first_sum: OuterSum
    second_sum: OuterSum  # without blocks, if there is one sum alone


@kernel
def weight_gradients(real, at, first, last):
    """For both sums, ``out += sum over k of outer(a[k], d[k])`` and ``bias += sum over k of d[k]``: some parts.

    An `OuterCall` is at the address.
    """
    run = stored(OuterCall, at)
    pairs, zeros = integer_at(run.pairs, 0), stack_bytes(TILE_BYTES)
    _clear(real, zeros, TILE_VECTORS * vector_bytes(real))
    one, ones = stack_bytes(TILE_BYTES), stack_bytes(BLOCK_BYTES)
    first_copies, second_copies = stack_bytes(BLOCK_BYTES), stack_bytes(BLOCK_BYTES)
    most, of_first = lesser(BLOCK, pairs), run.first_sum.blocks
    of_panel = of_first + run.second_sum.blocks
    store(splat(real, real(1)), one)
    slots_at(ones, one, 0, 0, most)
    for part in range(first, last):
        room = run.copies + part * run.copies_part
        slots_at(first_copies, room, run.copy_row, 0, most)
        slots_at(second_copies, room + most * run.copy_row, run.copy_row, 0, most)
        for k in range(0, greater(pairs, 1), BLOCK):  # once without pairs, for zeros
            count = lesser(BLOCK, pairs - k)
            first_rows = _rows_of(real, run.first_sum, k, count, first_copies)
            second_rows = _rows_of(real, run.second_sum, k, count, second_copies)
            for number in range(run.blocks * part // run.parts, run.blocks * (part + 1) // run.parts):
                panel, block = number // of_panel, number % of_panel
                if block < of_first:
                    _add_block(real, run.first_sum, panel, block, run, first_rows, ones, k, count, zeros)
                else:
                    block -= of_first
                    _add_block(real, run.second_sum, panel, block, run, second_rows, ones, k, count, zeros)


weight_gradients.takes(ShardCall)


@once
def _rows_of(real, outer_sum, k, count, copies):
    """Where the addresses of `count` rows of a sum are, from the number `k` on; or those of copies, written now."""
    rows = outer_sum.a + 8 * k
    if outer_sum.copied:
        for i in range(count):
            copy_row(real, load_address(copies + 8 * i), load_address(rows + 8 * i), outer_sum.inputs)
        rows = copies
    return rows


@once
def _add_block(real, outer_sum, panel, block, run, rows, ones, k, count, zeros):
    """Add `count` outer products from the number `k` on to a block of a panel; `rows` has their rows' addresses."""
    fresh = run.fresh and k == 0
    row_bytes = outer_sum.vectors * vector_bytes(real)
    number = vector_bytes(real) // lanes_of(real)
    columns = outer_sum.inputs + 1 if outer_sum.bias >= 0 else outer_sum.inputs
    column = block * outer_sum.tallest
    end = lesser(column + outer_sum.tallest, columns)
    d = outer_sum.d + panel * outer_sum.d_panel + k * outer_sum.d_row
    out = run.gradient + outer_sum.out + (panel * outer_sum.inputs + column) * row_bytes
    if fresh and count == 0:
        _clear(real, out, (lesser(end, outer_sum.inputs) - column) * row_bytes)
    if end == outer_sum.inputs + 1:
        end -= 1
        bias = run.gradient + outer_sum.bias + panel * row_bytes
        if count > 0:
            call(
                outer_sum.tile,
                OuterTile(
                    rows=1, out=bias, out_row=row_bytes, start=zeros if fresh else bias, start_row=0,
                    a=ones, column=0, d=d, d_row=outer_sum.d_row, steps=count,
                ),
            )  # fmt: skip
        elif fresh:
            _clear(real, bias, row_bytes)
        if outer_sum.copy >= 0:
            copy_row(real, run.gradient + outer_sum.copy + panel * row_bytes, bias, row_bytes // number)
    while column < end and count > 0:
        height = height_of(outer_sum.tallest, end - column, 0)
        start, start_row = (zeros, 0) if fresh else (out, row_bytes)
        call(
            outer_sum.tile,
            OuterTile(
                rows=height, out=out, out_row=row_bytes, start=start, start_row=start_row,
                a=rows, column=column * number, d=d, d_row=outer_sum.d_row, steps=count,
            ),
        )  # fmt: skip
        out += height * row_bytes
        column += height


class ColumnCall(NamedTuple):
    """A sum over rows of vectors."""

    out: int  # vectors, written
    steps: int  # address of their number
    fresh: int  # whether `out` is overwritten, not added to
    d: int  # (steps, .) vectors
    row: int  # bytes from one step to the next


@kernel
def column_sums(real, at, first, last):
    """``out += sum over k of d[k]`` for the vectors first <= v < last; a `ColumnCall` is at the address."""
    run, size = stored(ColumnCall, at), vector_bytes(real)
    steps = integer_at(run.steps, 0)
    for v in range(first, last):
        total = load(real, run.out + v * size)
        if run.fresh:
            total = splat(real, real(0))
        for start in range(0, steps, BLOCK):
            partial = splat(real, real(0))
            for k in range(start, lesser(start + BLOCK, steps)):
                partial = partial + load(real, run.d + k * run.row + v * size)
            total = total + partial
        store(total, run.out + v * size)


column_sums.takes(ShardCall)


class RowSum(NamedTuple):
    """Rows that are added to others, or zeros instead of these."""

    out: int  # address of rows of vectors, written
    out_row: int  # bytes from row to row
    rows: int
    vectors: int  # of a row
    terms: int  # address of the rows that are added; 0 where zeros are written
    terms_row: int


@kernel
def sum_rows(real, at, first, last):
    """The sums first <= k < last of a table of `RowSum`, one after the other."""
    size = vector_bytes(real)
    for k in range(first, last):
        p = stored_entry(RowSum, at, k)
        for row in range(p.rows):
            out = p.out + row * p.out_row
            if p.terms == 0:
                _clear(real, out, p.vectors * size)
                continue
            for offset in range(0, p.vectors * size, size):
                store(load(real, out + offset) + load(real, p.terms + row * p.terms_row + offset), out + offset)


sum_rows.takes(ShardCall)


@inner
def _clear(real, place, size):
    """Write zeros to `size` bytes, a number of whole vectors."""
    zero = splat(real, real(0))
    for offset in range(0, size, vector_bytes(real)):
        store(zero, place + offset)


class ProductCall(NamedTuple):
    """Rows times packed weights in panels of TILE_VECTORS vectors."""

    a: int  # address of (N, inputs) numbers
    a_row: int  # bytes from row to row
    out: int  # address of (N, columns) numbers, written
    out_row: int
    columns: int
    inputs: int
    addresses: int  # address of room for N addresses
    start: int  # address of (panels, width) vectors
    w: int  # address of (panels, w_rows, width) vectors
    w_rows: int  # `inputs`, and rows behind them that do not count
    tile: int  # address of the machine code for tiles of that width
    tallest: int  # rows of the tallest tile


@kernel
def product(real, at, first, last):
    """``out = start + a W`` for the rows first <= m < last of a; a `ProductCall` is at the address."""
    p = stored(ProductCall, at)
    scratch = stack_bytes(TILE_BYTES)
    row_bytes = TILE_VECTORS * vector_bytes(real)
    numbers = TILE_VECTORS * lanes_of(real)
    slots_at(p.addresses, p.a, p.a_row, first, last)
    for panel in range(-(-p.columns // numbers)):
        count = lesser(numbers, p.columns - panel * numbers)
        weights = p.w + panel * p.w_rows * row_bytes
        m = first
        while m < last:
            height = height_of(p.tallest, last - m, m - first)
            rows = p.addresses + 8 * m
            call(
                p.tile,
                ProductTile(
                    rows=height, out=scratch, out_row=row_bytes, start=p.start + panel * row_bytes, start_row=0,
                    w=weights, a=rows, a_count=p.inputs, v=weights, b=rows, b_count=0,
                ),
            )  # fmt: skip
            for row in range(height):
                place = p.out + (m + row) * p.out_row + panel * row_bytes
                copy_row(real, place, scratch + row * row_bytes, count)
            m += height


product.takes(ShardCall)


class PanelProduct(NamedTuple):
    """Products of rows with packed weights, in panels."""

    out: int  # address of (panels, rows, vectors) vectors, written
    rows: int
    a: int  # address of (rows,) addresses of rows of `inputs` numbers
    inputs: int
    w: int  # address of (panels, inputs, vectors) vectors
    zeros: int  # address of a panel's row of zeros
    tile: int  # address of the machine code for tiles of that width
    vectors: int  # the width
    tallest: int  # rows of the tallest tile


@kernel
def panel_products(real, at, first, last):
    """``out = a W`` for the panels first <= panel < last of W; a `PanelProduct` is at the address."""
    p = stored(PanelProduct, at)
    row_bytes = p.vectors * vector_bytes(real)
    for panel in range(first, last):
        w, m = p.w + panel * p.inputs * row_bytes, 0
        while m < p.rows:
            height, a = height_of(p.tallest, p.rows - m, m), p.a + 8 * m
            call(
                p.tile,
                ProductTile(
                    rows=height, out=p.out + (panel * p.rows + m) * row_bytes, out_row=row_bytes,
                    start=p.zeros, start_row=0, w=w, a=a, a_count=p.inputs, v=w, b=a, b_count=0,
                ),
            )  # fmt: skip
            m += height


panel_products.takes(ShardCall)


class RowSums(NamedTuple):
    """Sums of gate gradients, one for each row of a table."""

    pairs: int  # address of the number of gate gradients that are summed
    out: int  # address of (panels, rows, width) vectors, added to
    rows: int
    a: int  # address of (pairs,) addresses of numbers of rows
    d: int  # address of the gate gradients, as in an `OuterSum`
    d_panel: int
    d_row: int
    row_bytes: int  # of the width


@kernel
def row_sums(real, at, first, last):
    """``out[panel, number of k] += d[panel, k]`` for one k after the other: the panels first <= panel < last.

    A `RowSums` is at the address.
    """
    sums = stored(RowSums, at)
    for panel in range(first, last):
        for k in range(integer_at(sums.pairs, 0)):
            row = load_address(load_address(sums.a + 8 * k))
            place = sums.out + (panel * sums.rows + row) * sums.row_bytes
            d = sums.d + panel * sums.d_panel + k * sums.d_row
            for offset in range(0, sums.row_bytes, vector_bytes(real)):
                store(load(real, place + offset) + load(real, d + offset), place + offset)


row_sums.takes(ShardCall)


class PaddedCopy(NamedTuple):
    """Rows to copy to whole panels, and rows to note the addresses of."""

    dy: int  # address of (N, columns) numbers
    dy_row: int  # bytes from row to row
    a: int  # address of the rows whose addresses are noted
    a_row: int
    columns: int
    out: int  # address of (N, vectors) vectors, written, with zeros where there is no column
    out_row: int  # bytes from row to row
    vectors: int
    addresses: int  # address of room for N addresses


@kernel
def copy_padded(real, at, first, last):
    """Copy the rows first <= n < last, and write the addresses of such rows; a `PaddedCopy` is at the address."""
    p = stored(PaddedCopy, at)
    slots_at(p.addresses, p.a, p.a_row, first, last)
    for n in range(first, last):
        load_row(real, p.out + n * p.out_row, p.dy + n * p.dy_row, p.columns, p.vectors)


copy_padded.takes(ShardCall)
