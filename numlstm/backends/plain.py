"""Plain functions of cells, for compilers."""

from __future__ import annotations

from collections.abc import Callable, Container
from types import CellType, FunctionType
from typing import Any


def compiled(function: Any, jit: Callable[[Any], Any], lowered: Container[Any]) -> Any:
    """A plain function, compiled by `jit`, as all plain functions that it calls.

    Functions in `lowered` stay as they are: the compiler has code of its own for them.
    """
    if not isinstance(function, FunctionType) or function in lowered:
        return function
    names = {name: compiled(function.__globals__[name], jit, lowered) for name in function.__code__.co_names
             if name in function.__globals__}  # fmt: skip
    cells = tuple(CellType(compiled(cell.cell_contents, jit, lowered)) for cell in function.__closure__ or ())
    copy = FunctionType(
        function.__code__, function.__globals__ | names, function.__name__, function.__defaults__, cells or None
    )
    copy.__module__ = function.__module__
    return jit(copy)
