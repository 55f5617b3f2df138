"""What kernels take: integers in named groups. Addresses, distances and sizes of memory are in bytes."""

from __future__ import annotations

import ctypes
import math
from typing import Any, NamedTuple

import numpy as np


class Shape(NamedTuple):
    """Sizes of a layer."""

    steps: int  # T
    inputs: int  # D
    units: int  # H
    groups: int  # vectors that hold H units, with padding


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


class Panels(NamedTuple):
    """Packed weights of one phase."""

    number: int
    w: int  # (number, D, vectors), in vectors
    r: int  # (number, H, vectors)
    bias: int  # (number, vectors)
    source_slot: int  # of the vector that r multiplies
    source_now: int  # 1 if it belongs to this step, 0 if to the step before


class Transposed(NamedTuple):
    """Recurrent weights of one phase for the way back, and where its gradients are kept."""

    number: int  # of panels of the phase
    r: int  # (panels of units, columns, TILE_VECTORS)
    columns: int  # gate gradients of the phase in a row
    row: int  # where they start in a row of gate gradients
    panels: int  # their second copy: (number, chunk rows, vectors)
    sources: int  # (chunk rows,) addresses, written: the vectors that r multiplied
    source_slot: int
    source_now: int
    target_region: int  # gradients of: 0 states of the step before, 1 of this step, 2 values handed on
    target_slot: int
    overwrites: int


class OuterSum(NamedTuple):
    """A sum of outer products of rows `a` and gate gradients, added to the packed gradient of one parameter."""

    out: int  # (panels, inputs, width) vectors
    bias: int  # (panels, width) vectors, or 0
    a: int  # (steps,) addresses of rows of `inputs` numbers
    inputs: int
    first: int  # of all blocks, those first <= b < last are its own
    last: int


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
    columns: int  # numbers in such a row
    gate_rows: int  # (N,) addresses in those rows, written
    places: int  # (N,) addresses that products go to, written


class Step(NamedTuple):
    """One step of a forward pass: rows first <= m < active of the batch."""

    first: int
    active: int
    before: int  # records of the step before
    now: int
    xs: int  # (N,) addresses of rows of x
    sources: int  # (N,) addresses, written: the vectors that recurrent weights multiply


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


def address_of(array: np.ndarray) -> int:
    """The address of an array's first element."""
    try:
        # Four times as quick as the next way.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, or not contiguous
        return array.ctypes.data


def rows_of(array: np.ndarray | None) -> Rows:
    """An array as kernels take it."""
    if array is None:
        return ABSENT
    strides = array.strides
    return Rows(address_of(array), strides[0], strides[1] if len(strides) > 2 else 0)


ABSENT = Rows(0)


def aligned(shape: tuple[int, ...] | int, dtype: Any, *, zero: bool = False) -> np.ndarray:
    """A new C-contiguous array that starts on a cache line: vector loads that cross lines take twice as long."""
    dtype = np.dtype(dtype)
    size = (shape if isinstance(shape, int) else math.prod(shape)) * dtype.itemsize
    memory = (np.zeros if zero else np.empty)(size + 64, np.uint8)
    start = -address_of(memory) % 64
    return memory[start : start + size].view(dtype).reshape(shape)
