"""Named parameters to and from the order in which tiles read them.

A panel of a phase holds `groups` vectors of hidden units, each with all gates side by side:
``(panels, K, groups, gates, lanes)``, K being the inputs of a product. Padding units are zero, and stay so:
their gradients are zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from ... import cells
from ..contract import AffineSpec, LayerSpec
from .slots import Slots, slots_of
from .target import TILE_VECTORS, target


def lanes_for(dtype: str) -> int:
    """Numbers of a dtype in a vector register."""
    return target().lanes(8 * np.dtype(dtype).itemsize)


@dataclass(frozen=True)
class Block:
    """One packed parameter of one phase, inside the flat vector."""

    name: str
    start: int
    panels: int
    inputs: int
    groups: int
    gates: int
    lanes: int
    units: int
    rows: slice  # in the named parameter

    @property
    def size(self) -> int:
        """Numbers in the block, padding included."""
        return self.panels * self.inputs * self.columns

    @property
    def columns(self) -> int:
        """Numbers in one row of a panel."""
        return self.groups * self.gates * self.lanes

    def view(self, flat: np.ndarray) -> np.ndarray:
        """The block as (panels, inputs, groups, gates, lanes)."""
        shape = (self.panels, self.inputs, self.groups, self.gates, self.lanes)
        return flat[self.start : self.start + self.size].reshape(shape)

    def write(self, flat: np.ndarray, parameter: np.ndarray) -> None:
        """Pack the phase's rows of a named parameter."""
        padded_units = self.panels * self.groups * self.lanes
        rows = np.zeros((self.gates, padded_units, self.inputs), flat.dtype)
        rows[:, : self.units] = parameter[self.rows].reshape(self.gates, self.units, self.inputs)
        rows = rows.reshape(self.gates, self.panels, self.groups, self.lanes, self.inputs)
        self.view(flat)[...] = rows.transpose(1, 4, 2, 0, 3)

    def read(self, flat: np.ndarray, parameter: np.ndarray) -> None:
        """Unpack into the phase's rows of a named parameter."""
        rows = self.view(flat).transpose(3, 0, 2, 4, 1).reshape(self.gates, -1, self.inputs)
        parameter[self.rows] = rows[:, : self.units].reshape(parameter[self.rows].shape)


class Packing:
    """Blocks of parameters one behind the other in a flat vector."""

    size: int
    shapes: Mapping[str, tuple[int, ...]]

    def blocks(self) -> Iterator[Block]:
        """All blocks, in order."""
        raise NotImplementedError

    def pack(self, parameters: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        """Write named parameters to `flat`."""
        for block in self.blocks():
            block.write(flat, np.asarray(parameters[block.name]))

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Named parameters (or their gradients) from `flat`."""
        parameters = {name: np.empty(shape, flat.dtype) for name, shape in self.shapes.items()}
        for block in self.blocks():
            block.read(flat, parameters[block.name])
        return parameters


@dataclass(frozen=True)
class PhaseBlocks:
    """The packed parameters of one phase."""

    w: Block
    r: Block
    biases: tuple[Block, ...]


class LayerPacking(Packing):
    """Where a recurrent layer's parameters are."""

    def __init__(self, spec: LayerSpec) -> None:
        self.spec, self.shapes = spec, spec.shapes
        self.cell = cells.get(spec.cell)
        self.lanes = lanes_for(spec.dtype)
        self.phases: list[PhaseBlocks] = []
        start = gate = 0
        for phase, groups in zip(self.cell.phases, self.slots.groups, strict=True):
            count, units = len(phase.gates), spec.hidden_size
            panels = -(-units // (groups * self.lanes))
            rows = slice(gate * units, (gate + count) * units)

            def block(name, inputs, start, layout=(panels, groups, count, rows)):
                panels, groups, count, rows = layout
                return Block(name, start, panels, inputs, groups, count, self.lanes, spec.hidden_size, rows)

            w = block("weight_ih", spec.input_size, start)
            r = block("weight_hh", units, w.start + w.size)
            start, biases = r.start + r.size, []
            for name in ("bias_ih", "bias_hh") if spec.bias else ():
                biases.append(block(name, 1, start))
                start += biases[-1].size
            self.phases.append(PhaseBlocks(w, r, tuple(biases)))
            gate += count
        self.size = start

    @property
    def slots(self) -> Slots:
        """The slots of the cell."""
        return slots_of(self.cell)

    @cached_property
    def groups(self) -> int:
        """Vectors that hold the hidden units of every phase, padding included."""
        return max(p.w.panels * p.w.groups for p in self.phases)

    @cached_property
    def columns(self) -> int:
        """Gate gradients of a row, padding included, over all phases."""
        return sum(p.w.panels * p.w.columns for p in self.phases)

    def blocks(self) -> Iterator[Block]:
        for phase in self.phases:
            yield from (phase.w, phase.r, *phase.biases)


class AffinePacking(Packing):
    """Where an affine map's parameters are: as a phase with one gate, a tile's width of outputs in a panel."""

    def __init__(self, spec: AffineSpec) -> None:
        self.spec, self.shapes = spec, spec.shapes
        lanes, outputs = lanes_for(spec.dtype), spec.output_size
        panels = -(-outputs // (TILE_VECTORS * lanes))

        def block(name, inputs, start):
            return Block(name, start, panels, inputs, TILE_VECTORS, 1, lanes, outputs, slice(0, outputs))

        self.weight = block("weight", spec.input_size, 0)
        self.bias = block("bias", 1, self.weight.size)
        self.size = self.weight.size + self.bias.size

    def blocks(self) -> Iterator[Block]:
        yield from (self.weight, self.bias)


@cache
def layer_packing(spec: LayerSpec) -> LayerPacking:
    """The packing of a recurrent layer's parameters."""
    return LayerPacking(spec)


@cache
def affine_packing(spec: AffineSpec) -> AffinePacking:
    """The packing of an affine map's parameters."""
    return AffinePacking(spec)


def packing_of(spec: LayerSpec | AffineSpec) -> Packing:
    """The packing of the parameters of either."""
    return layer_packing(spec) if isinstance(spec, LayerSpec) else affine_packing(spec)
