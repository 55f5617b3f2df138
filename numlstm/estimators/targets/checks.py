"""Checks that targets of all kinds need."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...training.batches import Sequences
from ..data.forms import array_or_list
from ..data.frames import is_frame, is_indexed


def check_not_none(y: Any, name: str) -> None:
    """Check that y is not None."""
    if y is None:
        raise ValueError(f"{name} must be given: fit requires y to be passed, but the target {name} is None")


def check_count(y: Any, X: Any, count: int, name: str) -> None:
    """Check that y has one target for each sequence."""
    if len(y) != count:
        hint = ""
        if is_frame(X) and not is_indexed(X):
            hint = (
                "; each row of a DataFrame is a sequence of one channel: if the rows are steps, pass "
                "numlstm.sequences_from_frame(frame, by=...).sequences, a list of (steps, channels) arrays"
            )
        x_name = name.replace("y", "X")
        raise ValueError(f"{name} must have {count} entries, one for each sequence of {x_name}, got {len(y)}{hint}")


def padded_steps(X: Any, sequences: Sequences) -> int:
    """T of an array with a row for each sequence of X, and a column for each step."""
    X = array_or_list(X)
    is_list = isinstance(X, list | tuple) or np.ndim(X) < 2
    return int(sequences.lengths.max()) if is_list else np.shape(X)[1]
