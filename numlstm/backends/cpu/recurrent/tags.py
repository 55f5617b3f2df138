"""Tags that name a phase of a cell."""

from __future__ import annotations

from functools import cache

from numba import types
from numba.extending import models, register_model

from ....cells import Cell, Phase
from .slots import Slots, slots_of


class PhaseType(types.Opaque):
    """One phase of a cell, known by the cell's fingerprint."""

    def __init__(self, digest: str, index: int) -> None:
        self.digest, self.index = digest, index
        super().__init__(name=f"Phase({digest}, {index})")

    @property
    def slots(self) -> Slots:
        """Where the values of the cell are kept."""
        return slots_of(_cells[self.digest])

    @property
    def phase(self) -> Phase:
        """The description of the phase."""
        return _cells[self.digest].phases[self.index]


_cells: dict[str, Cell] = {}


@cache
def phase_types(cell: Cell) -> tuple[PhaseType, ...]:
    """The tag types of a cell's phases."""
    _cells[cell.digest] = cell
    return tuple(PhaseType(cell.digest, index) for index in range(len(cell.phases)))


register_model(PhaseType)(models.OpaqueModel)
