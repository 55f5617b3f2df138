"""Named parameters, or their gradients, from a packed vector."""

from __future__ import annotations

import numpy as np

from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, aligned
from .packing import Block, Packing
from .transposed import FLOP_OF_A_NUMBER, Transposition, Unpacking, transpose, unpack

LARGE = 1 << 16  # numbers of a block that are unpacked by threads; NumPy copies fewer as fast


class Unpacker:
    """Gives the parameters in `flat` by name, as new arrays.

    A recording notes that weights are transposed. So what is left to do after its calls is to copy their rows.
    """

    def __init__(self, packing: Packing, flat: np.ndarray) -> None:
        self.packing, self.flat = packing, flat
        self.rows = {block: _rows(block, flat) for block in packing.blocks()} if recording.current() else {}

    def __call__(self) -> dict[str, np.ndarray]:
        flat, packing = self.flat, self.packing
        parameters = {name: np.empty(shape, flat.dtype) for name, shape in packing.shapes.items()}
        for block in packing.blocks():
            if block.inputs > 1 and block.size >= LARGE and not self.rows:
                _unpack(block, flat, parameters[block.name])
            else:
                block.read(self.rows.get(block, block.rows_of(flat)), parameters[block.name])
        start = packing.used
        for name, mask in packing.unused.items():
            parameters[name][mask] = flat[start : start + mask.sum()]
            start += mask.sum()
        return parameters


def _rows(block: Block, flat: np.ndarray) -> np.ndarray:
    """The block as (gates, panels, groups, lanes, inputs): a view, or transposed by calls that a recording notes."""
    if block.inputs == 1:
        return block.rows_of(flat)
    size, numbers = flat.itemsize, -(-block.inputs // block.lanes) * block.lanes
    out = aligned((block.panels, block.groups, block.gates, block.lanes, numbers), flat.dtype)
    call = Transposition(
        packed=address_of(flat) + block.start * size, packed_panel=block.inputs * block.columns * size,
        columns=block.columns, inputs=block.inputs, out=address_of(out), out_panel=0, numbers=numbers,
    )  # fmt: skip
    shards = threads.even_shards(block.panels, FLOP_OF_A_NUMBER * block.size)
    threads.share(transpose, flat.dtype.type, Arguments.of(np.array(call), (flat, out)), shards)
    return out[..., : block.inputs].transpose(2, 0, 1, 3, 4)


def _unpack(block: Block, flat: np.ndarray, parameter: np.ndarray) -> None:
    """Write the block to its part of a parameter, on all threads."""
    parts = block.part(parameter)
    places = np.array([address_of(part) for part in parts])
    call = Unpacking(
        packed=address_of(flat) + block.start * flat.itemsize, inputs=block.inputs, groups=block.groups,
        gates=block.gates, units=block.units, parts=address_of(places), row=parts[0].strides[0],
    )  # fmt: skip
    shards = threads.even_shards(block.panels, FLOP_OF_A_NUMBER * block.size)
    threads.share(unpack, flat.dtype.type, Arguments.of(np.array(call)), shards)
