"""Values of parameters as JSON and back. A value that JSON has no form for is an object; its one key says the kind."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...checks import check_integer

MOST = 2**63 - 1  # of anything that is counted
DEPTH = 8  # of values inside one another; parameters need four
DIGITS = 20  # of an integer, sign and all: those of 64 bits
BOOLS, INTEGERS, FLOATS = (
    ("bool",),
    ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    ("float16", "float32", "float64"),
)
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Errors in here become a `ValueError` that names a field."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from error


# Numbers --------------------------------------------------------------------------------------------------


def check_count(value: Any, name: str) -> int:
    """`value` as an int in 1..`MOST`.

    Raises
    ------
    TypeError, ValueError
        If it is no integer, or outside.
    """
    count = check_integer(value, name, 1)
    if count > MOST:
        raise ValueError(f"{name} must be at most {MOST}, got {count}")
    return count


def positive(array: np.ndarray) -> np.ndarray:
    """Where an array is a finite number above 0."""
    return np.isfinite(array) & (array > 0)


# JSON -----------------------------------------------------------------------------------------------------


def to_json(value: Any) -> str:
    """The JSON text of a value of JSON's own types: in ASCII, and always the same for the same value."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def from_json(text: str, name: str) -> Any:
    """The value of a JSON text.

    Raises
    ------
    ValueError
        If it is no JSON, has a key twice, holds numbers that are out of range, or is nested too deep.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer, parse_constant=_constant
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {max(names, key=names.count)[:80]!r} is there twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:40]} is out of range")
    return value


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"integer {text[:DIGITS]}... is out of range")
    return int(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


# Fields ---------------------------------------------------------------------------------------------------


def fields_of(value: Any, name: str, names: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """`value` if it is an object with these fields, some of which are optional, and no others.

    Raises
    ------
    ValueError
        If not; the message names the first field that is missing or unknown.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, got {type(value).__name__}")
    for field in names:
        if field not in value:
            raise ValueError(f"{name} lacks the field {field!r}")
    for field in value:
        if field not in names and field not in optional:
            raise ValueError(f"{name} has an unknown field {field[:80]!r}")
    return value


def decoded_parameters(content: Any, names: Sequence[str]) -> dict[str, Any]:
    """Values for a constructor that takes `names`; parameters that a file lacks stay at their defaults.

    Raises
    ------
    ValueError
        If there are others, or values that `encoded` would not make.
    """
    content = fields_of(content, "parameters", [], names)
    with inside("parameters"):
        return {name: decoded(value, name) for name, value in content.items()}


# Values ---------------------------------------------------------------------------------------------------


def encoded(value: Any, name: str) -> Any:
    """A value of a parameter in JSON's types.

    Raises
    ------
    ValueError
        If a file cannot hold its type.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.str_):
        return {"numpy": ["str", str(value)]}
    if isinstance(value, np.generic) and value.dtype.name in (*BOOLS, *INTEGERS, *FLOATS):
        return {"numpy": [value.dtype.name, encoded(value.item(), name)]}
    if type(value) in (list, tuple):
        items = [encoded(item, f"{name}[{k}]") for k, item in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    if type(value) is dict:
        return {"dict": [[encoded(key, f"{name}: key {key!r}"), encoded(value[key], name)] for key in value]}
    raise ValueError(f"{name} cannot be written to a file, which holds no code: got {type(value).__name__}")


def decoded(value: Any, name: str, depth: int = DEPTH) -> Any:
    """The inverse of `encoded`.

    Raises
    ------
    ValueError
        If `encoded` would not make such JSON.
    """
    if depth == 0:
        raise ValueError(f"{name} is nested too deep")
    if isinstance(value, list):
        return [decoded(item, f"{name}[{k}]", depth - 1) for k, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or next(iter(value)) not in _decoders:
        raise ValueError(f"{name} must be a number, a text, a list or one of {list(_decoders)}, got another object")
    ((kind, content),) = value.items()
    return _decoders[kind](content, name, depth)


def _float(content: Any, name: str, depth: int) -> float:
    if not isinstance(content, str) or content not in SPECIAL:
        raise ValueError(f"{name} must be one of {list(SPECIAL)}, got something else")
    return SPECIAL[content]


def _numpy(content: Any, name: str, depth: int) -> Any:
    """A scalar of NumPy's."""
    if not isinstance(content, list) or len(content) != 2:
        raise ValueError(f"{name} must be a list of a type and a value")
    kind, value = content[0], decoded(content[1], name, depth - 1)
    if kind == "str" and isinstance(value, str):
        return np.str_(value)
    types: dict[Any, Any] = dict.fromkeys(BOOLS, bool) | dict.fromkeys(INTEGERS, int) | dict.fromkeys(FLOATS, float)
    if not isinstance(kind, str) or kind not in types or type(value) is not types[kind]:
        raise ValueError(f"{name} must be a scalar of NumPy's, got another type")
    with np.errstate(over="ignore"), inside(name):
        scalar = np.dtype(kind).type(value)
    if scalar.item() != value and not math.isnan(value):
        raise ValueError(f"{name} must be a number of type {kind}, got {value!r}")
    return scalar


def _tuple(content: Any, name: str, depth: int) -> tuple[Any, ...]:
    if not isinstance(content, list):
        raise ValueError(f"{name} must be a list")
    return tuple(decoded(content, name, depth))


def _dict(content: Any, name: str, depth: int) -> dict[Any, Any]:
    """A dictionary, from a list of keys and values: keys have any type here, and would be texts in JSON."""
    result: dict[Any, Any] = {}
    for pair in content if isinstance(content, list) else [None]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"{name} must be a list of keys and values")
        key = decoded(pair[0], f"{name}: a key", depth - 1)
        if isinstance(key, list | tuple | dict) or key in result:
            raise ValueError(f"{name} must have simple keys, each of them once")
        result[key] = decoded(pair[1], name, depth - 1)
    return result


_decoders: dict[str, Any] = {"float": _float, "numpy": _numpy, "tuple": _tuple, "dict": _dict}
