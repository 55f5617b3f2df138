"""State dicts from mappings and files; the first bytes of a file tell its format."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..foreign import wrong_dtype
from ..native.values import from_json
from ..paths import check_file

STORED = {"F32": ("<f4", "float32"), "F64": ("<f8", "float64"), "F16": ("<f2", "float16"), "BF16": ("<u2", "bfloat16")}
START = 9  # bytes: safetensors' length of the header and the brace that the header begins with
PICKLED = (b"PK\x03\x04", b"\x80")  # the start of files of torch.save: zip archives, and bare pickles before 1.6
DEPTH, MOST = 32, 1 << 20  # of nested mappings, and of all entries: a file may claim more than it holds
UNKNOWN_CLASS = re.compile(r"(?:GLOBAL|class) ([\w.]*\w)")  # in PyTorch's refusal

StateDict = Mapping[str, Any]


def state_dict_of(source: Any) -> StateDict:
    """A state dict from a mapping or a file; names have a dot for each mapping inside another.

    Raises
    ------
    TypeError
        If it is neither, or has keys that are no strings.
    ValueError, OSError, ImportError
        If a file is of no known format, cannot be read, or needs PyTorch, which is not installed.
    """
    whole = _read(Path(source)) if isinstance(source, str | os.PathLike) else source
    if not isinstance(whole, Mapping):
        hint = "; its state_dict() is one" if hasattr(whole, "state_dict") else ""
        raise TypeError(
            f"state_dict must be a mapping of names to tensors, or a path, got {type(whole).__name__}{hint}"
        )
    if strange := [key for key in whole if not isinstance(key, str)]:
        raise TypeError(f"state_dict must have strings as keys, got {strange[0]!r}")
    return whole if isinstance(whole, _Safetensors) else _flat(whole)


def _flat(mapping: StateDict) -> StateDict:
    """A mapping without nested mappings, which checkpoints have: their names are joined by dots."""
    values: dict[str, Any] = {}
    waiting: list[tuple[str, Mapping[Any, Any], int]] = [("", mapping, 1)]
    entries = 0
    while waiting:
        before, inner, depth = waiting.pop()
        entries += 1 + len(inner)
        if depth > DEPTH or entries > MOST:
            raise ValueError(f"state_dict must have at most {MOST} entries, in mappings at most {DEPTH} deep")
        for key, value in inner.items():
            name = f"{before}{key}"
            if isinstance(value, Mapping):
                waiting.append((f"{name}.", value, depth + 1))
            elif name in values:
                raise ValueError(f"state_dict must hold each name once, but {name!r} is there twice")
            else:
                values[name] = value
    return values


def _read(path: Path) -> Any:
    """The state dict in a file."""
    check_file(path)
    with path.open("rb") as file:
        start = file.read(START)
    if start.startswith(PICKLED):
        return _unpickled(path)
    if start.endswith(b"{") and len(start) == START:
        return _Safetensors(path)
    raise ValueError(
        f"{path.name!r} must be a file of safetensors or of torch.save, got a file that begins with {start!r}"
    )


def _unpickled(path: Path) -> Any:
    """The content of a file of torch.save, read by PyTorch; no code in it is run."""
    try:
        torch: Any = import_module("torch")
    except ImportError as error:
        message = f"{path.name!r} is read by PyTorch: install torch, or save the state dict as .safetensors"
        raise ImportError(message) from error
    try:
        with path.open("rb") as file:  # for a path, PyTorch would look at the suffix
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of many kinds: of pickle, of zip files, of PyTorch
        raise ValueError(_refusal(path.name, str(error) or type(error).__name__)) from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path.name!r} must hold a mapping of names to tensors, got {type(loaded).__name__}")
    return loaded


def _refusal(name: str, reason: str) -> str:
    """A message for a file that PyTorch refuses. PyTorch's own advice is risky, and left out."""
    if match := UNKNOWN_CLASS.search(reason):
        return (
            f"{name!r} must hold only tensors and plain values, but has an object of the class {match[1]}, which "
            "cannot be read without running code: load the file where that class is known, then write only the state "
            "dict with torch.save(model.state_dict(), path)"
        )
    if "TorchScript" in reason:
        return (
            f"{name!r} must hold a state dict, but is a program of TorchScript's: write its state dict with "
            "torch.save(torch.jit.load(path).state_dict(), other_path)"
        )
    first = re.split(r"[\n.](?:\s|$)", reason)[0]
    return (
        f"{name!r} must hold a state dict, as torch.save(module.state_dict(), path) writes it, but PyTorch reads none: "
        f"{first}"
    )


class _Safetensors(Mapping[str, np.ndarray]):
    """The tensors of a file, which are read one by one."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            # This checks types, shapes and offsets against the size of the file.
            with safe_open(os.fspath(path), framework="numpy"):
                self._path = path
        except SafetensorError as error:
            raise ValueError(f"{path.name!r} must be a file of safetensors: {error}") from None
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self._entries: dict[str, Any] = from_json(file.read(length).decode(), f"header of {path.name!r}")
        self._start = 8 + length
        if "numlstm" in (self._entries.pop("__metadata__", None) or {}):
            raise ValueError(
                f"{path.name!r} was written by numlstm, and holds more than weights: numlstm.load reads it"
            )

    def __getitem__(self, key: str) -> np.ndarray:
        """An array. safetensors cannot give bfloat16 to NumPy; its bits are the upper half of a float32."""
        entry = self._entries[key]
        if entry["dtype"] not in STORED:
            raise wrong_dtype(repr(key), entry["dtype"])
        raw, name = STORED[entry["dtype"]]
        first, last = entry["data_offsets"]
        count = (last - first) // np.dtype(raw).itemsize
        array = np.fromfile(self._path, raw, count, offset=self._start + first).reshape(entry["shape"])
        return (array.astype("uint32") << 16).view("float32") if name == "bfloat16" else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
