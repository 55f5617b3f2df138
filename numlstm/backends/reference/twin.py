"""The reference of a cell: one step forward, and one step back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract import LayerSpec
from .masks import Masks

Weights = Mapping[str, np.ndarray]
States = tuple[np.ndarray, ...]
Gates = Mapping[str, np.ndarray]
StepFunction = Callable[[LayerSpec, Weights, np.ndarray, States, Masks], tuple[States, Any, Gates]]
StepBackwardFunction = Callable[[LayerSpec, Weights, Any, States, Masks, Weights], tuple[np.ndarray, States]]

_registry: dict[str, Twin] = {}


@dataclass(frozen=True)
class Twin:
    """The independent reference of one cell, with all of its options.

    Both functions are plain NumPy on float64 arrays. They share no code with the cell's equations, and change
    only the argument `gradient`. Parameters come by name, with an axis of blocks in front: rows
    ``k * H`` to ``(k + 1) * H`` of ``weight_ih`` are ``weights["weight_ih"][k]``. The biases are zeros where the layer
    has none. `affine` computes the sums, and `norm` the layer normalisation, if the layer has it. A twin has no
    zoneout.

    Attributes
    ----------
    step : callable
        ``step(spec, weights, x, states, masks) -> (states, saved, gates)``: one step of time, with x (N, D), the
        states, each (N, S), in the cell's order, and the step's `Masks`. `saved` holds the values that `step_backward`
        needs, `gates` has the gates (N, H) by their public names.
    step_backward : callable
        ``step_backward(spec, weights, saved, dstates, masks, gradient) -> (dx, dstates_prev)``: from the gradients of
        the new states to those of the input and of the states before. It adds the gradient of each used parameter,
        biases included, summed over N, to `gradient`, whose arrays have the shapes of those in `weights`.
    """

    step: StepFunction
    step_backward: StepBackwardFunction


def register(name: str, twin: Twin) -> None:
    """Register `twin` as the reference of the cell called `name`.

    Raises
    ------
    ValueError
        If the cell already has another twin.
    """
    if _registry.setdefault(name, twin) is not twin:
        raise ValueError(f"cell {name!r} has a twin already: choose another name")


def get_twin(name: str) -> Twin:
    """The twin of the cell called `name`.

    Raises
    ------
    ValueError
        If there is no twin; the message names the cells that have one.
    """
    try:
        return _registry[name]
    except KeyError:
        raise ValueError(f"cell must be one with a reference twin, {sorted(_registry)}, got {name!r}") from None
