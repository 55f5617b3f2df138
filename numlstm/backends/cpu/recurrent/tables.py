"""The tables that tell kernels of a layer: its phases and products, and where everything they need is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....cells.cell import INPUT
from ..linear.packing import Block, batched
from ..linear.tile import lookup_address, product_address, product_heights
from ..linear.transposed import TransposedWeights
from ..machine.arrays import address_of, aligned, integers, odd_lines
from .arguments import (
    BACK,
    PHASE,
    SIDE,
    SOURCE,
    TILE,
    BackEntry,
    ForwardLayer,
    SideEntry,
    SourceEntry,
    TileEntry,
)
from .equations import phase_backward, phase_forward
from .forward import SCRATCH_BYTES
from .norm import norm_forward
from .packing import PhaseBlocks, ProductBlocks
from .slots import NORMALISED
from .weights import LayerWeights, Transposes

BLOCK_ROWS = 24  # rows that equations take together, so that their chains of operations overlap
REGIONS = {"before": 0, "now": 1, "values": 2, "x": 3}

Allocate = Callable[[str, tuple[int, ...]], np.ndarray]


class ForwardTables:
    """The tables of phases, tiles and sources, and the `ForwardLayer` that follows from them.

    Parameters
    ----------
    weights : LayerWeights
    products : mapping of Block to array of shape (panels, rows, columns), or None
        Where inputs are looked up: the products of the input weights with all rows of the table.
    """

    def __init__(self, weights: LayerWeights, products: Mapping[Block, np.ndarray] | None = None) -> None:
        self.weights, self.products, packing = weights, products, weights.packing
        self.start = address_of(weights.flat)
        self.size = weights.flat.itemsize
        tiles: list[TileEntry] = []
        sources: list[SourceEntry] = []
        self.phases = np.zeros(len(packing.phases), PHASE)
        self.ahead = 0  # bytes of a row of `Ahead.sums`
        for index, phase in enumerate(packing.phases):
            self._phase(self.phases[index], index, phase, tiles, sources)
        self.tiles, self.sources = np.array(tiles, TILE), np.array(sources, SOURCE)
        self.constants = address_of(weights.constants)
        self.arguments = integers(
            ForwardLayer(
                phases=address_of(self.phases), phase_count=len(self.phases), tiles=address_of(self.tiles),
                sources=address_of(self.sources), source_count=len(self.sources), constants=self.constants,
                norm=norm_forward.address(weights.types[0]) if packing.sums_columns else 0,
                states=len(packing.cell.states),
            )
        )  # fmt: skip

    def _phase(
        self, row: Any, index: int, blocks: PhaseBlocks, tiles: list[TileEntry], sources: list[SourceEntry]
    ) -> None:
        """Fill the row of a phase, and append its tiles and sources."""
        weights, slots = self.weights, self.weights.packing.slots
        real, tags = weights.types
        row["forward"] = phase_forward.address(real, tags[index])
        row["gates"], row["groups"], row["panels"] = blocks.gates, blocks.groups, blocks.panels
        row["units"] = blocks.units
        row["tile_row"] = blocks.groups * blocks.gates * weights.vector
        row["bias"] = address_of(weights.biases[index])
        row["ahead"] = -1
        if any(product.source == INPUT for product in blocks.products):
            row["ahead"], self.ahead = self.ahead, self.ahead + blocks.panels * int(row["tile_row"])
        row["copied_slot"] = -1
        if blocks.copied:
            slot, previous = slots.place(blocks.copied[1])
            row["copied_slot"], row["copied_now"] = slot, not previous
        row["first_source"] = len(sources)
        numbers = self._sources(blocks, sources)
        row["last_source"] = len(sources)
        row["first_tile"] = len(tiles)
        row["tallest"] = tallest = self._tiles(index, blocks, numbers, tiles)
        row["last_tile"] = len(tiles)
        row["block"] = max(1, min(BLOCK_ROWS, SCRATCH_BYTES // int(row["tile_row"] or 1)) // tallest) * tallest
        self._parameters(row, index, blocks)

    def _sources(self, blocks: PhaseBlocks, sources: list[SourceEntry]) -> dict[str, int]:
        """Append the vectors that weights multiply; the number of each one's addresses, x having 0."""
        numbers = {INPUT: 0}
        for product in blocks.products:
            if product.source not in numbers:
                slot, previous = self.weights.packing.slots.place(product.source)
                sources.append(SourceEntry(slot=slot, now=int(not previous), numbers=product.weight.inputs))
                numbers[product.source] = len(sources)
        return numbers

    def _tiles(self, index: int, blocks: PhaseBlocks, numbers: dict[str, int], tiles: list[TileEntry]) -> int:
        """Append the products, two by two; the tallest height that all their tiles have."""
        weights, heights = self.weights, None
        for number, side in enumerate(weights.packing.slots.sides[index]):
            vectors = blocks.groups * len(side.gates)
            of_side = [product for product in blocks.products if product.side == number]
            for pair in batched(sorted(of_side, key=lambda product: product.source != INPUT)):
                (w, w_panel, a_count), (v, v_panel, b_count) = self._weight(pair[0]), self._weight(pair[-1])
                tiles.append(
                    TileEntry(
                        tile=self._machine_code(pair[0])(weights.real, vectors), offset=side.first * weights.vector,
                        w=w, w_panel=w_panel, a=numbers[pair[0].source], a_count=a_count,
                        v=v, v_panel=v_panel, b=numbers[pair[-1].source], b_count=b_count if len(pair) > 1 else 0,
                    )
                )  # fmt: skip
                heights = {*product_heights(vectors)} & (heights or {*product_heights(vectors)})
        return max(heights or [1])

    def _machine_code(self, first: ProductBlocks) -> Callable[[Any, int], int]:
        """What gives the address of tiles of a width, whose first product is `first`."""
        if self.weights.kind:
            return self.weights.kind.tile_address
        return lookup_address if self.products and first.source == INPUT else product_address

    def _weight(self, product: ProductBlocks) -> tuple[int, int, int]:
        """Where the weights of a product are, the bytes to the next panel, and the length of its sums."""
        block, kind = product.weight, self.weights.kind
        if self.products and product.source == INPUT:
            return address_of(self.products[block]), self.products[block].strides[0], 1
        if kind:
            words = self.weights.narrow[block]
            return address_of(words), words.strides[0], kind.words(block.inputs)
        return self.start + block.start * self.size, block.inputs * block.columns * self.size, block.inputs

    def _parameters(self, row: Any, index: int, blocks: PhaseBlocks) -> None:
        """Fill in where the parameters with one number per unit are."""
        packing = self.weights.packing
        if blocks.parameters:
            row["parameters"] = self.start + blocks.parameters.start * self.size
        if blocks.norm:
            row["norm_weight"], row["norm_bias"] = (self.start + block.start * self.size for block in blocks.norm)
            row["norm_slot"] = packing.slots.names.index(f"{NORMALISED}{index} {packing.slots.gates[index][0]}")
            row["norm_factors"] = packing.factors_at(index) * self.size


class BackwardTables:
    """The tables of phases, sides and products for the way back, and the memory that they refer to.

    Parameters
    ----------
    weights : LayerWeights
    transposes : Transposes
        Of these weights.
    tables : ForwardTables
        Of these weights, too.
    allocate : callable
        ``allocate(name, shape)`` gives an array to work in.
    rows, room : int
        N, and the (step, row) pairs of a chunk.
    xs : int64 array, shape (room,)
        Where addresses of rows of x are written.
    """

    def __init__(
        self, weights: LayerWeights, transposes: Transposes, tables: ForwardTables, allocate: Allocate, rows: int,
        room: int, xs: np.ndarray,
    ) -> None:  # fmt: skip
        self.weights, self.transposes, self.allocate = weights, transposes, allocate
        self.rows, self.room, self.xs = rows, room, xs
        packing = weights.packing
        self.phases = tables.phases.copy()
        self.sources: dict[tuple[int, str], np.ndarray] = {}
        self.unit_gradients: list[list[tuple[Block, np.ndarray]]] = []
        offsets, columns = self._offsets()
        size = weights.flat.itemsize
        self.gates = allocate("gates", (room, odd_lines(columns * size) // size))
        sides: list[SideEntry] = []
        backs: list[BackEntry] = []
        for index, blocks in enumerate(packing.phases):
            self._phase(index, blocks, offsets, sides, backs)
        self.first_dx = len(backs)
        backs += self._parts(
            transposes.input, packing.spec.input_size, gates=0, region=REGIONS["x"], slot=0, overwrites=1
        )
        self.sides, self.backs = np.array(sides, SIDE), np.array(backs, BACK)

    def _offsets(self) -> tuple[dict[tuple[int, int], int], int]:
        """The places of the gradients of all sides in a row, those of the input first; and the length of the row."""
        offsets, end = {}, 0
        packing = self.weights.packing
        sides = [
            (index, number, side)
            for index, phase in enumerate(packing.slots.sides) for number, side in enumerate(phase)
        ]  # fmt: skip

        def with_input(index: int, number: int) -> bool:
            products = packing.phases[index].products
            return any(product.side == number and product.source == INPUT for product in products)

        self.input_columns = 0
        for index, number, side in sorted(sides, key=lambda side: not with_input(*side[:2])):
            offsets[index, number] = end
            end += packing.phases[index].vectors * len(side.gates) * packing.lanes
            if with_input(index, number):
                self.input_columns = end
        return offsets, end

    def _phase(
        self, index: int, blocks: PhaseBlocks, offsets: dict[tuple[int, int], int], sides: list[SideEntry],
        backs: list[BackEntry],
    ) -> None:  # fmt: skip
        """Fill the row of a phase, and append its sides and the way back to its sources."""
        weights, row = self.weights, self.phases[index]
        real, tags = weights.types
        row["backward"] = phase_backward.address(real, tags[index])
        row["first_side"], row["sides"] = len(sides), len(weights.packing.slots.sides[index])
        self._sides(index, offsets, sides)
        row["first_back"] = len(backs)
        if blocks.copied:
            number, name = blocks.copied
            region, slot, overwrites = self._target(index, number, name)
            backs.append(
                BackEntry(
                    gates=0, columns=0, weights=0, panels=0, vectors=0, tile=0, tallest=0, offset=0,
                    numbers=blocks.units, region=region, slot=slot, overwrites=overwrites, sources=0, source_slot=0,
                    source_now=0,
                )
            )  # fmt: skip
        for product in blocks.products:
            if product.source == INPUT:
                self.sources[index, INPUT] = self.xs
            else:
                backs += self._back(index, product, offsets[index, product.side])
        row["last_back"] = len(backs)
        self._unit_gradients(index, blocks, row)

    def _sides(self, index: int, offsets: dict[tuple[int, int], int], sides: list[SideEntry]) -> None:
        """Append the sides of a phase."""
        for number, side in enumerate(self.weights.packing.slots.sides[index]):
            address = address_of(self.gates) + offsets[index, number] * self.gates.itemsize
            sides.append(SideEntry(address=address, row=self.gates.strides[0], first=side.first, gates=len(side.gates)))

    def _back(self, index: int, product: ProductBlocks, offset: int) -> list[BackEntry]:
        """The way back through the weights of a product."""
        self.sources[index, product.source] = sources = aligned(self.room, np.int64)
        source_slot, previous = self.weights.packing.slots.place(product.source)
        region, slot, overwrites = self._target(index, product.number, product.source)
        first, *others = self._parts(
            self.transposes.recurrent[product.weight], product.weight.inputs,
            gates=offset * self.gates.itemsize, region=region, slot=slot, overwrites=overwrites,
        )  # fmt: skip
        first = first._replace(sources=address_of(sources), source_slot=source_slot, source_now=int(not previous))
        return [first, *others]

    def _parts(self, transposed: TransposedWeights, count: int, **target: int) -> list[BackEntry]:
        """The way back to a vector of `count` numbers: an entry for each width of panels."""
        real, entries = self.weights.real, []
        tile_address = transposed.kind.tile_address if transposed.kind else product_address
        for array, factors, first in transposed.panels:
            panels, columns, numbers = factors.shape
            vectors = numbers // self.weights.packing.lanes
            entries.append(
                BackEntry(
                    columns=columns, weights=address_of(factors), panels=panels, vectors=vectors,
                    tile=tile_address(real, vectors), tallest=product_heights(vectors)[0],
                    offset=first * array.itemsize, numbers=min(count - first, panels * numbers),
                    sources=0, source_slot=0, source_now=0, **target,
                )
            )  # fmt: skip
        return entries

    def _target(self, index: int, number: int, source: str) -> tuple[int, int, int]:
        """Region and slot of the gradient of a source, and whether this product is the first to reach it."""
        slots = self.weights.packing.slots
        slot, region = slots.gradient(source)
        return REGIONS[region], slot, int(slots.contributions[index, number])

    def _unit_gradients(self, index: int, blocks: PhaseBlocks, row: Any) -> None:
        """Allocate the gradients of parameters with one number per unit, of every pair of a chunk."""
        self.unit_gradients.append([])
        names = "dparameters", "dnorm_weight", "dnorm_bias"
        for name, block in zip(names, (blocks.parameters, *(blocks.norm or (None, None))), strict=True):
            if block:
                gradients = self.allocate(f"{name} {index}", (self.room, block.size))
                self.unit_gradients[-1].append((block, gradients))
                row[name] = address_of(gradients)
                row["dparameters_row" if name == "dparameters" else "dnorm_row"] = gradients.strides[0]
