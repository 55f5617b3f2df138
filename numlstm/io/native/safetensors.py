"""Files in the format safetensors: written whole or not at all, and read without trust."""

from __future__ import annotations

import errno
import io
import math
import os
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .values import fields_of, from_json, inside, to_json

KEY = "numlstm"  # of our text in safetensors' metadata
HEADER_LIMIT = 4 << 20  # bytes of safetensors' header: names, types and shapes of all tensors, and our text
TEXT_LIMIT = 1 << 20  # characters of our text
AXES = 4  # of a tensor; ours have two at most
SIZES = {"BOOL": 1, "I8": 1, "U8": 1, "I16": 2, "U16": 2, "F16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8,
         "F64": 8}  # fmt: skip
LENGTH = 8  # bytes that say how long the header is


# Tensors --------------------------------------------------------------------------------------------------


class Tensors:
    """Those of a model in a file, each to be taken once.

    Parameters
    ----------
    arrays : mapping of str to array
        By their names in the model.
    where : str
        What their names in the file begin with.
    depth : int
        Models that this one is inside.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], where: str = "", depth: int = 0) -> None:
        self._left, self._where, self.depth = dict(arrays), where, depth

    def __len__(self) -> int:
        return len(self._left)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def apart(self, name: str, count: int) -> list[Tensors]:
        """Those of each of `count` models inside: what begins with "name.0.", "name.1." and so on."""
        found: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
        places = {str(k): arrays for k, arrays in enumerate(found)}
        for each in [*self._left]:
            first, *rest = each.split(".", 2)
            if first == name and len(rest) == 2 and rest[0] in places:
                places[rest[0]][rest[1]] = self._left.pop(each)
        return [Tensors(arrays, f"{self._where}{name}.{k}.", self.depth + 1) for k, arrays in enumerate(found)]

    def take(self, name: str) -> np.ndarray:
        """The tensor of that name.

        Raises
        ------
        ValueError
            If there is none.
        """
        if name not in self._left:
            raise ValueError(f"tensor {self._where + name!r} is missing")
        return self._left.pop(name)

    def numbers(
        self,
        name: str,
        dtypes: str | Sequence[str],
        shape: tuple[int, ...] | None,
        good: Callable[[np.ndarray], Any] = np.isfinite,
    ) -> np.ndarray:
        """The tensor of that name, with what it must be; without a `shape`, of one axis.

        Raises
        ------
        ValueError
            If it is missing, of another type or shape, or not `good` everywhere.
        """
        array, full = self.take(name), self._where + name
        dtypes = [dtypes] if isinstance(dtypes, str) else dtypes
        if array.dtype.name not in dtypes or (array.shape != shape if shape is not None else array.ndim != 1):
            wanted = f"of shape {shape}" if shape is not None else "with one axis"
            kinds = " or ".join(dtypes)
            raise ValueError(f"tensor {full!r} must be {kinds} {wanted}, got {array.dtype} of shape {array.shape}")
        if not np.all(good(array)):
            raise ValueError(f"tensor {full!r} holds numbers that are NaN, infinite or out of range")
        return array

    def end(self) -> None:
        """Nothing may be left.

        Raises
        ------
        ValueError
            If there is.
        """
        for name in sorted(self._left):
            raise ValueError(f"tensor {(self._where + name)[:80]!r} is unknown")


# Reading --------------------------------------------------------------------------------------------------


def read(path: str, check: Callable[[Any], None]) -> tuple[Any, dict[str, np.ndarray]]:
    """Our text's fields, and all tensors of a file. `check` sees the fields before anything else is read.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no regular file, or none in this format.
    """
    check_regular(path)
    with open(path, "rb") as file:
        return parsed(file, os.fstat(file.fileno()).st_size, check)


def check_regular(path: str) -> None:
    """Refuse what is no regular file, before it is opened: a pipe would wait for a writer.

    Raises
    ------
    OSError
        If there is nothing, or a folder.
    ValueError
        If it is something else.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise ValueError("it is no regular file")


def check_file(path: Path) -> None:
    """As `check_regular`; the message names the file."""
    with inside(repr(str(path))):
        check_regular(os.fspath(path))


def is_ours(path: str) -> bool:
    """Whether a file of safetensors has our text; what is none of that format has not.

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
    """As `read`, from what is open, and `size` bytes long."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    start = file.read(LENGTH)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH or length > size - LENGTH:
        raise ValueError("it is no safetensors file, or cut short: its header goes beyond its end")
    if length > HEADER_LIMIT:
        raise ValueError(f"its header must have at most {HEADER_LIMIT} bytes, got {length}")
    text = file.read(length)
    found = fields(text, size - LENGTH - length)
    check(found)
    rest = file.read(size - LENGTH - length)
    try:
        return found, load(b"".join([start, text, rest]))
    except SafetensorError as error:
        raise ValueError(f"it is no safetensors file: {error}") from error


def fields(header: bytes, room: int) -> Any:
    """Our text's fields in safetensors' header, once all else in it has been looked at.

    Raises
    ------
    ValueError
        If the header is not what it must be, or its tensors do not just fill `room` bytes.
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
    """Where a tensor begins and ends, if that goes with its type and shape."""
    where = f"tensor {name[:80]!r}"
    entry = fields_of(entry, where, ["dtype", "shape", "data_offsets"])
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise ValueError(f"{where} must be of one of the types {list(SIZES)}")
    for part, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(each) is int and each >= 0 for each in numbers):
            raise ValueError(f"{where}: {part} must be a list of integers of at least 0")
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
    """What a file is to hold."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}  # it writes their memory as it is
    return save(whole, {KEY: to_json(content)})


def unpacked(data: bytes, check: Callable[[Any], None]) -> tuple[Any, dict[str, np.ndarray]]:
    """As `read`, from memory."""
    return parsed(io.BytesIO(data), len(data), check)


def write(path: str, data: bytes) -> None:
    """Replace a file, or make one: all of it, or nothing.

    Raises
    ------
    OSError
        If that cannot be done; nothing has changed then.
    ValueError
        If there is something that is no regular file.
    """
    if not os.path.basename(path):  # open() says the same of it
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    path = os.path.realpath(path)  # what a link points to is replaced, not the link
    folder = os.path.dirname(path)
    mode = _mode(path)
    temporary = os.path.join(folder, f".numlstm-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:  # of the folder, or what is to be in it
        raise OSError(error.errno, error.strerror, path) from None
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _mode(path: str) -> int | None:
    """Permissions of the file that is there."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: it is no regular file")
    return stat.S_IMODE(mode)


def _sync_folder(folder: str) -> None:
    """Have the new name outlast a loss of power, where the system can."""
    with suppress(OSError):  # the file is whole in any case; Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
