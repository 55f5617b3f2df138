"""Packed weights transposed, for products with gradients."""

from __future__ import annotations

import numpy as np

from ..machine.arrays import address_of, aligned
from ..machine.target import TILE_VECTORS
from .packing import Block
from .products import transpose


class TransposedWeights:
    """Packed weights, transposed for the way back when they are first wanted after a change.

    They are in panels of TILE_VECTORS vectors.

    Parameters
    ----------
    flat : array
    blocks : list of Block
        Weights of the same inputs.
    vectors : int
        How many vectors of inputs are wanted, zeros behind the inputs; the last panel has no others.

    Attributes
    ----------
    columns : int
        Rows of a panel: numbers that the weights multiply on the way back.
    whole : int
        The number of panels before the last.
    last_vectors : int
        The width of the last panel.
    numbers : int
        Places for inputs in all panels.
    parts : list of (array of shape (panels, columns, numbers), int)
        Panels of one width, and their first input.
    address : int
        Of the first panel.
    """

    def __init__(self, flat: np.ndarray, blocks: list[Block], vectors: int) -> None:
        lanes, inputs = blocks[0].lanes, blocks[0].inputs
        width = TILE_VECTORS * lanes
        self.columns = sum(block.panels * block.columns for block in blocks)
        self.whole = -(-inputs // width) - 1
        self.last_vectors = min(TILE_VECTORS, max(vectors, -(-inputs // lanes)) - self.whole * TILE_VECTORS)
        self.numbers = self.whole * width + self.last_vectors * lanes
        memory = aligned(self.columns * self.numbers, flat.dtype, zero=True)
        end = self.whole * self.columns * width
        self.parts = [
            (memory[:end].reshape(-1, self.columns, width), 0),
            (memory[end:].reshape(1, self.columns, -1), self.whole * width),
        ]
        self._panels = [
            flat[block.start : block.start + block.size].reshape(block.panels, block.inputs, -1) for block in blocks
        ]
        self.address = address_of(memory)
        self.stale = True

    def bring_up_to_date(self) -> int:
        """Follow changes of the weights, and return the address."""
        if self.stale:
            for out, first_input in self.parts if self.whole else self.parts[1:]:
                first = 0
                for panels in self._panels:
                    transpose[out.dtype](panels, out, first, first_input)
                    first += panels.shape[0] * panels.shape[2]
            self.stale = False
        return self.address
