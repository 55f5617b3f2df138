"""Losses and gradients of batches whose shape comes again: what they take is noted once, and then repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .model import Model


@dataclass(frozen=True)
class Repeat:
    """What the backend noted for batches of one shape, and the arrays that it reads besides the sequences."""

    run: Callable[[], float]
    targets: np.ndarray
    weights: np.ndarray


class Repeats:
    """`Model.loss_and_gradient` for batches of sequences of equal length, of a model in training.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._kept: dict[tuple[object, ...], Repeat | None] = {}

    def loss_and_gradient(
        self, x: np.ndarray, targets: np.ndarray, weights: np.ndarray, rng: np.random.Generator
    ) -> float:
        """The loss of a batch; its gradient overwrites that of the model.

        The first batch of a shape is computed as any other, the second is noted, and all others are repeated. `x` must
        lie in the same memory each time.
        """
        shape = x.shape, targets.shape, weights.shape
        if shape not in self._kept:
            self._kept[shape] = None
            return self.model.loss_and_gradient(x, None, targets, weights, rng)[0]
        repeat = self._kept[shape]
        if repeat is None:
            return self._note(shape, x, targets, weights, rng)
        np.copyto(repeat.targets, targets)
        np.copyto(repeat.weights, weights)
        return repeat.run()

    def _note(
        self, shape: tuple[object, ...], x: np.ndarray, targets: np.ndarray, weights: np.ndarray,
        rng: np.random.Generator,
    ) -> float:  # fmt: skip
        """Compute a batch, and keep what the backend noted."""
        loss, run = self.model.backend.record(lambda: self.model.loss_and_gradient(x, None, targets, weights, rng)[0])
        if run:
            self._kept[shape] = Repeat(run, targets, weights)
        return loss
