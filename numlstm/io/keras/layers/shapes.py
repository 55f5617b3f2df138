"""Keras's layers that change shapes: of axes, and of steps at the ends of sequences."""

from __future__ import annotations

import math

from ..builder import (
    Tensor,
    binary,
    cast,
    number,
    reshape,
    sliced,
    transpose,
    unsqueeze,
)
from ..config import KerasLayer
from .registry import check_channels_last, check_sequence, computes


@computes("Flatten", passes=False)
def flatten(layer: KerasLayer, x: Tensor) -> Tensor:
    """All axes but the first as one."""
    if x.ndim > 2:
        check_channels_last(layer)
    layer.options.ignore("data_format")
    rest = x.shape[1:]
    size = None if None in rest else math.prod(size for size in rest if size is not None)
    return reshape(layer.builder, x, (x.shape[0], size))


@computes("Reshape", passes=False)
def reshaped(layer: KerasLayer, x: Tensor) -> Tensor:
    """Axes but the first in another shape."""
    target, rest = [*layer.options.integers("target_shape")], x.shape[1:]
    if target.count(-1) > 1 or any(size < -1 or size == 0 for size in target):
        raise layer.options.refused("target_shape", "positive lengths, one of which may be -1")
    if None not in rest and -1 in target:
        whole = math.prod(size for size in rest if size is not None)
        target[target.index(-1)] = whole // math.prod(size for size in target if size != -1)
    return reshape(layer.builder, x, (x.shape[0], *(None if size == -1 else size for size in target)))


@computes("Permute", passes=False)
def permute(layer: KerasLayer, x: Tensor) -> Tensor:
    """Axes but the first in another order."""
    dims = layer.options.integers("dims")
    if sorted(dims) != [*range(1, x.ndim)]:
        raise layer.options.refused("dims", f"the numbers 1 to {x.ndim - 1} in some order")
    return transpose(layer.builder, x, (0, *dims))


@computes("RepeatVector", passes=False)
def repeat_vector(layer: KerasLayer, x: Tensor) -> Tensor:
    """A vector as every step of a sequence."""
    steps = layer.options.integer("n", least=1)
    if x.ndim != 2:
        raise layer.refused(f"its input must have axes (N, D), got shape {x.shape}")
    builder = layer.builder
    size = builder.constant([1, steps, 1], "int64")
    return builder.node("Expand", [unsqueeze(builder, x, 1), size], (x.shape[0], steps, x.shape[1]))


def _pair(layer: KerasLayer, name: str) -> tuple[int, int]:
    """How many steps at both ends."""
    values = layer.options.integers(name)
    first, last = values * 2 if len(values) == 1 else (values if len(values) == 2 else (-1, -1))
    if min(first, last) < 0:
        raise layer.options.refused(name, "one number or two, of at least 0")
    return first, last


@computes("ZeroPadding1D", passes=False)
def zero_padding(layer: KerasLayer, x: Tensor) -> Tensor:
    """Steps of zeros at both ends."""
    check_channels_last(layer)
    check_sequence(layer, x)
    first, last = _pair(layer, "padding")
    pads = layer.builder.constant([0, first, 0, 0, last, 0], "int64")
    rows, steps, features = x.shape
    return layer.builder.node("Pad", [x, pads], (rows, None if steps is None else steps + first + last, features))


@computes("Cropping1D", passes=False)
def cropping(layer: KerasLayer, x: Tensor) -> Tensor:
    """Without some steps at both ends."""
    check_sequence(layer, x)
    first, last = _pair(layer, "cropping")
    steps = x.shape[1]
    if steps is not None and steps <= first + last:
        raise layer.options.refused("cropping", f"less than the {steps} steps that there are")
    stop = -last if last else (1 << 31) - 1
    return sliced(layer.builder, x, first, stop, 1, None if steps is None else steps - first - last)


@computes("GlobalAveragePooling1D", passes=False, reads_mask=True)
def average_pooling(layer: KerasLayer, x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of the steps that count."""
    axis, keep, shape = _pooled(layer, x)
    builder = layer.builder
    if not x.floating:
        raise layer.refused(f"its input must hold floating-point numbers, got {x.dtype}")
    if mask is None:
        return builder.node("ReduceMean", [x], shape, axes=(axis,), keepdims=keep)
    there = unsqueeze(builder, mask, 2 if axis == 1 else 1)
    counted = builder.node("Where", [there, x, number(builder, 0, x)], x.shape, x.dtype)
    axes = builder.constant([axis], "int64")
    ones = cast(builder, there, x.dtype)
    share = (*ones.shape[:axis], *((1,) if keep else ()), *ones.shape[axis + 1 :])
    total = builder.node("ReduceSum", [counted, axes], shape, keepdims=keep)
    return binary(builder, "Div", total, builder.node("ReduceSum", [ones, axes], share, keepdims=keep))


@computes("GlobalMaxPooling1D", passes=False)
def max_pooling(layer: KerasLayer, x: Tensor) -> Tensor:
    """The largest of all steps."""
    axis, keep, shape = _pooled(layer, x)
    return layer.builder.node("ReduceMax", [x], shape, axes=(axis,), keepdims=keep)


def _pooled(layer: KerasLayer, x: Tensor) -> tuple[int, int, tuple[int | None, ...]]:
    """The axis of steps, whether it stays, and the shape that is left."""
    check_sequence(layer, x)
    form = layer.options.choice("data_format", ("channels_last", "channels_first", None))
    keep, axis = layer.options.flag("keepdims", False), 2 if form == "channels_first" else 1
    return axis, int(keep), (*x.shape[:axis], *((1,) if keep else ()), *x.shape[axis + 1 :])
