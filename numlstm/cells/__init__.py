"""What recurrent cells compute: gates, states, phases, and the gate equations with their derivatives."""

from .cell import Cell, Phase
from .lstm import LSTM

_registry: dict[str, Cell] = {}


def register(cell: Cell) -> Cell:
    """Make `cell` known under its name; a name is given once.

    Raises
    ------
    ValueError
        If another cell has that name.
    """
    if _registry.setdefault(cell.name, cell) is not cell:
        raise ValueError(f"cell {cell.name!r} is registered already")
    return cell


def get(name: str) -> Cell:
    """The cell registered as `name`.

    Raises
    ------
    ValueError
        If there is none; the message names those that there are.
    """
    try:
        return _registry[name]
    except KeyError:
        raise ValueError(f"cell must be one of {sorted(_registry)}, got {name!r}") from None


register(LSTM)

__all__ = ["LSTM", "Cell", "Phase", "get", "register"]
