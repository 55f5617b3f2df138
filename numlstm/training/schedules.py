"""Learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable

PEAK = 0.3  # fraction of the steps after which one_cycle reaches its highest learning rate
FIRST, LAST = 1 / 25, 1e-4  # one_cycle begins with the factor FIRST, and ends with FIRST * LAST
REDUCTION = 0.2  # reduce_on_plateau multiplies the learning rate by this


# Each function gives the factor of the learning rate after a fraction of all steps.


def constant(fraction: float) -> float:
    """Always 1."""
    return 1.0


def cosine(fraction: float) -> float:
    """Half a period of a cosine, from 1 to 0 (Loshchilov & Hutter 2017, eq. 5, without restarts)."""
    return (1 + math.cos(math.pi * fraction)) / 2


def one_cycle(fraction: float) -> float:
    """From FIRST up to 1, then down to FIRST * LAST, by half periods of a cosine (Smith & Topin 2018)."""
    if fraction < PEAK:
        return 1 + (FIRST - 1) * cosine(fraction / PEAK)
    return FIRST * LAST + (1 - FIRST * LAST) * cosine((fraction - PEAK) / (1 - PEAK))


SHAPES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "reduce_on_plateau": constant,
}


def ends(name: str) -> bool:
    """Whether a schedule falls to almost 0 at the last step."""
    return SHAPES[name](1.0) < LAST


class Schedule:
    """The learning rate of each step.

    Parameters
    ----------
    name : {"constant", "cosine", "one_cycle", "reduce_on_plateau"}
    rate : float
        The highest learning rate.
    steps : int
        Number of steps in the whole training.
    warm_up : float in [0, 1)
        Fraction of the steps in which the learning rate rises linearly from 0.
    patience : int
        Number of epochs without improvement after which reduce_on_plateau divides the learning rate by 5.
    """

    def __init__(self, name: str, rate: float, steps: int, *, warm_up: float = 0.0, patience: int = 5) -> None:
        self.shape, self.rate, self.steps = SHAPES[name], rate, steps
        self.warm_up, self.patience = warm_up * steps, patience
        self.reduces = name == "reduce_on_plateau"
        self.factor, self.epochs_without_improvement = 1.0, 0

    def __call__(self, step: int) -> float:
        """The learning rate of a step; the first step is 0."""
        warm_up_factor = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        return self.rate * self.factor * warm_up_factor * self.shape(min(1.0, step / self.steps))

    def end_epoch(self, improved: bool) -> None:
        """Record whether the monitored loss improved in an epoch."""
        self.epochs_without_improvement = 0 if improved else self.epochs_without_improvement + 1
        if self.reduces and self.epochs_without_improvement >= self.patience:
            self.factor, self.epochs_without_improvement = REDUCTION * self.factor, 0
