"""Numlstm's own files: what is in them, whatever the model.

A file is in the format safetensors. Its metadata have one key, "numlstm", with a JSON text of these fields:

- ``format``: "numlstm"; ``format_version``: 1; ``numlstm_version``: of the package that wrote it;
- ``class``: one of `CLASSES`;
- ``model``: what `.layers` says of a layer, `.estimators` of an estimator, `.scaler` of a `SequenceScaler`, `.imputer`
  of a `SequenceImputer`, `.encoder` of a `SequenceEncoder`, `.sklearn_scalers` of a scaler of scikit-learn's,
  `.pipelines` of a Pipeline, `.graphs` of a graph.

Parameters are tensors of their own names. Other arrays are named as the attributes that hold them, but for
``optimizer.0.weight_ih_l0`` and the like: what an optimizer remembers of each parameter. Those of a Pipeline's steps
begin with ``steps.0.`` and so on.

An estimator's field ``static`` is there only if it was fitted with static features, ``channels`` only if it was with
`scale_inputs`.

Later versions of the package read what this one writes: a constructor's parameter that a file lacks is at its default.
A ``class`` that earlier ones do not know is refused there by its name; what they would misread makes a new
``format_version``.
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
from ...savable import version
from . import safetensors
from .values import fields_of, inside

FORMAT, FORMAT_VERSION = "numlstm", 1
LONGEST = 1000  # characters of a message: it can quote what a file says
FIELDS = ("format", "format_version", "numlstm_version", "class", "model")

READERS = {".onnx": "from_onnx", ".keras": "from_keras", ".h5": "from_keras"}
READERS |= dict.fromkeys((".pt", ".pth", ".pth.tar", ".ckpt", ".bin"), "from_torch")

# For each class that a file can name: where it is, and what makes fields and tensors of its instances and back. All
# that is ever imported for a file is here; layers that a program has registered are there already.
CLASSES = {
    "LSTM": ("numlstm.layers", ".layers"),
    "GRU": ("numlstm.layers", ".layers"),
    "RNN": ("numlstm.layers", ".layers"),
    "LSTMClassifier": ("numlstm.estimators", ".estimators"),
    "LSTMRegressor": ("numlstm.estimators", ".estimators"),
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
# Parameters that a file holds as None, and why.
LEFT_OUT = {"callback": "it is code", "memory": "it is a place on this machine, or code"}


# Writing --------------------------------------------------------------------------------------------------


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model to a file that `numlstm.load` reads.

    Parameters
    ----------
    model : layer, estimator, transformer of sequences, scaler, Pipeline or Graph
        Fitted or not. Of scikit-learn's: `StandardScaler`, `MinMaxScaler`, `MaxAbsScaler`, `RobustScaler`, and a
        `Pipeline` of these, of `SequenceScaler`, `SequenceImputer` and `SequenceEncoder`, "passthrough", Pipelines and
        an estimator at the end.
    path : str or path-like
        Where to; as of the method `save` that layers, estimators, transformers of sequences and graphs have.

    Raises
    ------
    TypeError
        If the model, or a step of the Pipeline, is of another class or of a subclass. Of a `GridSearchCV` and the like,
        save the `best_estimator_`.
    ValueError
        If something cannot be written without code, as a `random_state` that is neither an int nor None; or if a file
        with it would be refused by `load`, as with NaN among the numbers. Nothing is written then.
    OSError
        If the file cannot be written.

    Warns
    -----
    UserWarning
        For what is left out: a `callback`, the `memory` of a Pipeline, and attributes that others have set.

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
    """What `save` does, and `Savable.save`; warnings are of who calls these."""
    name = os.fsdecode(os.fspath(path))
    kind = kind_of(model, "a model to save")
    data = _packed(model)
    # Nothing is written that would be refused later, or be read as another model.
    try:
        read = _unpacked(*safetensors.unpacked(data, check))
        same = _packed(read) == data
    except ValueError as error:
        raise ValueError(f"{kind} cannot be saved: {error}") from error
    if not same:
        raise ValueError(f"{kind} cannot be saved: what would be read from the file is another model")
    for message in _left_out(model, read):
        warnings.warn(message, stacklevel=3)
    safetensors.write(name, data)


def kind_of(model: Any, what: str, kinds: Container[str] | None = None) -> str:
    """The name of a model's class.

    Raises
    ------
    TypeError
        If files have no place for it, or not where `what` is.
    """
    kind, known = type(model).__name__, [each for each in classes() if kinds is None or each in kinds]
    if kind in known and type(model) is _class(kind):
        return kind
    raise TypeError(f"{what} must be one of {known}, not of a subclass, got {kind}{_advice(model)}")


def _advice(model: Any) -> str:
    """What to save instead of a search for parameters."""
    return ": save its best_estimator_" if hasattr(model, "refit") else ""


def _left_out(model: Any, read: Any) -> Iterator[str]:
    """What there is to say of what a model has and the one in its file has not."""
    kind = type(model).__name__
    for name, why in LEFT_OUT.items():
        if getattr(model, name, None) is not None:
            yield f"{name} of {kind} is not saved: {why}; the file has {name}=None"
    for lost in sorted(vars(model).keys() - vars(read).keys()):
        yield f"attribute {lost!r} of {kind} is not saved: files have no place for it"
    for (_, step), (_, other) in zip(getattr(model, "steps", ()), getattr(read, "steps", ()), strict=True):
        if hasattr(step, "__dict__"):  # neither "passthrough" nor None
            yield from _left_out(step, other)


def _packed(model: Any) -> bytes:
    content, tensors = described(model)
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "numlstm_version": version(), **content}
    return safetensors.packed(header, tensors)


def described(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields "class" and "model" of a model, and its tensors."""
    kind = type(model).__name__
    content, tensors = _handler(kind).described(model)
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
    LSTM, GRU, RNN, LSTMClassifier, LSTMRegressor, SequenceScaler, SequenceImputer, SequenceEncoder or Graph; Pipeline
    or scaler of scikit-learn's
        As it was saved: with the same parameters and predictions, to the bit where the same backend computes them.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no file of a model, damaged, or of a later version of the format; the message names the file and the
        field.

    See Also
    --------
    save : Write a model to a file.

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
        header, tensors = safetensors.read(name, check)
        return header, _unpacked(header, tensors), tensors
    except ValueError as error:
        raise ValueError(f"{name}: {str(error)[:LONGEST]}{_hint(name)}") from error


def _hint(name: str) -> str:
    """What reads a file of another format, if its name says that it is one."""
    reader = next((reader for ending, reader in READERS.items() if name.lower().endswith(ending)), None)
    is_file = name.lower().endswith(".safetensors") and os.path.isfile(name)
    if reader is None and is_file and not safetensors.is_ours(name):
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
    check_class(header["class"])


def check_class(kind: Any, kinds: Container[str] | None = None) -> None:
    """Refuse what names no class that may be there."""
    known = [each for each in classes() if kinds is None or each in kinds]
    if kind not in known:
        raise ValueError(f"class must be one of {known}, got {kind!r:.80}")


def _unpacked(header: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """The model of a file."""
    with np.errstate(over="ignore"):  # NumPy's float32 are compared with bounds beyond their range
        return made(header["class"], header["model"], safetensors.Tensors(arrays))


def made(kind: str, content: Any, tensors: safetensors.Tensors) -> Any:
    """The model of a class that has these fields and tensors.

    Raises
    ------
    ValueError
        If they describe none.
    """
    with inside("model"):
        model = _handler(kind).made(_class(kind), content, tensors)
    tensors.end()
    return model


def classes() -> list[str]:
    """The names that a file can have: those of `CLASSES`, and of layers that a program has registered."""
    return [*CLASSES, *(layer.__name__ for layer in LAYERS.values() if layer.__name__ not in CLASSES)]


def _class(kind: str) -> type:
    if kind in CLASSES:
        return getattr(import_module(CLASSES[kind][0]), kind)
    return next(layer for layer in LAYERS.values() if layer.__name__ == kind)


def _handler(kind: str) -> Any:
    return import_module(CLASSES[kind][1] if kind in CLASSES else ".layers", __package__)
