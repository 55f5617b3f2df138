"""Functions that all artificial tasks share."""

from __future__ import annotations

import numpy as np


def random_lengths(rng: np.random.Generator, count: int, shortest: int) -> np.ndarray:
    """Lengths between `shortest` and a tenth more, both included."""
    return rng.integers(shortest, shortest + shortest // 10 + 1, count)


def cut(padded: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The sequences of a padded array (n, T, C), without the padding."""
    return [row[:length] for row, length in zip(padded, lengths.tolist(), strict=True)]


def one_hot(symbols: np.ndarray, size: int) -> np.ndarray:
    """Symbols (...) as vectors (..., size) with one 1."""
    vectors = np.zeros((*symbols.shape, size), np.float32)
    np.put_along_axis(vectors, symbols[..., None], 1.0, axis=-1)
    return vectors
