"""What a network is to say: once for each sequence, or at each of its steps."""

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
        As the loss takes them.
    weights : float64 array, shape (n,) or (n, K)
        Of the sequences, or of each of their targets; 0 where there is no target.
    """

    values: np.ndarray
    weights: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Terms of the loss, with a weight above 0, of each sequence, (n,)."""
        if self.weights.ndim == 2:
            return (self.weights > 0).sum(axis=1)
        return np.where(self.weights > 0, self.values.shape[1] if self.values.ndim == 2 else 1, 0)

    def count(self, rows: np.ndarray) -> int:
        """Terms that the loss is averaged over."""
        return int(self.counts[rows].sum())

    def take(self, rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights of some rows, for a mean over `total` terms."""
        return self.values.take(rows, axis=0), self.weights.take(rows, axis=0) / total

    def subset(self, rows: np.ndarray) -> Targets:
        """Those of some rows."""
        return Targets(self.values[rows], self.weights[rows])


@dataclass(frozen=True)
class StepTargets:
    """A target for each step of each sequence.

    Attributes
    ----------
    values : Sequences
        Steps of shape (M, K).
    weights : float64 array, shape (M, 1) or (M, K)
        Of the steps in `values`, or of each of their targets; 0 where there is no label.
    """

    values: Sequences
    weights: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Terms of the loss, with a weight above 0, of each sequence, (n,)."""
        terms = (self.weights > 0).sum(axis=1) * (self.values.channels // self.weights.shape[1])
        before = np.concatenate([[0], np.cumsum(terms)])
        return before[self.values.starts + self.values.lengths] - before[self.values.starts]

    def count(self, rows: np.ndarray) -> int:
        """Terms that the loss is averaged over."""
        return int(self.counts[rows].sum())

    def take(self, rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets (N · T, K) and weights (N · T,) or (N · T, K) of some rows, weight 0 past a length."""
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
        """Those of some rows."""
        return StepTargets(self.values.subset(rows), self.weights)
