"""Models from files of any format into files of any other: what ``python -m numlstm convert`` does."""

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

# By the end of a file's name: what is in it. A .safetensors file may hold either of two.
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
READ_ALONE = (".h5",)  # nothing is written in this format


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
        ``.safetensors`` (numlstm's own, and in `source` a state dict of PyTorch's, too), ``.onnx``, ``.keras``,
        ``.weights.h5``, or a name that files of ``torch.save`` have: ``.pt``, ``.pth``, ``.pth.tar``, ``.ckpt`` or
        ``.bin``. `source` may be any other ``.h5`` file of Keras's, too.
    prefix, nonlinearity : str
        Of `from_torch`, for a state dict.
    config : str, optional
        Of `from_keras`, for a ``.weights.h5`` file, or another ``.h5`` file that has weights only.
    layer : int, optional
        Convert this one of the recurrent layers alone, counted from 0.
    to : {"torch"}, optional
        Write a ``.safetensors`` file with a state dict of PyTorch's instead of one of numlstm's.

    Returns
    -------
    LSTM, GRU, RNN, LSTMClassifier, LSTMRegressor, transformer of sequences, Pipeline or Graph
        What was converted.

    Raises
    ------
    ValueError
        If a format is unknown, the file is none of its format, or the other format has no place for the model.
    OSError, ImportError
        If a file cannot be read or written, or a package that it takes is not installed.
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
    """Refuse options of `read` that are for other formats than that of a file."""
    ending = _ending(path, "source")
    for name, given, of in (
        ("config", config is not None, (".weights.h5", ".h5")),
        ("prefix", bool(prefix), ("torch",)),
        ("nonlinearity", nonlinearity != "tanh", ("torch",)),
    ):
        if given and not {ending, kind} & {*of}:
            raise ValueError(f"{name} is of no use for {os.fspath(path)!r}")


def format_of(path: str | os.PathLike[str]) -> str:
    """ "native", "onnx", "keras" or "torch"; of a .safetensors file what is in it tells."""
    kind = FORMATS[_ending(path, "source")]
    return "torch" if kind == "native" and not safetensors.is_ours(os.fspath(path)) else kind


def _ending(path: str | os.PathLike[str], name: str) -> str:
    """How a file's name ends, if that tells its format."""
    base = Path(path).name.lower()
    endings = [each for each in FORMATS if name == "source" or each not in READ_ALONE]
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
        raise ValueError(f"layer {index} goes from the last step to the first, which its weights alone do not say")
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
    """A model that is a layer."""
    if isinstance(model, Layer):
        return model
    layers = layers_of(model)
    raise ValueError(
        f"{format_name} holds the parameters of recurrent layers alone, and the model has more, got "
        f"{type(model).__name__}: choose one of its {len(layers)} layers (layer=, or --layer on the command line)"
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
            f"{os.path.basename(path)!r} is written by PyTorch: install torch, or use --to torch"
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
