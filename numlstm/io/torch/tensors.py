"""PyTorch's tensors and NumPy's arrays as arrays of float32 or float64."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ...backends.dispatch import gpu_array_in
from ..foreign import DTYPES, real_numbers, wrong_dtype


def array_of(value: Any, key: str) -> np.ndarray:
    """A tensor or array as NumPy's, in float32 or float64; it may share the memory.

    Raises
    ------
    TypeError
        If it does not hold real numbers, or is sparse or not in memory.
    """
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        return _array_of_tensor(torch, value, key)
    if gpu_array_in(value) is not None:
        raise TypeError(f"{key!r} must be PyTorch's tensor or in the host's memory, got {type(value).__name__}")
    return real_numbers(value, repr(key), "a tensor or an array")


def _array_of_tensor(torch: Any, tensor: Any, key: str) -> np.ndarray:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise wrong_dtype(repr(key), name)
    try:
        return tensor.detach().to("cpu", getattr(torch, DTYPES[name])).numpy(force=True)
    except (RuntimeError, TypeError, ValueError) as error:  # sparse, without data, or not initialised
        raise TypeError(f"{key!r} must be a dense tensor with data, got {type(tensor).__name__}: {error}") from error
