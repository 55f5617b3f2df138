"""Models in files: numlstm's own, and those of others."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .native import load
    from .torch import from_torch, to_torch

_homes = {"from_torch": ".torch", "load": ".native", "to_torch": ".torch"}

__all__ = ["from_torch", "load", "to_torch"]


def __getattr__(name: str) -> Any:
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_homes[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_homes])
