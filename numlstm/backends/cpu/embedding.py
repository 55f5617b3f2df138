"""Vectors of tokens, and their gradients."""

from __future__ import annotations

import numpy as np

from ..contract import EmbeddingSpec
from .machine import recording
from .machine.compiling import kernel


@kernel
def gather(table, tokens, column, out):
    """Write the vectors of tokens to columns of `out`, from `column` on; zeros for negative tokens."""
    size = table.shape[1]
    for m in range(len(tokens)):
        token = tokens[m]
        for e in range(size):
            out[m, column + e] = table[token, e] if token >= 0 else table.dtype.type(0)


@kernel
def scatter(tokens, dy, column, gradient):
    """Add the gradients of vectors to the rows of their tokens, in the order of the steps."""
    size = gradient.shape[1]
    for m in range(len(tokens)):
        token = tokens[m]
        if token >= 0:
            for e in range(size):
                gradient[token, e] += dy[m, column + e]


class EmbeddingWeights:
    """Tables of vectors. They are views of the flat vector, so they are always up to date."""

    def __init__(self, spec: EmbeddingSpec, flat: np.ndarray) -> None:
        self.spec, self.tables = spec, tables_of(spec, flat)

    def refresh(self) -> None:
        """Do nothing: the views show the new values of the flat vector."""


def tables_of(spec: EmbeddingSpec, flat: np.ndarray) -> list[np.ndarray]:
    """The tables in a flat vector."""
    ends = [start + count * size for (start, _, size), (count, _) in zip(spec.places, spec.tables, strict=True)]
    return [
        flat[start:end].reshape(shape) for (start, _, _), end, shape in zip(spec.places, ends, spec.tables, strict=True)
    ]


def embed(weights: EmbeddingWeights, tokens: np.ndarray) -> np.ndarray:
    """`Backend.embed` for NumPy arrays."""
    out = recording.memory((len(tokens), weights.spec.output_size), weights.spec.dtype)
    for k, (table, (_, column, _)) in enumerate(zip(weights.tables, weights.spec.places, strict=True)):
        recording.do(gather[out.dtype], table, recording.contiguous(tokens[:, k]), column, out)
    return out


def embed_backward(weights: EmbeddingWeights, tokens: np.ndarray, dy: np.ndarray, gradient: np.ndarray) -> None:
    """`Backend.embed_backward` for NumPy arrays."""
    recording.do(gradient.fill, 0)
    dy, spec = recording.contiguous(dy), weights.spec
    for k, (table, (_, column, _)) in enumerate(zip(tables_of(spec, gradient), spec.places, strict=True)):
        if not spec.frozen[k]:
            recording.do(scatter[dy.dtype], recording.contiguous(tokens[:, k]), dy, column, table)
