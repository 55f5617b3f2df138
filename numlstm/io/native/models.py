"""Files in numlstm's own format: what is in them, and `save` and `load`.

A file is in the format safetensors. Its metadata have one key, "numlstm", with a JSON text of these fields:

- ``format``: "numlstm"; ``format_version``: 1; ``numlstm_version``: of the package that wrote it;
- ``class``: one of `CLASSES`, or a class of layers that the program has registered;
- ``model``: the fields that `to_fields` makes and `from_fields` reads, in the module that `CLASSES` names.

Parameters are tensors under their own names. Other arrays are tensors under the names of their attributes, except
``optimizer.0.weight_ih_l0`` and the like: what an optimizer keeps for each parameter. The names of tensors of a
Pipeline's steps begin with ``steps.0.`` and so on.

An estimator has the field ``static`` only if it was fitted with static features, and ``channels`` only if it was fitted
with `scale_inputs`.

Later versions of the package read the files of this one: if a file lacks a parameter of a constructor, that parameter
is at its default. Earlier versions refuse a ``class`` that they do not know. A change that they would misread makes a
new ``format_version``.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Container, Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from ...layers import LAYERS
from ...layers.layer import Layer
from ...savable import version
from .. import paths
from . import safetensors
from .layers import REGISTER
from .values import fields_of, inside

FORMAT, FORMAT_VERSION = "numlstm", 1
LONGEST = 1000  # characters of a message: it can quote what a file says
FIELDS = ("format", "format_version", "numlstm_version", "class", "model")

READERS = {".onnx": "from_onnx", ".keras": "from_keras", ".h5": "from_keras"}
READERS |= dict.fromkeys((".pt", ".pth", ".pth.tar", ".ckpt", ".bin"), "from_torch")

# For each class that a file can name: the module that has it, and the module here with its `to_fields` and
# `from_fields`. Nothing else is ever imported for a file; layers that a program has registered are imported already.
CLASSES = {
    "LSTM": ("numlstm.layers", ".layers"),
    "GRU": ("numlstm.layers", ".layers"),
    "RNN": ("numlstm.layers", ".layers"),
    "LSTMClassifier": ("numlstm.estimators", ".estimators"),
    "LSTMLanguageModel": ("numlstm.estimators", ".estimators"),
    "LSTMRegressor": ("numlstm.estimators", ".estimators"),
    "LSTMTagger": ("numlstm.estimators", ".estimators"),
    "LSTMTranscriber": ("numlstm.estimators", ".estimators"),
    "LSTMForecaster": ("numlstm.forecasting", ".forecasters"),
    "SequenceEncoder": ("numlstm.estimators.encoder", ".encoder"),
    "SequenceImputer": ("numlstm.estimators.imputer", ".imputer"),
    "SequenceScaler": ("numlstm.estimators.scaler", ".scaler"),
    "StandardScaler": ("sklearn.preprocessing", ".sklearn_scalers"),
    "MinMaxScaler": ("sklearn.preprocessing", ".sklearn_scalers"),
    "MaxAbsScaler": ("sklearn.preprocessing", ".sklearn_scalers"),
    "RobustScaler": ("sklearn.preprocessing", ".sklearn_scalers"),
    "Pipeline": ("sklearn.pipeline", ".pipelines"),
    "Graph": ("numlstm.graphs.graph", ".graphs"),
}
# Parameters that a file does not hold, and why.
LEFT_OUT = {"callback": "it is code", "memory": "it is a place on this machine, or code"}


# Writing --------------------------------------------------------------------------------------------------


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file that `numlstm.load` reads.

    Parameters
    ----------
    model : layer, estimator, transformer of sequences, scaler, Pipeline or Graph
        Fitted or not. Of scikit-learn's: `StandardScaler`, `MinMaxScaler`, `MaxAbsScaler`, `RobustScaler`, and a
        `Pipeline`. Its steps may be these, `SequenceScaler`, `SequenceImputer`, `SequenceEncoder`, "passthrough" and
        Pipelines, and an estimator at the end.
    path : str or path-like
        The file to write. A file that is there is replaced at once, as by `LSTM.save`.

    Raises
    ------
    TypeError
        If the model, or a step of the Pipeline, is of another class or of a subclass. Save the `best_estimator_` of a
        `GridSearchCV` and the like.
    ValueError
        If a value cannot be written without code, such as a `random_state` that is neither an int nor None; or if
        `load` would refuse the file, as with NaN among the numbers. Nothing is written then.
    OSError
        If the file cannot be written.

    Warns
    -----
    UserWarning
        About everything that the file does not hold: a `callback`, the `memory` of a Pipeline, and attributes that are
        not the model's own.

    See Also
    --------
    load : Read what this writes.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import numlstm
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.random.default_rng(0).normal(5.0, 3.0, size=(20, 6, 2))
    >>> model = numlstm.LSTMClassifier(hidden_size=4, max_iter=2, random_state=0)
    >>> pipeline = make_pipeline(numlstm.SequenceScaler(), model).fit(X, X[:, -1, 0] > 5)
    >>> path = os.path.join(tempfile.mkdtemp(), "pipeline.safetensors")
    >>> numlstm.save(pipeline, path)
    >>> loaded = numlstm.load(path)
    >>> [name for name, _ in loaded.steps]
    ['sequencescaler', 'lstmclassifier']
    >>> bool((loaded.predict_proba(X) == pipeline.predict_proba(X)).all())
    True
    """
    write(model, path)


def write(model: Any, path: str | os.PathLike[str]) -> None:
    """As `save`, for it and for `Savable.save`; warnings point to their callers."""
    name = os.fsdecode(os.fspath(path))
    kind = kind_of(model, "a model to save")
    data = _packed(model)
    # A file that `load` would refuse, or would read as another model, is not written.
    try:
        loaded = _unpacked(*safetensors.unpacked(data, check))
        same = _packed(loaded) == data
    except ValueError as error:
        raise ValueError(f"{kind} cannot be saved: {error}") from error
    if not same:
        raise ValueError(f"{kind} cannot be saved: load would read another model from the file")
    for message in _left_out(model, loaded):
        warnings.warn(message, stacklevel=3)
    paths.write(name, data)


def kind_of(model: Any, name: str, kinds: Container[str] | None = None) -> str:
    """The name of a model's class.

    Raises
    ------
    TypeError
        If a file cannot hold it, or its class is not one of `kinds`; the message calls the model `name`.
    """
    kind, known = type(model).__name__, _classes_among(kinds)
    if kind in known and type(model) is _class(kind):
        return kind
    raise TypeError(f"{name} must be one of {known}, not of a subclass, got {kind}{_advice(model)}")


def _advice(model: Any) -> str:
    """What to do before a model of an unknown class can be saved."""
    if isinstance(model, Layer) and model.cell not in LAYERS:
        return REGISTER
    return ": save its best_estimator_" if hasattr(model, "refit") else ""


def _left_out(model: Any, loaded: Any) -> Iterator[str]:
    """A message for each attribute of a model that its file does not hold."""
    kind = type(model).__name__
    for name, why in LEFT_OUT.items():
        if getattr(model, name, None) is not None:
            yield f"{name} of {kind} is not saved: {why}; the file has {name}=None"
    for name in sorted(vars(model).keys() - vars(loaded).keys()):
        yield f"attribute {name!r} of {kind} is not saved: files have no place for it"
    for (_, step), (_, other) in zip(getattr(model, "steps", ()), getattr(loaded, "steps", ()), strict=True):
        if hasattr(step, "__dict__"):  # neither "passthrough" nor None
            yield from _left_out(step, other)


def _packed(model: Any) -> bytes:
    content, tensors = to_fields(model)
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "numlstm_version": version(), **content}
    return safetensors.packed(header, tensors)


def to_fields(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields "class" and "model" of a model, and its tensors."""
    kind = type(model).__name__
    content, tensors = _handler(kind).to_fields(model)
    return {"class": kind, "model": content}, tensors


# Reading --------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model that was saved.

    Parameters
    ----------
    path : str or path-like
        A file that `save` wrote.

    Returns
    -------
    LSTM, GRU, RNN, LSTMClassifier, LSTMRegressor, LSTMForecaster, SequenceScaler, SequenceImputer, SequenceEncoder or
    Graph; Pipeline or scaler of scikit-learn's
        The model with the same parameters. Its predictions are the same to the bit if the same backend computes them.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If the file is no file of numlstm's, damaged, of a later version of the format, or of a class of layers that the
        program has not registered; the message names the file and the field.

    See Also
    --------
    save : Write a model to a file.

    Notes
    -----
    A file may come from anywhere: no code in it is run, every field is checked, and reading takes no more memory than a
    few times the size of the file. The predictions are another matter: they are whatever the author of the file wanted.

    A class of layers with a cell of your own (`numlstm.layers.register`) must be registered before its files are read.

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
    """The header, the model and the tensors of a file."""
    name = os.fsdecode(os.fspath(path))
    try:
        header, tensors = safetensors.read(name, check)
        return header, _unpacked(header, tensors), tensors
    except ValueError as error:
        raise ValueError(f"{name}: {str(error)[:LONGEST]}{_hint(name)}") from error


def _hint(name: str) -> str:
    """A hint for the end of a message: the function that reads a file of another format, told by its name."""
    reader = next((reader for ending, reader in READERS.items() if name.lower().endswith(ending)), None)
    is_file = name.lower().endswith(".safetensors") and os.path.isfile(name)
    if reader is None and is_file and not safetensors.is_ours(name):
        reader = "from_torch"
    return f"; numlstm.io.{reader} reads files of this kind" if reader else ""


def check(header: Any) -> None:
    """Refuse a file of another format or version, or of an unknown class."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}")
    version, writer = header.get("format_version"), header.get("numlstm_version")
    if not isinstance(writer, str) or not re.fullmatch(r"[0-9A-Za-z.+!_-]{1,64}", writer):
        raise ValueError(f"numlstm_version must be the number of a version, got {writer!r:.80}")
    if type(version) is not int or version < 1:
        raise ValueError(f"format_version must be an integer of at least 1, got {version!r:.80}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"format_version must be at most {FORMAT_VERSION}, got {version}: numlstm {writer} wrote the file, and "
            "this version is older; update numlstm"
        )
    fields_of(header, "header", FIELDS)
    check_class(header["class"])


def check_class(kind: Any, kinds: Container[str] | None = None) -> None:
    """Refuse the name of a class that is unknown, or not one of `kinds`."""
    known = _classes_among(kinds)
    if kind not in known:
        hint = REGISTER if kinds is None else ""
        raise ValueError(f"class must be one of {known}, got {kind!r:.80}{hint}")


def _classes_among(kinds: Container[str] | None) -> list[str]:
    """The names of all known classes, or of those among `kinds`: of `CLASSES`, and of registered layers."""
    registered = [layer.__name__ for layer in LAYERS.values() if layer.__name__ not in CLASSES]
    return [name for name in (*CLASSES, *registered) if kinds is None or name in kinds]


def _unpacked(header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """The model of a file."""
    with np.errstate(over="ignore"):  # checks compare NumPy's float32 with bounds beyond its range
        return from_fields(header["class"], header["model"], safetensors.Tensors(arrays))


def from_fields(kind: str, content: Any, tensors: safetensors.Tensors) -> Any:
    """The model of a class that has these fields and tensors.

    Raises
    ------
    ValueError
        If there is none.
    """
    with inside("model"):
        model = _handler(kind).from_fields(_class(kind), content, tensors)
    tensors.end()
    return model


def _class(kind: str) -> type:
    if kind in CLASSES:
        return getattr(import_module(CLASSES[kind][0]), kind)
    return next(layer for layer in LAYERS.values() if layer.__name__ == kind)


def _handler(kind: str) -> Any:
    return import_module(CLASSES[kind][1] if kind in CLASSES else ".layers", __package__)
