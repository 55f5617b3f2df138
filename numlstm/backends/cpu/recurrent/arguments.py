"""What kernels take: integers in named groups. Addresses, distances and sizes of memory are in bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..machine.arrays import address_of


class Shape(NamedTuple):
    """Sizes of a layer."""

    steps: int  # T
    inputs: int  # D
    groups: int  # vectors that hold the units of any phase, with padding


class Rows(NamedTuple):
    """An (N, T, .) or (N, .) array in place; its last axis is contiguous."""

    address: int  # 0 where there is no array
    row: int = 0  # from one sequence to the next
    step: int = 0  # from one step to the next


class Records(NamedTuple):
    """All values of all rows at every step kept: (steps, N, slots, padded units), rows sorted by length."""

    address: int
    row: int
    step: int
    slot: int
    wrap: int  # -1 keeps all steps, 1 keeps the last two
    keep: int  # whether values are kept that no phase needs forward
    first: int  # of all steps, those first <= s < last
    last: int


class Memory(NamedTuple):
    """What a forward pass works in, besides records."""

    addresses: int  # of rows: of x, then of each source, (N,) each; as many more for each further part of a team
    span: int  # from one to the next
    sums: int  # (N, .) pre-activations of a phase that normalises them
    sums_row: int
    halves: int  # (N,) rounded rows of x, then of each source, and as many more for each part; 0 if none are rounded
    halves_row: int


def table(*names: str) -> np.dtype:
    """The type of a table of integers whose columns have names."""
    return np.dtype([(name, np.int64) for name in names])


# Arrays of a caller: an (N, T, .) or (N, .) array in place, as `Rows`, and the slot and the count of its numbers.
PLACE = table("address", "row", "step", "slot", "units")

# A phase of a cell.
PHASE = table(
    "forward", "backward",  # addresses of its equations
    "gates", "groups", "panels", "units",  # vectors for a group of units, such groups in a panel, panels; units
    "tile_row", "tallest", "block",  # bytes of a panel's row; rows of its tallest tile, and of a block of tiles
    "bias",  # (panels, row) vectors
    "first_tile", "last_tile", "first_source", "last_source",  # its own in the tables below
    "copied_slot", "copied_now",  # a vector that is its only pre-activation; -1 if there is none
    "parameters", "norm_weight", "norm_bias",  # (groups, parameters or gates) vectors, 0 where there are none
    "norm_slot", "norm_factors",  # where normalised numbers and their factors are kept in a record
    "first_side", "sides", "first_back", "last_back",  # its own in the tables of the way back
    "dparameters", "dparameters_row", "dnorm_weight", "dnorm_bias", "dnorm_row",  # (pairs, numbers), gradients
)  # fmt: skip

# One or two products that are added to the same gates: addresses of the tile's machine code and of weights
# (panels, count, width), bytes to the next panel, the number of the rows' addresses, and their count of numbers.
TILE = table("tile", "offset", "w", "w_panel", "a", "a_count", "v", "v_panel", "b", "b_count")

# A vector of a record that weights multiply: its slot, whether it is of this step, and its numbers.
SOURCE = table("slot", "now", "count")

# The gradient of such a vector: gate gradients of a side times turned weights (panels of units, columns, TILE_VECTORS),
# or one pre-activation's as it is where there are no weights.
BACK = table(
    "gates", "columns", "weights", "count",  # bytes into a row of gate gradients, their number; numbers that result
    "region", "slot", "overwrites",  # of: 0 states of the step before, 1 of this step, 2 values given
    "sources", "source_slot", "source_now",  # (pairs,) addresses, written: the vectors
)  # fmt: skip

# Where the gradients of some gates of a phase go: (N, columns) of one step, with `row` bytes between rows, and
# (panels, pairs, width) of a chunk. Equations read it by its columns' numbers.
SIDE = table("address", "row", "copies", "panel_bytes", "row_bytes", "first", "count", "spare")


class Gradients(NamedTuple):
    """Gradients of the states and values of every row: (N, slots, padded units)."""

    address: int
    row: int
    slot: int


class Chunk(NamedTuple):
    """The steps first <= s < last of a backward pass, and the memory it works in."""

    first: int
    last: int
    rows: int  # room for that many (step, row) pairs
    xs: int  # (rows,) addresses of rows of x, written
    gates: int  # (N, row) gate gradients of one step
    row: int
    columns: int  # numbers in such a row that weights of x turned round multiply
    sums: int  # (N, sums_row) the same of phases that normalise
    sums_row: int
    gate_rows: int  # (N,) addresses in those rows, written
    places: int  # (N,) addresses that products go to, written
    span: int  # bytes from these addresses to those of the next part of a team
    tile: int  # address of the tile for them


class Step(NamedTuple):
    """One step of a forward pass: rows first <= m < active of the batch."""

    first: int
    active: int
    before: int  # records of the step before
    now: int
    addresses: int  # of rows, as in `Memory`
    halves: int  # rounded rows of sources


class BackwardStep(NamedTuple):
    """One step of a backward pass: rows first <= m < active of the batch."""

    first: int
    active: int
    pair: int  # number of the pair (step, row 0) in the chunk
    before: int  # records of the step before
    now: int
    dbefore: int  # gradients of the states of the step before
    dnow: int
    dvalues: int
    scratch: int  # a tile
    zeros: int  # a row of a tile
    room: int  # bytes from the addresses that part 0 of a team writes to those of this one


def rows_of(array: np.ndarray | None) -> Rows:
    """An array as kernels take it."""
    if array is None:
        return ABSENT
    strides = array.strides
    return Rows(address_of(array), strides[0], strides[1] if len(strides) > 2 else 0)


ABSENT = Rows(0)
