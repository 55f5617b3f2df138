"""The options of layers that have an effect. Estimators reset the others, so that any grid of them is legal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...cells import FORGETTING
from ...layers.options import DEFAULTS, options_of

GATES = ("input_gate", "forget_gate", "output_gate")


def effective_options(cell: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Checked options of layers; options without an effect have their default values.

    Layers refuse options without an effect. In an estimator they are legal, because a grid search may combine any
    values: ``{"num_layers": [1, 2], "dropout": [0.0, 0.2]}``, or the options of one cell with other cells.
    """
    known = options_of(cell)
    effective = {name: value for name, value in options.items() if name not in DEFAULTS or name in known}
    without_effect = [name for name, holds in _conditions(cell, DEFAULTS | effective).items() if not holds]
    effective |= {name: DEFAULTS[name] for name in without_effect if name in effective}
    if cell != "lstm" and isinstance(effective.get("zoneout"), list | tuple):
        effective["zoneout"] = effective["zoneout"][0]  # the second number is for the cell state
    return effective


def _conditions(cell: str, options: Mapping[str, Any]) -> dict[str, bool]:
    """Options that have an effect under a condition only, and whether the condition holds."""
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
