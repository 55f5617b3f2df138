"""Edit distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def edits(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Insertions, deletions and substitutions that make `a` into `b`: Levenshtein's distance."""
    numbers = {label: k for k, label in enumerate({*a, *b})}
    columns = np.array([numbers[label] for label in b], np.int64)
    places = np.arange(len(b) + 1)
    best = places.copy()
    for label in a:
        change = np.empty_like(best)
        change[0] = best[0] + 1
        change[1:] = np.minimum(best[1:] + 1, best[:-1] + (columns != numbers[label]))
        best = np.minimum.accumulate(change - places) + places  # insertions, from left to right
    return int(best[-1])
