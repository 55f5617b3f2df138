"""Vectors of tokens, and the sums of their gradients."""

from __future__ import annotations

import numpy as np

from ..contract import EmbeddingSpec
from .arrays import DeviceArray, empty, to_device
from .device import THREADS, cuda
from .launching import kernel

BLOCKS = 1024


@kernel
def _gather(flat, start, shape, tokens, kind, out, column):
    """Write the vectors of tokens to columns of `out`, from `column` on; `shape` is (M, tables, size, width of out)."""
    rows, kinds, size, width = shape
    for q in range(cuda.grid(1), rows * size, cuda.gridsize(1)):
        m, e = q // size, q % size
        token = tokens[m * kinds + kind]
        value = flat.dtype.type(0)
        if token >= 0:
            value = flat[start + token * size + e]
        out[m * width + column + e] = value


@kernel
def _scatter(tokens, kind, shape, dy, axes, column, gradient, start, count):
    """Sum the gradients of the vectors of a token, in the order of the steps; a block owns a token."""
    rows, kinds, size = shape
    for token in range(cuda.blockIdx.x, count, cuda.gridDim.x):
        for e in range(cuda.threadIdx.x, size, cuda.blockDim.x):
            total = gradient.dtype.type(0)
            for m in range(rows):
                if tokens[m * kinds + kind] == token:
                    total += dy[axes[0] + m * axes[1] + (column + e) * axes[2]]
            gradient[start + token * size + e] = total


class EmbeddingWeights:
    """Tables; a view of the flat vector, so always up to date."""

    def __init__(self, spec: EmbeddingSpec, flat: DeviceArray) -> None:
        self.spec, self.flat = spec, flat

    def refresh(self) -> None:
        """Follow a change of the flat vector."""


def embed(weights: EmbeddingWeights, tokens: np.ndarray) -> DeviceArray:
    """`Backend.embed` for arrays on a device."""
    spec, flat = weights.spec, weights.flat
    rows, kinds, width = *tokens.shape, spec.output_size
    out = empty(flat.device, (rows, width), spec.dtype)
    on_device = to_device(flat.device, np.ascontiguousarray(tokens, np.int64))
    for kind, (start, column, size) in enumerate(spec.places):
        _gather.launch(
            _blocks(rows * size), THREADS, flat.base, flat.offset + start, (rows, kinds, size, width), on_device.base,
            kind, out.base, column,
        )  # fmt: skip
    return out


def embed_backward(weights: EmbeddingWeights, tokens: np.ndarray, dy: DeviceArray, gradient: DeviceArray) -> None:
    """`Backend.embed_backward` for arrays on a device."""
    spec, (rows, kinds) = weights.spec, tokens.shape
    on_device = to_device(gradient.device, np.ascontiguousarray(tokens, np.int64))
    axes = (dy.offset, *dy.steps)
    for kind, ((start, column, size), (count, _)) in enumerate(zip(spec.places, spec.tables, strict=True)):
        summed = 0 if spec.frozen[kind] else rows
        _scatter.launch(
            min(count, BLOCKS), THREADS, on_device.base, kind, (summed, kinds, size), dy.base, axes, column,
            gradient.base, gradient.offset + start, count,
        )  # fmt: skip


def _blocks(count: int) -> int:
    return max(1, min(-(-count // THREADS), BLOCKS))
