"""Keras's files, read without trust: the configuration of a model, and its weights. No code in them is run."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import count, takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..native.values import from_json, inside, to_json
from ..paths import check_file
from .legacy import modern

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"  # members of a .keras file
LIMITS = {METADATA: 1 << 16, CONFIG: 1 << 24, WEIGHTS: 1 << 32}  # bytes of each, unpacked
RATIO = 100  # of unpacked to packed bytes; Keras packs nothing
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
STORED_IN = "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"  # types of numbers, without byte order
VARIABLES = "vars"  # group of a layer's own arrays, which are named 0, 1, ...
MODEL, LAYERS, ARRAYS = "model_config", "layer_names", "weight_names"  # attributes in .h5 files
NAMES_LIMIT = 1 << 30  # bytes of a list of texts of any length, all of which may be the same one in the file
MORE = "open it in Keras 3 and save it again"


class ArrayPlaces(NamedTuple):
    """The places of arrays in files that have one list of arrays for each layer of the model: positions in a list."""

    layer: str
    total: int
    positions: Sequence[int]


class KerasFile:
    """A model in a file: its configuration, and its weights, which are read one by one.

    Parameters
    ----------
    path : Path
        Of a ``.keras`` or ``.h5`` file.
    config : str, mapping, path or None
        The configuration, for a file that holds only weights.

    Attributes
    ----------
    config : dict
        The configuration of the model in the form of Keras 3.
    version : {2, 3}
        The version of Keras that wrote it.
    by_layers : bool
        Whether the file has one list of arrays for each layer of the model; then `places` must be set.
    places : mapping of str to ArrayPlaces
        The places of arrays in such a file, by their paths in files of Keras 3.
    """

    def __init__(self, path: Path, config: Any) -> None:
        self._name = path.name
        self.places: dict[str, ArrayPlaces] = {}
        self._names: tuple[str | None, list[str]] = None, []
        check_file(path)
        text: str | None = None
        source: Path | BinaryIO = path
        if path.name.lower().endswith(".keras"):
            self._check_no(config)
            text, source, self._size = _unzipped(path)
        else:
            self._size = path.stat().st_size
        self._room = self._size
        self._h5py: Any = h5py_for(f"{path.name!r} is read by")
        with self._reading():
            self._file = self._h5py.File(source, "r")
        try:
            self.config, self.version, self._layers = self._described(text, config)
        except BaseException:
            self._file.close()
            raise

    def _check_no(self, config: Any) -> None:
        if config is not None:
            raise ValueError(f"config must be None with {self._name!r}, which holds the model's configuration")

    def _described(self, text: str | None, given: Any) -> tuple[dict[str, Any], int, Any]:
        """The model, its version of Keras, and the group of layers with lists of arrays, if there is one."""
        version, layers = "3.", None
        if text is None:
            with self._reading():
                text, version, layers = self._legacy()
        if text is not None:
            self._check_no(given)
            config = from_json(text, f"the configuration in {self._name!r}")
        elif given is not None:
            config = _given_config(given)
        else:
            raise ValueError(
                f"config must be given with {self._name!r}, which holds only weights: pass the text that "
                "model.to_json() gives, or save the model as a .keras file"
            )
        if not isinstance(config, dict):
            raise ValueError(f"the configuration of {self._name!r} must be a JSON object, got {type(config).__name__}")
        version = config.get("keras_version", version)
        if not isinstance(version, str) or version[:2] not in ("2.", "3."):
            raise ValueError(f"{self._name!r} must be written by Keras 2 or 3, got version {version!r:.40}; {MORE}")
        number = int(version[0])
        return config if "module" in config else modern(config, number), number, layers

    def _legacy(self) -> tuple[str | None, str, Any]:
        """The parts of a ``.h5`` file other than arrays: a model, its version, and the group of layers with lists."""
        attributes = self._file.attrs
        if MODEL not in attributes:
            return None, "3.", self._file if LAYERS in attributes or f"{LAYERS}0" in attributes else None
        layers = self._group("model_weights")
        if layers is None:
            raise _Refused("there must be a group 'model_weights' in it")
        return self._text(self._file, MODEL), self._text(self._file, "keras_version"), layers

    def __enter__(self) -> KerasFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._reading():
            self._file.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Errors of the HDF5 library in here become a `ValueError`."""
        try:
            yield
        except _Refused as error:
            raise ValueError(f"{self._name!r}: {error}") from None
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # of many kinds
            reason = " ".join(str(error.args[0] if error.args else "").split()) or type(error).__name__
            raise ValueError(f"{self._name!r} must hold weights in an HDF5 file: {reason:.200}") from error

    @property
    def by_layers(self) -> bool:
        """Whether the file has one list of arrays for each layer of the model."""
        return self._layers is not None

    def arrays(self, path: str) -> list[Any]:
        """The arrays of a layer as HDF5's datasets, which have shapes; their numbers are not read yet."""
        with self._reading():
            return self._listed(self.places.get(path)) if self.by_layers else self._numbered(path)

    def _numbered(self, path: str) -> list[Any]:
        """The datasets in a group, which are named 0, 1, ..."""
        group = self._group(f"{path}/{VARIABLES}" if path else VARIABLES)
        if group is None:
            return []
        names = [*group]
        expected = [str(k) for k in range(len(names))]
        if {*names} != {*expected}:
            raise _Refused(f"group {path!r:.200} must have arrays 0 to {len(names) - 1}, got other names")
        return [self._member(group, name) for name in expected]

    def _listed(self, place: ArrayPlaces | None) -> list[Any]:
        """The datasets at positions in a layer's list of names."""
        if place is None:
            return []
        layer = self._group(place.layer, self._layers)
        if layer is None:
            raise _Refused(f"there must be weights of layer {place.layer!r:.80} in it: check that configuration and "
                           "weights belong together")  # fmt: skip
        if self._names[0] != place.layer:  # the list is read once for all layers in a layer
            self._names = place.layer, self._texts(layer, ARRAYS, place.total)
        names = self._names[1]
        datasets = [self._group(names[k], layer, self._h5py.Dataset) for k in place.positions]
        if None in datasets:
            raise _Refused(f"there must be all arrays in {ARRAYS} of layer {place.layer!r:.80} in it")
        return datasets

    # Texts --------------------------------------------------------------------------------------------------

    def _text(self, group: Any, name: str) -> str:
        """A text that is an attribute."""
        if name not in group.attrs:
            raise _Refused(f"there must be an attribute {name!r} in it")
        (text,) = self._attribute(group, name, 1)
        if len(text) > LIMITS[CONFIG]:
            raise _Refused(f"attribute {name!r} must have at most {LIMITS[CONFIG]} characters, got {len(text)}")
        return text

    def _texts(self, group: Any, name: str, total: int) -> list[str]:
        """`total` texts: in an attribute, or in several attributes if they are too long for one."""
        attributes = group.attrs
        parts = (f"{name}{k}" for k in count())
        keys = [name] if name in attributes else [*takewhile(attributes.__contains__, parts)]
        counts = [math.prod(attributes.get_id(key).shape or ()) for key in keys]
        if sum(counts) != total:
            raise _Refused(
                f"there must be {total} arrays in the file in {group.name!r:.200}, got {sum(counts)} in {name!r}: "
                "check that configuration and weights belong together"
            )
        return [text for key, number in zip(keys, counts, strict=True) for text in self._attribute(group, key, number)]

    def _attribute(self, group: Any, name: str, total: int) -> list[str]:
        """The texts of an attribute, if their size is sane.

        The HDF5 library allocates as much as a text of variable length claims to need, up to 4 GiB, before it finds
        that the file is shorter.
        """
        what = group.attrs.get_id(name)
        kind = self._h5py.check_string_dtype(what.dtype)
        if what.shape is None or math.prod(what.shape) != total or (kind is None and total):
            raise _Refused(f"attribute {name!r} must have {total} texts, got {what.dtype} of shape {what.shape}")
        fixed = kind is None or kind.length is not None
        if total * (what.dtype.itemsize if fixed else self._size) > max(NAMES_LIMIT, 8 * self._size):
            raise _Refused(f"attribute {name!r} must be of a sane size, got {total} texts; {MORE} as a .keras file")
        values = np.ravel(group.attrs[name]).tolist()
        return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]

    # Arrays -------------------------------------------------------------------------------------------------

    def read(self, dataset: Any, label: str) -> np.ndarray:
        """The numbers of a dataset, in memory."""
        with self._reading():
            dtype = self._checked(dataset, label)
            array = np.empty(dataset.shape, dtype)
            dataset.read_direct(array) if array.size else None
            return array

    def _checked(self, dataset: Any, label: str) -> np.dtype:
        """The type of a dataset, if it is safe to read."""
        if not isinstance(dataset, self._h5py.Dataset):
            raise _Refused(f"{label} must be an array, got a group")
        if dataset.dtype.str[1:] not in STORED_IN:
            raise _Refused(f"{label} must hold numbers, got {dataset.dtype!s:.80}")
        if dataset.shape is None or dataset.is_virtual or dataset.external:
            raise _Refused(f"{label} must be an array in this file, got one that is in another file, or empty")
        if dataset.chunks is not None or dataset.id.get_create_plist().get_nfilters():
            raise _Refused(f"{label} must be stored in one piece and not packed, as Keras does; {MORE}")
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        if size > self._room:
            raise _Refused(f"{label} must fit in the file, got shape {dataset.shape}")
        self._room -= size  # an array that is there many times would fill the memory
        return dataset.dtype.newbyteorder("=")

    def _group(self, path: str, group: Any = None, kind: Any = None) -> Any:
        """The group at a path, or an object of another kind; None if there is nothing."""
        group = self._file if group is None else group
        parts = path.split("/")
        for number, part in enumerate(parts, 1):
            if part not in group:
                return None
            group = self._member(group, part)
            expected = kind if kind and number == len(parts) else self._h5py.Group
            if not isinstance(group, expected):
                raise _Refused(f"{path!r:.200} must be {'an array' if expected is kind else 'a group'}")
        return group

    def _member(self, group: Any, name: str) -> Any:
        """The member of a group with a name; a link to another place is refused."""
        if group.get(name, getclass=True, getlink=True) is not self._h5py.HardLink:
            raise _Refused(f"{name!r:.80} must be in its group, got a link to another place")
        return group[name]


class _Refused(Exception):
    """The reason why a file is refused."""


def h5py_for(purpose: str) -> Any:
    """The package h5py.

    Raises
    ------
    ImportError
        If it is not installed; the message begins with `purpose`.
    """
    try:
        return import_module("h5py")
    except ImportError as error:
        raise ImportError(f'{purpose} h5py: pip install "numlstm[keras]"') from error


# Configurations -----------------------------------------------------------------------------------------------


def _given_config(config: Any) -> Any:
    """The configuration in a dictionary, a JSON text, or a JSON file."""
    if isinstance(config, Mapping):
        with inside("config"):
            config = to_json(dict(config))  # refuses all but JSON's types
    if isinstance(config, os.PathLike) or (isinstance(config, str) and not config.lstrip().startswith("{")):
        config = _text_of(Path(config))
    if not isinstance(config, str):
        raise TypeError(f"config must be a JSON text, a mapping or a path, got {type(config).__name__}")
    return from_json(config, "config")


def _text_of(path: Path) -> str:
    """The text of a JSON file."""
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
    """The configuration in a ``.keras`` file, and the file of weights in it, with its size."""
    parts = _members(path)
    _check_version(_decoded(parts[METADATA], METADATA), path.name)
    return _decoded(parts[CONFIG], CONFIG), io.BytesIO(parts[WEIGHTS]), len(parts[WEIGHTS])


def _members(path: Path) -> dict[str, bytes]:
    """The members of an archive that are needed; zipfile compares their checksums."""
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
    """An entry of an archive, if its size is sane."""
    entries = [entry for entry in archive.infolist() if entry.filename == name]
    if len(entries) != 1:
        raise _Refused(f"there must be one {name!r} in it, got {len(entries)}")
    (entry,) = entries
    if entry.file_size > LIMITS[name]:
        raise _Refused(f"{name!r} must have at most {LIMITS[name]} bytes, got {entry.file_size}")
    if entry.file_size > RATIO * max(entry.compress_size, 1):
        raise _Refused(f"{name!r} must not be packed by more than {RATIO}, got {entry.compress_size} bytes for "
                       f"{entry.file_size}")  # fmt: skip
    if entry.flag_bits & 1 or entry.compress_type not in METHODS:
        raise _Refused(f"{name!r} must be stored plainly or deflated, got another method or a password")
    return entry


def _check_version(text: str, name: str) -> None:
    """Refuse files of other versions of Keras."""
    metadata = from_json(text, f"{METADATA} in {name!r}")
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version.startswith("3."):
        raise ValueError(f"{name!r} must be written by Keras 3, got version {version!r:.40}; {MORE}")
