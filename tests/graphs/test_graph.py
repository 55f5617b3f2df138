"""Graphs of operators: how they are checked, and how they run."""

import copy
import threading
import tracemalloc

import numpy as np
import pytest

from numlstm import UnsupportedError
from numlstm.graphs import operators as registry
from numlstm.graphs.graph import Graph, Node, Value

X = np.array([[1.0, -2.0, 3.0]], "float32")
W = np.arange(6, dtype="float32").reshape(3, 2)
IN, OUT = Value("x", "float32", ("N", 3)), Value("y", "float32", ("N", 2))
PRODUCT = Node("MatMul", ("x", "W"), ("z",), name="product")
RECTIFIED = Node("Relu", ("z",), ("y",))


def graph(nodes=(PRODUCT, RECTIFIED), inputs=(IN,), outputs=(OUT,), constants=None, opset=22, **options):
    return Graph(nodes, inputs, outputs, {"W": W} if constants is None else constants, opset, **options)


def recurrent(backend="reference", **attributes):
    """A graph of one LSTM."""
    rng = np.random.default_rng(0)
    weights = {"V": rng.normal(size=(1, 8, 3)).astype("float32"), "R": rng.normal(size=(1, 8, 2)).astype("float32")}
    node = Node("LSTM", ("x", "V", "R"), ("y", "h", "c"), {"hidden_size": 2, **attributes}, "recurrent")
    outputs = [Value(name, "float32") for name in "yhc"]
    return Graph([node], [Value("x", "float32", (None, None, 3))], outputs, weights, 22, backend)


# Running ------------------------------------------------------------------------------------------------------


def test_outputs_are_in_order():
    made = graph(outputs=(OUT, Value("z", "float32")))
    y, z = made.run({"x": X})
    assert np.array_equal(z, X @ W)
    assert np.array_equal(y, np.maximum(z, 0))
    for found, expected in zip(made.run({"x": X}, ["z", "x", "W", "y"]), (z, X, W, y), strict=True):
        assert np.array_equal(found, expected)
    assert made.run({"x": X}, []) == []
    assert repr(made) == "<Graph of 2 nodes: x -> y, z>"


def test_results_are_the_callers():
    """What is done to them changes neither inputs nor constants nor other results."""
    nodes = [Node("Identity", ("x",), ("i",)), Node("Transpose", ("W",), ("t",)), Node("Relu", ("i",), ("r",)),
             Node("Squeeze", ("r",), ("s",)), Node("Expand", ("r", "shape"), ("e",))]  # fmt: skip
    names = ["i", "t", "W", "x", "r", "s", "e"]
    constants = {"W": W.copy(), "shape": np.array([2, 3])}
    made = graph(nodes, outputs=[Value(name, "float32") for name in names], constants=constants)
    x = X.copy()
    first = made.run({"x": x})
    copies = [array.copy() for array in first]
    for array in first:
        array[...] = 99
    assert np.array_equal(x, X)
    assert np.array_equal(constants["W"], W)
    assert all(np.array_equal(array, copy) for array, copy in zip(made.run({"x": x}), copies, strict=True))
    for k, array in enumerate(made.run({"x": x})):
        assert not any(np.shares_memory(array, other) for other in made.run({"x": x})[k + 1 :])


def test_nodes_that_are_not_needed_are_not_run():
    fails = Node("Gather", ("x", "far"), ("w",))
    made = graph([PRODUCT, fails, RECTIFIED], constants={"W": W, "far": np.array(9)})
    made.run({"x": X})
    with pytest.raises(ValueError, match=r"^node 'w' \(Gather\): indices must be in \[-1, 0\], got 9 to 9"):
        made.run({"x": X}, ["w"])


def test_what_is_known_is_computed_once(monkeypatch):
    nodes = [Node("Transpose", ("V",), ("W",)), Node("Neg", ("W",), ("U",)), Node("MatMul", ("x", "U"), ("y",))]
    made = graph(nodes, constants={"V": np.ascontiguousarray(W.T)})
    assert [operation.node.op for operation in made._operations] == ["MatMul"]
    assert np.array_equal(made.run({"x": X})[0], -X @ W)
    assert np.array_equal(made.run({"x": X}, ["U"])[0], -W)


def test_a_large_result_of_constants_is_left_for_later():
    node = Node("ConstantOfShape", ("shape",), ("y",))
    made = graph([node], inputs=(), outputs=(Value("y", "float32"),), constants={"shape": np.array([1 << 22])})
    assert len(made._operations) == 1
    assert made.run({})[0].shape == (1 << 22,)


def test_inputs_can_have_defaults():
    made = graph(inputs=(IN, Value("W", "float32", (3, 2))))
    assert np.array_equal(made.run({"x": X}, ["z"])[0], X @ W)
    assert np.array_equal(made.run({"x": X, "W": 2 * W}, ["z"])[0], 2 * X @ W)
    with pytest.raises(ValueError, match=r"input 'W' must have shape \(3, 2\), got \(2, 3\)"):
        made.run({"x": X, "W": W.T})
    with pytest.raises(ValueError, match="constant 'W' does not fit: input 'W' must be an array of float64"):
        graph(inputs=(IN, Value("W", "float64")))


def test_results_are_let_go_when_nobody_needs_them():
    number, size = 50, 1 << 16
    nodes = [Node("Neg", (f"x{k}",), (f"x{k + 1}",)) for k in range(number)]
    made = Graph(nodes, [Value("x0", "float32")], [Value(f"x{number}", "float32")], {}, 22)
    x = np.ones(size, "float32")
    tracemalloc.start()
    made.run({"x0": x})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * x.nbytes


@pytest.mark.parametrize("kind", ["O", "U", "T", "list"])
def test_texts(kind):
    texts = ["a", "ß", ""]
    given = texts if kind == "list" else np.array(texts, np.dtypes.StringDType() if kind == "T" else kind)
    node = Node("Equal", ("s", "other"), ("y",))
    values = [Value("s", "str", (3,))], [Value("y", "bool")]
    made = Graph([node], *values, {"other": np.array("a", object)}, 19)
    assert made.run({"s": given})[0].tolist() == [True, False, False]
    assert made.run({"s": given}, ["s"])[0].tolist() == texts
    for wrong in (np.array([1, 2, 3]), np.array(["a", 1, None], object)):
        with pytest.raises(TypeError, match="input 's' must"):
            made.run({"s": wrong})


def test_numbers_that_overflow_are_no_concern():
    nodes = [Node("Exp", ("x",), ("e",)), Node("Div", ("x", "zero"), ("y",))]
    made = graph(nodes, outputs=[Value("e", "float32"), OUT], constants={"zero": np.zeros(1, "float32")})
    with np.errstate(all="raise"):
        e, y = made.run({"x": 1000 * X})
    assert np.isinf(e[0, 0])
    assert np.isinf(y).all()


def test_threads_may_run_a_graph_at_the_same_time():
    made = recurrent()
    inputs = [np.random.default_rng(k).normal(size=(4, 1 + k, 3)).astype("float32") for k in range(3)]
    expected = [made.run({"x": x}) for x in inputs]
    found = [[] for _ in inputs]
    threads = [threading.Thread(target=lambda k=k: found[k].extend(made.run({"x": inputs[k]}))) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for arrays, others in zip(found, expected, strict=True):
        assert all(np.array_equal(array, other) for array, other in zip(arrays, others, strict=True))


def test_layers_are_there():
    made = recurrent("cpu")
    (layer,) = made.layers
    x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    y, h, c = made.run({"x": x})
    expected, (h_n, c_n) = layer(x.transpose(1, 0, 2))
    assert np.array_equal(y[:, 0], expected.transpose(1, 0, 2))
    assert np.array_equal(h, h_n)
    assert np.array_equal(c, c_n)
    assert layer.backend == made.backend == "cpu"


def test_what_a_backend_cannot_do_is_said_by_it(monkeypatch):
    made = recurrent()

    def refuse(*arrays):
        raise UnsupportedError("not here")

    made._plan = (made._plan[0], [step._replace(compute=refuse) for step in made._plan[1]])
    with pytest.raises(UnsupportedError, match=r"^not here$"):
        made.run({"x": np.ones((1, 1, 3), "float32")})


@pytest.mark.parametrize(
    "x", [X.tolist(), X.astype("float64"), X.astype(">f4"), X.astype("float16"), np.asfortranarray(X)], ids=str
)
def test_inputs_become_what_they_must_be(x):
    expected = graph().run({"x": np.asarray(x).astype("float32")})
    for got, want in zip(graph().run({"x": x}), expected, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_integers_must_fit():
    made = Graph([Node("Neg", ("n",), ("m",))], [Value("n", "int32", (2,))], [Value("m", "int32", (2,))], {}, 22)
    (m,) = made.run({"n": np.array([1, -(2**31) + 1])})
    assert m.dtype == np.int32
    assert m.tolist() == [-1, 2**31 - 1]
    with pytest.raises(ValueError, match=r"input 'n' must hold numbers of int32, got 2147483648"):
        made.run({"n": np.array([0, 2**31])})
    with pytest.raises(TypeError, match=r"input 'n' must be an array of int32, got float64"):
        made.run({"n": [1.0, 2.0]})


def test_layers_are_shared_where_weights_are():
    rng = np.random.default_rng(0)
    constants = {name: rng.normal(size=(1, 8, size)).astype("float32") for name, size in (("W", 2), ("R", 2))}
    nodes = [Node("LSTM", (f"x{k}", "W", "R"), ("", f"h{k}"), {"hidden_size": 2}) for k in range(3)]
    inputs = [Value(f"x{k}", "float32", ("T", "N", 2)) for k in range(3)]
    made = Graph(nodes, inputs, [Value(f"h{k}", "float32") for k in range(3)], constants, 22)
    assert made.layers[0] is made.layers[1] is made.layers[2]
    x = rng.normal(size=(4, 1, 2)).astype("float32")
    h = made.run({f"x{k}": x for k in range(3)})
    np.testing.assert_array_equal(h[0], h[2])


def test_weights_made_of_little_are_bounded():
    """Few bytes can say many layers of many numbers."""
    constants = {name: np.array(shape) for name, shape in (("s", [1, 2000, 2]), ("t", [1, 2000, 500]))}
    value = {"value": np.zeros(1, "float32")}
    nodes = []
    for k in range(40):
        nodes += [
            Node("ConstantOfShape", ("s",), (f"W{k}",), value),
            Node("ConstantOfShape", ("t",), (f"R{k}",), value),
        ]
        nodes.append(Node("LSTM", ("x", f"W{k}", f"R{k}"), ("", f"h{k}"), {"hidden_size": 500}))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must be a constant|must have at most"):
        Graph(nodes, [Value("x", "float32", ("T", "N", 2))], [Value("h0", "float32")], constants, 22)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


def test_results_asked_for_twice_are_two():
    made = graph()
    one, other = made.run({"x": X}, iter(["y", "y"]))
    np.testing.assert_array_equal(one, other)
    assert not np.shares_memory(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ["x"]}, "inputs and outputs must be of type Value, got str"),
        ({"inputs": [Value("x", np.dtype("float32"), (None, 3))]}, "values must have texts as names and dtypes"),
        ({"inputs": [Value("x", "float32", (None, np.int64(3)))]}, "shape must hold integers, names and None"),
        ({"constants": {"W": np.array([1, None], object)}}, "constant 'W' must hold numbers or texts, got int"),
    ],
)
def test_wrong_parts_are_refused(changes, message):
    with pytest.raises(TypeError, match=message):
        graph(**changes)


def test_which_layers_go_backwards():
    directions = ["forward", "reverse", "bidirectional"]
    rng = np.random.default_rng(0)
    constants = {}
    for k, direction in enumerate(directions):
        for name, shape in (("W", (8, 3)), ("R", (8, 2))):
            constants[f"{name}{k}"] = rng.normal(size=(1 + (direction == "bidirectional"), *shape)).astype("float32")
    nodes = [
        Node("LSTM", ("x", f"W{k}", f"R{k}"), (f"y{k}",), {"direction": direction, "hidden_size": 2})
        for k, direction in enumerate(directions)
    ]
    outputs = [Value(f"y{k}", "float32") for k in range(3)]
    made = Graph(nodes, [Value("x", "float32", ("T", "N", 3))], outputs, constants, 22)
    assert made.backwards == (False, True, False)
    x = rng.normal(size=(5, 1, 3)).astype("float32")
    y = made.run({"x": x})[1]
    own = made.layers[1](x[::-1].swapaxes(0, 1))[0]
    np.testing.assert_array_equal(own.swapaxes(0, 1)[::-1], y[:, 0])


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, ValueError, r"inputs must have 'x', which is missing; got \[\]"),
        ({"X": X}, ValueError, r"inputs must have 'x', which is missing; got \['X'\]"),
        ({"x": X, "W": W}, ValueError, r"inputs must be among \['x'\], got 'W'"),
        ([X], TypeError, "inputs must be a mapping of names to arrays, got list"),
        ({"x": X.astype("complex64")}, TypeError, "input 'x' must be an array of float32, got complex64"),
        ({"x": X > 0}, TypeError, "input 'x' must be an array of float32, got bool"),
        ({"x": None}, TypeError, "input 'x' must be an array of float32, got object"),
        ({"x": X[0]}, ValueError, r"input 'x' must have shape \(N, 3\), got \(3,\)"),
        ({"x": X[:, :2]}, ValueError, r"input 'x' must have shape \(N, 3\), got \(1, 2\)"),
    ],
)
def test_wrong_inputs_are_named(inputs, error, message):
    with pytest.raises(error, match=message):
        graph().run(inputs)


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (["w"], ValueError, "outputs must be names of values in the graph, .* got 'w'"),
        ([""], ValueError, "outputs must be names of values in the graph, .* got ''"),
        ("y", TypeError, "outputs must be a list of names, got str"),
        (3, TypeError, "outputs must be a list of names, got int"),
    ],
)
def test_wrong_outputs_are_named(outputs, error, message):
    with pytest.raises(error, match=message):
        graph().run({"x": X}, outputs)


# Building -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"opset": 6}, ValueError, "opset must be in 7..28, got 6"),
        ({"opset": 29}, ValueError, "opset must be in 7..28, got 29"),
        ({"opset": "22"}, TypeError, "opset must be an integer, got str"),
        ({"backend": "gpu"}, ValueError, "backend must be"),
        ({"nodes": [RECTIFIED, PRODUCT]}, ValueError, r"\(Relu\): its input 'z' must be defined before it"),
        ({"nodes": [PRODUCT, PRODUCT]}, ValueError, r"^node 'product' \(MatMul\): its output 'z' is defined twice"),
        ({"nodes": [PRODUCT]}, ValueError, "outputs must be names of values in the graph, .* got 'y'"),
        ({"nodes": ["MatMul"]}, TypeError, "nodes must be of type Node, got str"),
        ({"nodes": [Node("Relu", (3,), ("y",))]}, TypeError, "nodes must have texts as names, got 3"),
        ({"nodes": [Node("Loop", ("x",), ("y",))]}, ValueError, r"^node 'y' \(Loop\): numlstm does not support"),
        ({"nodes": [Node("Compact", ("x", "x"), ("y", "n"))]}, ValueError, "numlstm does not support this operator"),
        ({"nodes": [Node("Relu", ("x",), ("y",), domain="numlstm")]}, ValueError, "operator in domain 'numlstm'"),
        ({"nodes": [Node("Relu", ("x",), ("y",), domain="mine")]}, ValueError, "domain must be one of"),
        ({"nodes": [Node("Gelu", ("x",), ("y",))], "opset": 19}, ValueError, "in version 19, only from 20"),
        ({"nodes": [Node("MatMul", ("x",), ("y",))]}, ValueError, "it must have 2 inputs, got 1"),
        ({"nodes": [Node("Clip", ("x", "", "", ""), ("y",))]}, ValueError, "it must have 1 to 3 inputs, got 4"),
        ({"nodes": [Node("MatMul", ("x", ""), ("y",))]}, ValueError, "its first 2 inputs must not be left out"),
        ({"nodes": [Node("Sum", ("x", ""), ("y",))]}, ValueError, "its first 2 inputs must not be left out"),
        ({"nodes": [Node("Relu", ("x",), ())]}, ValueError, "it must have 1 outputs, got 0"),
        ({"nodes": [Node("Softmax", ("x",), ("y",), {"axes": 1})]}, ValueError, r"\['axis'\] in .* 22, got 'axes'"),
        ({"nodes": [Node("Softmax", ("x",), ("y",), {"axis": 1.0})]}, ValueError, "axis must be an integer, got 1.0"),
        ({"nodes": [Node("Softmax", ("x",), ("y",), {"axis": (1,)})]}, ValueError, "an integer, got a value of"),
        ({"nodes": [Node("Transpose", ("x",), ("y",), {"perm": 1})]}, ValueError, "must be a tuple, with an integer"),
        ({"nodes": [Node("Concat", ("x",), ("y",))]}, ValueError, "attribute 'axis' is missing"),
        ({"nodes": [Node("Constant", (), ("y",))]}, ValueError, "one of .* must be given, got"),
        ({"inputs": [IN, IN]}, ValueError, "input 'x' is defined twice"),
        ({"inputs": [Value("", "float32")]}, ValueError, "input must have a name"),
        ({"inputs": [Value("x", "bfloat16")]}, ValueError, "'x': dtype must be one of"),
        ({"inputs": [Value("x", "float32", (-1, 3))]}, ValueError, "shape must have at most 32 lengths, none neg"),
        ({"constants": {"W": W.tolist()}}, TypeError, "constant 'W' must be an array, got list"),
        ({"constants": {"W": W.astype(complex)}}, ValueError, "constant 'W' must be of one of .*, got complex128"),
    ],
)  # fmt: skip
def test_wrong_graphs_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        graph(**changes)


def test_long_names_are_cut():
    with pytest.raises(ValueError, match="numlstm does not support this operator") as caught:
        graph(nodes=[Node("a" * 10**6, ("x",), ("y",), name="b" * 10**6)])
    assert len(str(caught.value)) < 500


def test_room_is_for_a_thread():
    with registry.room(10):
        with pytest.raises(registry.TooLarge):
            registry.check_room((11,))
        registry.check_room((11,), np.empty(11))
        thread_found = []
        thread = threading.Thread(target=lambda: thread_found.append(registry.largest_room()))
        thread.start()
        thread.join()
        assert thread_found == [registry.LIMIT]
    assert registry.largest_room() == registry.LIMIT


def test_large_inputs_make_room():
    node = Node("Expand", ("x", "shape"), ("y",))
    values = [Value("x", "float32"), Value("shape", "int64")], [Value("y", "float32")]
    made = Graph([node], *values, {}, 22)
    with registry.room(10):
        assert made.run({"x": np.ones(10, "float32"), "shape": np.array([50, 1])})[0].shape == (50, 10)
        with pytest.raises(ValueError, match="the result would have 300 elements, and must have at most 192"):
            made.run({"x": np.ones(1, "float32"), "shape": np.array([300, 1])})


def test_layers_of_a_graph_are_for_reading():
    """Its weights are its constants, which files and pickles hold."""
    rng = np.random.default_rng(0)
    constants = {"W": rng.normal(size=(1, 12, 2)).astype("f4"), "R": rng.normal(size=(1, 12, 3)).astype("f4")}
    nodes = [Node("LSTM", ("x", "W", "R"), ("y",), {"hidden_size": 3})]
    graph = Graph(nodes, [Value("x", "float32", (2, 1, 2))], [Value("y", "float32", None)], constants, 22)
    layer = graph.layers[0]
    with pytest.raises(TypeError, match="a graph's layers are for reading"):
        layer.set_parameters(layer.parameters)
    own = copy.copy(layer)
    own.set_parameters({name: np.zeros_like(array) for name, array in own.parameters.items()})
    assert graph.run({"x": np.ones((2, 1, 2), "f4")})[0].any()
