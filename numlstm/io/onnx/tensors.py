"""Tensors in ONNX's format as arrays; their sizes are compared with the data before memory is taken."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from ...graphs.operators.shapes import TYPES

AXES = 32
EXTERNAL = 1  # ONNX's number for data in another file
SHARED = 2  # how often each byte of a file may be read: tensors can share weights
KEYS = ("location", "offset", "length", "checksum", "basepath")

# The fields in which ONNX keeps numbers that are not raw bytes.
FIELDS = {"float32": "float_data", "float64": "double_data", "int64": "int64_data", "uint64": "uint64_data",
          "uint32": "uint64_data"}  # fmt: skip
OTHERS = "int32_data"


class External:
    """Files that hold tensors, in one folder or below it.

    Parameters
    ----------
    folder : Path or None
        None if no file may be read.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._left: dict[str, int] = {}  # bytes that may still be read, by file

    def read(self, tensor: Any, size: int) -> bytes:
        """The `size` bytes of a tensor.

        Raises
        ------
        ValueError
            If there is no folder, the file is outside it, or too short.
        OSError
            If it cannot be read.
        """
        if self._folder is None:
            raise ValueError("its numbers are in another file: pass the path of the model, not its content")
        entries = {text_of(entry.key): text_of(entry.value) for entry in tensor.external_data}
        if "location" not in entries or not entries.keys() <= {*KEYS}:
            raise ValueError(f"external_data must have a location, and no keys but {[*KEYS]}, got {[*entries]!r:.200}")
        offset, length = (
            _bytes(entries.get(name, default), name) for name, default in (("offset", "0"), ("length", ""))
        )
        if length not in (None, size):
            raise ValueError(f"its shape needs {size} bytes, and external_data has length {length}")
        path = _inside(self._folder, entries["location"])
        with open(path, "rb") as file:
            available = os.fstat(file.fileno()).st_size
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or (offset or 0) + size > available:
                raise ValueError(f"external_data needs {size} bytes from {offset} on, and its file has {available}")
            left = self._left.setdefault(path, SHARED * available) - size
            if left < 0:
                raise ValueError(f"its file must be read at most {SHARED} times in all, got tensors that need more")
            self._left[path] = left
            file.seek(offset or 0)
            return file.read(size)


def _bytes(text: str, name: str) -> int | None:
    """A number of bytes, or None for an empty text."""
    if not text:
        return None
    if len(text) > 18 or not (text.isascii() and text.isdigit()):
        raise ValueError(f"external_data: {name} must be a number of bytes, got {text!r:.40}")
    return int(text)


def _inside(folder: Path, location: str) -> str:
    """The path of a file, if it is in the folder after all links are followed."""
    root = os.path.realpath(folder)
    if not location or "\0" in location:
        raise ValueError(f"external_data: location must be a path, got {location!r:.80}")
    path = os.path.realpath(os.path.join(root, location))
    if os.path.isabs(location) or os.path.commonpath([root, path]) != root or path == root:
        raise ValueError(f"external_data: location must be inside the model's folder, got {location!r:.80}")
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"external_data: location must be a regular file, got {location!r:.80}")
    return path


def text_of(value: Any) -> str:
    """A text in a message; protobuf gives bytes if it is no valid text.

    Raises
    ------
    ValueError
        If it is no text.
    """
    if not isinstance(value, str):
        raise ValueError(f"names must be texts in UTF-8, got {value!r:.80}")
    return value


def array_of(tensor: Any, external: External) -> np.ndarray:
    """A tensor as an array.

    Raises
    ------
    ValueError
        If its type is unknown, or its numbers do not fit its shape; the message names it.
    OSError
        If it is in another file, and that cannot be read.
    """
    name = text_of(tensor.name)
    try:
        return _array(tensor, external)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"tensor {name!r:.80}: {error}") from error


def _array(tensor: Any, external: External) -> np.ndarray:
    if tensor.data_type not in TYPES:
        raise ValueError(f"it must be of one of ONNX's types {[*TYPES]}, got {tensor.data_type}")
    if tensor.HasField("segment"):
        raise ValueError("it must not be in segments")
    dtype, shape = TYPES[tensor.data_type], tuple(tensor.dims)
    if len(shape) > AXES or min(shape, default=0) < 0:
        raise ValueError(f"it must have at most {AXES} axes, none of negative length, got {shape[: AXES + 1]}")
    size = math.prod(shape)
    if dtype == "object":
        _check_size(len(tensor.string_data), size, "texts")
        return np.array([text.decode() for text in tensor.string_data], object).reshape(shape)
    if tensor.data_location == EXTERNAL:
        return _of_bytes(external.read(tensor, size * np.dtype(dtype).itemsize), dtype, shape)
    if tensor.HasField("raw_data"):
        _check_size(len(tensor.raw_data), size * np.dtype(dtype).itemsize, "bytes")
        return _of_bytes(tensor.raw_data, dtype, shape)
    numbers = getattr(tensor, FIELDS.get(dtype, OTHERS))
    _check_size(len(numbers), size, "numbers")
    return _of_numbers(numbers, dtype).reshape(shape)


def _check_size(number: int, size: int, what: str) -> None:
    if number != size:
        raise ValueError(f"its shape needs {size} {what}, and it has {number}")


def _of_bytes(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from bytes, with the least significant byte first."""
    if dtype == "bool":
        return (np.frombuffer(data, "uint8") != 0).reshape(shape)
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def _of_numbers(numbers: Any, dtype: str) -> np.ndarray:
    """Numbers from a field; half-precision numbers are in it as their bits."""
    if dtype == "float16":
        return _within(numbers, "uint16").view("float16")
    if dtype == "bool":
        return np.array(numbers, "int64") != 0
    if dtype in ("float32", "float64", "int64", "uint64"):
        return np.array(numbers, dtype)
    return _within(numbers, dtype)


def _within(numbers: Any, dtype: str) -> np.ndarray:
    """Integers in a type, if they are in its range."""
    wide = np.array(numbers, "uint64" if dtype == "uint32" else "int64")
    bounds = np.iinfo(dtype)
    if wide.size and not bounds.min <= int(wide.min()) <= int(wide.max()) <= bounds.max:
        raise ValueError(f"it must hold numbers of {dtype}, got {wide.min()} to {wide.max()}")
    return wide.astype(dtype)
