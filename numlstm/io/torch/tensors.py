"""PyTorch's tensors and NumPy's arrays, as arrays of the two dtypes that layers compute in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ...backends.dispatch import gpu_array_in

DTYPES = {"float32": "float32", "float64": "float64", "float16": "float32", "bfloat16": "float32"}  # what becomes what


def array_of(value: Any, key: str) -> np.ndarray:
    """A tensor or array as NumPy's, in float32 or float64; it may share the memory.

    Raises
    ------
    TypeError
        If it holds other than real numbers, dense and in memory.
    """
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        return _array_of_tensor(torch, value, key)
    if gpu_array_in(value) is not None:
        raise TypeError(f"{key!r} must be PyTorch's tensor or in the host's memory, got {type(value).__name__}")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{key!r} must be a tensor or an array, got {type(value).__name__}: {error}") from None
    if array.dtype.name not in DTYPES:
        raise wrong_dtype(key, array.dtype.name if array.ndim else type(value).__name__)
    return array.astype(DTYPES[array.dtype.name], copy=False)


def _array_of_tensor(torch: Any, tensor: Any, key: str) -> np.ndarray:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise wrong_dtype(key, name)
    try:
        return tensor.detach().to("cpu", getattr(torch, DTYPES[name])).numpy(force=True)
    except (RuntimeError, TypeError, ValueError) as error:  # sparse, without data, or not initialised
        raise TypeError(f"{key!r} must be a dense tensor with data, got {type(tensor).__name__}: {error}") from error


def wrong_dtype(key: str, name: str) -> TypeError:
    """The error for numbers of another kind."""
    return TypeError(f"{key!r} must hold real numbers, {', '.join(DTYPES)}, got {name}")
