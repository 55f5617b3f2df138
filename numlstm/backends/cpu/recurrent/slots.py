"""Where the kernels keep the values of a cell.

A record holds the values of one row at one step, in slots of `padded` numbers: first the values that become states,
then other values that phases give, then those that are kept for the backward pass, then normalised pre-activations.
Behind the slots there is a vector for each normalised pre-activation: the factor that scaled it, in all lanes.
Gradients of states and of other given values have slots of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

from ....cells import Cell, Phase
from ....cells.cell import INPUT, PREVIOUS
from ....concurrency import cached_property
from ..machine.target import TILE_VECTORS

NORMALISED = "normalised "


@dataclass(frozen=True)
class Side:
    """Gates of a phase that the same products are added to; they are neighbours.

    Attributes
    ----------
    gates : tuple of str
    first : int
        The number of the first, of all gates of the phase.
    """

    gates: tuple[str, ...]
    first: int


@dataclass(frozen=True, eq=False)
class Slots:
    """The slots that follow from the description of a cell.

    Attributes
    ----------
    cell : Cell
        The cell described.
    """

    cell: Cell

    @cached_property
    def handed_on(self) -> tuple[str, ...]:
        """Values that one phase gives to another within a step."""
        return tuple(v for phase in self.cell.phases for v in phase.gives if v not in self.cell.carried)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All values, in the order of their slots."""
        kept = (v for phase in self.cell.phases for v in phase.keeps)
        norms = (f"{NORMALISED}{k} {g}" for k, p in enumerate(self.cell.phases) if p.norm for g in self.gates[k])
        return (*self.cell.carried, *self.handed_on, *kept, *norms)

    @property
    def carried(self) -> int:
        """The number of slots, if nothing is kept for the backward pass."""
        return len(self.cell.states) + len(self.handed_on)

    @cached_property
    def statistics(self) -> tuple[int, ...]:
        """For each phase the number of factors before its own in a record, and last the number of all."""
        counts = [0]
        for phase in self.cell.phases:
            counts.append(counts[-1] + len(phase.norm))
        return tuple(counts)

    @cached_property
    def gates(self) -> tuple[tuple[str, ...], ...]:
        """The gates of each phase, in an order in which the gates of any product are neighbours."""
        return tuple(tuple(sorted(phase.gates, key=partial(_membership, phase))) for phase in self.cell.phases)

    @cached_property
    def sides(self) -> tuple[tuple[Side, ...], ...]:
        """The sides of each phase, those of the input first."""
        of_phases = []
        for phase, order in zip(self.cell.phases, self.gates, strict=True):
            sets = {}
            for product in sorted(phase.products, key=lambda product: product.source != INPUT):
                gates = tuple(gate for gate in order if gate in product.gates)
                first = order.index(gates[0])
                assert order[first : first + len(gates)] == gates, "gates of a product are no neighbours"
                sets[gates] = Side(gates, first)
            of_phases.append(tuple(sets.values()))
        return tuple(of_phases)

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Vectors of hidden units in a panel of each phase: as many as fill a tile, if all products have all gates."""
        return tuple(
            max(1, TILE_VECTORS // len(phase.gates)) if len(sides) == 1 else 1
            for phase, sides in zip(self.cell.phases, self.sides, strict=True)
        )

    def place(self, name: str) -> tuple[int, bool]:
        """The slot of a value, and whether it is that of the step before."""
        if name.endswith(PREVIOUS):
            return self.cell.states.index(name.removesuffix(PREVIOUS)), True
        return self.names.index(name), False

    def gradient(self, name: str) -> tuple[int, str]:
        """The slot of a value's gradient, and its region: states of the step ``before`` or ``now``, or ``values``."""
        if name.endswith(PREVIOUS):
            return self.cell.states.index(name.removesuffix(PREVIOUS)), "before"
        if name in self.cell.carried:
            return self.cell.carried.index(name), "now"
        return self.handed_on.index(name), "values"

    @cached_property
    def contributions(self) -> dict[tuple[int, str | int], bool]:
        """Whether each contribution to a gradient is the first to reach its place, and overwrites it.

        A phase contributes to the gradients of the values that it reads (keys are phase and name), then to those of the
        sources of its products (keys are phase and number). It never overwrites gradients of the states of the same
        step: these hold what came from outside, and from the next step.
        """
        reached: set[tuple[int, str]] = set()
        overwrites: dict[tuple[int, str | int], bool] = {}
        for index in reversed(range(len(self.cell.phases))):
            phase = self.cell.phases[index]
            targets: list[tuple[str | int, str]] = [(name, name) for name in phase.reads]
            targets += [(k, product.source) for k, product in enumerate(phase.products) if product.source != INPUT]
            for key, name in targets:
                place = self.gradient(name)
                overwrites[index, key] = place[1] != "now" and place not in reached
                reached.add(place)
        return overwrites


def _membership(phase: Phase, gate: str) -> tuple[int, int]:
    """A sort key of gates: those of the first product alone, then those of all, then those of the last alone."""
    first, last = phase.products[0], phase.products[-1]
    return int(gate in last.gates), -int(gate in first.gates)


@cache
def slots_of(cell: Cell) -> Slots:
    """The slots of a cell."""
    return Slots(cell)
