"""ONNX's arithmetic, comparisons and products."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from scipy import special

from . import FLOAT, INT, MANY, broadcast, check_floating, check_room, check_same, operator

# Of one array -------------------------------------------------------------------------------------------------


def _of_one(name: str, function: Callable[[np.ndarray], Any], kinds: str = "f", since: int = 7) -> None:
    """Register a function of each element; `kinds` are NumPy's kinds of types that it takes."""

    def compute(x: np.ndarray) -> Any:
        if x.dtype.kind not in kinds:
            raise ValueError(f"{name} of {x.dtype} is not known")
        return function(x)

    operator(name, since=since)(compute)


_of_one("Sqrt", np.sqrt)
_of_one("Exp", np.exp)
_of_one("Log", np.log)
_of_one("Floor", np.floor)
_of_one("Ceil", np.ceil)
_of_one("Reciprocal", lambda x: x.dtype.type(1) / x)
_of_one("Erf", lambda x: special.erf(x).astype(x.dtype, copy=False), since=9)
_of_one("Round", np.rint, since=11)
_of_one("IsNaN", np.isnan, since=9)
_of_one("Neg", np.negative, "fi")
_of_one("Abs", np.abs, "fiu")
_of_one("Sign", np.sign, "fiu", since=9)
_of_one("Not", np.logical_not, "b")


# Of two, or of several ----------------------------------------------------------------------------------------


def _of_two(name: str, function: Callable[[np.ndarray, np.ndarray], Any], kinds: str, since: int = 7) -> None:
    """Register a function of each pair of elements; `kinds` are NumPy's kinds of types that it takes."""

    def compute(x: np.ndarray, y: np.ndarray) -> Any:
        check_same(x, y)
        if x.dtype.kind not in kinds:
            raise ValueError(f"{name} of {x.dtype} is not known")
        broadcast(x, y)
        return function(x, y)

    operator(name, 2, since=since)(compute)


def _divide(x: np.ndarray, y: np.ndarray) -> Any:
    """A quotient; that of integers without its fraction."""
    if x.dtype.kind == "f":
        return x / y
    quotient = np.floor_divide(x, y)
    return quotient + ((quotient < 0) & (quotient * y != x)).astype(x.dtype) if x.dtype.kind == "i" else quotient


def _equal(x: np.ndarray, y: np.ndarray) -> Any:
    return np.equal(x, y).astype(bool)  # of texts NumPy gives objects


_of_two("Add", np.add, "fiu")
_of_two("Sub", np.subtract, "fiu")
_of_two("Mul", np.multiply, "fiu")
_of_two("Div", _divide, "fiu")
_of_two("And", np.logical_and, "b")
_of_two("Or", np.logical_or, "b")
_of_two("Xor", np.logical_xor, "b")
_of_two("Greater", np.greater, "fiu")
_of_two("Less", np.less, "fiu")
_of_two("GreaterOrEqual", np.greater_equal, "fiu", since=12)
_of_two("LessOrEqual", np.less_equal, "fiu", since=12)
_of_two("Equal", _equal, "fiubO")


@operator("Pow", 2)
def power(x: np.ndarray, y: np.ndarray) -> Any:
    """A power, in the type of the base."""
    if x.dtype.kind not in "fi" or y.dtype.kind not in "fiu":
        raise ValueError(f"Pow of {x.dtype} and {y.dtype} is not known")
    broadcast(x, y)
    if x.dtype == y.dtype and x.dtype.kind == "f":
        return np.power(x, y)
    exact = x.dtype.kind == y.dtype.kind == "i" and not (y < 0).any()
    wide = "int64" if exact else "float64"
    return np.power(x.astype(wide), y.astype(wide)).astype(x.dtype)


def _of_several(name: str, function: Callable[[np.ndarray, np.ndarray], Any], kinds: str) -> None:
    """Register a function of any number of arrays, which it takes two at a time."""

    def compute(*arrays: np.ndarray) -> Any:
        check_same(*arrays)
        if arrays[0].dtype.kind not in kinds:
            raise ValueError(f"{name} of {arrays[0].dtype} is not known")
        broadcast(*arrays)
        return reduce(function, arrays)

    operator(name, (1, MANY), shares=True)(compute)


_of_several("Max", np.maximum, "fiu")
_of_several("Min", np.minimum, "fiu")
_of_several("Sum", np.add, "f")


@operator("Mean", (1, MANY))
def mean(*arrays: np.ndarray) -> Any:
    """The average of arrays."""
    check_floating(*arrays)
    broadcast(*arrays)
    return reduce(np.add, arrays) / arrays[0].dtype.type(len(arrays))


@operator("Mod", 2, since=10, fmod=INT(0))
def modulo(x: np.ndarray, y: np.ndarray, *, fmod: int) -> Any:
    """The remainder of a division; with `fmod` it has the sign of x, else that of y."""
    check_same(x, y)
    if x.dtype.kind not in "fiu":
        raise ValueError(f"Mod of {x.dtype} is not known")
    broadcast(x, y)
    return np.fmod(x, y) if fmod else np.mod(x, y)


@operator("IsInf", since=10, detect_negative=INT(1), detect_positive=INT(1))
def is_infinite(x: np.ndarray, *, detect_negative: int, detect_positive: int) -> Any:
    """Where infinities of the chosen signs are."""
    check_floating(x)
    return (np.isneginf(x) & bool(detect_negative)) | (np.isposinf(x) & bool(detect_positive))


@operator("Where", 3, since=9)
def where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    """Elements of x where the condition holds, else of y."""
    check_same(x, y)
    if condition.dtype != bool:
        raise ValueError(f"the condition must be bool, got {condition.dtype}")
    broadcast(condition, x, y)
    return np.where(condition, x, y)


@operator("Clip", until=10, min=FLOAT(-3.402823466e38), max=FLOAT(3.402823466e38))
def clip_to_numbers(x: np.ndarray, *, min: float, max: float) -> Any:
    """Clipped between two numbers."""
    check_floating(x)
    return np.minimum(np.maximum(x, x.dtype.type(min)), x.dtype.type(max))


@operator("Clip", (1, 3), since=11, shares=True)
def clip(x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> Any:
    """Clipped between two numbers; each may be left out."""
    check_same(x, low, high)
    if x.dtype.kind not in "fiu":
        raise ValueError(f"Clip of {x.dtype} is not known")
    for bound, function in ((low, np.maximum), (high, np.minimum)):
        if bound is not None:
            if bound.size != 1:
                raise ValueError(f"a bound must be one number, got shape {bound.shape}")
            x = function(x, bound.reshape(()))
    return x


# Products -----------------------------------------------------------------------------------------------------


@operator("MatMul", 2)
def matmul(x: np.ndarray, y: np.ndarray) -> Any:
    """Matrix products, over leading axes; NumPy's."""
    check_same(x, y)
    if x.dtype.kind not in "fiu" or not x.ndim or not y.ndim:
        raise ValueError(f"MatMul of {x.dtype} with {x.ndim} and {y.ndim} axes is not known")
    columns = y.shape[-1:] if y.ndim > 1 else ()
    leading = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    check_room((*leading, *x.shape[-2:-1], *columns), x, y)
    return _wide_product(x, y) if x.dtype == np.float16 else np.matmul(x, y)


def _wide_product(x: np.ndarray, y: np.ndarray) -> Any:
    """A product of half-precision matrices, with sums in single precision."""
    return np.matmul(x.astype("float32"), y.astype("float32")).astype("float16")


_gemm: dict[str, Any] = {"alpha": FLOAT(1.0), "beta": FLOAT(1.0), "transA": INT(0), "transB": INT(0)}


@operator("Gemm", 3, until=10, **_gemm)
@operator("Gemm", (2, 3), since=11, **_gemm)
def gemm(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None, *, alpha: float, beta: float, transA: int,
         transB: int) -> Any:  # fmt: skip
    """``alpha a b + beta c``."""
    check_same(a, b, c)
    if a.ndim != 2 or b.ndim != 2 or a.dtype.kind not in "fiu":
        raise ValueError(f"inputs must be matrices of numbers, got {a.dtype} with {a.ndim} and {b.ndim} axes")
    a, b = a.T if transA else a, b.T if transB else b
    shape = a.shape[0], b.shape[1]
    check_room(shape, a, b)
    product = _wide_product(a, b) if a.dtype == np.float16 else a @ b
    kind = product.dtype
    if alpha != 1:
        product = (product * alpha).astype(kind)
    if c is None or not beta:
        return product
    if np.broadcast_shapes(shape, c.shape) != shape:
        raise ValueError(f"c must fit shape {shape}, got {c.shape}")
    return product + (c if beta == 1 else (c * beta).astype(kind))
