"""Calls of layers in Keras's functional models: what each reads, and in which order they can be made."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import Part
from .sketch import Tensor

BOUNDS = ("start", "stop", "step")


@dataclass(frozen=True)
class Reference:
    """One of the results of a call of a layer."""

    name: str
    node: int
    index: int


@dataclass(frozen=True)
class Call:
    """One call of a layer: the which of its calls it is, and what it is called with."""

    name: str
    node: int
    arguments: Any
    options: Any


class Calls:
    """All calls in a functional model.

    Parameters
    ----------
    model : Part
    layers : list
        Its layers, as the configuration has them.

    Attributes
    ----------
    inputs, outputs : list of Reference
    """

    def __init__(self, model: Part, layers: Sequence[Mapping[str, Any]]) -> None:
        self._model = model
        self._calls: list[Call] = []
        for layer, part in zip(layers, model.children, strict=True):
            nodes = layer.get("inbound_nodes", [])
            if not isinstance(nodes, list):
                raise part.refused(f"inbound_nodes must be a list, got {nodes!r:.80}")
            self._calls += [self._call(part, k, node) for k, node in enumerate(nodes)]
        self.inputs = [*self._ends("input_layers")]
        self.outputs = [*self._ends("output_layers")]
        if not self.inputs or not self.outputs or len({*self.inputs}) < len(self.inputs):
            raise model.refused("it must have inputs, each of them once, and outputs")

    def _call(self, part: Part, number: int, node: Any) -> Call:
        if not isinstance(node, dict) or not isinstance(node.get("args"), list | dict):
            raise part.refused("inbound_nodes must be objects with args and kwargs, as Keras 3 writes them")
        arguments, options = _read(node["args"], part), _read(node.get("kwargs", {}), part)
        if not isinstance(arguments, list) or not isinstance(options, dict):
            raise part.refused("inbound_nodes must have a list args, and an object kwargs")
        return Call(part.name, number, arguments, options)

    def _ends(self, name: str) -> Iterator[Reference]:
        """Inputs or outputs of the model, in Keras's order."""
        functional = {child.name for child in self._model.children if child.kind == "Functional"}
        for reference in _leaves(self._model.options.value(name), self._model, name):
            built_in = reference.name in functional  # such models count their own inputs and outputs as call 0
            yield Reference(reference.name, reference.node - built_in, reference.index)

    def in_order(self) -> Iterator[Call]:
        """Each call, after those whose results it reads.

        Raises
        ------
        ValueError
            If there is no such order, or a result that nothing gives is read.
        """
        waiting: dict[tuple[str, int], list[Call]] = defaultdict(list)
        missing: dict[tuple[str, int], int] = {}
        ready = deque((each.name, each.node) for each in self.inputs)
        for call in self._calls:
            sources = {(each.name, each.node) for each in references(call.arguments, call.options)}
            missing[call.name, call.node] = len(sources)
            for source in sources:
                waiting[source].append(call)
            if not sources:
                raise self._model.refused(f"layer {call.name[:80]!r} in it must be called with what others give")
        while ready:
            for call in waiting.pop(ready.popleft(), []):
                missing[call.name, call.node] -= 1
                if not missing[call.name, call.node]:
                    ready.append((call.name, call.node))
                    yield call
        for name, _ in waiting:
            raise self._model.refused(f"what layer {name[:80]!r} in it gives must not depend on itself, or be missing")


Made = Mapping[tuple[str, int], Sequence[Tensor]]


def found(made: Made, reference: Reference, model: Part) -> Tensor:
    """The tensor that a reference stands for."""
    results = made.get((reference.name, reference.node), ())
    if not 0 <= reference.index < len(results):
        raise model.refused(f"there is no result {reference.index} of call {reference.node} of {reference.name[:80]!r}")
    return results[reference.index]


def filled(value: Any, made: Made, model: Part) -> Any:
    """Arguments, with tensors in place of references."""
    if isinstance(value, Reference):
        return found(made, value, model)
    if isinstance(value, list):
        return [filled(each, made, model) for each in value]
    if isinstance(value, dict):
        return {name: filled(each, made, model) for name, each in value.items()}
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


def _leaves(value: Any, model: Part, name: str) -> Iterator[Reference]:
    """References as a model's ends have them, however they are nested."""
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        yield _reference(value, model)
    elif isinstance(value, list | dict):
        for each in value if isinstance(value, list) else [value[key] for key in sorted(value)]:
            yield from _leaves(each, model, name)
    else:
        raise model.options.refused(name, "lists of a name, a number of a call and a number of a result")


def _reference(value: Any, part: Part) -> Reference:
    good = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
    if not good or any(not isinstance(each, int) or isinstance(each, bool) for each in value[1:]):
        raise part.refused(f"a tensor must be given by the name of a layer and two integers, got {value!r:.80}")
    return Reference(*value)


def _read(value: Any, part: Part) -> Any:
    """Arguments of a call in Python's types."""
    if isinstance(value, list):
        return [_read(each, part) for each in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind is None:
        return {name: _read(each, part) for name, each in value.items()}
    if kind == "__tuple__" and isinstance(value.get("items"), list):
        return [_read(each, part) for each in value["items"]]
    if kind == "__keras_tensor__" and isinstance(config, dict):
        return _reference(config.get("keras_history"), part)
    if kind == "__slice__" and isinstance(config, dict):
        bounds = [config.get(name) for name in BOUNDS]
        if all(each is None or (isinstance(each, int) and abs(each) < 1 << 31) for each in bounds):
            return slice(*bounds)
    if kind == "__ellipsis__":
        return ...
    if kind in ("__numpy__", "__tensor__") and isinstance(config, dict):
        return _array(config, part)
    raise part.refused(f"it is called with what is not supported, {kind!r:.80}")


def _array(config: Mapping[str, Any], part: Part) -> np.ndarray:
    """An array that is written out in an argument."""
    try:
        array = np.array(config.get("value"), config.get("dtype"))
    except (TypeError, ValueError, OverflowError) as error:
        raise part.refused(f"an array in its arguments is none: {error}") from None
    if array.dtype.kind not in "biuf":
        raise part.refused(f"an array in its arguments must hold numbers, got {array.dtype}")
    return array
