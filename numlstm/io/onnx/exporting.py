"""Layers and estimators as graphs of ONNX's operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...graphs.graph import Graph, Node, Value
from ...graphs.operators.recurrent import node_of
from ...graphs.operators.shapes import NUMBERS
from ...layers import LAYERS
from ...layers.layer import Layer, layer_of
from ...layers.options import not_defaults, stack_of

OPSET = 17  # old enough for the runtimes in use, new enough for all that is used here
OPEN = 50.0  # σ(50) is 1, in float64 too: of a gate that is not there
LENGTHS = "sequence_lens"
FREE = ("N", "T")  # names of the axes whose lengths are not known
TINY, LARGEST = float(np.finfo("float32").smallest_subnormal), float(np.finfo("float32").max)
GATES = {"input_gate": 0, "forget_gate": 1, "output_gate": 3}  # blocks of rows
INPUT, FORGET = 0, 1
OF_PEEPHOLES = {"input_gate": 0, "forget_gate": 1, "output_gate": 2}


def graph_of(model: Any, *, shape: Sequence[int | str] = FREE, state: bool = False, lengths: bool = True) -> Graph:
    """The graph that computes what a model does.

    Parameters
    ----------
    model : Layer, estimator, scaler, or Pipeline of scalers and an estimator
    shape : (N, T)
        Lengths of the axes of batch and steps, or their names.
    state : bool
        Whether initial states are inputs; of layers.
    lengths : bool
        Whether lengths of sequences are an input.

    Raises
    ------
    TypeError
        If it is of another kind.
    ValueError
        If it is not fitted, or has an option that ONNX has no place for.
    """
    if isinstance(model, Graph):
        if state or not lengths or (*shape,) != FREE:
            raise ValueError(
                "dynamic and lengths must be True and state False for a Graph, whose inputs are what they are"
            )
        return model
    if isinstance(model, Layer):
        return _of_layer(model, shape, state, lengths)
    if state:
        raise ValueError(
            f"state must be False for {type(model).__name__}: estimators start from zeros, layers need not"
        )
    return _of_estimator(model, shape, lengths)


# Layers -------------------------------------------------------------------------------------------------------


class Outputs(NamedTuple):
    """What a stack gives: y (T, N, F), zero past each length, and each layer's final states, (directions, N, H)."""

    y: str
    final: list[list[str]]


class _Builder:
    """Nodes and constants that come to be.

    `lengths` is the name of the input that has them, or empty if all steps are real.
    """

    def __init__(self, lengths: bool) -> None:
        self.lengths = LENGTHS if lengths else ""
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, array: Any) -> str:
        """A new constant."""
        self.constants[name] = np.asarray(array)
        return name

    def integers(self, *values: int) -> str:
        """A vector of integers, made once."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def inputs(self, x: Value) -> list[Value]:
        """What is given: x, and lengths if they are."""
        assert x.shape is not None
        return [x, Value(self.lengths, "int32", x.shape[:1])] if self.lengths else [x]

    def add(self, op: str, *inputs: str, out: str = "", outputs: Sequence[str] = (), **attributes: Any) -> str:
        """A new node; its output, or the first of them."""
        outputs = tuple(outputs) or (out or f"{op}_{len(self.nodes)}",)
        self.nodes.append(Node(op, inputs, outputs, attributes, f"{op}_{len(self.nodes)}"))
        return outputs[0]


def _of_layer(layer: Layer, shape: Sequence[int | str], state: bool, lengths: bool) -> Graph:
    """x, and lengths and initial states if asked for, to y and final states."""
    build, stack = _Builder(lengths), layer._stack
    rows, steps = shape
    names = [f"{name}_n" for name in stack.state_names]
    inputs = build.inputs(Value("x", stack.dtype, (rows, steps, stack.input_size)))
    initial = None
    sizes = [size for size in stack.hidden_sizes for _ in range(stack.directions)]
    if state:
        if len({*sizes}) > 1:
            raise ValueError(f"state must be False where layers differ in size, got hidden_size={layer.hidden_size}")
        states = [Value(f"{name}_0", stack.dtype, (len(sizes), rows, sizes[0])) for name in stack.state_names]
        inputs += states
        initial = [_apart(build, value.name, stack.num_layers, stack.directions) for value in states]
    alone = stack.num_layers == 1
    made = _stack(build, layer, build.add("Transpose", "x", perm=(1, 0, 2)), initial, "_n" if alone else "_n_l{}")
    build.add("Transpose", made.y, out="y", perm=(1, 0, 2))
    outputs = [Value("y", stack.dtype, (rows, steps, stack.output_size))]
    for name, states_of in zip(names, zip(*made.final, strict=True), strict=True):
        if len({*sizes}) == 1:
            if not alone:
                build.add("Concat", *states_of, out=name, axis=0)
            outputs.append(Value(name, stack.dtype, (len(sizes), rows, sizes[0])))
            continue
        for each, size in zip(states_of, stack.hidden_sizes, strict=True):  # they have outputs of their own
            outputs.append(Value(each, stack.dtype, (stack.directions, rows, size)))
    return Graph(build.nodes, inputs, outputs, build.constants, OPSET)


def _apart(build: _Builder, name: str, layers: int, directions: int) -> list[str]:
    """The parts of a state that belong to each layer."""
    if layers == 1:
        return [name]
    parts = [f"{name}_l{layer}" for layer in range(layers)]
    build.add("Split", name, build.integers(*[directions] * layers), outputs=parts, axis=0)
    return parts


def _stack(
    build: _Builder, layer: Layer, x: str, initial: list[list[str]] | None = None, ends: str = "_n_l{}"
) -> Outputs:
    """Nodes for layers on top of one another; x is (T, N, D), and `ends` what names of final states end in."""
    stack, final, layer = layer._stack, [], _carried(layer)
    names = stack.state_names
    for index in range(stack.num_layers):
        op, attributes, weights = node_of(layer, index)
        _check_numbers(attributes)
        given = [
            "" if array is None else build.constant(f"{name}_l{index}", array)
            for name, array in weights._asdict().items()
        ]
        w, r, b, p = given
        states = [part[index] for part in initial] if initial else []
        inputs = [x, w, r, b, build.lengths, *states]
        if p:
            inputs = [*inputs, *[""] * (7 - len(inputs)), p]
        while not inputs[-1]:
            inputs.pop()
        own = [name + ends.format(index) for name in names]
        y = build.add(op, *inputs, outputs=(f"Y_l{index}", *own), **attributes)
        y = _merged(build, stack, y, axis=1, order=(0, 2, 1, 3), shape=(0, 0, stack.output_sizes[index]))
        x = build.add("Add", y, x) if stack.residual and index else y
        final.append(own)
    return Outputs(x, final)


def _check_numbers(attributes: Mapping[str, Any]) -> None:
    """Refuse what ONNX, which has such numbers in single precision, would make 0 or infinite."""
    for name, value in attributes.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and number and not TINY <= abs(number) <= LARGEST:
                raise ValueError(f"{name} must be 0 or in the range of float32 to be in ONNX, got {number}")


def _merged(build: _Builder, stack: Any, value: str, axis: int, order: Sequence[int], shape: Sequence[int]) -> str:
    """The directions of a value, which are an axis of it, as features; `order` has that axis before the last."""
    if not stack.bidirectional:
        return build.add("Squeeze", value, build.integers(axis))
    if stack.merge == "concat":
        return build.add("Reshape", build.add("Transpose", value, perm=tuple(order)), build.integers(*shape))
    if stack.merge == "sum":
        return build.add("ReduceSum", value, build.integers(axis), keepdims=0)
    return build.add("ReduceMean", value, axes=(axis,), keepdims=0)


def _carried(layer: Layer) -> Layer:
    """A layer that computes the same with options that ONNX has, where there is one.

    ONNX couples the gates the other way round: with the logistic function, whose σ(-z) is 1 - σ(z), that comes to the
    same with signs changed. A gate that is not there is one that is always open.
    """
    stack, options = layer._stack, dict(layer._stack.cell.options)
    missing = [gate for gate in GATES if not options.get(gate, True)]
    negated = options.get("coupled_gates") is True
    usual = options.get("recurrent_activation", ("sigmoid",)) == ("sigmoid",)
    roomy = options.get("preactivation_clip", OPEN) >= OPEN
    if not (negated or missing) or not usual or (missing and not roomy):
        return layer
    given = {name: value for name, value in layer._shown.items() if name != "init"}
    given |= {"hidden_size": [*stack.hidden_sizes], **dict.fromkeys(missing, True)}
    given |= {"coupled_gates": "input"} if negated else {}
    given |= {"bias": True} if missing else {}
    carried = stack_of("lstm", stack.input_size, stack.dtype, given)
    parameters = {name: np.zeros(shape, stack.dtype) for name, shape in carried.shapes.items()}
    parameters |= {name: array.copy() for name, array in layer.parameters.items()}
    for name, array in parameters.items():
        _carry(name, array, missing, negated)
    return layer_of(LAYERS["lstm"], carried, parameters, not_defaults(given), layer.backend)


def _carry(name: str, array: np.ndarray, missing: Sequence[str], negated: bool) -> None:
    """Change one parameter of such a layer in place."""
    if not name.startswith(("weight_ih", "weight_hh", "bias", "peephole")):
        return
    peephole = name.startswith("peephole")
    blocks = array.reshape(3 if peephole else 4, -1, *array.shape[1:])
    for gate in missing:
        block = (OF_PEEPHOLES if peephole else GATES)[gate]
        blocks[block] = OPEN if name.startswith("bias_ih") else 0.0
    if negated:
        blocks[INPUT] = -blocks[FORGET]


# Estimators ---------------------------------------------------------------------------------------------------


def _of_estimator(model: Any, shape: Sequence[int | str], lengths: bool) -> Graph:
    """x, and lengths if asked for, to labels and probabilities, to targets, or to scaled sequences."""
    from ...estimators.base.model import SequenceModel
    from ...estimators.scaler import SequenceScaler

    *before, last = _steps(model)
    kinds = SequenceScaler, SequenceModel
    for each in before:
        if not isinstance(each, SequenceScaler):
            raise TypeError(
                f"model: before its last step a Pipeline must have SequenceScalers, got {type(each).__name__}"
            )
    if not isinstance(last, kinds):
        hint = "; its best_estimator_ is one" if hasattr(last, "best_estimator_") else ""
        raise TypeError(
            "model must be an LSTM, a GRU or an RNN, an estimator, a SequenceScaler, a Pipeline of these, or a Graph, "
            f"got {type(last).__name__}{hint}"
        )
    from sklearn.utils.validation import check_is_fitted

    for each in (*before, last):
        check_is_fitted(each)
    build, scalers = _Builder(lengths), [each for each in (*before, last) if isinstance(each, SequenceScaler)]
    fitted = None if isinstance(last, SequenceScaler) else last._model
    dtype = "float64" if fitted is None else fitted.network.stack.dtype
    channels = scalers[0].n_channels_ if fitted is None else fitted.network.stack.input_size
    given = "float64" if scalers else dtype  # a small deviation from a large mean needs it
    inputs = build.inputs(Value("x", given, (*shape, channels)))
    scales = [(each.center_, each.scale_) for each in scalers]
    if fitted is not None and fitted.channels is not None:
        scales.append((fitted.channels.mean, fitted.channels.scale))
    x = _scaled(build, scales, given, dtype)
    if fitted is None:
        _kept(build, x, "zero", np.zeros((), dtype), out="scaled")
        return Graph(build.nodes, inputs, [Value("scaled", dtype, (*shape, channels))], build.constants, OPSET)
    if fitted.static is not None:
        inputs.append(Value("static", "float64", (shape[0], len(fitted.static.mean))))
    scores = _scores(build, fitted, last.layers_[0], x)
    outputs = _answers(build, fitted, scores, shape)
    return Graph(build.nodes, inputs, outputs, build.constants, OPSET)


def _steps(model: Any) -> list[Any]:
    """The steps of a Pipeline; what is none is one."""
    from sklearn.pipeline import Pipeline

    if not isinstance(model, Pipeline):
        return [model]
    return [step for _, each in model.steps if each not in (None, "passthrough") for step in _steps(each)]


def _scaled(build: _Builder, scales: Sequence[tuple[np.ndarray, np.ndarray]], given: str, dtype: str) -> str:
    """Scaled x: in float64, and rounded at the end, as there."""
    x = build.add("Cast", "x", to=NUMBERS["float64"]) if scales and given != "float64" else "x"
    for index, (center, scale) in enumerate(scales):
        moved = build.add("Sub", x, build.constant(f"center_{index}", center))
        x = build.add("Div", moved, build.constant(f"scale_{index}", scale))
    return build.add("Cast", x, to=NUMBERS[dtype]) if scales and dtype != "float64" else x


def _kept(build: _Builder, x: str, name: str, value: np.ndarray, out: str = "") -> str:
    """x (N, T, F), with a value past each length: a constant of that name."""
    if not build.lengths:
        return build.add("Identity", x, out=out) if out else x
    return build.add("Where", _mask(build), x, build.constant(name, value), out=out)


def _mask(build: _Builder) -> str:
    """Which steps are within each length, (N, T, 1)."""
    zero, one = (build.constant(f"number_{value}", np.array(value, np.int64)) for value in (0, 1))
    count = build.add("Gather", build.add("Shape", "x"), one, axis=0)
    steps = build.add("Unsqueeze", build.add("Range", zero, count, one), build.integers(0))
    lengths = build.add("Unsqueeze", build.add("Cast", build.lengths, to=NUMBERS["int64"]), build.integers(1))
    return build.add("Unsqueeze", build.add("Less", steps, lengths), build.integers(2))


def _scores(build: _Builder, fitted: Any, layer: Layer, x: str) -> str:
    """Scores (N, K), or (N, T, K) if every step has its own."""
    network = fitted.network
    made = _stack(build, layer, build.add("Transpose", x, perm=(1, 0, 2)))
    y = build.add("Transpose", made.y, perm=(1, 0, 2)) if network.pooling != "last" else ""
    parts = [
        _last(build, network.stack, made.final)
        if part == "last"
        else _pooled(build, network.stack.dtype, part, fitted.parameters, y)
        for part in network.poolings
    ] or [y]
    features = parts[0] if len(parts) == 1 else build.add("Concat", *parts, axis=1)
    if fitted.static is not None:
        features = _beside(build, fitted, features)
    weight = build.constant("weight_output", fitted.parameters["weight_output"].T)
    bias = build.constant("bias_output", fitted.parameters["bias_output"])
    return build.add("Add", build.add("MatMul", features, weight), bias)


def _beside(build: _Builder, fitted: Any, features: str) -> str:
    """Features (N, ·) or (N, T, ·), with scaled static features beside them."""
    static, network = fitted.static, fitted.network
    moved = build.add("Sub", "static", build.constant("static_mean", static.mean))
    scaled = build.add("Div", moved, build.constant("static_scale", static.scale))
    scaled = build.add("Cast", scaled, to=NUMBERS[network.stack.dtype])
    if network.pooling == "none":
        steps = build.add("Slice", build.add("Shape", features), build.integers(1), build.integers(2))
        shape = build.add("Concat", build.integers(1), steps, build.integers(1), axis=0)
        scaled = build.add("Expand", build.add("Unsqueeze", scaled, build.integers(1)), shape)
    return build.add("Concat", features, scaled, axis=-1)


def _last(build: _Builder, stack: Any, final: list[list[str]]) -> str:
    """The output after each sequence's last step (backward: its first)."""
    first = 0 if stack.residual else stack.num_layers - 1
    values = [
        _merged(build, stack, final[index][0], axis=0, order=(1, 0, 2), shape=(0, stack.output_sizes[index]))
        for index in range(first, stack.num_layers)
    ]
    return values[0] if len(values) == 1 else build.add("Sum", *values)


def _pooled(build: _Builder, dtype: str, pooling: str, parameters: Mapping[str, np.ndarray], y: str) -> str:
    """A vector (N, F) for all outputs y (N, T, F)."""
    if pooling == "max":
        return build.add("ReduceMax", _kept(build, y, "lowest", np.array(-np.inf, dtype)), axes=(1,), keepdims=0)
    shares = build.add("Cast", _mask(build), to=NUMBERS[dtype]) if build.lengths else ""
    if pooling == "attention":
        weight = build.constant("weight_attention", parameters["weight_attention"].reshape(-1, 1))
        bias = build.constant("bias_attention", parameters["bias_attention"])
        energy = build.add("Exp", build.add("Tanh", build.add("Add", build.add("MatMul", y, weight), bias)))
        shares = build.add("Mul", energy, shares) if shares else energy
    if not shares:
        return build.add("ReduceMean", y, axes=(1,), keepdims=0)
    steps = build.integers(1)
    total = build.add("ReduceSum", build.add("Mul", y, shares), steps, keepdims=0)
    return build.add("Div", total, build.add("ReduceSum", shares, steps, keepdims=0))


def _answers(build: _Builder, fitted: Any, scores: str, shape: Sequence[int | str]) -> list[Value]:
    """What users are given for scores."""
    from ...estimators.targets.classes import Classes

    codec, dtype = fitted.codec, fitted.network.stack.dtype
    if isinstance(codec, Classes):
        return _labels(build, codec, scores, dtype, shape[0])
    double = build.add("Cast", scores, to=NUMBERS["float64"])
    scaled = build.add("Mul", double, build.constant("target_scale", codec.scale))
    targets = build.add("Add", scaled, build.constant("target_mean", codec.mean))
    if codec.by_step:
        _kept(build, targets, "zero", np.zeros(()), out="predictions")
        return [Value("predictions", "float64", (*shape, codec.outputs))]
    if codec.form == "one":
        build.add("Squeeze", targets, build.integers(1), out="predictions")
        return [Value("predictions", "float64", (shape[0],))]
    build.add("Identity", targets, out="predictions")
    return [Value("predictions", "float64", (shape[0], codec.outputs))]


def _labels(build: _Builder, codec: Any, scores: str, dtype: str, rows: int | str) -> list[Value]:
    """Labels and probabilities."""
    count = codec.outputs
    probabilities = Value("probabilities", dtype, (rows, count))
    if codec.multilabel:
        build.add("Sigmoid", scores, out="probabilities")
        likely = build.add("Greater", scores, build.constant("zero", np.zeros((), dtype)))
        build.add("Cast", likely, out="label", to=NUMBERS["int64"])
        return [Value("label", "int64", (rows, count)), probabilities]
    build.add("Softmax", scores, out="probabilities", axis=1)
    classes = _plain(codec.classes)
    largest = build.add("ArgMax", scores, axis=1, keepdims=0)
    build.add("Gather", build.constant("classes", classes), largest, out="label", axis=0)
    return [Value("label", "str" if classes.dtype == object else classes.dtype.name, (rows,)), probabilities]


def _plain(classes: np.ndarray) -> np.ndarray:
    """Classes as ONNX has them: numbers, or texts.

    Raises
    ------
    ValueError
        If they are neither.
    """
    if classes.dtype.name in NUMBERS:
        return classes.astype(classes.dtype.newbyteorder("="))
    if all(isinstance(each, str) for each in classes.tolist()):
        return classes.astype(object)
    raise ValueError(f"classes_ must be numbers or texts to be in ONNX, got dtype {classes.dtype}")
