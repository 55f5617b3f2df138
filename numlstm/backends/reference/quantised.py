"""What ``compute_dtype="int8"`` means: products of quantised vectors and weights, in float64.

In the notation of the equations each W v becomes Ŵ v̂, with every number rounded to a multiple of a step::

    v̂ = s (rint(v / s + z) - z),  s = (max(v, 0) - min(v, 0)) / 254,  z = rint(-min(v, 0) / s)
    ŵ = s rint(w / s),            s = max |w| / m

Each vector v, in float32, has a step s and a zero point z of its own, and each row w of W has a step for each source
that it multiplies. rint is the nearest integer, the even one of two. m is 127, or a number in 64..126 for which each
w / s is within 0.001 of an integer: such weights have been quantised before, and lose nothing. If v or w is not finite,
all of its products are NaN; a vector of zeros stays one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FLOOR = 1e-30  # the least range that counts


class QuantisedProducts(np.ndarray):
    """A matrix W whose products ``v @ W.T`` are Ŵ v̂, for each row v; a view of the numbers of W."""

    def __rmatmul__(self, v: Any) -> np.ndarray:  # type: ignore[override]
        rows = np.array([quantised_vector(row) for row in np.asarray(v)])
        weights = np.array([quantised_weights(row) for row in np.asarray(self).T])
        return rows @ weights.T


def quantised_vector(v: np.ndarray) -> np.ndarray:
    """v̂, for one vector."""
    v = v.astype(np.float32).astype(np.float64)
    if not np.isfinite(v).all():
        return np.full_like(v, np.nan)
    low, high = min(v.min(), 0.0), max(v.max(), 0.0)
    step = max(high - low, FLOOR) / 254
    zero = np.rint(-low / step)
    return step * (np.rint(v / step + zero) - zero)


def quantised_weights(w: np.ndarray) -> np.ndarray:
    """ŵ, for one row."""
    if not np.isfinite(w).all():
        return np.full_like(w, np.nan)
    largest = max(np.abs(w).max(), FLOOR)
    for count in (*range(126, 63, -1), 127):
        step = largest / count
        numbers = np.rint(w / step)
        if np.abs(w / step - numbers).max() < 1e-3:
            break
    return step * numbers
