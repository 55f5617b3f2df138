"""What kernels of recurrent layers are told in tables of integers: the places of the fields.

Places in shared memory are counted in numbers of the dtype, places in arrays in numbers too.
"""

from __future__ import annotations

from typing import NamedTuple

MOST_GATES = 8  # of a phase

# A row of the table of phases:
# - its units, and how many of them a block has; its products, from the first to before the last; its gates
# - where its part of a row of pre-activations begins
# - whether it is normalised; if so, where its part of a row of factors begins, that of a row of the gradients of
#   weights and biases of the normalisation, and that of a record with normalised gates
# - whether it multiplies what others have written since the last barrier; where weights of the normalisation begin
# - from NORM_BLOCKS on, for each gate, which of these it has
(UNITS, SLICE, FIRST_PRODUCT, LAST_PRODUCT, GATES, ROW, NORM, FIRST_SCALE, NORM_UNITS, NORMALISED, WAITS, NORM_WEIGHT,
 NORM_BLOCKS) = range(13)  # fmt: skip
PHASE_FIELDS = NORM_BLOCKS + MOST_GATES

# A row of the table of products:
# - where a block's weights are in shared memory, the length of their sums, and their columns, some perhaps of zeros
# - the units of the phase; the units of a block, of the phase forward, of the source back; the length of the source
# - where the parameter begins, its columns, and the first of them that are multiplied
# - forward the first gate that it is added to, and where the source is in a record; back where the source's gradient is
#   in its region, and where gates are in a row of pre-activations
# - back, the region: BEFORE, NOW or VALUES
# - how many parts the sums are in; the columns that are used
# - from WEIGHT_ROWS on, for each gate, its block of rows of the parameter
(WEIGHTS, LENGTH, COLUMNS, P_UNITS, P_SLICE, WIDTH, OFFSET, STEP, COLUMN, TARGET, SOURCE, REGION, PARTS, USED,
 WEIGHT_ROWS) = range(15)  # fmt: skip
PRODUCT_FIELDS = WEIGHT_ROWS + MOST_GATES

# Regions of a row of gradients: of the states before a step, of those after it, of other values.
BEFORE, NOW, VALUES = range(3)


class Launch(NamedTuple):
    """What a launch of a kernel is told.

    Attributes
    ----------
    hidden, projected : H, and the length of a projection or 0
    record, pre_row, unit_row, gradient_row, state_row, doutput_row, scale_row : lengths of rows: of records, of
        pre-activations, of gradients of parameters with one number per unit, of gradients of values, of all states, of
        gradients of states from outside, of factors of normalisations
    final : number of the record with the first row's last states
    first_step, last_step, first_stage, last_stage : which to run, the last of each excluded
    phases, products, slices, groups : how many there are; slices of the units, and groups of rows
    tile : rows of a tile
    chunk : how much of sums' length is in shared memory at once
    sources, sums, factors : where they are in shared memory
    fused : whether the kernel makes the products
    keep : whether to keep what the way back needs
    reverse : the direction
    noisy : whether there are masks
    origin : the number of the first step
    """

    hidden: int
    projected: int
    record: int
    pre_row: int
    unit_row: int
    gradient_row: int
    state_row: int
    doutput_row: int
    scale_row: int
    final: int
    first_step: int
    last_step: int
    first_stage: int
    last_stage: int
    phases: int
    products: int
    slices: int
    groups: int
    tile: int
    chunk: int
    sources: int
    sums: int
    factors: int
    fused: int
    keep: int
    reverse: int
    noisy: int
    origin: int
