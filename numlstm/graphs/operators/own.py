"""Numlstm's own operators, in the domain "numlstm": they take masked steps out of sequences, and put outputs back."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import INT, operator

OWN = "numlstm"


@operator("Compact", 2, 2, domain=OWN)
def compact(x: np.ndarray, mask: np.ndarray) -> Any:
    """The steps whose mask is true, moved to the front of each row, with zeros after them; and their number."""
    _check_mask(x, mask)
    lengths = mask.sum(1, dtype="int32")
    result = np.zeros_like(x)
    result[np.arange(mask.shape[1]) < lengths[:, None]] = x[mask]
    return result, lengths


@operator("Spread", 2, domain=OWN, zeros=INT(0), reverse=INT(0))
def spread(y: np.ndarray, mask: np.ndarray, *, zeros: int, reverse: int) -> Any:
    """The first steps of each row, moved back to where the mask is true.

    A masked step gets the output of the last step before it whose mask is true, or with `reverse` of the next one; it
    gets zeros if there is none, and always with `zeros`.
    """
    _check_mask(y, mask)
    result = np.zeros_like(y)
    if zeros:
        result[mask] = y[np.arange(mask.shape[1]) < mask.sum(1)[:, None]]
        return result
    before = mask.cumsum(1) - 1  # of the steps that count, the last up to this one
    source = before + ~mask if reverse else before
    there = (source >= 0) & (source < mask.sum(1)[:, None])
    rows, steps = there.nonzero()
    result[rows, steps] = y[rows, source[rows, steps]]
    return result


def _check_mask(x: np.ndarray, mask: np.ndarray) -> None:
    if mask.dtype != bool or mask.shape != x.shape[:2] or x.ndim < 2:
        raise ValueError(f"mask must be bool of shape {x.shape[:2]}, got {mask.dtype} of shape {mask.shape}")
