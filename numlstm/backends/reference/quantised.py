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
    """A matrix Ŵ whose products ``v @ Ŵ.T`` are of quantised rows v: a view of its numbers."""

    def __rmatmul__(self, v: Any) -> np.ndarray:  # type: ignore[override]
        return np.array([quantised_vector(row) for row in np.asarray(v)]) @ np.asarray(self)


def quantised_vector(v: np.ndarray) -> np.ndarray:
    """v̂, for one vector."""
    v = v.astype(np.float32).astype(np.float64)
    if not np.isfinite(v).all():
        return np.full_like(v, np.nan)
    low, high = min(v.min(), 0.0), max(v.max(), 0.0)
    step = max(high - low, FLOOR) / 254
    zero = np.rint(-low / step)
    return step * (np.rint(v / step + zero) - zero)


def quantised_weights(W: np.ndarray) -> np.ndarray:
    """Ŵ, for weights whose last axis is that of a vector."""
    largest = np.maximum(np.abs(W).max(axis=-1, keepdims=True), FLOOR)
    largest = np.where(np.isfinite(largest), largest, np.nan)
    counts = np.full_like(largest, 127)
    for count in range(64, 127):
        numbers = W * (count / largest)
        counts[(np.abs(numbers - np.rint(numbers)) < 1e-3).all(axis=-1)] = count
    return np.rint(W * (counts / largest)) * (largest / counts)
