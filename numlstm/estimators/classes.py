"""Labels of sequences, made into what losses take; and scores made into labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from ..backends.contract import LossSpec
from ..layers.sequences import as_numbers
from .targets import check_count, not_none


@dataclass(frozen=True)
class Classes:
    """Labels of sequences: one of several classes, or any number of them.

    Attributes
    ----------
    classes : array, shape (K,)
        Sorted; of several labels 0..K-1.
    multilabel : bool
    """

    classes: np.ndarray
    multilabel: bool

    @classmethod
    def among(cls, y: Any, X: Any, count: int) -> Classes:
        """The classes among labels y.

        Raises
        ------
        ValueError
            If `y` is not one label, or one row of 0 and 1, for each of `count` sequences, or holds fewer than two
            classes.
        """
        labels, multilabel = checked_labels(y, X, count)
        if multilabel:
            return cls(np.arange(labels.shape[1]), True)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {classes.tolist()}")
        return cls(classes, False)

    @property
    def loss(self) -> LossSpec:
        """What is lost."""
        return LossSpec("binary" if self.multilabel else "softmax")

    @property
    def outputs(self) -> int:
        """Scores of a sequence."""
        return len(self.classes)

    def encode(self, y: Any, X: Any, count: int, name: str = "y") -> np.ndarray:
        """Labels as the loss takes them: class indices (n,), or (n, K) of 0 and 1.

        Raises
        ------
        ValueError
            If they are of another kind, or not among the classes.
        """
        labels, multilabel = checked_labels(y, X, count, name)
        if multilabel != self.multilabel or (multilabel and labels.shape[1] != len(self.classes)):
            kinds = {True: f"{len(self.classes)} labels of 0 and 1", False: "one label"}
            raise ValueError(f"{name} must hold {kinds[self.multilabel]} for each sequence, got shape {labels.shape}")
        if multilabel:
            return labels
        known = np.isin(labels, self.classes)
        if not known.all():
            unknown = np.unique(labels[~known]).tolist()
            raise ValueError(f"{name} must hold labels among classes {self.classes.tolist()}, got {unknown}")
        return np.searchsorted(self.classes, labels).astype(np.int64)

    def weigh(self, class_weight: Any, y: Any) -> np.ndarray:
        """The weight that `class_weight` gives to each of some checked labels.

        Raises
        ------
        ValueError
            If it is of the wrong kind, names a class that there is not, or holds what is no weight.
        """
        balanced = isinstance(class_weight, str) and class_weight == "balanced"
        if self.multilabel:
            if not balanced and not isinstance(class_weight, list):
                raise ValueError(
                    f"class_weight must be 'balanced' or a list with a dict for each label, got {class_weight!r}"
                )
            weights = compute_sample_weight(class_weight, y)
        elif balanced:
            weights = compute_sample_weight(class_weight, y)
        elif isinstance(class_weight, dict):
            unknown = [label for label in class_weight if label not in self.classes.tolist()]
            if unknown:
                raise ValueError(f"class_weight must name classes among {self.classes.tolist()}, got {unknown}")
            each = as_numbers(
                [class_weight.get(label, 1.0) for label in self.classes.tolist()], "class_weight", "float64"
            )
            weights = each[self.encode(y, None, len(y))]
        else:
            raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"class_weight must hold finite weights of at least 0, got {class_weight!r}")
        return weights

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Labels that belong to scores."""
        return (scores > 0).astype(np.int64) if self.multilabel else self.classes[scores.argmax(axis=1)]

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probability of each class, or label."""
        if self.multilabel:
            return expit(scores)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))  # a third of the time of SciPy's, for one row
        return odds / odds.sum(axis=1, keepdims=True)

    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Their logarithms, without loss where they are small."""
        return log_expit(scores) if self.multilabel else log_softmax(scores, axis=1)

    def score(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """Accuracy; of several labels, the share of sequences that have them all right."""
        right = ((scores > 0) == targets).all(axis=1) if self.multilabel else scores.argmax(axis=1) == targets
        return float(np.average(right, weights=weights))


def checked_labels(y: Any, X: Any, count: int, name: str = "y") -> tuple[np.ndarray, bool]:
    """Labels (n,), or (n, K) of 0 and 1 and then True.

    Raises
    ------
    ValueError
        If they are neither.
    """
    y = not_none(y, name)
    if type_of_target(y, input_name=name) == "multilabel-indicator":
        labels = check_array(y, dtype=np.float64, input_name=name)
        check_count(labels, X, count, name)
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 and 1 where it has a column for each label, got {np.unique(labels)}")
        return labels, True
    labels = column_or_1d(y, warn=True)
    check_count(labels, X, count, name)
    check_classification_targets(labels)
    return labels, False
