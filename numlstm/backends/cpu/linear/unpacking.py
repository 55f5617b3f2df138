"""Named parameters, or their gradients, from a packed vector."""

from __future__ import annotations

import numpy as np

from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, aligned
from .packing import Block, Packing
from .transposed import FLOP_OF_A_NUMBER, Transposition, transpose

LARGE = 1 << 16  # numbers of a block that are transposed by threads; NumPy copies fewer as fast


class Unpacker:
    """Gives the parameters in `flat` by name, as new arrays.

    A recording notes that weights are transposed. So what is left to do after its calls is to copy their rows.
    """

    def __init__(self, packing: Packing, flat: np.ndarray) -> None:
        self.packing, self.flat = packing, flat
        self.rows = [(block, _rows(block, flat)) for block in packing.blocks()]

    def __call__(self) -> dict[str, np.ndarray]:
        flat, packing = self.flat, self.packing
        parameters = {name: np.empty(shape, flat.dtype) for name, shape in packing.shapes.items()}
        for block, rows in self.rows:
            block.read(rows, parameters[block.name])
        start = packing.used
        for name, mask in packing.unused.items():
            parameters[name][mask] = flat[start : start + mask.sum()]
            start += mask.sum()
        return parameters


def _rows(block: Block, flat: np.ndarray) -> np.ndarray:
    """The block as (gates, panels, groups, lanes, inputs): a view, or transposed."""
    if block.inputs == 1 or (block.size < LARGE and not recording.current()):
        return block.view(flat).transpose(3, 0, 2, 4, 1)
    size, numbers = flat.itemsize, -(-block.inputs // block.lanes) * block.lanes
    out = aligned((block.panels, block.groups, block.gates, block.lanes, numbers), flat.dtype)
    call = Transposition(
        packed=address_of(flat) + block.start * size, packed_panel=block.inputs * block.columns * size,
        columns=block.columns, inputs=block.inputs, out=address_of(out), out_panel=0, numbers=numbers,
    )  # fmt: skip
    shards = threads.even_shards(block.panels, FLOP_OF_A_NUMBER * block.size)
    threads.share(transpose, flat.dtype.type, Arguments.of(np.array(call), (flat, out)), shards)
    return out[..., : block.inputs].transpose(2, 0, 1, 3, 4)
