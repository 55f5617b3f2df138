"""Targets of a network: one for each sequence, or one for each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..concurrency import cached_property
from .batches import Sequences


@dataclass(frozen=True)
class Targets:
    """A target for each sequence.

    Attributes
    ----------
    values : array, shape (n,) or (n, K)
        The targets, in the form that the loss takes.
    weights : float64 array, shape (n,) or (n, K)
        The weight of each sequence, or of each target; 0 if there is no target.
    """

    values: np.ndarray
    weights: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of terms with a positive weight that each sequence adds to the loss, (n,)."""
        if self.weights.ndim == 2:
            return (self.weights > 0).sum(axis=1)
        return np.where(self.weights > 0, self.values.shape[1] if self.values.ndim == 2 else 1, 0)

    def count(self, rows: np.ndarray) -> int:
        """Number of terms in the loss of some rows."""
        return int(self.counts[rows].sum())

    def take(self, rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights of some rows; the weights are divided by `total`, the number of terms in the mean."""
        return self.values.take(rows, axis=0), self.weights.take(rows, axis=0) / total

    def subset(self, rows: np.ndarray) -> Targets:
        """The targets of some rows."""
        return Targets(self.values[rows], self.weights[rows])


@dataclass(frozen=True)
class StepTargets:
    """A target for each step of each sequence.

    Attributes
    ----------
    values : Sequences
        The targets, (M, K) for M steps.
    weights : float64 array, shape (M, 1) or (M, K)
        The weight of each step, or of each target; 0 if there is no label.
    """

    values: Sequences
    weights: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of terms with a positive weight that each sequence adds to the loss, (n,)."""
        terms = (self.weights > 0).sum(axis=1) * (self.values.channels // self.weights.shape[1])
        before = np.concatenate([[0], np.cumsum(terms)])
        return before[self.values.starts + self.values.lengths] - before[self.values.starts]

    def count(self, rows: np.ndarray) -> int:
        """Number of terms in the loss of some rows."""
        return int(self.counts[rows].sum())

    def take(self, rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets (N · T, K) and weights (N · T,) or (N · T, K) of some rows; weights past a length are 0."""
        targets, lengths = self.values.take(rows)
        weights = self._weights.take(rows)[0] / total
        if lengths is not None:
            weights[np.arange(targets.shape[1]) >= lengths[:, None]] = 0
        weights = weights.reshape(-1, weights.shape[2])
        return targets.reshape(len(weights), -1), weights[:, 0] if weights.shape[1] == 1 else weights

    @cached_property
    def _weights(self) -> Sequences:
        return Sequences(self.weights, self.values.starts, self.values.lengths)

    def subset(self, rows: np.ndarray) -> StepTargets:
        """The targets of some rows."""
        return StepTargets(self.values.subset(rows), self.weights)
