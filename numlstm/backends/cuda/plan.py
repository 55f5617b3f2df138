"""Plans for a layer's kernels: slices of units, groups of rows, tiles, places in shared memory, tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...cells import Product
from ...cells.cell import NORM
from ...concurrency import cached_property
from ..contract import LayerSpec, UnsupportedError
from . import fragments, tables
from .device import SIMULATED, Device
from .layout import CellLayout, normalised

THREADS = 4 if SIMULATED else 256
TILES = (4,) if SIMULATED else (4, 8, 16, 32, 64)  # rows of a tile
SLICES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 144, 192, 256)  # of the units of a phase
LEAST_CHUNK = 32  # of the length of sums whose sources are in shared memory at once
REGIONS = {"before": tables.BEFORE, "now": tables.NOW, "values": tables.VALUES}
INTEGER = 4  # bytes
CACHE, BETWEEN_TILES, BARRIER, STEPWISE = 24, 1500, 1300, 140_000  # estimates, of which only order matters


def rounded(number: int, unit: int = 4) -> int:
    """The next multiple of `unit`."""
    return -(-number // unit) * unit


@dataclass(frozen=True)
class Plan:
    """A way to share the work of a layer's steps in one direction of time.

    Attributes
    ----------
    slices, groups : int
        Blocks are as many as there are slices of the units, times groups of rows.
    tile : int
        Rows that a block works on at once.
    chunk : int
        Of sums, how much of what is multiplied is in shared memory at once.
    fused : bool
        Whether the kernel makes the products too, with weights in shared memory.
    table : int32 array
        Phases, then products, as `recurrent` names their fields.
    sources, sums, factors : int
        Places in shared memory.
    shared : int
        Bytes of shared memory of a block.
    """

    slices: int
    groups: int
    tile: int
    chunk: int
    fused: bool
    table: np.ndarray
    products: int
    sources: int
    sums: int
    factors: int
    shared: int

    @property
    def blocks(self) -> int:
        """Blocks of a launch."""
        return self.slices * self.groups


@dataclass(frozen=True)
class Matrix:
    """A recurrent product, as the planner sees it.

    Attributes
    ----------
    phase : int
    product : Product
    rows : tuple of int
        Blocks of rows of its weights, one for each gate.
    length : int
        Of its sums.
    columns : int
        Its results for a row.
    """

    phase: int
    product: Product
    rows: tuple[int, ...]
    length: int
    columns: int


@dataclass(frozen=True)
class Unit:
    """The granularity of products: a block's slice, a tile and a chunk are multiples of it.

    Attributes
    ----------
    columns, rows, depth : int
        Columns of weights, rows of the batch, terms of the sums.
    per_word : int
        Numbers in a word.
    across, down : int
        Columns and rows that a thread, or a warp of threads, takes at once.
    threads : int
        Threads that work on these together.
    speed : float
        Multiplications of a multiprocessor in a cycle.
    """

    columns: int
    rows: int
    depth: int
    per_word: int
    across: int
    down: int
    threads: int
    speed: float


PLAIN = Unit(4, 4, 1, 1, 4, 4, 1, 128.0)


def unit_of(kind: str) -> Unit:
    """The unit of products of a kind; the simulator computes all kinds as plain products."""
    if SIMULATED or not kind:
        return PLAIN
    halves = fragments.HALVES[kind]
    return Unit(fragments.ACROSS, fragments.DOWN, fragments.DEPTH[kind], 1 + halves, fragments.ACROSS,
                fragments.DOWN * fragments.BLOCKS, fragments.WARP, 1024.0 if halves else 512.0)  # fmt: skip


class Planner:
    """Makes plans for a layer.

    Parameters
    ----------
    spec : LayerSpec
    layout : CellLayout
    offsets : mapping of str to int
        Where each parameter begins in the flat vector.
    device : Device
    """

    def __init__(self, spec: LayerSpec, layout: CellLayout, offsets: dict[str, int], device: Device) -> None:
        self.spec, self.layout, self.offsets, self.device = spec, layout, offsets, device
        self.cell = layout.cell
        if any(len(phase.gates) > tables.MOST_GATES for phase in self.cell.phases):
            raise UnsupportedError(
                f"cell={self.cell.name!r} is not supported by backend 'cuda': a phase has more than "
                f"{tables.MOST_GATES} gates"
            )
        self.sizes = spec.size("hidden"), spec.size("projected") if dict(spec.options).get("proj_size") else 0
        self.itemsize = np.dtype(spec.dtype).itemsize
        self.unit = unit_of(spec.compute_dtype or "")

    @cached_property
    def matrices(self) -> list[Matrix]:
        """All recurrent products."""
        matrices = []
        for index, phase in enumerate(self.cell.phases):
            for product in self.layout.recurrent(index):
                rows = self.layout.weight_rows(index, product)
                width = self.spec.size(self.cell.source_size(product.source))
                matrices.append(Matrix(index, product, rows, width, len(rows) * self.spec.size(phase.size)))
        return matrices

    def stepwise(self, rows: int) -> Plan:
        """The plan with products outside the kernel."""
        most, tile = self.device.multiprocessors, TILES[0]
        slices = min(-(-self.sizes[0] // THREADS), most)
        groups = min(-(-rows // tile), most // slices)
        return self._plan(slices, groups, tile, LEAST_CHUNK, forward=True, fused=False)

    def best(self, rows: int, *, forward: bool) -> Plan:
        """The plan that should take least time for so many rows."""
        plans = list(self._candidates(rows, forward))
        chosen = min(plans, key=lambda plan: self._cost(plan, rows, forward), default=None)
        if chosen is None or self._cost(chosen, rows, forward) > self._stepwise_cost(rows):
            return self.stepwise(rows)
        return chosen

    def _stepwise_cost(self, rows: int) -> float:
        """Estimated cycles of a step with products outside the kernel: launches, and products at 70 % of the peak."""
        work = sum(rows * matrix.length * matrix.columns for matrix in self.matrices)
        return STEPWISE + work / (0.7 * 128 * self.device.multiprocessors)

    def _candidates(self, rows: int, forward: bool) -> Iterator[Plan]:
        most = self.device.multiprocessors
        for slices in SLICES:
            if slices > most or (slices > 1 and slices > self.sizes[0] // 4):
                break
            for tile in (rows_of_tile for rows_of_tile in TILES if rows_of_tile % self.unit.rows == 0):
                if tile > max(self.unit.rows, 2 * rows):
                    break
                groups = min(most // slices, -(-rows // tile))
                longest = max([self._length(matrix, forward) for matrix in self.matrices], default=1)
                for chunk in sorted({longest, *(2**k for k in range(5, 12) if 2**k < longest)}, reverse=True):
                    plan = self._plan(slices, groups, tile, chunk, forward=forward, fused=True)
                    if plan.shared <= self.device.shared_memory:
                        yield plan
                        break

    def _length(self, matrix: Matrix, forward: bool) -> int:
        return matrix.length if forward else matrix.columns

    def _cost(self, plan: Plan, rows: int, forward: bool) -> float:
        """Cycles of a step, estimated.

        A multiprocessor multiplies so many numbers in a cycle, and reads some `CACHE` bytes of the second-level cache;
        waits that nothing fills lie between a tile and the next, and at a barrier.
        """
        tiles = -(-rows // (plan.groups * plan.tile))
        of_a_block = tiles * plan.tile
        cycles = float(tiles * BETWEEN_TILES + (plan.slices > 1) * BARRIER)
        for matrix in self.matrices:
            length = self._length(matrix, forward)
            width = rounded(-(-(matrix.columns if forward else matrix.length) // plan.slices), self.unit.columns)
            at_once = max(1, width // self.unit.across) * max(1, plan.tile // self.unit.down) * self.unit.threads
            busy = min(1.0, at_once * self._parts(length) / THREADS)
            cycles += of_a_block * width * length / (self.unit.speed * busy)
            cycles += of_a_block * length * self.itemsize / CACHE
        return cycles

    def _parts(self, length: int) -> int:
        """How often the length of sums can be shared."""
        return max(1, min(32, length // (8 * self.unit.depth)))

    def _plan(self, slices: int, groups: int, tile: int, chunk: int, *, forward: bool, fused: bool) -> Plan:
        phases = self._phases(slices, forward)
        products: list[list[int]] = []
        place, most_sums = 0, 0
        for index in range(len(self.cell.phases)):
            row = phases[index]
            row[tables.FIRST_PRODUCT] = len(products)
            for matrix in (matrix for matrix in self.matrices if matrix.phase == index and fused):
                product = self._product(matrix, slices, tile, forward)
                words = rounded(product[tables.LENGTH], self.unit.depth) * product[tables.COLUMNS]
                product[tables.WEIGHTS], place = place, place + rounded(words // self.unit.per_word)
                columns = row[tables.SLICE] * row[tables.GATES] if forward else product[tables.USED]
                most_sums = max(most_sums, product[tables.PARTS] * tile * columns)
                products.append(product)
            row[tables.LAST_PRODUCT] = len(products)
        integers = len(phases) * tables.PHASE_FIELDS + len(products) * tables.PRODUCT_FIELDS
        first = rounded(rounded(integers * INTEGER, 32) // self.itemsize)
        for product in products:
            product[tables.WEIGHTS] += first
        sources = first + place
        sums = sources + (rounded(chunk, self.unit.depth) * tile // self.unit.per_word if fused else 0)
        factors = sums + most_sums
        gates = max((len(phase.gates) for phase in self.cell.phases if phase.norm), default=0)
        end = factors + (THREADS + 3 * tile * gates if gates else 0)
        return Plan(
            slices=slices, groups=groups, tile=tile, chunk=chunk, fused=fused,
            table=np.array([number for row in (*phases, *products) for number in row], np.int32),
            products=len(products), sources=sources, sums=sums, factors=factors, shared=end * self.itemsize,
        )  # fmt: skip

    def _phases(self, slices: int, forward: bool) -> list[list[int]]:
        hidden, projected = self.sizes
        waits = self._waits()
        rows, scales = [], 0
        for index, phase in enumerate(self.cell.phases):
            row = [0] * tables.PHASE_FIELDS
            units, gates = self.spec.size(phase.size), self.layout.gates[index]
            row[tables.UNITS], row[tables.SLICE] = units, rounded(-(-units // slices))
            row[tables.GATES], row[tables.NORM] = len(gates), bool(phase.norm)
            row[tables.ROW] = self.layout.rows[index].number(hidden, projected)
            row[tables.WAITS], row[tables.FIRST_SCALE] = waits[index], scales
            first_unit = self.layout.unit_rows[index].number(hidden, projected)
            row[tables.NORM_UNITS] = first_unit + len(phase.parameters) * units
            if phase.norm:
                first = self.layout.slots[normalised(index, gates[0])]
                row[tables.NORMALISED] = first.number(hidden, projected)
                row[tables.NORM_WEIGHT] = self.offsets[NORM[0]]
                for k, gate in enumerate(gates):
                    row[tables.NORM_BLOCKS + k] = phase.norm[phase.gates.index(gate)]
                scales += len(gates)
            rows.append(row)
        return rows

    @property
    def scales(self) -> int:
        """Factors of normalised gates in a step of a row."""
        return sum(len(phase.norm) for phase in self.cell.phases)

    def _waits(self) -> list[bool]:
        """Whether each phase, in a step after the first, multiplies values written since the last barrier."""
        written: set[str] = set()
        waits: list[bool] = []
        for _ in range(2):
            waits = []
            for index, phase in enumerate(self.cell.phases):
                read = {product.source for product in self.layout.recurrent(index)}
                waits.append(bool(read & written))
                if waits[-1] or phase.norm:  # a normalised phase has a barrier in its midst
                    written = set()
                written |= {*phase.gives}
                for state, value in zip(self.cell.states, self.cell.carried, strict=True):
                    if value in phase.gives:
                        written.add(f"{state}_prev")
        return waits

    def _product(self, matrix: Matrix, slices: int, tile: int, forward: bool) -> list[int]:
        hidden, projected = self.sizes
        index, product = matrix.phase, matrix.product
        row = [0] * tables.PRODUCT_FIELDS
        units = self.spec.size(self.cell.phases[index].size)
        shape = self.spec.shapes[product.weight or ""]
        part = rounded(-(-(units if forward else matrix.length) // slices))
        first = self.layout.first_gate(index, product)
        row[tables.LENGTH] = self._length(matrix, forward)
        row[tables.USED] = part * len(matrix.rows) if forward else part
        row[tables.COLUMNS] = rounded(row[tables.USED], self.unit.columns)
        row[tables.P_UNITS], row[tables.P_SLICE], row[tables.WIDTH] = units, part, matrix.length
        row[tables.OFFSET], row[tables.STEP] = self.offsets[product.weight or ""], shape[1]
        row[tables.COLUMN] = product.column * matrix.length
        if forward:
            row[tables.TARGET] = first
            row[tables.SOURCE] = self.layout.source(product.source).number(hidden, projected)
        else:
            region, place = self.layout.gradient(product.source)
            row[tables.TARGET], row[tables.REGION] = place.number(hidden, projected), REGIONS[region]
            gates = self.layout.rows[index].number(hidden, projected)
            row[tables.SOURCE] = gates + first * units
        at_once = row[tables.COLUMNS] // self.unit.across * -(-tile // self.unit.down) * self.unit.threads
        row[tables.PARTS] = max(1, min(THREADS // at_once, self._parts(row[tables.LENGTH])))
        for k, block in enumerate(matrix.rows):
            row[tables.WEIGHT_ROWS + k] = block
        return row
