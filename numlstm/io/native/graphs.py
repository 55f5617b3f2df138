"""Graphs as fields and tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backends.dispatch import check_name
from ...checks import check_integer
from ...graphs.graph import AXES, Graph, Node, Value
from . import labels
from .safetensors import Tensors
from .values import decoded, encoded, fields_of, inside

FIELDS = ("opset", "backend", "inputs", "outputs", "constants", "nodes")
OF_VALUE = ("name", "dtype", "shape")
OF_NODE = ("op", "domain", "name", "inputs", "outputs", "attributes")
OF_ARRAY = ("name", "kind", "shape")


def described(graph: Graph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a graph."""
    tensors: dict[str, np.ndarray] = {}
    content = {
        "opset": graph.opset,
        "backend": encoded(graph.backend, "backend"),
        "inputs": [_of_value(value) for value in graph.inputs],
        "outputs": [_of_value(value) for value in graph.outputs],
        "constants": [
            _of_array(array, name, f"constant.{k}", tensors) for k, (name, array) in enumerate(graph.constants.items())
        ],
        "nodes": [_of_node(node, k, tensors) for k, node in enumerate(graph.nodes)],
    }
    return content, tensors


def made(kind: type[Graph], content: Any, tensors: Tensors) -> Graph:
    """The graph that has these fields and tensors.

    Raises
    ------
    ValueError
        If they describe none.
    """
    content = fields_of(content, "model", FIELDS)
    backend = None if content["backend"] is None else check_name(decoded(content["backend"], "backend"))
    constants = {}
    for k, each in enumerate(_list(content["constants"], "constants")):
        name, array = _array(each, f"constant.{k}", tensors)
        if name in constants:
            raise ValueError(f"constants: {name[:80]!r} is there twice")
        constants[name] = array
    nodes = [_node(each, k, tensors) for k, each in enumerate(_list(content["nodes"], "nodes"))]
    inputs, outputs = ([_value(each) for each in _list(content[name], name)] for name in ("inputs", "outputs"))
    return kind(nodes, inputs, outputs, constants, check_integer(content["opset"], "opset", 1), backend)


def _of_value(value: Value) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "dtype": value.dtype, "shape": shape}


def _value(content: Any) -> Value:
    content = fields_of(content, "value", OF_VALUE)
    shape = content["shape"]
    if shape is not None:
        shape = tuple(_list(shape, "shape"))
        if not all(length is None or type(length) in (int, str) for length in shape):
            raise ValueError("shape must hold integers, names and null")
    return Value(_text(content["name"], "name"), _text(content["dtype"], "dtype"), shape)


def _of_node(node: Node, number: int, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """A node; attributes that are arrays are tensors, and the others values."""
    attributes = {
        name: {"array": _of_array(value, name, f"node.{number}.{name}", tensors)}
        if isinstance(value, np.ndarray)
        else {"value": encoded(value, name)}
        for name, value in node.attributes.items()
    }
    return {
        "op": node.op, "domain": node.domain, "name": node.name, "inputs": list(node.inputs),
        "outputs": list(node.outputs), "attributes": attributes,
    }  # fmt: skip


def _node(content: Any, number: int, tensors: Tensors) -> Node:
    content = fields_of(content, "node", OF_NODE)
    attributes = content["attributes"]
    if not isinstance(attributes, dict):
        raise ValueError("attributes must be an object")
    made = {}
    for name, value in attributes.items():
        (form,) = value if isinstance(value, dict) and len(value) == 1 else ("",)
        if form == "array":
            made[name] = _array(value["array"], f"node.{number}.{name}", tensors)[1]
        else:
            made[name] = decoded(fields_of(value, name, ["value"])["value"], name)
    op, domain, name = (_text(content[field], field) for field in ("op", "domain", "name"))
    inputs, outputs = (
        tuple(_text(each, field) for each in _list(content[field], field)) for field in ("inputs", "outputs")
    )
    return Node(op, inputs, outputs, made, name, domain)


def _of_array(array: np.ndarray, name: str, key: str, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """What there is to say of an array, which becomes the tensor `key`."""
    kind, tensors[key] = labels.packed(np.ascontiguousarray(array).reshape(-1), name)
    return {"name": name, "kind": kind, "shape": list(array.shape)}


def _array(content: Any, key: str, tensors: Tensors) -> tuple[str, np.ndarray]:
    """The name of an array, and the array."""
    content = fields_of(content, "array", OF_ARRAY)
    name, shape = _text(content["name"], "name"), _list(content["shape"], "shape")
    array = labels.unpacked(content["kind"], tensors.take(key), f"tensor {key!r:.80}")
    good = len(shape) <= AXES and all(type(length) is int and length >= 0 for length in shape)
    if not good or math.prod(shape) != array.size:
        raise ValueError(f"shape of {name[:80]!r} must go with its {array.size} numbers")
    with inside(f"shape of {name[:80]!r}"):
        return name, array.reshape(shape)


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {type(value).__name__}")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, got {type(value).__name__}")
    return value
