"""What ``python -m numlstm info FILE`` says of a file."""

from __future__ import annotations

import os
from typing import Any

from ..layers.layer import Layer
from .native import opened


def summary(path: str | os.PathLike[str]) -> str:
    """The kind of a saved model, its layers, sizes, parameters and version, a line for each.

    Raises
    ------
    OSError, ValueError
        As `numlstm.load` does.
    """
    header, model, tensors = opened(path)
    layers = [model] if isinstance(model, Layer) else getattr(model, "layers_", [])
    lines = {
        "kind": header["class"],
        "version": f"numlstm {header['numlstm_version']}, format {header['format_version']}",
        "model": " ".join(repr(model).split()),
        "layers": ", ".join(map(repr, layers)) or "none",
        "sizes": _sizes(model, layers),
    }
    parameters = _parameters(model, layers)
    count = sum(array.size for array in parameters.values())
    lines["parameters"] = f"{count:,} in {len(parameters)} arrays" + (f" of {layers[0].dtype}" if layers else "")
    lines["file"] = f"{os.stat(path).st_size:,} bytes, {len(tensors)} tensors"
    rows = [*lines.items(), *((f"  {name}", f"{array.shape}") for name, array in parameters.items())]
    width = max(16, *(len(name) for name, _ in rows))
    return "\n".join(f"{name:<{width}} {value}" for name, value in rows)


def _sizes(model: Any, layers: list[Layer]) -> str:
    """What goes in, what is inside, and what comes out."""
    if not layers:
        channels = getattr(model, "n_channels_", None)
        return "not fitted" if channels is None else f"{channels} channels"
    layer = layers[0]
    out = layer.output_size if layer is model else model._model.network.outputs
    return f"input {layer.input_size}, hidden {layer.hidden_size}, output {out}"


def _parameters(model: Any, layers: list[Layer]) -> dict[str, Any]:
    """What has been learnt, by name."""
    if not layers:
        return {name: getattr(model, name) for name in ("mean_", "scale_") if hasattr(model, name)}
    return dict(layers[0].parameters if layers[0] is model else model._model.parameters)
