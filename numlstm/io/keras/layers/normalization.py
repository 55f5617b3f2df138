"""Keras's normalisations."""

from __future__ import annotations

import numpy as np

from ..builder import (
    Tensor,
    binary,
    cast,
    number,
)
from ..config import KerasLayer
from .registry import axis_of, computes, size_of

EPSILON = 1e-7  # Keras's own


@computes("BatchNormalization")
def batch_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Normalised by the means and variances of training."""
    options, builder = layer.options, layer.builder
    axis = axis_of(layer, x, options.integer("axis", -1))
    scale, center = options.flag("scale", True), options.flag("center", True)
    options.off("renorm", "batch renormalisation is not supported")
    options.ignore("momentum", "synchronized", "renorm_clipping", "renorm_momentum")
    names = [*(("gamma",) if scale else ()), *(("beta",) if center else ()), "moving_mean", "moving_variance"]
    arrays = dict(zip(names, layer.arrays(names, options.dtype), strict=True))
    for name, array in arrays.items():
        layer.check(array, name, (x.shape[axis],))
    epsilon, shape = options.number("epsilon", 1e-3), [1] * x.ndim
    shape[axis] = -1
    wide = {name: array.astype("float64").reshape(shape) for name, array in arrays.items()}
    with np.errstate(all="ignore"):  # a damaged variance gives NaN, in Keras as here
        factor = wide.get("gamma", np.float64(1)) / np.sqrt(wide["moving_variance"] + epsilon)
    x = cast(builder, x, options.dtype)
    y = binary(builder, "Sub", x, layer.constant("mean", lambda: arrays["moving_mean"].reshape(shape)))
    y = binary(builder, "Mul", y, layer.constant("factor", lambda: factor.astype(options.dtype)))
    return binary(builder, "Add", y, layer.constant("beta", lambda: arrays["beta"].reshape(shape))) if center else y


@computes("LayerNormalization")
def layer_normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Normalised over the last axes."""
    options, builder = layer.options, layer.builder
    axes = sorted(axis_of(layer, x, axis) for axis in (options.integers("axis") if options.value("axis") else (-1,)))
    if axes != [*range(x.ndim - len(axes), x.ndim)]:
        raise options.refused("axis", "the last axis, or the last ones")
    options.off("rms_scaling", "it is not supported")
    scale, center = options.flag("scale", True), options.flag("center", True)
    names = [*(("gamma",) if scale else ()), *(("beta",) if center else ())]
    shape = [size_of(layer, x, axis) for axis in axes]
    arrays = dict(zip(names, layer.arrays(names, options.dtype), strict=True))
    for name, array in arrays.items():
        layer.check(array, name, shape)
    x = cast(builder, x, options.dtype)
    gamma = layer.constant("gamma", lambda: arrays.get("gamma", np.ones(shape, options.dtype)))
    beta = layer.constant("beta", lambda: arrays["beta"]) if center else None
    inputs = [x, gamma, *([beta] if center else [])]
    epsilon = options.number("epsilon", 1e-3)
    return builder.node("LayerNormalization", inputs, x.shape, axis=axes[0], epsilon=epsilon)


@computes("Normalization")
def normalization(layer: KerasLayer, x: Tensor) -> Tensor:
    """Normalised by the means and variances that `adapt` found in data."""
    options, builder, dtype = layer.options, layer.builder, layer.options.dtype
    axes = () if options.value("axis") is None else options.integers("axis")
    kept = sorted(axis_of(layer, x, axis) for axis in axes)
    invert = options.flag("invert", False)
    for name in ("mean", "variance"):
        if options.value(name) is not None:
            raise options.refused(name, "None, with adapt to find it in data")
    shape = [size_of(layer, x, axis) for axis in kept]
    mean, variance, _ = layer.arrays(("mean", "variance", "count"), dtype)
    for array, name in ((mean, "mean"), (variance, "variance")):
        layer.check(array, name, shape)
    wide = [shape[kept.index(axis)] if axis in kept else 1 for axis in range(x.ndim)]
    with np.errstate(all="ignore"):
        deviation = np.maximum(np.sqrt(variance), np.asarray(EPSILON, dtype))
    x = cast(builder, x, dtype)
    centre = layer.constant("mean", lambda: mean.reshape(wide))
    scale = layer.constant("deviation", lambda: deviation.reshape(wide))
    if invert:
        return binary(builder, "Add", centre, binary(builder, "Mul", x, scale))
    return binary(builder, "Div", binary(builder, "Sub", x, centre), scale)


@computes("Rescaling")
def rescaling(layer: KerasLayer, x: Tensor) -> Tensor:
    """Times a number, plus a number."""
    scale, offset = layer.options.number("scale"), layer.options.number("offset", 0.0)
    x = cast(layer.builder, x, layer.options.dtype)
    y = binary(layer.builder, "Mul", x, number(layer.builder, scale, x))
    return binary(layer.builder, "Add", y, number(layer.builder, offset, y))
