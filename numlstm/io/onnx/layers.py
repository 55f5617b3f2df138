"""Layers as graphs of ONNX's operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...graphs.graph import Graph, Value
from ...layers import LAYERS
from ...layers.layer import Layer, layer_of
from ...layers.options import not_defaults, stack_of
from ...layers.stack import Stack
from .builder import NodeBuilder
from .nodes import node_of

OPSET = 17  # old enough for the runtimes in use, new enough for all that is used here
OPEN = 50.0  # σ(50) is 1, also in float64: the bias of a gate that is always open
LENGTHS = "sequence_lens"
FREE = ("N", "T")  # names of the axes whose lengths are unknown
TINY, LARGEST = float(np.finfo("float32").smallest_subnormal), float(np.finfo("float32").max)
GATES = {"input_gate": 0, "forget_gate": 1, "output_gate": 3}  # blocks of rows
PEEPHOLES = {"input_gate": 0, "forget_gate": 1, "output_gate": 2}
INPUT, FORGET = 0, 1


class Outputs(NamedTuple):
    """The outputs of a stack: y (T, N, F), zero past each length, and each layer's final states (directions, N, H)."""

    y: str
    final: list[list[str]]


def graph_of_layer(layer: Layer, shape: Sequence[int | str], state: bool, lengths: bool) -> Graph:
    """A graph from x, lengths and initial states (the latter two if asked for) to y and final states."""
    builder, stack = NodeBuilder(), layer._stack
    rows, steps = shape
    inputs = [Value("x", stack.dtype, (rows, steps, stack.input_size)), *length_input(shape, lengths)]
    sizes = [size for size in stack.hidden_sizes for _ in range(stack.directions)]
    initial = None
    if state:
        if len({*sizes}) > 1:
            raise ValueError(f"state must be False if layers differ in size, got hidden_size={layer.hidden_size}")
        states = [Value(f"{name}_0", stack.dtype, (len(sizes), rows, sizes[0])) for name in stack.state_names]
        inputs += states
        initial = [_split(builder, value.name, stack) for value in states]
    x = builder.add("Transpose", "x", perm=(1, 0, 2))
    suffix = "_n" if stack.num_layers == 1 else "_n_l{}"
    y, final = add_layers(builder, layer, x, LENGTHS if lengths else "", initial, suffix)
    builder.add("Transpose", y, out="y", perm=(1, 0, 2))
    outputs = [Value("y", stack.dtype, (rows, steps, stack.output_size))]
    for name, names in zip(stack.state_names, zip(*final, strict=True), strict=True):
        if len({*sizes}) > 1:  # the states of each layer are outputs of their own
            outputs += [
                Value(of_layer, stack.dtype, (stack.directions, rows, size))
                for of_layer, size in zip(names, stack.hidden_sizes, strict=True)
            ]
            continue
        if stack.num_layers > 1:
            builder.add("Concat", *names, out=f"{name}_n", axis=0)
        outputs.append(Value(f"{name}_n", stack.dtype, (len(sizes), rows, sizes[0])))
    return Graph(builder.nodes, inputs, outputs, builder.constants, OPSET)


def length_input(shape: Sequence[int | str], lengths: bool) -> list[Value]:
    """The input for the lengths of sequences, if there is one."""
    return [Value(LENGTHS, "int32", tuple(shape[:1]))] if lengths else []


def _split(builder: NodeBuilder, name: str, stack: Stack) -> list[str]:
    """The initial states of each layer."""
    if stack.num_layers == 1:
        return [name]
    names = [f"{name}_l{number}" for number in range(stack.num_layers)]
    builder.add("Split", name, builder.integers(*[stack.directions] * stack.num_layers), outputs=names, axis=0)
    return names


def add_layers(
    builder: NodeBuilder,
    layer: Layer,
    x: str,
    lengths: str,
    initial: list[list[str]] | None = None,
    suffix: str = "_n_l{}",
) -> Outputs:
    """Add the nodes of a stack of layers; x is (T, N, D), and the names of final states end in `suffix`.

    `lengths` is the name of the lengths of sequences, empty if all steps are real.
    """
    stack, layer = layer._stack, _with_onnx_options(layer)
    final = []
    for index in range(stack.num_layers):
        op, attributes, weights = node_of(layer, index)
        _check_numbers(attributes)
        w, r, b, p = (
            "" if array is None else builder.constant(f"{name}_l{index}", array)
            for name, array in weights._asdict().items()
        )
        states = [names[index] for names in initial] if initial else []
        inputs = [x, w, r, b, lengths, *states]
        if p:
            inputs = [*inputs, *[""] * (7 - len(inputs)), p]
        while not inputs[-1]:
            inputs.pop()
        final.append([name + suffix.format(index) for name in stack.state_names])
        y = builder.add(op, *inputs, outputs=(f"Y_l{index}", *final[-1]), **attributes)
        y = merge_directions(builder, stack, y, axis=1, order=(0, 2, 1, 3), shape=(0, 0, stack.output_sizes[index]))
        x = builder.add("Add", y, x) if stack.residual and index else y
    return Outputs(x, final)


def _check_numbers(attributes: Mapping[str, Any]) -> None:
    """Refuse numbers that single precision, which ONNX has for attributes, would make 0 or infinite."""
    for name, value in attributes.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and number and not TINY <= abs(number) <= LARGEST:
                raise ValueError(f"{name} must be 0 or in the range of float32 to be in ONNX, got {number}")


def merge_directions(
    builder: NodeBuilder, stack: Stack, value: str, axis: int, order: Sequence[int], shape: Sequence[int]
) -> str:
    """The axis of directions merged into the features; `order` puts it before them, and `shape` is the result's."""
    if not stack.bidirectional:
        return builder.add("Squeeze", value, builder.integers(axis))
    if stack.merge == "concat":
        ordered = builder.add("Transpose", value, perm=tuple(order))
        return builder.add("Reshape", ordered, builder.integers(*shape))
    if stack.merge == "sum":
        return builder.add("ReduceSum", value, builder.integers(axis), keepdims=0)
    return builder.add("ReduceMean", value, axes=(axis,), keepdims=0)


# Options that ONNX expresses otherwise ----------------------------------------------------------------------------


def _with_onnx_options(layer: Layer) -> Layer:
    """A layer that computes the same with options that ONNX has, if there is one; else the layer.

    ONNX couples the gates the other way round. If they are logistic, a change of signs does the same, because σ(-z) is
    1 - σ(z). A missing gate is a gate that is always open.
    """
    stack, options = layer._stack, dict(layer._stack.cell.options)
    missing = [gate for gate in GATES if not options.get(gate, True)]
    negated = options.get("coupled_gates") is True
    logistic = options.get("recurrent_activation", ("sigmoid",)) == ("sigmoid",)
    clips = options.get("preactivation_clip", OPEN) < OPEN
    if not (negated or missing) or not logistic or (missing and clips):
        return layer
    changed = {name: value for name, value in layer._shown.items() if name != "init"}
    changed |= {"hidden_size": [*stack.hidden_sizes], **dict.fromkeys(missing, True)}
    changed |= {"coupled_gates": "input"} if negated else {}
    changed |= {"bias": True} if missing else {}
    new_stack = stack_of("lstm", stack.input_size, stack.dtype, changed)
    parameters = {name: np.zeros(shape, stack.dtype) for name, shape in new_stack.shapes.items()}
    parameters |= {name: array.copy() for name, array in layer.parameters.items()}
    for name, array in parameters.items():
        _change_gates(name, array, missing, negated)
    return layer_of(LAYERS["lstm"], new_stack, parameters, not_defaults(changed), layer.backend)


def _change_gates(name: str, array: np.ndarray, missing: Sequence[str], negated: bool) -> None:
    """Open the missing gates and negate the input gate in one parameter, in place."""
    if not name.startswith(("weight_ih", "weight_hh", "bias", "peephole")):
        return
    peephole = name.startswith("peephole")
    blocks = array.reshape(3 if peephole else 4, -1, *array.shape[1:])
    for gate in missing:
        block = (PEEPHOLES if peephole else GATES)[gate]
        blocks[block] = OPEN if name.startswith("bias_ih") else 0.0
    if negated:
        blocks[INPUT] = -blocks[FORGET]
