"""Scores of sequences; small batches whose shape comes again repeat what was noted of the second one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..backends.contract import Array
from .batches import Sequences, sorted_batches
from .data import take_rows
from .model import Model

PREDICTED_STEPS = 16384  # steps of a batch, padding included, when a network only predicts
SMALL = 1 << 16  # inputs and outputs of all layers: where there are more, the time of Python does not matter
SHAPES_KEPT, CALLS_KEPT = 16, 4  # of so many shapes, for so many threads at once

Scores = Callable[[np.ndarray, np.ndarray | None, np.ndarray | None], Array]  # as `Model.scores`


def predict_scores(
    scores: Scores, sequences: Sequences, static: np.ndarray | None
) -> Iterator[tuple[np.ndarray, Array]]:
    """Yields the rows of some sequences and the scores for them, until all sequences have been predicted."""
    for rows in sorted_batches(sequences.lengths, PREDICTED_STEPS):
        x, lengths = sequences.take(rows)
        yield rows, scores(x, lengths, take_rows(static, rows))


class Predictor:
    """The scores of a model that is not in training, for any number of threads at once.

    The first batch of a shape is computed as any other, the second is noted, and all others are repeated.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._idle: dict[tuple[object, ...], list[Prediction]] = {}

    def __call__(self, x: np.ndarray, lengths: np.ndarray | None, static: np.ndarray | None) -> Array:
        """As `Model.scores`."""
        backend, stack = self.model.backend, self.model.network.stack
        if not backend.records or stack.numbers(*x.shape[:2]) > SMALL:
            return self.model.scores(x, lengths, static)
        shape = x.shape, x.dtype, lengths is None
        idle = self._idle.get(shape)
        if idle is None:
            if len(self._idle) >= SHAPES_KEPT:
                self._idle.clear()
            self._idle[shape] = []
            return self.model.scores(x, lengths, static)
        try:
            prediction = idle.pop()
        except IndexError:
            prediction = Prediction(self.model, x, lengths, static)
        scores = prediction(x, lengths, static)
        if len(idle) < CALLS_KEPT:
            idle.append(prediction)
        return scores


class Prediction:
    """The scores of batches of a shape, on arrays of its own; for one thread at a time."""

    def __init__(self, model: Model, *batch: np.ndarray | None) -> None:
        self._batch = x, lengths, static = [None if array is None else array.copy() for array in batch]
        assert x is not None

        def note() -> float:
            self._scores: Array = model.scores(x, lengths, static)
            return 0.0

        _, repeat = model.backend.record(note)
        assert repeat, "a backend that notes steps"
        self._repeat = repeat

    def __call__(self, *batch: np.ndarray | None) -> np.ndarray:
        """The scores of such a batch, a new array."""
        for kept, array in zip(self._batch, batch, strict=True):
            if kept is not None and array is not None:
                np.copyto(kept, array)
        self._repeat()
        return self._scores.copy()
