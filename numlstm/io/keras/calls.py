"""Calls of layers in Keras's functional models: the inputs of each call, and an order in which they can run."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .builder import Tensor
from .config import KerasLayer

BOUNDS = ("start", "stop", "step")


@dataclass(frozen=True)
class Reference:
    """One of the results of a call of a layer."""

    name: str
    node: int
    index: int


@dataclass(frozen=True)
class Call:
    """One call of a layer: its number among the layer's calls, and its arguments."""

    name: str
    node: int
    arguments: Any
    options: Any


class Calls:
    """All calls in a functional model.

    Parameters
    ----------
    model : KerasLayer
    layers : list
        Its layers in the configuration.

    Attributes
    ----------
    inputs, outputs : list of Reference
    """

    def __init__(self, model: KerasLayer, layers: Sequence[Mapping[str, Any]]) -> None:
        self._model = model
        self._calls: list[Call] = []
        for description, layer in zip(layers, model.children, strict=True):
            nodes = description.get("inbound_nodes", [])
            if not isinstance(nodes, list):
                raise layer.refused(f"inbound_nodes must be a list, got {nodes!r:.80}")
            self._calls += [self._call(layer, k, node) for k, node in enumerate(nodes)]
        self.inputs = [*self._ends("input_layers")]
        self.outputs = [*self._ends("output_layers")]
        if not self.inputs or not self.outputs or len({*self.inputs}) < len(self.inputs):
            raise model.refused("it must have outputs, and different inputs")

    def _call(self, layer: KerasLayer, number: int, node: Any) -> Call:
        if not isinstance(node, dict) or not isinstance(node.get("args"), list | dict):
            raise layer.refused("inbound_nodes must be objects with args and kwargs, as Keras 3 writes them")
        arguments, options = _read(node["args"], layer), _read(node.get("kwargs", {}), layer)
        if not isinstance(arguments, list) or not isinstance(options, dict):
            raise layer.refused("inbound_nodes must have args that are a list, and kwargs that are an object")
        return Call(layer.name, number, arguments, options)

    def _ends(self, name: str) -> Iterator[Reference]:
        """Inputs or outputs of the model, in Keras's order."""
        functional = {child.name for child in self._model.children if child.kind == "Functional"}
        for reference in _leaves(self._model.options.value(name), self._model, name):
            shift = reference.name in functional  # such models count their own inputs and outputs as call 0
            yield Reference(reference.name, reference.node - shift, reference.index)

    def in_order(self) -> Iterator[Call]:
        """The calls in an order in which each comes after those whose results it reads.

        Raises
        ------
        ValueError
            If there is no such order, or a call reads a result that does not exist.
        """
        waiting: dict[tuple[str, int], list[Call]] = defaultdict(list)
        missing: dict[tuple[str, int], int] = {}
        ready = deque((reference.name, reference.node) for reference in self.inputs)
        for call in self._calls:
            sources = {(reference.name, reference.node) for reference in references(call.arguments, call.options)}
            missing[call.name, call.node] = len(sources)
            for source in sources:
                waiting[source].append(call)
            if not sources:
                raise self._model.refused(f"layer {call.name[:80]!r} in it must be called with results of other layers")
        while ready:
            for call in waiting.pop(ready.popleft(), []):
                missing[call.name, call.node] -= 1
                if not missing[call.name, call.node]:
                    ready.append((call.name, call.node))
                    yield call
        for name, _ in waiting:
            raise self._model.refused(f"the result of layer {name[:80]!r} in it must exist, and not depend on itself")


Results = Mapping[tuple[str, int], Sequence[Tensor]]


def tensor_of(results: Results, reference: Reference, model: KerasLayer) -> Tensor:
    """The tensor of a reference."""
    outputs = results.get((reference.name, reference.node), ())
    if not 0 <= reference.index < len(outputs):
        raise model.refused(f"result {reference.index} of call {reference.node} of {reference.name[:80]!r} must exist")
    return outputs[reference.index]


def resolved(value: Any, results: Results, model: KerasLayer) -> Any:
    """Arguments, with tensors in place of references."""
    if isinstance(value, Reference):
        return tensor_of(results, value, model)
    if isinstance(value, list):
        return [resolved(item, results, model) for item in value]
    if isinstance(value, dict):
        return {name: resolved(item, results, model) for name, item in value.items()}
    return value


def references(*values: Any) -> Iterator[Reference]:
    """All references in arguments."""
    for value in values:
        if isinstance(value, Reference):
            yield value
        elif isinstance(value, list):
            yield from references(*value)
        elif isinstance(value, dict):
            yield from references(*value.values())


def _leaves(value: Any, model: KerasLayer, name: str) -> Iterator[Reference]:
    """The references to a model's inputs or outputs, which may be nested in lists."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        yield _reference(value, model)
    elif isinstance(value, list | dict):
        for item in value if isinstance(value, list) else [value[key] for key in sorted(value)]:
            yield from _leaves(item, model, name)
    else:
        raise model.options.refused(name, "lists of a layer's name, the number of a call and the number of a result")


def _reference(value: Any, layer: KerasLayer) -> Reference:
    valid = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
    if not valid or any(not isinstance(number, int) or isinstance(number, bool) for number in value[1:]):
        raise layer.refused(f"a tensor must be the name of a layer and two integers, got {value!r:.80}")
    return Reference(*value)


def _read(value: Any, layer: KerasLayer) -> Any:
    """Arguments of a call in Python's types."""
    if isinstance(value, list):
        return [_read(item, layer) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind is None:
        return {name: _read(item, layer) for name, item in value.items()}
    if kind == "__tuple__" and isinstance(value.get("items"), list):
        return [_read(item, layer) for item in value["items"]]
    if kind == "__keras_tensor__" and isinstance(config, dict):
        return _reference(config.get("keras_history"), layer)
    if kind == "__slice__" and isinstance(config, dict):
        bounds = [config.get(name) for name in BOUNDS]
        if all(item is None or (isinstance(item, int) and abs(item) < 1 << 31) for item in bounds):
            return slice(*bounds)
    if kind == "__ellipsis__":
        return ...
    if kind in ("__numpy__", "__tensor__") and isinstance(config, dict):
        return _array(config, layer)
    raise layer.refused(f"it is called with an argument that is not supported, {kind!r:.80}")


def _array(config: Mapping[str, Any], layer: KerasLayer) -> np.ndarray:
    """An array that is written out in an argument."""
    try:
        array = np.array(config.get("value"), config.get("dtype"))
    except (TypeError, ValueError, OverflowError) as error:
        raise layer.refused(f"an array in its arguments must be valid: {error}") from None
    if array.dtype.kind not in "biuf":
        raise layer.refused(f"an array in its arguments must hold numbers, got {array.dtype}")
    return array
