"""ONNX's convolutions and pooling over windows: sums of shifted slices, without padded copies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from . import INT, INTS, MANY, TEXT, check_floating, check_room, operator

AUTO = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
WINDOWS = 1 << 22  # elements of windows that are put next to one another for a product
PLACES = 1 << 20  # in a filter
MOST = 1 << 62  # of a length, a step or a pad: sums of some are no longer numbers of 64 bits


@dataclass(frozen=True)
class Axis:
    """How windows move along an axis.

    Attributes
    ----------
    size : int
        Length of the input.
    kernel, stride, dilation : int
        Places in a window, and steps from one window and from one place to the next.
    before, after : int
        Places of padding around the input.
    windows : int
        The number of windows.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    windows: int

    def met(self) -> range:
        """The places in a window that meet the input in some window; a few of them may not."""
        first = -(-(self.before - (self.windows - 1) * self.stride) // self.dilation)
        last = (self.before + self.size - 1) // self.dilation
        return range(max(first, 0), min(last, self.kernel - 1) + 1)

    def seen(self, place: int) -> tuple[int, int]:
        """The windows in which a place meets the input: from one to before another."""
        start = place * self.dilation - self.before
        first = max(-(start // self.stride), 0)
        return first, max(min((self.size - 1 - start) // self.stride + 1, self.windows), first)

    def part(self, place: int, first: int, last: int) -> slice:
        """The part of the input that meets a place, in windows that all see it."""
        start = first * self.stride + place * self.dilation - self.before
        return slice(start, start + (last - first - 1) * self.stride + 1, self.stride)

    def counts(self, padded: bool) -> np.ndarray:
        """The number of places of each window in the input, or with `padded` also in the padding."""
        low, high = (-self.before, self.size + self.after) if padded else (0, self.size)
        starts = np.arange(self.windows) * self.stride - self.before
        first = np.maximum(-((starts - low) // self.dilation), 0)
        return np.maximum(np.minimum((high - 1 - starts) // self.dilation + 1, self.kernel) - first, 0)


def _numbers(numbers: tuple[int, ...] | None, name: str, number: int, least: int) -> tuple[int, ...]:
    """The numbers of an attribute, checked; by default each is `least`."""
    values = numbers if numbers else (least,) * number
    if len(values) != number or not all(least <= value < MOST for value in values):
        raise ValueError(f"{name} must be {number} integers of at least {least}, got {values!s:.80}")
    return values


def _axes(
    shape: Sequence[int],
    kernel: tuple[int, ...],
    auto_pad: str,
    pads: tuple[int, ...] | None,
    strides: tuple[int, ...] | None,
    dilations: tuple[int, ...] | None,
    ceil_mode: int = 0,
) -> list[Axis]:
    """How windows move along each axis."""
    number = len(shape)
    kernel = _numbers(kernel, "kernel_shape", number, 1)
    steps, spread = _numbers(strides, "strides", number, 1), _numbers(dilations, "dilations", number, 1)
    around = _numbers(pads, "pads", 2 * number, 0)
    if auto_pad not in AUTO:
        raise ValueError(f"auto_pad must be one of {[*AUTO]}, got {auto_pad!r:.80}")
    if auto_pad != "NOTSET" and any(around):
        raise ValueError(f"pads must be left out with auto_pad={auto_pad!r}, got {around!s:.80}")
    per_axis = zip(shape, kernel, steps, spread, around[:number], around[number:], strict=True)
    return [_axis(numbers, auto_pad, bool(ceil_mode)) for numbers in per_axis]


def _axis(numbers: tuple[int, ...], auto_pad: str, up: bool) -> Axis:
    """How windows move along an axis; `up` allows a last window that is not whole."""
    size, kernel, stride, dilation, before, after = numbers
    reach = (kernel - 1) * dilation + 1
    if auto_pad.startswith("SAME"):
        windows = -(-size // stride)
        missing = max((windows - 1) * stride + reach - size, 0)
        before = (missing + (auto_pad == "SAME_LOWER")) // 2
        after = missing - before
    else:
        left = size + before + after - reach
        windows = left // stride + 1
        if up and left % stride:
            windows += windows * stride < size + before  # one that began behind the input would see nothing
    if size < 1 or windows < 1:
        raise ValueError(f"a window of {reach} must fit in {size} elements with {before} and {after} around them")
    if before + after + windows * stride + reach >= MOST:
        raise ValueError(f"windows must move over fewer than {MOST} places, got {before} + {size} + {after}")
    return Axis(size, kernel, stride, dilation, before, after, windows)


# Convolutions -------------------------------------------------------------------------------------------------

_moving: dict[str, Any] = {"auto_pad": TEXT("NOTSET"), "pads": INTS(), "strides": INTS()}


@operator("Conv", (2, 3), group=INT(1), kernel_shape=INTS(), dilations=INTS(), **_moving)
def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *, group: int,
                kernel_shape: tuple[int, ...] | None, **moving: Any) -> Any:  # fmt: skip
    """Products of windows and filters, for each group of channels."""
    check_floating(x, weight, bias)
    _check_filters(x, weight, bias, group, kernel_shape)
    axes = _axes(x.shape[2:], weight.shape[2:], **moving)
    rows, filters, windows = x.shape[0], weight.shape[0], tuple(axis.windows for axis in axes)
    check_room((rows, filters, *windows), x, weight)
    wide = "float32" if x.dtype == np.float16 else x.dtype
    result = np.zeros((rows, group, filters // group, *windows), wide)
    inputs = x.astype(wide, copy=False).reshape(rows, group, x.shape[1] // group, *x.shape[2:])
    kernel = weight.astype(wide, copy=False).reshape(group, filters // group, weight.shape[1], *weight.shape[2:])
    _add_products(result, inputs, kernel, axes)
    result = result.reshape(rows, filters, *windows)
    if bias is not None:
        result += bias.astype(wide, copy=False).reshape(-1, *(1 for _ in axes))
    return result.astype(x.dtype, copy=False)


def _check_filters(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, group: int, kernel_shape: tuple[int, ...] | None
) -> None:
    """Refuse filters that do not fit the input."""
    if not 3 <= x.ndim <= 5 or weight.ndim != x.ndim:
        raise ValueError(f"input and filters must have 1 to 3 axes after two, got shapes {x.shape} and {weight.shape}")
    if group < 1 or weight.shape[0] % group or x.shape[1] != weight.shape[1] * group:
        raise ValueError(f"filters in {group} groups must be a multiple of it, for {x.shape[1]} channels, got shape "
                         f"{weight.shape}")  # fmt: skip
    if kernel_shape and kernel_shape != weight.shape[2:]:
        raise ValueError(f"kernel_shape must be {weight.shape[2:]}, as filters have it, got {kernel_shape!s:.80}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"the bias must have shape {weight.shape[:1]}, got {bias.shape}")


def _add_products(result: np.ndarray, x: np.ndarray, kernel: np.ndarray, axes: list[Axis]) -> None:
    """Add the products of filters and windows, for as many places and rows at a time as memory allows."""
    if math.prod(len(axis.met()) for axis in axes) > PLACES:
        raise ValueError(f"filters must have at most {PLACES} places, got shape {kernel.shape}")
    places = [*product(*[axis.met() for axis in axes])]
    size = math.prod((*x.shape[1:3], *result.shape[3:]))  # elements of one row that meet one place
    several = min(max(WINDOWS // max(size, 1), 1), max(len(places), 1))
    rows = max(WINDOWS // max(size * several, 1), 1)
    for first in range(0, len(places), several):
        chosen = places[first : first + several]
        region = _region(chosen, axes)
        if any(low == high for low, high in region):
            continue
        index = tuple(np.array(chosen).T)
        factors = kernel[(slice(None), slice(None), slice(None), *index)]
        factors = np.ascontiguousarray(factors.reshape(*factors.shape[:2], x.shape[2] * len(chosen)))
        across = math.prod(high - low for low, high in region)
        for row in range(0, len(x), rows):
            columns = _columns(x[row : row + rows], chosen, region, axes)
            added = np.matmul(factors, columns.reshape(*columns.shape[:2], factors.shape[2], across))
            where: Any = (slice(row, row + rows), ..., *(slice(*bounds) for bounds in region))
            part = result[where]
            part += added.reshape(part.shape)


def _region(places: list[tuple[int, ...]], axes: list[Axis]) -> list[tuple[int, int]]:
    """The windows, along each axis, in which one of the places meets the input."""
    bounds_of_axes = []
    for k, axis in enumerate(axes):
        bounds = [(low, high) for low, high in (axis.seen(place[k]) for place in places) if low < high]
        bounds_of_axes.append((min(low for low, _ in bounds), max(high for _, high in bounds)) if bounds else (0, 0))
    return bounds_of_axes


def _columns(
    x: np.ndarray, places: list[tuple[int, ...]], region: list[tuple[int, int]], axes: list[Axis]
) -> np.ndarray:
    """The elements at each place in each window: (rows, groups, channels, places, *windows)."""
    source: Any
    target: Any
    result = np.zeros((*x.shape[:3], len(places), *(high - low for low, high in region)), x.dtype)
    for k, place in enumerate(places):
        bounds = [axis.seen(index) for axis, index in zip(axes, place, strict=True)]
        if all(low < high for low, high in bounds):
            to = [slice(low - start, high - start) for (low, high), (start, _) in zip(bounds, region, strict=True)]
            parts = [axis.part(index, *seen) for axis, index, seen in zip(axes, place, bounds, strict=True)]
            target, source = result[:, :, :, k], (..., *parts)
            target[(..., *to)] = x[source]
    return result


# Pooling ------------------------------------------------------------------------------------------------------

_pooling: dict[str, Any] = {"kernel_shape": INTS(...), "ceil_mode": INT(0, since=10), **_moving}


@operator("MaxPool", 1, until=7, kernel_shape=INTS(...), **_moving)
@operator("MaxPool", 1, (1, 2), since=8, counts=True, storage_order=INT(0), dilations=INTS(since=10), **_pooling)
def max_pool(x: np.ndarray, *, kernel_shape: tuple[int, ...], dilations: tuple[int, ...] | None = None,
             ceil_mode: int = 0, storage_order: int = 0, outputs: int = 1, **moving: Any) -> Any:  # fmt: skip
    """The largest in each window."""
    if outputs > 1:
        raise ValueError("it must have 1 output, got 2: the places of the largest are not supported")
    if x.dtype.kind != "f" and x.dtype.name not in ("int8", "uint8"):
        raise ValueError(f"MaxPool of {x.dtype} is not known")
    axes = _pooled(x, kernel_shape, dilations=dilations, ceil_mode=ceil_mode, **moving)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return _each_axis(np.maximum, x, axes, lowest)


@operator("AveragePool", 1, count_include_pad=INT(0), dilations=INTS(since=19), **_pooling)
def average_pool(x: np.ndarray, *, kernel_shape: tuple[int, ...], count_include_pad: int, **moving: Any) -> Any:
    """The average of each window, of all that is in it, or of what is there of the input."""
    check_floating(x)
    axes = _pooled(x, kernel_shape, **moving)
    wide = x.astype("float32") if x.dtype == np.float16 else x
    result = _each_axis(np.add, wide, axes, 0)
    for k, axis in enumerate(axes):
        counts = axis.counts(bool(count_include_pad)).astype(wide.dtype)
        result /= counts.reshape(-1, *(1 for _ in axes[k + 1 :]))
    return result.astype(x.dtype, copy=False)


def _pooled(x: np.ndarray, kernel: tuple[int, ...], **moving: Any) -> list[Axis]:
    """How windows move over an input, if there is room for their results."""
    if not kernel:
        raise ValueError("kernel_shape must not be empty")
    if not 3 <= x.ndim <= 5:
        raise ValueError(f"the input must have 1 to 3 axes after two, got shape {x.shape}")
    axes = _axes(x.shape[2:], kernel, **moving)
    check_room((*x.shape[:2], *(axis.windows for axis in axes)), x)
    return axes


def _each_axis(function: np.ufunc, x: np.ndarray, axes: list[Axis], empty: Any) -> np.ndarray:
    """A function of windows, along one axis after another; axes that leave the fewest elements come first."""
    order = sorted(range(len(axes)), key=lambda k: axes[k].windows / axes[k].size)
    for k in order:
        x = np.moveaxis(_along(function, np.moveaxis(x, k + 2, -1), axes[k], empty), -1, k + 2)
    return np.ascontiguousarray(x)


def _along(function: np.ufunc, x: np.ndarray, axis: Axis, empty: Any) -> np.ndarray:
    """A function of windows along the last axis: place by place, or window by window if these are fewer."""
    places = axis.met()
    if min(len(places), axis.windows) > MANY:
        raise ValueError(f"windows must have at most {MANY} elements, or be so many, got {len(places)} and "
                         f"{axis.windows}")  # fmt: skip
    result = np.full((*x.shape[:-1], axis.windows), empty, x.dtype)
    if len(places) <= axis.windows:
        for part, to in _shifted(axis, places):
            function(result[..., to], x[..., part], out=result[..., to])
        return result
    for window in range(axis.windows):
        start = window * axis.stride - axis.before
        first = max(-(start // axis.dilation), 0) * axis.dilation + start
        stop = min(start + (axis.kernel - 1) * axis.dilation + 1, axis.size)
        result[..., window] = function.reduce(x[..., first : stop : axis.dilation], axis=-1, initial=empty)
    return result


def _shifted(axis: Axis, places: range) -> Iterator[tuple[slice, slice]]:
    """The part of the input that each place of a window meets, and the windows in which it does."""
    for place in places:
        low, high = axis.seen(place)
        if low < high:
            yield axis.part(place, low, high), slice(low, high)


def _all_windows(x: np.ndarray) -> tuple[int, ...]:
    """The axes after the first two."""
    check_floating(x)
    if x.ndim < 3:
        raise ValueError(f"the input must have axes after two, got shape {x.shape}")
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool")
def global_average_pool(x: np.ndarray) -> Any:
    """The average of each channel."""
    axes = _all_windows(x)
    wide = x.astype("float32") if x.dtype == np.float16 else x
    number = wide.dtype.type(math.prod(x.shape[2:]))
    return np.divide(wide.sum(axes, keepdims=True), number).astype(x.dtype, copy=False)


@operator("GlobalMaxPool")
def global_max_pool(x: np.ndarray) -> Any:
    """The largest of each channel."""
    return np.max(x, _all_windows(x), keepdims=True, initial=-np.inf)
