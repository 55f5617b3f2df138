"""From files of one format to files of another: what ``python -m numlstm convert`` does."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..checks import check_integer
from ..graphs.graph import Graph
from ..layers.layer import Layer
from .native import safetensors
from .native.models import load, save
from .paths import write

# The formats of files, by the end of their names. A .safetensors file may be numlstm's or PyTorch's.
FORMATS = {
    ".safetensors": "native",
    ".onnx": "onnx",
    ".keras": "keras",
    ".weights.h5": "keras",
    ".h5": "keras",
    ".pt": "torch",
    ".pth": "torch",
    ".pth.tar": "torch",
    ".ckpt": "torch",
    ".bin": "torch",
}
READ_ONLY = (".h5",)  # formats that are read, but not written


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    prefix: str = "",
    nonlinearity: str = "tanh",
    config: str | None = None,
    layer: int | None = None,
    to: str | None = None,
) -> Any:
    """Read a model from one file and write it to another; the formats follow from the names.

    Parameters
    ----------
    source, target : str or path-like
        ``.safetensors`` (numlstm's own; `source` may also be a state dict of PyTorch's), ``.onnx``, ``.keras``,
        ``.weights.h5``, or an ending of files of ``torch.save``: ``.pt``, ``.pth``, ``.pth.tar``, ``.ckpt`` or
        ``.bin``. `source` may also be another ``.h5`` file of Keras's.
    prefix, nonlinearity : str
        As in `from_torch`, for a state dict.
    config : str, optional
        As in `from_keras`, for a ``.weights.h5`` file, or another ``.h5`` file that holds only weights.
    layer : int, optional
        Convert only this recurrent layer, counted from 0.
    to : {"torch"}, optional
        Write a state dict of PyTorch's to a ``.safetensors`` file, instead of numlstm's own format.

    Returns
    -------
    LSTM, GRU, RNN, LSTMClassifier, LSTMRegressor, transformer of sequences, Pipeline or Graph
        The model that was converted.

    Raises
    ------
    ValueError
        If a format is unknown, the file is not in its format, or the other format cannot hold the model.
    OSError, ImportError
        If a file cannot be read or written, or a package that this needs is not installed.
    """
    ending = _ending(target, "target")
    if to is not None and (to != "torch" or ending != ".safetensors"):
        raise ValueError(f"to must be 'torch', for a .safetensors file, got {to!r} for {os.fspath(target)!r}")
    model = read(source, prefix=prefix, nonlinearity=nonlinearity, config=config)
    if layer is not None:
        model = _one_layer(model, layer)
    kind = "state dict" if to == "torch" else FORMATS[ending]
    _writers[kind](model, os.fspath(target))
    return model


def read(
    path: str | os.PathLike[str], *, prefix: str = "", nonlinearity: str = "tanh", config: str | None = None
) -> Any:
    """The model of a file; see `convert`."""
    kind = format_of(path)
    check_options(path, kind, prefix=prefix, nonlinearity=nonlinearity, config=config)
    if kind == "native":
        return load(path)
    if kind == "onnx":
        from .onnx.reading import from_onnx

        return from_onnx(path)
    if kind == "keras":
        from .keras.exchange import from_keras

        return from_keras(path) if config is None else from_keras(path, config=config)
    from .torch import from_torch

    return from_torch(path, prefix, nonlinearity=nonlinearity)


def check_options(
    path: str | os.PathLike[str], kind: str, *, prefix: str = "", nonlinearity: str = "tanh", config: str | None = None
) -> None:
    """Refuse options of `read` that do not apply to the format of a file."""
    ending = _ending(path, "source")
    for name, is_set, kinds in (
        ("config", config is not None, (".weights.h5", ".h5")),
        ("prefix", bool(prefix), ("torch",)),
        ("nonlinearity", nonlinearity != "tanh", ("torch",)),
    ):
        if is_set and not {ending, kind} & {*kinds}:
            raise ValueError(f"{name} must be left out for {os.fspath(path)!r}: it is for {' and '.join(kinds)} files")


def format_of(path: str | os.PathLike[str]) -> str:
    """The format of a file: "native", "onnx", "keras" or "torch"; the content of a .safetensors file tells."""
    kind = FORMATS[_ending(path, "source")]
    return "torch" if kind == "native" and not safetensors.is_ours(os.fspath(path)) else kind


def _ending(path: str | os.PathLike[str], name: str) -> str:
    """The ending of a file's name that tells its format."""
    base = Path(path).name.lower()
    endings = [ending for ending in FORMATS if name == "source" or ending not in READ_ONLY]
    for ending in endings:
        if base.endswith(ending):
            return ending
    raise ValueError(f"{name} must end in one of {endings}, got {os.fspath(path)!r}")


def _one_layer(model: Any, index: int) -> Layer:
    """One of the recurrent layers of a model."""
    layers = layers_of(model)
    if check_integer(index, "layer", 0) >= len(layers):
        raise ValueError(f"layer must be below {len(layers)}, the number of recurrent layers there, got {index}")
    if isinstance(model, Graph) and model.backwards[index]:
        raise ValueError(f"layer must not be {index}, which reads sequences backwards: its weights do not say so")
    return layers[index]


def layers_of(model: Any) -> list[Layer]:
    """The recurrent layers of a model, or of a Pipeline's steps."""
    if isinstance(model, Layer):
        return [model]
    if hasattr(model, "steps"):
        return [layer for _, step in model.steps for layer in layers_of(step)]
    return list(getattr(model, "layers", None) or getattr(model, "layers_", []))


# Writing ------------------------------------------------------------------------------------------------------


def _write_onnx(model: Any, path: str) -> None:
    from .onnx.writing import to_onnx

    to_onnx(model, path)


def _layer_alone(model: Any, format_name: str) -> Layer:
    """The model, if it is a layer."""
    if isinstance(model, Layer):
        return model
    layers = layers_of(model)
    raise ValueError(
        f"model must be a layer for {format_name}, got {type(model).__name__}: choose one of its {len(layers)} layers "
        "(layer=, or --layer on the command line)"
    )


def _write_state_dict(model: Any, path: str) -> None:
    from safetensors.numpy import save

    from .torch import to_torch

    write(path, save(to_torch(_layer_alone(model, "a state dict"))))


def _write_torch(model: Any, path: str) -> None:
    """A state dict, pickled by PyTorch."""
    from .torch import to_torch

    state_dict = to_torch(_layer_alone(model, "a state dict"))
    try:
        torch: Any = import_module("torch")
    except ImportError as error:
        raise ImportError(
            f"{os.path.basename(path)!r} is written by PyTorch: install torch, or write .safetensors with --to torch"
        ) from error
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in state_dict.items()}, buffer)
    write(path, buffer.getvalue())


def _write_keras(model: Any, path: str) -> None:
    from .keras.writing import model_file, weights_file

    make = model_file if path.lower().endswith(".keras") else weights_file
    write(path, make(_layer_alone(model, "a file of Keras's")))


_writers: dict[str, Callable[[Any, str], None]] = {
    "native": save,
    "onnx": _write_onnx,
    "keras": _write_keras,
    "torch": _write_torch,
    "state dict": _write_state_dict,
}
