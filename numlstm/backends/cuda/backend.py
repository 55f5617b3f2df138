"""The CUDA backend: the contract over kernels that numba-cuda compiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ..contract import (
    LIKELIHOODS,
    AffineSpec,
    Backend,
    EmbeddingSpec,
    LossSpec,
    Noise,
    PoolSpec,
    SequenceLossSpec,
    Spec,
    States,
    UnsupportedError,
)
from ..equations.optimizers import adam_numbers, rmsprop_numbers, sgd_numbers
from . import (
    activity,
    affine,
    arrays,
    elementwise,
    embedding,
    foreign,
    layer,
    likelihoods,
    losses,
    optimizing,
    pooling,
    sequence_losses,
)
from .arrays import DeviceArray
from .device import SIMULATED, Device, on_device
from .intrinsics import KINDS
from .rows import add_rows, take_rows
from .uploading import Uploaders

TENSOR_CORES = (8, 0)  # the compute capability that has them for float32 sums of tf32 numbers and halves


class CudaBackend(Backend):
    """Recurrent layers on a GPU.

    Parameters
    ----------
    index : int
        Its number.

    Raises
    ------
    BackendUnavailableError
        If there is none of that number.
    """

    def __init__(self, index: int = 0) -> None:
        self.device = Device(index)
        self.name = f"cuda:{index}" if index else "cuda"
        self._uploaders = Uploaders(self.device)

    @property
    def compute_dtypes(self) -> tuple[str, ...]:
        return KINDS if self.device.capability >= TENSOR_CORES else ()

    # Arrays -----------------------------------------------------------------------------------------------

    def wait(self) -> None:
        self.device.synchronize()

    @on_device
    def to_device(self, array: np.ndarray | DeviceArray, dtype: str) -> DeviceArray:
        if not isinstance(array, DeviceArray):
            return arrays.to_device(self.device, np.asarray(array, dtype))
        if array.dtype == dtype:
            return array
        result = arrays.empty(self.device, array.shape, dtype)
        arrays.copy(result, array)
        return result

    @on_device
    def upload(self, array: np.ndarray, dtype: str) -> DeviceArray:
        if SIMULATED:
            return arrays.to_device(self.device, np.asarray(array, dtype))
        values = np.ascontiguousarray(array, dtype)
        return DeviceArray(self.device, self._uploaders.current.upload(values.reshape(-1), dtype), values.shape)

    def adopt(self, array: Any, name: str, dtype: str) -> tuple[DeviceArray, Callable[[DeviceArray], Any]]:
        return foreign.adopt(self.device, array, name, dtype)

    def to_numpy(self, array: DeviceArray) -> np.ndarray:
        return arrays.to_numpy(array)

    @on_device
    def empty(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        return arrays.empty(self.device, shape, dtype)

    @on_device
    def zeros(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        result = arrays.empty(self.device, shape, dtype)
        arrays.fill(result, 0)
        return result

    @on_device
    def add(self, out: DeviceArray, value: DeviceArray) -> None:
        elementwise.add(out, value)

    @on_device
    def multiply(self, a: DeviceArray, b: DeviceArray | float) -> DeviceArray:
        return elementwise.multiply(a, b)

    @on_device
    def concatenate(self, arrays: Sequence[DeviceArray]) -> DeviceArray:
        return elementwise.concatenate(arrays)

    @on_device
    def dropout(self, x: DeviceArray, probability: float, noise: Noise, *, per_step: bool) -> DeviceArray:
        return elementwise.dropout(x, probability, noise, per_step)

    @on_device
    def take_rows(self, x: DeviceArray, rows: np.ndarray) -> DeviceArray:
        return take_rows(x, rows)

    @on_device
    def add_rows(self, out: DeviceArray, rows: np.ndarray, value: DeviceArray) -> None:
        add_rows(out, rows, value)

    # Parameters -------------------------------------------------------------------------------------------

    @on_device
    def pack(self, spec: Spec, parameters: Mapping[str, np.ndarray], flat: DeviceArray) -> None:
        if spec.shapes:
            flat[...] = np.concatenate([parameters[name].ravel() for name in spec.shapes])

    @on_device
    def unpack(self, spec: Spec, flat: DeviceArray) -> dict[str, np.ndarray]:
        values, parameters, start = arrays.to_numpy(flat), {}, 0
        for name, shape in spec.shapes.items():
            parameters[name] = values[start : start + prod(shape)].reshape(shape).copy()
            start += prod(shape)
        return parameters

    @on_device
    def weight_of(self, spec: AffineSpec, flat: DeviceArray) -> DeviceArray:
        return affine.weight_of(spec, flat)

    @on_device
    def set_weight(self, spec: AffineSpec, flat: DeviceArray, weight: DeviceArray) -> None:
        affine.weight_of(spec, flat)[...] = weight

    @on_device
    def prepare(self, spec: Spec, flat: DeviceArray, training: bool = False) -> Any:
        if isinstance(spec, AffineSpec):
            return affine.AffineWeights(spec, flat)
        if isinstance(spec, PoolSpec):
            return pooling.PoolWeights(spec, flat)
        if isinstance(spec, EmbeddingSpec):
            return embedding.EmbeddingWeights(spec, flat)
        if isinstance(spec, SequenceLossSpec):
            return sequence_losses.Weights(spec, flat)
        if spec.compute_dtype not in (None, *KINDS):
            raise UnsupportedError(
                f"compute_dtype={spec.compute_dtype!r} is not supported by backend {self.name!r}: set None, "
                f"{' or '.join(map(repr, KINDS))}"
            )
        if spec.compute_dtype is not None and self.device.capability < TENSOR_CORES:
            raise UnsupportedError(
                f"compute_dtype={spec.compute_dtype!r} is not supported by backend {self.name!r} on this GPU: it takes "
                f"compute capability 8.0 or later, and this is {self.device.description}"
            )
        return layer.LayerWeights(self.device, spec, flat)

    @on_device
    def refresh(self, weights: Any) -> Any:
        weights.refresh()
        return weights

    # Recurrent layers -------------------------------------------------------------------------------------

    @on_device
    def sequence_forward(
        self,
        weights: layer.LayerWeights,
        x: DeviceArray,
        initial: States,
        outputs: States,
        *,
        lengths: np.ndarray | None = None,
        reverse: bool = False,
        training: bool = False,
        recompute: bool = False,
        noise: Noise | None = None,
        traces: Mapping[str, DeviceArray] | None = None,
    ) -> tuple[tuple[DeviceArray, ...], Any]:
        return layer.layer_forward(
            weights, x, initial, outputs, lengths, reverse, training, recompute, noise, traces or {}
        )  # fmt: skip

    @on_device
    def sequence_backward(
        self,
        weights: layer.LayerWeights,
        tape: layer.Tape,
        doutputs: States,
        dfinal: States,
        gradient: DeviceArray,
        dx: DeviceArray | None = None,
    ) -> tuple[DeviceArray, ...]:
        return layer.layer_backward(weights, tape, doutputs, dfinal, gradient, dx)

    # Pooling, affine maps, losses, optimizers -------------------------------------------------------------

    @on_device
    def pool_forward(
        self, weights: pooling.PoolWeights, y: DeviceArray, lengths: np.ndarray | None
    ) -> tuple[DeviceArray, Any]:
        return pooling.pool_forward(weights, y, lengths)

    @on_device
    def pool_backward(
        self,
        weights: pooling.PoolWeights,
        y: DeviceArray,
        lengths: np.ndarray | None,
        tape: Any,
        dpooled: DeviceArray,
        gradient: DeviceArray,
    ) -> DeviceArray:
        return pooling.pool_backward(weights, y, lengths, tape, dpooled, gradient)

    @on_device
    def activity_loss(
        self, y: DeviceArray, lengths: np.ndarray | None, size: float, change: float
    ) -> tuple[losses.DeviceScalar, DeviceArray]:
        return activity.activity_loss(y, lengths, size, change)

    @on_device
    def embed(self, weights: embedding.EmbeddingWeights, tokens: np.ndarray) -> DeviceArray:
        return embedding.embed(weights, tokens)

    @on_device
    def embed_backward(
        self, weights: embedding.EmbeddingWeights, tokens: np.ndarray, dy: DeviceArray, gradient: DeviceArray
    ) -> None:
        embedding.embed_backward(weights, tokens, dy, gradient)

    @on_device
    def affine_forward(self, weights: affine.AffineWeights, x: DeviceArray) -> DeviceArray:
        return affine.affine_forward(weights, x)

    @on_device
    def affine_backward(
        self, weights: affine.AffineWeights, x: DeviceArray, dy: DeviceArray, gradient: DeviceArray
    ) -> DeviceArray:
        return affine.affine_backward(weights, x, dy, gradient)

    @on_device
    def loss(
        self, spec: LossSpec, scores: DeviceArray, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[losses.DeviceScalar, DeviceArray]:
        of_kind = likelihoods if spec.kind in LIKELIHOODS else losses
        return of_kind.loss(spec, scores, targets, weights)

    @on_device
    def sequence_loss(
        self,
        weights: sequence_losses.Weights,
        scores: DeviceArray,
        lengths: np.ndarray | None,
        targets: np.ndarray,
        row_weights: np.ndarray,
        gradient: DeviceArray,
    ) -> tuple[losses.DeviceScalar, DeviceArray]:
        return sequence_losses.loss(weights, scores, lengths, targets, row_weights, gradient)

    @on_device
    def marginals(
        self, weights: sequence_losses.Weights, scores: DeviceArray, lengths: np.ndarray | None
    ) -> DeviceArray:
        return sequence_losses.label_marginals(weights, scores, lengths)

    @on_device
    def best_paths(
        self, weights: sequence_losses.Weights, scores: DeviceArray, lengths: np.ndarray | None
    ) -> np.ndarray:
        return sequence_losses.best_paths(weights, scores, lengths)

    @on_device
    def global_norm(self, vector: DeviceArray) -> float:
        return optimizing.global_norm(vector)

    @on_device
    def clip_scale(self, vector: DeviceArray, limit: float) -> DeviceArray:
        return optimizing.clip_scale(vector, limit)

    @on_device
    def adam_step(
        self,
        flat: DeviceArray,
        gradient: DeviceArray,
        moments: tuple[DeviceArray, DeviceArray],
        *,
        step_and_rate: np.ndarray,
        betas: tuple[float, float],
        epsilon: float,
        scale: float | DeviceArray,
        decay: DeviceArray | None = None,
        decoupled: bool = False,
    ) -> None:
        numbers = adam_numbers(step_and_rate.item(0), step_and_rate.item(1), *betas, epsilon, decoupled)
        optimizing.step(optimizing.adam_kernel, numbers, flat, gradient, moments, scale, decay)

    @on_device
    def sgd_step(
        self,
        flat: DeviceArray,
        gradient: DeviceArray,
        velocity: DeviceArray,
        *,
        step_and_rate: np.ndarray,
        momentum: float,
        nesterov: bool,
        scale: float | DeviceArray,
        decay: DeviceArray | None = None,
    ) -> None:
        numbers = sgd_numbers(step_and_rate.item(1), momentum, nesterov)
        optimizing.step(optimizing.sgd_kernel, numbers, flat, gradient, (velocity,), scale, decay)

    @on_device
    def rmsprop_step(
        self,
        flat: DeviceArray,
        gradient: DeviceArray,
        square: DeviceArray,
        *,
        step_and_rate: np.ndarray,
        rho: float,
        epsilon: float,
        scale: float | DeviceArray,
        decay: DeviceArray | None = None,
    ) -> None:
        numbers = rmsprop_numbers(step_and_rate.item(1), rho, epsilon)
        optimizing.step(optimizing.rmsprop_kernel, numbers, flat, gradient, (square,), scale, decay)
