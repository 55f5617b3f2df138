"""What ``compute_dtype="bfloat16"`` means: products of rounded vectors and weights, in float64.

In the notation of the equations each W v becomes W̃ ṽ, and on the way back each W'δ becomes W̃'δ̃. A tilde marks numbers
that are rounded to the nearest with 8 binary digits, the even one of two; vectors are in float32 before. The gradients
Σ δ v' of weights are of numbers that are not rounded. NaN and infinity stay what they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DIGITS = 8


class RoundedProducts(np.ndarray):
    """A matrix W̃ whose products ``v @ W̃.T`` and ``δ @ W̃`` are of rounded rows: a view of its numbers."""

    def __rmatmul__(self, v: Any) -> np.ndarray:  # type: ignore[override]
        return rounded(np.asarray(v).astype(np.float32).astype(np.float64)) @ np.asarray(self)


def rounded(numbers: np.ndarray) -> np.ndarray:
    """The nearest numbers with 8 binary digits."""
    mantissas, exponents = np.frexp(numbers)
    return np.ldexp(np.rint(np.ldexp(mantissas, DIGITS)), exponents - DIGITS)
