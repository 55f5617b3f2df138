"""Packed weights transposed, for products with gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..machine.arrays import address_of, aligned
from ..machine.target import TILE_VECTORS
from .packing import Block
from .products import transpose


class TransposedPanels(NamedTuple):
    """Panels of one width."""

    array: np.ndarray  # (panels, columns, width)
    first: int  # the input at the first place


def panel_widths(vectors: int) -> Iterator[tuple[int, int]]:
    """Numbers of panels and their widths, which add up to so many vectors; the last ones are narrow."""
    width = TILE_VECTORS
    while vectors:
        if count := vectors // width:
            yield count, width
        vectors %= width
        width //= 2


class TransposedWeights:
    """Packed weights, transposed for the way back when they are first wanted after a change.

    Parameters
    ----------
    flat : array
    blocks : list of Block
        Weights of the same inputs.
    narrow : bool
        Whether the last panels are no wider than they must be; else all have TILE_VECTORS vectors.
    """

    def __init__(self, flat: np.ndarray, blocks: list[Block], narrow: bool = False) -> None:
        lanes, vectors = blocks[0].lanes, -(-blocks[0].inputs // blocks[0].lanes)
        self.columns = sum(block.panels * block.columns for block in blocks)
        self.panels: list[TransposedPanels] = []
        first = 0
        for count, width in panel_widths(vectors) if narrow else [(-(-vectors // TILE_VECTORS), TILE_VECTORS)]:
            array = aligned((count, self.columns, width * lanes), flat.dtype, zero=True)
            self.panels.append(TransposedPanels(array, first))
            first += count * width * lanes
        self.numbers = first  # places for inputs
        self._packed = [
            flat[block.start : block.end].reshape(block.panels, block.inputs, block.columns) for block in blocks
        ]
        self.stale = True

    @property
    def address(self) -> int:
        """Where the first panels are."""
        return address_of(self.panels[0].array)

    def bring_up_to_date(self) -> None:
        """Follow changes of the weights."""
        if self.stale:
            for array, first_input in self.panels:
                column = 0
                for packed in self._packed:
                    transpose[array.dtype](packed, array, column, first_input)
                    column += packed.shape[0] * packed.shape[2]
            self.stale = False
