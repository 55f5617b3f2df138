"""The learning-rate range test: one short run that shows which learning rates reduce the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .loop import Trainer
from .pieces import Piece

SMOOTHING = 0.9
DIVERGED = 4.0  # the test ends when the loss exceeds this multiple of the least loss


class LearningRateTest(NamedTuple):
    """The result of a learning-rate range test.

    Attributes
    ----------
    learning_rates : array, shape (steps,)
        Learning rate of each step.
    losses : array, shape (steps,)
        Smoothed loss before each step.
    suggestion : float
        A tenth of the learning rate with the least loss: a first value for `learning_rate_init`.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def range_test(trainer: Trainer, lowest: float, highest: float, steps: int) -> LearningRateTest:
    """Take steps with an exponentially growing learning rate until training diverges (Smith 2017, section 3.3)."""
    rates, losses, mean = [], [], 0.0
    for step, batches in zip(range(steps), _endless_groups(trainer), strict=False):
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
        raise FloatingPointError(
            f"the loss must be finite at the first learning rate, {lowest}, but is not: scale X, or lower `lowest`"
        )
    return LearningRateTest(np.array(rates), np.array(losses), rates[int(np.argmin(losses))] / 10)


def _endless_groups(trainer: Trainer) -> Iterator[list[Piece]]:
    while True:
        yield from trainer.groups()
