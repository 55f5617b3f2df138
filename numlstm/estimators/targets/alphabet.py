"""Labels of texts: from texts to the numbers that CTC takes, and from its paths back to texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ...backends.contract import SequenceLossSpec
from ...distances import edits
from .rows import Rows, classes_of

BLANK = 0


@dataclass(frozen=True)
class Texts(Rows):
    """Rows of labels, and the lengths of their sequences.

    Attributes
    ----------
    steps : int64 array, shape (n,)
    """

    steps: np.ndarray


@dataclass(frozen=True)
class Alphabet:
    """Labels of texts.

    Attributes
    ----------
    classes : array, shape (K,)
        The labels, sorted. In the scores of a step, the blank comes before them.
    texts : bool
        Whether rows of labels are texts in y and in predictions.
    subsample : int
        Steps that the network reads as one.
    """

    classes: np.ndarray
    texts: bool
    subsample: int
    by_step = True

    @classmethod
    def among(cls, rows: Rows, subsample: int) -> Alphabet:
        """The labels among rows.

        Raises
        ------
        ValueError
            If there is no label.
        """
        return cls(classes_of(rows.known, "y", 1), rows.texts, subsample)

    @property
    def loss(self) -> SequenceLossSpec:
        """The loss of a transcriber."""
        return SequenceLossSpec("ctc", self.outputs, BLANK)

    @property
    def outputs(self) -> int:
        """Number of scores at each step: one for the blank, and one for each label."""
        return len(self.classes) + 1

    def encode(self, rows: Rows, name: str) -> np.ndarray:
        """The numbers of all labels, from 1."""
        return rows.numbers(self.classes, name, first=1)

    def decode(self, numbers: Iterable[int]) -> Any:
        """The labels of numbers, as a text or a list."""
        labels = [self.classes[k - 1] for k in numbers]
        return "".join(labels) if self.texts else [label.item() for label in labels]

    def describe(self, scores: np.ndarray) -> str:
        """The prediction of scores, as text for a message."""
        return "labels by their frequencies"

    def score(self, paths: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
        """1 minus the error rate of labels of best paths; `paths` and `targets` hold rows of numbers."""
        rows = [row[row >= 0].tolist() for row in targets]
        errors = [edits(row, collapsed(path)) for row, path in zip(rows, paths, strict=True)]
        total = float(weights @ [len(row) for row in rows])
        return 1.0 - float(weights @ errors) / total if total else float(not any(errors))


def collapsed(path: np.ndarray) -> list[int]:
    """A path without repetitions, then without blanks."""
    changes = np.flatnonzero(np.diff(path, prepend=-1))
    return [k for k in path[changes].tolist() if k != BLANK]


def least_steps(row: list[Any]) -> int:
    """Steps that a row of labels needs: one for each label, and one between two equal neighbours."""
    return len(row) + sum(a == b for a, b in pairwise(row))


def check_room(rows: Rows, lengths: np.ndarray, alphabet: Alphabet, name: str) -> None:
    """Check that each sequence has the steps that its labels need.

    Raises
    ------
    ValueError
        If a sequence has too few; the message names the first one.
    """
    for i, (row, steps) in enumerate(zip(rows.labels, lengths.tolist(), strict=True)):
        needed, available = least_steps(row), -(-steps // alphabet.subsample)
        if needed > available:
            subsampled = "" if alphabet.subsample == 1 else f" of subsample={alphabet.subsample}"
            raise ValueError(
                f"{name}[{i}] must fit into the {available} steps{subsampled} of {name.replace('y', 'X')}[{i}]: "
                f"{len(row)} labels, {needed - len(row)} of them repeated, need at least {needed}"
            )
