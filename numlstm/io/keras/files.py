"""Keras's files, read without trust: what they say of a model, and its weights. No code in them is run."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from ..files import check_file
from ..values import from_json, inside, to_json

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"  # members of a .keras file
LIMITS = {METADATA: 1 << 16, CONFIG: 1 << 24, WEIGHTS: 1 << 32}  # bytes of each, unpacked
RATIO = 100  # of unpacked to packed bytes; Keras packs nothing
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
STORED_IN = "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"  # types of numbers, without byte order
VARIABLES = "vars"  # group of a layer's own arrays, which are named 0, 1, ...
MORE = "open it in Keras 3 and save it again"


class KerasFile:
    """A model in a file: what it is, and its weights, each read when it is asked for.

    Parameters
    ----------
    path : Path
        Of a ``.keras`` or ``.weights.h5`` file.
    config : str, mapping, path or None
        What a ``.weights.h5`` file does not hold.

    Attributes
    ----------
    config : dict
        The model, as Keras describes it.
    """

    def __init__(self, path: Path, config: Any) -> None:
        self._name = path.name
        source: Path | BinaryIO
        check_file(path)
        if path.name.lower().endswith(".keras"):
            if config is not None:
                raise ValueError(f"config must be None with {path.name!r}, which holds the model's configuration")
            text, source, self._room = _unzipped(path)
            config = from_json(text, f"{CONFIG} in {path.name!r}")
        elif config is None:
            raise ValueError(
                f"config must be given with {path.name!r}, which has weights only: kinds of layers, their order and "
                "activations are not in it. model.to_json() gives it; or save the model as a .keras file"
            )
        else:
            source, self._room = path, path.stat().st_size
            config = _given_config(config)
        if not isinstance(config, dict):
            raise ValueError(f"the configuration of {path.name!r} must be a JSON object, got {type(config).__name__}")
        self.config: dict[str, Any] = config
        self._h5py: Any = h5py_for(f"{path.name!r} is read by")
        with self._reading():
            self._file = self._h5py.File(source, "r")

    def __enter__(self) -> KerasFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._reading():
            self._file.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Whatever the HDF5 library raises is a `ValueError`."""
        try:
            yield
        except _Refused as error:
            raise ValueError(f"{self._name!r}: {error}") from None
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # of many kinds
            reason = " ".join(str(error.args[0] if error.args else "").split()) or type(error).__name__
            raise ValueError(f"{self._name!r} must hold weights in an HDF5 file: {reason:.200}") from error

    def arrays(self, path: str) -> list[Any]:
        """The arrays of a layer, as HDF5's datasets: they tell their shapes, and nothing has been read."""
        with self._reading():
            group = self._group(f"{path}/{VARIABLES}" if path else VARIABLES)
            if group is None:
                return []
            names = [*group]
            expected = [str(k) for k in range(len(names))]
            if {*names} != {*expected}:
                raise _Refused(f"group {path!r:.200} must have arrays 0 to {len(names) - 1}, got other names")
            return [self._member(group, name) for name in expected]

    def read(self, dataset: Any, label: str) -> np.ndarray:
        """The numbers of a dataset, in memory."""
        with self._reading():
            dtype = self._checked(dataset, label)
            array = np.empty(dataset.shape, dtype)
            dataset.read_direct(array) if array.size else None
            return array

    def _checked(self, dataset: Any, label: str) -> np.dtype:
        """The type of a dataset that can be read without harm."""
        if not isinstance(dataset, self._h5py.Dataset):
            raise _Refused(f"{label} must be an array, got a group")
        if dataset.dtype.str[1:] not in STORED_IN:
            raise _Refused(f"{label} must hold numbers, got {dataset.dtype!s:.80}")
        if dataset.shape is None or dataset.is_virtual or dataset.external:
            raise _Refused(f"{label} must be an array in this file, got one that is elsewhere, or empty")
        if dataset.chunks is not None or dataset.id.get_create_plist().get_nfilters():
            raise _Refused(f"{label} must be stored in one piece and not packed, as Keras does; {MORE}")
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        if size > self._room:
            raise _Refused(f"{label} must fit in the file, got shape {dataset.shape}")
        self._room -= size  # an array that is there many times would fill the memory
        return dataset.dtype.newbyteorder("=")

    def _group(self, path: str) -> Any:
        """A group, or None if there is none."""
        group = self._file
        for part in path.split("/"):
            if part not in group:
                return None
            group = self._member(group, part)
            if not isinstance(group, self._h5py.Group):
                raise _Refused(f"{path!r:.200} must be a group")
        return group

    def _member(self, group: Any, name: str) -> Any:
        """What is in a group under a name, if it is truly there."""
        if group.get(name, getclass=True, getlink=True) is not self._h5py.HardLink:
            raise _Refused(f"{name!r:.80} must be in its group, got a link to elsewhere")
        return group[name]


class _Refused(Exception):
    """Something in a file is not read."""


def h5py_for(purpose: str) -> Any:
    """The package.

    Raises
    ------
    ImportError
        If it is not installed; `purpose` is what its message begins with.
    """
    try:
        return import_module("h5py")
    except ImportError as error:
        raise ImportError(f'{purpose} h5py: pip install "numlstm[keras]"') from error


# Configurations -----------------------------------------------------------------------------------------------


def _given_config(config: Any) -> Any:
    """A configuration as a dictionary, a JSON text, or a path of one."""
    if isinstance(config, Mapping):
        with inside("config"):
            config = to_json(dict(config))  # so that there are JSON's types only
    if isinstance(config, os.PathLike) or (isinstance(config, str) and not config.lstrip().startswith("{")):
        config = _text_of(Path(config))
    if not isinstance(config, str):
        raise TypeError(f"config must be a JSON text, a mapping or a path, got {type(config).__name__}")
    return from_json(config, "config")


def _text_of(path: Path) -> str:
    """What a JSON file says."""
    if path.suffix.lower() != ".json":
        raise ValueError(f"config must be a JSON text, or the path of a .json file, got {str(path)!r:.80}")
    check_file(path)
    if path.stat().st_size > LIMITS[CONFIG]:
        raise ValueError(f"{path.name!r} must have at most {LIMITS[CONFIG]} bytes, got {path.stat().st_size}")
    return _decoded(path.read_bytes(), path.name)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{name!r} must be a text in UTF-8") from None


# Archives -----------------------------------------------------------------------------------------------------


def _unzipped(path: Path) -> tuple[str, BinaryIO, int]:
    """The configuration in a ``.keras`` file, and the file of weights in it with its size."""
    parts = _members(path)
    _check_version(_decoded(parts[METADATA], METADATA), path.name)
    return _decoded(parts[CONFIG], CONFIG), io.BytesIO(parts[WEIGHTS]), len(parts[WEIGHTS])


def _members(path: Path) -> dict[str, bytes]:
    """The parts of an archive that are needed, each with the checksum that it has there."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(_member(archive, name)) for name in LIMITS}
    except _Refused as error:
        raise ValueError(f"{path.name!r}: {error}") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of many kinds: of zip files, of what unpacks them
        raise ValueError(f"{path.name!r} must be a .keras file, a zip archive: {error!s:.200}") from error


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """An entry of an archive, once its size is known to be sane."""
    found = [entry for entry in archive.infolist() if entry.filename == name]
    if len(found) != 1:
        raise _Refused(f"there must be one {name!r} in it, got {len(found)}")
    (entry,) = found
    if entry.file_size > LIMITS[name]:
        raise _Refused(f"{name!r} must have at most {LIMITS[name]} bytes, got {entry.file_size}")
    if entry.file_size > RATIO * max(entry.compress_size, 1):
        raise _Refused(f"{name!r} must not be packed by more than {RATIO}, got {entry.compress_size} bytes for "
                       f"{entry.file_size}")  # fmt: skip
    if entry.flag_bits & 1 or entry.compress_type not in METHODS:
        raise _Refused(f"{name!r} must be stored plainly or deflated, got another method or a password")
    return entry


def _check_version(text: str, name: str) -> None:
    """Refuse files that other versions wrote."""
    metadata = from_json(text, f"{METADATA} in {name!r}")
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version.startswith("3."):
        raise ValueError(f"{name!r} must be written by Keras 3, got version {version!r:.40}; {MORE}")
