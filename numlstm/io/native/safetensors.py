"""The format safetensors, read without trust: every size and offset is checked before memory is taken for it."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..paths import check_regular
from .values import fields_of, from_json, to_json

KEY = "numlstm"  # of our text in safetensors' metadata
HEADER_LIMIT = 4 << 20  # bytes of safetensors' header: names, types and shapes of all tensors, and our text
TEXT_LIMIT = 1 << 20  # characters of our text
AXES = 4  # of a tensor; ours have two at most
SIZES = {"BOOL": 1, "I8": 1, "U8": 1, "I16": 2, "U16": 2, "F16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8,
         "F64": 8}  # fmt: skip
LENGTH = 8  # bytes that say how long the header is


# Tensors --------------------------------------------------------------------------------------------------


class Tensors:
    """The tensors of one model in a file. A reader takes each of them once.

    Parameters
    ----------
    arrays : mapping of str to array
        By their names in the model.
    prefix : str
        What their names in the file begin with.
    depth : int
        How many models this one is inside.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str = "", depth: int = 0) -> None:
        self._left, self._prefix, self.depth = dict(arrays), prefix, depth

    def __len__(self) -> int:
        return len(self._left)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def split(self, name: str, count: int) -> list[Tensors]:
        """The tensors of each of `count` models inside: those whose names begin with "name.0.", "name.1." and so on."""
        groups: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
        by_number = {str(k): group for k, group in enumerate(groups)}
        for key in [*self._left]:
            first, *rest = key.split(".", 2)
            if first == name and len(rest) == 2 and rest[0] in by_number:
                by_number[rest[0]][rest[1]] = self._left.pop(key)
        return [Tensors(group, f"{self._prefix}{name}.{k}.", self.depth + 1) for k, group in enumerate(groups)]

    def take(self, name: str) -> np.ndarray:
        """The tensor of that name.

        Raises
        ------
        ValueError
            If there is none.
        """
        if name not in self._left:
            raise ValueError(f"tensor {self._prefix + name!r} is missing")
        return self._left.pop(name)

    def numbers(
        self,
        name: str,
        dtypes: str | Sequence[str],
        shape: tuple[int, ...] | None,
        valid: Callable[[np.ndarray], Any] = np.isfinite,
    ) -> np.ndarray:
        """The tensor of that name, checked; without a `shape` it has one axis.

        Raises
        ------
        ValueError
            If it is missing, of another type or shape, or not `valid` everywhere.
        """
        array, key = self.take(name), self._prefix + name
        dtypes = [dtypes] if isinstance(dtypes, str) else dtypes
        if array.dtype.name not in dtypes or (array.shape != shape if shape is not None else array.ndim != 1):
            axes = f"of shape {shape}" if shape is not None else "with one axis"
            kinds = " or ".join(dtypes)
            raise ValueError(f"tensor {key!r} must be {kinds} {axes}, got {array.dtype} of shape {array.shape}")
        if not np.all(valid(array)):
            raise ValueError(f"tensor {key!r} holds numbers that are NaN, infinite or out of range")
        return array

    def end(self) -> None:
        """Refuse tensors that nobody has taken.

        Raises
        ------
        ValueError
            If there are any.
        """
        for name in sorted(self._left):
            raise ValueError(f"tensor {(self._prefix + name)[:80]!r} is unknown")


# Reading --------------------------------------------------------------------------------------------------


def read(path: str, check: Callable[[Any], None]) -> tuple[Any, dict[str, np.ndarray]]:
    """The fields of our text and the tensors of a file. `check` sees the fields before any tensor is read.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no regular file, or not in this format.
    """
    check_regular(path)
    with open(path, "rb") as file:
        return parsed(file, os.fstat(file.fileno()).st_size, check)


def is_ours(path: str) -> bool:
    """Whether a file is in the format safetensors and has our text.

    Raises
    ------
    OSError, ValueError
        As `check_regular`, or if it cannot be read.
    """
    check_regular(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        header = file.read(length) if length <= HEADER_LIMIT else b""
    try:
        entries = from_json(header.decode("utf-8"), "header")
    except (UnicodeDecodeError, ValueError):
        return False
    metadata = entries.get("__metadata__") if isinstance(entries, dict) else None
    return isinstance(metadata, dict) and KEY in metadata


def parsed(file: BinaryIO, size: int, check: Callable[[Any], None]) -> tuple[Any, dict[str, np.ndarray]]:
    """As `read`, from an open file of `size` bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    start = file.read(LENGTH)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH or length > size - LENGTH:
        raise ValueError("it is no safetensors file, or cut short: its header goes beyond its end")
    if length > HEADER_LIMIT:
        raise ValueError(f"its header must have at most {HEADER_LIMIT} bytes, got {length}")
    header = file.read(length)
    fields = checked_fields(header, size - LENGTH - length)
    check(fields)
    data = file.read(size - LENGTH - length)
    try:
        return fields, load(b"".join([start, header, data]))
    except SafetensorError as error:
        raise ValueError(f"it is no safetensors file: {error}") from error


def checked_fields(header: bytes, room: int) -> Any:
    """The fields of our text, once the rest of safetensors' header has been checked.

    Raises
    ------
    ValueError
        If the header is damaged, or its tensors do not fill exactly `room` bytes.
    """
    try:
        entries = from_json(header.decode("utf-8"), "its header")
    except UnicodeDecodeError:
        raise ValueError("its header must be a text in UTF-8") from None
    if not isinstance(entries, dict):
        raise ValueError("its header must be a JSON object")
    metadata = entries.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise ValueError(f"it was not written by numlstm: the metadata have no text {KEY!r}")
    fields_of(metadata, "metadata", [KEY])
    _check_extents([_extent(entry, name) for name, entry in entries.items()], room)
    text = metadata[KEY]
    if len(text) > TEXT_LIMIT:
        raise ValueError(f"metadata {KEY!r} must have at most {TEXT_LIMIT} characters, got {len(text)}")
    return from_json(text, f"metadata {KEY!r}")


def _extent(entry: Any, name: str) -> tuple[int, int]:
    """Where a tensor begins and ends, if its type and shape need that many bytes."""
    where = f"tensor {name[:80]!r}"
    entry = fields_of(entry, where, ["dtype", "shape", "data_offsets"])
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise ValueError(f"{where} must be of one of the types {list(SIZES)}")
    for field, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"{where}: {field} must be a list of integers of at least 0")
    if len(shape) > AXES or len(offsets) != 2:
        raise ValueError(f"{where} must have at most {AXES} axes, and two data_offsets")
    if offsets[1] - offsets[0] != math.prod(shape) * SIZES[dtype]:
        raise ValueError(f"{where}: shape and data_offsets do not go together")
    return offsets[0], offsets[1]


def _check_extents(extents: list[tuple[int, int]], room: int) -> None:
    end = 0
    for start, stop in sorted(extents):
        if start != end:
            raise ValueError("data_offsets of its tensors overlap or leave gaps")
        end = stop
    if end != room:
        raise ValueError(f"its tensors must have {room} bytes in all, as the file has, got {end}")


# Writing --------------------------------------------------------------------------------------------------


def packed(content: Any, tensors: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a file with these fields and tensors."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}  # it writes their memory as it is
    return save(whole, {KEY: to_json(content)})


def unpacked(data: bytes, check: Callable[[Any], None]) -> tuple[Any, dict[str, np.ndarray]]:
    """As `read`, from memory."""
    return parsed(io.BytesIO(data), len(data), check)
