"""Options of recurrent layers, for layers and estimators: defaults, checks, and which of them go together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import cells
from ..backends.contract import LayerSpec
from ..checks import SMALLEST, check_flag, check_integer, check_option, check_real
from .initial import INITS
from .stack import MERGES, Stack

CLIPS = ("preactivation_clip", "cell_clip")

# Options of every cell, with their defaults.
COMMON: dict[str, Any] = {
    "num_layers": 1,
    "bias": True,
    "bidirectional": False,
    "merge": "concat",
    "residual": False,
    "layer_norm": False,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "recurrent_dropout": 0.0,
    "zoneout": 0.0,
    "weight_dropout": 0.0,
    "recompute": False,
    "init": "keras",
}

# Options of layers of some cells that do not change the equations of the cell.
OF_LAYERS: dict[str, dict[str, Any]] = {
    "lstm": {"forget_bias": None, "recurrent_dropout_mode": "variational"},
    "gru": {"recurrent_dropout_mode": "variational"},
}


def _as_given(value: Any) -> Any:
    """The default of a cell's option, in the form that users give: a name, and None where there is no bound."""
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else value
    return None if value == math.inf else value


# Options of one cell or of some: those of its equations, as `numlstm.cells` has them, and those of its layers.
OWN: dict[str, dict[str, Any]] = {
    cell: {name: _as_given(value) for name, value in cells.get(cell).options.items()} | OF_LAYERS.get(cell, {})
    for cell in ("lstm", "gru", "rnn")
}
DEFAULTS: dict[str, Any] = COMMON | {name: value for options in OWN.values() for name, value in options.items()}


def options_of(cell: str) -> dict[str, Any]:
    """The options of layers of a cell, with defaults; those of every cell, if the cell is from outside."""
    return COMMON | OWN.get(cell, {})


def not_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not at their defaults; NumPy's numbers become Python's."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
    return {name: value for name, value in plain.items() if name in DEFAULTS and value != DEFAULTS[name]}


def check_sizes(value: Any, name: str) -> int | tuple[int, ...]:
    """A size, or one for each layer."""
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError(f"{name} must be an integer or a list with one for each layer, got an empty list")
        return tuple(check_integer(size, f"{name}[{k}]", 1) for k, size in enumerate(value))
    return check_integer(value, name, 1)


def check_activation(value: Any, name: str) -> tuple[Any, ...]:
    """An activation's name and its parameters, all of them."""
    if not isinstance(value, str | list | tuple):
        raise TypeError(f"{name} must be a name or a tuple (name, alpha, beta), got {type(value).__name__}")
    kind, *given = (value,) if isinstance(value, str) else value or ("",)
    kind = check_option(kind, name, [*cells.ACTIVATIONS])
    defaults = cells.ACTIVATIONS[kind][1]
    if len(given) > len(defaults):
        raise ValueError(f"{name} must have at most {len(defaults)} parameters for {kind!r}, got {len(given)}")
    numbers = [check_real(number, f"{name}: {kind!r}", -math.inf, math.inf) for number in given]
    return (kind, *numbers, *defaults[len(given) :])


def check_coupling(value: Any, name: str) -> bool | str:
    """A flag, or the gate that the other one follows from."""
    if isinstance(value, str) and value != "input":
        raise ValueError(f"{name} must be True, False or 'input', got {value!r}")
    return value if isinstance(value, str) else check_flag(value, name)


def check_zoneout(value: Any, name: str) -> float | tuple[float, ...]:
    """A probability, or one for the hidden state and one for the cell state."""
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError(f"{name} must be a number or a tuple (p_h, p_c), got {len(value)} numbers")
        return tuple(check_real(number, f"{name}[{k}]", 0.0, 1.0) for k, number in enumerate(value))
    return check_real(value, name, 0.0, 1.0)


def check_clip(value: Any, name: str) -> float:
    """A positive bound; None is infinite."""
    return math.inf if value is None else check_real(value, name, SMALLEST, math.inf)


def check_forget_bias(value: Any, name: str) -> float | None:
    """A finite number, or None."""
    return None if value is None else check_real(value, name, -1.7976931348623157e308, math.inf)


def check_init(value: Any, name: str) -> str | tuple[str, int]:
    """The name of an initialisation; that of "chrono" with a number of steps."""
    if isinstance(value, list | tuple):
        if len(value) != 2 or value[0] != "chrono":
            raise ValueError(f"{name} must be one of {list(INITS)} or ('chrono', steps), got {value!r}")
        return "chrono", check_integer(value[1], f"{name}: steps of 'chrono'", 3)
    return check_option(value, name, INITS)


def _share(value: Any, name: str) -> float:
    return check_real(value, name, 0.0, 1.0)


CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "hidden_size": check_sizes,
    "num_layers": lambda value, name: check_integer(value, name, 1),
    "merge": lambda value, name: check_option(value, name, MERGES),
    "dropout": _share,
    "input_dropout": _share,
    "recurrent_dropout": _share,
    "weight_dropout": _share,
    "zoneout": check_zoneout,
    "init": check_init,
    "proj_size": lambda value, name: check_integer(value, name, 0),
    "recurrent_activation": check_activation,
    "input_activation": check_activation,
    "output_activation": check_activation,
    "preactivation_clip": check_clip,
    "cell_clip": check_clip,
    "forget_bias": check_forget_bias,
    "recurrent_dropout_mode": lambda value, name: check_option(value, name, ("variational", "candidate")),
    "nonlinearity": check_activation,
    "coupled_gates": check_coupling,
} | dict.fromkeys(
    (
        "bias", "bidirectional", "residual", "recompute", "layer_norm", "peepholes", "input_gate", "forget_gate",
        "output_gate", "full_gate_recurrence", "reset_after",
    ),
    check_flag,
)  # fmt: skip


def stack_of(cell: str, input_size: int, dtype: str, given: Mapping[str, Any]) -> Stack:
    """The stack that options describe.

    Parameters
    ----------
    cell : str
        The name of a cell.
    input_size : int
    dtype : {"float32", "float64"}
    given : mapping of str to value
        ``hidden_size`` and any of `DEFAULTS`.

    Raises
    ------
    TypeError, ValueError
        Naming the option of the wrong type or out of range, or the two that do not go together.
    """
    options = {name: CHECKS[name](value, name) for name, value in (DEFAULTS | dict(given)).items()}
    for name in CLIPS:
        if options[name] > float(np.finfo(dtype).max):  # no number of this type is larger: there is no bound
            options[name] = math.inf
    for name in given:
        foreign = name in DEFAULTS and name not in options_of(cell)
        if foreign and given[name] != DEFAULTS[name]:
            raise ValueError(f"{name} must be {DEFAULTS[name]!r} with cell={cell!r}, got {given[name]!r}")
    sizes = _sizes(options)
    defaults = cells.get(cell).options
    of_cell = tuple(sorted((name, options[name]) for name in defaults if options[name] != defaults[name]))
    spec = LayerSpec(
        cell, input_size, sizes[0], options["bias"], dtype,
        options=of_cell,
        layer_norm=options["layer_norm"], zoneout=_zoneout(cell, options["zoneout"]), **_dropouts(options),
    )  # fmt: skip
    _check_together(cell, options, sizes)
    return Stack(
        spec, sizes, options["bidirectional"], options["merge"], options["residual"], options["dropout"],
        options["input_dropout"], options["weight_dropout"], options["recompute"],
    )  # fmt: skip


def _sizes(options: Mapping[str, Any]) -> tuple[int, ...]:
    """Hidden units of each layer."""
    size, layers = options["hidden_size"], options["num_layers"]
    if isinstance(size, int):
        return (size,) * layers
    if layers not in (1, len(size)):
        raise ValueError(f"num_layers must be {len(size)} with hidden_size={list(size)}, got {layers}")
    return size


def _zoneout(cell: str, zoneout: float | tuple[float, ...]) -> tuple[float, ...]:
    """One probability for each state that is carried on."""
    states = len(cells.describe(cell).states)
    if isinstance(zoneout, tuple):
        if len(zoneout) != states:
            of = f"{states} states" if states > 1 else "one state"
            raise ValueError(f"zoneout must be a number with cell={cell!r}, which has {of}, got {zoneout}")
        return zoneout if any(zoneout) else ()
    return (zoneout,) * states if zoneout else ()


def _dropouts(options: Mapping[str, Any]) -> dict[str, Any]:
    """The option of a `LayerSpec` that gets the recurrent dropout."""
    share, mode = options["recurrent_dropout"], options["recurrent_dropout_mode"]
    if mode == "candidate" and not share:
        raise ValueError("recurrent_dropout_mode='candidate' needs recurrent_dropout above 0, got 0.0")
    return {"candidate_dropout": share} if mode == "candidate" else {"recurrent_dropout": share}


def _check_together(cell: str, options: Mapping[str, Any], sizes: tuple[int, ...]) -> None:
    """Refuse what makes no sense together."""

    def refuse(*names: str, why: str) -> None:
        raise ValueError(f"{' and '.join(f'{name}={options[name]!r}' for name in names)} do not go together: {why}")

    if options["dropout"] and len(sizes) == 1:
        refuse("dropout", "num_layers", why="it applies between layers, and there is one")
    if options["residual"] and len(sizes) == 1:
        refuse("residual", "num_layers", why="layers above the first add their input to their output")
    if options["residual"] and len({*sizes}) > 1:
        refuse("residual", "hidden_size", why="input and output of a layer must have the same size")
    if options["merge"] != "concat" and not options["bidirectional"]:
        refuse("merge", "bidirectional", why="there is one direction")
    if options["layer_norm"] and min(sizes) == 1:
        refuse("layer_norm", "hidden_size", why="one unit normalised is always 0")
    if cell == "lstm":
        _check_lstm(options, sizes, refuse)
    init = options["init"]
    if init == "chrono":
        raise ValueError("init='chrono' needs the longest dependency in steps: init=('chrono', steps)")
    if isinstance(init, tuple):
        if cell not in cells.FORGETTING:
            raise ValueError(f"init={init!r} and cell={cell!r} do not go together: there is no gate to bias")
        _check_bias("init", options, refuse)
        if not options["forget_gate"]:
            refuse("init", "forget_gate", why="it sets that gate's bias")


def _check_lstm(options: Mapping[str, Any], sizes: tuple[int, ...], refuse: Callable[..., None]) -> None:
    if options["proj_size"] >= min(sizes):
        refuse("proj_size", "hidden_size", why="a projection is smaller")
    for gate in ("input_gate", "forget_gate"):
        if options["coupled_gates"] and not options[gate]:
            refuse("coupled_gates", gate, why="each of the two gates is one minus the other")
    if not (options["input_gate"] or options["forget_gate"] or options["output_gate"]):
        for name in ("peepholes", "full_gate_recurrence"):
            if options[name]:
                refuse(name, "input_gate", "forget_gate", "output_gate", why="there is no gate")
        if options["recurrent_activation"] != ("sigmoid",):
            refuse("recurrent_activation", "input_gate", "forget_gate", "output_gate", why="there is no gate")
    if options["forget_bias"] is not None:
        _check_bias("forget_bias", options, refuse)
        if not options["forget_gate"]:
            refuse("forget_bias", "forget_gate", why="there is no such gate")
        if isinstance(options["init"], tuple):
            refuse("forget_bias", "init", why="both set the bias of the forget gate")


def _check_bias(name: str, options: Mapping[str, Any], refuse: Callable[..., None]) -> None:
    if not options["bias"] and not options["layer_norm"]:
        refuse(name, "bias", why="there is no bias to set")
