"""Keras's layers, but for recurrent ones and those that hold others, as ONNX's operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from .activations import OF_LAYERS, activated
from .config import Part
from .sketch import (
    Sketch,
    Tensor,
    any_of,
    binary,
    broadcast,
    cast,
    concat,
    different,
    number,
    reshape,
    sliced,
    squeeze,
    transpose,
    unsqueeze,
)

EPSILON = 1e-7  # Keras's own
FAR = 1e9  # what Keras takes from scores of steps that are masked


@dataclass(frozen=True)
class Kind:
    """A kind of layers.

    Attributes
    ----------
    apply : callable
        ``apply(part, tensors) -> Tensor``.
    several : bool
        Whether it takes a list of tensors.
    passes : bool
        Whether the mask of the first input is that of the output, if that has none.
    casts : bool
        Whether floating-point inputs are first brought to the layer's type.
    reads_mask : bool
        Whether it computes something else where there is a mask; `apply` gets it then.
    """

    apply: Callable[..., Tensor]
    several: bool = False
    passes: bool = True
    casts: bool = True
    reads_mask: bool = False


KINDS: dict[str, Kind] = {}


def layer(*names: str, several: bool = False, passes: bool = True, casts: bool = True,
          reads_mask: bool = False) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:  # fmt: skip
    """Make a function known as what computes layers of some kinds."""

    def register(apply: Callable[..., Tensor]) -> Callable[..., Tensor]:
        KINDS.update(dict.fromkeys(names, Kind(apply, several, passes, casts, reads_mask)))
        return apply

    return register


def _axis(part: Part, x: Tensor, axis: int, name: str = "axis") -> int:
    """An axis of a tensor, counted from the front."""
    if not -x.ndim <= axis < x.ndim:
        raise part.options.refused(name, f"in [{-x.ndim}, {x.ndim - 1}]")
    return axis % x.ndim


def _size(part: Part, x: Tensor, axis: int) -> int:
    """A length that must be known."""
    size = x.shape[axis]
    if size is None:
        raise part.refused(f"axis {axis % x.ndim} of its input must have a known length, got shape {x.shape}")
    return size


# Of features --------------------------------------------------------------------------------------------------


@layer("Dense")
def dense(part: Part, x: Tensor) -> Tensor:
    """A product with the last axis, a bias and an activation."""
    options, sketch = part.options, part.sketch
    units, bias, dtype = options.integer("units", least=1), options.flag("use_bias", True), options.dtype
    kernel, *biases = part.arrays(("kernel", *(("bias",) if bias else ())), dtype)
    if x.ndim < 2:
        raise part.refused(f"its input must have at least 2 axes, got shape {x.shape}")
    part.check(kernel, "kernel", (x.shape[-1], units))
    x = cast(sketch, x, dtype)
    y = sketch.node("MatMul", [x, part.constant("kernel", lambda: kernel)], (*x.shape[:-1], units))
    if bias:
        part.check(biases[0], "bias", (units,))
        y = binary(sketch, "Add", y, part.constant("bias", lambda: biases[0]))
    return activated(part, y)


@layer("Embedding", casts=False, passes=False)
def embedding(part: Part, x: Tensor) -> Tensor:
    """Rows of a table."""
    options, sketch = part.options, part.sketch
    shape = options.integer("input_dim", least=1), options.integer("output_dim", least=1)
    (table,) = part.arrays(("embeddings",), options.dtype)
    part.check(table, "embeddings", shape)
    masked = options.flag("mask_zero", False)
    options.ignore("input_length")
    index = x if x.dtype in ("int32", "int64") else cast(sketch, x, "int32")
    rows = part.constant("embeddings", lambda: table)
    y = sketch.node("Gather", [rows, index], (*x.shape, shape[1]), axis=0)
    return y.under(different(sketch, x, 0)) if masked else y


@layer("Masking")
def masking(part: Part, x: Tensor) -> Tensor:
    """Steps whose features all have one value are masked, and zero."""
    sketch = part.sketch
    value = part.options.number("mask_value", 0.0)
    if x.ndim < 2:
        raise part.refused(f"its input must have at least 2 axes, got shape {x.shape}")
    there = any_of(sketch, different(sketch, x, value), -1, keepdims=True)
    y = sketch.node("Where", [there, x, number(sketch, 0, x)], x.shape, x.dtype)
    return y.under(squeeze(sketch, there, -1))


@layer("Activation")
def activation(part: Part, x: Tensor) -> Tensor:
    """An activation by its name."""
    return activated(part, x)


@layer("ReLU", "LeakyReLU", "ELU")
def activation_layer(part: Part, x: Tensor) -> Tensor:
    """An activation with options."""
    return OF_LAYERS[part.kind](part.options)(part.sketch, x)


@layer("Softmax", reads_mask=True)
def softmax(part: Part, x: Tensor, mask: Tensor | None) -> Tensor:
    """A softmax over one axis."""
    if mask is not None:
        raise part.refused("it must be without a mask, which here is of steps, and in Keras of what softmax sees")
    _axis(part, x, part.options.integer("axis", -1))
    return OF_LAYERS["Softmax"](part.options)(part.sketch, x)


@layer("PReLU")
def prelu(part: Part, x: Tensor) -> Tensor:
    """Rectified, with slopes that were learnt."""
    options, shape = part.options, [*x.shape[1:]]
    if options.value("shared_axes") is not None:
        for axis in options.integers("shared_axes"):
            shape[_axis(part, x, axis, "shared_axes") - 1] = 1
    (alpha,) = part.arrays(("alpha",), options.dtype)
    part.check(alpha, "alpha", shape)
    return part.sketch.node("PRelu", [x, part.constant("alpha", lambda: alpha)], x.shape)


@layer("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization",
       "Identity")  # fmt: skip
def nothing(part: Part, x: Tensor) -> Tensor:
    """What only training changes."""
    part.options.ignore("rate", "stddev", "noise_shape", "data_format", "l1", "l2")
    return x


# Normalisations -----------------------------------------------------------------------------------------------


@layer("BatchNormalization")
def batch_normalization(part: Part, x: Tensor) -> Tensor:
    """By the means and variances that training has found."""
    options, sketch = part.options, part.sketch
    axis = _axis(part, x, options.integer("axis", -1))
    scale, center = options.flag("scale", True), options.flag("center", True)
    options.off("renorm", "batch renormalisation is not supported")
    options.ignore("momentum", "synchronized", "renorm_clipping", "renorm_momentum")
    names = [*(("gamma",) if scale else ()), *(("beta",) if center else ()), "moving_mean", "moving_variance"]
    found = dict(zip(names, part.arrays(names, options.dtype), strict=True))
    for name, array in found.items():
        part.check(array, name, (x.shape[axis],))
    epsilon, shape = options.number("epsilon", 1e-3), [1] * x.ndim
    shape[axis] = -1
    wide = {name: array.astype("float64").reshape(shape) for name, array in found.items()}
    with np.errstate(all="ignore"):  # a damaged variance gives NaN, in Keras as here
        factor = wide.get("gamma", np.float64(1)) / np.sqrt(wide["moving_variance"] + epsilon)
    x = cast(sketch, x, options.dtype)
    y = binary(sketch, "Sub", x, part.constant("mean", lambda: found["moving_mean"].reshape(shape)))
    y = binary(sketch, "Mul", y, part.constant("factor", lambda: factor.astype(options.dtype)))
    return binary(sketch, "Add", y, part.constant("beta", lambda: found["beta"].reshape(shape))) if center else y


@layer("LayerNormalization")
def layer_normalization(part: Part, x: Tensor) -> Tensor:
    """Over the last axes, of each element of the others."""
    options, sketch = part.options, part.sketch
    axes = sorted(_axis(part, x, axis) for axis in (options.integers("axis") if options.value("axis") else (-1,)))
    if axes != [*range(x.ndim - len(axes), x.ndim)]:
        raise options.refused("axis", "the last axis, or the last ones")
    options.off("rms_scaling", "it is not supported")
    scale, center = options.flag("scale", True), options.flag("center", True)
    names = [*(("gamma",) if scale else ()), *(("beta",) if center else ())]
    shape = [_size(part, x, axis) for axis in axes]
    found = dict(zip(names, part.arrays(names, options.dtype), strict=True))
    for name, array in found.items():
        part.check(array, name, shape)
    x = cast(sketch, x, options.dtype)
    gamma = part.constant("gamma", lambda: found.get("gamma", np.ones(shape, options.dtype)))
    beta = part.constant("beta", lambda: found["beta"]) if center else None
    inputs = [x, gamma, *([beta] if center else [])]
    epsilon = options.number("epsilon", 1e-3)
    return sketch.node("LayerNormalization", inputs, x.shape, axis=axes[0], epsilon=epsilon)


@layer("Normalization")
def normalization(part: Part, x: Tensor) -> Tensor:
    """By means and variances that were given, or found in data."""
    options, sketch, dtype = part.options, part.sketch, part.options.dtype
    axes = () if options.value("axis") is None else options.integers("axis")
    kept = sorted(_axis(part, x, axis) for axis in axes)
    invert = options.flag("invert", False)
    for name in ("mean", "variance"):
        if options.value(name) is not None:
            raise options.refused(name, "None, and found in data by adapt")
    shape = [_size(part, x, axis) for axis in kept]
    mean, variance, _ = part.arrays(("mean", "variance", "count"), dtype)
    for array, name in ((mean, "mean"), (variance, "variance")):
        part.check(array, name, shape)
    wide = [shape[kept.index(axis)] if axis in kept else 1 for axis in range(x.ndim)]
    with np.errstate(all="ignore"):
        deviation = np.maximum(np.sqrt(variance), np.asarray(EPSILON, dtype))
    x = cast(sketch, x, dtype)
    centre = part.constant("mean", lambda: mean.reshape(wide))
    scale = part.constant("deviation", lambda: deviation.reshape(wide))
    if invert:
        return binary(sketch, "Add", centre, binary(sketch, "Mul", x, scale))
    return binary(sketch, "Div", binary(sketch, "Sub", x, centre), scale)


@layer("Rescaling")
def rescaling(part: Part, x: Tensor) -> Tensor:
    """Times a number, plus a number."""
    scale, offset = part.options.number("scale"), part.options.number("offset", 0.0)
    x = cast(part.sketch, x, part.options.dtype)
    y = binary(part.sketch, "Mul", x, number(part.sketch, scale, x))
    return binary(part.sketch, "Add", y, number(part.sketch, offset, y))


# Shapes -------------------------------------------------------------------------------------------------------


def _check_channels_last(part: Part) -> None:
    part.options.choice("data_format", ("channels_last", None))


@layer("Flatten", passes=False)
def flatten(part: Part, x: Tensor) -> Tensor:
    """All axes but the first as one."""
    if x.ndim > 2:
        _check_channels_last(part)
    part.options.ignore("data_format")
    rest = x.shape[1:]
    size = None if None in rest else math.prod(size for size in rest if size is not None)
    return reshape(part.sketch, x, (x.shape[0], size))


@layer("Reshape", passes=False)
def reshaped(part: Part, x: Tensor) -> Tensor:
    """Axes but the first in another shape."""
    target, rest = [*part.options.integers("target_shape")], x.shape[1:]
    if target.count(-1) > 1 or any(size < -1 or size == 0 for size in target):
        raise part.options.refused("target_shape", "positive lengths, one of which may be -1")
    if None not in rest and -1 in target:
        whole = math.prod(size for size in rest if size is not None)
        target[target.index(-1)] = whole // math.prod(size for size in target if size != -1)
    return reshape(part.sketch, x, (x.shape[0], *(None if size == -1 else size for size in target)))


@layer("Permute", passes=False)
def permute(part: Part, x: Tensor) -> Tensor:
    """Axes but the first in another order."""
    dims = part.options.integers("dims")
    if sorted(dims) != [*range(1, x.ndim)]:
        raise part.options.refused("dims", f"the numbers 1 to {x.ndim - 1} in some order")
    return transpose(part.sketch, x, (0, *dims))


@layer("RepeatVector", passes=False)
def repeat_vector(part: Part, x: Tensor) -> Tensor:
    """A vector as every step of a sequence."""
    steps = part.options.integer("n", least=1)
    if x.ndim != 2:
        raise part.refused(f"its input must have axes (N, D), got shape {x.shape}")
    sketch = part.sketch
    size = sketch.constant([1, steps, 1], "int64")
    return sketch.node("Expand", [unsqueeze(sketch, x, 1), size], (x.shape[0], steps, x.shape[1]))


def _pair(part: Part, name: str) -> tuple[int, int]:
    """How many steps at both ends."""
    values = part.options.integers(name)
    first, last = values * 2 if len(values) == 1 else (values if len(values) == 2 else (-1, -1))
    if min(first, last) < 0:
        raise part.options.refused(name, "one number or two, of at least 0")
    return first, last


def _check_sequence(part: Part, x: Tensor) -> None:
    if x.ndim != 3:
        raise part.refused(f"its input must have axes (N, T, D), got shape {x.shape}")


@layer("ZeroPadding1D", passes=False)
def zero_padding(part: Part, x: Tensor) -> Tensor:
    """Steps of zeros at both ends."""
    _check_channels_last(part)
    _check_sequence(part, x)
    first, last = _pair(part, "padding")
    pads = part.sketch.constant([0, first, 0, 0, last, 0], "int64")
    rows, steps, features = x.shape
    return part.sketch.node("Pad", [x, pads], (rows, None if steps is None else steps + first + last, features))


@layer("Cropping1D", passes=False)
def cropping(part: Part, x: Tensor) -> Tensor:
    """Without some steps at both ends."""
    _check_sequence(part, x)
    first, last = _pair(part, "cropping")
    steps = x.shape[1]
    if steps is not None and steps <= first + last:
        raise part.options.refused("cropping", f"less than the {steps} steps that there are")
    stop = -last if last else (1 << 31) - 1
    return sliced(part.sketch, x, first, stop, 1, None if steps is None else steps - first - last)


@layer("GlobalAveragePooling1D", passes=False, reads_mask=True)
def average_pooling(part: Part, x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of the steps that count."""
    axis, keep, shape = _pooled(part, x)
    sketch = part.sketch
    if not x.floating:
        raise part.refused(f"its input must hold floating-point numbers, got {x.dtype}")
    if mask is None:
        return sketch.node("ReduceMean", [x], shape, axes=(axis,), keepdims=keep)
    there = unsqueeze(sketch, mask, 2 if axis == 1 else 1)
    counted = sketch.node("Where", [there, x, number(sketch, 0, x)], x.shape, x.dtype)
    axes = sketch.constant([axis], "int64")
    ones = cast(sketch, there, x.dtype)
    share = (*ones.shape[:axis], *((1,) if keep else ()), *ones.shape[axis + 1 :])
    total = sketch.node("ReduceSum", [counted, axes], shape, keepdims=keep)
    return binary(sketch, "Div", total, sketch.node("ReduceSum", [ones, axes], share, keepdims=keep))


@layer("GlobalMaxPooling1D", passes=False)
def max_pooling(part: Part, x: Tensor) -> Tensor:
    """The largest of all steps."""
    axis, keep, shape = _pooled(part, x)
    return part.sketch.node("ReduceMax", [x], shape, axes=(axis,), keepdims=keep)


def _pooled(part: Part, x: Tensor) -> tuple[int, int, tuple[int | None, ...]]:
    """The axis of steps, whether it stays, and the shape that is left."""
    _check_sequence(part, x)
    form = part.options.choice("data_format", ("channels_last", "channels_first", None))
    keep, axis = part.options.flag("keepdims", False), 2 if form == "channels_first" else 1
    return axis, int(keep), (*x.shape[:axis], *((1,) if keep else ()), *x.shape[axis + 1 :])


# Over windows -------------------------------------------------------------------------------------------------


@layer("Conv1D", passes=False)
def convolution(part: Part, x: Tensor) -> Tensor:
    """Products of windows of steps and filters, a bias and an activation."""
    options, sketch, dtype = part.options, part.sketch, part.options.dtype
    _check_channels_last(part)
    _check_sequence(part, x)
    filters, groups, bias = options.integer("filters", least=1), options.integer("groups", 1), _bias(part)
    width, stride, dilation = (_one(part, name) for name in ("kernel_size", "strides", "dilation_rate"))
    if stride > 1 and dilation > 1:
        raise options.refused("strides", "1 with a dilation_rate")
    options.off("lora_rank", "it is not supported")
    options.ignore("lora_alpha")
    channels = _size(part, x, 2)
    if groups < 1 or channels % groups or filters % groups:
        raise options.refused("groups", f"a divisor of {channels} channels and {filters} filters")
    kernel, *biases = part.arrays(("kernel", *(("bias",) if bias else ())), dtype)
    part.check(kernel, "kernel", (width, channels // groups, filters))
    inputs = [transpose(sketch, x, (0, 2, 1)), part.constant("kernel", lambda: kernel.transpose(2, 1, 0))]
    if bias:
        part.check(biases[0], "bias", (filters,))
        inputs.append(part.constant("bias", lambda: biases[0]))
    moving, steps = _moving(part, x, (dilation * (width - 1) + 1, stride), ("valid", "same", "causal"))
    y = sketch.node("Conv", inputs, (x.shape[0], filters, steps), dilations=(dilation,), group=groups, **moving)
    return activated(part, transpose(sketch, y, (0, 2, 1)))


def _bias(part: Part) -> bool:
    return part.options.flag("use_bias", True)


def _one(part: Part, name: str) -> int:
    """A number that stands in a list, or by itself."""
    values = part.options.integers(name)
    if len(values) != 1 or values[0] < 1:
        raise part.options.refused(name, "one number of at least 1")
    return values[0]


def _moving(
    part: Part, x: Tensor, window: tuple[int, int], paddings: Sequence[str]
) -> tuple[dict[str, Any], int | None]:
    """How a window, of a reach and a stride, moves over steps; and how often."""
    (reach, stride), steps = window, x.shape[1]
    padding = part.options.choice("padding", paddings, "valid")
    moving: dict[str, Any] = {"strides": (stride,)}
    if padding == "same":
        around = _around(steps, reach, stride)
        moving |= {"auto_pad": "SAME_UPPER"} if around is None else {"pads": (around // 2, around - around // 2)}
        return moving, None if steps is None else -(-steps // stride)
    first = reach - 1 if padding == "causal" else 0
    if steps is not None and steps + first < reach:
        raise part.refused(f"its windows of {reach} steps must fit in its input, got shape {x.shape}")
    return moving | {"pads": (first, 0)}, None if steps is None else (steps + first - reach) // stride + 1


def _around(steps: int | None, reach: int, stride: int) -> int | None:
    """How many steps of padding there are in all, where windows are to begin at each step, or at each of some."""
    if stride == 1:
        return reach - 1
    return None if steps is None else max((-(-steps // stride) - 1) * stride + reach - steps, 0)


@layer("MaxPooling1D", "AveragePooling1D", passes=False)
def pooling(part: Part, x: Tensor) -> Tensor:
    """The largest, or the mean, of each window of steps."""
    options, sketch, first = part.options, part.sketch, part.options.value("data_format") == "channels_first"
    options.choice("data_format", ("channels_last", "channels_first", None))
    _check_sequence(part, x)
    if not x.floating:
        raise part.refused(f"its input must hold floating-point numbers, got {x.dtype}")
    width = _one(part, "pool_size")
    stride = width if options.value("strides") is None else _one(part, "strides")
    swapped = transpose(sketch, x, (0, 2, 1))
    rows, last = (swapped, x) if first else (x, swapped)  # with steps before features, and after them
    moving, steps = _moving(part, rows, (width, stride), ("valid", "same"))
    if part.kind == "AveragePooling1D" and options.value("padding") == "same":
        _check_even(part, _around(rows.shape[1], width, stride), width)
    op = part.kind.removesuffix("ing1D")
    y = sketch.node(op, [last], (*last.shape[:2], steps), kernel_shape=(width,), **moving)
    return y if first else transpose(sketch, y, (0, 2, 1))


def _check_even(part: Part, around: int | None, width: int) -> None:
    """Refuse padding at one end more than at the other, of which Keras's backends make different averages."""
    if width > 2 and (around is None or around % 2):
        raise part.options.refused("padding", "'valid', where 'same' is not for sure as many steps at both ends: there "
                                   "Keras's backends differ")  # fmt: skip


@layer("UpSampling1D", passes=False)
def up_sampling(part: Part, x: Tensor) -> Tensor:
    """Each step several times."""
    _check_sequence(part, x)
    size, (rows, steps, features), sketch = part.options.integer("size", 2, least=1), x.shape, part.sketch
    times = sketch.constant([1, 1, size, 1], "int64")
    repeated = sketch.node("Tile", [unsqueeze(sketch, x, 2), times], (rows, steps, size, features))
    bounds = sketch.constant([0, -1, _size(part, x, 2)], "int64")
    return sketch.node("Reshape", [repeated, bounds], (rows, None if steps is None else steps * size, features))


# Of several -------------------------------------------------------------------------------------------------


MERGES = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Average": "Add", "Maximum": "Max", "Minimum": "Min"}


@layer(*MERGES, several=True, passes=False)
def merged(part: Part, tensors: Sequence[Tensor]) -> Tensor:
    """Element by element."""
    sketch, op = part.sketch, MERGES[part.kind]
    if len(tensors) < 2 or (part.kind == "Subtract" and len(tensors) != 2):
        raise part.refused(f"it must have {'two' if part.kind == 'Subtract' else 'several'} inputs, got {len(tensors)}")
    ndim = max(each.ndim for each in tensors)
    dtypes = {each.dtype for each in tensors}
    if len(dtypes) > 1:
        raise part.refused(f"its inputs must be of one type, got {sorted(dtypes)}")
    masks = [each.mask for each in tensors]
    wide = [reduce(lambda x, _: unsqueeze(sketch, x, 1), range(ndim - each.ndim), each) for each in tensors]
    older = part.version == 2  # which sees to no mask in what it computes
    if part.kind in ("Maximum", "Minimum") and not older:
        return _extreme(part, op, wide, masks)
    if part.kind == "Multiply" and not older:
        return _product(part, wide, masks)
    y = reduce(lambda x, other: binary(sketch, op, x, other), wide)
    if part.kind == "Average":
        if not y.floating:
            raise part.refused(f"its inputs must hold floating-point numbers, got {y.dtype}")
        y = binary(sketch, "Div", y, number(sketch, len(tensors), y))
    return y.under(every(sketch, masks) if older else either(sketch, masks))


def _where(sketch: Sketch, mask: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """One array at steps that count, and another at those that are masked."""
    shape = broadcast((*mask.shape, 1), x.shape, other.shape)
    return sketch.node("Where", [unsqueeze(sketch, mask, -1), x, other], shape, x.dtype)


def _product(part: Part, tensors: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
    """A product, in which masked steps are 1; 0 where all are masked."""
    sketch, one, zero = part.sketch, number(part.sketch, 1, tensors[0]), number(part.sketch, 0, tensors[0])
    given = [x if mask is None else _where(sketch, mask, x, one) for x, mask in zip(tensors, masks, strict=True)]
    y, mask = reduce(lambda x, other: binary(sketch, "Mul", x, other), given), either(sketch, masks)
    return y if mask is None else _where(sketch, mask, y, zero).under(mask)


def _extreme(part: Part, op: str, tensors: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
    """The largest or the smallest, of those that are not masked."""
    sketch = part.sketch
    y, known = tensors[0], masks[0]
    for x, mask in zip(tensors[1:], masks[1:], strict=True):
        other = x if mask is None else _where(sketch, mask, x, y)
        y = binary(sketch, op, y if known is None else _where(sketch, known, y, other), other)
        known = either(sketch, [known, mask])
    return y.under(known)


def either(sketch: Sketch, masks: Sequence[Tensor | None]) -> Tensor | None:
    """Where any mask is true; no mask if one is missing."""
    there = [mask for mask in masks if mask is not None]
    return reduce(lambda x, y: binary(sketch, "Or", x, y), there) if len(there) == len(masks) else None


def every(sketch: Sketch, masks: Sequence[Tensor | None]) -> Tensor | None:
    """Where all masks are true that there are, as Keras 2 has it."""
    there = [mask for mask in masks if mask is not None]
    return reduce(lambda x, y: binary(sketch, "And", x, y), there) if there else None


@layer("Concatenate", several=True, passes=False)
def concatenated(part: Part, tensors: Sequence[Tensor]) -> Tensor:
    """One after another."""
    if len(tensors) < 1 or len({(each.ndim, each.dtype) for each in tensors}) > 1:
        raise part.refused("its inputs must have the same number of axes and one type")
    axis = _axis(part, tensors[0], part.options.integer("axis", -1))
    y = concat(part.sketch, tensors, axis)
    if all(each.mask is None for each in tensors):
        return y
    masks = [_mask_of(part, each) for each in tensors]
    if axis == y.ndim - 1:
        return y.under((every if part.version == 2 else either)(part.sketch, masks))
    return y.under(concat(part.sketch, masks, axis))


def _mask_of(part: Part, x: Tensor) -> Tensor:
    """The mask of a tensor, true everywhere if it has none."""
    sketch = part.sketch
    if x.mask is not None:
        if x.mask.ndim != x.ndim - 1:
            raise part.refused(f"a mask must have one axis less than its input, got {x.mask.shape} and {x.shape}")
        return x.mask
    shape = sketch.node("Shape", [x], (x.ndim,), "int64")
    leading = sliced(sketch, shape, 0, -1, 0, x.ndim - 1)
    return sketch.node("Expand", [sketch.constant(True), leading], x.shape[:-1])


@layer("Dot", several=True, passes=False)
def dot(part: Part, tensors: Sequence[Tensor]) -> Tensor:
    """Products of two tensors, summed over one axis of each."""
    options, sketch = part.options, part.sketch
    if len(tensors) != 2 or tensors[0].dtype != tensors[1].dtype or not tensors[0].floating:
        raise part.refused("it must have two inputs, of one type of floating-point numbers")
    axes = options.integers("axes")
    if len(axes) not in (1, 2) or min(each.ndim for each in tensors) < 2:
        raise options.refused("axes", "one number or two, of inputs with at least 2 axes")
    pairs = [*zip(tensors, axes * 2 if len(axes) == 1 else axes, strict=True)]
    along = [_axis(part, x, axis, "axes") for x, axis in pairs]
    sizes = {x.shape[axis] for (x, _), axis in zip(pairs, along, strict=True)} - {None}
    if 0 in along or len(sizes) > 1:
        raise options.refused("axes", f"axes of one length, and not the first, of {[x.shape for x in tensors]}")
    if options.flag("normalize", False):
        tensors = [_normalised(sketch, x.under(None), axis) for x, axis in zip(tensors, along, strict=True)]
    return _dot(sketch, tensors, along)


def _normalised(sketch: Sketch, x: Tensor, axis: int) -> Tensor:
    """Of length 1 along an axis."""
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    axes = sketch.constant([axis], "int64")
    squares = sketch.node("ReduceSum", [binary(sketch, "Mul", x, x), axes], shape, keepdims=1)
    inverse = sketch.node("Reciprocal", [sketch.node("Sqrt", [squares], shape)], shape)
    return binary(sketch, "Mul", x, binary(sketch, "Min", inverse, number(sketch, 1 / EPSILON, inverse)))


def _dot(sketch: Sketch, tensors: Sequence[Tensor], along: Sequence[int]) -> Tensor:
    """The sum over one axis of each, for each row; of two matrices a column."""
    names = iter("bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    terms, rest, shape = [], "", [tensors[0].shape[0]]
    for x, axis in zip(tensors, along, strict=True):
        letters = ["r" if k == 0 else "s" if k == axis else next(each for each in names if each not in "rs")
                   for k in range(x.ndim)]  # fmt: skip
        kept = [k for k in range(1, x.ndim) if k != axis]
        terms.append("".join(letters))
        rest += "".join(letters[k] for k in kept)
        shape += [x.shape[k] for k in kept]
    y = sketch.node("Einsum", tensors, tuple(shape), equation=f"{terms[0]},{terms[1]}->r{rest}")
    return unsqueeze(sketch, y, 1) if y.ndim == 1 else y


@layer("Attention", "AdditiveAttention", several=True, passes=False)
def attention(part: Part, tensors: Sequence[Tensor]) -> Tensor:
    """Averages of values, weighted by how keys go with a query; masked values count nothing."""
    options, sketch = part.options, part.sketch
    if len(tensors) not in (2, 3) or any(x.ndim != 3 for x in tensors):
        raise part.refused("it must have inputs (N, T, D): a query, values, and keys if these are others")
    query, value, key = *tensors[:2], tensors[-1]
    options.ignore("dropout")
    scores = _scores(part, query, key)
    if value.mask is not None:
        counted = unsqueeze(sketch, value.mask, 1)
        low = binary(sketch, "Sub", scores, number(sketch, FAR, scores))
        scores = sketch.node("Where", [counted, scores, low], scores.shape, scores.dtype)
    weights = sketch.node("Softmax", [scores], scores.shape, axis=-1)
    y = sketch.node("MatMul", [weights, value], (*scores.shape[:2], value.shape[2]))
    if query.mask is None:
        return y
    return _where(sketch, query.mask, y, number(sketch, 0, y)).under(query.mask)


def _scores(part: Part, query: Tensor, key: Tensor) -> Tensor:
    """How each key goes with each step of a query."""
    options, sketch, additive = part.options, part.sketch, part.kind == "AdditiveAttention"
    scaled = options.flag("use_scale", additive)
    concat = not additive and options.choice("score_mode", ("dot", "concat"), "dot") == "concat"
    names = [*(("scale",) if scaled else ()), *(("concat_score_weight",) if concat else ())]
    found = dict(zip(names, part.arrays(names, options.dtype), strict=True))
    for name, array in found.items():
        part.check(array, name, (query.shape[2],) if additive else ())
    factors = {name: part.constant(name, partial(np.asarray, array)) for name, array in found.items()}
    shape = (query.shape[0], query.shape[1], key.shape[1])
    if not additive and not concat:
        y = sketch.node("MatMul", [query, transpose(sketch, key, (0, 2, 1))], shape)
        return binary(sketch, "Mul", y, factors["scale"]) if scaled else y
    both = binary(sketch, "Add", unsqueeze(sketch, query, 2), unsqueeze(sketch, key, 1))
    both = binary(sketch, "Mul", factors["scale"], both) if scaled and concat else both
    bent = sketch.node("Tanh", [both], both.shape)
    bent = binary(sketch, "Mul", factors["scale"], bent) if scaled and additive else bent
    y = sketch.node("ReduceSum", [bent, sketch.constant([-1], "int64")], shape, keepdims=0)
    return binary(sketch, "Mul", factors["concat_score_weight"], y) if concat else y
