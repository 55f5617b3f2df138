"""Where the kernels keep the values of a cell.

A *record* holds one row at one step: a slot of `padded` numbers for every value, states first, then values
that phases hand on, then those kept for the backward pass. Gradients of states and of handed-on values have
slots of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

from ...cells import Cell
from ...cells.cell import PREVIOUS
from .target import TILE_VECTORS


@dataclass(frozen=True, eq=False)
class Slots:
    """The layout that follows from a cell's description.

    Attributes
    ----------
    cell : Cell
        The cell described.
    """

    cell: Cell

    @cached_property
    def handed_on(self) -> tuple[str, ...]:
        """Values that one phase gives to another within a step."""
        return tuple(v for phase in self.cell.phases for v in phase.gives if v not in self.cell.states)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All values, in the order of their slots."""
        return (*self.cell.states, *self.handed_on, *(v for phase in self.cell.phases for v in phase.keeps))

    @property
    def carried(self) -> int:
        """Slots needed when no backward pass follows."""
        return len(self.cell.states) + len(self.handed_on)

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Vectors of hidden units in a panel of each phase: as many as fill a tile."""
        return tuple(max(1, TILE_VECTORS // len(phase.gates)) for phase in self.cell.phases)

    @cached_property
    def vectors(self) -> tuple[int, ...]:
        """Vectors in a panel of each phase: all its gates, for each group of units."""
        return tuple(n * len(phase.gates) for n, phase in zip(self.groups, self.cell.phases, strict=True))

    def place(self, name: str) -> tuple[int, bool]:
        """The slot of a value, and whether it is that of the step before."""
        return self.names.index(name.removesuffix(PREVIOUS)), name.endswith(PREVIOUS)

    def gradient(self, name: str) -> tuple[int, str]:
        """The slot of a value's gradient, and its region: states of the step ``before`` or ``now``, or ``values``."""
        plain = name.removesuffix(PREVIOUS)
        if plain in self.cell.states:
            return self.cell.states.index(plain), "before" if name != plain else "now"
        return self.handed_on.index(plain), "values"

    def overwrites(self, phase: int, name: str | None = None) -> bool:
        """Whether a contribution is the first of a step to reach its place, going backward; later ones add.

        It is that of the value `name` read by `phase`, or, with None, that of the phase's recurrent product.
        """
        target = self.cell.phases[phase].source if name is None else name
        if self.gradient(target)[1] == "now":  # holds what came from outside and from the step after
            return False
        later = self.cell.phases[phase + 1 :]
        if any(target == other.source or target in other.reads for other in later):
            return False
        return name is not None or target not in self.cell.phases[phase].reads


@cache
def slots_of(cell: Cell) -> Slots:
    """The slots of a cell."""
    return Slots(cell)
