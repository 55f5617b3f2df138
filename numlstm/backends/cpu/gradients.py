"""Weight gradients on all threads."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from . import threads
from .arguments import address_of
from .packing import Block
from .products import BLOCK, copied_row_bytes, weight_gradient
from .tags import width
from .target import target


class Outer(NamedTuple):
    """A sum of outer products to be added to the packed gradient of one parameter."""

    block: Block  # the parameter's
    out: int  # address of its gradient
    bias: int  # address of its bias's gradient, or 0
    a: int  # address of the addresses of the rows that meet the gate gradients

    def blocks(self) -> int:
        """Parts that threads may share: rows of tiles, the bias as one more."""
        rows = target().tile_rows(self.block.columns // self.block.lanes)[0]
        return self.block.panels * -(-(self.block.inputs + bool(self.bias)) // rows)


def add_products(real: type, products: list[Outer], panels: int, room: int, pairs: int) -> None:
    """Add several sums over the same gate gradients; each part of a gradient belongs to one thread.

    Parameters
    ----------
    real : type
        numpy.float32 or numpy.float64.
    products : list of Outer
    panels, room, pairs : int
        Address of the gate gradients, room in each panel, and steps of the sum, as in `weight_gradient`.
    """
    vectors = products[0].block.columns // products[0].block.lanes
    edges = [0, *itertools.accumulate(product.blocks() for product in products)]
    run = weight_gradient[real, vectors]

    def add(first: int, last: int) -> None:
        for (block, out, bias, a), start, end in zip(products, edges[:-1], edges[1:], strict=True):
            part = max(first, start) - start, min(last, end) - start
            if part[0] < part[1]:
                row_bytes = copied_row_bytes(block.inputs, block.lanes, np.dtype(real).itemsize)
                copy = np.empty(min(BLOCK, pairs) * row_bytes, np.uint8)
                run(
                    real, width(vectors), out, bias, a, block.inputs, panels, room, pairs, address_of(copy), row_bytes,
                    *part,
                )  # fmt: skip

    work = 2.0 * pairs * sum(product.block.size for product in products)
    threads.run(add, threads.even_shards(edges[-1], work))
