"""Keras's operations in functional models, such as ``x + 1`` or ``x[:, -1]``, as ONNX's operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from .activations import NAMED, SLOPE, gelu_by_tanh
from .builder import (
    START,
    GraphBuilder,
    Tensor,
    any_of,
    binary,
    broadcast,
    cast,
    concat,
    flip,
    reshape,
    sliced,
    squeeze,
    take,
    transpose,
    unary,
    unsqueeze,
)
from .config import KerasLayer

Operation = Callable[[KerasLayer, Sequence[Any], Mapping[str, Any]], list[Tensor]]

END = (1 << 31) - 1  # beyond every axis
CASTS = ("bool", "int32", "int64", "float32", "float64")
OPERATIONS: dict[str, Operation] = {}


def operation(*names: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a function ``apply(layer, *tensors and numbers)`` that computes operations."""

    def register(apply: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def checked(layer: KerasLayer, arguments: Sequence[Any], options: Mapping[str, Any]) -> list[Tensor]:
            try:
                result = apply(layer, *arguments, **options)
            except TypeError as error:
                raise layer.refused(f"its arguments must be supported ones: {error}") from None
            layer.options.finish()
            return [result]

        OPERATIONS.update(dict.fromkeys(names, checked))
        return apply

    return register


def _tensors(layer: KerasLayer, *values: Any) -> list[Tensor]:
    """Tensors and numbers as tensors of one type, in which Keras computes."""
    builder = layer.builder
    tensors = [value for value in values if isinstance(value, Tensor)]
    if not tensors or not all(isinstance(value, Tensor | int | float | np.ndarray) for value in values):
        raise layer.refused("it must be called with tensors, or with one and numbers")
    dtype = reduce(_wider, (value.dtype for value in tensors))
    if not dtype.startswith("float") and any(isinstance(value, float) for value in values):
        dtype = "float32"
    for value in values:
        if isinstance(value, np.ndarray):
            dtype = _wider(dtype, value.dtype.name)
    return [
        cast(builder, value, dtype) if isinstance(value, Tensor) else builder.constant(value, dtype) for value in values
    ]


def _wider(one: str, other: str) -> str:
    """The type that holds both types by Keras's rules: integers do not widen floating-point numbers."""
    if one == other:
        return one
    if one.startswith("float") != other.startswith("float"):
        return one if one.startswith("float") else other
    return np.promote_types(one, other).name


def _floating(layer: KerasLayer, x: Tensor) -> Tensor:
    """The tensor, cast to float32 if it holds no floating-point numbers."""
    return x if x.floating else cast(layer.builder, x, "float32")


def _check_tensor(layer: KerasLayer, *values: Any) -> None:
    for value in values:
        if not isinstance(value, Tensor):
            raise layer.refused(f"it must be called with tensors, got {type(value).__name__}")


# Of elements --------------------------------------------------------------------------------------------------

BINARY = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Maximum": "Max", "Minimum": "Min"}
COMPARISONS = {"Equal": "Equal", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
               "LessEqual": "LessOrEqual"}  # fmt: skip
UNARY = {"Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt", "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Softplus": "Softplus",
         "Softsign": "Softsign"}  # fmt: skip
ACTIVATIONS = {"Relu": "relu", "Relu6": "relu6", "Silu": "silu", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
               "LogSigmoid": "log_sigmoid", "Selu": "selu"}  # fmt: skip


@operation(*BINARY)
def arithmetic(layer: KerasLayer, x: Any, y: Any) -> Tensor:
    """Arithmetic on each pair of elements."""
    x, y = _numbers(layer, x, y)
    return binary(layer.builder, BINARY[layer.kind], x, y)


def _numbers(layer: KerasLayer, *values: Any) -> list[Tensor]:
    """As `_tensors`; bools are refused, because Keras's arithmetic with them differs."""
    tensors = _tensors(layer, *values)
    if tensors[0].dtype == "bool":
        raise layer.refused("it must be called with numbers, got bools")
    return tensors


@operation("Divide", "TrueDivide")
def quotient(layer: KerasLayer, x: Any, y: Any) -> Tensor:
    """The quotient of each pair of elements, as floating-point numbers."""
    x, y = (_floating(layer, operand) for operand in _numbers(layer, x, y))
    return binary(layer.builder, "Div", x, y)


@operation("Power")
def power(layer: KerasLayer, x: Any, y: Any) -> Tensor:
    """The power of each pair of elements, as floating-point numbers."""
    x, y = (_floating(layer, operand) for operand in _numbers(layer, x, y))
    return binary(layer.builder, "Pow", x, y)


@operation(*COMPARISONS)
def comparison(layer: KerasLayer, x: Any, y: Any) -> Tensor:
    """The comparison of each pair of elements."""
    x, y = _tensors(layer, x, y)
    return binary(layer.builder, COMPARISONS[layer.kind], x, y, "bool")


@operation("NotEqual")
def not_equal(layer: KerasLayer, x: Any, y: Any) -> Tensor:
    """Whether the elements of each pair differ."""
    x, y = _tensors(layer, x, y)
    return unary(layer.builder, "Not", binary(layer.builder, "Equal", x, y, "bool"))


@operation("LogicalAnd", "LogicalOr", "LogicalXor")
def logical(layer: KerasLayer, x: Any, y: Any) -> Tensor:
    """A logical operation on each pair of elements."""
    _check_tensor(layer, x, y)
    x, y = (cast(layer.builder, operand, "bool") for operand in (x, y))
    return binary(layer.builder, layer.kind.removeprefix("Logical"), x, y)


@operation("LogicalNot")
def logical_not(layer: KerasLayer, x: Any) -> Tensor:
    """The negation of each element."""
    _check_tensor(layer, x)
    return unary(layer.builder, "Not", cast(layer.builder, x, "bool"))


@operation(*UNARY)
def function(layer: KerasLayer, x: Any) -> Tensor:
    """A function of each element."""
    _check_tensor(layer, x)
    return unary(layer.builder, UNARY[layer.kind], _floating(layer, x))


@operation(*ACTIVATIONS)
def activation(layer: KerasLayer, x: Any) -> Tensor:
    """Keras's activation of that name."""
    _check_tensor(layer, x)
    return NAMED[ACTIVATIONS[layer.kind]](layer.builder, _floating(layer, x))


@operation("Negative", "Absolute", "Abs")
def sign_changed(layer: KerasLayer, x: Any) -> Tensor:
    """The negative or the absolute value of each element."""
    _check_tensor(layer, x)
    return unary(layer.builder, "Neg" if layer.kind == "Negative" else "Abs", x)


@operation("Square")
def square(layer: KerasLayer, x: Any) -> Tensor:
    """The square of each element."""
    _check_tensor(layer, x)
    return binary(layer.builder, "Mul", x, x)


@operation("LeakyRelu", "Elu")
def sloped(layer: KerasLayer, x: Any) -> Tensor:
    """An activation with a slope below zero."""
    _check_tensor(layer, x)
    name, default = ("negative_slope", SLOPE) if layer.kind == "LeakyRelu" else ("alpha", 1.0)
    return unary(layer.builder, layer.kind, _floating(layer, x), alpha=layer.options.number(name, default))


@operation("Softmax", "LogSoftmax")
def softmax(layer: KerasLayer, x: Any) -> Tensor:
    """A softmax along an axis, or its logarithm."""
    _check_tensor(layer, x)
    return unary(layer.builder, layer.kind, _floating(layer, x), axis=_axis(layer, x.ndim, -1))


@operation("Gelu")
def gelu(layer: KerasLayer, x: Any) -> Tensor:
    """The GELU of each element, exact or approximated by tanh."""
    _check_tensor(layer, x)
    approximate = layer.options.flag("approximate", True)
    return (gelu_by_tanh if approximate else NAMED["gelu"])(layer.builder, _floating(layer, x))


@operation("Cast")
def converted(layer: KerasLayer, x: Any) -> Tensor:
    """The tensor in another type."""
    _check_tensor(layer, x)
    dtype = layer.options.choice("dtype", CASTS)
    return cast(layer.builder, x, dtype).under(None)


@operation("ConvertToTensor")
def tensor(layer: KerasLayer, x: Any) -> Tensor:
    """The tensor, or the tensor in another type: all values in a graph are tensors."""
    _check_tensor(layer, x)
    dtype = layer.options.choice("dtype", (None, *CASTS))
    return cast(layer.builder, x, dtype or x.dtype).under(None)


@operation("Where")
def chosen(layer: KerasLayer, condition: Any, x: Any, y: Any) -> Tensor:
    """Elements of x where the condition holds, else of y."""
    _check_tensor(layer, condition)
    x, y = _tensors(layer, x, y)
    where = cast(layer.builder, condition, "bool")
    return layer.builder.node("Where", [where, x, y], broadcast(where.shape, x.shape, y.shape), x.dtype)


@operation("ZerosLike", "OnesLike")
def filled(layer: KerasLayer, x: Any, dtype: Any = None) -> Tensor:
    """A tensor of zeros or ones, of the same shape."""
    _check_tensor(layer, x)
    dtype = layer.options.value("dtype") or dtype or x.dtype
    if dtype not in ("bool", "int32", "int64", "float32", "float64"):
        raise layer.options.refused("dtype", "a type of numbers")
    builder = layer.builder
    value = builder.constant(layer.kind == "OnesLike", dtype)
    return builder.node("Expand", [value, builder.node("Shape", [x], (x.ndim,), "int64")], x.shape)


# Along axes ---------------------------------------------------------------------------------------------------


def _axis(layer: KerasLayer, ndim: int, default: int | None = None) -> int:
    axis = layer.options.integer("axis", default)
    if not -ndim <= axis < ndim:
        raise layer.options.refused("axis", f"in [{-ndim}, {ndim - 1}]")
    return axis % ndim


@operation("Any")
def any_along(layer: KerasLayer, x: Any) -> Tensor:
    """Whether any element along an axis is true."""
    _check_tensor(layer, x)
    keep = layer.options.flag("keepdims", False)
    return any_of(layer.builder, cast(layer.builder, x, "bool"), _axis(layer, x.ndim), keep)


@operation("Mean", "Sum", "Max", "Min")
def reduced(layer: KerasLayer, x: Any) -> Tensor:
    """A reduction along some axes, or along all of them."""
    _check_tensor(layer, x)
    options, builder = layer.options, layer.builder
    chosen = [*range(x.ndim)] if options.value("axis") is None else options.integers("axis")
    axes = sorted({axis % x.ndim for axis in chosen if -x.ndim <= axis < x.ndim})
    if len(axes) < len(chosen) or options.value("initial") is not None:
        raise options.refused("axis", f"different axes in [{-x.ndim}, {x.ndim - 1}], without an initial value")
    keep = options.flag("keepdims", False)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes)
    x = _floating(layer, x) if layer.kind == "Mean" else x
    if not x.floating and layer.kind == "Sum":
        raise layer.refused(f"it must be called with floating-point numbers, got {x.dtype}")
    if layer.kind == "Sum":
        return builder.node("ReduceSum", [x, builder.constant(axes, "int64")], shape, keepdims=int(keep))
    return builder.node(f"Reduce{layer.kind}", [x], shape, axes=tuple(axes), keepdims=int(keep))


@operation("ExpandDims")
def expanded(layer: KerasLayer, x: Any) -> Tensor:
    """The tensor with one more axis of length 1."""
    _check_tensor(layer, x)
    return unsqueeze(layer.builder, x, _axis(layer, x.ndim + 1))


@operation("Squeeze")
def squeezed(layer: KerasLayer, x: Any) -> Tensor:
    """The tensor without an axis of length 1."""
    _check_tensor(layer, x)
    return squeeze(layer.builder, x, _axis(layer, x.ndim))


@operation("Reshape")
def reshaped(layer: KerasLayer, x: Any) -> Tensor:
    """The tensor in another shape with the same first axis."""
    _check_tensor(layer, x)
    target = layer.options.integers("newshape")
    if target[0] != -1 or any(size < 1 for size in target[1:]):
        raise layer.options.refused("newshape", "-1 and positive lengths")
    return reshape(layer.builder, x, (None, *target[1:]))


@operation("Transpose")
def transposed(layer: KerasLayer, x: Any) -> Tensor:
    """The tensor with its axes in another order."""
    _check_tensor(layer, x)
    axes = [*range(x.ndim)][::-1] if layer.options.value("axes") is None else layer.options.integers("axes")
    if sorted(axis % x.ndim for axis in axes) != [*range(x.ndim)]:
        raise layer.options.refused("axes", f"the numbers 0 to {x.ndim - 1} in some order")
    return transpose(layer.builder, x, [axis % x.ndim for axis in axes])


@operation("Flip")
def flipped(layer: KerasLayer, x: Any) -> Tensor:
    """The tensor with an axis in reverse order."""
    _check_tensor(layer, x)
    return flip(layer.builder, x, _axis(layer, x.ndim))


@operation("Concatenate", "Stack")
def joined(layer: KerasLayer, tensors: Any) -> Tensor:
    """Tensors joined along an axis, or along a new one."""
    if not isinstance(tensors, list) or not tensors:
        raise layer.refused("it must be called with a list of tensors")
    _check_tensor(layer, *tensors)
    operands, stacks = _tensors(layer, *tensors), layer.kind == "Stack"
    if len({operand.ndim for operand in operands}) > 1:
        raise layer.refused("it must be called with tensors of the same number of axes")
    axis = _axis(layer, operands[0].ndim + stacks, 0)
    return concat(
        layer.builder, [unsqueeze(layer.builder, operand, axis) if stacks else operand for operand in operands], axis
    )


@operation("Matmul")
def product(layer: KerasLayer, x: Any, y: Any) -> Tensor:
    """A product of matrices."""
    _check_tensor(layer, x, y)
    x, y = (_floating(layer, operand) for operand in _tensors(layer, x, y))
    if x.ndim < 2 or y.ndim != x.ndim:
        raise layer.refused("it must be called with tensors of the same number of axes, at least two")
    return layer.builder.node("MatMul", [x, y], (*x.shape[:-1], y.shape[-1]))


@operation("GetItem")
def item(layer: KerasLayer, x: Any, key: Any) -> Tensor:
    """A part of the tensor; the key has integers, slices, an ellipsis and None."""
    _check_tensor(layer, x)
    indices = [*key] if isinstance(key, list) else [key]
    if ... in indices:
        place = indices.index(...)
        indices[place : place + 1] = [slice(None)] * (x.ndim - sum(index is not None for index in indices) + 1)
    if sum(index is not None for index in indices) > x.ndim:
        raise layer.refused(f"there must be at most {x.ndim} indices, got {len(indices)}")
    axis, builder = 0, layer.builder
    for index in indices:
        if index is None:
            x, axis = unsqueeze(builder, x, axis), axis + 1
        elif isinstance(index, slice):
            x, axis = _sliced(layer, builder, x, index, axis), axis + 1
        elif isinstance(index, int) and not isinstance(index, bool) and abs(index) < END:
            x = take(builder, x, index, axis)
        else:
            raise layer.refused(f"an index must be an integer, a slice or None, got {index!r:.80}")
    return x


def _sliced(layer: KerasLayer, builder: GraphBuilder, x: Tensor, bounds: slice, axis: int) -> Tensor:
    if bounds == slice(None):
        return x
    step, size = 1 if bounds.step is None else bounds.step, x.shape[axis]
    if step == 0:
        raise layer.refused("the step of a slice must not be 0")
    start = bounds.start if bounds.start is not None else (0 if step > 0 else END)
    stop = bounds.stop if bounds.stop is not None else (END if step > 0 else START)
    left = None if size is None else len(range(size)[bounds])
    return sliced(builder, x, start, stop, axis, left, step)
