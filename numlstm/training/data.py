"""Sequences with their targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .batches import Sequences
from .labels import LabelRows
from .targets import StepTargets, Targets


@dataclass(frozen=True)
class Data:
    """Sequences, their targets, and their static features (n, F)."""

    sequences: Sequences
    targets: Targets | StepTargets | LabelRows
    static: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def subset(self, rows: np.ndarray) -> Data:
        """Some of the sequences."""
        return Data(self.sequences.subset(rows), self.targets.subset(rows), take_rows(self.static, rows))

    def window(self, rows: np.ndarray, start: int, steps: int) -> Data:
        """Some steps of some of the sequences, as `Sequences.window` has them; each step must have a target."""
        part = self.subset(rows)
        assert isinstance(part.targets, StepTargets)
        return replace(part, sequences=part.sequences.window(start, steps), targets=part.targets.window(start, steps))


def take_rows(static: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Some rows of the static features, or None if there are none."""
    return None if static is None else static[rows]
