"""Targets of a network: one for each sequence, or one for each step."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    @property
    def mean_weight(self) -> float:
        """Of all terms with a weight above 0."""
        return float(self.weights[self.weights > 0].mean())

    @cached_property
    def same_count(self) -> int | None:
        """The number of terms of each sequence, if it is the same for all."""
        return int(self.counts[0]) if len(self.counts) and (self.counts == self.counts[0]).all() else None

    def count(self, rows: np.ndarray) -> int:
        """Number of terms in the loss of some rows."""
        return int(self.counts[rows].sum()) if self.same_count is None else self.same_count * len(rows)

    def take(self, rows: np.ndarray, total: int, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights of some rows; the weights are divided by `total`, the number of terms in the mean.

        Where a batch is padded to more steps than its longest sequence has, that are so many.
        """
        values = self.values.take(rows, axis=0)
        if not self._weigh_the_same:
            return values, self.weights.take(rows, axis=0) / total
        shares = self._shares.get((len(rows), total))
        if shares is None:  # few come up: those of a batch, and those of the last one
            shares = self._shares[len(rows), total] = self.weights[: len(rows)] / total
            shares.flags.writeable = False
        return values, shares

    @cached_property
    def _weigh_the_same(self) -> bool:
        return len(self.weights) > 0 and bool((self.weights == self.weights[0]).all())

    @cached_property
    def _shares(self) -> dict[tuple[int, int], np.ndarray]:
        """Weights that are all the same, of so many rows, divided by a number of terms."""
        return {}

    def compared(
        self, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores, targets and weights of what has a weight."""
        return counted(said, wanted, weights)

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
        lengths = self.values.lengths
        ends = np.cumsum(lengths)
        steps = np.arange(ends[-1]) + np.repeat(self.values.starts - (ends - lengths), lengths)
        terms = (self.weights[steps] > 0).sum(axis=1) * (self.values.channels // self.weights.shape[1])
        return np.diff(np.concatenate([[0], np.cumsum(terms)])[np.concatenate([[0], ends])])

    @property
    def mean_weight(self) -> float:
        """Of all terms with a weight above 0."""
        return float(self.weights[self.weights > 0].mean())

    def count(self, rows: np.ndarray) -> int:
        """Number of terms in the loss of some rows."""
        return int(self.counts[rows].sum())

    def take(self, rows: np.ndarray, total: int, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Targets (N · T, K) and weights (N · T,) or (N · T, K) of some rows; weights past a length are 0."""
        targets, lengths = self.values.take(rows, steps=steps)
        weights = self._weights.take(rows, steps=steps)[0] / total
        if lengths is not None:
            weights[np.arange(targets.shape[1]) >= lengths[:, None]] = 0
        weights = weights.reshape(-1, weights.shape[2])
        return targets.reshape(len(weights), -1), weights[:, 0] if weights.shape[1] == 1 else weights

    @cached_property
    def _weights(self) -> Sequences:
        return Sequences(self.weights, self.values.starts, self.values.lengths)

    def compared(
        self, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores, targets and weights of what has a weight."""
        return counted(said, wanted, weights)

    def subset(self, rows: np.ndarray) -> StepTargets:
        """The targets of some rows."""
        return replace(self, values=self.values.subset(rows))

    def window(self, start: int, steps: int) -> StepTargets:
        """The targets of some steps, as `Sequences.window` has them."""
        return replace(self, values=self.values.window(start, steps))


def counted(said: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of all three that have a weight above 0."""
    rows = weights.reshape(len(weights), -1).any(axis=1)
    return said[rows], wanted[rows], weights[rows]
