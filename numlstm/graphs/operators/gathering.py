"""ONNX's operators that look up elements, or put them at places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import INT, TEXT, axis_of, check_room, check_same, integer, operator


def _indices(indices: np.ndarray, length: int) -> np.ndarray:
    """Places along an axis, counted from the front."""
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices must be integers, got {indices.dtype}")
    if indices.size and (int(indices.min()) < -length or int(indices.max()) >= length):
        raise ValueError(f"indices must be in [{-length}, {length - 1}], got {indices.min()} to {indices.max()}")
    return indices


@operator("Gather", 2, axis=INT(0))
def gather(x: np.ndarray, indices: np.ndarray, *, axis: int) -> Any:
    """Parts along an axis."""
    axis = axis_of(axis, x.ndim)
    places = _indices(indices, x.shape[axis])
    check_room((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]), x)
    return x.take(places, axis)


@operator("GatherElements", 2, since=11, axis=INT(0))
def gather_elements(x: np.ndarray, indices: np.ndarray, *, axis: int) -> Any:
    """One element for each index, at the index along an axis and at its own place along the others."""
    return x[_open_mesh(x, indices, axis)]


def _open_mesh(x: np.ndarray, indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The places of `gather_elements` along each axis."""
    axis = axis_of(axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ValueError(f"indices must have {x.ndim} axes, got shape {indices.shape}")
    pairs = enumerate(zip(indices.shape, x.shape, strict=True))
    if any(count > length for k, (count, length) in pairs if k != axis):
        raise ValueError(f"indices must fit in shape {x.shape} but for axis {axis}, got {indices.shape}")
    places: list[np.ndarray] = list(np.ogrid[tuple(slice(length) for length in indices.shape)])
    places[axis] = _indices(indices, x.shape[axis])
    return tuple(places)


@operator("GatherND", 2, since=11, batch_dims=INT(0, since=12))
def gather_nd(x: np.ndarray, indices: np.ndarray, *, batch_dims: int) -> Any:
    """Parts at places with several coordinates."""
    if not 0 <= batch_dims < min(x.ndim, indices.ndim) or indices.shape[:batch_dims] != x.shape[:batch_dims]:
        raise ValueError(f"{batch_dims} first axes must agree, got {x.shape} and {indices.shape}")
    depth = indices.shape[-1]
    if not 1 <= depth <= x.ndim - batch_dims:
        raise ValueError(f"indices must have 1 to {x.ndim - batch_dims} coordinates, got {depth}")
    check_room((*indices.shape[:-1], *x.shape[batch_dims + depth :]), x)
    places = [_indices(indices[..., k], x.shape[batch_dims + k]) for k in range(depth)]
    rows = np.ogrid[tuple(slice(length) for length in x.shape[:batch_dims])] if batch_dims else []
    leading = [row.reshape(row.shape + (1,) * (indices.ndim - 1 - batch_dims)) for row in rows]
    return x[(*leading, *places)]


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at,
}  # fmt: skip


@operator("ScatterElements", 3, since=11, axis=INT(0), reduction=TEXT("none", since=16))
def scatter_elements(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axis: int, reduction: str) -> Any:
    """A copy, with elements put where `GatherElements` would look; or added to those there, and so on."""
    check_same(x, updates)
    if updates.shape != indices.shape:
        raise ValueError(f"updates must have shape {indices.shape}, as indices have, got {updates.shape}")
    if reduction not in ("none", *REDUCTIONS):
        raise ValueError(f"reduction must be one of {['none', *REDUCTIONS]}, got {reduction!r:.80}")
    result, places = x.copy(), _open_mesh(x, indices, axis)
    if reduction == "none":
        result[places] = updates
    else:
        REDUCTIONS[reduction](result, places, updates)
    return result


operator("Scatter", 3, since=9, until=10, axis=INT(0))(
    lambda x, indices, updates, *, axis: scatter_elements(x, indices, updates, axis=axis, reduction="none")
)


@operator("OneHot", 3, since=9, axis=INT(-1))
def one_hot(indices: np.ndarray, depth: np.ndarray, values: np.ndarray, *, axis: int) -> Any:
    """One value at an index along a new axis, the other elsewhere."""
    if indices.dtype.kind not in "fiu" or values.shape != (2,) or depth.size != 1 or depth.dtype.kind not in "fiu":
        raise ValueError(f"indices and depth must be numbers and values two, got {indices.dtype} and {values.shape}")
    length, axis = int(depth.item()), axis_of(axis, indices.ndim + 1)
    if length < 1:
        raise ValueError(f"depth must be at least 1, got {length}")
    shape = (*indices.shape[:axis], length, *indices.shape[axis:])
    check_room(shape)
    wide = indices.astype("float64" if indices.dtype.kind == "f" else "int64")
    steps = np.arange(length).reshape((length,) + (1,) * (indices.ndim - axis))
    hot = np.expand_dims(np.where(wide < 0, wide + length, wide), axis) == steps
    return values[hot.astype("int8")]


@operator("ReverseSequence", 2, since=10, batch_axis=INT(1), time_axis=INT(0))
def reverse_sequence(x: np.ndarray, lengths: np.ndarray, *, batch_axis: int, time_axis: int) -> Any:
    """Each row with its first steps in reverse order."""
    if {batch_axis, time_axis} != {0, 1} or x.ndim < 2:
        raise ValueError(f"batch_axis and time_axis must be 0 and 1, got {batch_axis} and {time_axis}")
    rows = x if batch_axis == 0 else x.swapaxes(0, 1)
    if lengths.shape != rows.shape[:1] or lengths.dtype.kind not in "iu":
        raise ValueError(f"there must be {len(rows)} integers as lengths, got {lengths.dtype} of shape {lengths.shape}")
    result = reversed_within(rows, lengths.astype("int64"))
    return result if batch_axis == 0 else result.swapaxes(0, 1)


def reversed_within(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(N, T, ...) with the first steps of each row in reverse order, and the other steps unchanged."""
    steps = rows.shape[1]
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= steps:
        raise ValueError(f"lengths must be in 0..{steps}, got {lengths.min()} to {lengths.max()}")
    length, step = lengths[:, None], np.arange(steps)
    return rows[np.arange(len(rows))[:, None], np.where(step < length, length - 1 - step, step)]


@operator("TopK", 1, 2, until=9, axis=INT(-1), k=INT(...))
def largest(x: np.ndarray, *, axis: int, k: int) -> Any:
    """The largest elements along an axis, and their places."""
    return _largest(x, k, axis, True)


@operator("TopK", 2, 2, since=10, until=10, axis=INT(-1))
def largest_by_input(x: np.ndarray, k: np.ndarray, *, axis: int) -> Any:
    """The largest elements; their number is an input."""
    return _largest(x, integer(k, "k"), axis, True)


@operator("TopK", 2, 2, since=11, axis=INT(-1), largest=INT(1), sorted=INT(1))
def largest_or_smallest(x: np.ndarray, k: np.ndarray, *, axis: int, largest: int, sorted: int) -> Any:
    """The largest or smallest elements; always in order."""
    return _largest(x, integer(k, "k"), axis, bool(largest))


def _largest(x: np.ndarray, k: int, axis: int, largest: bool) -> tuple[np.ndarray, np.ndarray]:
    axis = axis_of(axis, x.ndim)
    if x.dtype.kind not in "fiu" or not 0 <= k <= x.shape[axis]:
        raise ValueError(f"k must be in 0..{x.shape[axis]}, of numbers, got {k} of {x.dtype}")
    if largest:  # of equal ones the first, which a stable order from behind would put last
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    places = order.take(range(k), axis)
    return np.take_along_axis(x, places, axis), places.astype("int64")


@operator("Compress", (2, 2), since=9, axis=INT())
def compress(x: np.ndarray, condition: np.ndarray, *, axis: int | None) -> Any:
    """Parts along an axis where a condition holds."""
    if condition.ndim != 1 or condition.dtype != bool:
        raise ValueError(f"the condition must be bool on one axis, got {condition.dtype} of shape {condition.shape}")
    return np.compress(condition, x, None if axis is None else axis_of(axis, x.ndim))
