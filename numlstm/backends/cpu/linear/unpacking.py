"""Named parameters, or their gradients, from a packed vector."""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..machine import recording, threads
from ..machine.arrays import Arguments, address_of, aligned
from .packing import Block, Packing
from .transposed import FLOP_OF_A_NUMBER, Unpacking, unpack

LARGE = 1 << 16  # numbers of a block that are unpacked by threads; NumPy copies fewer as fast


class Unpacker:
    """Gives the parameters in `flat` by name, as new arrays.

    A recording notes that blocks are unpacked. So what is left to do after its calls is to copy what they have written.
    """

    def __init__(self, packing: Packing, flat: np.ndarray) -> None:
        self.packing, self.flat = packing, flat
        ends = itertools.accumulate(map(math.prod, packing.shapes.values()), initial=0)
        self.places = [
            (name, slice(*place), shape)
            for (name, shape), place in zip(packing.shapes.items(), itertools.pairwise(ends), strict=True)
        ]
        self.size = self.places[-1][1].stop
        self.noted = None
        if recording.current():
            self.noted = aligned(self.size, flat.dtype)
            for block in packing.blocks():
                _unpack(block, flat, self._named(self.noted)[block.name])

    def __call__(self) -> dict[str, np.ndarray]:
        if self.noted is not None:
            parameters = self._named(self.noted.copy())
        else:
            parameters = {name: np.empty(shape, self.flat.dtype) for name, _, shape in self.places}
            for block in self.packing.blocks():
                if block.inputs > 1 and block.size >= LARGE:
                    _unpack(block, self.flat, parameters[block.name])
                else:
                    block.read(self.flat, parameters[block.name])
        start = self.packing.used
        for name, mask in self.packing.unused.items():
            parameters[name][mask] = self.flat[start : start + mask.sum()]
            start += mask.sum()
        return parameters

    def _named(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters that lie in a vector one after the other."""
        return {name: vector[place].reshape(shape) for name, place, shape in self.places}


def _unpack(block: Block, flat: np.ndarray, parameter: np.ndarray) -> None:
    """Write the block to its part of a parameter, on all threads."""
    parts = block.part(parameter)
    places = np.array([address_of(part) for part in parts])
    call = Unpacking(
        packed=address_of(flat) + block.start * flat.itemsize, inputs=block.inputs, groups=block.groups,
        gates=block.gates, units=block.units, parts=address_of(places), row=parts[0].strides[0],
    )  # fmt: skip
    shards = threads.even_shards(block.panels, FLOP_OF_A_NUMBER * block.size)
    threads.share(unpack, flat.dtype.type, Arguments.of(np.array(call), (places, flat, parameter)), shards)
