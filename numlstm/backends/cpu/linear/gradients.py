"""Weight gradients on all threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..machine import threads
from ..machine.arrays import Arguments, address_of, integers
from ..machine.target import target
from .packing import Block
from .products import (
    BLOCK,
    ColumnCall,
    OuterCall,
    OuterSum,
    RowSums,
    column_sums,
    copied_row_bytes,
    row_sums,
    weight_gradients,
)
from .tile import outer_address


class OuterProduct(NamedTuple):
    """Rows and gate gradients whose outer products make the gradient of one parameter."""

    block: Block  # the parameter
    out: int  # bytes from the start of the flat gradient to that of the parameter
    bias: int  # bytes to that of its bias; -1 where there is none
    copy: int  # bytes to that of another bias, which has the same gradient; -1 where there is none
    a: int  # address of the addresses of the rows
    d: int  # address of the gate gradients

    def tile_rows(self) -> int:
        """Rows of tiles that threads may share, the bias counted as one more input."""
        inputs = self.block.inputs + (self.bias >= 0)
        return self.block.panels * -(-inputs // _tallest(self.block))


def _tallest(block: Block) -> int:
    """Rows of the tallest tile as wide as a panel."""
    return target().tile_rows(block.columns // block.lanes)[0]


class OuterSums:
    """Two sums, or one; each number of a gradient is summed by one thread.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    products : sequence of OuterProduct
    room : int
        Gate gradients that a panel has room for.
    """

    def __init__(self, real: Any, products: Sequence[OuterProduct], room: int) -> None:
        sums, self.blocks = [], 0
        for product in products:
            first, self.blocks = self.blocks, self.blocks + product.tile_rows()
            sums.append(_outer_sum(real, product, first, self.blocks))
        sums.append(OuterSum(*[0] * len(OuterSum._fields)))
        self.real = real
        widest = max(product.block.inputs for product in products)
        self.row_bytes = copied_row_bytes(widest, products[0].block.lanes, np.dtype(real).itemsize)
        self.part_bytes = min(BLOCK, room) * self.row_bytes
        self.flop = 2.0 * sum(product.block.size for product in products)
        call = OuterCall(
            parts=0, pairs=0, gradient=0, fresh=0, copies=0, copies_part=self.part_bytes, copy_row=self.row_bytes,
            room=room, blocks=self.blocks, first_sum=sums[0], second_sum=sums[1],
        )  # fmt: skip
        self.call = Arguments.of(integers(call))
        self.copies, self.filled = np.empty(0, np.uint8), (0, 0, 0, False)

    def add(self, gradient: int, pairs: int, fresh: bool) -> None:
        """Add the sums over the first `pairs` pairs to the gradient at an address; if `fresh`, overwrite it."""
        parts = threads.parts_for(self.blocks, self.flop * pairs)
        if self.filled != (parts, pairs, gradient, fresh):
            self._fill(parts, pairs, gradient, fresh)
        threads.share(weight_gradients, self.real, self.call, threads.each(parts))

    def _fill(self, parts: int, pairs: int, gradient: int, fresh: bool) -> None:
        """Write down what differs from call to call."""
        if len(self.copies) < parts * self.part_bytes:
            self.copies = np.empty(parts * self.part_bytes, np.uint8)
            self.call = self.call._replace(kept=self.copies)
        self.filled = parts, pairs, gradient, fresh
        self.call.integers[: len(self.filled) + 1] = *self.filled, address_of(self.copies)


def _outer_sum(real: Any, product: OuterProduct, first: int, last: int) -> OuterSum:
    """A product as the kernel takes it; its blocks are first <= b < last."""
    block = product.block
    vectors = block.columns // block.lanes
    return OuterSum(
        out=product.out, bias=product.bias, copy=product.copy, a=product.a, inputs=block.inputs, first=first, last=last,
        d=product.d, tile=outer_address(real, vectors), vectors=vectors, tallest=_tallest(block),
    )  # fmt: skip


class ColumnSums:
    """The gradient of parameters with one number per unit: sums over pairs.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    block : Block
        The parameters.
    summands : array, shape (pairs, block.size)
    """

    def __init__(self, real: Any, block: Block, summands: np.ndarray) -> None:
        self.real, self.vectors, self.out = real, block.size // block.lanes, block.start * summands.itemsize
        self.flop = float(block.size)
        call = ColumnCall(out=0, steps=0, fresh=0, d=address_of(summands), row=summands.strides[0])
        self.call = Arguments.of(integers(call), summands)

    def add(self, gradient: int, pairs: int, fresh: bool) -> None:
        """Add the sums over the first `pairs` pairs to the gradient at an address; if `fresh`, overwrite it."""
        self.call.integers[:3] = gradient + self.out, pairs, fresh
        shards = threads.even_shards(self.vectors, self.flop * pairs)
        threads.share(column_sums, self.real, self.call, shards)


class RowGradients:
    """The gradients of products that are looked up: for each row of a table, a sum over pairs.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    out : array, shape (panels, rows, columns)
        The gradients, which are added to.
    product : OuterProduct
        Its rows hold the number of a row of the table.
    room : int
        Gate gradients that a panel has room for.
    """

    def __init__(self, real: Any, out: np.ndarray, product: OuterProduct, room: int) -> None:
        self.real, self.out = real, out
        self.sums = RowSums(
            out=address_of(out), rows=out.shape[1], a=product.a, d=product.d, room=room, row_bytes=out.strides[1]
        )

    def add(self, gradient: int, pairs: int, fresh: bool) -> None:
        """Add the sums over the first `pairs` pairs. The gradient of the weights at an address comes from all sums."""
        panels, _, columns = self.out.shape
        shards = threads.even_shards(panels, float(panels * columns * pairs))
        threads.run(row_sums, self.real, shards, self.real, self.sums, pairs)
