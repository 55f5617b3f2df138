"""Weight gradients on all threads."""

from __future__ import annotations

import numpy as np

from . import threads
from .arguments import address_of, aligned
from .packing import Block
from .products import BLOCK, copied_row_bytes, weight_gradient
from .tags import width
from .target import target


def add_products(
    real: type, vectors: int, out: int, bias: int, a: np.ndarray, block: Block, panels: tuple[int, int, int]
) -> None:
    """Add sums of outer products to the packed gradient of one parameter, and of its bias.

    Parameters
    ----------
    real, vectors
        Type of the numbers; width of a panel in vectors.
    out, bias : int
        Addresses of the gradients; 0 for no bias.
    a : int64 array
        Addresses of the rows that meet the panels.
    block : Block
        The parameter's.
    panels : tuple of int
        Address of the gate gradients, room in each panel, and steps of the sum, as `weight_gradient` takes them.
    """
    columns = block.inputs + bool(bias)
    blocks = block.panels * -(-columns // target().tile_rows(vectors)[0])
    row_bytes = copied_row_bytes(block.inputs, block.lanes, np.dtype(real).itemsize)

    def add(first: int, last: int) -> None:
        copy = aligned(BLOCK * row_bytes, np.uint8)
        weight_gradient[real, vectors](
            real, width(vectors), out, bias, address_of(a), block.inputs, *panels, address_of(copy), row_bytes,
            first, last,
        )  # fmt: skip

    threads.run(add, threads.even_shards(blocks, 2.0 * panels[2] * block.size))
