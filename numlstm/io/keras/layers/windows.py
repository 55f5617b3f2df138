"""Keras's layers over windows of steps: convolution, pooling and upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..activations import activated
from ..builder import (
    Tensor,
    transpose,
    unsqueeze,
)
from ..config import KerasLayer
from .registry import check_channels_last, check_sequence, computes, size_of


@computes("Conv1D", passes=False)
def convolution(layer: KerasLayer, x: Tensor) -> Tensor:
    """Products of windows of steps and filters, a bias and an activation."""
    options, builder, dtype = layer.options, layer.builder, layer.options.dtype
    check_channels_last(layer)
    check_sequence(layer, x)
    filters, groups, bias = options.integer("filters", least=1), options.integer("groups", 1), _bias(layer)
    width, stride, dilation = (_one(layer, name) for name in ("kernel_size", "strides", "dilation_rate"))
    if stride > 1 and dilation > 1:
        raise options.refused("strides", "1 with a dilation_rate")
    options.off("lora_rank", "it is not supported")
    options.ignore("lora_alpha")
    channels = size_of(layer, x, 2)
    if groups < 1 or channels % groups or filters % groups:
        raise options.refused("groups", f"a divisor of {channels} channels and {filters} filters")
    kernel, *biases = layer.arrays(("kernel", *(("bias",) if bias else ())), dtype)
    layer.check(kernel, "kernel", (width, channels // groups, filters))
    inputs = [transpose(builder, x, (0, 2, 1)), layer.constant("kernel", lambda: kernel.transpose(2, 1, 0))]
    if bias:
        layer.check(biases[0], "bias", (filters,))
        inputs.append(layer.constant("bias", lambda: biases[0]))
    moving, steps = _moving(layer, x, (dilation * (width - 1) + 1, stride), ("valid", "same", "causal"))
    y = builder.node("Conv", inputs, (x.shape[0], filters, steps), dilations=(dilation,), group=groups, **moving)
    return activated(layer, transpose(builder, y, (0, 2, 1)))


def _bias(layer: KerasLayer) -> bool:
    return layer.options.flag("use_bias", True)


def _one(layer: KerasLayer, name: str) -> int:
    """A number that stands in a list, or by itself."""
    values = layer.options.integers(name)
    if len(values) != 1 or values[0] < 1:
        raise layer.options.refused(name, "one number of at least 1")
    return values[0]


def _moving(
    layer: KerasLayer, x: Tensor, window: tuple[int, int], paddings: Sequence[str]
) -> tuple[dict[str, Any], int | None]:
    """How a window of a reach and a stride moves over steps, as ONNX's attributes; and the number of windows."""
    (reach, stride), steps = window, x.shape[1]
    padding = layer.options.choice("padding", paddings, "valid")
    moving: dict[str, Any] = {"strides": (stride,)}
    if padding == "same":
        around = _around(steps, reach, stride)
        moving |= {"auto_pad": "SAME_UPPER"} if around is None else {"pads": (around // 2, around - around // 2)}
        return moving, None if steps is None else -(-steps // stride)
    first = reach - 1 if padding == "causal" else 0
    if steps is not None and steps + first < reach:
        raise layer.refused(f"its windows of {reach} steps must fit in its input, got shape {x.shape}")
    return moving | {"pads": (first, 0)}, None if steps is None else (steps + first - reach) // stride + 1


def _around(steps: int | None, reach: int, stride: int) -> int | None:
    """The steps of padding in all that "same" needs; None if the number of steps is unknown and matters."""
    if stride == 1:
        return reach - 1
    return None if steps is None else max((-(-steps // stride) - 1) * stride + reach - steps, 0)


@computes("MaxPooling1D", "AveragePooling1D", passes=False)
def pooling(layer: KerasLayer, x: Tensor) -> Tensor:
    """The largest, or the mean, of each window of steps."""
    options, builder, first = layer.options, layer.builder, layer.options.value("data_format") == "channels_first"
    options.choice("data_format", ("channels_last", "channels_first", None))
    check_sequence(layer, x)
    if not x.floating:
        raise layer.refused(f"its input must hold floating-point numbers, got {x.dtype}")
    width = _one(layer, "pool_size")
    stride = width if options.value("strides") is None else _one(layer, "strides")
    swapped = transpose(builder, x, (0, 2, 1))
    rows, last = (swapped, x) if first else (x, swapped)  # with steps before features, and after them
    moving, steps = _moving(layer, rows, (width, stride), ("valid", "same"))
    if layer.kind == "AveragePooling1D" and options.value("padding") == "same":
        _check_even(layer, _around(rows.shape[1], width, stride), width)
    op = layer.kind.removesuffix("ing1D")
    y = builder.node(op, [last], (*last.shape[:2], steps), kernel_shape=(width,), **moving)
    return y if first else transpose(builder, y, (0, 2, 1))


def _check_even(layer: KerasLayer, around: int | None, width: int) -> None:
    """Refuse more padding at one end than at the other: Keras's backends compute different averages then."""
    if width > 2 and (around is None or around % 2):
        raise layer.options.refused("padding", "'valid': with 'same' Keras's backends differ if the ends do")


@computes("UpSampling1D", passes=False)
def up_sampling(layer: KerasLayer, x: Tensor) -> Tensor:
    """Each step several times."""
    check_sequence(layer, x)
    size, (rows, steps, features), builder = layer.options.integer("size", 2, least=1), x.shape, layer.builder
    times = builder.constant([1, 1, size, 1], "int64")
    repeated = builder.node("Tile", [unsqueeze(builder, x, 2), times], (rows, steps, size, features))
    bounds = builder.constant([0, -1, size_of(layer, x, 2)], "int64")
    return builder.node("Reshape", [repeated, bounds], (rows, None if steps is None else steps * size, features))
