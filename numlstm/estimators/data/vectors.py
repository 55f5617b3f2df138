"""Vectors of tokens that users pass as `embedding`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .categories import TokenReading
from .tokens import Vocabulary, default_size


def vector_size(size: int | str, embedding: Any, words: Vocabulary) -> int:
    """The size of a token's vector: that of `embedding`, if it is set.

    Raises
    ------
    TypeError, ValueError
        If `embedding` is neither a matrix with a row for each token nor a mapping of tokens to vectors of one length.
    """
    if embedding is None:
        return default_size(words.count) if size == "auto" else int(size)
    if isinstance(embedding, Mapping):
        shapes = {np.shape(vector) for vector in embedding.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"embedding must map tokens to vectors of one length, got shapes {sorted(shapes)}")
        return next(iter(shapes))[0]
    if np.ndim(embedding) != 2 or len(embedding) != words.count:
        raise ValueError(
            f"embedding must have shape ({words.count}, size), a row for unknown tokens and one for each of "
            f"{words.count - 1} tokens, got {np.shape(embedding)}"
        )
    return np.shape(embedding)[1]


def replace_vectors(parameters: dict[str, np.ndarray], embedding: Any, reading: TokenReading) -> None:
    """Write the vectors that users pass into initial parameters; tokens without a vector keep their initial one.

    Raises
    ------
    ValueError
        If several channels hold tokens, or if a number is not finite.
    """
    if len(reading.vocabularies) > 1:
        raise ValueError(f"embedding must be None with {len(reading.vocabularies)} categorical channels")
    table, words = parameters["embedding_0"], reading.vocabularies[0]
    if isinstance(embedding, Mapping):
        for token, number in words.numbers.items():
            if token in embedding:
                table[number] = embedding[token]
    else:
        table[...] = embedding
    if not np.isfinite(table).all():
        raise ValueError("embedding must be finite, but contains NaN, infinity or a number too large")
