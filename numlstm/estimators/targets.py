"""What holds for targets of every kind."""

from __future__ import annotations

from typing import Any

from .frames import is_frame, is_indexed


def not_none(y: Any, name: str) -> Any:
    """y, if it is there."""
    if y is None:
        raise ValueError(f"{name} must be given: fit requires y to be passed, but the target {name} is None")
    return y


def check_count(y: Any, X: Any, count: int, name: str) -> None:
    """One target for each sequence."""
    if len(y) != count:
        hint = ""
        if is_frame(X) and not is_indexed(X):
            hint = (
                "; each row of a DataFrame is a sequence of one channel: where the rows are steps, pass "
                "numlstm.sequences_from_frame(frame, by=...).sequences, a list of (steps, channels) arrays"
            )
        of = name.replace("y", "X")
        raise ValueError(f"{name} must have {count} entries, one for each sequence of {of}, got {len(y)}{hint}")
