"""What the reference knows of a cell: one step, and the way back through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]
States = tuple[np.ndarray, ...]
Step = Callable[[Weights, np.ndarray, States], tuple[States, Any]]
StepBackward = Callable[[Weights, Any, States], tuple[np.ndarray, States, dict[str, np.ndarray]]]

_registry: dict[str, Twin] = {}


@dataclass(frozen=True)
class Twin:
    """The independent reference of one cell.

    Both functions are plain NumPy on float64 arrays, share no code with the cell's equations, and leave
    their arguments as they are.

    Attributes
    ----------
    step : callable
        ``step(weights, x, states) -> (states, saved)``: one step of time, with x (N, D), the states, each
        (N, H), in the cell's order, and the parameters by PyTorch's names; the biases are zeros where the
        layer has none. `saved` is whatever `step_backward` wants to find again.
    step_backward : callable
        ``step_backward(weights, saved, dstates) -> (dx, dstates_prev, dweights)``: from the gradients of
        the new states to those of the input, of the states before, and of every parameter, the biases
        included, summed over N.
    """

    step: Step
    step_backward: StepBackward


def register(name: str, twin: Twin) -> None:
    """Make `twin` the reference of the cell called `name`; a name is given once.

    Raises
    ------
    ValueError
        If the cell has another twin.
    """
    if _registry.setdefault(name, twin) is not twin:
        raise ValueError(f"cell {name!r} has a twin already")


def get_twin(name: str) -> Twin:
    """The twin of the cell called `name`.

    Raises
    ------
    ValueError
        If there is none; the message names the cells that have one.
    """
    try:
        return _registry[name]
    except KeyError:
        raise ValueError(f"cell must be one with a reference twin, {sorted(_registry)}, got {name!r}") from None
