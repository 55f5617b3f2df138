"""Vectors of tokens: products with matrices that have a one in each row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..contract import EmbeddingSpec


def one_hot(tokens: np.ndarray, count: int) -> np.ndarray:
    """A row for each token, with a one in the token's column; only zeros for a negative token."""
    return (tokens[:, None] == np.arange(count)).astype(np.float64)


def forward(spec: EmbeddingSpec, parameters: Mapping[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """`Backend.embed`, in float64."""
    pairs = zip(spec.shapes.items(), tokens.T, strict=True)
    return np.concatenate([one_hot(column, shape[0]) @ parameters[name] for (name, shape), column in pairs], axis=1)


def backward(spec: EmbeddingSpec, tokens: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient of every table, in float64."""
    parts = np.split(dy, np.cumsum([size for _, size in spec.tables])[:-1], axis=1)
    gradients = {}
    for (name, shape), column, part, frozen in zip(spec.shapes.items(), tokens.T, parts, spec.frozen, strict=True):
        gradients[name] = np.zeros(shape) if frozen else one_hot(column, shape[0]).T @ part
    return gradients
