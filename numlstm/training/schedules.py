"""How the learning rate changes while a network is trained."""

from __future__ import annotations

import math
from collections.abc import Callable

PEAK = 0.3  # share of the steps after which one_cycle is at its highest
FIRST, LAST = 1 / 25, 1e-4  # one_cycle's factors at both ends: the last as a part of the first
REDUCTION = 0.2  # what reduce_on_plateau multiplies with


def constant(share: float) -> float:
    """1."""
    return 1.0


def cosine(share: float) -> float:
    """Half a period, from 1 to 0 (Loshchilov & Hutter 2017, eq. 5, without restarts)."""
    return (1 + math.cos(math.pi * share)) / 2


def one_cycle(share: float) -> float:
    """Up to 1 and down further than it began, by half periods of a cosine (Smith & Topin 2018)."""
    if share < PEAK:
        return 1 + (FIRST - 1) * cosine(share / PEAK)
    return FIRST * LAST + (1 - FIRST * LAST) * cosine((share - PEAK) / (1 - PEAK))


SHAPES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "reduce_on_plateau": constant,
}


def ends(name: str) -> bool:
    """Whether a learning rate comes to its end with the last step."""
    return SHAPES[name](1.0) < LAST


class Schedule:
    """The learning rate of every step.

    Parameters
    ----------
    name : {"constant", "cosine", "one_cycle", "reduce_on_plateau"}
    rate : float
        The highest learning rate.
    steps : int
        Steps of the whole training.
    warm_up : float in [0, 1)
        Share of the steps in which the rate rises to its place, in a straight line from 0.
    patience : int
        Epochs without improvement after which reduce_on_plateau divides the rate by 5.
    """

    def __init__(self, name: str, rate: float, steps: int, *, warm_up: float = 0.0, patience: int = 5) -> None:
        self.shape, self.rate, self.steps = SHAPES[name], rate, steps
        self.warm_up, self.patience = warm_up * steps, patience
        self.reduces = name == "reduce_on_plateau"
        self.factor, self.waited = 1.0, 0

    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warmth = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        return self.rate * self.factor * warmth * self.shape(step / self.steps)

    def end_epoch(self, improved: bool) -> None:
        """Take note of whether the loss that is watched improved."""
        self.waited = 0 if improved else self.waited + 1
        if self.reduces and self.waited >= self.patience:
            self.factor, self.waited = REDUCTION * self.factor, 0
