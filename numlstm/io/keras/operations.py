"""Keras's operations in functional models, such as ``x + 1`` or ``x[:, -1]``, as ONNX's operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from .activations import NAMED, SLOPE, gelu_by_tanh
from .config import Part
from .sketch import (
    START,
    Sketch,
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

Operation = Callable[[Part, Sequence[Any], Mapping[str, Any]], list[Tensor]]

END = (1 << 31) - 1  # beyond every axis
CASTS = ("bool", "int32", "int64", "float32", "float64")
OPERATIONS: dict[str, Operation] = {}


def operation(*names: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Make a function ``apply(part, *tensors and numbers)`` known as what computes operations."""

    def register(apply: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def checked(part: Part, arguments: Sequence[Any], options: Mapping[str, Any]) -> list[Tensor]:
            try:
                made = apply(part, *arguments, **options)
            except TypeError as error:
                raise part.refused(f"it is called with what is not supported: {error}") from None
            part.options.finish()
            return [made]

        OPERATIONS.update(dict.fromkeys(names, checked))
        return apply

    return register


def _tensors(part: Part, *values: Any) -> list[Tensor]:
    """Tensors and numbers as tensors of one type, that which Keras computes in."""
    sketch = part.sketch
    given = [each for each in values if isinstance(each, Tensor)]
    if not given or not all(isinstance(each, Tensor | int | float | np.ndarray) for each in values):
        raise part.refused("it must be called with tensors, or with one and numbers")
    dtype = reduce(_wider, (each.dtype for each in given))
    if not dtype.startswith("float") and any(isinstance(each, float) for each in values):
        dtype = "float32"
    for each in values:
        if isinstance(each, np.ndarray):
            dtype = _wider(dtype, each.dtype.name)
    return [cast(sketch, each, dtype) if isinstance(each, Tensor) else sketch.constant(each, dtype) for each in values]


def _wider(one: str, other: str) -> str:
    """The type that holds what both hold, as Keras sees it: floating-point numbers are no wider for integers."""
    if one == other:
        return one
    if one.startswith("float") != other.startswith("float"):
        return one if one.startswith("float") else other
    return np.promote_types(one, other).name


def _floating(part: Part, x: Tensor) -> Tensor:
    """A tensor of floating-point numbers."""
    return x if x.floating else cast(part.sketch, x, "float32")


def _check_tensor(part: Part, *values: Any) -> None:
    for each in values:
        if not isinstance(each, Tensor):
            raise part.refused(f"it must be called with tensors, got {type(each).__name__}")


# Of elements --------------------------------------------------------------------------------------------------

BINARY = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Maximum": "Max", "Minimum": "Min"}
COMPARISONS = {"Equal": "Equal", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
               "LessEqual": "LessOrEqual"}  # fmt: skip
UNARY = {"Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt", "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Softplus": "Softplus",
         "Softsign": "Softsign"}  # fmt: skip
ACTIVATIONS = {"Relu": "relu", "Relu6": "relu6", "Silu": "silu", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
               "LogSigmoid": "log_sigmoid", "Selu": "selu"}  # fmt: skip


@operation(*BINARY)
def arithmetic(part: Part, x: Any, y: Any) -> Tensor:
    """Of each pair of elements."""
    x, y = _numbers(part, x, y)
    return binary(part.sketch, BINARY[part.kind], x, y)


def _numbers(part: Part, *values: Any) -> list[Tensor]:
    """As `_tensors`, without bools, of which arithmetic is something else."""
    made = _tensors(part, *values)
    if made[0].dtype == "bool":
        raise part.refused("it must be called with numbers, got bools")
    return made


@operation("Divide", "TrueDivide")
def quotient(part: Part, x: Any, y: Any) -> Tensor:
    """Of each pair of elements, as floating-point numbers."""
    x, y = (_floating(part, each) for each in _numbers(part, x, y))
    return binary(part.sketch, "Div", x, y)


@operation("Power")
def power(part: Part, x: Any, y: Any) -> Tensor:
    """Of each pair of elements."""
    x, y = (_floating(part, each) for each in _numbers(part, x, y))
    return binary(part.sketch, "Pow", x, y)


@operation(*COMPARISONS)
def comparison(part: Part, x: Any, y: Any) -> Tensor:
    """Of each pair of elements."""
    x, y = _tensors(part, x, y)
    return binary(part.sketch, COMPARISONS[part.kind], x, y, "bool")


@operation("NotEqual")
def not_equal(part: Part, x: Any, y: Any) -> Tensor:
    """Of each pair of elements."""
    x, y = _tensors(part, x, y)
    return unary(part.sketch, "Not", binary(part.sketch, "Equal", x, y, "bool"))


@operation("LogicalAnd", "LogicalOr", "LogicalXor")
def logical(part: Part, x: Any, y: Any) -> Tensor:
    """Of each pair of bools."""
    _check_tensor(part, x, y)
    x, y = (cast(part.sketch, each, "bool") for each in (x, y))
    return binary(part.sketch, part.kind.removeprefix("Logical"), x, y)


@operation("LogicalNot")
def logical_not(part: Part, x: Any) -> Tensor:
    """Of each bool."""
    _check_tensor(part, x)
    return unary(part.sketch, "Not", cast(part.sketch, x, "bool"))


@operation(*UNARY)
def function(part: Part, x: Any) -> Tensor:
    """Of each element."""
    _check_tensor(part, x)
    return unary(part.sketch, UNARY[part.kind], _floating(part, x))


@operation(*ACTIVATIONS)
def activation(part: Part, x: Any) -> Tensor:
    """Of each element, as Keras's activation of that name."""
    _check_tensor(part, x)
    return NAMED[ACTIVATIONS[part.kind]](part.sketch, _floating(part, x))


@operation("Negative", "Absolute", "Abs")
def sign_changed(part: Part, x: Any) -> Tensor:
    """Of each element."""
    _check_tensor(part, x)
    return unary(part.sketch, "Neg" if part.kind == "Negative" else "Abs", x)


@operation("Square")
def square(part: Part, x: Any) -> Tensor:
    """Of each element."""
    _check_tensor(part, x)
    return binary(part.sketch, "Mul", x, x)


@operation("LeakyRelu", "Elu")
def sloped(part: Part, x: Any) -> Tensor:
    """Of each element, with a slope below zero."""
    _check_tensor(part, x)
    name, default = ("negative_slope", SLOPE) if part.kind == "LeakyRelu" else ("alpha", 1.0)
    return unary(part.sketch, part.kind, _floating(part, x), alpha=part.options.number(name, default))


@operation("Softmax", "LogSoftmax")
def softmax(part: Part, x: Any) -> Tensor:
    """Along an axis."""
    _check_tensor(part, x)
    return unary(part.sketch, part.kind, _floating(part, x), axis=_axis(part, x.ndim, -1))


@operation("Gelu")
def gelu(part: Part, x: Any) -> Tensor:
    """Of each element, exactly or by tanh."""
    _check_tensor(part, x)
    approximate = part.options.flag("approximate", True)
    return (gelu_by_tanh if approximate else NAMED["gelu"])(part.sketch, _floating(part, x))


@operation("Cast")
def converted(part: Part, x: Any) -> Tensor:
    """In another type."""
    _check_tensor(part, x)
    dtype = part.options.choice("dtype", CASTS)
    return cast(part.sketch, x, dtype).under(None)


@operation("ConvertToTensor")
def tensor(part: Part, x: Any) -> Tensor:
    """As it is, or in another type: there is nothing but tensors here."""
    _check_tensor(part, x)
    dtype = part.options.choice("dtype", (None, *CASTS))
    return cast(part.sketch, x, dtype or x.dtype).under(None)


@operation("Where")
def chosen(part: Part, condition: Any, x: Any, y: Any) -> Tensor:
    """One or the other."""
    _check_tensor(part, condition)
    x, y = _tensors(part, x, y)
    where = cast(part.sketch, condition, "bool")
    return part.sketch.node("Where", [where, x, y], broadcast(where.shape, x.shape, y.shape), x.dtype)


@operation("ZerosLike", "OnesLike")
def filled(part: Part, x: Any, dtype: Any = None) -> Tensor:
    """One number everywhere."""
    _check_tensor(part, x)
    dtype = part.options.value("dtype") or dtype or x.dtype
    if dtype not in ("bool", "int32", "int64", "float32", "float64"):
        raise part.options.refused("dtype", "a type of numbers")
    sketch = part.sketch
    value = sketch.constant(part.kind == "OnesLike", dtype)
    return sketch.node("Expand", [value, sketch.node("Shape", [x], (x.ndim,), "int64")], x.shape)


# Along axes ---------------------------------------------------------------------------------------------------


def _axis(part: Part, ndim: int, default: int | None = None) -> int:
    axis = part.options.integer("axis", default)
    if not -ndim <= axis < ndim:
        raise part.options.refused("axis", f"in [{-ndim}, {ndim - 1}]")
    return axis % ndim


@operation("Any")
def any_along(part: Part, x: Any) -> Tensor:
    """Whether any is true along an axis."""
    _check_tensor(part, x)
    keep = part.options.flag("keepdims", False)
    return any_of(part.sketch, cast(part.sketch, x, "bool"), _axis(part, x.ndim), keep)


@operation("Mean", "Sum", "Max", "Min")
def reduced(part: Part, x: Any) -> Tensor:
    """Along axes that are named, or all of them."""
    _check_tensor(part, x)
    options, sketch = part.options, part.sketch
    given = [*range(x.ndim)] if options.value("axis") is None else options.integers("axis")
    axes = sorted({axis % x.ndim for axis in given if -x.ndim <= axis < x.ndim})
    if len(axes) < len(given) or options.value("initial") is not None:
        raise options.refused("axis", f"different axes in [{-x.ndim}, {x.ndim - 1}], without an initial value")
    keep = options.flag("keepdims", False)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes)
    x = _floating(part, x) if part.kind == "Mean" else x
    if not x.floating and part.kind == "Sum":
        raise part.refused(f"it must be called with floating-point numbers, got {x.dtype}")
    if part.kind == "Sum":
        return sketch.node("ReduceSum", [x, sketch.constant(axes, "int64")], shape, keepdims=int(keep))
    return sketch.node(f"Reduce{part.kind}", [x], shape, axes=tuple(axes), keepdims=int(keep))


@operation("ExpandDims")
def expanded(part: Part, x: Any) -> Tensor:
    """With one more axis."""
    _check_tensor(part, x)
    return unsqueeze(part.sketch, x, _axis(part, x.ndim + 1))


@operation("Squeeze")
def squeezed(part: Part, x: Any) -> Tensor:
    """Without an axis."""
    _check_tensor(part, x)
    return squeeze(part.sketch, x, _axis(part, x.ndim))


@operation("Reshape")
def reshaped(part: Part, x: Any) -> Tensor:
    """In another shape, with the same first axis."""
    _check_tensor(part, x)
    target = part.options.integers("newshape")
    if target[0] != -1 or any(size < 1 for size in target[1:]):
        raise part.options.refused("newshape", "-1 and positive lengths")
    return reshape(part.sketch, x, (None, *target[1:]))


@operation("Transpose")
def transposed(part: Part, x: Any) -> Tensor:
    """With axes in another order."""
    _check_tensor(part, x)
    axes = [*range(x.ndim)][::-1] if part.options.value("axes") is None else part.options.integers("axes")
    if sorted(axis % x.ndim for axis in axes) != [*range(x.ndim)]:
        raise part.options.refused("axes", f"the numbers 0 to {x.ndim - 1} in some order")
    return transpose(part.sketch, x, [axis % x.ndim for axis in axes])


@operation("Flip")
def flipped(part: Part, x: Any) -> Tensor:
    """From last to first along an axis."""
    _check_tensor(part, x)
    return flip(part.sketch, x, _axis(part, x.ndim))


@operation("Concatenate", "Stack")
def joined(part: Part, tensors: Any) -> Tensor:
    """One after another, or along a new axis."""
    if not isinstance(tensors, list) or not tensors:
        raise part.refused("it must be called with a list of tensors")
    _check_tensor(part, *tensors)
    given, stacks = _tensors(part, *tensors), part.kind == "Stack"
    if len({each.ndim for each in given}) > 1:
        raise part.refused("it must be called with tensors of the same number of axes")
    axis = _axis(part, given[0].ndim + stacks, 0)
    return concat(part.sketch, [unsqueeze(part.sketch, each, axis) if stacks else each for each in given], axis)


@operation("Matmul")
def product(part: Part, x: Any, y: Any) -> Tensor:
    """Of matrices."""
    _check_tensor(part, x, y)
    x, y = (_floating(part, each) for each in _tensors(part, x, y))
    if x.ndim < 2 or y.ndim != x.ndim:
        raise part.refused("it must be called with tensors of the same number of axes, at least two")
    return part.sketch.node("MatMul", [x, y], (*x.shape[:-1], y.shape[-1]))


@operation("GetItem")
def item(part: Part, x: Any, key: Any) -> Tensor:
    """A part: of a list of integers, slices, an ellipsis and None."""
    _check_tensor(part, x)
    keys = [*key] if isinstance(key, list) else [key]
    if ... in keys:
        place = keys.index(...)
        keys[place : place + 1] = [slice(None)] * (x.ndim - sum(each is not None for each in keys) + 1)
    if sum(each is not None for each in keys) > x.ndim:
        raise part.refused(f"there must be at most {x.ndim} indices, got {len(keys)}")
    axis, sketch = 0, part.sketch
    for each in keys:
        if each is None:
            x, axis = unsqueeze(sketch, x, axis), axis + 1
        elif isinstance(each, slice):
            x, axis = _sliced(part, sketch, x, each, axis), axis + 1
        elif isinstance(each, int) and not isinstance(each, bool) and abs(each) < END:
            x = take(sketch, x, each, axis)
        else:
            raise part.refused(f"an index must be an integer, a slice or None, got {each!r:.80}")
    return x


def _sliced(part: Part, sketch: Sketch, x: Tensor, bounds: slice, axis: int) -> Tensor:
    if bounds == slice(None):
        return x
    step, size = 1 if bounds.step is None else bounds.step, x.shape[axis]
    if step == 0:
        raise part.refused("the step of a slice must not be 0")
    start = bounds.start if bounds.start is not None else (0 if step > 0 else END)
    stop = bounds.stop if bounds.stop is not None else (END if step > 0 else START)
    left = None if size is None else len(range(size)[bounds])
    return sliced(sketch, x, start, stop, axis, left, step)
