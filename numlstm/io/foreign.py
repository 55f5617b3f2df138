"""What the formats of other libraries have in common: their numbers, and which layers they can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..layers.layer import Layer
from ..layers.stack import Stack

BLOCKS = {"lstm": 4, "gru": 3, "rnn": 1}  # blocks of weights for each hidden unit: their number tells cells apart
DTYPES = {"float32": "float32", "float64": "float64", "float16": "float32", "bfloat16": "float32"}  # of layers


def checked_stack(layer: Any, library: str) -> Stack:
    """The stack of a layer whose cell the library has.

    Raises
    ------
    TypeError
        If it is no layer.
    ValueError
        If it has another cell.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer must be an LSTM, a GRU or an RNN, got {type(layer).__name__}")
    if layer._stack.cell.cell not in BLOCKS:
        raise ValueError(f"layer must be an LSTM, a GRU or an RNN for {library}, got cell={layer._stack.cell.cell!r}")
    return layer._stack


def refuse_options(foreign: Mapping[str, Any], stack: Stack, target: str) -> None:
    """Refuse options of a layer that `target`, a layer of another library, does not have.

    No other library has layer normalisation or zoneout in its layers.

    Raises
    ------
    ValueError
        With their names and values.
    """
    never = {"layer_norm": stack.cell.layer_norm, "zoneout": stack.cell.zoneout}
    foreign = {**foreign, **{name: value for name, value in never.items() if value}}
    if foreign:
        shown = ", ".join(f"{name}={value!r}" for name, value in foreign.items())
        raise ValueError(f"layer must have only options that {target} has, got {shown}")


def real_numbers(value: Any, label: str, expected: str = "an array") -> np.ndarray:
    """An array of float32 or float64; it may share the memory.

    Raises
    ------
    TypeError
        If it is no array of real numbers; the message names `label` and what was `expected`.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{label} must be {expected}, got {type(value).__name__}: {error}") from None
    if array.dtype.name not in DTYPES:
        raise wrong_dtype(label, array.dtype.name if array.ndim else type(value).__name__)
    return array.astype(DTYPES[array.dtype.name], copy=False)


def wrong_dtype(label: str, name: str) -> TypeError:
    """The error for numbers of another type."""
    return TypeError(f"{label} must hold real numbers, {', '.join(DTYPES)}, got {name}")
