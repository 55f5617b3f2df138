"""Graphs as fields and tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backends.dispatch import check_name
from ...checks import check_integer
from ...graphs.graph import Graph, Node, Value
from ...graphs.nodes import AXES
from . import labels
from .safetensors import Tensors
from .values import decoded, encoded, fields_of, inside

FIELDS = ("opset", "backend", "inputs", "outputs", "constants", "nodes")
VALUE_FIELDS = ("name", "dtype", "shape")
NODE_FIELDS = ("op", "domain", "name", "inputs", "outputs", "attributes")
ARRAY_FIELDS = ("name", "kind", "shape")


def to_fields(graph: Graph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and tensors of a graph."""
    tensors: dict[str, np.ndarray] = {}
    content = {
        "opset": graph.opset,
        "backend": encoded(graph.backend, "backend"),
        "inputs": [_value_to_fields(value) for value in graph.inputs],
        "outputs": [_value_to_fields(value) for value in graph.outputs],
        "constants": [
            _array_to_fields(array, name, f"constant.{k}", tensors)
            for k, (name, array) in enumerate(graph.constants.items())
        ],
        "nodes": [_node_to_fields(node, k, tensors) for k, node in enumerate(graph.nodes)],
    }
    return content, tensors


def from_fields(kind: type[Graph], content: Any, tensors: Tensors) -> Graph:
    """The graph that has these fields and tensors.

    Raises
    ------
    ValueError
        If there is none.
    """
    content = fields_of(content, "model", FIELDS)
    backend = None if content["backend"] is None else check_name(decoded(content["backend"], "backend"))
    constants = {}
    for k, fields in enumerate(_list(content["constants"], "constants")):
        name, array = _array_from_fields(fields, f"constant.{k}", tensors)
        if name in constants:
            raise ValueError(f"constants: {name[:80]!r} is there twice")
        constants[name] = array
    nodes = [_node_from_fields(fields, k, tensors) for k, fields in enumerate(_list(content["nodes"], "nodes"))]
    inputs, outputs = (
        [_value_from_fields(fields) for fields in _list(content[name], name)] for name in ("inputs", "outputs")
    )
    return kind(nodes, inputs, outputs, constants, check_integer(content["opset"], "opset", 1), backend)


def _value_to_fields(value: Value) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "dtype": value.dtype, "shape": shape}


def _value_from_fields(content: Any) -> Value:
    content = fields_of(content, "value", VALUE_FIELDS)
    shape = content["shape"]
    if shape is not None:
        shape = tuple(_list(shape, "shape"))
        if not all(length is None or type(length) in (int, str) for length in shape):
            raise ValueError("shape must hold integers, names and null")
    return Value(_text(content["name"], "name"), _text(content["dtype"], "dtype"), shape)


def _node_to_fields(node: Node, number: int, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields of a node; attributes that are arrays become tensors."""
    attributes = {
        name: {"array": _array_to_fields(value, name, f"node.{number}.{name}", tensors)}
        if isinstance(value, np.ndarray)
        else {"value": encoded(value, name)}
        for name, value in node.attributes.items()
    }
    return {
        "op": node.op, "domain": node.domain, "name": node.name, "inputs": list(node.inputs),
        "outputs": list(node.outputs), "attributes": attributes,
    }  # fmt: skip


def _node_from_fields(content: Any, number: int, tensors: Tensors) -> Node:
    content = fields_of(content, "node", NODE_FIELDS)
    if not isinstance(content["attributes"], dict):
        raise ValueError("attributes must be an object")
    attributes = {}
    for name, value in content["attributes"].items():
        if isinstance(value, dict) and [*value] == ["array"]:
            attributes[name] = _array_from_fields(value["array"], f"node.{number}.{name}", tensors)[1]
        else:
            attributes[name] = decoded(fields_of(value, name, ["value"])["value"], name)
    op, domain, name = (_text(content[field], field) for field in ("op", "domain", "name"))
    inputs, outputs = (
        tuple(_text(name, field) for name in _list(content[field], field)) for field in ("inputs", "outputs")
    )
    return Node(op, inputs, outputs, attributes, name, domain)


def _array_to_fields(array: np.ndarray, name: str, key: str, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields of an array; it becomes the tensor `key`."""
    kind, tensors[key] = labels.packed(np.ascontiguousarray(array).reshape(-1), name)
    return {"name": name, "kind": kind, "shape": list(array.shape)}


def _array_from_fields(content: Any, key: str, tensors: Tensors) -> tuple[str, np.ndarray]:
    """The name of an array, and the array."""
    content = fields_of(content, "array", ARRAY_FIELDS)
    name, shape = _text(content["name"], "name"), _list(content["shape"], "shape")
    array = labels.unpacked(content["kind"], tensors.take(key), f"tensor {key!r:.80}")
    valid = len(shape) <= AXES and all(type(length) is int and length >= 0 for length in shape)
    if not valid or math.prod(shape) != array.size:
        raise ValueError(f"shape of {name[:80]!r} must fit its {array.size} numbers, got {shape!s:.80}")
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
