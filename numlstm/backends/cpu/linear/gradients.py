"""Weight gradients on all threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..machine import threads
from ..machine.arrays import address_of
from ..machine.target import target
from .packing import Block
from .products import BLOCK, column_sums, copied_row_bytes, weight_gradients
from .tile import outer_address


class OuterSum(NamedTuple):
    """A sum of outer products of rows `a` and gate gradients, added to the packed gradient of one parameter."""

    out: int  # (panels, inputs, width) vectors, from the start of the gradient
    bias: int  # (panels, width) vectors, or -1
    a: int  # (steps,) addresses of rows of `inputs` numbers
    inputs: int
    first: int  # of all blocks, those first <= b < last are its own
    last: int
    d: int  # (panels, room, width) vectors: the gate gradients
    tile: int  # address of the machine code for tiles of that width
    vectors: int  # the width
    tallest: int  # rows of the tallest tile


class Outer(NamedTuple):
    """A sum of outer products to be added to the packed gradient of one parameter."""

    block: Block  # the parameter's
    out: int  # bytes from the start of the gradient to its own
    bias: int  # to its bias's, or -1
    a: int  # address of the addresses of the rows that meet the gate gradients
    d: int  # address of the gate gradients

    def blocks(self) -> int:
        """Parts that threads may share: rows of tiles, the bias as one more."""
        rows = _tallest(self.block)
        return self.block.panels * -(-(self.block.inputs + (self.bias >= 0)) // rows)


def _tallest(block: Block) -> int:
    """Rows of the tallest tile as wide as a panel."""
    return target().tile_rows(block.columns // block.lanes)[0]


class OuterSums:
    """Two sums, or one; each part of a gradient belongs to one thread.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    products : sequence of Outer
    room : int
        Gate gradients that a panel has room for.
    """

    def __init__(self, real: Any, products: Sequence[Outer], room: int) -> None:
        sums, self.blocks = [], 0
        for product in products:
            block = product.block
            first, self.blocks = self.blocks, self.blocks + product.blocks()
            vectors = block.columns // block.lanes
            tile = outer_address(real, vectors), vectors, _tallest(block)
            own = product.out, product.bias, product.a, block.inputs, first, self.blocks, product.d
            sums.append(OuterSum(*own, *tile))
        sums.append(OuterSum(*[0] * len(OuterSum._fields)))  # always two: another number would be another kernel
        self.real = real
        self.arguments = real, tuple(sums[:2]), room
        widest = max(product.block.inputs for product in products)
        self.row_bytes = copied_row_bytes(widest, products[0].block.lanes, np.dtype(real).itemsize)
        self.flop = 2.0 * sum(product.block.size for product in products)
        self.copy = np.empty(min(BLOCK, room) * self.row_bytes, np.uint8)  # for whoever does all blocks
        self.copy_address = address_of(self.copy)

    def add(self, gradient: int, pairs: int, fresh: bool) -> None:
        """Add the sums over the first `pairs` gate gradients to the one at an address; overwrite it if `fresh`."""
        threads.run(self._add, threads.even_shards(self.blocks, self.flop * pairs), gradient, pairs, fresh)

    def _add(self, gradient: int, pairs: int, fresh: bool, first: int, last: int) -> None:
        if last - first == self.blocks:
            copy = self.copy_address
        else:
            own = np.empty(min(BLOCK, pairs) * self.row_bytes, np.uint8)
            copy = address_of(own)
        weight_gradients[self.real](*self.arguments, gradient, pairs, copy, self.row_bytes, fresh, first, last)


class ColumnSums:
    """The gradient of parameters with one number per unit: sums over what each row and step has left.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    block : Block
        The parameters.
    parts : array, shape (pairs, block.size)
        What is summed.
    """

    def __init__(self, real: Any, block: Block, parts: np.ndarray) -> None:
        self.real, self.vectors, self.out = real, block.size // block.lanes, block.start * parts.itemsize
        self.arguments = address_of(parts), parts.strides[0]
        self.flop = float(block.size)

    def add(self, gradient: int, pairs: int, fresh: bool) -> None:
        """Add the sums over the first `pairs` parts to the gradient at an address, or overwrite it if `fresh`."""
        shards = threads.even_shards(self.vectors, self.flop * pairs)
        threads.run(column_sums[self.real], shards, self.real, gradient + self.out, *self.arguments, pairs, fresh)
