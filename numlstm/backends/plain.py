"""The plain functions that cells are written in, handed to a compiler."""

from __future__ import annotations

from collections.abc import Callable, Container
from types import CellType, FunctionType
from typing import Any


def compiled(function: Any, jit: Callable[[Any], Any], lowered: Container[Any]) -> Any:
    """A plain function as `jit` compiles it, with whatever plain functions of cells it calls compiled as well.

    Those in `lowered` stay as they are: the compiler knows what to make of them.
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
