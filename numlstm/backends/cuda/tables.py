"""What kernels of recurrent layers are told in tables of integers: the places of the fields.

Places in shared memory are counted in numbers of the dtype, places in arrays in numbers too.
"""

from __future__ import annotations

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
# - back, the region: 0 before, 1 now, 2 others
# - how many parts the sums are in; the columns that are used
# - from WEIGHT_ROWS on, for each gate, its block of rows of the parameter
(WEIGHTS, LENGTH, COLUMNS, P_UNITS, P_SLICE, WIDTH, OFFSET, STEP, COLUMN, TARGET, SOURCE, REGION, PARTS, USED,
 WEIGHT_ROWS) = range(15)  # fmt: skip
PRODUCT_FIELDS = WEIGHT_ROWS + MOST_GATES

# What a launch is told, by name:
# - H and the length of a projection; lengths of rows: of records, of pre-activations, of gradients of parameters with
#   one number per unit, of gradients of values, of all states, of gradients of states from outside, of factors
# - the record of the first row's last states
# - which steps and stages to run; the numbers of phases, products, slices of units, groups of rows; rows of a tile, and
#   how much of sums' length is in shared memory at once
# - where sources, sums and factors are in shared memory
# - whether products are made by the kernel; whether to keep what the way back needs; the direction; whether there are
#   masks; the number of the first step
LAUNCH = (
    "hidden", "projected", "record", "row", "unit_row", "gradient_row", "state_row", "doutput_row", "scales", "final",
    "first_step", "last_step", "first_stage", "last_stage", "phases", "products", "slices", "groups", "tile", "chunk",
    "sources", "sums", "factors", "fused", "keep", "reverse", "noisy", "origin",
)  # fmt: skip
(HIDDEN, PROJECTED, RECORD, PRE_ROW, UNIT_ROW, GRADIENT_ROW, STATE_ROW, DOUTPUT_ROW, SCALES, FINAL, FIRST_STEP,
 LAST_STEP, FIRST_STAGE, LAST_STAGE, PHASES, PRODUCTS, SLICES, GROUPS, TILE, CHUNK, SOURCES, SUMS, FACTORS, FUSED, KEEP,
 REVERSE, NOISY, ORIGIN) = range(len(LAUNCH))  # fmt: skip
