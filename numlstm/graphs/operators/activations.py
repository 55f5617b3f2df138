"""ONNX's activation functions and normalisations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from . import FLOAT, INT, TEXT, axis_of, broadcast, check_floating, check_same, operator


def _activation(name: str, since: int = 7, **attributes: Any) -> Any:
    """Register a function of floating-point numbers, in their type."""

    def register(function: Any) -> Any:
        def compute(x: np.ndarray, **attributes: Any) -> Any:
            check_floating(x)
            return np.asarray(function(x, **attributes)).astype(x.dtype, copy=False)

        operator(name, since=since, **attributes)(compute)
        return function

    return register


_activation("Tanh")(np.tanh)
_activation("Sigmoid")(special.expit)
_activation("Softplus")(lambda x: np.logaddexp(x, x.dtype.type(0)))
_activation("Softsign")(lambda x: x / (1 + np.abs(x)))
_activation("HardSwish", since=14)(lambda x: x * np.clip(x / 6 + 0.5, 0, 1))
_activation("LeakyRelu", alpha=FLOAT(0.01))(lambda x, alpha: np.where(x < 0, alpha * x, x))
_activation("ThresholdedRelu", since=10, alpha=FLOAT(1.0))(lambda x, alpha: np.where(x > alpha, x, 0))
_activation("HardSigmoid", alpha=FLOAT(0.2), beta=FLOAT(0.5))(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1))
_activation("Elu", alpha=FLOAT(1.0))(lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x))
_activation("Celu", since=12, alpha=FLOAT(1.0))(
    lambda x, alpha: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x / alpha, 0)))
)
_activation("Selu", alpha=FLOAT(1.6732631921768188), gamma=FLOAT(1.0507010221481323))(
    lambda x, alpha, gamma: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
)


@_activation("Gelu", since=20, approximate=TEXT("none"))
def gelu(x: np.ndarray, approximate: str) -> Any:
    """``x Φ(x)``, or an approximation by tanh."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be one of ['none', 'tanh'], got {approximate!r:.80}")
    if approximate == "none":
        return 0.5 * x * (1 + special.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


@_activation("Swish", since=24, alpha=FLOAT(1.0))
def swish(x: np.ndarray, alpha: float) -> Any:
    """``x σ(alpha x)``."""
    return x * special.expit(alpha * x)


@operator("Relu")
def relu(x: np.ndarray) -> Any:
    """``max(x, 0)``."""
    if x.dtype.kind not in "fi":
        raise ValueError(f"Relu of {x.dtype} is not known")
    return np.maximum(x, x.dtype.type(0))


@operator("PRelu", 2)
def prelu(x: np.ndarray, slope: np.ndarray) -> Any:
    """``slope x`` where x is negative, else x."""
    check_same(x, slope)
    if x.dtype.kind not in "fiu" or broadcast(x, slope) != x.shape:
        raise ValueError(f"slope must be a number for each or some of shape {x.shape}, got {slope.shape}")
    return np.where(x < 0, slope * x, x)


# Dropout ------------------------------------------------------------------------------------------------------


@operator("Dropout", 1, (1, 2), until=9, shares=True, counts=True, ratio=FLOAT(0.5))
def dropout_with_numbers(x: np.ndarray, *, ratio: float, outputs: int) -> Any:
    """The input, as in inference; the mask of kept elements is all ones, in the type of the input."""
    check_floating(x)
    return x if outputs == 1 else (x, np.ones_like(x))


@operator("Dropout", 1, (1, 2), since=10, until=11, shares=True, counts=True, ratio=FLOAT(0.5))
def dropout(x: np.ndarray, *, ratio: float, outputs: int) -> Any:
    """The input; the mask is of bools."""
    check_floating(x)
    return x if outputs == 1 else (x, np.ones(x.shape, bool))


@operator("Dropout", (1, 3), (1, 2), since=12, shares=True, counts=True, seed=INT())
def dropout_by_input(x: np.ndarray, ratio: np.ndarray | None = None, training: np.ndarray | None = None, *,
                  seed: int | None, outputs: int) -> Any:  # fmt: skip
    """The input; the ratio and the mode are inputs."""
    if training is not None and training.any() and (ratio is None or ratio.any()):
        raise ValueError("training_mode must be false: graphs run in inference here")
    return dropout(x, ratio=0.0, outputs=outputs)


# Normalisations -----------------------------------------------------------------------------------------------


@operator("BatchNormalization", 5, until=8, epsilon=FLOAT(1e-5), momentum=FLOAT(0.9), spatial=INT(1))
def batch_normalization_spatial(x: np.ndarray, *parameters: np.ndarray, epsilon: float, momentum: float,
                                spatial: int) -> Any:  # fmt: skip
    """Normalised by the mean and variance of each channel, or with ``spatial=0`` of each feature."""
    return _normalised(x, parameters, epsilon, x.shape[1:2] if spatial else x.shape[1:])


@operator("BatchNormalization", 5, since=9, epsilon=FLOAT(1e-5), momentum=FLOAT(0.9),
          training_mode=INT(0, since=14))  # fmt: skip
def batch_normalization(x: np.ndarray, *parameters: np.ndarray, epsilon: float, momentum: float,
                        training_mode: int) -> Any:  # fmt: skip
    """Normalised by the mean and variance of each channel, the second axis."""
    if training_mode:
        raise ValueError("training_mode must be 0: graphs run in inference here")
    return _normalised(x, parameters, epsilon, x.shape[1:2])


def _normalised(x: np.ndarray, parameters: tuple[np.ndarray, ...], epsilon: float, shape: tuple[int, ...]) -> Any:
    check_floating(x, *parameters)
    shape = shape or (1,)  # a single axis is one channel
    if wrong := [array.shape for array in parameters if array.shape != shape]:
        raise ValueError(f"scale, bias, mean and variance must have shape {shape}, got {wrong[0]}")
    trailing = shape + (1,) * (x.ndim - 1 - len(shape))
    scale, bias, mean, variance = (array.reshape(trailing) for array in parameters)
    result = (x - mean) / np.sqrt(variance + np.asarray(epsilon, variance.dtype)) * scale + bias
    return result.astype(x.dtype, copy=False)


@operator("LayerNormalization", (2, 3), (1, 3), since=17, counts=True, axis=INT(-1), epsilon=FLOAT(1e-5),
          stash_type=INT(1))  # fmt: skip
def layer_normalization(x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None, *, axis: int,
                        epsilon: float, stash_type: int, outputs: int) -> Any:  # fmt: skip
    """Normalised over all axes from `axis` on; also the mean and the inverse of the standard deviation."""
    check_floating(x, scale, bias)
    axes = tuple(range(axis_of(axis, x.ndim), x.ndim))
    stash = "float64" if x.dtype == np.float64 else "float32"
    wide = x.astype(stash, copy=False)
    number = np.asarray(math.prod(x.shape[axis] for axis in axes), stash)
    mean = wide.sum(axes, keepdims=True) / number
    centred = wide - mean
    inverse = 1 / np.sqrt((centred * centred).sum(axes, keepdims=True) / number + np.asarray(epsilon, stash))
    result = (centred * inverse).astype(x.dtype, copy=False)
    for other in (scale, bias):
        if other is not None and broadcast(result, other) != x.shape:
            raise ValueError(f"scale and bias must fit shape {x.shape}, got {other.shape}")
    result = result * scale if bias is None else result * scale + bias
    return (result, mean, inverse)[:outputs] if outputs > 1 else result
