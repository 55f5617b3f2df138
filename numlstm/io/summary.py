"""What ``python -m numlstm info FILE`` prints about a file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graphs.graph import Graph, Value
from ..layers.layer import Layer
from .converting import check_options, format_of, layers_of, read
from .native.models import opened


def summary(path: str | os.PathLike[str], **options: Any) -> str:
    """The kind of a model in a file, its layers, its sizes and its parameters, in one line each.

    `options` are those of `numlstm.io.converting.read`.

    Raises
    ------
    OSError, ImportError, ValueError
        As `read` does.
    """
    kind = format_of(path)
    if kind == "native":
        check_options(path, kind, **options)
        header, model, _ = opened(path)
        written = f"numlstm {header['numlstm_version']}, format {header['format_version']}"
    else:
        model, written = read(path, **options), {"onnx": "ONNX", "keras": "Keras", "torch": "PyTorch"}[kind]
    layers = layers_of(model)
    lines = {
        "kind": type(model).__name__,
        "written by": written,
        "model": " ".join(repr(model).split()),
        "layers": ", ".join(map(repr, layers)) or "none",
    }
    lines |= _of_graph(model) if isinstance(model, Graph) else {"sizes": _sizes(model, layers)}
    parameters = _parameters(model, layers)
    count = sum(array.size for array in parameters.values())
    types = sorted({str(array.dtype) for array in parameters.values()})
    lines["constants" if isinstance(model, Graph) else "parameters"] = f"{count:,} in {len(parameters)} arrays" + (
        f" of {', '.join(types)}" if types else ""
    )
    lines["file"] = f"{os.stat(path).st_size:,} bytes"
    rows = [*lines.items(), *((f"  {name}", f"{array.shape}") for name, array in parameters.items())]
    width = max(16, *(len(name) for name, _ in rows))
    return "\n".join(f"{name:<{width}} {value}" for name, value in rows)


def _of_graph(graph: Graph) -> dict[str, str]:
    """The inputs, the outputs and the nodes of a graph."""
    counts = Counter(node.op for node in graph.nodes)
    return {
        "inputs": _values(graph.inputs),
        "outputs": _values(graph.outputs),
        "nodes": ", ".join(f"{count} {op}" for op, count in sorted(counts.items())) + f"; opset {graph.opset}",
    }


def _values(values: Sequence[Value]) -> str:
    """The names, types and shapes of inputs or outputs."""
    shapes = ["" if value.shape is None else _shape(value.shape) for value in values]
    return ", ".join(f"{value.name} {value.dtype}{shape}" for value, shape in zip(values, shapes, strict=True))


def _shape(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join('?' if length is None else str(length) for length in shape)})"


def _sizes(model: Any, layers: list[Layer]) -> str:
    """The sizes of input, layers and output; for a Pipeline those of its last step."""
    if hasattr(model, "steps"):
        return _sizes(model.steps[-1][1], layers)
    if not layers:
        for name, unit in (("n_channels_", "channels"), ("n_features_in_", "columns")):
            if hasattr(model, name):
                return f"{getattr(model, name)} {unit}"
        return "not fitted"
    layer = layers[0]
    out = layer.output_size if layer is model else model._model.network.outputs
    return f"input {layer.input_size}, hidden {layer.hidden_size}, output {out}"


def _parameters(model: Any, layers: list[Layer]) -> Mapping[str, np.ndarray]:
    """The learnt arrays, by name."""
    if isinstance(model, Graph):
        return model.constants
    if hasattr(model, "steps"):
        steps = [(name, _parameters(step, layers_of(step))) for name, step in model.steps]
        return {f"{name}.{key}": array for name, arrays in steps for key, array in arrays.items()}
    if not layers:
        arrays = {name: getattr(model, name, None) for name in ("mean_", "center_", "min_", "scale_", "statistics_")}
        if arrays["mean_"] is not None:
            del arrays["center_"]  # a SequenceScaler has the same array under both names
        return {name: array for name, array in arrays.items() if array is not None}
    return dict(layers[0].parameters if layers[0] is model else model._model.parameters)
