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
        What tells them apart, with defaults.
    build : callable
        ``build(options, layer_norm=, candidate_dropout=) -> Cell``, all options given. What the two flags ask for
        beyond the cell's own equations is added by others; a cell without a place for dropout raises `ValueError`.
    """

    options: Mapping[str, Any]
    build: Callable[..., Cell]


_registry: dict[str, Family] = {}


def register(name: str, family: Family | Cell) -> None:
    """Make cells known under a name, which is given once; a `Cell` has no options.

    Raises
    ------
    ValueError
        If others have that name.
    """
    if isinstance(family, Cell):
        family = Family({}, _Single(family))
    if _registry.setdefault(name, family) != family:
        raise ValueError(f"cell {name!r} is registered already")


@dataclass(frozen=True)
class _Single:
    """A family of one."""

    cell: Cell

    def __call__(self, options: Mapping[str, Any], *, layer_norm: bool, candidate_dropout: bool) -> Cell:
        if candidate_dropout:
            raise ValueError(f"cell {self.cell.name!r} has no place for candidate_dropout")
        return self.cell


def get(name: str) -> Family:
    """The cells registered as `name`.

    Raises
    ------
    ValueError
        If there are none; the message names those that there are.
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
    """A cell with its options, and with what can be added to any; see `numlstm.backends.contract.LayerSpec`.

    Raises
    ------
    ValueError
        If the cell or an option is unknown, or the cell has no place for something.
    """
    family = get(name)
    if unknown := sorted(dict(options).keys() - family.options.keys()):
        raise ValueError(f"cell {name!r} has no options {unknown}")
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

# Blocks of rows of the gate that keeps the old, and of the one that lets in the new, where there is one: what chrono
# initialisation sets.
FORGETTING = {"lstm": 1, "gru": 1}
REMEMBERING = {"lstm": 0}

__all__ = [
    "ACTIVATIONS", "FORGETTING", "GRU", "LSTM", "REMEMBERING", "RNN", "Cell", "Family", "Mask", "Options", "Parameter",
    "Phase", "Product", "describe", "get", "register",
]  # fmt: skip
