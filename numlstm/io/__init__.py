"""Models in files: numlstm's own format, and those of PyTorch, Keras and ONNX."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..graphs.graph import Graph
    from .keras.exchange import from_keras, to_keras_weights
    from .native.models import load, save
    from .onnx.reading import from_onnx
    from .onnx.writing import to_onnx
    from .torch import from_torch, to_torch
    from .torch.estimators import estimator_from_torch

_homes = {
    "Graph": "..graphs.graph",
    "estimator_from_torch": ".torch.estimators",
    "from_keras": ".keras.exchange",
    "from_onnx": ".onnx.reading",
    "from_torch": ".torch",
    "load": ".native.models",
    "save": ".native.models",
    "to_keras_weights": ".keras.exchange",
    "to_onnx": ".onnx.writing",
    "to_torch": ".torch",
}

__all__ = [
    "Graph",
    "estimator_from_torch",
    "from_keras",
    "from_onnx",
    "from_torch",
    "load",
    "save",
    "to_keras_weights",
    "to_onnx",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_homes[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_homes])
