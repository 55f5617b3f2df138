"""Packed weights transposed, for products with gradients."""

from __future__ import annotations

import numpy as np

from ..machine.arrays import address_of, aligned
from ..machine.target import TILE_VECTORS
from .packing import Block
from .products import transpose


class TransposedWeights:
    """Packed weights, transposed for the way back when they are first wanted after a change."""

    def __init__(self, flat: np.ndarray, blocks: list[Block]) -> None:
        numbers = TILE_VECTORS * blocks[0].lanes
        columns = sum(block.panels * block.columns for block in blocks)
        self.array = aligned((-(-blocks[0].inputs // numbers), columns, numbers), flat.dtype, zero=True)
        self.panels = [
            flat[block.start : block.start + block.size].reshape(block.panels, block.inputs, -1) for block in blocks
        ]
        self.address = address_of(self.array)
        self.stale = True

    def bring_up_to_date(self) -> int:
        """Follow changes of the weights, and return the address."""
        if self.stale:
            first = 0
            for panels in self.panels:
                transpose[self.array.dtype](panels, self.array, first)
                first += panels.shape[0] * panels.shape[2]
            self.stale = False
        return self.address
