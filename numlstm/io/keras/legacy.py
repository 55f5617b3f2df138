"""Configurations of Keras 2, and of ``.h5`` files, in the form in which Keras 3 writes its own.

What is no configuration stays as it is; the reader refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODELS = {"Sequential": "Sequential", "Functional": "Functional", "Model": "Functional"}  # by their older names
STATEFUL = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")  # called with a list of the input and states
INNER = ("layer", "backward_layer", "cell", "activation", "recurrent_activation")  # options that may hold a layer
TERSE = ("InputLayer", "SpatialDropout1D")  # layers without the option "trainable", which tells layers from operations
OPERATIONS = {
    "__operators__.getitem": "GetItem",
    "__operators__.add": "Add",
    "math.add": "Add",
    "math.subtract": "Subtract",
    "math.multiply": "Multiply",
    "math.truediv": "TrueDivide",
    "math.negative": "Negative",
    "math.pow": "Power",
}  # by the functions of TensorFlow that Keras 2 wraps in layers
SLICE = {"start", "stop", "step"}
OF_OPERATIONS, CONSTANT = ("TFOpLambda", "SlicingOpLambda"), "_CONSTANT_VALUE"
UNLESS_ON = ("time_major", "causal")  # options that Keras 3 does not have; False is what it does


def modern(layer: Any, version: int) -> Any:
    """A layer or a model as Keras 3 describes it.

    Parameters
    ----------
    layer : dict
        With class_name and config.
    version : {2, 3}
        Of the Keras that wrote it.
    """
    if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str):
        return layer
    kind, config = layer["class_name"], layer.get("config")
    if kind == "Sequential" and isinstance(config, list):  # before Keras 2.2
        config = {"layers": config}
    if not isinstance(config, dict):
        return layer
    operation = OPERATIONS.get(str(config.get("function"))) if kind in OF_OPERATIONS else None
    if operation is not None and layer.get("registered_name") in (None, kind):
        replaced = {"class_name": operation, "module": "keras.ops", "registered_name": None}
        return layer | replaced | {"config": {"name": config.get("name")}}
    modernised = {**layer, "class_name": MODELS.get(kind, kind), "config": _options(kind, config, version)}
    if version == 2 and str(layer.get("module", "")).startswith("keras."):
        modernised["module"] = "keras.layers"
    elif "module" not in layer and ">" not in kind:  # custom objects are registered as package>name
        is_layer = version == 2 or kind in (*MODELS, *TERSE) or "trainable" in config
        modernised["module"] = "keras.layers" if is_layer else "keras.ops"
    return modernised


def _options(kind: str, config: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Options of a layer or a model."""
    options = {name: value for name, value in config.items() if name not in UNLESS_ON or value is not False}
    shape = options.pop("batch_input_shape", None)
    if kind == "InputLayer":
        options.setdefault("batch_shape", shape)
    dtype = options.get("dtype")
    if isinstance(dtype, dict) and dtype.get("class_name") == "Policy" and isinstance(dtype.get("config"), dict):
        options["dtype"] = dtype["config"].get("name")
    if kind == "LeakyReLU" and "alpha" in options:
        options["negative_slope"] = options.pop("alpha")
    axis = options.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        options["axis"] = axis[0]
    if kind in ("GRU", "GRUCell") and version == 2:
        options.setdefault("reset_after", False)  # early versions had no such option, and computed this
    for name in INNER:
        if name in options:
            options[name] = modern(options[name], version)
    for name in ("cells", "layers"):
        if isinstance(options.get(name), list):
            options[name] = [modern(layer, version) for layer in options[name]]
    if kind == "Sequential":
        _begin(options, config)
    elif kind in MODELS and version == 2:
        _connect(options)
    return options


def _begin(converted: dict[str, Any], config: Mapping[str, Any]) -> None:
    """Put an `InputLayer` before a first layer that has the shape of its input."""
    layers = config.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    options = first.get("config") if isinstance(first, dict) and first.get("class_name") != "InputLayer" else None
    if isinstance(options, dict) and "batch_input_shape" in options:
        inputs = {"name": f"{options.get('name')}_input", "batch_shape": options["batch_input_shape"]}
        converted["layers"].insert(0, {"module": "keras.layers", "class_name": "InputLayer", "config": inputs})


# Calls --------------------------------------------------------------------------------------------------------


def _connect(config: dict[str, Any]) -> None:
    """Write the calls in a functional model in Keras 3's form."""
    layers = config.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        return
    counted = {str(layer.get("name")): layer["class_name"] for layer in layers if _counts_itself(layer)}
    for layer in layers:
        if isinstance(layer.get("inbound_nodes"), list):
            layer["inbound_nodes"] = [_node(node, layer, counted) for node in layer["inbound_nodes"]]
    for name in ("input_layers", "output_layers"):
        config[name] = _ends(config.get(name), {name for name, kind in counted.items() if kind == "Sequential"})


def _counts_itself(layer: Mapping[str, Any]) -> bool:
    """Whether it is a model with its own inputs, which Keras 2 counts as its first call."""
    kind, config = layer.get("class_name"), layer.get("config")
    layers = config.get("layers") if kind in ("Sequential", "Functional") and isinstance(config, dict) else None
    first = layers[0] if isinstance(layers, list) and layers else None
    return isinstance(first, dict) and first.get("class_name") == "InputLayer"


def _node(node: Any, layer: Mapping[str, Any], counted: Mapping[str, str]) -> Any:
    """A call: ``[[name, call, result, options], ...]`` as ``{"args": ..., "kwargs": ...}``."""
    if isinstance(node, list) and node and isinstance(node[0], str):
        node = [node]
    if isinstance(node, dict):
        tensors: Any = {name: _tensor(item, counted) for name, item in node.items()}
        first = next(iter(node.values()), None)
    elif isinstance(node, list) and node:
        tensors, first = [_tensor(item, counted) for item in node], node[0]
    else:
        return node
    keywords = first[3] if isinstance(first, list) and len(first) == 4 and isinstance(first[3], dict) else {}
    options = {name: _value(value, counted) for name, value in keywords.items()}
    if isinstance(tensors, list) and len(tensors) == 1:
        tensors = tensors[0]
        if layer.get("module") == "keras.ops":
            others = [options.pop(name) for name in ("y", "slice_spec") if name in options]
            return {"args": [tensors, *others], "kwargs": {k: item for k, item in options.items() if item is not None}}
    elif isinstance(tensors, list) and layer.get("class_name") in STATEFUL:
        tensors, *options["initial_state"] = tensors
    return {"args": [tensors], "kwargs": options}


def _is_tensor(value: Any) -> bool:
    """Whether it is the name of a layer, the number of a call and the number of a result."""
    return isinstance(value, list) and len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int


def _tensor(value: Any, counted: Mapping[str, str]) -> Any:
    """The result of a call, or a number."""
    if not _is_tensor(value):
        return value
    name, call, *rest = value
    if name == CONSTANT:
        return rest[0]
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call - (name in counted), *rest[:1]]}}


def _value(value: Any, counted: Mapping[str, str]) -> Any:
    """A keyword argument of a call: tensors, in lists or not, or anything else."""
    if _is_tensor(value):
        return _tensor(value, counted)
    if isinstance(value, dict) and value.keys() == SLICE:
        return {"class_name": "__slice__", "config": value}
    return [_value(item, counted) for item in value] if isinstance(value, list) else value


def _ends(value: Any, counted: set[str]) -> Any:
    """The inputs or outputs of a model; Keras 3 counts calls of functional models here in the same way."""
    if _is_tensor(value):
        name, call, *rest = value
        return [name, call - (name in counted), *rest]
    if isinstance(value, dict):
        return {name: _ends(item, counted) for name, item in value.items()}
    return [_ends(item, counted) for item in value] if isinstance(value, list) else value
