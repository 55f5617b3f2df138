"""Numlstm's own files: what is in them, whatever the model.

A file is in the format safetensors. Its metadata have one key, "numlstm", with a JSON text of these fields:

- ``format``: "numlstm"; ``format_version``: 1; ``numlstm_version``: of the package that wrote it;
- ``class``: one of `CLASSES`;
- ``model``: what `.recurrent` says of a layer, `.models` of an estimator, `.scaling` of a scaler, `.graphs` of a graph.

Parameters are tensors of their own names. Other arrays are named as the attributes that hold them, but for
``optimizer.0.weight_ih_l0`` and the like: what an optimizer remembers of each parameter.

Later versions of the package read what this one writes: a constructor's parameter that a file lacks is at its default.
What earlier ones could not read makes a new ``format_version``.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from . import files
from .values import fields_of, inside

FORMAT, FORMAT_VERSION = "numlstm", 1
LONGEST = 1000  # characters of a message: it can quote what a file says
FIELDS = ("format", "format_version", "numlstm_version", "class", "model")

READERS = {".onnx": "from_onnx", ".keras": "from_keras", ".h5": "from_keras", ".pt": "from_torch", ".pth": "from_torch"}

# For each class that a file can name: where it is, and what makes fields and tensors of its instances and back. All
# that is ever imported for a file is here.
CLASSES = {
    "LSTM": ("numlstm.layers", ".recurrent"),
    "GRU": ("numlstm.layers", ".recurrent"),
    "RNN": ("numlstm.layers", ".recurrent"),
    "LSTMClassifier": ("numlstm.estimators", ".models"),
    "LSTMRegressor": ("numlstm.estimators", ".models"),
    "SequenceScaler": ("numlstm.estimators.scaler", ".scaling"),
    "Graph": ("numlstm.io.graph", ".graphs"),
}


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file; see `numlstm.io.saving.Savable.save`."""
    name = os.fsdecode(os.fspath(path))
    kind = type(model).__name__
    if kind not in CLASSES or type(model) is not _class(kind):
        raise TypeError(f"a model to save must be one of {list(CLASSES)}, not of a subclass, got {kind}")
    data = _packed(model, kind)
    # Nothing is written that would be refused later, or be read as another model.
    try:
        read = _made(*files.unpacked(data, check))
        same = _packed(read, kind) == data
    except ValueError as error:
        raise ValueError(f"{kind} cannot be saved: {error}") from error
    if not same:
        raise ValueError(f"{kind} cannot be saved: what would be read from the file is another model")
    for lost in sorted(vars(model).keys() - vars(read).keys()):
        warnings.warn(f"attribute {lost!r} of {kind} is not saved: files have no place for it", stacklevel=3)
    files.write(name, data)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model that was saved.

    Parameters
    ----------
    path : str or path-like
        A file that `save` of a layer, an estimator, a scaler or a graph wrote.

    Returns
    -------
    LSTM, GRU, RNN, LSTMClassifier, LSTMRegressor, SequenceScaler or Graph
        As it was saved: with the same parameters and predictions, to the bit where the same backend computes them.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no file of a model, damaged, or of a later version of the format; the message names the file and the
        field.

    Notes
    -----
    A file may come from anywhere: nothing in it is run, every field is checked, and reading takes no more memory than a
    few times the size of the file. What a file says is another matter: a model's predictions are whatever its author
    made them.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import numlstm
    >>> X = np.random.default_rng(0).normal(size=(20, 5, 2))
    >>> model = numlstm.LSTMClassifier(hidden_size=4, max_iter=2, random_state=0).fit(X, X[:, -1, 0] > 0)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> model.save(path)
    >>> loaded = numlstm.load(path)
    >>> bool((loaded.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    return opened(path)[1]


def opened(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Any, dict[str, np.ndarray]]:
    """What a file says of itself, the model in it, and its tensors."""
    name = os.fsdecode(os.fspath(path))
    try:
        header, tensors = files.read(name, check)
        return header, _made(header, tensors), tensors
    except ValueError as error:
        raise ValueError(f"{name}: {str(error)[:LONGEST]}{_hint(name)}") from error


def _hint(name: str) -> str:
    """What reads a file of another format, if its name says that it is one."""
    reader = next((reader for ending, reader in READERS.items() if name.lower().endswith(ending)), None)
    if reader is None and name.lower().endswith(".safetensors") and os.path.isfile(name) and not files.is_ours(name):
        reader = "from_torch"  # if anything does
    return f"; numlstm.io.{reader} reads such files of others" if reader else ""


def check(header: Any) -> None:
    """Refuse a file of another format or version, or of a class that there is not."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}")
    version, writer = header.get("format_version"), header.get("numlstm_version")
    if not isinstance(writer, str) or not re.fullmatch(r"[0-9A-Za-z.+!_-]{1,64}", writer):
        raise ValueError("numlstm_version must be the number of a version")
    if type(version) is not int or version < 1:
        raise ValueError(f"format_version must be an integer of at least 1, got {version!r:.80}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"format_version must be at most {FORMAT_VERSION}, got {version}: numlstm {writer} wrote it, and this is "
            "an earlier one"
        )
    fields_of(header, "header", FIELDS)
    if not isinstance(header["class"], str) or header["class"] not in CLASSES:
        raise ValueError(f"class must be one of {list(CLASSES)}, got {header['class']!r:.80}")


def _class(kind: str) -> type:
    return getattr(import_module(CLASSES[kind][0]), kind)


def _version() -> str:
    return import_module(__name__.partition(".")[0]).__version__


def _handler(kind: str) -> Any:
    return import_module(CLASSES[kind][1], __package__)


def _packed(model: Any, kind: str) -> bytes:
    content, tensors = _handler(kind).described(model)
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "numlstm_version": _version(), "class": kind}
    return files.packed(header | {"model": content}, tensors)


def _made(header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """The model of a file."""
    kind, tensors = header["class"], files.Tensors(arrays)
    with inside("model"), np.errstate(over="ignore"):  # NumPy's float32 are compared with bounds beyond their range
        model = _handler(kind).made(_class(kind), header["model"], tensors)
    tensors.end()
    return model
