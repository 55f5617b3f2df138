"""Where kernels find the values of a cell: in records, rows of pre-activations and rows of gradients.

A *record* holds one row at one step: the states before it, values that one phase gives to another, and, if they are
kept for the way back, what phases keep and normalised pre-activations. The states after a step stand in the record of
the row's next step. A *row of pre-activations* holds those of all phases of one row and step; on the way back, their
gradients. Places are sums of so many times H and so many times the length of a projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from ...cells import Cell, Phase, Product
from ...cells.cell import INPUT, PREVIOUS
from ...concurrency import cached_property

HIDDEN, PROJECTED = "hidden", "projected"


class Place(NamedTuple):
    """A place in a record or a row: ``hidden * H + projected * P``."""

    hidden: int
    projected: int

    def __str__(self) -> str:
        terms = [f"{n} * {name}" for n, name in zip(self, (HIDDEN, PROJECTED), strict=True) if n]
        return " + ".join(terms) or "0"

    def after(self, size: str, count: int = 1) -> Place:
        """The place `count` vectors of a size further on."""
        return Place(self.hidden + count * (size == HIDDEN), self.projected + count * (size == PROJECTED))

    def number(self, hidden: int, projected: int) -> int:
        """The place in a layer of these sizes."""
        return self.hidden * hidden + self.projected * projected


START = Place(0, 0)


@dataclass(frozen=True)
class Run:
    """Neighbouring gates whose rows of weights are neighbours too."""

    gate: int
    row: int
    count: int


@dataclass(frozen=True, eq=False)
class CellLayout:
    """The layout that follows from a cell's description.

    Attributes
    ----------
    cell : Cell
        The cell described.
    bias : bool
        Whether products have biases.
    """

    cell: Cell
    bias: bool = True

    # Records ------------------------------------------------------------------------------------------------

    @cached_property
    def handed_on(self) -> tuple[str, ...]:
        """Values that a phase gives to later phases of the step: those that are no states, or that weights multiply."""
        given = [value for phase in self.cell.phases for value in phase.gives]
        multiplied = {product.source for phase in self.cell.phases for product in phase.products if product.weight}
        return tuple(value for value in given if value not in self.cell.carried or value in multiplied)

    @cached_property
    def slots(self) -> dict[str, Place]:
        """The place of every value but states, by name; of normalised pre-activations by `normalised`."""
        return self._slots[0]

    @cached_property
    def states(self) -> tuple[Place, ...]:
        """The place of every state."""
        return self._slots[1]

    @cached_property
    def record(self) -> tuple[Place, Place]:
        """The length of a record: in inference, and with the values that the way back needs."""
        return self._slots[2]

    @cached_property
    def _slots(self) -> tuple[dict[str, Place], tuple[Place, ...], tuple[Place, Place]]:
        end, slots, states = START, {}, []
        for size in self.cell.state_sizes:
            states.append(end)
            end = end.after(size)
        for name in self.handed_on:
            slots[name], end = end, end.after(self.cell.sizes[name])
        short = end
        for index, phase in enumerate(self.cell.phases):
            norms = self.gates[index] if phase.norm else ()
            for name in (*phase.keeps, *(normalised(index, gate) for gate in norms)):
                slots[name], end = end, end.after(phase.size)
        return slots, tuple(states), (short, end)

    # Rows of pre-activations --------------------------------------------------------------------------------

    @cached_property
    def gates(self) -> tuple[tuple[str, ...], ...]:
        """The gates of each phase, in such an order that those of any product are neighbours."""
        return tuple(tuple(sorted(phase.gates, key=partial(_membership, phase))) for phase in self.cell.phases)

    @cached_property
    def rows(self) -> tuple[Place, ...]:
        """The place of each phase in a row of pre-activations; the last is the length of a row."""
        places = [START]
        for phase in self.cell.phases:
            places.append(places[-1].after(phase.size, len(phase.gates)))
        return tuple(places)

    @cached_property
    def unit_rows(self) -> tuple[Place, ...]:
        """Likewise of rows with the gradients of parameters that have one number per unit."""
        places = [START]
        for phase in self.cell.phases:
            places.append(places[-1].after(phase.size, len(phase.parameters) + 2 * len(phase.norm)))
        return tuple(places)

    def first_gate(self, phase: int, product: Product) -> int:
        """The number, among the gates of a phase, of the first that a product is added to."""
        places = sorted(self.gates[phase].index(gate) for gate in product.gates)
        assert places == list(range(places[0], places[0] + len(places))), "gates of a product are no neighbours"
        return places[0]

    def weight_rows(self, phase: int, product: Product) -> tuple[int, ...]:
        """The block of rows of each of a product's gates, in the order of the phase's gates."""
        rows = dict(zip(product.gates, product.rows, strict=True))
        return tuple(rows[gate] for gate in self.gates[phase] if gate in rows)

    def runs(self, phase: int, product: Product) -> list[Run]:
        """The gates of a product, in parts that are one matrix."""
        runs: list[Run] = []
        first = self.first_gate(phase, product)
        for k, row in enumerate(self.weight_rows(phase, product)):
            last = runs[-1] if runs else None
            if last and row == last.row + last.count:
                runs[-1] = Run(last.gate, last.row, last.count + 1)
            else:
                runs.append(Run(first + k, row, 1))
        return runs

    # Rows of gradients --------------------------------------------------------------------------------------

    @cached_property
    def state_row(self) -> Place:
        """The length of all states of a row, and of each of the two regions of their gradients."""
        end = START
        for size in self.cell.state_sizes:
            end = end.after(size)
        return end

    @cached_property
    def value_gradients(self) -> dict[str, Place]:
        """The places of gradients of values that are no states; they follow the two regions of states."""
        places, end = {}, Place(2 * self.state_row.hidden, 2 * self.state_row.projected)
        for name in self.handed_on:
            if name not in self.cell.carried:
                places[name], end = end, end.after(self.cell.sizes[name])
        return places

    @cached_property
    def gradient_row(self) -> Place:
        """The length of a row of gradients."""
        end = Place(2 * self.state_row.hidden, 2 * self.state_row.projected)
        for name in self.value_gradients:
            end = end.after(self.cell.sizes[name])
        return end

    def gradient(self, name: str) -> tuple[str, Place]:
        """The region of a value's gradient, ``before``, ``now`` or ``values``, and its place there."""
        if name.endswith(PREVIOUS):
            return "before", self.states[self.cell.states.index(name.removesuffix(PREVIOUS))]
        if name in self.cell.carried:
            return "now", self.states[self.cell.carried.index(name)]
        return "values", self.value_gradients[name]

    # Products -----------------------------------------------------------------------------------------------

    def recurrent(self, phase: int) -> list[Product]:
        """The products of a phase that do not multiply the input."""
        return [product for product in self.cell.phases[phase].products if product.weight and product.source != INPUT]

    def of_input(self, phase: int) -> list[Product]:
        """The products of a phase with the input."""
        return [product for product in self.cell.phases[phase].products if product.weight and product.source == INPUT]

    def as_they_are(self, phase: int) -> list[Product]:
        """Vectors that are added to pre-activations of a phase."""
        return [product for product in self.cell.phases[phase].products if not product.weight]

    def source(self, name: str) -> Place:
        """The place in a record of a vector that weights multiply."""
        if name.endswith(PREVIOUS):
            return self.states[self.cell.states.index(name.removesuffix(PREVIOUS))]
        return self.slots[name]


def normalised(phase: int, gate: str) -> str:
    """The name of a gate's normalised pre-activation."""
    return f"normalised {phase} {gate}"


def _membership(phase: Phase, gate: str) -> tuple[int, int]:
    """Where a gate stands in a phase: those of the first product only, then those of all, then those of the last."""
    first, last = phase.products[0], phase.products[-1]
    return int(gate in last.gates), -int(gate in first.gates)


@cache
def layout_of(digest: str) -> CellLayout:
    """The layout of the cell of a fingerprint, which `register` must have seen."""
    return CellLayout(*_cells[digest])


_cells: dict[str, tuple[Cell, bool]] = {}


def register(cell: Cell, bias: bool = True) -> str:
    """The fingerprint of a cell, with or without biases, by which kernels know it."""
    digest = cell.digest if bias else f"{cell.digest} without biases"
    _cells[digest] = cell, bias
    return digest
