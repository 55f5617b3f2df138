"""ONNX's operators that make one element of many along axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import INT, INTS, axes_of, axis_of, check_floating, integer, integers, operator

Reduction = Callable[[np.ndarray, tuple[int, ...], bool], Any]


def _wide(x: np.ndarray) -> np.ndarray:
    """Half-precision numbers in single precision: their sums overflow soon."""
    return x.astype("float32") if x.dtype == np.float16 else x


def _sum(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return _wide(x).sum(axes, dtype=None if x.dtype.kind == "f" else x.dtype, keepdims=keep)


def _mean(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    """The average; that of nothing is NaN, without NumPy's warning."""
    number = math.prod(x.shape[axis] for axis in axes)
    if x.dtype.kind == "f":
        return np.divide(_wide(x).sum(axes, keepdims=keep), _wide(x).dtype.type(number))
    return np.trunc(np.divide(x.sum(axes, dtype="float64", keepdims=keep), number))


def _product(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return x.prod(axes, dtype=x.dtype, keepdims=keep)


def _l2(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return np.sqrt(_sum(_wide(x) * _wide(x), axes, keep))


def _l1(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return _sum(np.abs(x), axes, keep)


def _squares(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return _sum(_wide(x) * _wide(x), axes, keep)


def _log_sum(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return np.log(_sum(x, axes, keep))


def _log_sum_exp(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    """Shifted, so that the largest exponential is 1; an infinite maximum is not shifted."""
    most = np.max(x, axes, keepdims=True, initial=-np.inf)
    most = np.where(np.isfinite(most), most, x.dtype.type(0))
    result = np.log(np.exp(_wide(x) - most).sum(axes, keepdims=True)) + most
    return result if keep else result.squeeze(axes)


def _extreme(x: np.ndarray, axes: tuple[int, ...], keep: bool, largest: bool) -> Any:
    """The largest or smallest element; of no elements, the lowest or highest number of the type."""
    if x.dtype.kind == "f":
        bound: Any = -np.inf if largest else np.inf
    elif x.dtype.kind == "b":
        bound = not largest
    else:
        bound = np.iinfo(x.dtype).min if largest else np.iinfo(x.dtype).max
    return (np.max if largest else np.min)(x, axes, keepdims=keep, initial=bound)


def _largest(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return _extreme(x, axes, keep, True)


def _smallest(x: np.ndarray, axes: tuple[int, ...], keep: bool) -> Any:
    return _extreme(x, axes, keep, False)


def _register(name: str, reduction: Reduction, given_since: int = 18) -> None:
    """Register all versions of a reduction: axes were an attribute, and are an input now."""

    def compute(x: np.ndarray, axes: tuple[int, ...] | None, keepdims: int, noop: int = 0) -> Any:
        allowed = "fiub" if name in ("ReduceMax", "ReduceMin") else "fiu"
        if x.dtype.kind not in allowed:
            raise ValueError(f"{name} of {x.dtype} is not known")
        chosen = axes_of(axes, x.ndim) if axes else () if noop else tuple(range(x.ndim))
        return np.asarray(reduction(x, chosen, bool(keepdims))).astype(x.dtype, copy=False)

    @operator(name, until=given_since - 1, axes=INTS(), keepdims=INT(1))
    def by_attribute(x: np.ndarray, *, axes: tuple[int, ...] | None, keepdims: int) -> Any:
        return compute(x, axes, keepdims)

    @operator(name, (1, 2), since=given_since, shares=True, keepdims=INT(1), noop_with_empty_axes=INT(0))
    def by_input(x: np.ndarray, axes: np.ndarray | None = None, *, keepdims: int, noop_with_empty_axes: int) -> Any:
        return compute(x, None if axes is None else tuple(integers(axes, "axes")), keepdims, noop_with_empty_axes)


for _name, _reduction in (
    ("ReduceMean", _mean), ("ReduceMax", _largest), ("ReduceMin", _smallest), ("ReduceProd", _product),
    ("ReduceL1", _l1), ("ReduceL2", _l2), ("ReduceSumSquare", _squares), ("ReduceLogSum", _log_sum),
    ("ReduceLogSumExp", _log_sum_exp),
):  # fmt: skip
    _register(_name, _reduction)
_register("ReduceSum", _sum, given_since=13)


def _register_places(name: str, function: Callable[..., Any]) -> None:
    """Register a search for the place of an extreme element."""

    @operator(name, axis=INT(0), keepdims=INT(1), select_last_index=INT(0, since=12))
    def compute(x: np.ndarray, *, axis: int, keepdims: int, select_last_index: int) -> Any:
        axis = axis_of(axis, x.ndim)
        if x.dtype.kind not in "fiu":
            raise ValueError(f"{name} of {x.dtype} is not known")
        place = function(np.flip(x, axis) if select_last_index else x, axis, keepdims=bool(keepdims))
        return (x.shape[axis] - 1 - place if select_last_index else place).astype("int64")


_register_places("ArgMax", np.argmax)
_register_places("ArgMin", np.argmin)


@operator("CumSum", 2, since=11, exclusive=INT(0), reverse=INT(0))
def cumulative_sum(x: np.ndarray, axis: np.ndarray, *, exclusive: int, reverse: int) -> Any:
    """Sums up to each element along an axis; `exclusive` without it."""
    if x.dtype.kind not in "fiu":
        raise ValueError(f"CumSum of {x.dtype} is not known")
    along = axis_of(integer(axis, "axis"), x.ndim)
    ordered = np.flip(x, along) if reverse else x
    sums = ordered.cumsum(along, dtype=x.dtype)
    if exclusive:
        sums = np.roll(sums, 1, along)
        np.moveaxis(sums, along, 0)[:1] = 0
    return np.flip(sums, along) if reverse else sums


# Normalised over elements -------------------------------------------------------------------------------------


@operator("Softmax", until=12, axis=INT(1))
def softmax_of_matrix(x: np.ndarray, *, axis: int) -> Any:
    """Over all axes from one on."""
    return _of_matrix(_softmax, x, axis)


@operator("Softmax", since=13, axis=INT(-1))
def softmax(x: np.ndarray, *, axis: int) -> Any:
    """Over one axis."""
    return _softmax(x, axis_of(axis, x.ndim))


@operator("LogSoftmax", until=12, axis=INT(1))
def log_softmax_of_matrix(x: np.ndarray, *, axis: int) -> Any:
    """Over all axes from one on."""
    return _of_matrix(_log_softmax, x, axis)


@operator("LogSoftmax", since=13, axis=INT(-1))
def log_softmax(x: np.ndarray, *, axis: int) -> Any:
    """Over one axis."""
    return _log_softmax(x, axis_of(axis, x.ndim))


def _of_matrix(function: Callable[[np.ndarray, int], Any], x: np.ndarray, axis: int) -> Any:
    """Along the rows of a matrix: the axes before one, and the rest."""
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"axis must be in [{-x.ndim}, {x.ndim}], got {axis}")
    first = axis + x.ndim if axis < 0 else axis
    rows = int(np.prod(x.shape[:first], dtype=int))
    return function(x.reshape(rows, x.size // rows if rows else 0), 1).reshape(x.shape)


def _softmax(x: np.ndarray, axis: int) -> Any:
    check_floating(x)
    if not x.size:
        return x.copy()
    weights = np.exp(_wide(x) - x.max(axis, keepdims=True))
    return (weights / weights.sum(axis, keepdims=True)).astype(x.dtype, copy=False)


def _log_softmax(x: np.ndarray, axis: int) -> Any:
    check_floating(x)
    if not x.size:
        return x.copy()
    shifted = _wide(x) - x.max(axis, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))).astype(x.dtype, copy=False)
