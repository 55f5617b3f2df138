"""Where the named parameters of a layer lie in a flat vector, in the order in which tiles read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ....concurrency import cached_property
from ...contract import AffineSpec, LayerSpec
from ..linear.packing import Block, Packing, affine_packing, lanes_for
from .slots import slots_of


@dataclass(frozen=True)
class ProductBlocks:
    """The blocks of a product."""

    source: str
    number: int  # among the products of the phase
    side: int  # number of the gates that it is added to
    weight: Block
    bias: Block | None


@dataclass
class PhaseBlocks:
    """The blocks of a phase."""

    units: int
    panels: int
    groups: int
    gates: int
    lanes: int
    products: list[ProductBlocks] = field(default_factory=list)
    copied: tuple[int, str] | None = None  # number and source of the product without weights, if there is one
    parameters: Block | None = None
    norm: tuple[Block, ...] = ()  # weight and bias

    @property
    def vectors(self) -> int:
        """Vectors that hold its units, padding included."""
        return self.panels * self.groups

    @property
    def columns(self) -> int:
        """Numbers that hold its gates of one row, padding included."""
        return self.vectors * self.gates * self.lanes

    def blocks(self) -> Iterator[Block]:
        """All blocks of the phase."""
        for product in self.products:
            yield product.weight
            yield from [product.bias] if product.bias else []
        yield from (block for block in (self.parameters, *self.norm) if block)


class LayerPacking(Packing):
    """Where the parameters of a recurrent layer are."""

    def __init__(self, spec: LayerSpec) -> None:
        self.spec, self.shapes, self.cell = spec, spec.shapes, spec.description
        self.lanes, self.slots = lanes_for(spec.dtype), slots_of(self.cell)
        self._start = 0
        self.phases = [self._phase(index) for index in range(len(self.cell.phases))]
        self.finish()

    def _phase(self, index: int) -> PhaseBlocks:
        phase, slots = self.cell.phases[index], self.slots
        units, gates, groups = self.spec.size(phase.size), slots.gates[index], slots.groups[index] if phase.gates else 1
        blocks = PhaseBlocks(units, -(-units // (groups * self.lanes)), groups, len(gates), self.lanes)
        for number, product in enumerate(phase.products):
            if product.weight is None:
                blocks.copied = number, product.source
                continue
            order = tuple(gate for gate in gates if gate in product.gates)
            rows = tuple(product.rows[product.gates.index(gate)] for gate in order)
            inputs = self.spec.size(self.cell.source_size(product.source))
            weight = self._block(product.weight, blocks.panels, inputs, groups, units, rows, product.column)
            bias = None
            if product.bias is not None and product.bias in self.shapes:
                bias = self._block(product.bias, blocks.panels, 1, groups, units, rows)
            side = [side.gates for side in slots.sides[index]].index(order)
            blocks.products.append(ProductBlocks(product.source, number, side, weight, bias))
        if phase.parameters:
            (name,) = {name for _, name, _ in phase.parameters}
            rows = tuple(row for _, _, row in phase.parameters)
            blocks.parameters = self._block(name, 1, 1, blocks.vectors, units, rows)
        if phase.norm:
            rows = tuple(phase.norm[phase.gates.index(gate)] for gate in gates)
            blocks.norm = tuple(
                self._block(name, 1, 1, blocks.vectors, units, rows)
                for name in ("layer_norm_weight", "layer_norm_bias")
            )
        return blocks

    def _block(
        self, name: str, panels: int, inputs: int, groups: int, units: int, rows: tuple[int, ...], column: int = 0
    ) -> Block:
        block = Block(name, self._start, panels, inputs, groups, self.lanes, units, rows, column)
        self._start = block.end
        return block

    @cached_property
    def unused(self) -> dict[str, np.ndarray]:
        return {name: ~mask for name, mask in self.spec.used.items() if not mask.all()}

    @cached_property
    def groups(self) -> int:
        """Vectors that hold the units of every phase, padding included."""
        return max(phase.vectors for phase in self.phases)

    @cached_property
    def sums_columns(self) -> int:
        """Numbers that hold the pre-activations of a row in any phase that normalises them; 0 if none does."""
        phases = zip(self.phases, self.cell.phases, strict=True)
        return max((blocks.columns for blocks, phase in phases if phase.norm), default=0)

    @cached_property
    def record_sizes(self) -> tuple[int, int]:
        """Numbers in a record: without the values that are kept for the backward pass, and with them."""
        return self.slots.carried * self.groups * self.lanes, self.factors_at(len(self.phases))

    def factors_at(self, index: int) -> int:
        """Where the factors of a phase are in a record, or its end."""
        return (len(self.slots.names) * self.groups + self.slots.statistics[index]) * self.lanes

    def blocks(self) -> Iterator[Block]:
        for phase in self.phases:
            yield from phase.blocks()


@cache
def layer_packing(spec: LayerSpec) -> LayerPacking:
    """The packing of a recurrent layer's parameters."""
    return LayerPacking(spec)


def packing_of(spec: LayerSpec | AffineSpec) -> Packing:
    """The packing of the parameters of a layer or an affine map."""
    return layer_packing(spec) if isinstance(spec, LayerSpec) else affine_packing(spec)
