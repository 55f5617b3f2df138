"""The CPU backend: the contract over kernels that Numba compiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..contract import Backend, LayerSpec, Spec, States
from . import affine, layer, optimizing
from .arguments import aligned
from .packing import affine_packing, layer_packing, packing_of


class CpuBackend(Backend):
    """Recurrent layers on this machine's cores."""

    name = "cpu"

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return aligned(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return aligned(shape, dtype, zero=True)

    def size(self, spec: Spec) -> int:
        return packing_of(spec).size

    def pack(self, spec: Spec, parameters: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        packing_of(spec).pack(parameters, flat)

    def unpack(self, spec: Spec, flat: np.ndarray) -> dict[str, np.ndarray]:
        return packing_of(spec).unpack(flat)

    def prepare(self, spec: Spec, flat: np.ndarray, training: bool = False) -> Any:
        if isinstance(spec, LayerSpec):
            return layer.LayerWeights(layer_packing(spec), flat, training)
        return affine.AffineWeights(affine_packing(spec), flat)

    def refresh(self, weights: Any) -> Any:
        weights.refresh()
        return weights

    def sequence_forward(
        self,
        weights: layer.LayerWeights,
        x: np.ndarray,
        initial: States,
        outputs: States,
        *,
        lengths: np.ndarray | None = None,
        reverse: bool = False,
        training: bool = False,
    ) -> tuple[tuple[np.ndarray, ...], Any]:
        return layer.layer_forward(weights, x, initial, outputs, lengths, reverse, training)

    def sequence_backward(
        self,
        weights: layer.LayerWeights,
        tape: layer.Tape,
        doutputs: States,
        dfinal: States,
        gradient: np.ndarray,
        dx: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        return layer.layer_backward(weights, tape, doutputs, dfinal, gradient, dx)

    def stepper(self, weights: layer.LayerWeights, x: np.ndarray, states: Sequence[np.ndarray]) -> Callable[[], None]:
        return layer.stepper(weights, x, states)

    def affine_forward(self, weights: affine.AffineWeights, x: np.ndarray) -> np.ndarray:
        return affine.affine_forward(weights, x)

    def affine_backward(
        self, weights: affine.AffineWeights, x: np.ndarray, dy: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        return affine.affine_backward(weights, x, dy, gradient)

    def softmax_cross_entropy(self, scores: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        scores, targets = np.ascontiguousarray(scores), np.ascontiguousarray(targets, np.int64)
        gradient = np.empty_like(scores)
        return optimizing.softmax_cross_entropy[scores.dtype](scores, targets, gradient), gradient

    def global_norm(self, vector: np.ndarray) -> float:
        return optimizing.global_norm[vector.dtype](vector)

    def adam_step(
        self,
        flat: np.ndarray,
        gradient: np.ndarray,
        moments: tuple[np.ndarray, np.ndarray],
        *,
        step: int,
        learning_rate: float,
        betas: tuple[float, float],
        epsilon: float,
        scale: float,
    ) -> None:
        real = flat.dtype.type
        beta1, beta2 = betas
        rate = learning_rate / (1 - beta1**step)
        correction = 1 / math.sqrt(1 - beta2**step)
        with np.errstate(over="ignore"):  # infinity shows in the parameters
            each = (beta1, 1 - beta1, beta2, 1 - beta2, rate, epsilon, correction, scale)
            numbers = [real(number) for number in each]
        optimizing.adam_step[flat.dtype](flat, gradient, *moments, *numbers)
