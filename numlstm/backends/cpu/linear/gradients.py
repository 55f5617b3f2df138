"""Weight gradients on all threads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, integers, odd_lines
from ..machine.target import target
from .packing import Block, batched
from .products import (
    BLOCK,
    ColumnCall,
    OuterCall,
    OuterSum,
    RowSum,
    RowSums,
    column_sums,
    row_sums,
    sum_rows,
    weight_gradients,
)
from .tile import outer_address

COPIED_INPUTS = 128  # least numbers of a row that is copied: to read shorter ones where they are takes less time
SUM_BYTES = 4096  # of a gradient that one thread adds to
FLOP_OF_A_BYTE = 60.0  # which take as long as to add a byte that lies in the cache of another core


class OuterProduct(NamedTuple):
    """Rows and gate gradients whose outer products make the gradient of one parameter."""

    block: Block  # the parameter
    out: int  # bytes from the start of the flat gradient to that of the parameter
    bias: int  # bytes to that of its bias; -1 where there is none
    copy: int  # bytes to that of another bias, which has the same gradient; -1 where there is none
    a: int  # address of the addresses of the rows
    d: int  # address of the gate gradients
    d_panel: int  # bytes from those of a panel to those of the next
    d_row: int  # bytes from those of a pair to those of the next

    def blocks(self) -> int:
        """Rows of tiles of a panel, the bias counted as one more input."""
        inputs = self.block.inputs + (self.bias >= 0)
        return -(-inputs // _tallest(self.block))


def _is_copied(block: Block) -> bool:
    """Whether rows that the weights multiply are copied first."""
    return block.inputs >= COPIED_INPUTS


def _tallest(block: Block) -> int:
    """Rows of the tallest tile as wide as a panel."""
    return target().tile_rows(block.columns // block.lanes)[0]


class Target(NamedTuple):
    """A gradient that sums over some pairs of a step and a row are added to."""

    gradient: int  # its address
    pairs: np.ndarray  # their number
    fresh: bool  # whether it is overwritten


Work = tuple[Arguments, Sequence[threads.Shard]]


class OuterSums:
    """Two sums of as many panels, or one; each number of a gradient is summed by one thread.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    products : sequence of OuterProduct
    room : int
        Most pairs.
    """

    kernel = weight_gradients

    def __init__(self, real: Any, products: Sequence[OuterProduct], room: int) -> None:
        sums = [*(_outer_sum(real, product) for product in products), OuterSum(*[0] * len(OuterSum._fields))]
        self.real, self.blocks = real, products[0].block.panels * sum(product.blocks() for product in products)
        widest = max((product.block.inputs for product in products if _is_copied(product.block)), default=0)
        row_bytes = odd_lines(widest * np.dtype(real).itemsize)
        self.part_bytes = 2 * min(BLOCK, room) * row_bytes
        self.flop = 2.0 * sum(product.block.size for product in products)
        call = OuterCall(
            parts=0, gradient=0, pairs=0, fresh=0, copies=0, copies_part=self.part_bytes, copy_row=row_bytes,
            blocks=self.blocks, first_sum=sums[0], second_sum=sums[1],
        )  # fmt: skip
        self.call = Arguments.of(integers(call))
        self.copies, self.filled = np.empty(0, np.uint8), (0, 0, 0, False)

    def parts(self, pairs: int) -> int:
        """How many threads to use for the sums over so many pairs."""
        return threads.parts_for(self.blocks, self.flop * pairs)

    def work(self, parts: int, target: Target) -> Work:
        """The arguments of the kernel, and so many shards."""
        filled = parts, target.gradient, address_of(target.pairs), target.fresh
        if self.filled != filled:
            self._fill(*filled)
        return self.call, threads.each(parts)

    def _fill(self, parts: int, gradient: int, pairs: int, fresh: bool) -> None:
        """Write down what differs from call to call."""
        if len(self.copies) < parts * self.part_bytes:
            self.copies = np.empty(parts * self.part_bytes, np.uint8)
            self.call = self.call._replace(kept=self.copies)
        self.filled = parts, gradient, pairs, fresh
        self.call.integers[: len(self.filled) + 1] = *self.filled, address_of(self.copies)


def _outer_sum(real: Any, product: OuterProduct) -> OuterSum:
    """A product as the kernel takes it."""
    block = product.block
    vectors = block.columns // block.lanes
    return OuterSum(
        out=product.out, bias=product.bias, copy=product.copy, a=product.a, inputs=block.inputs,
        blocks=product.blocks(), copied=int(_is_copied(block)), d=product.d, d_panel=product.d_panel,
        d_row=product.d_row, tile=outer_address(real, vectors), vectors=vectors, tallest=_tallest(block),
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

    kernel = column_sums

    def __init__(self, real: Any, block: Block, summands: np.ndarray) -> None:
        self.real, self.vectors, self.out = real, block.size // block.lanes, block.start * summands.itemsize
        self.flop = float(block.size)
        call = ColumnCall(out=0, steps=0, fresh=0, d=address_of(summands), row=summands.strides[0])
        self.call = Arguments.of(integers(call), summands)

    def parts(self, pairs: int) -> int:
        """How many threads to use for the sums over so many pairs."""
        return threads.parts_for(self.vectors, self.flop * pairs)

    def work(self, parts: int, target: Target) -> Work:
        """The arguments of the kernel, and so many shards."""
        self.call.integers[:3] = target.gradient + self.out, address_of(target.pairs), target.fresh
        return self.call, threads.split(self.vectors, parts, 1)


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
    """

    kernel = row_sums

    def __init__(self, real: Any, out: np.ndarray, product: OuterProduct) -> None:
        self.real, (self.panels, rows, columns) = real, out.shape
        self.flop = float(self.panels * columns)
        call = RowSums(
            pairs=0, out=address_of(out), rows=rows, a=product.a, d=product.d, d_panel=product.d_panel,
            d_row=product.d_row, row_bytes=out.strides[1],
        )  # fmt: skip
        self.call = Arguments.of(integers(call), out)

    def parts(self, pairs: int) -> int:
        """How many threads to use for the sums over so many pairs."""
        return threads.parts_for(self.panels, self.flop * pairs)

    def work(self, parts: int, target: Target) -> Work:
        """The arguments of the kernel, and so many shards. The gradient of the weights comes from all sums."""
        self.call.integers[0] = address_of(target.pairs)
        return self.call, threads.split(self.panels, parts, 1)


def outer_sums(real: Any, products: Sequence[OuterProduct], room: int) -> list[OuterSums]:
    """The sums of all products, two by two where they have as many panels."""
    alike = itertools.groupby(products, lambda product: product.block.panels)
    return [OuterSums(real, pair, room) for _, group in alike for pair in batched(list(group))]


Sums = OuterSums | ColumnSums | RowGradients


def add_sums(sums: Sequence[Sums], targets: Sequence[Target]) -> None:
    """Add the sums of each group of rows to a gradient; where a group has no pairs, its gradient stays as it is.

    A recording has all groups, as they may have pairs another time; a gradient without them is zero.
    """
    both = zip(sums, targets, strict=True)
    present = [(each, target) for each, target in both if target.pairs[0] or recording.current()]
    if present:
        first, pairs = present[0][0], [target.pairs for _, target in present]
        recording.keep(*pairs)
        parts = threads.parts_of_each(first.parts(sum(int(number[0]) for number in pairs)), len(present))
        threads.share_all(first.kernel, first.real, [each.work(parts, target) for each, target in present])


class PartialSums:
    """The gradients of further groups of rows, to be added to that of the first.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    arrays : list of array, each of shape (size,)
        Whole vectors.
    """

    def __init__(self, real: Any, arrays: Sequence[np.ndarray]) -> None:
        self.real = real
        self.addresses = [address_of(array) for array in arrays]
        self.offsets = np.arange(0, arrays[0].nbytes, SUM_BYTES)
        vectors = np.minimum(SUM_BYTES, arrays[0].nbytes - self.offsets) // target().vector_bytes
        table = np.zeros((len(self.offsets), len(arrays), len(RowSum._fields)), np.int64)
        table[...] = RowSum(out=0, out_row=0, rows=1, vectors=0, terms=0, terms_row=0)
        table[..., RowSum._fields.index("vectors")] = vectors[:, None]
        table[..., RowSum._fields.index("terms")] = np.add.outer(self.offsets, self.addresses)
        self.table = Arguments.of(table, arrays)
        self.gradient = 0

    def add_to(self, gradient: int) -> None:
        """Add all to the gradient at an address."""
        if gradient != self.gradient:
            self.table.integers[..., RowSum._fields.index("out")] = gradient + self.offsets[:, None]
            self.gradient = gradient
        blocks, groups, _ = self.table.integers.shape
        shards = threads.even_shards(blocks * groups, FLOP_OF_A_BYTE * SUM_BYTES * blocks * groups, groups)
        threads.share(sum_rows, self.real, self.table, shards)
