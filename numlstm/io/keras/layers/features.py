"""Keras's layers that work on features: Dense, Embedding, Masking, activations, and layers of training alone."""

from __future__ import annotations

from ..activations import OF_LAYERS, activated
from ..builder import (
    Tensor,
    any_of,
    binary,
    cast,
    different,
    number,
    squeeze,
)
from ..config import KerasLayer
from .registry import axis_of, computes


@computes("Dense")
def dense(layer: KerasLayer, x: Tensor) -> Tensor:
    """A product with the last axis, a bias and an activation."""
    options, builder = layer.options, layer.builder
    units, bias, dtype = options.integer("units", least=1), options.flag("use_bias", True), options.dtype
    kernel, *biases = layer.arrays(("kernel", *(("bias",) if bias else ())), dtype)
    if x.ndim < 2:
        raise layer.refused(f"its input must have at least 2 axes, got shape {x.shape}")
    layer.check(kernel, "kernel", (x.shape[-1], units))
    x = cast(builder, x, dtype)
    y = builder.node("MatMul", [x, layer.constant("kernel", lambda: kernel)], (*x.shape[:-1], units))
    if bias:
        layer.check(biases[0], "bias", (units,))
        y = binary(builder, "Add", y, layer.constant("bias", lambda: biases[0]))
    return activated(layer, y)


@computes("Embedding", casts=False, passes=False)
def embedding(layer: KerasLayer, x: Tensor) -> Tensor:
    """Rows of a table."""
    options, builder = layer.options, layer.builder
    shape = options.integer("input_dim", least=1), options.integer("output_dim", least=1)
    (table,) = layer.arrays(("embeddings",), options.dtype)
    layer.check(table, "embeddings", shape)
    masked = options.flag("mask_zero", False)
    options.ignore("input_length")
    index = x if x.dtype in ("int32", "int64") else cast(builder, x, "int32")
    rows = layer.constant("embeddings", lambda: table)
    y = builder.node("Gather", [rows, index], (*x.shape, shape[1]), axis=0)
    return y.under(different(builder, x, 0)) if masked else y


@computes("Masking")
def masking(layer: KerasLayer, x: Tensor) -> Tensor:
    """Steps whose features all have one value are masked and become zeros."""
    builder = layer.builder
    value = layer.options.number("mask_value", 0.0)
    if x.ndim < 2:
        raise layer.refused(f"its input must have at least 2 axes, got shape {x.shape}")
    there = any_of(builder, different(builder, x, value), -1, keepdims=True)
    y = builder.node("Where", [there, x, number(builder, 0, x)], x.shape, x.dtype)
    return y.under(squeeze(builder, there, -1))


@computes("Activation")
def activation(layer: KerasLayer, x: Tensor) -> Tensor:
    """An activation by its name."""
    return activated(layer, x)


@computes("ReLU", "LeakyReLU", "ELU")
def activation_layer(layer: KerasLayer, x: Tensor) -> Tensor:
    """An activation with options."""
    return OF_LAYERS[layer.kind](layer.options)(layer.builder, x)


@computes("Softmax", reads_mask=True)
def softmax(layer: KerasLayer, x: Tensor, mask: Tensor | None) -> Tensor:
    """A softmax over one axis."""
    if mask is not None:
        raise layer.refused("its input must have no mask: Keras expects a mask of elements here, not of steps")
    axis_of(layer, x, layer.options.integer("axis", -1))
    return OF_LAYERS["Softmax"](layer.options)(layer.builder, x)


@computes("PReLU")
def prelu(layer: KerasLayer, x: Tensor) -> Tensor:
    """ReLU with learnt slopes for negative elements."""
    options, shape = layer.options, [*x.shape[1:]]
    if options.value("shared_axes") is not None:
        for axis in options.integers("shared_axes"):
            shape[axis_of(layer, x, axis, "shared_axes") - 1] = 1
    (alpha,) = layer.arrays(("alpha",), options.dtype)
    layer.check(alpha, "alpha", shape)
    return layer.builder.node("PRelu", [x, layer.constant("alpha", lambda: alpha)], x.shape)


@computes("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization",
       "Identity")  # fmt: skip
def nothing(layer: KerasLayer, x: Tensor) -> Tensor:
    """The input: the layer acts only in training."""
    layer.options.ignore("rate", "stddev", "noise_shape", "data_format", "l1", "l2")
    return x
