"""Labels of sequences: from y to the arguments of losses, and from scores to labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from ...backends.contract import LossSpec
from ...layers.sequences import as_numbers
from ...training.batches import Sequences
from .checks import check_count, check_not_none


@dataclass(frozen=True)
class CheckedLabels:
    """The labels in y, after all checks.

    Attributes
    ----------
    values : array, shape (n,), or (n, K) of 0 and 1
    multilabel : bool
        Whether each sequence has several labels, so that `values` is (n, K).
    """

    values: np.ndarray
    multilabel: bool


@dataclass(frozen=True)
class Classes:
    """The classes of a classifier.

    Attributes
    ----------
    classes : array, shape (K,)
        The labels, sorted; 0..K-1 if `multilabel`.
    multilabel : bool
        Whether a sequence may have several labels.
    """

    classes: np.ndarray
    multilabel: bool
    by_step = False

    @classmethod
    def among(cls, labels: CheckedLabels) -> Classes:
        """The classes that occur in labels.

        Raises
        ------
        ValueError
            If there are fewer than two classes.
        """
        if labels.multilabel:
            return cls(np.arange(labels.values.shape[1]), True)
        classes = np.unique(labels.values)
        if len(classes) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {classes.tolist()}")
        return cls(classes, False)

    @property
    def loss(self) -> LossSpec:
        """The loss that a classifier of these classes is trained with."""
        return LossSpec("binary" if self.multilabel else "softmax")

    @property
    def outputs(self) -> int:
        """Number of scores for each sequence."""
        return len(self.classes)

    def encode(self, labels: CheckedLabels, name: str = "y") -> np.ndarray:
        """Labels as the loss takes them: class indices (n,), or (n, K) of 0 and 1.

        Raises
        ------
        ValueError
            If the labels are of another kind, or if one is not among the classes.
        """
        values, multilabel = labels.values, labels.multilabel
        if multilabel != self.multilabel or (multilabel and values.shape[1] != len(self.classes)):
            kinds = {True: f"{len(self.classes)} labels of 0 and 1", False: "one label"}
            raise ValueError(f"{name} must hold {kinds[self.multilabel]} for each sequence, got shape {values.shape}")
        if multilabel:
            return values
        known = np.isin(values, self.classes)
        if not known.all():
            unknown = np.unique(values[~known]).tolist()
            raise ValueError(f"{name} must hold labels among classes {self.classes.tolist()}, got {unknown}")
        return np.searchsorted(self.classes, values).astype(np.int64)

    def weigh(self, class_weight: Any, labels: CheckedLabels) -> np.ndarray:
        """The weight that `class_weight` gives to each label.

        Raises
        ------
        ValueError
            If `class_weight` is of the wrong kind, names an unknown class, or contains a number that is not a weight.
        """
        balanced = isinstance(class_weight, str) and class_weight == "balanced"
        if balanced or (self.multilabel and isinstance(class_weight, list)):
            weights = compute_sample_weight(class_weight, labels.values)
        elif isinstance(class_weight, dict) and not self.multilabel:
            unknown = [label for label in class_weight if label not in self.classes.tolist()]
            if unknown:
                raise ValueError(f"class_weight must name classes among {self.classes.tolist()}, got {unknown}")
            weights_of_classes = as_numbers(
                [class_weight.get(label, 1.0) for label in self.classes.tolist()], "class_weight", "float64"
            )
            weights = weights_of_classes[self.encode(labels)]
        else:
            kind = "a list with a dict for each label" if self.multilabel else "a dict"
            raise ValueError(f"class_weight must be {kind}, 'balanced' or None, got {class_weight!r}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"class_weight must hold finite weights of at least 0, got {class_weight!r}")
        return weights

    def describe(self, scores: np.ndarray) -> str:
        """The prediction that belongs to scores (K,), as text for a message."""
        labels = self.decode(scores[None]).tolist()
        return f"labels {labels[0]}" if self.multilabel else f"class {labels[0]!r}"

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """The labels that belong to scores."""
        return (scores > 0).astype(np.int64) if self.multilabel else self.classes[scores.argmax(axis=1)]

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """The probability of each class, or of each label."""
        if self.multilabel:
            return expit(scores)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))  # for one row three times as fast as SciPy's softmax
        return odds / odds.sum(axis=1, keepdims=True)

    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """The logarithms of the probabilities, accurate also for small probabilities."""
        return log_expit(scores) if self.multilabel else log_softmax(scores, axis=1)

    def score(self, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """The accuracy. With several labels, a sequence counts if all its labels are correct."""
        correct = ((scores > 0) == targets).all(axis=1) if self.multilabel else scores.argmax(axis=1) == targets
        return float(np.average(correct, weights=weights))


def check_labels(y: Any, X: Any, sequences: Sequences, name: str = "y") -> CheckedLabels:
    """Check the labels of sequences.

    Raises
    ------
    ValueError
        If y does not hold one label, or one row of 0 and 1, for each sequence.
    """
    check_not_none(y, name)
    if kind_of(y, name) == "multilabel-indicator":
        labels = check_array(y, dtype=np.float64, input_name=name)
        check_count(labels, X, len(sequences), name)
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"{name} must hold only 0 and 1 if it has a column per label, got {np.unique(labels)}")
        return CheckedLabels(labels, True)
    labels = column_or_1d(y, warn=True)
    check_count(labels, X, len(sequences), name)
    check_classification_targets(labels)
    return CheckedLabels(labels, False)


def kind_of(y: Any, name: str = "y") -> str:
    """The kind of target that scikit-learn finds in y.

    Raises
    ------
    ValueError
        If y has several labels for a sequence, but not in columns of 0 and 1.
    """
    try:
        kind = type_of_target(y, input_name=name)
        shape = np.asarray(y).shape
        several = _holds_lists(y) if len(shape) == 1 else shape[1] > 1 and kind != "multilabel-indicator"
    except ValueError:
        several = _holds_lists(y)
        if not several:
            raise
    if several:
        raise ValueError(
            f"{name} must hold one label for each sequence, or columns of 0 and 1 for several labels, got sequences "
            "with several labels: a label for every step is for LSTMTagger, a number for every step for LSTMRegressor"
        )
    return kind


def _holds_lists(y: Any) -> bool:
    """Whether a list or an array of objects contains lists or arrays."""
    if not isinstance(y, list | tuple) and getattr(y, "dtype", None) != np.dtype(object):
        return False
    return any(isinstance(item, list | tuple | np.ndarray) for item in y)


def warn_if_labels_of_steps(labels: CheckedLabels, X: Any, sequences: Sequences) -> None:
    """Warn if each sequence has as many labels as steps: the labels may be meant for the steps."""
    count, padded_steps = labels.values.shape[-1], tuple(getattr(X, "shape", ()))[1:2]
    if labels.multilabel and count in (sequences.lengths.max(), *padded_steps):
        warnings.warn(
            f"y of shape {labels.values.shape} is read as {count} labels of each whole sequence, but X has {count} "
            "steps. If y has a label for every step, fit LSTMTagger",
            stacklevel=7,
        )
