"""Labels of sequences, made into what losses take; and scores made into labels."""

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
from .checks import check_count, not_none


@dataclass(frozen=True)
class Labels:
    """Checked labels.

    Attributes
    ----------
    values : array, shape (n,), or (n, K) of 0 and 1
    multilabel : bool
        Whether they are the latter.
    """

    values: np.ndarray
    multilabel: bool


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
    by_step = False

    @classmethod
    def among(cls, labels: Labels) -> Classes:
        """The classes among labels.

        Raises
        ------
        ValueError
            If there are fewer than two.
        """
        if labels.multilabel:
            return cls(np.arange(labels.values.shape[1]), True)
        classes = np.unique(labels.values)
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

    def encode(self, labels: Labels, name: str = "y") -> np.ndarray:
        """Labels as the loss takes them: class indices (n,), or (n, K) of 0 and 1.

        Raises
        ------
        ValueError
            If they are of another kind, or not among the classes.
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

    def weigh(self, class_weight: Any, labels: Labels) -> np.ndarray:
        """The weight that `class_weight` gives to each of some labels.

        Raises
        ------
        ValueError
            If it is of the wrong kind, names a class that there is not, or holds what is no weight.
        """
        balanced = isinstance(class_weight, str) and class_weight == "balanced"
        if balanced or (self.multilabel and isinstance(class_weight, list)):
            weights = compute_sample_weight(class_weight, labels.values)
        elif isinstance(class_weight, dict) and not self.multilabel:
            unknown = [label for label in class_weight if label not in self.classes.tolist()]
            if unknown:
                raise ValueError(f"class_weight must name classes among {self.classes.tolist()}, got {unknown}")
            each = as_numbers(
                [class_weight.get(label, 1.0) for label in self.classes.tolist()], "class_weight", "float64"
            )
            weights = each[self.encode(labels)]
        else:
            kind = "a list with a dict for each label" if self.multilabel else "a dict"
            raise ValueError(f"class_weight must be {kind}, 'balanced' or None, got {class_weight!r}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"class_weight must hold finite weights of at least 0, got {class_weight!r}")
        return weights

    def shown(self, scores: np.ndarray) -> str:
        """What scores (K,) predict, for a message."""
        labels = self.decode(scores[None]).tolist()
        return f"labels {labels[0]}" if self.multilabel else f"class {labels[0]!r}"

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


def checked_labels(y: Any, X: Any, sequences: Sequences, name: str = "y") -> Labels:
    """The labels of sequences.

    Raises
    ------
    ValueError
        If there is not one label, or one row of 0 and 1, for each.
    """
    y = not_none(y, name)
    if kind_of(y, name) == "multilabel-indicator":
        labels = check_array(y, dtype=np.float64, input_name=name)
        check_count(labels, X, len(sequences), name)
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 and 1 where it has a column for each label, got {np.unique(labels)}")
        return Labels(labels, True)
    labels = column_or_1d(y, warn=True)
    check_count(labels, X, len(sequences), name)
    check_classification_targets(labels)
    return Labels(labels, False)


def kind_of(y: Any, name: str = "y") -> str:
    """What scikit-learn takes y for.

    Raises
    ------
    ValueError
        If it has several labels for a sequence, but not in columns of 0 and 1.
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
            f"{name} must hold one label for each sequence, or columns of 0 and 1 for several, got sequences with "
            "several labels: a label for every step is for a tagger, which numlstm does not have yet, a number for "
            "every step for LSTMRegressor"
        )
    return kind


def _holds_lists(y: Any) -> bool:
    """Whether a list or an array of objects has lists or arrays in it."""
    if not isinstance(y, list | tuple) and getattr(y, "dtype", None) != np.dtype(object):
        return False
    return any(isinstance(each, list | tuple | np.ndarray) for each in y)


def warn_of_steps(labels: Labels, X: Any, sequences: Sequences) -> None:
    """Tell that labels could be meant for steps, if there are as many for each sequence."""
    count, padded = labels.values.shape[-1], tuple(getattr(X, "shape", ()))[1:2]
    if labels.multilabel and count in (sequences.lengths.max(), *padded):
        warnings.warn(
            f"y of shape {labels.values.shape} is read as {count} labels of each whole sequence, but X has {count} "
            "steps, too. If y has a label for every step, which numlstm has no classifier for yet, fit LSTMRegressor "
            "with y[:, :, None], a number for every step",
            stacklevel=7,
        )
