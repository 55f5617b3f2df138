"""Operators of our own, in the domain "numlstm": steps of sequences that are masked out."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import INT, operator

OWN = "numlstm"


@operator("Compact", 2, 2, domain=OWN)
def compact(x: np.ndarray, mask: np.ndarray) -> Any:
    """Steps whose mask is true moved to the front of each row, zeros after them; and how many they are."""
    _check_mask(x, mask)
    lengths = mask.sum(1, dtype="int32")
    made = np.zeros_like(x)
    made[np.arange(mask.shape[1]) < lengths[:, None]] = x[mask]
    return made, lengths


@operator("Spread", 2, domain=OWN, zeros=INT(0), reverse=INT(0))
def spread(y: np.ndarray, mask: np.ndarray, *, zeros: int, reverse: int) -> Any:
    """Each row's first steps back to where the mask is true.

    Elsewhere there is the output of the last such step before, or with `reverse` of the next one after, and zeros where
    there is none; or zeros everywhere with `zeros`.
    """
    _check_mask(y, mask)
    made = np.zeros_like(y)
    if zeros:
        made[mask] = y[np.arange(mask.shape[1]) < mask.sum(1)[:, None]]
        return made
    before = mask.cumsum(1) - 1  # of the steps that count, the last up to this one
    source = before + ~mask if reverse else before
    there = (source >= 0) & (source < mask.sum(1)[:, None])
    rows, steps = there.nonzero()
    made[rows, steps] = y[rows, source[rows, steps]]
    return made


def _check_mask(x: np.ndarray, mask: np.ndarray) -> None:
    if mask.dtype != bool or mask.shape != x.shape[:2] or x.ndim < 2:
        raise ValueError(f"mask must be bool of shape {x.shape[:2]}, got {mask.dtype} of shape {mask.shape}")
