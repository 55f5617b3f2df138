"""Named parameters in the order in which tiles read them, and back.

A panel of a phase holds `groups` vectors of hidden units, each with all gates side by side: ``(panels, K, groups,
gates, lanes)``, with K inputs of a product. Padding units are zero and stay zero, as their gradients are zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ....concurrency import cached_property
from ...contract import AffineSpec
from ..machine.target import TILE_VECTORS, target


def lanes_for(dtype: str) -> int:
    """Numbers of a dtype in a vector register."""
    return target().lanes(8 * np.dtype(dtype).itemsize)


@dataclass(frozen=True)
class Block:
    """Some packed rows and columns of a parameter, inside the flat vector."""

    name: str
    start: int
    panels: int
    inputs: int
    groups: int
    lanes: int
    units: int
    rows: tuple[int, ...]  # blocks of `units` rows of the named parameter, one for each gate
    column: int = 0  # block of `inputs` columns

    @cached_property
    def gates(self) -> int:
        """Vectors for each group of units."""
        return len(self.rows)

    @cached_property
    def size(self) -> int:
        """Numbers in the block, padding included."""
        return self.panels * self.inputs * self.columns

    @cached_property
    def end(self) -> int:
        """Where the next block starts."""
        return self.start + self.size

    @cached_property
    def columns(self) -> int:
        """Numbers in one row of a panel."""
        return self.groups * self.gates * self.lanes

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        return self.panels, self.inputs, self.groups, self.gates, self.lanes

    def view(self, flat: np.ndarray) -> np.ndarray:
        """The block as (panels, inputs, groups, gates, lanes)."""
        return flat[self.start : self.end].reshape(self.shape)

    def part(self, parameter: np.ndarray) -> list[np.ndarray]:
        """The part of a named parameter that the block holds: a view (units, inputs) for each gate."""
        matrix = parameter.reshape(len(parameter), -1)
        columns = slice(self.column * self.inputs, (self.column + 1) * self.inputs)
        return [matrix[row * self.units : (row + 1) * self.units, columns] for row in self.rows]

    def write(self, flat: np.ndarray, parameter: np.ndarray) -> None:
        """Pack the block's part of a named parameter."""
        rows = np.zeros((self.gates, self.panels * self.groups * self.lanes, self.inputs), flat.dtype)
        rows[:, : self.units] = self.part(parameter)
        rows = rows.reshape(self.gates, self.panels, self.groups, self.lanes, self.inputs)
        self.view(flat)[...] = rows.transpose(1, 4, 2, 0, 3)

    def read(self, flat: np.ndarray, parameter: np.ndarray) -> None:
        """Unpack the block to its part of a named parameter."""
        rows = self.view(flat).transpose(3, 0, 2, 4, 1)  # (gates, panels, groups, lanes, inputs)
        if parameter.size == self.size and self.in_order:
            parameter.reshape(rows.shape)[...] = rows
            return
        for part, values in zip(self.part(parameter), rows.reshape(self.gates, -1, self.inputs), strict=True):
            part[...] = values[: self.units]

    @cached_property
    def in_order(self) -> bool:
        """Whether gates are in the order of the named parameter."""
        return self.rows == tuple(range(self.gates))


class Packing:
    """Blocks of parameters, one after the other in a flat vector, and after them the numbers that no block holds."""

    size: int
    shapes: Mapping[str, tuple[int, ...]]

    def blocks(self) -> Iterator[Block]:
        """All blocks, in order."""
        raise NotImplementedError

    @property
    def unused(self) -> dict[str, np.ndarray]:
        """A mask of the numbers that no block holds, for each parameter that has some."""
        return {}

    @cached_property
    def used(self) -> int:
        """Numbers in the blocks; the cell does not use those after them."""
        return max(block.end for block in self.blocks())

    def finish(self) -> None:
        """Set the size, when all blocks are there."""
        self.size = self.used + sum(int(mask.sum()) for mask in self.unused.values())

    def pack(self, parameters: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        """Write named parameters to `flat`."""
        for block in self.blocks():
            block.write(flat, np.asarray(parameters[block.name]))
        if self.unused:
            flat[self.used :] = np.concatenate([parameters[name][mask] for name, mask in self.unused.items()])


class AffinePacking(Packing):
    """Where the parameters of an affine map are: a phase with one gate, and a panel as wide as a tile."""

    def __init__(self, spec: AffineSpec) -> None:
        self.spec, self.shapes = spec, spec.shapes
        lanes, outputs = lanes_for(spec.dtype), spec.output_size
        panels = -(-outputs // (TILE_VECTORS * lanes))
        self.weight = Block("weight", 0, panels, spec.input_size, TILE_VECTORS, lanes, outputs, (0,))
        self.bias = Block("bias", self.weight.end, panels, 1, TILE_VECTORS, lanes, outputs, (0,))
        self.finish()

    def blocks(self) -> Iterator[Block]:
        yield from (self.weight, self.bias)


@cache
def affine_packing(spec: AffineSpec) -> AffinePacking:
    """The packing of an affine map's parameters."""
    return AffinePacking(spec)


def batched(items: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Two by two, the last perhaps alone."""
    return [tuple(items[k : k + 2]) for k in range(0, len(items), 2)]
