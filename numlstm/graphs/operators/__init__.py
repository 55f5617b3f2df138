"""ONNX's operators by name and version: their inputs and attributes, and the functions that compute them.

A function takes arrays (None for an input that is left out) and the attributes by name. It returns an array, or a tuple
of arrays if there are several outputs. If ONNX has changed the meaning of an operator, each meaning has a function of
its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np

FIRST, LAST = 7, 28  # versions of ONNX's operators that are known here
DOMAINS = ("", "ai.onnx.ml", "com.microsoft", "numlstm")
MANY = 1 << 16  # inputs or outputs of a node, where ONNX sets no bound
LIMIT = 1 << 28  # elements of a result that is larger than what it is made of
ELEMENTS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
            "float64")  # fmt: skip
MODULES = (  # where operators are
    "arithmetic", "shapes", "reductions", "activations", "gathering", "convolving", "einsum", "ml", "own",
    "quantised", "recurrent",
)  # fmt: skip

HINTS = {("ai.onnx.ml", "ZipMap"): "; export the model with zipmap=False"}

_room: ContextVar[int] = ContextVar("room", default=LIMIT)


class TooLarge(ValueError):
    """A result has too many elements."""


@contextmanager
def room(elements: int) -> Iterator[None]:
    """Let results have so many elements."""
    token = _room.set(elements)
    try:
        yield
    finally:
        _room.reset(token)


def largest_room() -> int:
    """The elements that a result may have."""
    return _room.get()


def check_room(shape: Sequence[int], *made_of: np.ndarray) -> None:
    """Refuse a result that has too many elements, and more than each of the arrays that it is made of.

    Raises
    ------
    TooLarge
        Before memory is taken for it.
    """
    size = math.prod(map(int, shape))
    if size > (most := _room.get()) and all(size > array.size for array in made_of):
        raise TooLarge(f"the result would have {size} elements, and must have at most {most}")


def check_same(*arrays: np.ndarray | None) -> None:
    """Refuse arrays of different types."""
    dtypes = [array.dtype for array in arrays if array is not None]
    if any(dtype != dtypes[0] for dtype in dtypes):
        raise ValueError(f"inputs must be of one type, got {', '.join(map(str, dtypes))}")


def check_floating(*arrays: np.ndarray | None) -> None:
    """Refuse arrays that do not hold floating-point numbers of one type."""
    check_same(*arrays)
    for array in arrays:
        if array is not None and array.dtype.kind != "f":
            raise ValueError(f"inputs must hold floating-point numbers, got {array.dtype}")


def broadcast(*arrays: np.ndarray) -> tuple[int, ...]:
    """The shape of arrays that are broadcast."""
    first = arrays[0].shape
    if all(array.shape == first for array in arrays):
        return first
    shape = np.broadcast_shapes(*[array.shape for array in arrays])
    check_room(shape, *arrays)
    return shape


def integers(array: np.ndarray, name: str) -> list[int]:
    """A vector of integers, or a single one, as Python's."""
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ValueError(f"{name} must be integers on one axis, got {array.dtype} of shape {array.shape}")
    if array.size > MANY:
        raise ValueError(f"{name} must be at most {MANY} integers, got {array.size}")
    return array.reshape(-1).tolist()


def integer(array: np.ndarray, name: str) -> int:
    """The one integer of an array."""
    if array.dtype.kind not in "iu" or array.size != 1:
        raise ValueError(f"{name} must be one integer, got {array.dtype} of shape {array.shape}")
    return int(array.item())


def axis_of(axis: int, ndim: int, name: str = "axis") -> int:
    """An axis, counted from the front."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"{name} must be in [{-ndim}, {ndim - 1}], got {axis}")
    return axis % ndim


def axes_of(axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Different axes, counted from the front."""
    result = tuple(axis_of(axis, ndim, "axes") for axis in axes)
    if len({*result}) < len(result):
        raise ValueError(f"axes must be different ones, got {[*axes]}")
    return result


# Attributes ---------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Any], bool]] = {
    "an integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "a number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "a text": lambda value: isinstance(value, str),
    "a tensor": lambda value: isinstance(value, np.ndarray) and (value.dtype.name in ELEMENTS or _texts(value)),
}


def _texts(array: np.ndarray) -> bool:
    return array.dtype == object and all(isinstance(value, str) for value in array.flat)


@dataclass(frozen=True)
class Attribute:
    """An attribute of an operator: an argument that is no input.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    default : value
        The value if the node does not have it; `...` if the node must have it.
    several : bool
        Whether it is a tuple of such values.
    since, until : int
        The first and last version that has it.
    """

    kind: str
    default: Any = None
    several: bool = False
    since: int = FIRST
    until: int = LAST

    def check(self, value: Any, name: str) -> Any:
        """The value, if it is one of these."""
        good = KINDS[self.kind]
        if not self.several:
            if not good(value):
                raise ValueError(f"{name} must be {self.kind}, got {_shown(value)}")
            return value
        if not isinstance(value, tuple | list) or not all(map(good, value)):
            raise ValueError(f"{name} must be a tuple, with {self.kind} in each place, got {_shown(value)}")
        return tuple(value)


def _shown(value: Any) -> str:
    return (
        f"{value!r:.80}" if isinstance(value, bool | int | float | str) else f"a value of type {type(value).__name__}"
    )


INT, FLOAT, TEXT, TENSOR = (partial(Attribute, kind) for kind in KINDS)
INTS, FLOATS, TEXTS = (partial(Attribute, kind, several=True) for kind in ("an integer", "a number", "a text"))


# Operators ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operator:
    """An operator in some versions.

    Attributes
    ----------
    compute : callable
        ``compute(*arrays, **attributes)``. With `prepares` it is ``compute(attributes, constants, outputs, cache)``,
        and returns a function of arrays, the layers in this function, and the inputs of which these are made.
        `constants` has an array for each known input, None for one that is left out, and `...` for others; `outputs`
        tells which outputs are read; `cache` is a `LayerCache`.
    inputs, outputs : tuple of int
        The least and largest number.
    attributes : mapping of str to Attribute
    since, until : int
    shares : bool
        Whether a result can share the memory of an input.
    counts : bool
        Whether `compute` takes the number of outputs, as ``outputs``.
    prepares : bool
        Whether `compute` makes the function once for all runs.
    """

    compute: Callable[..., Any]
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    attributes: Mapping[str, Attribute]
    since: int
    until: int
    shares: bool
    counts: bool
    prepares: bool

    def read(self, attributes: Mapping[str, Any], opset: int) -> dict[str, Any]:
        """All attributes, checked."""
        known = {
            name: attribute
            for name, attribute in self.attributes.items()
            if attribute.since <= opset <= attribute.until
        }
        for name in attributes:
            if name not in known:
                expected = f"attributes must be among {[*known]}" if known else "there must be no attributes"
                raise ValueError(f"{expected} in version {opset}, got {name!r:.80}")
        missing = [name for name, attribute in known.items() if attribute.default is ... and name not in attributes]
        if missing:
            raise ValueError(f"attribute {missing[0]!r} is missing")
        return {
            name: attribute.check(attributes[name], name) if name in attributes else attribute.default
            for name, attribute in self.attributes.items()
            if attribute.default is not ... or name in attributes
        }


_registry: dict[tuple[str, str], list[Operator]] = {}


def operator(
    name: str,
    inputs: int | tuple[int, int] = 1,
    outputs: int | tuple[int, int] = 1,
    *,
    domain: str = "",
    since: int = FIRST,
    until: int = LAST,
    shares: bool = False,
    counts: bool = False,
    prepares: bool = False,
    **attributes: Attribute,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function that computes an operator."""
    numbers = [(number, number) if isinstance(number, int) else number for number in (inputs, outputs)]

    def register(compute: Callable[..., Any]) -> Callable[..., Any]:
        entry = Operator(compute, numbers[0], numbers[1], attributes, since, until, shares, counts, prepares)
        _registry.setdefault((domain, name), []).append(entry)
        return compute

    return register


def find(name: str, domain: str, opset: int) -> Operator:
    """The operator of a name, as it is in a version.

    Raises
    ------
    ValueError
        If there is none.
    """
    known = operators().get((domain, name))
    if known is None:
        where = f" in domain {domain!r:.80}" if domain else ""
        raise ValueError(f"numlstm does not support this operator{where}{HINTS.get((domain, name), '')}")
    for candidate in known:
        if candidate.since <= opset <= candidate.until:
            return candidate
    raise ValueError(
        f"this operator does not exist in version {opset}, only from {min(candidate.since for candidate in known)}"
    )


@cache
def operators() -> Mapping[tuple[str, str], Sequence[Operator]]:
    """All operators, by domain and name."""
    for module in MODULES:
        import_module(f".{module}", __name__)
    return _registry
