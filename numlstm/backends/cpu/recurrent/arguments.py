"""The arguments of kernels: integers in named groups. Addresses, distances and sizes of memory are in bytes.

Named tuples are filled by name, on the host as in kernels. A table is an array with one entry a row, of such a tuple.
Kernels that the host calls read their arguments from memory, where `integers` has put them: to hand each integer over
takes as long as a small product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..machine.arrays import address_of
from ..machine.memory import entry_bytes
from ..machine.team import Team


class LayerShape(NamedTuple):
    """Sizes of a layer."""

    steps: int  # T
    inputs: int  # D
    groups: int  # vectors that hold the units of any phase, with padding


class SortedRows(NamedTuple):
    """The rows of a batch, longest first."""

    order: int  # (N,) integers: the row m is the row `order[m]` of the arrays of the caller
    lengths: int  # (N,) steps of each row
    reverse: int  # whether to go from the last step of each row to its first


class Strided(NamedTuple):
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


class Ahead(NamedTuple):
    """Memory for the products of x of some steps, which are computed together."""

    steps: int  # how many; 0 where each step has products of its own x
    room: int  # pairs of a step and a row
    sums: int  # (room, row) bias and products of all phases that read x
    row: int
    xs: int  # (room,) addresses of rows of x, written; as many more for each further part of a team
    multiply: int  # address of the machine code


class AheadCall(NamedTuple):
    """Steps whose products of x are computed together: rows first <= m < active at the first of them."""

    run: int  # a `ForwardCall`
    own_part: int  # the part of a team that computes
    part: int  # the part whose panels it takes
    step: int  # the first step
    end: int  # no step is as late
    first: int
    active: int


class ForwardMemory(NamedTuple):
    """The memory of a forward pass, besides records."""

    addresses: int  # of rows: of x, then of each source, (N,) each; as many more for each further part of a team
    span: int  # from one to the next
    sums: int  # (N, .) pre-activations of a phase that takes whole rows
    sums_row: int
    narrowing: int  # address of the machine code that writes rows in fewer bits; 0 where products take all bits
    narrow: int  # (N,) such rows of x, then of each source, and as many more for each further part of a team
    narrow_row: int
    ahead: Ahead


class ForwardStep(NamedTuple):
    """One step of a forward pass: rows first <= m < active of the batch."""

    first: int
    active: int
    before: int  # records of the step before
    now: int
    addresses: int  # of rows, as in `ForwardMemory`
    narrow: int  # rows of sources in fewer bits
    back: int  # whether panels are taken from the last to the first
    pair: int  # number of the pair (step, row 0) among those whose products of x are computed together


class Gradients(NamedTuple):
    """Gradients of the states and values of every row: (N, slots, padded units)."""

    address: int
    row: int
    slot: int


class Chunk(NamedTuple):
    """The steps first <= s < last of a backward pass."""

    first: int
    last: int


class BackwardMemory(NamedTuple):
    """The memory of the backward pass through a chunk, besides records and gradients of states."""

    xs: int  # (pairs,) addresses of rows of x, written
    gates: int  # (pairs, row) gate gradients
    row: int
    sums: int  # (N, sums_row) gate gradients of phases that normalise
    sums_row: int
    together: int  # steps whose products with the input weights are computed together
    gate_rows: int  # (N * together,) addresses in the rows of `gates`, written
    places: int  # (N * together,) addresses of rows of dx, written
    span: int  # from these addresses to those of the next part of a team
    narrowing: int  # address of the machine code that writes rows in fewer bits; 0 where products take all bits
    factors: int  # gate gradients as products take them: `gates`, or (N, factors_row) in fewer bits
    factors_row: int
    factors_part: int  # from these rows to those of the next part of a team
    ratio: int  # bytes in `gates` for each byte of `factors`


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
    room: int  # from the addresses in `BackwardMemory` to those of row 0 that are written here
    factors: int  # of row 0, for this part, as in `BackwardMemory`
    back: int  # as in a `ForwardStep`


# Entries of tables ------------------------------------------------------------------------------------------


class PlaceEntry(NamedTuple):
    """An array of a caller, (N, T, .) or (N, .) in place."""

    address: int  # as in `Strided`
    row: int
    step: int
    slot: int  # of its values in a record
    units: int  # their number


class TileEntry(NamedTuple):
    """One or two products that are added to the same gates: those of a `ProductTile`."""

    tile: int  # address of the machine code
    offset: int  # into a panel's row of pre-activations
    w: int  # weights (panels, count, width)
    w_panel: int  # from panel to panel
    a: int  # number of the addresses of the rows
    a_count: int  # numbers of a row
    v: int  # the second product; with a count of 0 where there is none
    v_panel: int
    b: int
    b_count: int


class SourceEntry(NamedTuple):
    """A vector of a record that weights multiply."""

    slot: int
    now: int  # whether it is of this step
    numbers: int  # how many it has


class BackEntry(NamedTuple):
    """The way back to a part of a vector that weights multiply: gate gradients of a side times transposed weights.

    Where there are no weights, the gradient of the one pre-activation is that of the vector.
    """

    gates: int  # into a row of gate gradients
    columns: int  # number of those that are multiplied; of words of them, where they are in fewer bits
    weights: int  # (panels, columns, vectors) vectors; 0 where there are none
    panels: int
    vectors: int  # the width of a panel
    tile: int  # address of the machine code for that width
    tallest: int  # rows of its tallest tile
    offset: int  # from the start of the vector to the part
    numbers: int  # how many the part has
    region: int  # of its gradient: 0 states of the step before, 1 of this step, 2 values given, 3 x
    slot: int  # of its gradient
    overwrites: int  # whether it is the first to reach that
    sources: int  # (pairs,) addresses of the vectors, written; 0 where another part of the vector has them
    source_slot: int
    source_now: int


class SideEntry(NamedTuple):
    """The place for the gradients of the gates of a side. Equations read these integers from memory."""

    address: int  # (pairs, columns) of a chunk
    row: int
    first: int  # its first gate, of the gates of the phase
    gates: int  # number of its gates


class MaskEntry(NamedTuple):
    """A random mask. Equations read these integers from memory."""

    limit: int  # hashes below it are dropped; negative where nothing is dropped
    keys: int  # (N,) keys of the rows, written
    values: int  # three vectors: what equations get for dropped units, for kept units, and without dropping
    stream: int  # key of seed and stream
    per_step: int  # whether each step has a mask of its own


class PhaseEntry(NamedTuple):
    """A phase of a cell."""

    forward: int  # address of its equations
    backward: int
    gates: int  # vectors for a group of units
    groups: int  # such groups in a panel
    panels: int
    units: int
    tile_row: int  # bytes of a panel's row
    tallest: int  # rows of its tallest tile
    block: int  # rows of a block of tiles
    bias: int  # (panels, row) vectors
    ahead: int  # where its part begins in a row of `Ahead.sums`; -1 where it does not read x
    first_tile: int  # its own entries in the tables of tiles and sources
    last_tile: int
    first_source: int
    last_source: int
    copied_slot: int  # a vector that is its only pre-activation; -1 if there is none
    copied_now: int
    parameters: int  # (groups, parameters or gates) vectors, 0 where there are none
    norm_weight: int
    norm_bias: int
    norm_slot: int  # where normalised numbers and their factors are kept in a record
    norm_factors: int
    first_side: int  # its own entries in the tables of the way back
    sides: int
    first_back: int
    last_back: int
    dparameters: int  # (pairs, numbers), gradients
    dparameters_row: int
    dnorm_weight: int
    dnorm_bias: int
    dnorm_row: int


def table(entry: Any) -> np.dtype:
    """The type of a table of such entries."""
    return np.dtype([(name, np.int64) for name in entry._fields])


PHASE, TILE, SOURCE, BACK, SIDE, MASK = map(
    table, (PhaseEntry, TileEntry, SourceEntry, BackEntry, SideEntry, MaskEntry)
)  # fmt: skip
SIDE_BYTES, MASK_BYTES = entry_bytes(SideEntry), entry_bytes(MaskEntry)


# Kernels ----------------------------------------------------------------------------------------------------


class ForwardLayer(NamedTuple):
    """What `forward` takes that follows from the weights alone."""

    phases: int  # table of `PhaseEntry`
    phase_count: int
    tiles: int  # table of `TileEntry`
    sources: int  # table of `SourceEntry`
    source_count: int
    constants: int  # constants of the cell, vectors
    norm: int  # address of the machine code that normalises
    states: int  # number of states


class ForwardCall(NamedTuple):
    """The arguments of `forward`."""

    layer: int  # a `ForwardLayer`
    shape: LayerShape
    memory: ForwardMemory
    team: Team  # it divides the panels of a phase; then there is no mask, and no phase that takes whole rows
    masks: int  # table of `MaskEntry`
    mask_count: int
    places: int  # table of `PlaceEntry`: initial states, (N, .) read, zeros if absent; final states, (N, .) written;
    # then outputs, (N, T, .) written
    place_count: int
    x: Strided  # (N, T, D), read
    records: Records
    rows: SortedRows


class BackwardLayer(NamedTuple):
    """What `backward` takes that is the same for all batches of a shape."""

    phases: int  # table of `PhaseEntry`
    phase_count: int
    sides: int  # table of `SideEntry`
    backs: int  # table of `BackEntry`, those of x last
    first_dx: int  # number of the first of these
    last_dx: int
    constants: int  # constants of the cell, vectors
    norm: int  # address of the machine code for the way back through normalisation
    spread: int  # address of the machine code that copies gate gradients to sides after that
    states: int  # number of states
    memory: BackwardMemory
    gradients: Gradients  # carried from chunk to chunk; a state has two slots, for even and for odd steps
    team: Team  # as in `ForwardCall`; its cells have one phase


class BackwardCall(NamedTuple):
    """What `backward` takes in a call, whatever the chunk."""

    shape: LayerShape
    masks: int  # table of `MaskEntry`
    mask_count: int
    places: int  # table of `PlaceEntry`, one of each for each state: gradients of outputs, (N, T, .), and of final
    # states, (N, .), read, zeros if absent; of initial states, (N, .), written by the chunk that holds step 0
    x: Strided  # (N, T, D), read
    dx: Strided  # (N, T, D), written, if present
    rows: SortedRows


class BackwardChunk(NamedTuple):
    """The arguments of `backward`."""

    call: int  # a `BackwardCall`, written when it is there
    layer: int  # a `BackwardLayer`
    records: Records  # read
    chunk: Chunk
    starts: int  # (steps of the chunk,) numbers of the first pair of each step


def strided(array: np.ndarray | None) -> Strided:
    """An array as kernels take it."""
    if array is None:
        return ABSENT
    strides = array.strides
    return Strided(address_of(array), strides[0], strides[1] if len(strides) > 2 else 0)


ABSENT = Strided(0)


def place(array: np.ndarray | None, slot: int, units: int) -> PlaceEntry:
    """An array of a caller, whose values are in a slot."""
    return PlaceEntry(*strided(array), slot=slot, units=units)  # type: ignore[misc]
