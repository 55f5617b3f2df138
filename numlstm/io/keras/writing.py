"""Layers as files of Keras 3: Keras loads them as a `Sequential` of recurrent layers."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from ...layers.layer import Layer
from ..native.values import to_json
from .activations import OF_CELLS
from .exchange import CLASSES, MERGES, to_keras_weights
from .files import h5py_for

NAMES = {"lstm": "lstm", "gru": "gru", "rnn": "simple_rnn"}  # Keras's default names of layers
WRITTEN = (1980, 1, 1, 0, 0, 0)  # always the same time, so that files of the same layer are the same


def model_file(layer: Layer) -> bytes:
    """A ``.keras`` file, which ``keras.saving.load_model`` reads.

    Raises
    ------
    ValueError
        If Keras's layers do not have an option.
    ImportError
        If h5py is not installed.
    """
    weights = weights_file(layer)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {
            "metadata.json": to_json({"keras_version": "3.0.0"}).encode(),
            "config.json": to_json(_model(layer)).encode(),
            "model.weights.h5": weights,
        }.items():
            archive.writestr(zipfile.ZipInfo(name, WRITTEN), data)
    return buffer.getvalue()


def weights_file(layer: Layer) -> bytes:
    """A ``.weights.h5`` file, for ``load_weights`` of such a model.

    Raises
    ------
    ValueError, ImportError
        As `model_file` does.
    """
    weights, stack = to_keras_weights(layer), layer._stack
    count = len(weights) // (stack.num_layers * stack.directions)
    buffer = io.BytesIO()
    with h5py_for("files of Keras are written by").File(buffer, "w") as file:
        for number, name in enumerate(_names(layer)):
            directions = ("forward_layer/", "backward_layer/") if stack.bidirectional else ("",)
            for direction, part in enumerate(directions):
                first = count * (number * stack.directions + direction)
                for k, array in enumerate(weights[first : first + count]):
                    file[f"layers/{name}/{part}cell/vars/{k}"] = array
    return buffer.getvalue()


def _names(layer: Layer) -> list[str]:
    """Keras's default names of the layers."""
    stack = layer._stack
    name = "bidirectional" if stack.bidirectional else NAMES[stack.cell.cell]
    return [f"{name}_{number}" if number else name for number in range(stack.num_layers)]


def _model(layer: Layer) -> dict[str, Any]:
    """The configuration of the model."""
    stack = layer._stack
    shape = {"batch_shape": [None, None, stack.input_size], "dtype": stack.dtype, "name": "input_layer"}
    inputs = {"module": "keras.layers", "class_name": "InputLayer", "config": shape}
    layers = [_layer(layer, number, name) for number, name in enumerate(_names(layer))]
    config = {"name": "sequential", "dtype": stack.dtype, "layers": [inputs, *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": config}


def _layer(layer: Layer, number: int, name: str) -> dict[str, Any]:
    """The configuration of a layer of the model."""
    stack, options = layer._stack, dict(layer._stack.cell.options)
    cell = stack.cell.cell
    role = "nonlinearity" if cell == "rnn" else "input_activation"
    config: dict[str, Any] = {
        "name": f"forward_{NAMES[cell]}" if stack.bidirectional else name,
        "dtype": stack.dtype,
        "units": stack.hidden_sizes[number],
        "activation": _activation(options.get(role, ("tanh",))),
        "use_bias": stack.cell.bias,
        "return_sequences": True,
    }
    if cell != "rnn":
        config["recurrent_activation"] = _activation(options.get("recurrent_activation", ("sigmoid",)))
    if cell == "gru":
        config["reset_after"] = bool(options.get("reset_after", True))
    inner = {"module": "keras.layers", "class_name": CLASSES[cell], "config": config}
    if not stack.bidirectional:
        return inner
    merge = {own: name for name, own in MERGES.items()}[stack.merge]
    outer = {"name": name, "dtype": stack.dtype, "merge_mode": merge, "layer": inner}
    return {"module": "keras.layers", "class_name": "Bidirectional", "config": outer}


def _activation(chosen: tuple[Any, ...]) -> str:
    """Keras's name for an activation with its parameters.

    Raises
    ------
    ValueError
        If Keras has no activation that computes the same.
    """
    cell_name, *numbers = chosen
    for name, (_, ours, parameters) in OF_CELLS.items():
        if ours == cell_name and (cell_name == "identity" or np.allclose(numbers, parameters, rtol=1e-12, atol=0.0)):
            return name
    raise ValueError(f"layer must have activations that Keras has by name, got {chosen!r}")
