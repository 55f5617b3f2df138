"""The CPU backend: the contract over kernels that Numba compiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np

from ..contract import (
    LIKELIHOODS,
    AffineSpec,
    Backend,
    EmbeddingSpec,
    LayerSpec,
    Lookup,
    LossSpec,
    Noise,
    PoolSpec,
    SequenceLossSpec,
    Spec,
    States,
    UnsupportedError,
)
from . import activity, affine, crf, embedding, likelihoods, losses, optimizing, pooling, sequence_losses
from .linear import peak
from .linear.gradients import PartialSums
from .linear.narrow import KINDS
from .linear.packing import affine_packing
from .linear.tile import product_address
from .linear.transposed import panel_widths, unpack
from .linear.unpacking import Unpacker
from .machine import moving, recording, threads
from .machine.board import Board, ShardCall
from .machine.target import TILE_VECTORS, target
from .machine.thread_count import thread_count
from .recurrent import jit_step, jit_types, layer
from .recurrent.multiplying import multiply_ahead
from .recurrent.packing import layer_packing, packing_of
from .recurrent.prepared import PreparedLayer
from .recurrent.weights import LayerWeights

NOT_PACKED = PoolSpec, EmbeddingSpec, SequenceLossSpec  # their parameters have no order of this backend's own


class CpuBackend(Backend):
    """Recurrent layers on this machine's cores."""

    name = "cpu"
    looks_up = True
    records = moves = True

    @property
    def compute_dtypes(self) -> tuple[str, ...]:
        return tuple(name for name, kind in KINDS.items() if kind.supported())

    def warm_up(self, dtype: str, compute_dtype: str | None) -> None:
        board = Board()
        real: Any = np.dtype(dtype).type
        board.share(0, 0)  # no calls
        board.look(0, 0, 0)
        unpack.address(ShardCall, numba.typeof(real))
        multiply_ahead.address(numba.typeof(real))
        kind = KINDS.get(compute_dtype or "")
        for _, vectors in panel_widths(2 * TILE_VECTORS - 1):
            product_address(real, vectors)
            if kind and kind.GRADIENTS:
                kind.tile_address(real, vectors)

    @contextmanager
    def watching_weight_gradients(self, timed: Callable[[Callable], Callable]) -> Iterator[None]:
        places: Any = (layer, "add_sums"), (PartialSums, "add_to")
        kept = [getattr(owner, name) for owner, name in places]
        try:
            for (owner, name), function in zip(places, kept, strict=True):
                setattr(owner, name, timed(function))
            yield
        finally:
            for (owner, name), function in zip(places, kept, strict=True):
                setattr(owner, name, function)

    def peak(self, dtype: str) -> float:
        best = max(peak.flops(thread_count()) for _ in range(5))  # whoever else runs here only ever slows it down
        return best * 4 / np.dtype(dtype).itemsize  # a register holds fewer of larger numbers

    def record(self, step: Callable[[], float]) -> tuple[float, Callable[[], float] | None]:
        with recording.recording() as noted:
            result = step()
        return result, threads.repeated(noted)

    def mover(self, calls: Sequence[Callable[[], Any]], array: np.ndarray) -> Callable[[np.ndarray], None] | None:
        return moving.mover(calls, array)

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return recording.memory(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return recording.memory(shape, dtype, zero=True)

    def add(self, out: np.ndarray, value: np.ndarray) -> None:
        recording.do(np.add, out, value, out)

    def multiply(self, a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
        return recording.computed(np.multiply, a, b, dtype=a.dtype)

    def concatenate(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return recording.computed(np.concatenate, arrays, axis=-1)

    def take_channels(self, x: np.ndarray, channels: Sequence[int], dtype: str) -> np.ndarray:
        out = recording.memory((*x.shape[:2], len(channels)), dtype)
        for k, channel in enumerate(channels):
            recording.do(np.copyto, out[:, :, k], x[:, :, channel], "unsafe")
        return out

    def repeat_rows(self, x: np.ndarray, count: int) -> np.ndarray:
        out = recording.memory((len(x), count, *x.shape[1:]), x.dtype)
        recording.do(np.copyto, out, x[:, None])
        return out.reshape(-1, *x.shape[1:])

    def assign(self, out: np.ndarray, value: np.ndarray) -> None:
        recording.do(np.copyto, out, value)

    def size(self, spec: Spec) -> int:
        return super().size(spec) if isinstance(spec, NOT_PACKED) else packing_of(spec).size

    def pack(self, spec: Spec, parameters: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        if isinstance(spec, NOT_PACKED):
            super().pack(spec, parameters, flat)
        else:
            packing_of(spec).pack(parameters, flat)

    def unpack(self, spec: Spec, flat: np.ndarray) -> dict[str, np.ndarray]:
        return super().unpack(spec, flat) if isinstance(spec, NOT_PACKED) else Unpacker(packing_of(spec), flat)()

    def unpacker(self, spec: Spec, flat: np.ndarray) -> Callable[[], dict[str, np.ndarray]]:
        return super().unpacker(spec, flat) if isinstance(spec, NOT_PACKED) else Unpacker(packing_of(spec), flat)

    def weight_of(self, spec: AffineSpec, flat: np.ndarray) -> np.ndarray:
        return self.unpack(spec, flat)["weight"]

    def set_weight(self, spec: AffineSpec, flat: np.ndarray, weight: np.ndarray) -> None:
        affine_packing(spec).weight.write(flat, weight)

    def prepare(self, spec: Spec, flat: np.ndarray, training: bool = False) -> Any:
        if isinstance(spec, LayerSpec):
            if spec.compute_dtype:
                _check_compute_dtype(spec)
            return PreparedLayer(LayerWeights(layer_packing(spec), flat, training))
        if isinstance(spec, AffineSpec):
            return affine.AffineWeights(affine_packing(spec), flat, training)
        if isinstance(spec, EmbeddingSpec):
            return embedding.EmbeddingWeights(spec, flat)
        if isinstance(spec, SequenceLossSpec):
            return sequence_losses.prepare(spec, flat)
        return pooling.PoolWeights(spec, flat)

    def refresh(self, weights: Any) -> Any:
        weights.refresh()
        return weights

    def sequence_forward(
        self,
        weights: PreparedLayer,
        x: np.ndarray | Lookup,
        initial: States,
        outputs: States,
        *,
        lengths: np.ndarray | None = None,
        reverse: bool = False,
        training: bool = False,
        recompute: bool = False,
        noise: Noise | None = None,
        traces: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[tuple[np.ndarray, ...], Any]:
        return layer.layer_forward(
            weights, x, initial, outputs, lengths, reverse, training, recompute, noise, traces or {}
        )  # fmt: skip

    def sequence_backward(
        self,
        weights: PreparedLayer,
        tape: layer.Tape,
        doutputs: States,
        dfinal: States,
        gradient: np.ndarray,
        dx: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        return layer.layer_backward(weights, tape, doutputs, dfinal, gradient, dx)

    def runner(
        self,
        weights: PreparedLayer,
        x: np.ndarray,
        states: Sequence[np.ndarray],
        y: np.ndarray | None = None,
        *,
        reverse: bool = False,
        resume: bool = True,
        lengths: np.ndarray | None = None,
    ) -> Callable[[], None]:
        return layer.runner(weights, x, states, y, reverse, resume, lengths)

    def step_runner(
        self, weights: Sequence[PreparedLayer], x: np.ndarray, states: Sequence[np.ndarray], y: np.ndarray, *,
        residual: bool,
    ) -> Callable[[], None] | None:  # fmt: skip
        return jit_step.step_runner(weights, x, states, y, residual)

    def jit_step(self, weights: Sequence[PreparedLayer], rows: int, *, residual: bool) -> jit_step.JitStep:
        return jit_types.JitStep(weights, rows, residual)

    def dropout(self, x: np.ndarray, probability: float, noise: Noise, *, per_step: bool) -> np.ndarray:
        return activity.dropout(x, probability, noise, per_step)

    def activity_loss(
        self, y: np.ndarray, lengths: np.ndarray | None, size: float, change: float
    ) -> tuple[float, np.ndarray]:
        return activity.activity_loss(y, lengths, size, change)

    def embed(self, weights: embedding.EmbeddingWeights, tokens: np.ndarray) -> np.ndarray:
        return embedding.embed(weights, tokens)

    def embed_backward(
        self, weights: embedding.EmbeddingWeights, tokens: np.ndarray, dy: np.ndarray, gradient: np.ndarray
    ) -> None:
        embedding.embed_backward(weights, tokens, dy, gradient)

    def affine_forward(self, weights: affine.AffineWeights, x: np.ndarray) -> np.ndarray:
        return affine.affine_forward(weights, x)

    def affine_backward(
        self, weights: affine.AffineWeights, x: np.ndarray, dy: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        return affine.affine_backward(weights, x, dy, gradient)

    def pool_forward(
        self, weights: pooling.PoolWeights, y: np.ndarray, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, Any]:
        return pooling.pool_forward(weights, y, lengths)

    def pool_backward(
        self,
        weights: pooling.PoolWeights,
        y: np.ndarray,
        lengths: np.ndarray | None,
        tape: Any,
        dpooled: np.ndarray,
        gradient: np.ndarray,
    ) -> np.ndarray:
        return pooling.pool_backward(weights, y, lengths, tape, dpooled, gradient)

    def loss(
        self, spec: LossSpec, scores: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[float, np.ndarray]:
        of_kind = likelihoods if spec.kind in LIKELIHOODS else losses
        return of_kind.loss(spec, scores, targets, weights)

    def sequence_loss(
        self,
        weights: sequence_losses.Weights,
        scores: np.ndarray,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        row_weights: np.ndarray,
        gradient: np.ndarray,
    ) -> tuple[float, np.ndarray]:
        return sequence_losses.loss(weights, scores, lengths, targets, row_weights, gradient)

    def marginals(self, weights: crf.CrfWeights, scores: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        return crf.label_marginals(weights, scores, lengths)

    def best_paths(self, weights: crf.CrfWeights, scores: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        return crf.best_paths(weights, scores, lengths)

    def global_norm(self, vector: np.ndarray) -> float:
        return optimizing.global_norm[vector.dtype](vector)

    def clip_scale(self, vector: np.ndarray, limit: float) -> optimizing.Clip:
        return optimizing.Clip(vector, limit)

    def adam_step(
        self,
        flat: np.ndarray,
        gradient: np.ndarray,
        moments: tuple[np.ndarray, np.ndarray],
        *,
        step_and_rate: np.ndarray,
        betas: tuple[float, float],
        epsilon: float,
        scale: float,
        decay: np.ndarray | None = None,
        decoupled: bool = False,
    ) -> None:
        memory = optimizing.memory_of(optimizing.adam_step, flat, gradient, *moments, decay, step_and_rate)
        memory.take(scale, *betas, epsilon, decoupled)

    def sgd_step(
        self,
        flat: np.ndarray,
        gradient: np.ndarray,
        velocity: np.ndarray,
        *,
        step_and_rate: np.ndarray,
        momentum: float,
        nesterov: bool,
        scale: float,
        decay: np.ndarray | None = None,
    ) -> None:
        memory = optimizing.memory_of(optimizing.sgd_step, flat, gradient, velocity, None, decay, step_and_rate)
        memory.take(scale, momentum, nesterov)

    def rmsprop_step(
        self,
        flat: np.ndarray,
        gradient: np.ndarray,
        square: np.ndarray,
        *,
        step_and_rate: np.ndarray,
        rho: float,
        epsilon: float,
        scale: float,
        decay: np.ndarray | None = None,
    ) -> None:
        memory = optimizing.memory_of(optimizing.rmsprop_step, flat, gradient, square, None, decay, step_and_rate)
        memory.take(scale, rho, epsilon)


def _check_compute_dtype(spec: LayerSpec) -> None:
    """Refuse what products cannot be computed in here."""
    refused = f"compute_dtype={spec.compute_dtype!r} is not supported by backend 'cpu'"
    kind = KINDS.get(spec.compute_dtype or "")
    if kind is None:
        raise UnsupportedError(f"{refused}: set None, {' or '.join(map(repr, KINDS))}")
    if not kind.supported():
        raise UnsupportedError(
            f"{refused} on this processor ({target().cpu}): it has no {kind.NEEDS} instructions, and the rest would be "
            "slower than float32"
        )
    longest = max(spec.input_size, *spec.state_sizes)
    if longest > kind.LONGEST:
        raise UnsupportedError(f"{refused} for vectors of more than {kind.LONGEST} numbers, got {longest}")
