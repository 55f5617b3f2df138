"""Labels of steps, made into what losses take; and scores made into labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backends.contract import LossSpec, SequenceLossSpec
from ...layers.sequences import as_numbers
from .rows import Rows, classes_of, some

FORBIDDEN = -1e4  # the score of a transition that may not be: finite, and exp of it is 0


@dataclass(frozen=True)
class Tags:
    """Labels of steps.

    Attributes
    ----------
    classes : array, shape (K,)
        Sorted.
    chain : bool
        Whether the labels of a sequence belong together, by a CRF.
    unseen : array of bool, shape (K, K), or None
        Which labels must not follow on which, in training.
    """

    classes: np.ndarray
    chain: bool
    unseen: np.ndarray | None = None
    by_step = True

    @classmethod
    def among(cls, rows: Rows, chain: bool, *, forbid: bool) -> Tags:
        """The labels among rows; whether they are to `forbid` what never follows on one another.

        Raises
        ------
        ValueError
            If there are fewer than two.
        """
        classes = classes_of(rows.known, "y", 2)
        return cls(classes, chain, _unseen(rows, classes) if chain and forbid else None)

    @property
    def loss(self) -> LossSpec | SequenceLossSpec:
        """What is lost."""
        return SequenceLossSpec("crf", self.outputs) if self.chain else LossSpec("softmax")

    @property
    def outputs(self) -> int:
        """Scores of a step."""
        return len(self.classes)

    def weigh(self, class_weight: Any, rows: Rows) -> np.ndarray:
        """The weight that `class_weight` gives to each step.

        Raises
        ------
        ValueError
            If it is of the wrong kind, names a label that there is not, or holds what is no weight.
        """
        numbers = rows.numbers(self.classes, "y")
        if isinstance(class_weight, str) and class_weight == "balanced":
            counts = np.bincount(numbers[numbers >= 0], minlength=self.outputs)
            weights = counts.sum() / (np.maximum(counts, 1) * np.count_nonzero(counts))
        elif isinstance(class_weight, dict):
            unknown = [label for label in class_weight if label not in self.classes.tolist()]
            if unknown:
                raise ValueError(f"class_weight must name labels among {some(self.classes)}, got {unknown}")
            each = [class_weight.get(label, 1.0) for label in self.classes.tolist()]
            weights = as_numbers(each, "class_weight", "float64")
        else:
            raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"class_weight must hold finite weights of at least 0, got {class_weight!r}")
        return weights[numbers]

    def describe(self, scores: np.ndarray) -> str:
        """What scores (K,) predict, for a message."""
        return f"label {self.classes.tolist()[int(scores.argmax())]!r}"

    def score(self, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> float:
        """The share of labelled steps that are right.

        With a chain `said` and `wanted` are arrays of rows of numbers, `weights` those of the rows; else scores (M, K),
        numbers (M,) and weights (M,).
        """
        if not self.chain:
            return float(np.average(said.argmax(axis=1) == wanted, weights=weights))
        right = [(path == row[: len(path)]).sum() for path, row in zip(said, wanted, strict=True)]
        labelled = [(row >= 0).sum() for row in wanted]
        return float(weights @ right / (weights @ labelled))


def _unseen(rows: Rows, classes: np.ndarray) -> np.ndarray:
    """Which pairs of labels never follow on one another, (K, K)."""
    unseen = np.ones((len(classes), len(classes)), bool)
    numbers, starts = rows.numbers(classes, "y"), rows.starts
    for start, length in zip(starts.tolist(), rows.lengths.tolist(), strict=True):
        first, second = numbers[start : start + length - 1], numbers[start + 1 : start + length]
        known = (first >= 0) & (second >= 0)
        unseen[first[known], second[known]] = False
    return unseen
