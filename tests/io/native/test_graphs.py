"""Graphs in numlstm's own files: what is written comes back to the bit, and nothing in a file is trusted."""

import copy
import json
import math
import os
import pickle
import time
import tracemalloc

import numpy as np
import pytest
from damage import places
from native_files import DATA
from onnx_models import array_of, node_cases

import numlstm
from numlstm import GRU, LSTM, RNN, LSTMClassifier, LSTMRegressor, SequenceScaler
from numlstm.graphs.graph import Graph, Node, Value
from numlstm.graphs.operators import ELEMENTS, room
from numlstm.io import from_keras, from_onnx, to_onnx
from numlstm.io.onnx.exporting import graph_of

RNG = np.random.default_rng(0)
F32 = "float32"


def there_and_back(graph, path):
    graph.save(path)
    return numlstm.load(path)


def native(dtype):
    return dtype if dtype.kind == "O" else dtype.newbyteorder("=")


def assert_same_array(ours, theirs):
    """To the bit: NaN and the sign of zero, too."""
    assert ours.dtype == native(theirs.dtype)
    assert ours.shape == theirs.shape
    if theirs.dtype == object:
        assert ours.tolist() == theirs.tolist()
    else:
        assert ours.tobytes() == theirs.astype(native(theirs.dtype), order="C").tobytes()


def assert_same_value(ours, theirs):
    """An attribute, of the same type all through; NaN is the same as NaN."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, np.ndarray):
        assert_same_array(ours, theirs)
    elif isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for own, other in zip(ours, theirs, strict=True):
            assert_same_value(own, other)
    elif isinstance(theirs, float):
        assert np.float64(ours).tobytes() == np.float64(theirs).tobytes()
    else:
        assert ours == theirs


def assert_same_graph(ours, theirs):
    assert type(ours) is Graph
    assert repr(ours) == repr(theirs)
    assert vars(ours).keys() == vars(theirs).keys()
    assert (ours.opset, ours.backend) == (theirs.opset, theirs.backend)
    assert [*map(repr, ours.layers)] == [*map(repr, theirs.layers)]
    for own, other in zip((*ours.inputs, *ours.outputs), (*theirs.inputs, *theirs.outputs), strict=True):
        shape = other.shape if other.shape is None else tuple(other.shape)
        assert (own.name, own.dtype, own.shape) == (other.name, other.dtype, shape)
    assert [*ours.constants] == [*theirs.constants]
    for name, array in theirs.constants.items():
        assert_same_array(ours.constants[name], array)
        assert not ours.constants[name].flags.writeable
    for own, other in zip(ours.nodes, theirs.nodes, strict=True):
        assert (own.op, own.domain, own.name) == (other.op, other.domain, other.name)
        assert (own.inputs, own.outputs) == (tuple(other.inputs), tuple(other.outputs))
        assert [*own.attributes] == [*other.attributes]
        for name, value in other.attributes.items():
            assert_same_value(own.attributes[name], value)


def assert_same_results(ours, theirs, inputs):
    for own, other in zip(ours.run(inputs), theirs.run(inputs), strict=True):
        assert_same_array(own, other)


def identity(constants, **options):
    """A graph that gives its constants."""
    outputs = [
        Value(name, "str" if array.dtype == object else array.dtype.name, array.shape)
        for name, array in constants.items()
    ]
    return Graph([], [], outputs, constants, 17, **options)


# What comes back ----------------------------------------------------------------------------------------------


def special(kind):
    """Floating-point numbers of every class, NaN with a payload among them."""
    info = np.finfo(kind)
    nan = np.array([np.nan]).astype(kind)
    bits = nan.view(f"uint{info.bits}") | np.array(5, f"uint{info.bits}")
    numbers = [0.0, -0.0, 1.0, -1 / 3, np.inf, -np.inf, np.nan]
    numbers += [info.max, info.min, info.tiny, info.smallest_subnormal, -info.smallest_subnormal]
    return np.concatenate([np.array(numbers, kind), nan, -nan, bits.view(kind)])


def extremes(kind):
    if kind == "bool":
        return np.array([True, False, True])
    return special(kind) if kind.startswith("float") else np.array([np.iinfo(kind).min, 1, np.iinfo(kind).max], kind)


TEXTS = ["", "a", "\0", "a\0", "ü", "\U0001f600", "\ud800", '"\\', "\n\x1b[2J", "x" * 5000, "nan", " "]
ARRAYS = {kind: extremes(kind) for kind in ELEMENTS} | {
    "texts": np.array(TEXTS, object),
    "texts on two axes": np.array(TEXTS, object).reshape(3, 4),
    "no texts": np.empty((2, 0), object),
    "one text": np.array("ü", object),
    "empty": np.empty(0, F32),
    "empty on three axes": np.empty((2, 0, 3), "int8"),
    "of no axes": np.array(1.5, F32),
    "a bool of no axes": np.array(True),
    "of one": np.array([[[7]]], "uint64"),
    "on many axes": RNG.normal(size=(1, 2) * 16),
    "turned": RNG.normal(size=(3, 4)).T,
    "every other": np.arange(20, dtype="int16")[::-2],
    "broadcast": np.broadcast_to(np.float32(2.5), (3, 2)),
    "big-endian": np.array([1.5, -2.0], ">f4"),
    "big-endian integers on two axes": np.array([[1], [70000]], ">i4"),
    "big-endian of no axes": np.array(3.0, ">f8"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_of_any_kind(array, path):
    before = array.copy()
    graph = identity({"c": array})
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    assert_same_array(loaded.run({})[0], before)
    assert array.tolist() == before.tolist() or array.dtype.kind == "f"
    node = Node("Constant", (), ("c",), {"value": array})
    value = Value("c", "str" if array.dtype == object else array.dtype.name)
    graph = Graph([node], [], [value], {}, 17)
    assert_same_graph(there_and_back(graph, path), graph)


ATTRIBUTES = {
    "an integer": ("Softmax", {"axis": -1}),
    "a large integer": ("Softmax", {"axis": -(2**63)}),
    "a number": ("Elu", {"alpha": 0.1}),
    "a number that is an integer": ("Elu", {"alpha": 2}),
    "a number of NumPy's": ("Elu", {"alpha": np.float64(0.1)}),
    "not a number": ("Elu", {"alpha": math.nan}),
    "infinite": ("Elu", {"alpha": -math.inf}),
    "minus zero": ("Elu", {"alpha": -0.0}),
    "the smallest number": ("Elu", {"alpha": 5e-324}),
    "integers": ("Transpose", {"perm": (1, 0)}),
    "integers in a list": ("Transpose", {"perm": [1, 0]}),
    "two numbers": ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
}
MAPPED = {
    "texts": {"keys_strings": ("a", "", "ü\0\ud800"), "values_floats": (0.5, math.nan, -0.0), "default_float": 1.5},
    "texts to texts": {"keys_strings": ("a",), "values_strings": ("\x1b",), "default_string": "?"},
    "texts to integers": {"keys_strings": ["a", "b"], "values_int64s": [2**63 - 1, -(2**63)], "default_int64": -1},
}


@pytest.mark.parametrize(("op", "attributes"), ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_attributes_of_any_type(op, attributes, path):
    node = Node(op, ("x",), ("y",), attributes, "named")
    graph = Graph([node], [Value("x", F32, (2, "N"))], [Value("y", F32)], {}, 17)
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    if attributes.get("axis", 0) > -3:
        assert_same_results(loaded, graph, {"x": np.array([[1.0, -2.0], [0.5, 3.0]], F32)})


@pytest.mark.parametrize("attributes", MAPPED.values(), ids=MAPPED)
def test_texts_and_numbers_in_attributes(attributes, path):
    node = Node("LabelEncoder", ("x",), ("y",), attributes, domain="ai.onnx.ml")
    graph = Graph([node], [Value("x", "str", (None,))], [Value("y", F32)], {}, 17)
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    assert_same_results(loaded, graph, {"x": np.array(["a", "b", "", "ü\0\ud800"], object)})


@pytest.mark.parametrize("values", [{"value_ints": ()}, {"value_floats": ()}, {"value_strings": ()},
                                    {"value_string": ""}, {"value_float": math.inf}])  # fmt: skip
def test_attributes_that_hold_nothing(values, path):
    graph = Graph([Node("Constant", (), ("y",), values)], [], [Value("y", F32)], {}, 17)
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    assert_same_results(loaded, graph, {})


NAMES = ["x", "constant.0", "node.0.value", "__metadata__", "numlstm", '"', "\\", "a b", "\n", "\0", "\ud800",
         "\U0001f600", "n" * 10_000, "None", "0", "a/b:c"]  # fmt: skip


def test_names_with_odd_characters(path):
    outputs = [f"{name}'" for name in NAMES]
    nodes = [
        Node("Add", (name, f"{name}-"), (out,), name=name) for name, out in zip(NAMES, outputs, strict=True)
    ]  # fmt: skip
    constants = {f"{name}-": np.array(k, F32) for k, name in enumerate(NAMES)}
    inputs = [Value(name, F32, (name, None, 1)) for name in NAMES]
    graph = Graph(nodes, inputs, [Value(name, F32, ("\ud800", None, 1)) for name in outputs], constants, 17)
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    assert_same_results(loaded, graph, {name: np.zeros((2, 1, 1), F32) for name in NAMES})


SHAPES = [None, (), (0,), (None,), ("",), ("N", None, 3), (2**62, "N"), (1,) * 32, [2, "N"]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_of_values(shape, path):
    graph = Graph([Node("Relu", ("x",), ("y",))], [Value("x", F32, shape)], [Value("y", F32, shape)], {}, 17)
    assert_same_graph(there_and_back(graph, path), graph)


def test_what_is_almost_nothing(path):
    for graph in (
        Graph([], [], [], {}, 7),
        Graph([], [Value("x", F32)], [Value("x", F32)], {}, 28, "cpu"),
        Graph([], [Value("x", F32, (2,))], [], {"x": np.ones(2, F32)}, 17, "cuda:1"),
    ):
        assert_same_graph(there_and_back(graph, path), graph)


def test_a_default_is_still_one(path):
    nodes = [Node("Mul", ("x", "w"), ("y",))]
    inputs = [Value("x", F32, (2,)), Value("w", F32, (2,))]
    graph = Graph(nodes, inputs, [Value("y", F32)], {"w": np.array([2, 3], F32)}, 17)
    loaded = there_and_back(graph, path)
    x = np.ones(2, F32)
    assert loaded.run({"x": x})[0].tolist() == [2, 3]
    assert loaded.run({"x": x, "w": x})[0].tolist() == [1, 1]


def test_outputs_that_are_left_out(path):
    weights = {"W": RNG.normal(size=(1, 8, 3)), "R": RNG.normal(size=(1, 8, 2)), "P": RNG.normal(size=(1, 6))}
    node = Node("LSTM", ("x", "W", "R", "", "", "", "", "P"), ("", "h"), {"hidden_size": 2}, "\u2028")
    constants = {name: array.astype("float16") for name, array in weights.items()}
    graph = Graph([node], [Value("x", "float16", (None, None, 3))], [Value("h", "float16")], constants, 17)
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    assert_same_results(loaded, graph, {"x": RNG.normal(size=(4, 2, 3)).astype("float16")})


# Models -------------------------------------------------------------------------------------------------------

N, T, D = 3, 4, 2
X = RNG.normal(size=(N, T, D)).astype(F32)
FEEDS = {"x": X, "sequence_lens": np.array([4, 1, 2], "int32")}
LAYERS = [
    LSTM(D, 3, 2, bidirectional=True, merge="mean", residual=True, coupled_gates="input", peepholes=True),
    GRU(D, [3, 2], recurrent_activation=("hard_sigmoid", 0.3, 0.4), preactivation_clip=0.5, reset_after=False),
    RNN(D, 3, nonlinearity=("affine", 0.5, 0.1), dtype="float64"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_layers(layer, path):
    graph = graph_of(layer)
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    assert_same_results(loaded, graph, FEEDS | {"x": X.astype(layer.dtype)})


def fitted():
    """Estimators of every kind."""
    options = {"hidden_size": 3, "max_iter": 1, "random_state": 0, "backend": "reference"}
    labels = np.array(["a", "ü\U0001f600", "long label"], object)
    for pooling in ("last", "mean", "max", "attention", "concat"):
        yield LSTMClassifier(**options, pooling=pooling).fit(X, labels)
    yield LSTMClassifier(**options).fit(X, np.array([-5, 0, 100], "int8"))
    yield LSTMRegressor(**options).fit(X, X.cumsum(1))
    yield SequenceScaler().fit(X)


def test_estimators(path):
    for model in fitted():
        graph = graph_of(model)
        loaded = there_and_back(graph, path)
        assert_same_graph(loaded, graph)
        assert_same_results(loaded, graph, FEEDS)


def test_models_of_onnx(path):
    pytest.importorskip("onnx")
    for model in (*LAYERS, *fitted()):
        graph = from_onnx(to_onnx(model))
        loaded = there_and_back(graph, path)
        assert_same_graph(loaded, graph)
        assert_same_results(loaded, graph, FEEDS | {"x": X.astype(graph.inputs[0].dtype)})


def test_every_operator(path):
    """ONNX's own tests of those that are known here."""
    seen = set()
    for case in node_cases():
        try:
            graph = from_onnx(case.model, backend="reference")
        except (TypeError, ValueError):
            continue
        if {node.op for node in graph.nodes} <= seen:
            continue
        seen |= {node.op for node in graph.nodes}
        loaded = there_and_back(graph, path)
        assert_same_graph(loaded, graph)
        inputs = {value.name: array_of(given) for value, given in zip(graph.inputs, case.data_sets[0][0], strict=True)}
        assert_same_results(loaded, graph, inputs)
    assert len(seen) > 90


def keras_inputs():
    tokens = np.array([[1, 2, 0, 3, 0], [0, 0, 0, 0, 0], [4, 4, 4, 4, 4]], "int32")
    return {"tokens": tokens, "x": RNG.normal(size=(3, 5, 2)).astype(F32)}


def test_masks_of_keras(path):
    pytest.importorskip("h5py")
    graph = from_keras(DATA / "keras_v3_functional.keras", backend="reference")
    assert {node.op for node in graph.nodes if node.domain == "numlstm"} == {"Compact", "Spread"}
    loaded = there_and_back(graph, path)
    assert_same_graph(loaded, graph)
    assert_same_results(loaded, graph, keras_inputs())


def test_copies_of_what_was_loaded(path):
    pytest.importorskip("h5py")
    graph = there_and_back(from_keras(DATA / "keras_v3_functional.keras", backend="reference"), path)
    for other in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph), copy.copy(graph)):
        assert_same_graph(other, graph)
        assert_same_results(other, graph, keras_inputs())
        first = path.read_bytes()
        other.save(path)
        assert path.read_bytes() == first


def test_a_loaded_graph_is_its_own(path):
    array = np.ones(3, F32)
    loaded = there_and_back(identity({"c": array}), path)
    array[:] = 5
    path.unlink()
    (c,) = loaded.run({})
    assert c.tolist() == [1, 1, 1]
    c[:] = 7
    assert loaded.run({})[0].tolist() == [1, 1, 1]


# What is not written ------------------------------------------------------------------------------------------

RELU = Node("Relu", ("x",), ("y",))
UNWRITTEN = {
    "an integer of many digits": (
        Graph([Node("Softmax", ("x",), ("y",), {"axis": 2**70})], [Value("x", F32)], [Value("y", F32)], {}, 17),
        "out of range",
    ),
    "more text than there is room for": (
        Graph([], [], [], {str(k): np.ones(()) for k in range(40_000)}, 17), "must have at most",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "message"), UNWRITTEN.values(), ids=UNWRITTEN)
def test_what_cannot_be_written(graph, message, path):
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        graph.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


# Files that lie -----------------------------------------------------------------------------------------------


def parts(data):
    """The header, our text in it, and the tensors' bytes of a file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["numlstm"]), data[8 + length :]


def joined(header, content, tensors, text=None):
    """A file of them; `text` is what stands for `content`."""
    text = json.dumps(content) if text is None else text
    raw = json.dumps(header | {"__metadata__": {"numlstm": text}}).encode()
    return len(raw).to_bytes(8, "little") + raw + tensors


def edited(data, where, value):
    """A file with one field of the graph replaced, or with `...` removed."""
    header, content, tensors = parts(data)
    place = content["model"]
    for name in where[:-1]:
        place = place[name]
    if value is ...:
        del place[where[-1]]
    else:
        place[where[-1]] = value
    return joined(header, content, tensors)


def small():
    """A graph with something of everything: its file has constants 0 to 6 and nodes 0 to 6."""
    weights = {"V": RNG.normal(size=(1, 8, 2)), "R": RNG.normal(size=(1, 8, 2)), "W": RNG.normal(size=(2, 3))}
    constants = {name: array.astype(F32) for name, array in weights.items()}
    constants |= {"axes": np.array([1]), "empty": np.empty((0, 2), "int8"), "scale": np.array(0.5, F32)}
    constants |= {"label": np.array(["down", "\U0001f600", "up"], object)}
    nodes = [
        Node("LSTM", ("x", "V", "R"), ("y", "h"), {"hidden_size": 2, "activations": ("Sigmoid", "Elu", "Tanh"),
                                                   "activation_alpha": (0.5,), "clip": 2.0}, "recurrent"),
        Node("Squeeze", ("y", "axes"), ("s",)),
        Node("MatMul", ("s", "W"), ("m",)),
        Node("Mul", ("m", "scale"), ("e",)),
        Node("ArgMax", ("e",), ("a",), {"axis": -1, "keepdims": 0}),
        Node("Gather", ("label", "a"), ("t",)),
        Node("Constant", (), ("k",), {"value": np.array([[1, 0]], "bool")}),
    ]  # fmt: skip
    inputs = [Value("x", F32, ("T", None, 2)), Value("scale", F32, ())]
    outputs = [Value("t", "str", ("T", None)), Value("h", F32, (1, None, 2)), Value("k", "bool", None)]
    return Graph(nodes, inputs, outputs, constants, 17, "reference")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files of several graphs, as bytes."""
    folder = tmp_path_factory.mktemp("written")
    graphs = [small(), graph_of(GRU(2, 2, 2, bidirectional=True, random_state=0, backend="reference"))]
    graphs += [graph_of(model) for model in fitted()][3:6]
    made = []
    for number, graph in enumerate(graphs):
        graph.save(folder / str(number))
        made.append((folder / str(number)).read_bytes())
    return made


def nested(depth):
    made = 0
    for _ in range(depth):
        made = {"tuple": [made]}
    return made


NODE, VALUE, ARRAY = ("nodes", 0), ("inputs", 0), ("constants", 0)
CLIP, MANY = (*NODE, "attributes", "clip"), 10**18
LIES = [
    (("opset",), 6, r"opset must be in 7\.\.28, got 6"),
    (("opset",), MANY, "opset must be in"),
    (("opset",), True, "opset must be an integer"),
    (("opset",), 17.0, "opset must be an integer"),
    (("opset",), {"numpy": ["int64", 17]}, "opset must be an integer"),
    (("backend",), "tpu", "backend must be"),
    (("backend",), ["cpu"], "backend must be"),
    (("nodes",), {}, "nodes must be a list"),
    (("nodes",), None, "nodes must be a list"),
    (("constants",), {}, "constants must be a list"),
    (("constants",), [], "node 'recurrent'.*'V' must be defined"),
    (("inputs",), [], "its input 'x' must be defined"),
    (("outputs",), "t", "outputs must be a list"),
    (("more",), 1, "unknown field 'more'"),
    (("opset",), ..., "lacks the field 'opset'"),
    (NODE, None, "node must be an object"),
    ((*NODE, "op"), "Loop", "numlstm does not support this operator"),
    ((*NODE, "op"), "__class__", "numlstm does not support this operator"),
    ((*NODE, "op"), ["LSTM"], "op must be a text"),
    ((*NODE, "op"), ..., "lacks the field 'op'"),
    ((*NODE, "domain"), "os", "domain must be one of"),
    ((*NODE, "domain"), "numlstm", "numlstm does not support this operator in domain"),
    ((*NODE, "name"), 1, "name must be a text"),
    ((*NODE, "inputs"), ["x", "V"], "it must have 3 to 8 inputs, got 2"),
    ((*NODE, "inputs"), ["x", "V", "y"], "'y' must be defined before it"),
    ((*NODE, "inputs"), ["x", "V", ""], "its first 3 inputs must not be left out"),
    ((*NODE, "inputs"), ["x", "V", None], "inputs must be a text"),
    ((*NODE, "inputs"), ["x", "V", "axes"], "R must have three axes"),
    ((*NODE, "inputs"), ["x", "x", "R"], "W must be a constant"),
    ((*NODE, "outputs"), ["y", "y"], "'y' is defined twice"),
    ((*NODE, "outputs"), ["x", "h"], "'x' is defined twice"),
    ((*NODE, "outputs"), ["y"] * 100, "it must have 0 to 3 outputs"),
    ((*NODE, "outputs"), [["y"]], "outputs must be a text"),
    ((*NODE, "attributes"), [], "attributes must be an object"),
    ((*NODE, "attributes", "hidden_size"), {"value": MANY}, "must have shape"),
    ((*NODE, "attributes", "hidden_size"), {"value": -2}, "must have shape"),
    ((*NODE, "attributes", "hidden_size"), {"value": 2.0}, "hidden_size must be an integer"),
    ((*NODE, "attributes", "hidden_size"), {"value": {"dict": [[1, 2]]}}, "hidden_size must be an integer"),
    ((*NODE, "attributes", "activations"), {"value": {"tuple": ["os.system"]}}, "activations must be 3"),
    ((*NODE, "attributes", "activations"), {"value": {"tuple": ["x"] * 3}}, "activations must be among"),
    ((*NODE, "attributes", "direction"), {"value": "up"}, "direction must be one of"),
    ((*NODE, "attributes", "more"), {"value": 1}, "attributes must be among"),
    (CLIP, 2.0, "clip must be an object"),
    (CLIP, {"value": 1, "array": 2}, "clip has an unknown field 'array'"),
    (CLIP, {"code": "exit()"}, "clip lacks the field 'value'"),
    (CLIP, {"value": -1.0}, "preactivation_clip must be in"),
    (CLIP, {"value": {"float": "nan"}}, "preactivation_clip must be in"),
    (CLIP, {"value": nested(9)}, "clip.* is nested too deep"),
    (CLIP, {"value": {"pickle": "gASV"}}, "must be a number, a text, a list or one of"),
    (CLIP, {"value": {"numpy": ["object", "x"]}}, "must be a scalar of NumPy's"),
    (CLIP, {"value": {"numpy": ["float16", 1e300]}}, "must be a number of type float16"),
    (CLIP, {"array": {"name": "clip", "kind": F32, "shape": []}}, r"tensor 'node\.0\.clip' is missing"),
    (CLIP, {"array": [1.0]}, "array must be an object"),
    ((*VALUE, "name"), "", "input must have a name"),
    ((*VALUE, "name"), "scale", "constant 'scale' does not fit"),
    (("inputs", 1), {"name": "x", "dtype": F32, "shape": None}, "input 'x' is defined twice"),
    ((*VALUE, "name"), 1, "name must be a text"),
    ((*VALUE, "dtype"), "object", "dtype must be one of"),
    ((*VALUE, "dtype"), "complex64", "dtype must be one of"),
    ((*VALUE, "dtype"), ["float32"], "dtype must be a text"),
    ((*VALUE, "shape"), [-1], "shape must have at most 32 lengths, none negative"),
    ((*VALUE, "shape"), [1] * 33, "shape must have at most 32 lengths"),
    ((*VALUE, "shape"), [True], "shape must hold integers, names and null"),
    ((*VALUE, "shape"), [1.0], "shape must hold integers, names and null"),
    ((*VALUE, "shape"), "N", "shape must be a list"),
    ((*VALUE, "shape"), [[1]], "shape must hold integers, names and null"),
    (("inputs", 1, "dtype"), "float64", "constant 'scale' does not fit"),
    (("inputs", 1, "shape"), [1], "constant 'scale' does not fit"),
    (("outputs", 0, "name"), "nothing", r"outputs must be .* got 'nothing'"),
    (("outputs", 0, "dtype"), "other", "dtype must be one of"),
    ((*ARRAY, "name"), "R", "'R' is there twice"),
    ((*ARRAY, "name"), "y", "'V' must be defined"),
    ((*ARRAY, "name"), None, "name must be a text"),
    ((*ARRAY, "kind"), "float64", r"tensor 'constant\.0' must be float64 with 1 axes, got float32"),
    ((*ARRAY, "kind"), "object", r"tensor 'constant\.0' must be uint8"),
    ((*ARRAY, "kind"), "pickle", "must be of one of the kinds"),
    ((*ARRAY, "kind"), {"a": 1}, "must be of one of the kinds"),
    ((*ARRAY, "shape"), [16], "W must have three axes"),
    ((*ARRAY, "shape"), [2, 8, 1], "must have shape"),
    ((*ARRAY, "shape"), [17], "shape of 'V' must fit its 16 numbers"),
    ((*ARRAY, "shape"), [2**32, 2**32], "must fit its 16 numbers"),
    ((*ARRAY, "shape"), [-4, -4], "must fit its 16 numbers"),
    ((*ARRAY, "shape"), [16.0], "must fit its 16 numbers"),
    ((*ARRAY, "shape"), [True, 16], "must fit its 16 numbers"),
    ((*ARRAY, "shape"), [16, *[1] * 64], "shape of 'V'"),
    ((*ARRAY, "shape"), 16, "shape must be a list"),
    (("constants", 4, "shape"), [0, MANY, MANY], "shape of 'empty'"),
    (("constants", 4, "shape"), [], "shape of 'empty' must fit its 0 numbers"),
    (("constants", 6, "kind"), "text", r"tensor 'constant\.6' must be uint32"),
    (("constants", 6, "kind"), "uint8", "shape of 'label' must fit"),
    (("constants", 6, "shape"), [2], "shape of 'label' must fit its 3 numbers"),
]


@pytest.mark.parametrize(("where", "value", "message"), LIES)
def test_a_field_that_lies_is_named(where, value, message, written, path):
    path.write_bytes(edited(written[0], where, value))
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        numlstm.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert time.perf_counter() - start < 2.0


def test_tensors_that_are_left_over(written, path):
    header, content, tensors = parts(written[0])
    content["model"]["nodes"] = content["model"]["nodes"][:-1]
    content["model"]["outputs"] = content["model"]["outputs"][:-1]
    path.write_bytes(joined(header, content, tensors))
    with pytest.raises(ValueError, match=r"tensor 'node\.6\.value' is unknown"):
        numlstm.load(path)


def test_bools_that_are_none(written, path):
    header, content, tensors = parts(written[0])
    start, stop = header["node.6.value"]["data_offsets"]
    path.write_bytes(joined(header, content, tensors[:start] + b"\x02" * (stop - start) + tensors[stop:]))
    with pytest.raises(ValueError, match=r"tensor 'node\.6\.value' must hold only 0 and 1"):
        numlstm.load(path)


def test_text_that_is_nested_deep(written, path):
    header, content, tensors = parts(written[0])
    for deep in ("[" * 100_000 + "]" * 100_000, '{"tuple":[' * 50_000 + "1" + "]}" * 50_000, "1" * 5000, "1e999"):
        text = json.dumps(content).replace('"clip": {"value": 2.0}', f'"clip": {{"value": {deep}}}')
        assert deep in text
        path.write_bytes(joined(header, content, tensors, text))
        with pytest.raises(ValueError, match=r"nested too deep|out of range"):
            numlstm.load(path)


# Files at random ----------------------------------------------------------------------------------------------

MUTANTS, EDITS = 600, 600
ROOM = 1 << 18  # elements of a result, for the test
MEMORY = 1 << 25  # bytes that reading any of these may take
SLOWEST = 5.0  # seconds that any of these may take
ODD = [
    None, True, False, 0, 1, 2, -1, 9, 2**31, 2**62, MANY, -MANY, 0.5, 1e300, -0.0, "", "x", "y", "V", "label",
    "numlstm", "ai.onnx.ml", "float16", "float32", "int64", "bool", "object", "text", "str", "reference", [], [[]], [0],
    [1, 2], [0] * 50, [1] * 70, [MANY] * 3, {}, {"tuple": []}, {"tuple": [1, 2.5, "a"]},
    {"dict": [[1, 2]]}, {"float": "nan"},
    {"numpy": ["float32", 0.5]}, {"numpy": ["str", "x"]}, {"value": 1}, {"value": None}, {"value": {"float": "inf"}},
    {"value": {"tuple": [0, 1]}}, {"array": {"name": "value", "kind": "bool", "shape": [1, 2]}}, nested(7), nested(20),
    "Reshape", "Expand", "Tile", "ConstantOfShape", "Compact", "Spread", "Range", "GRU", "Softmax", "Concat", "Cast",
]  # fmt: skip


def mutant(data, rng):
    """A file that differs by a few bits or bytes, that is cut, or that has parts twice or not at all."""
    header = 8 + int.from_bytes(data[:8], "little")
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(header if rng.random() < 0.8 else len(data))) % len(changed)
        kind, some = rng.integers(6), int(rng.integers(1, 40))
        if kind == 0:
            changed[at] ^= 1 << rng.integers(8)
        elif kind == 1:
            changed[at] = int(rng.integers(256))
        elif kind == 2:
            del changed[at : at + some]
        elif kind == 3:
            changed[at:at] = changed[at : at + some]
        elif kind == 4:
            changed[at] = rng.choice(list(b'0123456789-e."[]{}:,nulltrue'))
        elif rng.random() < 0.3:
            del changed[at:]
        changed = changed or bytearray(1)
    if rng.random() < 0.5 and len(changed) > 8:  # so that the length of the header still is right
        changed[:8] = max(0, header - 8 + len(changed) - len(data)).to_bytes(8, "little")
    return bytes(changed)


def altered(data, rng):
    """A file with values of our text, or lengths of its header, replaced, left out, moved or doubled."""
    header, content, tensors = parts(data)
    for _ in range(rng.integers(1, 4)):
        found = places(content["model"], []) if rng.random() < 0.95 else places(header, [])
        (place, key), (other, name) = (found[rng.integers(len(found))] for _ in range(2))
        kind = rng.integers(6)
        if kind < 3:
            place[key] = ODD[rng.integers(len(ODD))]
        elif kind == 3:
            place[key] = copy.deepcopy(other[name])
        elif kind == 4:
            del place[key]
        elif isinstance(place, list):
            place.insert(key, copy.deepcopy(place[key]))
        if not content.get("model") or not header:
            break
    return joined(header, content, tensors)


def inputs_of(graph):
    """Arrays that fit, if that takes no more than a few numbers."""
    made = {}
    for value in graph.inputs:
        shape = [length if isinstance(length, int) else 2 for length in value.shape or ()]
        if math.prod(shape) > 1000:
            return None
        made[value.name] = np.full(shape, "a", object) if value.dtype == "str" else np.ones(shape, value.dtype)
    return made


def run_if_it_can(graph):
    """Whether it did."""
    inputs = inputs_of(graph)
    if inputs is None:
        return False
    try:
        graph.run(inputs)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("make", "number"), [(mutant, MUTANTS), (altered, EDITS)])
def test_damaged_files_are_refused_or_loaded_in_little_memory(make, number, written, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    path, again = tmp_path / "damaged", tmp_path / "again"
    monkeypatch.chdir(tmp_path)
    loaded = run = 0
    longest = ""
    with room(ROOM), np.errstate(all="ignore"):
        numlstm.load(DATA / "native_v1_layer.safetensors")  # what is imported at first is no memory of theirs
        tracemalloc.start()
        try:
            for _ in range(number):
                data = make(written[rng.integers(len(written))], rng)
                path.write_bytes(data)
                tracemalloc.reset_peak()
                before, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
                try:
                    graph = numlstm.load(path)
                except (ValueError, OSError) as error:
                    longest = max(longest, str(error), key=len)
                    assert str(path) in str(error)  # noqa: PT017
                else:
                    loaded += 1
                    if loaded % 4 == 0:  # what loads can be saved
                        assert_same_graph(there_and_back(graph, again), graph)
                        again.unlink()
                    run += run_if_it_can(graph)
                assert time.perf_counter() - start < SLOWEST
                assert tracemalloc.get_traced_memory()[1] - before < MEMORY
                assert path.read_bytes() == data
                assert os.listdir(tmp_path) == ["damaged"]
        finally:
            tracemalloc.stop()
    assert len(longest) < 2000
    assert number // 50 < loaded < number // 2
    assert run > number // 100
