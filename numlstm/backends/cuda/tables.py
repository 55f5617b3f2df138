"""What kernels of recurrent layers are told in tables of integers: the names and places of the fields."""

from __future__ import annotations

MOST_GATES = 8

# Rows of the table of phases, and of that of products: integers, in the order of the names.
PHASE = (
    "units", "slice", "first_product", "last_product", "gates", "row", "norm", "first_scale", "norm_units",
    "normalised", "projected", "waits", "norm_weight",
)  # fmt: skip
PRODUCT = (
    "weights", "length", "columns", "units", "slice", "width", "offset", "step", "column", "target", "source", "gates",
    "region", "parts", "used",
)  # fmt: skip
PHASE_FIELDS, PRODUCT_FIELDS = len(PHASE) + MOST_GATES, len(PRODUCT) + MOST_GATES
(UNITS, SLICE, FIRST_PRODUCT, LAST_PRODUCT, GATES, ROW, NORM, FIRST_SCALE, NORM_UNITS, NORMALISED, IS_PROJECTED, WAITS,
 NORM_WEIGHT) = range(len(PHASE))  # fmt: skip
(WEIGHTS, LENGTH, COLUMNS, P_UNITS, P_SLICE, WIDTH, OFFSET, STEP, COLUMN, TARGET, SOURCE, P_GATES, REGION,
 PARTS, USED) = range(len(PRODUCT))  # fmt: skip
NORM_BLOCKS, WEIGHT_ROWS = len(PHASE), len(PRODUCT)

# Integers that a launch is given, in the order of the names; places are in shared memory, in numbers of the dtype.
LAUNCH = (
    "hidden", "projected", "record", "row", "unit_row", "gradient_row", "state_row", "doutput_row", "scales", "final",
    "first_step", "last_step", "first_stage", "last_stage", "phases", "products", "slices", "groups", "tile", "chunk",
    "sources", "sums", "factors", "fused", "keep", "reverse", "noisy", "origin",
)  # fmt: skip
(HIDDEN, PROJECTED, RECORD, PRE_ROW, UNIT_ROW, GRADIENT_ROW, STATE_ROW, DOUTPUT_ROW, SCALES, FINAL, FIRST_STEP,
 LAST_STEP, FIRST_STAGE, LAST_STAGE, PHASES, PRODUCTS, SLICES, GROUPS, TILE, CHUNK, SOURCES, SUMS, FACTORS, FUSED, KEEP,
 REVERSE, NOISY, ORIGIN) = range(len(LAUNCH))  # fmt: skip
