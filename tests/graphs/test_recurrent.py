"""LSTM, GRU and RNN nodes of ONNX's, with all that they can be, against ONNX Runtime."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import array_of, model_of, node_cases, ort_run

from numlstm.graphs.operators import layers
from numlstm.io import from_onnx

BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}  # of a direction
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
# How many parameters each takes, and those that ONNX gives it where its author does not.
PARAMETERS = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "Softsign": (), "Softplus": (), "LeakyRelu": (0.01,),
    "ThresholdedRelu": (1.0,), "Elu": (1.0,), "HardSigmoid": (0.2, 0.5), "Affine": (None, None),
    "ScaledTanh": (None, None),
}  # fmt: skip
CASES = 400
CLOSE = 2e-5  # of ONNX Runtime's single precision to double: gates without bounds multiply its rounding, step by step
FACTORS = {
    "op": ["LSTM", "LSTM", "GRU", "RNN"],
    "direction": [*DIRECTIONS],
    "sizes": [(3, 2), (1, 1), (2, 4), (4, 3)],  # D, H
    "shape": [(5, 3), (1, 1), (4, 1), (3, 4)],  # T, N
    "dtype": ["float32", "float32", "float32", "float64"],
    "opset": [7, 14, 22],
    "layout": [0, 0, 1],
    "clip": [None, None, 0.3, 1.5],
    "option": [0, 1],  # input_forget, or linear_before_reset
    "bias": [False, True],
    "peepholes": [False, True],
    "with_lengths": [False, True],
    "initial": ["", "h", "c", "hc", "hc"],
    "outputs": [("Y",), ("Y", "Y_h"), ("Y", "Y_h", "Y_c"), ("", "Y_h"), ("", "", "Y_c"), ("Y", "", "Y_c")],
    "activations": [None, "same", "different"],
    "spelling": [str, str, str.upper, str.lower],
    "explicit": [0, 1, 2],  # how many of the activations that could do without have parameters of their own
}


@st.composite
def cases(draw):
    """A node with its weights and inputs."""
    case = {name: draw(st.sampled_from(values)) for name, values in FACTORS.items()}
    case["seed"] = draw(st.integers(0, 2**32 - 1))
    case["names"] = [draw(st.sampled_from([*PARAMETERS])) for _ in range(6)]
    if case["opset"] < 14:
        case["layout"] = 0
    return case


def described(case):
    """Attributes of the node, and of its twin with nothing left to defaults and names as ONNX spells them."""
    op, directions = case["op"], DIRECTIONS[case["direction"]]
    attributes = {"hidden_size": case["sizes"][1], "direction": case["direction"]}
    if case["clip"]:
        attributes["clip"] = case["clip"]
    if case["option"] and op != "RNN":
        attributes[{"LSTM": "input_forget", "GRU": "linear_before_reset"}[op]] = 1
    twin = dict(attributes)
    if case["activations"]:
        number = ACTIVATIONS[op]
        names = case["names"][:number] * directions if case["activations"] == "same" else case["names"]
        names = names[: number * directions]
        rng = np.random.default_rng(case["seed"])
        # Only the first can have numbers of their own: what follows is at its default then.
        own = [k for k, name in enumerate(names) if PARAMETERS[name] and None not in PARAMETERS[name]]
        last_needed = max((k for k, name in enumerate(names) if None in PARAMETERS[name]), default=-1)
        given, whole = ([], []), ([], [])
        for k, name in enumerate(names):
            explicit = k <= last_needed or k in own[: case["explicit"]]
            for values, all_values, default in zip(given, whole, PARAMETERS[name], strict=False):
                number_here = float(np.float32(rng.uniform(0.2, 0.9))) if explicit else default
                all_values.append(number_here)
                if explicit:
                    values.append(number_here)
        attributes["activations"] = [case["spelling"](name) for name in names]
        twin["activations"] = names
        for name, values, all_values in zip(("alpha", "beta"), given, whole, strict=True):
            attributes |= {f"activation_{name}": values} if values else {}
            twin |= {f"activation_{name}": all_values} if all_values else {}
    if case["layout"]:
        attributes["layout"] = 1
    return attributes, twin


def arrays_of(case):
    """Weights and inputs, time first, of numbers that float32 holds."""
    rng = np.random.default_rng(case["seed"])
    (size, hidden), (steps, rows) = case["sizes"], case["shape"]
    directions, blocks = DIRECTIONS[case["direction"]], BLOCKS[case["op"]]
    shapes = {"W": (directions, blocks * hidden, size), "R": (directions, blocks * hidden, hidden)}
    shapes |= {"B": (directions, 2 * blocks * hidden)} if case["bias"] else {}
    shapes |= {"P": (directions, 3 * hidden)} if case["peepholes"] and case["op"] == "LSTM" else {}
    weights = {name: rng.normal(0.0, 0.6, shape).astype("float32") for name, shape in shapes.items()}
    inputs = {"X": rng.normal(size=(steps, rows, size)).astype("float32")}
    if case["with_lengths"]:
        inputs["sequence_lens"] = rng.integers(0, steps + 1, rows).astype("int32")
    for name in case["initial"]:
        if name == "h" or case["op"] == "LSTM":
            inputs[f"initial_{name}"] = rng.normal(size=(directions, rows, hidden)).astype("float32")
    return weights, inputs


def model_with(case, attributes, weights, inputs, dtype, outputs):
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    given = [name if name in weights or name in inputs else "" for name in names]
    while not given[-1]:
        given.pop()
    opset = case["opset"] if "layout" in attributes or dtype == "float64" else min(case["opset"], 22)
    shapes = {name: (array.dtype.name, [None] * array.ndim) for name, array in inputs.items()}
    nodes = [(case["op"], given, [*outputs], attributes)]
    return model_of(nodes, shapes, [(name, dtype) for name in outputs if name], weights, opset)


def wanted(case):
    """Names of the outputs that the operator has, at least one of them."""
    names = case["outputs"] if case["op"] == "LSTM" else case["outputs"][:2]
    return names if any(names) else ("Y", "Y_h")


def batch_first(arrays):
    """Inputs with rows before steps and directions."""
    return {name: array if name == "sequence_lens" else array.swapaxes(0, 1) for name, array in arrays.items()}


def time_first(name, array):
    """An output of a node with layout=1 as one with layout=0 gives it."""
    return array.transpose(1, 2, 0, 3) if name == "Y" else array.swapaxes(0, 1)


def check(case, backend, seen):
    """Results are ONNX Runtime's, of the same model or, where it refuses that, of its twin."""
    weights, inputs = arrays_of(case)
    attributes, twin = described(case)
    outputs = wanted(case)
    names = [name for name in outputs if name]
    same = {name: array.astype(case["dtype"]) for name, array in weights.items()}
    ours = {name: array if name == "sequence_lens" else array.astype(case["dtype"]) for name, array in inputs.items()}
    ours = batch_first(ours) if case["layout"] else ours
    model = model_with(case, attributes, same, ours, case["dtype"], outputs)
    direct = case["dtype"] == "float32" and not case["layout"] and twin == attributes
    if not direct:
        twin_model = model_with(case, twin, weights, inputs, "float32", outputs)
    theirs = ort_run(model if direct else twin_model, inputs)
    found = from_onnx(model, backend=backend).run(ours)
    if not all(np.abs(truth).max(initial=0) < 1e3 for truth in theirs):  # unbounded activations multiply errors, too
        seen["too large"] += 1
        return
    for name, array, truth in zip(names, found, theirs, strict=True):
        assert array.dtype == case["dtype"]
        array = time_first(name, array) if case["layout"] else array
        assert array.shape == truth.shape, name
        scale = max(1.0, np.abs(truth).max())
        assert np.abs(array - truth).max() <= CLOSE * scale, (name, attributes)
    seen["direct" if direct else "twin"] += 1
    for name, value in case.items():
        seen[name, str(value)] += 1


def test_nodes_do_what_they_do_in_onnx_runtime():
    pytest.importorskip("onnxruntime")
    seen = Counter()

    @settings(max_examples=CASES, derandomize=True, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    @given(cases())
    def run(case):
        check(case, "reference", seen)

    run()
    assert seen["too large"] < CASES // 20
    assert seen["direct"] > CASES // 5
    assert seen["twin"] > CASES // 5
    for name, values in FACTORS.items():
        for value in values:
            assert seen[name, str(value)] >= CASES // 40, (name, value)


PLAIN = {
    "op": "LSTM", "direction": "bidirectional", "sizes": (3, 2), "shape": (5, 3), "dtype": "float32", "opset": 14,
    "layout": 0, "clip": None, "option": 0, "bias": True, "peepholes": False, "with_lengths": True, "initial": "hc",
    "outputs": ("Y", "Y_h", "Y_c"), "activations": None, "spelling": str, "explicit": 2, "seed": 3, "names": [],
}  # fmt: skip
VARIANTS = {
    "LSTM": {},
    "peepholes": {"peepholes": True},
    "clip": {"clip": 0.3},
    "coupled": {"option": 1},
    "parameters": {"activations": "same", "names": ["HardSigmoid", "Elu", "LeakyRelu"], "direction": "forward"},
    "different": {"activations": "different", "names": ["Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "Elu"]},
    "GRU": {"op": "GRU"},
    "GRU with reset after": {"op": "GRU", "option": 1},
    "RNN": {"op": "RNN"},
    "reverse": {"direction": "reverse"},
}


COMPILED = ("LSTM", "GRU", "GRU with reset after", "RNN", "reverse")  # others' kernels have the conformance suite


@pytest.mark.parametrize(
    ("variant", "backend"), [*((each, "reference") for each in VARIANTS), *((each, "cpu") for each in COMPILED)]
)
def test_variants_do_what_they_do_in_onnx_runtime(variant, backend):
    check(PLAIN | VARIANTS[variant], backend, Counter())


SABOTAGES = {
    "input and forget gate swapped": ("ORDERS", {"lstm": (2, 0, 3, 1), "gru": (1, 0, 2), "rnn": (0,)}, "LSTM"),
    "output gate and cell input swapped": ("ORDERS", {"lstm": (0, 2, 1, 3), "gru": (1, 0, 2), "rnn": (0,)}, "LSTM"),
    "reset and update gate swapped": ("ORDERS", {"lstm": (0, 2, 3, 1), "gru": (0, 1, 2), "rnn": (0,)}, "GRU"),
    "peepholes in our order": ("PEEPHOLES", (0, 1, 2), "peepholes"),
    "directions swapped": ("DIRECTIONS", {"forward": (True,), "reverse": (False,)}, "reverse"),
    "activations in another order": ("ROLES", {
        "lstm": ("recurrent_activation", "output_activation", "input_activation"),
    }, "different"),
    "clip ignored": ("_attribute", "clip", "clip"),
    "alpha ignored": ("_attribute", "activation_alpha", "parameters"),
    "input_forget ignored": ("_attribute", "input_forget", "coupled"),
    "linear_before_reset ignored": ("_attribute", "linear_before_reset", "GRU with reset after"),
}  # fmt: skip


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_sabotage_is_noticed(sabotage, monkeypatch):
    name, value, variant = SABOTAGES[sabotage]
    if name == "_attribute":
        right = layers.layers_of
        none = () if value.startswith("activation") else None
        monkeypatch.setattr(layers, "layers_of", lambda cell, given, *rest: right(cell, given | {value: none}, *rest))
    else:
        monkeypatch.setattr(layers, name, value)
    with pytest.raises(AssertionError):
        check(PLAIN | VARIANTS[variant], "reference", Counter())


# ONNX's own tests ---------------------------------------------------------------------------------------------


def test_own_cases_of_onnx_pass():
    onnx = pytest.importorskip("onnx")
    number = 0
    for case in node_cases():
        if not {node.op_type for node in case.model.graph.node} & {*BLOCKS}:
            continue
        for given_arrays, expected in case.data_sets:
            model = onnx.ModelProto.FromString(case.model.SerializeToString())
            named = zip([value.name for value in model.graph.input], given_arrays, strict=True)
            inputs = {name: array_of(array) for name, array in named}
            for value in [value for value in model.graph.input if value.name in ("W", "R", "B", "P")]:
                model.graph.input.remove(value)  # weights are constants in models
                model.graph.initializer.append(onnx.numpy_helper.from_array(inputs.pop(value.name), value.name))
            found = from_onnx(model, backend="reference").run(inputs)
            for array, truth in zip(found, expected, strict=True):
                np.testing.assert_allclose(array, array_of(truth), case.rtol, case.atol, err_msg=case.name)
        number += 1
    assert number >= 18


# What ONNX Runtime does not show ------------------------------------------------------------------------------


def plain_model(dtype="float32", outputs=("Y", "Y_h", "Y_c"), **changes):
    case = PLAIN | {"with_lengths": False, "initial": ""} | changes
    weights, inputs = arrays_of(case)
    weights = {name: array.astype(dtype) for name, array in weights.items()}
    inputs = {name: array if name == "sequence_lens" else array.astype(dtype) for name, array in inputs.items()}
    outputs = outputs if case["op"] == "LSTM" else outputs[:2]
    return model_with(case, described(case)[0], weights, inputs, dtype, outputs), inputs


@pytest.mark.parametrize("op", BLOCKS)
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize(("steps", "rows"), [(0, 3), (4, 0), (0, 0)])
def test_nothing_gives_nothing_or_zeros(op, layout, steps, rows):
    model, _ = plain_model(op=op, layout=layout, shape=(5, 3))
    axes = (rows, steps) if layout else (steps, rows)
    y, *states = from_onnx(model, backend="reference").run({"X": np.ones((*axes, 3), "float32")})
    assert y.shape == ((rows, steps, 2, 2) if layout else (steps, 2, rows, 2))
    for state in states:
        assert state.shape == ((rows, 2, 2) if layout else (2, rows, 2))
        assert not state.any()


def test_what_is_past_a_length_does_not_matter():
    model, inputs = plain_model(with_lengths=True, seed=1)
    inputs["sequence_lens"] = np.array([0, 2, 5], "int32")
    graph = from_onnx(model, backend="reference")
    clean = graph.run(inputs)
    inputs["X"][2:, 1] = np.nan
    inputs["X"][:, 0] = np.nan
    for array, other in zip(graph.run(inputs), clean, strict=True):
        assert np.array_equal(array, other)
    assert not clean[0][:, :, 0].any()
    assert not clean[0][2:, :, 1].any()


def test_half_precision_is_computed_in_single_precision():
    model, inputs = plain_model(dtype="float16", initial="hc")
    whole, wide = plain_model(dtype="float16", initial="hc")
    single, _ = plain_model(initial="hc")
    for tensor, other in zip(single.graph.initializer, whole.graph.initializer, strict=True):
        onnx = pytest.importorskip("onnx")
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(other).astype("float32"), other.name))
    truth = from_onnx(single, backend="reference").run({name: array.astype("float32") for name, array in wide.items()})
    for array, other in zip(from_onnx(model, backend="reference").run(inputs), truth, strict=True):
        assert array.dtype == "float16"
        assert np.array_equal(array, other.astype("float16"))


def test_nan_in_weights_and_states_comes_out():
    model, inputs = plain_model(initial="hc", direction="forward")
    inputs["initial_h"][0, 1] = np.nan
    graph = from_onnx(model, backend="reference")
    y = graph.run(inputs)[0]
    assert np.isnan(y[:, :, 1]).all()
    assert not np.isnan(y[:, :, 0]).any()
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[...] = np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "W"))
    assert np.isnan(from_onnx(model, backend="reference").run(inputs)[0]).all()


def test_initial_zeros_are_as_none():
    with_zeros, inputs = plain_model(initial="hc")
    without, _ = plain_model()
    inputs = {name: array if name == "X" else 0 * array for name, array in inputs.items()}
    for array, other in zip(
        from_onnx(with_zeros, backend="reference").run(inputs),
        from_onnx(without, backend="reference").run({"X": inputs["X"]}),
        strict=True,
    ):
        assert np.array_equal(array, other)


def test_layers_are_those_of_the_nodes():
    forward, _ = plain_model(direction="forward")
    (layer,) = from_onnx(forward, backend="reference").layers
    assert repr(layer) == "LSTM(3, 2)"
    assert layer.backend == "reference"
    both, _ = plain_model(op="GRU", option=1, clip=0.5, dtype="float64")
    (layer,) = from_onnx(both).layers
    assert repr(layer) == "GRU(3, 2, preactivation_clip=0.5, bidirectional=True, dtype='float64')"
    names = ["HardSigmoid", "Elu"]
    apart, _ = plain_model(op="RNN", activations="different", names=names, clip=0.3)
    layers = from_onnx(apart).layers
    assert [layer.bidirectional for layer in layers] == [False, False]
    assert [layer._stack.cell.options[0][1][0] for layer in layers] == ["hard_sigmoid", "elu"]
    assert layers[0]._shown["preactivation_clip"] == 0.3  # not the double next to 0.3 in single precision


# Refusals -----------------------------------------------------------------------------------------------------


def changed(model, **attributes):
    """The model with other attributes of its first node."""
    onnx = pytest.importorskip("onnx")
    node = model.graph.node[0]
    for name, value in attributes.items():
        for old in [attribute for attribute in node.attribute if attribute.name == name]:
            node.attribute.remove(old)
        node.attribute.append(onnx.helper.make_attribute(name, value))
    return model


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"direction": "both"}, "direction must be one of"),
        (
            {"hidden_size": 3},
            r"W must have shape \(2, 12, 3\), as hidden_size 3 and 2 directions tell, got \(2, 8, 3\)",
        ),
        ({"hidden_size": -1}, "W must have shape"),
        ({"direction": "forward"}, "W must have shape"),
        ({"clip": 0.0}, "preactivation_clip must be in"),
        ({"clip": float("nan")}, "preactivation_clip must be in"),
        ({"layout": 2}, "layout must be 0 or 1, got 2"),
        ({"activations": ["Sigmoid", "Tanh", "Tanh"]}, "activations must be 3 for each of 2 directions"),
        ({"activations": ["Sigmoid", "Gelu", "Tanh"] * 2}, "activations must be among .*, got 'Gelu'"),
        (
            {"activations": ["Sigmoid", "Affine", "Tanh"] * 2, "activation_alpha": [1.0]},
            "'Affine' must have its number",
        ),
        ({"activation_alpha": 1}, "activation_alpha must be a tuple"),
        ({"hidden_size": 2.0}, "hidden_size must be an integer"),
        ({"output_sequence": 1}, "attributes must be among"),
        ({"linear_before_reset": 1}, "attributes must be among"),
    ],
)
def test_wrong_attributes_are_named(attributes, message):
    model, _ = plain_model()
    with pytest.raises(ValueError, match=rf"^node 'LSTM_0' \(LSTM\): .*{message}"):
        from_onnx(changed(model, **attributes))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("W", (2, 8), "W must have three axes and some numbers"),
        ("W", (2, 9, 3), "W must have shape"),
        ("R", (2, 8, 3), "R must have shape"),
        ("R", (1, 8, 2), "R must have shape"),
        ("B", (2, 8), "B must have shape"),
        ("P", (2, 8), "P must have shape"),
    ],
)
def test_wrong_weights_are_named(name, shape, message):
    onnx = pytest.importorskip("onnx")
    model, _ = plain_model(peepholes=True)
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(shape, "float32"), name))
    with pytest.raises(ValueError, match=rf"^node 'LSTM_0' \(LSTM\): {message}"):
        from_onnx(model)


@pytest.mark.parametrize("name", ["W", "R", "B", "P"])
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_weights_of_other_types_are_named(name, dtype):
    onnx = pytest.importorskip("onnx")
    model, _ = plain_model(peepholes=True)
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(dtype), name))
    with pytest.raises(
        ValueError, match=r"^node 'LSTM_0' \(LSTM\): . must be of one of .* all weights of the same, got"
    ):
        from_onnx(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((5, 3, 4), "float32")}, r"input 'X' must have shape"),
        ({"sequence_lens": np.array([1, 2, 6], "int32")}, r"node .* sequence_lens must be in 0..5, got 1 to 6"),
        ({"sequence_lens": np.array([1, -1, 2], "int32")}, r"node .* sequence_lens must be in 0..5, got -1 to 2"),
        ({"sequence_lens": np.array([1, 1], "int32")}, r"node .* sequence_lens must be integers of shape \(3,\)"),
        ({"initial_h": np.zeros((1, 3, 2), "float32")}, r"node .* initial_h must be float32 of shape \(2, 3, 2\)"),
        ({"initial_c": np.zeros((2, 3, 3), "float32")}, r"node .* initial_c must be float32 of shape \(2, 3, 2\)"),
    ],
)
def test_wrong_inputs_are_named(change, message):
    model, inputs = plain_model(with_lengths=True, initial="hc")
    for value in model.graph.input:
        if value.name == "X":
            value.type.tensor_type.shape.dim[2].dim_value = 3
    graph = from_onnx(model, backend="reference")
    with pytest.raises(ValueError, match=message):
        graph.run(inputs | change)


def test_weights_must_be_constants():
    onnx = pytest.importorskip("onnx")
    weights = {"R": np.zeros((1, 8, 2), "float32")}
    node = ("LSTM", ["X", "W", "R"], ["Y"], {"hidden_size": 2})
    inputs = {"X": ("float32", [None] * 3), "W": ("float32", [1, 8, 3])}
    with pytest.raises(ValueError, match="W must be a constant, or follow from constants"):
        from_onnx(model_of([node], inputs, [("Y", "float32")], weights))
    turned = ("Transpose", ["V"], ["W"], {"perm": [0, 2, 1]})
    inputs.pop("W")
    rng = np.random.default_rng(0)
    weights["V"] = rng.normal(size=(1, 3, 8)).astype("float32")
    (layer,) = from_onnx(model_of([turned, node], inputs, [("Y", "float32")], weights)).layers
    assert np.array_equal(layer.parameters["weight_ih_l0"][:2], weights["V"][0].T[:2])
    value = onnx.numpy_helper.from_array(weights["V"].swapaxes(1, 2), "value")
    made = ("Constant", [], ["W"], {"value": value})
    (other,) = from_onnx(model_of([made, node], inputs, [("Y", "float32")], {"R": weights["R"]})).layers
    assert np.array_equal(layer.parameters["weight_ih_l0"], other.parameters["weight_ih_l0"])


def test_weights_that_are_inputs_too_cannot_be_given():
    model, inputs = plain_model()
    onnx = pytest.importorskip("onnx")
    tensor = model.graph.initializer[0]
    model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    graph = from_onnx(model, backend="reference")
    graph.run(inputs)
    with pytest.raises(ValueError, match=r"input 'W' must be left out: node 'LSTM_0' \(LSTM\) has it as weights"):
        graph.run(inputs | {"W": onnx.numpy_helper.to_array(tensor)})
