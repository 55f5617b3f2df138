"""Keras's models, and layers that hold others: which layer reads what, and how masks go from one to the next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...graphs.graph import Graph
from .calls import Calls, filled, found
from .config import Described, Part, described
from .files import KerasFile
from .layers import KINDS
from .operations import OPERATIONS
from .placing import places
from .recurrent import LAYERS as RECURRENT
from .recurrent import bidirectional, count_sequences, recurrent
from .sketch import Sketch, Tensor, cast, concat, sliced

MODELS = ("Sequential", "Functional")
HOLDERS = (*MODELS, *RECURRENT, "Bidirectional", "TimeDistributed")
STEPWISE = ("Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout")  # the same on all steps at once
MASKED = (*HOLDERS, "BatchNormalization", "GlobalAveragePooling1D", "Softmax")  # whose calls take a mask
MOST = 20_000  # calls of layers; models in models, each used twice, are many in few words
INPUTS = ("float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DEPTH = 32  # of models in models
OPAQUE_2 = ("Identity", "Normalization", "Rescaling")  # let no mask through in Keras 2


def graph_of(file: KerasFile, backend: str | None = None) -> Graph:
    """What a model computes in inference."""
    sketch = Sketch()
    reader = Reader(file, sketch)
    what = described(file.config, "the configuration of a model")
    if what.kind not in MODELS:
        raise ValueError(f"the model must be one of {[*MODELS]}, got {what.kind[:80]!r}")
    model = reader.part(what, "")
    if file.by_layers:
        file.places = places(model)
    inputs = [sketch.input(*each) for each in _inputs(model)]
    outputs = reader.run(model, inputs)
    names = _output_names(model)
    return sketch.graph([*zip(names, outputs, strict=True)], backend)


def _inputs(model: Part) -> list[tuple[str, str, tuple[int | None, ...]]]:
    """Names, types and shapes of what a model is given."""
    if model.kind == "Functional":
        return [_input(_named(model, each.name)) for each in model.calls.inputs]
    first = model.children[0]
    if first.kind == "InputLayer":
        return [_input(first)]
    if first.kind in MODELS:
        return _inputs(first)
    shape = model.options.value("build_input_shape")
    return [("input", first.options.dtype, _shape(shape, model))]


def _input(part: Part) -> tuple[str, str, tuple[int | None, ...]]:
    """An `InputLayer`."""
    options = part.options
    if part.kind != "InputLayer":
        raise part.refused("a model's input must be an InputLayer")
    for name in ("sparse", "ragged", "optional"):
        options.off(name, "it is not supported")
    dtype = options.choice("dtype", INPUTS, "float32")
    shape = _shape(options.value("batch_shape"), part)
    options.finish()
    return part.name, dtype, shape


def _shape(value: Any, part: Part) -> tuple[int | None, ...]:
    """A shape with any number of rows."""
    if not isinstance(value, list) or not value or not all(each is None or _is_index(each) for each in value):
        raise part.refused(f"its input must have a shape, a list of lengths, got {value!r:.80}; build the model first")
    return (None, *value[1:])


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _output_names(model: Part) -> list[str]:
    """Names of a model's outputs: those of the layers that give them."""
    if model.kind == "Functional":
        return [each.name for each in model.calls.outputs]
    last = model.children[-1]
    return _output_names(last) if last.kind in MODELS else [last.name]


def _named(model: Part, name: str) -> Part:
    for child in model.children:
        if child.name == name:
            return child
    raise model.refused(f"there is no layer {name[:80]!r} in it")


class Reader:
    """Makes layers of their descriptions, and calls them.

    Parameters
    ----------
    file : KerasFile
    sketch : Sketch
    """

    def __init__(self, file: KerasFile, sketch: Sketch) -> None:
        self._file, self._sketch = file, sketch
        self._shared: dict[Any, Part] = {}
        self._depth = self._calls = 0

    # What there is ----------------------------------------------------------------------------------------

    def part(self, what: Described, path: str) -> Part:
        """A layer with all that is in it. One that is there twice has its arrays where it was first."""
        key = (what.shared, what.kind, what.name)
        if what.shared is not None and key in self._shared:
            return self._shared[key]
        part = Part(what, self._file, self._sketch, path)
        known = OPERATIONS if part.operation else (*KINDS, *HOLDERS, "InputLayer")
        if part.kind not in known:
            raise part.refused(
                "layers of this kind are not supported, nor are custom ones, which are code: make a model of those "
                "that from_keras names"
            )
        if what.shared is not None:
            self._shared[key] = part
        self._depth += 1
        if self._depth > DEPTH:
            raise part.refused(f"models and layers must be nested at most {DEPTH} deep")
        part.children = self._children(part)
        if part.kind == "Functional":
            part.calls = Calls(part, part.options.value("layers"))
        self._depth -= 1
        return part

    def _children(self, part: Part) -> list[Part]:
        """The layers in a layer, in the order in which Keras writes them."""
        options, path = part.options, f"{part.path}/" if part.path else ""
        if part.operation:
            return []
        if part.kind in MODELS:
            return self._layers(part, path)
        if part.kind == "Bidirectional":
            forward = described(options.value("layer"), f"{part.label}: layer")
            back = options.value("backward_layer")
            backward = _reversed(forward) if back is None else described(back, f"{part.label}: backward_layer")
            for each in (forward, backward):
                if each.kind not in RECURRENT:
                    raise part.refused(f"its layers must be of {[*RECURRENT]}, got {each.kind[:80]!r}")
            return [self.part(forward, f"{path}forward_layer"), self.part(backward, f"{path}backward_layer")]
        if part.kind == "TimeDistributed":
            return [self.part(described(options.value("layer"), f"{part.label}: layer"), f"{path}layer")]
        if part.kind == "RNN":
            return [self._cell(described(options.value("cell"), f"{part.label}: cell"), f"{path}cell")]
        return []

    def _cell(self, what: Described, path: str) -> Part:
        """A cell, or several on top of one another."""
        cell = Part(what, self._file, self._sketch, path)
        if cell.kind == "StackedRNNCells":
            found = cell.options.value("cells")
            if not isinstance(found, list) or not found:
                raise cell.options.refused("cells", "a list of cells")
            names, cells = _Unique(), [described(each, f"{cell.label}: cells") for each in found]
            cell.children = [Part(each, self._file, self._sketch, f"{path}/cells/{names(each)}") for each in cells]
        return cell

    def _layers(self, model: Part, path: str) -> list[Part]:
        """The layers of a model."""
        found = model.options.value("layers")
        if not isinstance(found, list) or not found:
            raise model.options.refused("layers", "a list of layers")
        layers = [described(each, f"{model.label}: layers[{k}]") for k, each in enumerate(found)]
        names, parts = _Unique(), []
        for k, each in enumerate(layers):
            counted = not each.operation and not (model.kind == "Sequential" and k == 0 and each.kind == "InputLayer")
            parts.append(self.part(each, f"{path}layers/{names(each)}" if counted else ""))
        if model.kind == "Functional" and len({each.name for each in parts}) < len(parts):
            raise model.refused("its layers must have different names")
        return parts

    # What is done -----------------------------------------------------------------------------------------

    def call(self, part: Part, arguments: Sequence[Any], options: Mapping[str, Any]) -> list[Tensor]:
        """What a layer makes of what it is called with, with masks as Keras attaches them."""
        self._calls += 1
        if self._calls > MOST:
            raise part.refused(f"the model must have at most {MOST} calls of layers")
        with self._sketch.within(part.name):
            if part.operation:
                return OPERATIONS[part.kind](part, arguments, options)
            first, state, mask = _arguments(part, arguments, options)
            if part.kind in MODELS:
                return self.run(part, first, mask)
            outputs = self._outputs(part, first, state, mask)
        part.options.finish()
        return outputs

    def _outputs(self, part: Part, first: list[Tensor], state: list[Tensor], mask: Any) -> list[Tensor]:
        """Likewise, from checked arguments."""
        if part.kind == "InputLayer":
            raise part.refused("it must not be called")
        kind, sketch = KINDS.get(part.kind), part.sketch
        if kind is None or kind.casts:
            first = [cast(sketch, each, part.options.dtype) if each.floating else each for each in first]
        if kind is not None and kind.several:
            return [kind.apply(part, first)]
        if len(first) != 1:
            raise part.refused(f"it must have one input, got {len(first)}")
        (x,) = first
        before = mask or x.mask
        if mask is None and (not state or part.version == 2):  # beside a state Keras 3 looks for no mask
            mask = x.mask
        if kind is not None:
            y = kind.apply(part, x, mask) if kind.reads_mask else kind.apply(part, x.under(None))
            passes = kind.passes and not (part.version == 2 and part.kind in OPAQUE_2)
            return [y.under(y.mask or before) if passes else y]
        if part.kind == "TimeDistributed":
            return [each.under(before) for each in self._each_step(part, x, mask)]
        x, *state = (cast(sketch, each, part.options.dtype) for each in (x, *state))
        outputs = (bidirectional if part.kind == "Bidirectional" else recurrent)(part, x, mask, state)
        sequences = count_sequences(part)
        return [each.under(before if k < sequences else None) for k, each in enumerate(outputs)]

    def _each_step(self, part: Part, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        """What a layer makes of each step by itself."""
        (child,) = part.children
        sketch = part.sketch
        if x.ndim < 3:
            raise part.refused(f"its input must have at least 3 axes, got shape {x.shape}")
        if child.kind in STEPWISE:
            return self.call(child, [x.under(None)], {})
        if mask is not None and (child.kind in HOLDERS or child.kind == "Softmax"):
            raise part.refused(f"it must be without a mask around a layer of kind {child.kind!r}")
        flat = sketch.node("Reshape", [x, _joined_axes(sketch, x, [-1], 2)], (None, *x.shape[2:]))
        outputs = self.call(child, [flat], {})
        rows = sliced(sketch, sketch.node("Shape", [x], (x.ndim,), "int64"), 0, 2, 0, 2)
        return [
            sketch.node("Reshape", [y, _joined_axes(sketch, y, rows, 1)], (*x.shape[:2], *y.shape[1:])) for y in outputs
        ]

    def run(self, part: Part, inputs: Sequence[Tensor], mask: Any = None) -> list[Tensor]:
        """What a model makes of its inputs."""
        masks = [*mask] if isinstance(mask, list) else [mask]
        masks += [None] * (len(inputs) - len(masks))
        if len(masks) != len(inputs) or not all(each is None or isinstance(each, Tensor) for each in masks):
            raise part.refused("it must be called with a mask for each input")
        known = [each.under(own or each.mask) for each, own in zip(inputs, masks, strict=True)]
        part.options.ignore("layers", "build_input_shape", "input_layers", "output_layers")
        part.options.finish()
        return self._functional(part, known) if part.kind == "Functional" else self._sequential(part, known)

    def _sequential(self, part: Part, tensors: list[Tensor]) -> list[Tensor]:
        """What layers make of it, one after another."""
        for k, child in enumerate(part.children):
            if child.kind == "InputLayer" and k == 0:
                tensors = [_as_input(child, each) for each in tensors]
            else:
                tensors = self.call(child, [tensors if len(tensors) > 1 else tensors[0]], {})
        return tensors

    def _functional(self, part: Part, inputs: list[Tensor]) -> list[Tensor]:
        """What layers make of it that are called in some order."""
        ends = part.calls.inputs
        if len(inputs) != len(ends):
            raise part.refused(f"it must have {len(ends)} inputs, got {len(inputs)}")
        made: dict[tuple[str, int], list[Tensor]] = {}
        for end, x in zip(ends, inputs, strict=True):
            made[end.name, end.node] = [_as_input(_named(part, end.name), x)]
        by_name = {child.name: child for child in part.children}
        for call in part.calls.in_order():
            arguments, options = (filled(each, made, part) for each in (call.arguments, call.options))
            made[call.name, call.node] = self.call(by_name[call.name], arguments, options)
        return [found(made, each, part) for each in part.calls.outputs]


def _arguments(
    part: Part, arguments: Sequence[Any], options: Mapping[str, Any]
) -> tuple[list[Tensor], list[Tensor], Any]:
    """The inputs of a layer, its initial state, and the mask that is given for it."""
    rest = dict(options)
    given = [*arguments] or [rest.pop(name) for name in ("inputs", "sequences") if name in rest][:1]
    holds_state = part.kind in (*RECURRENT, "Bidirectional")
    if len(given) == 2 and holds_state and rest.get("initial_state") is None:
        rest["initial_state"] = given.pop()
    if len(given) != 1:
        raise part.refused(f"it must be called with one input, or a list of them, got {len(given)}")
    state = _flat(part, rest.pop("initial_state", None)) if holds_state else []
    mask = rest.pop("mask", None)
    for name, value in rest.items():
        if value not in (None, False):
            raise part.refused(f"it is called with {name[:80]!r}, which is not supported")
    if mask is not None and part.kind not in MASKED:
        raise part.refused("it is called with a mask, which is not supported")
    if part.kind not in MODELS and mask is not None:
        mask = (*_flat(part, mask), None)[0]
    return _flat(part, given[0]), state, mask


def _flat(part: Part, value: Any) -> list[Tensor]:
    """Tensors that are nested in lists, in Keras's order."""
    if value is None:
        return []
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    if not isinstance(value, list):
        raise part.refused(f"it must be called with tensors, got {type(value).__name__}")
    return [tensor for each in value for tensor in _flat(part, each)]


def _reversed(forward: Described) -> Described:
    """The layer of the other direction, where none is given."""
    backwards = forward.config.get("go_backwards") is not True
    return replace(forward, config={**forward.config, "go_backwards": backwards}, shared=None)


def _as_input(part: Part, x: Tensor) -> Tensor:
    """What an `InputLayer` in a model makes of a tensor."""
    _, dtype, shape = _input(part)
    if len(shape) != x.ndim:
        raise part.refused(f"it must be given {len(shape)} axes, got shape {x.shape}")
    return cast(part.sketch, x, dtype)


def _joined_axes(sketch: Sketch, x: Tensor, first: Any, start: int) -> Tensor:
    """A shape: some lengths, and then those of a tensor from an axis on."""
    shape = sketch.node("Shape", [x], (x.ndim,), "int64")
    rest = sliced(sketch, shape, start, x.ndim, 0, x.ndim - start)
    return concat(sketch, [first if isinstance(first, Tensor) else sketch.constant(first, "int64"), rest], 0)


class _Unique:
    """Names in a file, of layers in the order in which they come."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def __call__(self, what: Described) -> str:
        name = re.sub(r"\W+", "", what.kind)
        name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
        name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
        self._used[name] += 1
        return f"{name}_{self._used[name] - 1}" if self._used[name] > 1 else name
