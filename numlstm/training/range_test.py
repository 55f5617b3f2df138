"""A learning-rate range test: which learning rates help, seen in one short run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .loop import Trainer

SMOOTHING = 0.9
DIVERGED = 4.0  # times the least loss: no need to go on


class LearningRateTest(NamedTuple):
    """What a learning-rate range test saw.

    Attributes
    ----------
    learning_rates : array, shape (steps,)
    losses : array, shape (steps,)
        Smoothed loss before the step with each learning rate.
    suggestion : float
        A tenth of the one with the least loss: a `learning_rate_init` to begin with.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def range_test(trainer: Trainer, lowest: float, highest: float, steps: int) -> LearningRateTest:
    """Take steps with a learning rate that grows exponentially (Smith 2017, section 3.3); ends where it diverges."""
    rates, losses, mean = [], [], 0.0
    for step, batches in zip(range(steps), _endless(trainer), strict=False):
        rate = lowest * (highest / lowest) ** (step / max(1, steps - 1))
        try:
            loss = float(trainer.step(batches, rate)[0])
        except FloatingPointError:
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        rates.append(rate)
        losses.append(mean / (1 - SMOOTHING ** (step + 1)))
        if losses[-1] > DIVERGED * min(losses):
            break
    if not losses:
        raise FloatingPointError(f"the loss became infinite with learning rate {lowest}; scale X, or lower `lowest`")
    return LearningRateTest(np.array(rates), np.array(losses), rates[int(np.argmin(losses))] / 10)


def _endless(trainer: Trainer) -> Iterator[list[np.ndarray]]:
    while True:
        yield from trainer.groups()
