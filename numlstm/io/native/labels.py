"""Arrays of labels and of names as tensors: safetensors holds numbers only."""

from __future__ import annotations

from typing import Any

import numpy as np

from .values import BOOLS, FLOATS, INTEGERS, from_json, to_json

LAST_CHARACTER = 0x10FFFF
NUMBERS = (*BOOLS, *INTEGERS, *FLOATS)


def packed(array: np.ndarray, name: str) -> tuple[str, np.ndarray]:
    """The kind of an array with one axis, and a tensor that holds it.

    NumPy's texts become a tensor of their characters, (K, longest). Objects that are texts become a JSON list in ASCII,
    in which one long label does not make the others longer.

    Raises
    ------
    ValueError
        If it holds neither numbers nor texts.
    """
    kind = array.dtype.kind
    if kind == "U":
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return "text", native.view(np.uint32).reshape(len(array), -1)
    if kind == "O" and all(isinstance(item, str) for item in array):
        return "object", _as_json(array)
    if array.dtype.name in NUMBERS:
        return array.dtype.name, np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    raise ValueError(f"{name} must hold numbers, booleans or texts to be written to a file, got dtype {array.dtype}")


def unpacked(kind: Any, tensor: np.ndarray, name: str) -> np.ndarray:
    """The inverse of `packed`.

    Raises
    ------
    ValueError
        If the tensor is not of that kind.
    """
    forms = {"text": ("uint32", 2), "object": ("uint8", 1)} | {dtype: (dtype, 1) for dtype in NUMBERS}
    if not isinstance(kind, str) or kind not in forms:
        raise ValueError(f"{name} must be of one of the kinds {list(forms)}, got another")
    if (tensor.dtype.name, tensor.ndim) != forms[kind]:
        dtype, axes = forms[kind]
        raise ValueError(f"{name} must be {dtype} with {axes} axes, got {tensor.dtype} of shape {tensor.shape}")
    if kind == "text":
        return _characters(tensor, name)
    if kind == "object":
        return _from_json(tensor, name)
    if kind == "bool" and (tensor.view(np.uint8) > 1).any():
        raise ValueError(f"{name} must hold only 0 and 1")
    return tensor.copy()


def _as_json(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(to_json([str(item) for item in array]).encode("ascii"), np.uint8)


def _from_json(tensor: np.ndarray, name: str) -> np.ndarray:
    try:
        texts = from_json(tensor.tobytes().decode("ascii"), name)
    except UnicodeDecodeError:
        raise ValueError(f"{name} must be a JSON text in ASCII") from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be a list of texts")
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def _characters(tensor: np.ndarray, name: str) -> np.ndarray:
    if 0 in tensor.shape or tensor.max() > LAST_CHARACTER:
        raise ValueError(f"{name} must hold characters, up to {LAST_CHARACTER}")
    return np.ascontiguousarray(tensor).view(f"U{tensor.shape[1]}")[:, 0].copy()
