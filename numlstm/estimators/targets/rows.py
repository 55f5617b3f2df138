"""Rows of labels: their checks, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...training.batches import Sequences
from .checks import check_count, check_not_none, padded_steps

MOST_SHOWN = 20  # at most so many labels appear in a message


@dataclass(frozen=True)
class Rows:
    """A row of labels for each sequence.

    Attributes
    ----------
    labels : list of list
        The labels of each row; None for a step without a label.
    texts : bool
        Whether all rows were texts.
    """

    labels: list[list[Any]]
    texts: bool

    @property
    def lengths(self) -> np.ndarray:
        """Number of labels in each row."""
        return np.array([len(row) for row in self.labels], np.int64)

    @property
    def starts(self) -> np.ndarray:
        """Index among all labels where each row begins."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def known(self) -> set[Any]:
        """All different labels."""
        return {label for row in self.labels for label in row if label is not None}

    def numbers(self, classes: np.ndarray, name: str, first: int = 0) -> np.ndarray:
        """The index of each label in `classes`, counted from `first`; -1 for no label.

        Raises
        ------
        ValueError
            If a label is not among the classes.
        """
        places = {label: first + k for k, label in enumerate(classes.tolist())}
        for i, row in enumerate(self.labels):
            unknown = sorted({label for label in row if label is not None and label not in places}, key=repr)
            if unknown:
                raise ValueError(
                    f"{name}[{i}] must hold labels among {some(classes)}, got {', '.join(map(repr, unknown[:5]))}"
                )
        numbers = [-1 if label is None else places[label] for row in self.labels for label in row]
        return np.array(numbers, np.int64)


class RowPredictions(list[Any]):
    """Predictions for a list of sequences. NumPy converts the list to an array of n objects.

    So scikit-learn's `cross_val_predict` can join the predictions of several folds, whatever their lengths.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.empty(len(self), object)
        for i, prediction in enumerate(self):
            array[i] = prediction
        return array


def some(classes: np.ndarray) -> str:
    """Labels as text; only the first ones if there are many."""
    shown = classes.tolist()
    return str(shown) if len(shown) <= MOST_SHOWN else f"{str(shown[:MOST_SHOWN])[:-1]}, ...] ({len(shown)} in all)"


def classes_of(labels: Iterable[Any], name: str, least: int) -> np.ndarray:
    """The different labels, sorted.

    Raises
    ------
    ValueError
        If there are fewer than `least`, or if they are not of one kind.
    """
    try:
        different: list[Any] = sorted(set(labels))
        classes = np.array(different)
    except TypeError as error:
        raise ValueError(f"{name} must hold labels of one kind, texts or numbers: {error}") from None
    if classes.ndim != 1 or classes.dtype.kind not in "UbiufO":
        raise ValueError(f"{name} must hold labels that are texts or numbers, got {classes.dtype}")
    if len(classes) < least:
        raise ValueError(
            f"{name} must hold at least {least} different label{'s' * (least > 1)}, got {classes.tolist()}"
        )
    return classes


def checked_rows(y: Any, X: Any, sequences: Sequences, name: str = "y") -> Rows:
    """One row of labels for each sequence, of any length.

    Raises
    ------
    TypeError, ValueError
        If y has another form.
    """
    check_not_none(y, name)
    if isinstance(y, str) or not hasattr(y, "__len__"):
        raise TypeError(f"{name} must be a list with a row of labels for each sequence, got {y!r:.60}")
    rows = y.tolist() if hasattr(y, "tolist") else list(y)
    check_count(rows, X, len(sequences), name)
    for i, row in enumerate(rows):
        if not hasattr(row, "__len__"):
            raise ValueError(
                f"{name}[{i}] must be a row of labels, a list or a text, got {row!r:.60}: a label for the whole "
                "sequence is for LSTMClassifier"
            )
    return Rows([_plain(row, f"{name}[{i}]") for i, row in enumerate(rows)], all(isinstance(row, str) for row in rows))


def _plain(row: Any, name: str) -> list[Any]:
    """The labels of a row in Python's types."""
    labels = row.tolist() if hasattr(row, "tolist") else list(row)
    labels = [label.item() if isinstance(label, np.generic) else label for label in labels]
    for label in labels:
        if not isinstance(label, str | bool | int | float | None):
            raise ValueError(f"{name} must hold labels that are texts or numbers, got {label!r:.60}")
    return [None if isinstance(label, float) and math.isnan(label) else label for label in labels]


def checked_step_rows(y: Any, X: Any, sequences: Sequences, name: str, ignored: Any) -> Rows:
    """One label for each step, or None for NaN and for the label `ignored`.

    Raises
    ------
    TypeError, ValueError
        If there is not one label for each step, or if no step has a label.
    """
    rows = checked_rows(y, X, sequences, name)
    padded, steps = getattr(y, "ndim", 1) == 2, padded_steps(X, sequences)
    labels = []
    for i, (row, length) in enumerate(zip(rows.labels, sequences.lengths.tolist(), strict=True)):
        if len(row) != (steps if padded else length):
            raise ValueError(
                f"{name}[{i}] must have a label for each of the {length} steps of {name.replace('y', 'X')}[{i}], got "
                f"{len(row)} labels"
            )
        labels.append([None if label == ignored else label for label in row[:length]])
    checked = Rows(labels, rows.texts)
    if not checked.known:
        raise ValueError(f"{name} must hold a label for at least one step, got none at any step")
    return checked
