"""ONNX's operators that make arrays, and change their shapes and types."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LAST,
    MANY,
    TENSOR,
    TEXT,
    TEXTS,
    axes_of,
    axis_of,
    check_room,
    check_same,
    integer,
    integers,
    operator,
)

# ONNX's numbers of types, as far as they are known here.
TYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "object", 9: "bool",
         10: "float16", 11: "float64", 12: "uint32", 13: "uint64"}  # fmt: skip
NUMBERS = {dtype: number for number, dtype in TYPES.items()}

BYTES_OF_TEXT = 64  # about as many as one text takes

# Made of nothing ----------------------------------------------------------------------------------------------


@operator(
    "Constant", 0, value=TENSOR(), value_int=INT(since=12), value_ints=INTS(since=12), value_float=FLOAT(since=12),
    value_floats=FLOATS(since=12), value_string=TEXT(since=12), value_strings=TEXTS(since=12),
)  # fmt: skip
def constant(**values: Any) -> Any:
    """The one value that is given."""
    present = [(name, value) for name, value in values.items() if value is not None]
    if len(present) != 1:
        raise ValueError(f"one of {[*values]} must be given, got {[name for name, _ in present]}")
    ((name, value),) = present
    if name == "value":
        return value
    kind = {"int": "int64", "float": "float32", "string": "object"}[name.removeprefix("value_").removesuffix("s")]
    return np.array(value, kind)


@operator("ConstantOfShape", since=9, value=TENSOR())
def constant_of_shape(shape: np.ndarray, *, value: np.ndarray | None) -> Any:
    """An array of one number."""
    lengths = integers(shape, "shape")
    if value is not None and value.size != 1:
        raise ValueError(f"value must be one number, got shape {value.shape}")
    check_room(lengths)
    return np.full(lengths, 0.0, "float32") if value is None else np.full(lengths, value.reshape(()), value.dtype)


@operator("Range", 3, since=11, until=26)
def span(start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> Any:
    """Numbers at equal distances."""
    check_same(start, limit, delta)
    if start.dtype.kind not in "fi" or not start.size == limit.size == delta.size == 1:
        raise ValueError("start, limit and delta must be one number each")
    first, last, step = (array.item() for array in (start, limit, delta))
    if not step or not all(map(math.isfinite, (first, last, step))):
        raise ValueError(f"delta must not be 0, and all must be finite, got {(first, last, step)}")
    number = -((first - last) // step) if start.dtype.kind == "i" else math.ceil((last - first) / step)
    check_room([max(number, 0)])
    return (first + np.arange(max(number, 0)) * step).astype(start.dtype)


@operator("Range", 3, since=27, stash_type=INT(1))
def span_with_type(start: np.ndarray, limit: np.ndarray, delta: np.ndarray, *, stash_type: int) -> Any:
    """As `span`: numlstm does not round between steps, so that the type of the sum does not matter."""
    return span(start, limit, delta)


# Of shapes ----------------------------------------------------------------------------------------------------


@operator("Shape", until=14)
def shape_of(x: np.ndarray) -> Any:
    """The lengths of the axes."""
    return np.array(x.shape, "int64")


@operator("Shape", since=15, start=INT(0), end=INT())
def part_of_shape(x: np.ndarray, *, start: int, end: int | None) -> Any:
    """The lengths of some axes."""
    return np.array(x.shape[start:end], "int64")


@operator("Size")
def size_of(x: np.ndarray) -> Any:
    """The number of elements."""
    return np.array(x.size, "int64")


# Other shapes -------------------------------------------------------------------------------------------------


@operator("Identity", shares=True)
def identity(x: np.ndarray) -> Any:
    """The input."""
    return x


@operator("Transpose", shares=True, perm=INTS())
def transpose(x: np.ndarray, *, perm: tuple[int, ...] | None) -> Any:
    """Axes in another order; by default in reverse order."""
    if perm is not None and sorted(perm) != [*range(x.ndim)]:
        raise ValueError(f"perm must be an order of {x.ndim} axes, got {perm}")
    return x.transpose(perm)


@operator("Reshape", 2, until=13, shares=True)
def reshape(x: np.ndarray, shape: np.ndarray) -> Any:
    """The same elements in another shape; 0 keeps a length, and -1 takes what is left."""
    return _reshaped(x, [length if length else _kept(x, k) for k, length in enumerate(integers(shape, "shape"))])


@operator("Reshape", 2, since=14, shares=True, allowzero=INT(0))
def reshape_to_zero(x: np.ndarray, shape: np.ndarray, *, allowzero: int) -> Any:
    """As `reshape`; with `allowzero` 0 is a length."""
    if not allowzero:
        return reshape(x, shape)
    lengths = integers(shape, "shape")
    if 0 in lengths and -1 in lengths:
        raise ValueError(f"shape must not have both 0 and -1, got {lengths}")
    return _reshaped(x, lengths)


def _kept(x: np.ndarray, axis: int) -> int:
    if axis >= x.ndim:
        raise ValueError(f"shape has 0 for axis {axis}, which is not there: {x.shape}")
    return x.shape[axis]


def _reshaped(x: np.ndarray, shape: list[int]) -> np.ndarray:
    if min(shape, default=0) < -1:
        raise ValueError(f"shape must have no length below -1, got {shape}")
    return x.reshape(shape)


@operator("Flatten", shares=True, axis=INT(1))
def flatten(x: np.ndarray, *, axis: int) -> Any:
    """A matrix: its rows are the axes before `axis`, its columns the others."""
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"axis must be in [{-x.ndim}, {x.ndim}], got {axis}")
    first = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:first]), math.prod(x.shape[first:]))


@operator("Squeeze", until=12, shares=True, axes=INTS())
def squeeze(x: np.ndarray, *, axes: tuple[int, ...] | None) -> Any:
    """Without some axes, or without all axes of length 1."""
    return x.squeeze() if axes is None else x.squeeze(axes_of(axes, x.ndim))


@operator("Squeeze", (1, 2), since=13, shares=True)
def squeeze_by_input(x: np.ndarray, axes: np.ndarray | None = None) -> Any:
    """As `squeeze`; the axes are an input."""
    return squeeze(x, axes=None if axes is None else tuple(integers(axes, "axes")))


@operator("Unsqueeze", until=12, shares=True, axes=INTS(...))
def unsqueeze(x: np.ndarray, *, axes: tuple[int, ...]) -> Any:
    """With additional axes of length 1."""
    return np.expand_dims(x, axes_of(axes, x.ndim + len(axes)))


@operator("Unsqueeze", 2, since=13, shares=True)
def unsqueeze_by_input(x: np.ndarray, axes: np.ndarray) -> Any:
    """As `unsqueeze`; the axes are an input."""
    return unsqueeze(x, axes=tuple(integers(axes, "axes")))


@operator("Expand", 2, since=8, shares=True)
def expand(x: np.ndarray, shape: np.ndarray) -> Any:
    """Broadcast to a shape, or to the shape of both."""
    lengths = np.broadcast_shapes(x.shape, tuple(integers(shape, "shape")))
    check_room(lengths, x)
    return np.broadcast_to(x, lengths)


@operator("Tile", 2)
def tile(x: np.ndarray, repeats: np.ndarray) -> Any:
    """Repeated as a whole along each axis."""
    times = integers(repeats, "repeats")
    if len(times) != x.ndim or min(times, default=0) < 0:
        raise ValueError(f"repeats must be a number for each of {x.ndim} axes, none negative, got {times}")
    check_room([length * number for length, number in zip(x.shape, times, strict=True)], x)
    return np.tile(x, times)


@operator("Concat", (1, MANY), axis=INT(...))
def concat(*arrays: np.ndarray, axis: int) -> Any:
    """One after another along an axis."""
    check_same(*arrays)
    check_room([sum(array.size for array in arrays)])
    return np.concatenate(arrays, axis_of(axis, arrays[0].ndim))


# Parts --------------------------------------------------------------------------------------------------------


@operator("Slice", until=9, shares=True, starts=INTS(...), ends=INTS(...), axes=INTS())
def cut(x: np.ndarray, *, starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...] | None) -> Any:
    """Slices along axes, from starts to ends."""
    return _cut(x, starts, ends, range(len(starts)) if axes is None else axes, [1] * len(starts))


@operator("Slice", (3, 5), since=10, shares=True)
def cut_in_steps(x: np.ndarray, starts: np.ndarray, ends: np.ndarray, axes: np.ndarray | None = None,
                 steps: np.ndarray | None = None) -> Any:  # fmt: skip
    """Slices with steps, which may go backwards."""
    first, last = integers(starts, "starts"), integers(ends, "ends")
    chosen = range(len(first)) if axes is None else integers(axes, "axes")
    return _cut(x, first, last, chosen, [1] * len(first) if steps is None else integers(steps, "steps"))


def _cut(x: np.ndarray, starts: Any, ends: Any, axes: Any, steps: Any) -> np.ndarray:
    if len({len(starts), len(ends), len(axes), len(steps)}) > 1:
        raise ValueError("starts, ends, axes and steps must have one length")
    parts = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes_of(axes, x.ndim), starts, ends, steps, strict=True):
        if not step:
            raise ValueError("steps must not be 0")
        length = x.shape[axis]
        if step < 0 and end < -length:
            end = None  # beyond the first element
        parts[axis] = slice(start, end, step)
    return x[tuple(parts)]


@operator("Split", 1, (1, MANY), until=12, shares=True, counts=True, axis=INT(0), split=INTS())
def split(x: np.ndarray, *, axis: int, split: tuple[int, ...] | None, outputs: int) -> Any:
    """Parts of given lengths along an axis, or of equal lengths."""
    axis = axis_of(axis, x.ndim)
    if split is None and x.shape[axis] % outputs:
        raise ValueError(f"length {x.shape[axis]} cannot be split into {outputs} equal parts")
    return _split(x, axis, [x.shape[axis] // outputs] * outputs if split is None else [*split], outputs)


@operator("Split", (1, 2), (1, MANY), since=13, until=17, shares=True, counts=True, axis=INT(0))
def split_by_input(x: np.ndarray, lengths: np.ndarray | None = None, *, axis: int, outputs: int) -> Any:
    """As `split`; the lengths are an input."""
    return split(x, axis=axis, split=None if lengths is None else tuple(integers(lengths, "split")), outputs=outputs)


@operator("Split", (1, 2), (1, MANY), since=18, shares=True, counts=True, axis=INT(0), num_outputs=INT())
def split_into(x: np.ndarray, lengths: np.ndarray | None = None, *, axis: int, num_outputs: int | None,
               outputs: int) -> Any:  # fmt: skip
    """Parts of given lengths along an axis, or of equal lengths except the last."""
    axis = axis_of(axis, x.ndim)
    if lengths is not None:
        if num_outputs is not None:
            raise ValueError("there must be split or num_outputs, got both")
        return _split(x, axis, integers(lengths, "split"), outputs)
    if num_outputs not in (None, outputs):
        raise ValueError(f"num_outputs must be {outputs}, the number of outputs, got {num_outputs}")
    length = -(-x.shape[axis] // outputs)
    return _split(x, axis, [max(0, min(length, x.shape[axis] - k * length)) for k in range(outputs)], outputs)


def _split(x: np.ndarray, axis: int, lengths: list[int], outputs: int) -> tuple[np.ndarray, ...]:
    if len(lengths) != outputs or min(lengths) < 0 or sum(lengths) != x.shape[axis]:
        raise ValueError(f"split must be {outputs} lengths with sum {x.shape[axis]}, got {lengths}")
    return tuple(np.split(x, np.cumsum(lengths)[:-1], axis))


# Padding ------------------------------------------------------------------------------------------------------

MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


@operator("Pad", until=10, mode=TEXT("constant"), pads=INTS(...), value=FLOAT(0.0))
def pad(x: np.ndarray, *, mode: str, pads: tuple[int, ...], value: float) -> Any:
    """Padded before and after along each axis; a negative number of pads removes elements."""
    return _padded(x, list(pads), x.dtype.type(value), range(x.ndim), mode, ("constant", "reflect", "edge"))


@operator("Pad", (2, 3), since=11, until=17, mode=TEXT("constant"))
def pad_by_input(x: np.ndarray, pads: np.ndarray, value: np.ndarray | None = None, *, mode: str) -> Any:
    """As `pad`; the pads and the value are inputs."""
    filling = x.dtype.type(0) if value is None else value.astype(x.dtype)
    return _padded(x, integers(pads, "pads"), filling, range(x.ndim), mode, ("constant", "reflect", "edge"))


@operator("Pad", (2, 4), since=18, mode=TEXT("constant"))
def pad_axes(x: np.ndarray, pads: np.ndarray, value: np.ndarray | None = None, axes: np.ndarray | None = None, *,
             mode: str) -> Any:  # fmt: skip
    """As `pad_by_input`, along some axes."""
    chosen = range(x.ndim) if axes is None else integers(axes, "axes")
    filling = x.dtype.type(0) if value is None else value.astype(x.dtype)
    return _padded(x, integers(pads, "pads"), filling, chosen, mode, (*MODES,))


def _padded(x: np.ndarray, pads: list[int], value: Any, axes: Any, mode: str, modes: tuple[str, ...]) -> np.ndarray:
    if mode not in modes:
        raise ValueError(f"mode must be one of {[*modes]}, got {mode!r:.80}")
    if x.dtype.kind not in "fiub" or np.size(value) != 1:
        raise ValueError(f"there must be numbers and one to fill in, got {x.dtype} and shape {np.shape(value)}")
    chosen = axes_of(axes, x.ndim)
    if len(pads) != 2 * len(chosen):
        raise ValueError(f"pads must be two numbers for each of {len(chosen)} axes, got {len(pads)}")
    widths = [(0, 0)] * x.ndim
    for axis, before, after in zip(chosen, pads[: len(chosen)], pads[len(chosen) :], strict=True):
        widths[axis] = before, after
    lengths = [sum(pair) + length for pair, length in zip(widths, x.shape, strict=True)]
    if min(lengths, default=0) < 0:
        raise ValueError(f"pads must leave no negative length, got {widths} for shape {x.shape}")
    check_room(lengths, x)
    kept = tuple(
        slice(max(-before, 0), length - max(-after, 0)) for (before, after), length in zip(widths, x.shape, strict=True)
    )
    added = [(max(before, 0), max(after, 0)) for before, after in widths]
    options = {"constant_values": np.reshape(value, ())} if mode == "constant" else {}
    return np.pad(x[kept], added, mode, **options)  # type: ignore[call-overload]


# Types --------------------------------------------------------------------------------------------------------


def _dtype(number: int) -> str:
    if number not in TYPES:
        raise ValueError(f"to must be one of ONNX's types {[*TYPES]}, got {number}")
    return TYPES[number]


def _register_casts() -> None:
    """Casts of every version: `saturate` and `round_mode` are for types that are refused here."""
    later: dict[str, Any] = {"saturate": INT(1, since=19), "round_mode": TEXT("up", since=24)}

    @operator("Cast", shares=True, to=INT(...), **later)
    def cast(x: np.ndarray, *, to: int, **unused: Any) -> Any:
        return cast_to(x, _dtype(to))

    @operator("CastLike", 2, since=15, until=LAST, shares=True, **later)
    def cast_like(x: np.ndarray, like: np.ndarray, **unused: Any) -> Any:
        return cast_to(x, like.dtype.name)


def cast_to(x: np.ndarray, kind: str) -> np.ndarray:
    """Elements in another type; a float outside the range of an integer type becomes any number."""
    if x.dtype == kind:
        return x
    if kind == "object":
        return _as_texts(x)
    if x.dtype == object:
        numbers = np.array([_number(text) for text in x.flat], "float64").reshape(x.shape)
        exact = np.dtype(kind).kind in "iu" and all(text.lstrip("+-").isdecimal() for text in x.flat)
        return np.array([int(text) for text in x.flat], kind).reshape(x.shape) if exact else numbers.astype(kind)
    return x.astype(kind)


def _number(text: str) -> float:
    """The number in a text, in ONNX's spelling."""
    if len(text) > 400 or "_" in text:
        raise ValueError(f"a text must be a number to be cast, got {text!r:.40}")
    return float(text)


def _as_texts(x: np.ndarray) -> np.ndarray:
    """Numbers as the shortest texts that are read as the same numbers."""
    check_room((x.size, BYTES_OF_TEXT))
    texts = np.empty(x.shape, object)
    for index, value in np.ndenumerate(x):
        texts[index] = str(value).replace("inf", "INF").replace("nan", "NaN") if x.dtype.kind == "f" else str(value)
    return texts


_register_casts()


@operator("NonZero", since=9)
def non_zero(x: np.ndarray) -> Any:
    """The places of elements that are not 0, axis by axis."""
    places = np.atleast_1d(x).nonzero()
    return np.array(places[: x.ndim], "int64").reshape(x.ndim, len(places[0]))


@operator("Trilu", (1, 2), since=14, upper=INT(1))
def triangle(x: np.ndarray, k: np.ndarray | None = None, *, upper: int) -> Any:
    """The upper or lower triangle of matrices, with zeros elsewhere."""
    if x.ndim < 2:
        raise ValueError(f"there must be two axes at least, got shape {x.shape}")
    diagonal = 0 if k is None else integer(k, "k")
    bounded = max(-x.shape[-2] - 1, min(diagonal, x.shape[-1] + 1))
    return np.triu(x, bounded) if upper else np.tril(x, bounded)
