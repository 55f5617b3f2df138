"""The kinds of numbers of fewer bits that products take, by the name of `compute_dtype`.

Each kind is a module with the same names: `NEEDS`, `LONGEST`, `GRADIENTS`, `supported`, `packed_shape`, `pack`,
`words`, `row_bytes`, `tile_address` and `rows_address`. One that has gradients has `BYTES` and `pair`, too.
"""

from __future__ import annotations

from types import ModuleType

from . import halves, quantised

KINDS: dict[str, ModuleType] = {"bfloat16": halves, "int8": quantised}
