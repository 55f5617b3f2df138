"""Rows of labels: one for each step, or fewer than steps and without places."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..concurrency import cached_property
from .targets import StepTargets


class StepLabels(StepTargets):
    """A class for each step of each sequence, by its number."""

    def take(self, rows: np.ndarray, total: int, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Classes (N · T,) and weights (N · T,) of some rows, weight 0 past a length."""
        targets, weights = super().take(rows, total, steps)
        return targets[:, 0], weights


@dataclass(frozen=True)
class LabelRows:
    """A row of labels for each sequence, of a loss over whole sequences.

    Attributes
    ----------
    values : int64 array, shape (M,)
        The labels of all rows, one row after another; -1 where a step may have any.
    starts, lengths : int64 array, shape (n,)
        Where each row begins, and its labels; it may have none.
    weights : float64 array, shape (n,)
    least : int
        Terms of the loss of a row without labels: 1 if it teaches something, 0 if it may be anything.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    weights: np.ndarray
    least: int

    @staticmethod
    def of_steps(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray, weights: np.ndarray) -> LabelRows:
        """Rows with a label for each step; `weights` (M,) are those of steps, 0 where a step may have any label."""
        of_rows = np.maximum.reduceat(weights, starts)
        if (weights == np.repeat(of_rows, lengths))[values >= 0].all():
            return LabelRows(values, starts, lengths, of_rows, least=0)
        return WeightedLabels(values, starts, lengths, weights, least=0)

    @cached_property
    def counts(self) -> np.ndarray:
        """Terms of the loss, with a weight above 0, of each sequence, (n,): its labels."""
        before = np.concatenate([[0], np.cumsum(self.values >= 0)])
        terms = before[self.starts + self.lengths] - before[self.starts]
        return np.where(self.weights > 0, np.maximum(terms, self.least), 0)

    @property
    def mean_weight(self) -> float:
        """Of all terms with a weight above 0: a row's labels have the row's."""
        return float(np.average(self.weights, weights=self.counts))

    def count(self, rows: np.ndarray) -> int:
        """Terms that the loss is averaged over."""
        return int(self.counts[rows].sum())

    def take(self, rows: np.ndarray, total: int, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Labels (N, L), -1 past each row's own, and weights (N,) of some rows, for a mean over `total` terms."""
        return self._padded(self.values, rows, -1, steps), self.weights[rows] / total

    def _padded(self, values: np.ndarray, rows: np.ndarray, filling: int, steps: int | None) -> np.ndarray:
        """What some rows have of `values`, (N, L); L is `steps`, or that of the longest row."""
        lengths = self.lengths[rows]
        places = np.arange(steps or lengths.max(initial=0))
        inside = places < lengths[:, None]
        padded = np.full(inside.shape, filling, values.dtype)
        padded[inside] = values[(self.starts[rows, None] + places)[inside]]
        return padded

    def compared(
        self, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of paths (N, T) without their ends, and of labels (N, L), as arrays of arrays; weights as they are."""
        return _apart([path[path >= 0] for path in said]), _apart([*wanted]), weights

    def subset(self, rows: np.ndarray) -> LabelRows:
        """Those of some rows."""
        return replace(self, starts=self.starts[rows], lengths=self.lengths[rows], weights=self.weights[rows])

    def frequencies(self, count: int) -> np.ndarray:
        """The weighted count of each label."""
        rows, places = self._places()
        labels = self.values[places]
        known = labels >= 0
        return np.bincount(labels[known], self.weights[rows[known]], count)

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """The row of each label, and where it is in `values`."""
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)
        before = np.cumsum(self.lengths) - self.lengths
        return rows, self.starts[rows] + np.arange(len(rows)) - before[rows]


@dataclass(frozen=True)
class WeightedLabels(LabelRows):
    """A row of labels for each sequence, where each label has a weight.

    Attributes
    ----------
    weights : float64 array, shape (M,)
        In the order of `values`; 0 where a step may have any label.
    """

    @cached_property
    def counts(self) -> np.ndarray:
        """Terms of the loss, with a weight above 0, of each sequence, (n,)."""
        before = np.concatenate([[0], np.cumsum(self.weights > 0)])
        return before[self.starts + self.lengths] - before[self.starts]

    @property
    def mean_weight(self) -> float:
        """Of all terms with a weight above 0."""
        return float(self.weights[self.weights > 0].mean())

    def take(self, rows: np.ndarray, total: int, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Labels (N, L), -1 past each row's own, and their weights (N, L) of some rows, for a mean over `total`."""
        return self._padded(self.values, rows, -1, steps), self._padded(self.weights, rows, 0, steps) / total

    def compared(
        self, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels of paths, labels and weights of all steps that have a weight, (M,)."""
        counted = weights > 0
        return said[counted], wanted[counted], weights[counted]

    def subset(self, rows: np.ndarray) -> WeightedLabels:
        """Those of some rows."""
        return replace(self, starts=self.starts[rows], lengths=self.lengths[rows])

    def frequencies(self, count: int) -> np.ndarray:
        """The weighted count of each label."""
        _, places = self._places()
        places = places[self.values[places] >= 0]
        return np.bincount(self.values[places], self.weights[places], count)


def _apart(rows: list[np.ndarray]) -> np.ndarray:
    """An array of arrays."""
    apart = np.empty(len(rows), object)
    for n, row in enumerate(rows):
        apart[n] = row
    return apart
