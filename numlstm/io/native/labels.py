"""Arrays of labels and of names as tensors: safetensors knows numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from .values import BOOLS, FLOATS, INTEGERS, from_json, to_json

LAST_CHARACTER = 0x10FFFF
NUMBERS = (*BOOLS, *INTEGERS, *FLOATS)


def packed(array: np.ndarray, name: str) -> tuple[str, np.ndarray]:
    """The kind of an array with one axis, and a tensor that holds it.

    NumPy's texts are tensors of their characters, (K, longest). Other texts are a JSON list in ASCII: one long label
    among them takes no room for the short ones.

    Raises
    ------
    ValueError
        If it holds neither numbers nor texts.
    """
    kind = array.dtype.kind
    if kind == "U":
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return "text", native.view(np.uint32).reshape(len(array), -1)
    if kind == "O" and all(isinstance(each, str) for each in array):
        return "object", _as_json(array)
    if array.dtype.name in NUMBERS:
        return array.dtype.name, np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    raise ValueError(f"{name} must hold numbers, booleans or texts to be written to a file, got dtype {array.dtype}")


def unpacked(kind: Any, tensor: np.ndarray, name: str) -> np.ndarray:
    """The array that `packed` made a tensor of.

    Raises
    ------
    ValueError
        If the tensor is none of that kind.
    """
    wanted = {"text": ("uint32", 2), "object": ("uint8", 1)}
    wanted |= {each: (each, 1) for each in NUMBERS}
    if not isinstance(kind, str) or kind not in wanted:
        raise ValueError(f"{name} must be of one of the kinds {list(wanted)}, got another")
    if (tensor.dtype.name, tensor.ndim) != wanted[kind]:
        dtype, axes = wanted[kind]
        raise ValueError(f"{name} must be {dtype} with {axes} axes, got {tensor.dtype} of shape {tensor.shape}")
    if kind == "text":
        return _characters(tensor, name)
    if kind == "object":
        return _from_json(tensor, name)
    if kind == "bool" and (tensor.view(np.uint8) > 1).any():
        raise ValueError(f"{name} must hold 0 and 1 alone")
    return tensor.copy()


def _as_json(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(to_json([str(each) for each in array]).encode("ascii"), np.uint8)


def _from_json(tensor: np.ndarray, name: str) -> np.ndarray:
    try:
        texts = from_json(tensor.tobytes().decode("ascii"), name)
    except UnicodeDecodeError:
        raise ValueError(f"{name} must be a JSON text in ASCII") from None
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise ValueError(f"{name} must be a list of texts")
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


def _characters(tensor: np.ndarray, name: str) -> np.ndarray:
    if 0 in tensor.shape or tensor.max() > LAST_CHARACTER:
        raise ValueError(f"{name} must hold characters, up to {LAST_CHARACTER}")
    return np.ascontiguousarray(tensor).view(f"U{tensor.shape[1]}")[:, 0].copy()
