"""The tables that tell kernels of a layer: its phases, products, and where all that they need is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....cells.cell import INPUT
from ..linear.halves import half_product_address, pairs
from ..linear.packing import Block
from ..linear.tile import product_address, product_heights
from ..machine.arrays import address_of
from .arguments import BACK, PHASE, SIDE, SOURCE, TILE
from .equations import phase_backward, phase_forward
from .forward import SCRATCH_BYTES
from .norm import norm_forward
from .packing import PhaseBlocks
from .slots import NORMALISED
from .weights import LayerWeights

BLOCK_ROWS = 24  # whose pre-activations of a panel wait for the equations together: chains of operations overlap
REGIONS = {"before": 0, "now": 1, "values": 2}

Memory = Callable[[str, tuple[int, ...]], np.ndarray]


class ForwardTables:
    """The tables of phases, tiles and sources."""

    def __init__(self, weights: LayerWeights) -> None:
        self.weights, packing = weights, weights.packing
        self.start = address_of(weights.flat)
        self.size = weights.flat.itemsize
        self.tiles: list[tuple[int, ...]] = []
        self.sources: list[tuple[int, ...]] = []
        self.phases = np.zeros(len(packing.phases), PHASE)
        for index, phase in enumerate(packing.phases):
            self._phase(self.phases[index], index, phase)
        norm = norm_forward.address(weights.entries[0]) if packing.sums_columns else 0
        self.arguments = (
            weights.real, self.phases, np.array(self.tiles, TILE), np.array(self.sources, SOURCE),
            address_of(weights.constants), norm,
        )  # fmt: skip

    def _phase(self, row: Any, index: int, blocks: PhaseBlocks) -> None:
        """Fill the row of a phase."""
        packing, weights = self.weights.packing, self.weights
        slots = packing.slots
        real, tags = weights.entries
        row["forward"] = phase_forward.address(real, tags[index])
        row["gates"], row["groups"], row["panels"] = blocks.gates, blocks.groups, blocks.panels
        row["units"] = blocks.units
        row["tile_row"] = blocks.groups * blocks.gates * weights.vector
        row["bias"] = address_of(weights.biases[index])
        row["copied_slot"] = -1
        row["first_tile"], row["first_source"] = len(self.tiles), len(self.sources)
        numbers = {INPUT: 0}
        for each in blocks.products:
            if each.source not in numbers:
                slot, previous = slots.place(each.source)
                self.sources.append((slot, not previous, each.weight.inputs))
                numbers[each.source] = len(self.sources)
        if blocks.copied:
            slot, previous = slots.place(blocks.copied[1])
            row["copied_slot"], row["copied_now"] = slot, not previous
        heights: set[int] = set()  # that all tiles have
        for number, side in enumerate(slots.sides[index]):
            vectors = blocks.groups * len(side.gates)
            terms = []
            for each in blocks.products:
                if each.side == number:
                    at, count = self._weight(each.weight)
                    terms.append((at, count * each.weight.columns * self.size, numbers[each.source], count))
            for pair in batched(terms):
                tile = (half_product_address if weights.halves else product_address)(weights.real, vectors)
                nothing = (pair[0][0], 0, pair[0][2], 0)
                second = pair[1] if len(pair) > 1 else nothing
                self.tiles.append((tile, side.first * weights.vector, *pair[0], *second))
                heights = {*product_heights(vectors)} & (heights or {*product_heights(vectors)})
        row["tallest"] = tallest = max(heights or [1])
        row["block"] = max(1, min(BLOCK_ROWS, SCRATCH_BYTES // int(row["tile_row"] or 1)) // tallest) * tallest
        row["last_tile"], row["last_source"] = len(self.tiles), len(self.sources)
        if blocks.parameters:
            row["parameters"] = self.start + blocks.parameters.start * self.size
        if blocks.norm:
            row["norm_weight"], row["norm_bias"] = (self.start + block.start * self.size for block in blocks.norm)
            row["norm_slot"] = slots.names.index(f"{NORMALISED}{index} {slots.gates[index][0]}")
            row["norm_factors"] = packing.factors_at(index) * self.size

    def _weight(self, block: Block) -> tuple[int, int]:
        """Where the weights of a product are, and the length of its sums."""
        if self.weights.halves:
            return address_of(self.weights.halves[block]), pairs(block.inputs)
        return self.start + block.start * self.size, block.inputs


class BackwardTables:
    """The tables of phases, sides and products for the way back, and the memory that they tell of.

    Parameters
    ----------
    weights : LayerWeights
    tables : ForwardTables
        Of these weights.
    memory : callable
        ``memory(name, shape)`` gives an array to work in.
    rows, room : int
        N, and the (step, row) pairs of a chunk.
    xs : int64 array, shape (room,)
        Where addresses of rows of x are written.
    """

    def __init__(
        self, weights: LayerWeights, tables: ForwardTables, memory: Memory, rows: int, room: int, xs: np.ndarray
    ) -> None:
        self.weights, self.memory, self.rows, self.room, self.xs = weights, memory, rows, room, xs
        packing = weights.packing
        self.phases = tables.phases.copy()
        self.sources: dict[tuple[int, str], np.ndarray] = {}
        self.parts: list[list[tuple[Block, np.ndarray]]] = []
        self.copies: list[list[np.ndarray]] = []
        offsets, columns = self._offsets()
        self.gates = memory("gates", (rows, columns))
        sides: list[tuple[int, ...]] = []
        backs: list[tuple[int, ...]] = []
        for index, blocks in enumerate(packing.phases):
            self._phase(index, blocks, offsets, sides, backs)
        self.sides, self.backs = np.array(sides, SIDE), np.array(backs, BACK)

    def _offsets(self) -> tuple[dict[tuple[int, int], int], int]:
        """Where each side's gradients are in a row, those with the input first; and the length of the row."""
        offsets, end = {}, 0
        packing = self.weights.packing
        sides = [
            (index, number, side)
            for index, phase in enumerate(packing.slots.sides) for number, side in enumerate(phase)
        ]  # fmt: skip

        def with_input(index: int, number: int) -> bool:
            return any(each.side == number and each.source == INPUT for each in packing.phases[index].products)

        self.input_columns = 0
        for index, number, side in sorted(sides, key=lambda each: not with_input(*each[:2])):
            offsets[index, number] = end
            end += packing.phases[index].vectors * len(side.gates) * packing.lanes
            if with_input(index, number):
                self.input_columns = end
        return offsets, end

    def _phase(self, index: int, blocks: PhaseBlocks, offsets: dict[tuple[int, int], int],
               sides: list[tuple[int, ...]], backs: list[tuple[int, ...]]) -> None:  # fmt: skip
        weights, row = self.weights, self.phases[index]
        packing, size = weights.packing, weights.flat.itemsize
        slots = packing.slots
        real, tags = weights.entries
        row["backward"] = phase_backward.address(real, tags[index])
        row["first_side"], row["sides"] = len(sides), len(slots.sides[index])
        self.copies.append([])
        for number, side in enumerate(slots.sides[index]):
            width_numbers = blocks.groups * len(side.gates) * packing.lanes
            copies = self.memory(f"copies {index} {number}", (blocks.panels, self.room, width_numbers))
            self.copies[-1].append(copies)
            place = address_of(self.gates) + offsets[index, number] * size
            sides.append((place, self.gates.strides[0], address_of(copies), *copies.strides[:2], side.first,
                          len(side.gates), 0))  # fmt: skip
        row["first_back"] = len(backs)
        if blocks.copied:
            number, name = blocks.copied
            backs.append((0, 0, 0, blocks.units, *self._target(index, number, name), 0, 0, 0))
        for each in blocks.products:
            if each.source == INPUT:
                self.sources[index, INPUT] = self.xs
                continue
            self.sources[index, each.source] = sources = np.empty(self.room, np.int64)
            slot, previous = slots.place(each.source)
            turned = weights.recurrent_turned[each.weight]
            columns = blocks.vectors * len(slots.sides[index][each.side].gates) * packing.lanes
            count = min(packing.groups * packing.lanes, turned.array.shape[0] * turned.array.shape[2])
            backs.append(
                (
                    offsets[index, each.side] * size, columns, turned.address, count,
                    *self._target(index, each.number, each.source), address_of(sources), slot, not previous,
                )
            )  # fmt: skip
        row["last_back"] = len(backs)
        self._unit_gradients(index, blocks, row)

    def _target(self, index: int, number: int, source: str) -> tuple[int, int, bool]:
        """Region and slot of a source's gradient, and whether that of this product is the first to get there."""
        slots = self.weights.packing.slots
        slot, region = slots.gradient(source)
        return REGIONS[region], slot, slots.contributions[index, number]

    def _unit_gradients(self, index: int, blocks: PhaseBlocks, row: Any) -> None:
        """Room for the gradients of parameters with one number per unit, of every row and step of a chunk."""
        self.parts.append([])
        names = "dparameters", "dnorm_weight", "dnorm_bias"
        for name, block in zip(names, (blocks.parameters, *(blocks.norm or (None, None))), strict=True):
            if block:
                parts = self.memory(f"{name} {index}", (self.room, block.size))
                self.parts[-1].append((block, parts))
                row[name] = address_of(parts)
                row["dparameters_row" if name == "dparameters" else "dnorm_row"] = parts.strides[0]


def batched(items: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Two by two, the last perhaps alone."""
    return [tuple(items[k : k + 2]) for k in range(0, len(items), 2)]
