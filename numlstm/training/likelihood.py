"""How likely the targets of steps are, for sequences of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backends.contract import Array
from .batches import sorted_batches
from .data import Data
from .loop import Validation
from .model import Model
from .outputs import blocks
from .pieces import Piece, pieces
from .predicting import PREDICTED_STEPS
from .targets import StepTargets

STEPS = 512  # of a piece


def log_likelihoods(model: Model, data: Data) -> list[np.ndarray]:
    """The logarithm of the probability of each step's target, a float64 array (T_i,) for each sequence."""
    assert isinstance(data.targets, StepTargets)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(data))]
    for places, piece, y in outputs_of_pieces(model, data):
        targets, _ = piece.data.targets.take(piece.rows, 1)
        features = y.reshape(-1, y.shape[2])
        values = np.empty(len(targets))
        for rows in blocks(len(targets), model.network.outputs):
            values[rows] = model.log_probabilities(features[rows])[
                np.arange(rows.stop - rows.start), targets[rows].ravel()
            ]
        lengths = piece.data.sequences.lengths.tolist()
        for place, row, length in zip(places.tolist(), values.reshape(len(places), -1), lengths, strict=True):
            parts[place].append(row[:length])
    return [np.concatenate(part) for part in parts]


def outputs_of_pieces(model: Model, data: Data) -> Iterator[tuple[np.ndarray, Piece, Array]]:
    """The rows of some sequences, the next piece of them, and the last layer's outputs (N, T, F) for it.

    The memory that this takes does not grow with the length of the sequences.
    """
    for rows in sorted_batches(data.sequences.lengths, PREDICTED_STEPS):
        for (piece,) in pieces(data, [rows], STEPS):
            x, lengths = piece.data.sequences.take(piece.rows)
            y, final = model.outputs(x, lengths, piece.initial)
            piece.final = model.copied(final)
            yield rows[: len(piece.rows)], piece, y


class LikelihoodValidation(Validation):
    """A validation set whose loss is computed for a piece of the sequences at a time; its score is minus the loss.

    Attributes
    ----------
    data : Data
    """

    def __init__(self, data: Data) -> None:
        super().__init__(data, lambda *_: 0.0)

    def measure(self, model: Model) -> tuple[float, float]:
        """As `Validation.measure`."""
        loss = -float(np.concatenate(log_likelihoods(model, self.data)).mean())
        return loss, -loss


def mean_outputs(model: Model, data: Data) -> np.ndarray:
    """The mean of the last layer's outputs over the steps of each sequence, float64 (n, F)."""
    sums: Any = np.zeros((len(data), model.network.stack.output_size))
    for places, piece, y in outputs_of_pieces(model, data):
        outputs = model.backend.to_numpy(y).astype(np.float64)
        inside = np.arange(outputs.shape[1]) < piece.data.sequences.lengths[:, None]
        sums[places] += np.where(inside[:, :, None], outputs, 0).sum(axis=1)
    return sums / data.sequences.lengths[:, None]
