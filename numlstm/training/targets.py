"""What a network is to say: once for each sequence, or at each of its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .batches import Sequences


@dataclass(frozen=True)
class Targets:
    """A target for each sequence.

    Attributes
    ----------
    values : array, shape (n,) or (n, K)
        As the loss takes them.
    weights : float64 array, shape (n,)
    """

    values: np.ndarray
    weights: np.ndarray

    @property
    def outputs(self) -> int:
        """Terms of the loss in each of them."""
        return self.values.shape[1] if self.values.ndim == 2 else 1

    def count(self, rows: np.ndarray) -> int:
        """Terms that the loss is averaged over."""
        return len(rows) * self.outputs

    def take(self, rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights of some rows, for a mean over `total` terms."""
        return self.values.take(rows, axis=0), self.weights.take(rows) / total

    def subset(self, rows: np.ndarray) -> Targets:
        """Those of some rows."""
        return Targets(self.values[rows], self.weights[rows])


@dataclass(frozen=True)
class StepTargets:
    """A target for each step of each sequence.

    Attributes
    ----------
    values : Sequences
    weights : float64 array, shape (n,)
    """

    values: Sequences
    weights: np.ndarray

    def count(self, rows: np.ndarray) -> int:
        """Terms that the loss is averaged over."""
        return int(self.values.lengths[rows].sum()) * self.values.channels

    def take(self, rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets (N · T, K) and weights (N · T,) of some rows, weight 0 past a length."""
        targets, lengths = self.values.take(rows)
        weights = np.repeat(self.weights[rows] / total, targets.shape[1])
        if lengths is not None:
            weights[(np.arange(targets.shape[1]) >= lengths[:, None]).ravel()] = 0
        return targets.reshape(len(weights), -1), weights

    def subset(self, rows: np.ndarray) -> StepTargets:
        """Those of some rows."""
        return StepTargets(self.values.subset(rows), self.weights[rows])
