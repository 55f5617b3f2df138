"""Which options of layers act at all: estimators leave the others aside, so that any grid of them is legal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...cells import FORGETTING
from ...layers.options import DEFAULTS, options_of

GATES = ("input_gate", "forget_gate", "output_gate")


def acting(cell: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Checked options of layers; those that have nothing to act on are at their defaults.

    Layers refuse such options. A grid of an estimator's parameters may combine them: ``{"num_layers": [1, 2],
    "dropout": [0.0, 0.2]}``, or options of one cell with other cells.
    """
    known = options_of(cell)
    given = {name: value for name, value in options.items() if name not in DEFAULTS or name in known}
    idle = [name for name, acts in _conditions(cell, DEFAULTS | given).items() if not acts]
    given |= {name: DEFAULTS[name] for name in idle if name in given}
    if cell != "lstm" and isinstance(given.get("zoneout"), list | tuple):
        given["zoneout"] = given["zoneout"][0]  # the second is of the cell state
    return given


def _conditions(cell: str, options: Mapping[str, Any]) -> dict[str, bool]:
    """Options that act under conditions, and whether these hold."""
    size = options["hidden_size"]
    layers = len(size) if isinstance(size, list | tuple) else options["num_layers"]
    gates = cell == "gru" or (cell == "lstm" and any(options[gate] for gate in GATES))
    forgets = cell != "lstm" or options["forget_gate"]
    return {
        "dropout": layers > 1,
        "residual": layers > 1,
        "merge": bool(options["bidirectional"]),
        "recurrent_dropout_mode": options["recurrent_dropout"] > 0,
        "peepholes": gates,
        "full_gate_recurrence": gates,
        "recurrent_activation": gates,
        "forget_bias": forgets,
        "init": options["init"] in ("keras", "torch") or (cell in FORGETTING and forgets),
    }
