"""The embedding before the recurrent layers: a vector for each token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backends.contract import Array, Backend, EmbeddingSpec, Lookup, Noise, Seed
from ..backends.streams import row_hashes, threshold

FIRST_STREAM = 1 << 20  # a layer number that no stack uses: masks of units, then masks of each table's tokens


@dataclass(frozen=True)
class TokenChannels:
    """The channels that hold numbers of tokens, and the tables of their vectors.

    The recurrent layers read the other channels first, in their order, and then the vectors.

    Attributes
    ----------
    spec : EmbeddingSpec
    channels : tuple of int
        The channel of each table.
    numeric : tuple of int
        The other channels.
    embedding_dropout : float in [0, 1)
        Share of the units of all vectors that are zeroed in training: the same units at all steps of a sequence.
    token_dropout : float in [0, 1)
        Share of the tokens that are zeroed in training, at all their places in a sequence (Gal & Ghahramani 2016).
    """

    spec: EmbeddingSpec
    channels: tuple[int, ...]
    numeric: tuple[int, ...] = ()
    embedding_dropout: float = 0.0
    token_dropout: float = 0.0

    @property
    def random(self) -> bool:
        """Whether training needs random numbers."""
        return bool(self.embedding_dropout or self.token_dropout)

    @property
    def output_size(self) -> int:
        """D, the number of inputs of the recurrent layers."""
        return len(self.numeric) + self.spec.output_size

    def repeat_in(self, x: np.ndarray) -> bool:
        """Whether x (N, T, C) holds nothing but one channel of tokens, and more of them than the table has rows."""
        return (
            not self.numeric and len(self.channels) == 1 and not self.random and self.spec.tables[0][0] < x[..., 0].size
        )

    def lookup(self, backend: Backend, table: Array, x: np.ndarray) -> tuple[Lookup, Tape]:
        """As `read`, but the recurrent layers look the vectors up."""
        rows = backend.take_channels(x, self.channels, "int64")[:, :, 0]
        count, size = self.spec.tables[0]
        vectors = Lookup(table.reshape(count, size), rows)
        return vectors, Tape(rows.reshape(-1, 1), None, self._if_learnt((count, size)))

    def read(self, backend: Backend, weights: Any, x: np.ndarray, seed: Seed | None = None) -> tuple[Array, Tape]:
        """The input (N, T, D) of the recurrent layers for x (N, T, C), and the tape for `backward`.

        With a `seed`, it drops units and tokens.
        """
        rows, steps, _ = x.shape
        tokens = backend.take_channels(x, self.channels, "int64")
        if seed is not None and self.token_dropout:
            tokens = self._without_dropped(tokens, seed)
        tape = Tape(tokens.reshape(rows * steps, -1), seed, self._if_learnt((rows, steps, self.output_size)))
        vectors = self._drop(backend, backend.embed(weights, tape.tokens).reshape(rows, steps, -1), tape)
        if not self.numeric:
            return vectors, tape
        numbers = backend.take_channels(x, self.numeric, self.spec.dtype)
        return backend.concatenate([backend.upload(numbers, self.spec.dtype), vectors]), tape

    def _if_learnt(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape, if a table learns."""
        return None if all(self.spec.frozen) else shape

    def backward(self, backend: Backend, weights: Any, tape: Tape, dx: Array | None, gradient: Array) -> None:
        """Overwrite `gradient` with the gradient of the tables, from that of the result of `read` or `lookup`."""
        if dx is None:
            gradient[...] = 0.0
            return
        if len(dx.shape) == 2:
            backend.assign(gradient, dx.reshape(-1))
            return
        dvectors = dx[:, :, len(self.numeric) :] if self.numeric else dx
        if self.numeric:
            dvectors = backend.multiply(dvectors, 1.0)
        dvectors = self._drop(backend, dvectors, tape)
        backend.embed_backward(weights, tape.tokens, dvectors.reshape(len(tape.tokens), -1), gradient)

    def vectors(self, parameters: Mapping[str, np.ndarray], values: np.ndarray) -> np.ndarray:
        """The input (N, D) of the recurrent layers for one step of N sequences, values (N, C)."""
        tables = [parameters[name] for name in self.spec.shapes]
        parts = [table[values[:, k].astype(np.int64)] for table, k in zip(tables, self.channels, strict=True)]
        return np.concatenate([values[:, list(self.numeric)].astype(self.spec.dtype), *parts], axis=1)

    def _drop(self, backend: Backend, vectors: Array, tape: Tape) -> Array:
        """Vectors, or their gradients, with dropped units at zero; the others are scaled up."""
        if tape.seed is None:
            return vectors
        if self.token_dropout:
            vectors = backend.multiply(vectors, 1.0 / (1.0 - self.token_dropout))
        if self.embedding_dropout:
            vectors = backend.dropout(vectors, self.embedding_dropout, Noise(tape.seed, FIRST_STREAM), per_step=False)
        return vectors

    def _without_dropped(self, tokens: np.ndarray, seed: Seed) -> np.ndarray:
        """Tokens (N, T, F), with -1 for dropped tokens."""
        stay = [
            row_hashes(Noise(seed, FIRST_STREAM + 1 + k), "dropout", tokens[:, :, k]) >= threshold(self.token_dropout)
            for k in range(tokens.shape[2])
        ]
        return np.where(np.stack(stay, axis=2), tokens, -1)


class Tape(NamedTuple):
    """The values that `backward` needs: tokens (N · T, F), and the seed of dropout.

    `input_shape` is that of the gradient it takes: (N, T, D), or that of the table where vectors are looked up; None
    where it takes none, as no table learns.
    """

    tokens: np.ndarray
    seed: Seed | None
    input_shape: tuple[int, ...] | None
