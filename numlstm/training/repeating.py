"""Steps on batches whose shape comes again: what they take is noted once, and then repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from .batches import Batch
from .model import Model, States
from .optimizers import Optimizer

SHAPES_KEPT = 8  # the first ones that come again


@dataclass(frozen=True)
class Repeat:
    """What the backend noted for batches of one shape, what it reads besides the sequences, and the final states."""

    run: Callable[[], float]
    arrays: list[np.ndarray]
    final: States


class Repeats:
    """Steps of an optimizer, each on one batch.

    The first step on a batch of some shape is computed as any other, the second is noted, and all others are repeated.

    Parameters
    ----------
    model : Model
        In training.
    optimizer : Optimizer
    """

    def __init__(self, model: Model, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self._kept: dict[tuple[object, ...], Repeat | None] = {}
        self._seed = np.zeros((), np.uint64) if model.network.random else None

    def step(
        self, batch: Batch, initial: States | None, learning_rate: float, rng: np.random.Generator
    ) -> tuple[float, States]:
        """Take a step; the loss before it, and the final states. The `x` of all batches must lie in the same memory."""
        x, lengths, targets, weights, static = batch
        arrays = [array for array in (targets, weights, lengths, static) if array is not None]
        arrays += () if initial is None else chain.from_iterable(initial)
        shape = x.shape, initial is None, lengths is None  # all else that a trainer gives follows from these
        self.optimizer.advance(learning_rate)
        if self._seed is not None:
            self._seed[...] = rng.integers(2**64, dtype=np.uint64)
        repeat = self._kept.get(shape)
        if repeat:
            for kept, array in zip(repeat.arrays, arrays, strict=True):
                if kept is not array:
                    kept[...] = array
            return repeat.run(), repeat.final

        final: States = []

        def step() -> float:
            loss, final[:] = self.model.loss_and_gradient(
                x, lengths, targets, weights, rng, static, initial, self._seed
            )
            self.optimizer.update(self.model.gradient)
            return loss

        if shape not in self._kept:
            self._kept[shape] = None
            return step(), final
        worth = self.model.network.repeats(x.shape[0], x.shape[1], lengths is not None)
        if not worth or sum(map(bool, self._kept.values())) >= SHAPES_KEPT:
            return step(), final
        self.model.changed()  # so that what follows changes of the weights is noted, too
        loss, run = self.model.backend.record(step)
        self._kept[shape] = Repeat(run, arrays, final) if run else None
        return loss, final
