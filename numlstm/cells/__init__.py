"""What recurrent cells compute: gates, states, phases, and the gate equations with their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from . import gru, lstm, rnn
from .activations import ACTIVATIONS
from .cell import Cell, Mask, Parameter, Phase, Product
from .derived import normalised, with_recurrent_dropout, with_zoneout

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Family:
    """Cells that share a name.

    Attributes
    ----------
    options : mapping of str to value
        The options of the cells, with defaults.
    build : callable
        ``build(options, layer_norm=, candidate_dropout=) -> Cell``, with a value for every option. A cell that does not
        normalise itself is normalised by `describe`. A cell without a place for dropout raises `ValueError`.
    """

    options: Mapping[str, Any]
    build: Callable[..., Cell]


_registry: dict[str, Family] = {}


def register(name: str, family: Family | Cell) -> None:
    """Register cells by a name that no other cells have; a single `Cell` has no options.

    Raises
    ------
    ValueError
        If other cells have that name.
    """
    if isinstance(family, Cell):
        family = Family({}, _Single(family))
    if _registry.setdefault(name, family) != family:
        raise ValueError(f"cell {name!r} is registered already: choose another name")


@dataclass(frozen=True)
class _Single:
    """A family of one."""

    cell: Cell

    def __call__(self, options: Mapping[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
        if candidate_dropout:
            raise ValueError(f"cell {self.cell.name!r} has no place for candidate_dropout: set it to 0")
        return self.cell


def get(name: str) -> Family:
    """The cells registered as `name`.

    Raises
    ------
    ValueError
        If there are none; the message lists all names.
    """
    try:
        return _registry[name]
    except KeyError:
        raise ValueError(f"cell must be one of {sorted(_registry)}, got {name!r}") from None


@cache
def describe(
    name: str,
    options: Options = (),
    *,
    layer_norm: bool = False,
    recurrent_dropout: float = 0.0,
    candidate_dropout: float = 0.0,
    zoneout: tuple[float, ...] = (),
) -> Cell:
    """A cell with its options, and with what can be added to any cell; see `numlstm.backends.contract.LayerSpec`.

    Raises
    ------
    ValueError
        If the cell or an option is unknown, or the cell has no place for something.
    """
    family = get(name)
    if unknown := sorted(dict(options).keys() - family.options.keys()):
        raise ValueError(f"cell {name!r} has no options {unknown}; its options are {[*family.options]}")
    cell = family.build(
        {**family.options, **dict(options)}, layer_norm=layer_norm, candidate_dropout=bool(candidate_dropout)
    )
    if candidate_dropout:
        mask = Mask("candidate_dropout", "candidate_dropout", 0, candidate_dropout, True, 0.0,
                    1.0 / (1.0 - candidate_dropout), 1.0)  # fmt: skip
        cell = replace(cell, masks=(*cell.masks, mask))
    if layer_norm:
        cell = normalised(cell)
    if recurrent_dropout:
        cell = with_recurrent_dropout(cell, recurrent_dropout)
    return with_zoneout(cell, zoneout) if any(zoneout) else cell


register("lstm", Family(lstm.OPTIONS, lstm.lstm))
register("gru", Family(gru.OPTIONS, gru.gru))
register("rnn", Family(rnn.OPTIONS, rnn.rnn))

LSTM, GRU, RNN = describe("lstm"), describe("gru"), describe("rnn")

# For each cell the block of rows of the gate that keeps the old state, and of the gate that lets in the new one:
# chrono initialisation sets their biases.
FORGETTING = {"lstm": 1, "gru": 1}
REMEMBERING = {"lstm": 0}

__all__ = [
    "ACTIVATIONS", "FORGETTING", "GRU", "LSTM", "REMEMBERING", "RNN", "Cell", "Family", "Mask", "Options", "Parameter",
    "Phase", "Product", "describe", "get", "register",
]  # fmt: skip
