"""The run of a Keras model: which layer reads what, and how masks go from one layer to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...graphs.graph import Graph
from .builder import GraphBuilder, Tensor, cast, concat, sliced
from .calls import resolved, tensor_of
from .config import KerasLayer, description_of
from .files import KerasFile
from .layers import KINDS
from .operations import OPERATIONS
from .placing import places_of
from .reading import HOLDERS, MODELS, LayerReader
from .recurrent import LAYERS as RECURRENT
from .recurrent import bidirectional, count_sequences, recurrent

STEPWISE = ("Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout")  # run on all steps at once
MASKED = (*HOLDERS, "BatchNormalization", "GlobalAveragePooling1D", "Softmax")  # whose calls take a mask
MOST = 20_000  # calls of layers; a short description can hold many, in models that use models twice
INPUTS = ("float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
OPAQUE_2 = ("Identity", "Normalization", "Rescaling")  # pass no mask on in Keras 2


def graph_of(file: KerasFile, backend: str | None = None) -> Graph:
    """The graph that computes what a model does in inference."""
    builder = GraphBuilder()
    description = description_of(file.config, "the configuration of a model")
    if description.kind not in MODELS:
        raise ValueError(f"the model must be one of {[*MODELS]}, got {description.kind[:80]!r}")
    model = LayerReader(file, builder).layer(description, "")
    if file.by_layers:
        file.places = places_of(model)
    inputs = [builder.input(*arguments) for arguments in _inputs(model)]
    outputs = Runner(builder).run(model, inputs)
    names = _output_names(model)
    return builder.graph([*zip(names, outputs, strict=True)], backend)


def _inputs(model: KerasLayer) -> list[tuple[str, str, tuple[int | None, ...]]]:
    """The names, types and shapes of a model's inputs."""
    if model.kind == "Functional":
        return [_input(_named(model, reference.name)) for reference in model.calls.inputs]
    first = model.children[0]
    if first.kind == "InputLayer":
        return [_input(first)]
    if first.kind in MODELS:
        return _inputs(first)
    shape = model.options.value("build_input_shape")
    return [("input", first.options.dtype, _shape(shape, model))]


def _input(layer: KerasLayer) -> tuple[str, str, tuple[int | None, ...]]:
    """The name, type and shape of an `InputLayer`."""
    options = layer.options
    if layer.kind != "InputLayer":
        raise layer.refused("a model's input must be an InputLayer")
    for name in ("sparse", "ragged", "optional"):
        options.off(name, "it is not supported")
    dtype = options.choice("dtype", INPUTS, "float32")
    shape = _shape(options.value("batch_shape"), layer)
    options.finish()
    return layer.name, dtype, shape


def _shape(value: Any, layer: KerasLayer) -> tuple[int | None, ...]:
    """A shape with a free number of rows."""
    if not isinstance(value, list) or not value or not all(length is None or _is_index(length) for length in value):
        raise layer.refused(f"its input must have a shape, a list of lengths, got {value!r:.80}; build the model first")
    return (None, *value[1:])


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _output_names(model: KerasLayer) -> list[str]:
    """The names of a model's outputs: those of the layers that compute them."""
    if model.kind == "Functional":
        return [reference.name for reference in model.calls.outputs]
    last = model.children[-1]
    return _output_names(last) if last.kind in MODELS else [last.name]


def _named(model: KerasLayer, name: str) -> KerasLayer:
    for child in model.children:
        if child.name == name:
            return child
    raise model.refused(f"layer {name[:80]!r} must be in it")


class Runner:
    """Calls layers, which add their operators to a graph.

    Parameters
    ----------
    builder : GraphBuilder
    """

    def __init__(self, builder: GraphBuilder) -> None:
        self._builder = builder
        self._calls = 0

    def call(self, layer: KerasLayer, arguments: Sequence[Any], options: Mapping[str, Any]) -> list[Tensor]:
        """The outputs of a layer for its arguments, with masks as Keras attaches them."""
        self._calls += 1
        if self._calls > MOST:
            raise layer.refused(f"the model must have at most {MOST} calls of layers")
        with self._builder.within(layer.name):
            if layer.operation:
                return OPERATIONS[layer.kind](layer, arguments, options)
            first, state, mask = _arguments(layer, arguments, options)
            if layer.kind in MODELS:
                return self.run(layer, first, mask)
            outputs = self._outputs(layer, first, state, mask)
        layer.options.finish()
        return outputs

    def _outputs(self, layer: KerasLayer, first: list[Tensor], state: list[Tensor], mask: Any) -> list[Tensor]:
        """The outputs of a layer for checked arguments."""
        if layer.kind == "InputLayer":
            raise layer.refused("it must not be called")
        kind, builder = KINDS.get(layer.kind), layer.builder
        if kind is None or kind.casts:
            first = [cast(builder, tensor, layer.options.dtype) if tensor.floating else tensor for tensor in first]
        if kind is not None and kind.several:
            return [kind.apply(layer, first)]
        if len(first) != 1:
            raise layer.refused(f"it must have one input, got {len(first)}")
        (x,) = first
        before = mask or x.mask
        if mask is None and (not state or layer.version == 2):  # with a state, Keras 3 ignores the input's mask
            mask = x.mask
        if kind is not None:
            y = kind.apply(layer, x, mask) if kind.reads_mask else kind.apply(layer, x.under(None))
            passes = kind.passes and not (layer.version == 2 and layer.kind in OPAQUE_2)
            return [y.under(y.mask or before) if passes else y]
        if layer.kind == "TimeDistributed":
            return [tensor.under(before) for tensor in self._each_step(layer, x, mask)]
        x, *state = (cast(builder, tensor, layer.options.dtype) for tensor in (x, *state))
        outputs = (bidirectional if layer.kind == "Bidirectional" else recurrent)(layer, x, mask, state)
        sequences = count_sequences(layer)
        return [tensor.under(before if k < sequences else None) for k, tensor in enumerate(outputs)]

    def _each_step(self, layer: KerasLayer, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        """The outputs of a layer that is applied to each step by itself."""
        (child,) = layer.children
        builder = layer.builder
        if x.ndim < 3:
            raise layer.refused(f"its input must have at least 3 axes, got shape {x.shape}")
        if child.kind in STEPWISE:
            return self.call(child, [x.under(None)], {})
        if mask is not None and (child.kind in HOLDERS or child.kind == "Softmax"):
            raise layer.refused(f"it must be without a mask around a layer of kind {child.kind!r}")
        flat = builder.node("Reshape", [x, _joined_axes(builder, x, [-1], 2)], (None, *x.shape[2:]))
        outputs = self.call(child, [flat], {})
        rows = sliced(builder, builder.node("Shape", [x], (x.ndim,), "int64"), 0, 2, 0, 2)
        return [
            builder.node("Reshape", [y, _joined_axes(builder, y, rows, 1)], (*x.shape[:2], *y.shape[1:]))
            for y in outputs
        ]

    def run(self, layer: KerasLayer, inputs: Sequence[Tensor], mask: Any = None) -> list[Tensor]:
        """The outputs of a model for its inputs."""
        masks = [*mask] if isinstance(mask, list) else [mask]
        masks += [None] * (len(inputs) - len(masks))
        if len(masks) != len(inputs) or not all(tensor is None or isinstance(tensor, Tensor) for tensor in masks):
            raise layer.refused("it must be called with a mask for each input")
        known = [tensor.under(given or tensor.mask) for tensor, given in zip(inputs, masks, strict=True)]
        layer.options.ignore("layers", "build_input_shape", "input_layers", "output_layers")
        layer.options.finish()
        return self._functional(layer, known) if layer.kind == "Functional" else self._sequential(layer, known)

    def _sequential(self, layer: KerasLayer, tensors: list[Tensor]) -> list[Tensor]:
        """The outputs of layers that run one after another."""
        for k, child in enumerate(layer.children):
            if child.kind == "InputLayer" and k == 0:
                tensors = [_as_input(child, tensor) for tensor in tensors]
            else:
                tensors = self.call(child, [tensors if len(tensors) > 1 else tensors[0]], {})
        return tensors

    def _functional(self, layer: KerasLayer, inputs: list[Tensor]) -> list[Tensor]:
        """The outputs of layers that call one another."""
        ends = layer.calls.inputs
        if len(inputs) != len(ends):
            raise layer.refused(f"it must have {len(ends)} inputs, got {len(inputs)}")
        results: dict[tuple[str, int], list[Tensor]] = {}
        for end, x in zip(ends, inputs, strict=True):
            results[end.name, end.node] = [_as_input(_named(layer, end.name), x)]
        by_name = {child.name: child for child in layer.children}
        for call in layer.calls.in_order():
            arguments, options = (resolved(value, results, layer) for value in (call.arguments, call.options))
            results[call.name, call.node] = self.call(by_name[call.name], arguments, options)
        return [tensor_of(results, reference, layer) for reference in layer.calls.outputs]


def _arguments(
    layer: KerasLayer, arguments: Sequence[Any], options: Mapping[str, Any]
) -> tuple[list[Tensor], list[Tensor], Any]:
    """The inputs, the initial state and the mask in the arguments of a call."""
    rest = dict(options)
    inputs = [*arguments] or [rest.pop(name) for name in ("inputs", "sequences") if name in rest][:1]
    holds_state = layer.kind in (*RECURRENT, "Bidirectional")
    if len(inputs) == 2 and holds_state and rest.get("initial_state") is None:
        rest["initial_state"] = inputs.pop()
    if len(inputs) != 1:
        raise layer.refused(f"it must be called with one input, or a list of them, got {len(inputs)}")
    state = _flat(layer, rest.pop("initial_state", None)) if holds_state else []
    mask = rest.pop("mask", None)
    for name, value in rest.items():
        if value not in (None, False):
            raise layer.refused(f"argument {name[:80]!r} must be left out: it is not supported")
    if mask is not None and layer.kind not in MASKED:
        raise layer.refused("mask must be left out: it is not supported")
    if layer.kind not in MODELS and mask is not None:
        mask = (*_flat(layer, mask), None)[0]
    return _flat(layer, inputs[0]), state, mask


def _flat(layer: KerasLayer, value: Any) -> list[Tensor]:
    """The tensors in nested lists and dictionaries, in Keras's order."""
    if value is None:
        return []
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    if not isinstance(value, list):
        raise layer.refused(f"it must be called with tensors, got {type(value).__name__}")
    return [tensor for item in value for tensor in _flat(layer, item)]


def _as_input(layer: KerasLayer, x: Tensor) -> Tensor:
    """A tensor, checked and cast as an `InputLayer` in a model does it."""
    _, dtype, shape = _input(layer)
    if len(shape) != x.ndim:
        raise layer.refused(f"it must be given {len(shape)} axes, got shape {x.shape}")
    return cast(layer.builder, x, dtype)


def _joined_axes(builder: GraphBuilder, x: Tensor, first: Any, start: int) -> Tensor:
    """A shape: the `first` lengths, and then those of a tensor from an axis on."""
    shape = builder.node("Shape", [x], (x.ndim,), "int64")
    rest = sliced(builder, shape, start, x.ndim, 0, x.ndim - start)
    return concat(builder, [first if isinstance(first, Tensor) else builder.constant(first, "int64"), rest], 0)
