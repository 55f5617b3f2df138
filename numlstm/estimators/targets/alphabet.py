"""Texts, or rows of labels without places, made into what CTC takes; and its paths made into texts."""

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
    """Rows of labels, and the steps of the sequences that say them.

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
        Sorted. The scores of a step have the blank before them.
    texts : bool
        Whether rows of labels are given, and shown, as texts.
    subsample : int
        Steps that are read as one.
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
            If there is none.
        """
        return cls(classes_of(rows.known, "y", 1), rows.texts, subsample)

    @property
    def loss(self) -> SequenceLossSpec:
        """What is lost."""
        return SequenceLossSpec("ctc", self.outputs, BLANK)

    @property
    def outputs(self) -> int:
        """Scores of a step: of the blank, and of the labels."""
        return len(self.classes) + 1

    def encode(self, rows: Rows, name: str) -> np.ndarray:
        """All labels by their numbers, from 1 on."""
        return rows.numbers(self.classes, name, first=1)

    def decode(self, numbers: Iterable[int]) -> Any:
        """A row of labels: a text, or a list."""
        labels = [self.classes[k - 1] for k in numbers]
        return "".join(labels) if self.texts else [label.item() for label in labels]

    def describe(self, scores: np.ndarray) -> str:
        """What scores predict, for a message."""
        return "labels by their frequencies"

    def score(self, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> float:
        """1 less the error rate of labels, of best paths; both are arrays of rows of numbers."""
        rows = [row[row >= 0].tolist() for row in wanted]
        errors = [edits(row, collapsed(path)) for row, path in zip(rows, said, strict=True)]
        total = float(weights @ [len(row) for row in rows])
        return 1.0 - float(weights @ errors) / total if total else float(not any(errors))


def collapsed(path: np.ndarray) -> list[int]:
    """A path without repetitions, then without blanks."""
    changes = np.flatnonzero(np.diff(path, prepend=-1))
    return [k for k in path[changes].tolist() if k != BLANK]


def least_steps(row: list[Any]) -> int:
    """Steps that a row of labels needs: one for each, and one between two that are the same."""
    return len(row) + sum(a == b for a, b in pairwise(row))


def check_room(rows: Rows, lengths: np.ndarray, alphabet: Alphabet, name: str) -> None:
    """Each sequence must have the steps that its labels need.

    Raises
    ------
    ValueError
        Naming the first that has not.
    """
    for i, (row, steps) in enumerate(zip(rows.labels, lengths.tolist(), strict=True)):
        needed, there = least_steps(row), -(-steps // alphabet.subsample)
        if needed > there:
            of = f"{steps} steps" if alphabet.subsample == 1 else f"{there} steps of subsample={alphabet.subsample}"
            raise ValueError(
                f"{name}[{i}] must fit into the {of} of {name.replace('y', 'X')}[{i}]: {len(row)} labels, "
                f"{needed - len(row)} of them repeated, need at least {needed}"
            )
