"""Files in ONNX's format that are damaged, or made to do damage."""

import hashlib
import os
import sys
import time

import numpy as np
import pytest
from onnx_models import model_of

from numlstm import UnsupportedError
from numlstm.graphs.graph import Graph, Node, Value
from numlstm.graphs.operators import ELEMENTS, operators, room
from numlstm.io import from_onnx

resource = pytest.importorskip("resource")  # Windows has none

CASES = 4000
ALLOWED = (ValueError, TypeError, OSError, UnsupportedError)
ROOM = 1 << 20  # elements of a result, for the test
MEMORY = 400 << 20  # bytes that all of it may add
SLOWEST = 10.0  # seconds that any case may take


F32 = "float32"


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(F32)


def seeds():
    """Valid models of many kinds."""
    onnx = pytest.importorskip("onnx")
    return [
        bidirectional_classifier(),
        shapes_and_reductions(onnx),
        labels_and_places(),
        nested_functions(onnx.helper),
        external_weights(),
    ]


def bidirectional_classifier():
    weights = {"W": drawn(2, 8, 3), "R": drawn(2, 8, 2), "B": drawn(2, 16), "P": drawn(2, 6), "A": drawn(4, 2)}
    weights |= {"shape": np.array([0, 0, 4]), "zero": np.array([0]), "starts": np.array([-1]), "ends": np.array([9])}
    options = {
        "hidden_size": 2, "direction": "bidirectional", "clip": 3.0, "activations": ["Sigmoid", "Elu", "Tanh"] * 2,
        "activation_alpha": [0.5, 0.25],
    }  # fmt: skip
    nodes = [
        ("LSTM", ["x", "W", "R", "B", "n", "", "", "P"], ["y", "h"], options),
        ("Transpose", ["y"], ["t"], {"perm": [0, 2, 1, 3]}),
        ("Reshape", ["t", "shape"], ["r"], {}),
        ("Slice", ["r", "starts", "ends", "zero"], ["s"], {}),
        ("Squeeze", ["s", "zero"], ["q"], {}),
        ("MatMul", ["q", "A"], ["m"], {}),
        ("Softmax", ["m"], ["p"], {"axis": -1}),
    ]
    inputs = {"x": (F32, ["T", "N", 3]), "n": ("int32", ["N"])}
    return model_of(nodes, inputs, [("p", F32), ("h", F32)], weights, 13)


def shapes_and_reductions(onnx):
    nodes = [
        ("GRU", ["x", "W", "R"], ["y"], {"hidden_size": 2, "linear_before_reset": 1}),
        ("RNN", ["x", "W1", "R1"], ["", "h"], {"hidden_size": 2, "activations": ["Relu"], "direction": "reverse"}),
        ("Shape", ["x"], ["d"], {}),
        ("ConstantOfShape", ["d"], ["zeros"], {"value": onnx.numpy_helper.from_array(np.ones(1, "int64"))}),
        ("Cast", ["zeros"], ["f"], {"to": 1}),
        ("Expand", ["f", "d"], ["e"], {}),
        ("Pad", ["e", "pads"], ["g"], {"mode": "edge"}),
        ("ReduceSum", ["g", "axes"], ["k"], {"keepdims": 0}),
        ("Range", ["from", "to", "by"], ["l"], {}),
        ("Tile", ["k", "l"], ["o"], {}),
        ("Concat", ["o", "o"], ["c"], {"axis": 0}),
    ]
    weights = {"W": drawn(1, 6, 3), "R": drawn(1, 6, 2), "W1": drawn(1, 2, 3), "R1": drawn(1, 2, 2)}
    weights |= {"pads": np.array([1] * 6), "axes": np.array([0, -1]), "from": np.array(1), "to": np.array(2)}
    weights |= {"by": np.array(1)}
    return model_of(nodes, {"x": (F32, ["T", "N", 3])}, [("y", F32), ("h", F32), ("c", F32)], weights, 17)


def labels_and_places():
    nodes = [
        ("ArgMax", ["x"], ["a"], {"axis": 1, "keepdims": 0}),
        ("LabelEncoder", ["a"], ["y"], {"keys_int64s": [0, 1, 2], "values_strings": ["a", "b", "c"]}, "ai.onnx.ml"),
        ("OneHot", ["a", "depth", "values"], ["o"], {}),
        ("TopK", ["x", "depth"], ["v", "i"], {}),
        ("Gather", ["x", "i"], ["z"], {"axis": 0}),
    ]
    weights = {"depth": np.array([2]), "values": np.array([0.0, 1.0])}
    outputs = [("y", "object"), ("o", F32), ("v", F32), ("z", F32)]
    return model_of(nodes, {"x": (F32, ["N", 3])}, outputs, weights, 13, domains=[("ai.onnx.ml", 2)])


def nested_functions(helper):
    info = helper.make_tensor_value_info
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    inner = helper.make_node("Mul", ["a", "a"], ["b"])
    twice = [helper.make_node("square", ["a"], ["b"], domain="own"), helper.make_node("Add", ["b", "a"], ["c"])]
    functions = [
        helper.make_function("own", "square", ["a"], ["b"], [inner], imports),
        helper.make_function("own", "more", ["a"], ["c"], twice, imports),
    ]
    graph = helper.make_graph(
        [helper.make_node("more", ["x"], ["y"], domain="own")], "model", [info("x", 1, ["N"])], [info("y", 1, ["N"])]
    )
    return helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=8)


def external_weights():
    nodes = [("Gemm", ["x", "W", "b"], ["y"], {"transB": 1}), ("Clip", ["y", "", "one"], ["z"], {})]
    weights = {"W": drawn(4, 3), "b": drawn(4), "one": np.array(1, F32)}
    model = model_of(nodes, {"x": (F32, ["N", 3])}, [("z", F32)], weights, 21)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in {"location": "weights.bin", "offset": "0", "length": "48"}.items():
        tensor.external_data.add(key=key, value=value)
    return model


def damaged(rng, data):
    """Bytes of a model that are not quite those of another."""
    first = bytearray(data[rng.integers(len(data))])
    kind = rng.integers(10)
    if kind >= 5:
        return altered(rng, bytes(first)).SerializeToString()
    if kind == 0:
        for _ in range(rng.integers(1, 9)):
            first[rng.integers(len(first))] ^= 1 << rng.integers(8)
    elif kind == 1:
        return bytes(first[: rng.integers(len(first))])
    elif kind == 2:
        second = data[rng.integers(len(data))]
        return bytes(first[: rng.integers(len(first))]) + second[rng.integers(len(second)) :]
    elif kind == 3:
        where = rng.integers(len(first))
        first[where : where + rng.integers(1, 8)] = rng.bytes(rng.integers(0, 8))
    else:  # numbers that are at bounds of their types
        first[rng.integers(len(first))] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF])
    return bytes(first)


EXTREME = [-(2**63), -(2**31), -9, -2, -1, 0, 1, 2, 3, 9, 2**16, 2**31, 2**62, 2**63 - 1]


def altered(rng, data):
    """A model with something in it that is well-formed, but out of place."""
    onnx = pytest.importorskip("onnx")
    model = onnx.ModelProto.FromString(data)

    def one_of(values):
        return values[rng.integers(len(values))] if len(values) else None

    for _ in range(rng.integers(1, 4)):
        node, tensor, value = one_of(model.graph.node), one_of(model.graph.initializer), one_of(model.graph.input)
        names = [name for each in model.graph.node for name in (*each.input, *each.output)] + [""]
        kind = rng.integers(8)
        attribute = one_of(node.attribute)
        if kind == 0:
            node.op_type = one_of(sorted(name for _, name in operators()))
        elif kind == 1 and node.input:
            node.input[rng.integers(len(node.input))] = one_of(names)
        elif kind == 2 and node.output:
            node.output[rng.integers(len(node.output))] = one_of(names)
        elif kind == 3 and attribute is not None:
            attribute.i = int(one_of(EXTREME))
            attribute.ints.extend([int(one_of(EXTREME))][: rng.integers(2)])
            attribute.f = float(one_of([np.nan, np.inf, 0.0, -1.0, 1e-40]))
        elif kind == 4 and tensor is not None and tensor.data_type == onnx.TensorProto.INT64:
            tensor.raw_data = rng.choice(np.array(EXTREME[rng.integers(7) :][:7]), len(tensor.raw_data) // 8).tobytes()
        elif kind == 5 and tensor is not None:
            tensor.data_type = int(rng.integers(0, 20))
        elif kind == 6 and tensor is not None and tensor.dims:
            tensor.dims[rng.integers(len(tensor.dims))] = int(one_of(EXTREME))
        elif value is not None and value.type.tensor_type.shape.dim:
            one_of(value.type.tensor_type.shape.dim).dim_value = int(one_of([-1, 0, 1, 2, 2**40]))
    return model


def small_inputs(graph):
    """Arrays that fit, if that takes no more than a few numbers."""
    made = {}
    for value in graph.inputs:
        shape = [length if isinstance(length, int) else 2 for length in value.shape or ()]
        if np.prod([float(length) for length in shape]) > 1000:
            return None
        dtype = object if value.dtype == "str" else value.dtype
        made[value.name] = np.full(shape, "a", object) if dtype is object else np.ones(shape, dtype)
    return made


def test_damaged_models_are_refused_or_run(tmp_path):
    pytest.importorskip("onnx")
    models = [model.SerializeToString() for model in seeds()]
    (tmp_path / "weights.bin").write_bytes(np.ones(12, "float32").tobytes())
    path = tmp_path / "model.onnx"
    for model in models:
        path.write_bytes(model)
        graph = from_onnx(path, backend="reference")
        graph.run(small_inputs(graph))
    rng = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = run = 0
    messages = []
    with room(ROOM):
        for _ in range(CASES):
            data = damaged(rng, models)
            path.write_bytes(data)
            start = time.perf_counter()
            try:
                graph = from_onnx(path, backend="reference")
                read += 1
                inputs = small_inputs(graph)
                if inputs is not None:
                    graph.run(inputs)
                    run += 1
            except ALLOWED as error:
                messages.append(str(error))
            assert time.perf_counter() - start < SLOWEST
            assert sorted(os.listdir(tmp_path)) == ["model.onnx", "weights.bin"]
            assert path.read_bytes() == data
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY >> (
        10 if sys.platform == "linux" else 0
    )
    assert max(map(len, messages)) < 2000
    assert read > CASES // 10
    assert run > CASES // 20


# Operators ----------------------------------------------------------------------------------------------------

CALLS = 6000
SHAPES = [(), (0,), (1,), (2,), (3,), (2, 3), (3, 2), (1, 3), (2, 0, 3), (2, 3, 4), (1, 1, 1, 1)]
KINDS = ["bool", "int8", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64", "object"]


def any_array(rng):
    """An array of any kind."""
    shape, kind = SHAPES[rng.integers(len(SHAPES))], KINDS[rng.integers(len(KINDS))]
    if kind == "object":
        return np.full(shape, rng.choice(["a", "1.5", "nan", "7"]), object)
    if kind == "int64" and rng.random() < 0.3:
        return np.full(shape, EXTREME[rng.integers(len(EXTREME))], "int64")
    values = rng.integers(-3, 4, shape).astype("float64")
    values = values / 0 if kind.startswith("float") and rng.random() < 0.1 else values
    return np.asarray(values).astype("int64" if kind[0] in "iu" else kind).astype(kind)


def any_attribute(rng, attribute):
    """A value of its kind."""
    kinds = {
        "an integer": lambda: int(EXTREME[rng.integers(len(EXTREME))]),
        "a number": lambda: float(rng.choice([0.0, -1.0, 0.5, np.nan, np.inf, 1e38])),
        "a text": lambda: str(rng.choice(["", "max", "MAX", "L1", "edge", "wrap", "reflect", "none", "tanh", "add"])),
        "a tensor": lambda: any_array(rng),
    }
    make = kinds[attribute.kind]
    return tuple(make() for _ in range(rng.integers(4))) if attribute.several else make()


def any_graph(rng):
    """A graph of one operator, and inputs for it."""
    versions = [each for pair in sorted(operators()) if pair[1] not in ("LSTM", "GRU", "RNN")
                for each in [(pair, version) for version in operators()[pair]]]  # fmt: skip
    (domain, name), operator = versions[rng.integers(len(versions))]
    opset = int(rng.integers(operator.since, operator.until + 1))
    numbers = [rng.integers(least, min(most, least + 3) + 1) for least, most in (operator.inputs, operator.outputs)]
    arrays = [any_array(rng) for _ in range(numbers[0])]
    if rng.random() < 0.5:  # of one type
        kinds = {array.dtype for array in arrays} - {np.dtype(object)}
        arrays = [array.astype(min(kinds)) if array.dtype != object else array for array in arrays]
    attributes = {
        key: any_attribute(rng, each)
        for key, each in operator.attributes.items()
        if each.since <= opset <= each.until and (each.default is ... or rng.random() < 0.5)
    }
    inputs = {f"x{k}": array for k, array in enumerate(arrays)}
    values = [Value(key, "str" if array.dtype == object else array.dtype.name) for key, array in inputs.items()]
    results = tuple(f"y{k}" for k in range(numbers[1]))
    node = Node(name, (*inputs,), results, attributes, domain=domain)
    known = rng.random() < 0.3
    outputs = [Value(key, "float32") for key in results]
    graph = Graph([node], [] if known else values, outputs, inputs if known else {}, opset)
    return graph, {} if known else inputs


def test_operators_take_anything_or_refuse_it():
    rng = np.random.default_rng(0)
    run, messages = 0, []
    with room(ROOM), np.errstate(all="ignore"):
        for _ in range(CALLS):
            try:
                graph, inputs = any_graph(rng)
                results = graph.run(inputs)
            except ValueError as error:
                messages.append(str(error))
                continue
            run += 1
            assert all(result.dtype.name in (*ELEMENTS, "object") for result in results)
    assert all(message.startswith("node ") for message in messages)
    assert run > CALLS // 6


# Bombs --------------------------------------------------------------------------------------------------------


def test_chains_that_double_are_stopped():
    nodes = [("Concat", [f"x{k}", f"x{k}"], [f"x{k + 1}"], {"axis": 0}) for k in range(60)]
    model = model_of(nodes, {"x0": ("float32", [None])}, [("x60", "float32")])
    graph = from_onnx(model)
    with room(ROOM), pytest.raises(ValueError, match=r"^node 'Concat_\d+' \(Concat\): the result would have"):
        graph.run({"x0": np.ones(1, "float32")})
    constants = model_of(nodes, {}, [("x60", "float32")], {"x0": np.ones(1, "float32")})
    with room(ROOM), pytest.raises(ValueError, match=r"^node 'Concat_\d+' \(Concat\): the result would have"):
        from_onnx(constants).run({})


def test_many_large_results_at_a_time_are_stopped():
    number = 200
    nodes = [("ConstantOfShape", ["shape"], [f"x{k}"], {}) for k in range(number)]
    nodes += [("Sum", [f"x{k}" for k in range(number)], ["y"], {})]
    model = model_of(nodes, {"shape": ("int64", [1])}, [("y", "float32")])
    graph = from_onnx(model)
    assert graph.run({"shape": np.array([2])})[0].tolist() == [0.0, 0.0]
    one_after_another = [("ConstantOfShape", ["shape"], ["x0"], {})]
    one_after_another += [("Neg", [f"x{k}"], [f"x{k + 1}"], {}) for k in range(number)]
    chain = from_onnx(model_of(one_after_another, {"shape": ("int64", [1])}, [(f"x{number}", "float32")]))
    size = 1 << 16
    with room(size):
        with pytest.raises(ValueError, match=r"results in memory would have \d+ bytes, and must have at most"):
            graph.run({"shape": np.array([size])})
        assert chain.run({"shape": np.array([size])})[0].shape == (size,)


def test_nothing_is_computed_twice_or_changed():
    model, *_ = seeds()
    data = model.SerializeToString()
    graph = from_onnx(data, backend="reference")
    inputs = {"x": np.ones((3, 2, 3), "float32"), "n": np.array([3, 1], "int32")}
    marks = [hashlib.sha256(array.tobytes()).hexdigest() for array in graph.constants.values()]
    first = graph.run(inputs, ["p", "h", "A", "x", "q"])
    copies = [array.copy() for array in first]
    for array in first:
        array += 1
    again = graph.run(inputs | {"x": np.ones((3, 2, 3), "float32")}, ["p", "h", "A", "x", "q"])
    assert (inputs["x"] == 1).all()
    assert all(np.array_equal(array, other) for array, other in zip(copies, again, strict=True))
    assert marks == [hashlib.sha256(array.tobytes()).hexdigest() for array in graph.constants.values()]
