"""Labels of steps: from y to the arguments of losses, and from scores to labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backends.contract import LossSpec, SequenceLossSpec
from ...layers.sequences import as_numbers
from .rows import Rows, classes_of, some

FORBIDDEN = -1e4  # the score of a forbidden transition: finite, but exp of it is 0


@dataclass(frozen=True)
class Tags:
    """Labels of steps.

    Attributes
    ----------
    classes : array, shape (K,)
        The labels, sorted.
    chain : bool
        Whether a CRF predicts the labels of a sequence together.
    unseen : array of bool, shape (K, K), or None
        True at (i, j) if label j must not follow label i.
    """

    classes: np.ndarray
    chain: bool
    unseen: np.ndarray | None = None
    by_step = True

    @classmethod
    def among(cls, rows: Rows, chain: bool, *, forbid: bool) -> Tags:
        """The labels in rows; with `forbid`, pairs that never occur in them are forbidden.

        Raises
        ------
        ValueError
            If there are fewer than two labels.
        """
        classes = classes_of(rows.known, "y", 2)
        return cls(classes, chain, _unseen(rows, classes) if chain and forbid else None)

    @property
    def loss(self) -> LossSpec | SequenceLossSpec:
        """The loss of a tagger."""
        return SequenceLossSpec("crf", self.outputs) if self.chain else LossSpec("softmax")

    @property
    def outputs(self) -> int:
        """Number of scores at each step."""
        return len(self.classes)

    def weigh(self, class_weight: Any, rows: Rows) -> np.ndarray:
        """The weight that `class_weight` gives to each step.

        Raises
        ------
        ValueError
            If `class_weight` is of the wrong kind, names an unknown label, or contains a number that is not a weight.
        """
        numbers = rows.numbers(self.classes, "y")
        if isinstance(class_weight, str) and class_weight == "balanced":
            counts = np.bincount(numbers[numbers >= 0], minlength=self.outputs)
            weights = counts.sum() / (np.maximum(counts, 1) * np.count_nonzero(counts))
        elif isinstance(class_weight, dict):
            unknown = [label for label in class_weight if label not in self.classes.tolist()]
            if unknown:
                raise ValueError(f"class_weight must name labels among {some(self.classes)}, got {unknown}")
            by_class = [class_weight.get(label, 1.0) for label in self.classes.tolist()]
            weights = as_numbers(by_class, "class_weight", "float64")
        else:
            raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"class_weight must hold finite weights of at least 0, got {class_weight!r}")
        return weights[numbers]

    def describe(self, scores: np.ndarray) -> str:
        """The prediction of scores (K,), as text for a message."""
        return f"label {self.classes.tolist()[int(scores.argmax())]!r}"

    def score(self, predicted: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """The share of labelled steps whose prediction is correct.

        With a chain, `predicted` and `targets` hold rows of numbers, and `weights` has one weight for each row; or, if
        labels have weights, all three are (M,). Without a chain they are scores (M, K), numbers (M,) and weights (M,).
        """
        if targets.dtype != object:
            labels = predicted if self.chain else predicted.argmax(axis=1)
            return float(np.average(labels == targets, weights=weights))
        correct = [(path == row[: len(path)]).sum() for path, row in zip(predicted, targets, strict=True)]
        labelled = [(row >= 0).sum() for row in targets]
        return float(weights @ correct / (weights @ labelled))


def _unseen(rows: Rows, classes: np.ndarray) -> np.ndarray:
    """True at (i, j) if label j never follows label i in rows, (K, K)."""
    unseen = np.ones((len(classes), len(classes)), bool)
    numbers, starts = rows.numbers(classes, "y"), rows.starts
    for start, length in zip(starts.tolist(), rows.lengths.tolist(), strict=True):
        first, second = numbers[start : start + length - 1], numbers[start + 1 : start + length]
        known = (first >= 0) & (second >= 0)
        unseen[first[known], second[known]] = False
    return unseen
