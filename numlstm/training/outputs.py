"""Output layers: from the vectors of steps or sequences to scores, and the loss of scores with all gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.contract import AffineSpec, Array, Backend, LossSpec

HEAD = "_output"  # the names of the output layer's parameters end with this
BLOCK = 1 << 18  # scores that are computed at once where a loss is a sum over rows
REDUCTION = 4  # the words of a tail have vectors smaller by this factor than those of the tail before
SOFTMAX = LossSpec("softmax")


@dataclass(frozen=True)
class FullSoftmax:
    """One affine map to the scores of all classes.

    Attributes
    ----------
    features : int
        Numbers of the vectors that it reads.
    outputs : int
        Number of classes.
    dtype : str
    """

    features: int
    outputs: int
    dtype: str = "float32"

    @property
    def specs(self) -> dict[str, AffineSpec]:
        """The affine maps, by the suffix of their parameters' names."""
        return {HEAD: AffineSpec(self.features, self.outputs, self.dtype)}

    def loss(
        self, backend: Backend, weights: Mapping[str, Any], features: Array, targets: np.ndarray,
        row_weights: np.ndarray, gradients: Mapping[str, Array],
    ) -> tuple[float | Any, Array]:  # fmt: skip
        """The weighted sum of the cross-entropies of vectors (M, F), and its gradient (M, F).

        Targets are int64 (M,). The gradient of the parameters overwrites `gradients`.
        """
        scores = backend.affine_forward(weights[HEAD], features)
        loss, dscores = backend.loss(SOFTMAX, scores, targets, row_weights)
        return loss, backend.affine_backward(weights[HEAD], features, dscores, gradients[HEAD])

    def log_probabilities(self, backend: Backend, weights: Mapping[str, Any], features: Array) -> np.ndarray:
        """Logarithms of the probabilities of all classes, float64 (M, K)."""
        return log_softmax(backend.to_numpy(backend.affine_forward(weights[HEAD], features)))


@dataclass(frozen=True)
class AdaptiveSoftmax:
    """A softmax over frequent classes and groups of rare ones, the tails (Grave et al. 2017, section 4).

    The head has a score for each frequent class and for each tail. The probability of a rare class is that of its tail
    times its probability in the tail. The scores of a tail are computed only for rows whose target is in it, from a
    projection of the vectors that is smaller by the factor 4 for each further tail.

    Attributes
    ----------
    features, outputs, dtype
        As in `FullSoftmax`; the classes are sorted by falling frequency.
    cutoffs : tuple of int
        The first class of each tail, growing.
    """

    features: int
    outputs: int
    cutoffs: tuple[int, ...]
    dtype: str = "float32"

    @property
    def tails(self) -> list[tuple[int, int]]:
        """The first class of each tail, and the class after its last one."""
        return list(zip(self.cutoffs, (*self.cutoffs[1:], self.outputs), strict=True))

    @property
    def specs(self) -> dict[str, AffineSpec]:
        """The affine maps, by the suffix of their parameters' names."""
        specs = {HEAD: AffineSpec(self.features, self.cutoffs[0] + len(self.cutoffs), self.dtype)}
        for k, (first, last) in enumerate(self.tails):
            size = max(1, self.features // REDUCTION ** (k + 1))
            specs[f"_projection_{k}"] = AffineSpec(self.features, size, self.dtype)
            specs[f"_tail_{k}"] = AffineSpec(size, last - first, self.dtype)
        return specs

    def loss(
        self, backend: Backend, weights: Mapping[str, Any], features: Array, targets: np.ndarray,
        row_weights: np.ndarray, gradients: Mapping[str, Array],
    ) -> tuple[float | Any, Array]:  # fmt: skip
        """As `FullSoftmax.loss`."""
        head_targets = targets.copy()
        for k, (first, last) in enumerate(self.tails):
            head_targets[(targets >= first) & (targets < last)] = self.cutoffs[0] + k
        scores = backend.affine_forward(weights[HEAD], features)
        loss, dscores = backend.loss(SOFTMAX, scores, head_targets, row_weights)
        dfeatures = backend.affine_backward(weights[HEAD], features, dscores, gradients[HEAD])
        for k, (first, last) in enumerate(self.tails):
            names = f"_projection_{k}", f"_tail_{k}"
            rows = np.flatnonzero((targets >= first) & (targets < last))
            if not len(rows):
                for name in names:
                    gradients[name][...] = 0
                continue
            (down, up), (ddown, dup) = ([parts[name] for name in names] for parts in (weights, gradients))
            vectors = backend.take_rows(features, rows)
            projected = backend.affine_forward(down, vectors)
            tail_loss, dscores = backend.loss(
                SOFTMAX, backend.affine_forward(up, projected), targets[rows] - first, row_weights[rows]
            )
            dprojected = backend.affine_backward(up, projected, dscores, dup)
            backend.add_rows(dfeatures, rows, backend.affine_backward(down, vectors, dprojected, ddown))
            loss = loss + tail_loss
        return loss, dfeatures

    def log_probabilities(self, backend: Backend, weights: Mapping[str, Any], features: Array) -> np.ndarray:
        """As `FullSoftmax.log_probabilities`."""
        head = log_softmax(backend.to_numpy(backend.affine_forward(weights[HEAD], features)))
        parts = [head[:, : self.cutoffs[0]]]
        for k in range(len(self.cutoffs)):
            projected = backend.affine_forward(weights[f"_projection_{k}"], features)
            scores = backend.to_numpy(backend.affine_forward(weights[f"_tail_{k}"], projected))
            parts.append(head[:, self.cutoffs[0] + k, None] + log_softmax(scores))
        return np.concatenate(parts, axis=1)


def blocks(rows: int, outputs: int) -> Iterator[slice]:
    """Slices of rows that have about `BLOCK` scores together, but at least 64 rows."""
    size = max(64, BLOCK // outputs)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax of scores (M, K), in float64."""
    scores = np.asarray(scores, np.float64)
    highest = scores.max(axis=1, keepdims=True)
    return scores - (highest + np.log(np.exp(scores - highest).sum(axis=1, keepdims=True)))
