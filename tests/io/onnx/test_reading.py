"""Models in ONNX's format: those that exporters write, and those that nobody should."""

import os
import pickle
import sys
import threading
import warnings

import numpy as np
import pytest
from onnx_models import model_of, ort_run

from numlstm.graphs.graph import Graph
from numlstm.io import from_onnx
from numlstm.io.onnx.tensors import External, array_of

REFERENCE = {"backend": "reference"}
X = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
W = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")


def simple(**options):
    """A model that multiplies by W, and rectifies."""
    nodes = [("MatMul", ["x", "W"], ["z"], {}), ("Relu", ["z"], ["y"], {})]
    return model_of(nodes, {"x": ("float32", ["N", 3])}, [("y", "float32")], {"W": W}, **options)


EXPECTED = np.maximum(X @ W, 0)


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx")


# Where models come from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["message", "bytes", "bytearray", "str", "path", "bytes of a path"])
def test_models_come_from_messages_bytes_and_files(form, tmp_path):
    model = simple()
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    forms = {
        "message": model, "bytes": model.SerializeToString(), "bytearray": bytearray(model.SerializeToString()),
        "str": str(path), "path": path, "bytes of a path": FsPath(path),
    }  # fmt: skip
    before = model.SerializeToString()
    graph = from_onnx(forms[form])
    assert isinstance(graph, Graph)
    assert np.allclose(graph.run({"x": X})[0], EXPECTED)
    assert model.SerializeToString() == before
    assert os.listdir(tmp_path) == ["model.onnx"]


class FsPath:
    """A path in bytes, as some systems have them."""

    def __init__(self, path):
        self.path = os.fsencode(path)

    def __fspath__(self):
        return self.path


def test_what_is_no_model_is_refused_by_type(tmp_path):
    pytest.importorskip("onnx")
    for value in (None, 3, [], simple().graph):
        with pytest.raises(TypeError, match=r"model must be a path, bytes or an onnx.ModelProto, got"):
            from_onnx(value)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none.onnx")
    with pytest.raises(IsADirectoryError):
        from_onnx(tmp_path)
    with pytest.raises(ValueError, match="backend must be"):
        from_onnx(simple(), backend="other")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes that have a path")
def test_pipes_are_refused_before_they_are_opened(tmp_path):
    pytest.importorskip("onnx")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="it must be a regular file"):
        from_onnx(tmp_path / "pipe")
    with pytest.raises(ValueError, match="location must be a regular file"):
        from_onnx(external(simple(), tmp_path, "pipe"))


@pytest.mark.parametrize("data", [b"", b"\0", b"a text\n", b"\x93NUMPY", bytes(range(256)) * 8])
def test_what_is_no_model_is_refused(data, tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="it is no model in ONNX's format"):
        from_onnx(data)
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"model.onnx: .*it is no model in ONNX's format"):
        from_onnx(path)


def test_the_package_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "numlstm\[onnx\]"'):
        from_onnx(b"")


def test_backends_are_those_of_layers():
    model = recurrent_model()
    assert from_onnx(model, backend="reference").layers[0].backend == "reference"
    assert from_onnx(model).layers[0].backend is None


def recurrent_model(weights=None):
    rng = np.random.default_rng(2)
    weights = {"W": (1, 8, 3), "R": (1, 8, 2)} if weights is None else weights
    arrays = {name: rng.normal(size=shape).astype("float32") for name, shape in weights.items()}
    node = ("LSTM", ["x", "W", "R"], ["y", "h"], {"hidden_size": 2})
    return model_of([node], {"x": ("float32", ["T", "N", 3])}, [("y", "float32"), ("h", "float32")], arrays)


# Exported by PyTorch ------------------------------------------------------------------------------------------


def exported(torch, module, inputs, axes, opset=17):
    """A module's model, with sizes other than those to be used."""
    import io

    file = io.BytesIO()
    names = [f"x{k}" for k in range(len(inputs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, inputs, file, dynamo=False, input_names=names, output_names=["y"], opset_version=opset,
            dynamic_axes={name: dict(enumerate(axes)) for name in names},
        )  # fmt: skip
    return file.getvalue()


def module_of(torch, kind, options, head):
    """A recurrent module with something around it."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            if head == "embedding":
                self.embedding = torch.nn.Embedding(11, 3)
            self.recurrent = getattr(torch.nn, kind)(3, 5, **options)
            width = 5 * (1 + options.get("bidirectional", False))
            self.linear = torch.nn.Linear(options.get("proj_size", 0) or width, 4)

        def forward(self, x):
            x = self.embedding(x) if head == "embedding" else x
            y, state = self.recurrent(x)
            if head == "states":
                states = state if isinstance(state, tuple) else (state,)
                return (y, *states)
            if head == "last":
                last = y[:, -1] if options.get("batch_first") else y[-1]
                return torch.nn.functional.log_softmax(self.linear(last), -1)
            if head == "pooled":
                return torch.sigmoid(self.linear(torch.nn.functional.gelu(y).mean(1 - options.get("batch_first", 0))))
            return torch.softmax(self.linear(y), -1)

    torch.manual_seed(0)
    return Model().eval()


EXPORTS = [
    (kind, options, head)
    for kind in ("LSTM", "GRU", "RNN")
    for options, head in [
        ({}, "states"),
        ({"batch_first": True, "num_layers": 2, "bidirectional": True}, "states"),
        ({"batch_first": True, "bidirectional": True}, "last"),
        ({"num_layers": 2, "bias": False}, "pooled"),
        ({"batch_first": True}, "embedding"),
    ]
] + [("RNN", {"nonlinearity": "relu", "bidirectional": True}, "last")]


@pytest.mark.parametrize("opset", [9, 13, 17])
@pytest.mark.parametrize(("kind", "options", "head"), EXPORTS)
def test_exported_modules_do_what_they_did(kind, options, head, opset):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    module = module_of(torch, kind, options, head)

    def inputs(steps, rows):
        shape = (rows, steps) if options.get("batch_first") else (steps, rows)
        if head == "embedding":
            return torch.randint(0, 11, shape)
        return torch.randn(*shape, 3)

    data = exported(torch, module, (inputs(4, 2),), ("N", "T"), opset)
    graph = from_onnx(data, **REFERENCE)
    for steps, rows in ((4, 2), (7, 3), (1, 1)):
        x = inputs(steps, rows)
        expected = module(x)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = graph.run({"x0": x.numpy()})
        for array, truth in zip(found, expected, strict=True):
            assert array.shape == tuple(truth.shape)
            assert np.allclose(array, truth.detach().numpy(), 1e-5, 1e-6)
    if "onnxruntime" in sys.modules or pytest.importorskip("onnxruntime"):
        import onnx

        for array, truth in zip(found, ort_run(onnx.ModelProto.FromString(data), {"x0": x.numpy()}), strict=True):
            assert np.allclose(array, truth, 1e-5, 1e-6)


# Versions of the format ---------------------------------------------------------------------------------------


def as_input(onnx, model, name):
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    model.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    return model


def test_weights_of_old_models_are_inputs_in_name_only(onnx):
    model = as_input(onnx, simple(ir_version=3, opset=7), "W")
    graph = from_onnx(model)
    assert [value.name for value in graph.inputs] == ["x"]
    assert np.allclose(graph.run({"x": X})[0], EXPECTED)


def test_constants_of_later_ones_are_defaults(onnx):
    graph = from_onnx(as_input(onnx, simple(), "W"))
    assert [value.name for value in graph.inputs] == ["x", "W"]
    assert np.allclose(graph.run({"x": X})[0], EXPECTED)
    assert not graph.run({"x": X, "W": 0 * W})[0].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "ir_version", 2), "ir_version must be in 3..*, got 2"),
        (lambda m: setattr(m, "ir_version", 10**6), "ir_version must be in 3..*, got 1000000"),
        (lambda m: setattr(m.opset_import[0], "version", 6), r"opset must be in 7..28, got 6"),
        (lambda m: setattr(m.opset_import[0], "version", 29), r"opset must be in 7..28, got 29"),
        (lambda m: m.ClearField("opset_import"), "it must have the version of ONNX's operators"),
        (lambda m: m.opset_import.add(domain="ai.onnx", version=8), "must be of one version, got two"),
        (lambda m: m.opset_import.add(domain="ai.onnx.ml", version=99), r"ai.onnx.ml must be in 1..5, got 99"),
        (lambda m: setattr(m.graph.node[1], "op_type", "Loop"), r"^node 'Relu_1' \(Loop\): numlstm does not support"),
        (lambda m: setattr(m.graph.node[1], "op_type", "Gelu"), r"\(Gelu\): .*in version 19, only from 20"),
        (lambda m: setattr(m.graph.node[1], "domain", "com.example"), r"^node 'Relu_1' \(Relu\): domain must be"),
        (lambda m: m.graph.node[1].input.append("z"), r"^node 'Relu_1' \(Relu\): it must have 1 inputs, got 2"),
        (lambda m: m.graph.node[1].output.append("w"), r"^node 'Relu_1' \(Relu\): it must have 1 outputs, got 2"),
        (lambda m: m.graph.node[1].output.__setitem__(0, "x"), r"\(Relu\): its output 'x' is defined twice"),
        (lambda m: m.graph.node[1].input.__setitem__(0, ""), r"\(Relu\): its first 1 inputs must not be left out"),
        (lambda m: m.graph.node.reverse(), r"^node 'Relu_1' \(Relu\): its input 'z' must be defined before it"),
        (lambda m: setattr(m.graph.output[0], "name", "other"), "outputs must be names of values in the graph"),
        (lambda m: m.graph.sparse_initializer.add(), "it must have no sparse weights"),
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "constant 'W' is defined twice"),
        (lambda m: m.graph.input.append(m.graph.input[0]), "input 'x' is defined twice"),
        (lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.__setattr__("elem_type", 1),
         "input 'x' must be a tensor, got sequence_type"),
        (lambda m: m.graph.input[0].ClearField("type"), "input 'x' must be a tensor, got no type"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 16), "'x' must be of one of ONNX's types"),
        (lambda m: m.graph.node[1].attribute.add(name="alpha", type=1, f=0.5), "there must be no attributes in"),
        (lambda m: m.graph.node[1].attribute.add(name="g", type=5), "attribute 'g': it must be no graph"),
        (lambda m: m.graph.node[1].attribute.add(name="a", type=1, ref_attr_name="b"), "attribute 'a': it must be a"),
        (lambda m: m.graph.node[1].attribute.extend([m.graph.node[1].attribute.add(name="a", type=1)]),
         "attribute 'a': it is there twice"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 4), "'W': its shape needs 64 bytes, and it has 48"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -3), "'W': it must have at most .* none of neg"),
        (lambda m: m.graph.initializer[0].dims.extend([1 << 40, 1 << 40]), "tensor 'W': its shape needs"),
        (lambda m: m.graph.initializer[0].dims.extend([1] * 90), "tensor 'W': it must have at most 32 axes"),
        (lambda m: m.graph.initializer[0].ClearField("raw_data"), "'W': its shape needs 12 numbers, and it has 0"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 16), "tensor 'W': it must be of one of ONNX's types"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 14), "tensor 'W': it must be of one of ONNX's types"),
        (lambda m: m.graph.initializer[0].segment.__setattr__("begin", 1), "tensor 'W': it must not be in segments"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_by_name(change, message):
    model = simple(opset=19)
    change(model)
    with pytest.raises(ValueError, match=message):
        from_onnx(model)
    with pytest.raises(ValueError, match=message):
        from_onnx(model.SerializeToString())


def test_names_that_are_no_texts_are_refused():
    data = simple().SerializeToString().replace(b"MatMul_0", b"MatMul\xff\xfe")
    with pytest.raises(ValueError, match="names must be texts in UTF-8"):
        from_onnx(data)


def test_zip_maps_are_refused_with_advice():
    node = ("ZipMap", ["x"], ["y"], {"classlabels_int64s": [0, 1]}, "ai.onnx.ml")
    model = model_of([node], {"x": ("float32", ["N", 2])}, [("y", "float32")], domains=[("ai.onnx.ml", 1)])
    with pytest.raises(ValueError, match=r"^node 'ZipMap_0' \(ZipMap\): .*export the model with zipmap=False"):
        from_onnx(model)


# Functions ----------------------------------------------------------------------------------------------------


def with_functions(onnx, bodies, calls=("f0",), domain="local"):
    """A model that calls functions of one input; each calls others, or doubles."""
    helper = onnx.helper
    imports = [helper.make_opsetid("", 19), helper.make_opsetid(domain, 1)]
    functions = []
    for name, called in bodies.items():
        nodes, value = [], "a"
        for k, each in enumerate(called):
            node = (each, [value], [f"b{k}"]) if each in bodies else (each, [value, value], [f"b{k}"])
            nodes.append(helper.make_node(*node, domain=domain if each in bodies else ""))
            value = f"b{k}"
        functions.append(helper.make_function(domain, name, ["a"], [value], nodes, imports))
    nodes = [helper.make_node(name, ["x"], [f"y{k}"], domain=domain) for k, name in enumerate(calls)]
    info = helper.make_tensor_value_info
    outputs = [info(f"y{k}", 1, None) for k in range(len(calls))]
    graph = helper.make_graph(nodes, "model", [info("x", 1, ["N"])], outputs)
    return helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=8)


def test_functions_are_put_in_place(onnx):
    model = with_functions(onnx, {"f1": ["Add"], "f0": ["f1", "f1", "Mul"]})
    before = model.SerializeToString()
    (y,) = from_onnx(model).run({"x": np.arange(3, dtype="float32")})
    assert y.tolist() == [0.0, 16.0, 64.0]
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    ("bodies", "message"),
    [
        ({"f0": ["f0"]}, "its functions must not call themselves"),
        ({"f0": ["f1"], "f1": ["f0"]}, "its functions must not call themselves"),
        ({f"f{k}": [f"f{k + 1}"] * 2 for k in range(40)} | {"f40": ["Add"]}, "it must have at most 131072 nodes"),
        ({f"f{k}": [f"f{k + 1}"] for k in range(80)} | {"f80": ["Add"]}, "nested at most 64 deep"),
    ],
)
def test_functions_that_never_end_are_refused(onnx, bodies, message):
    with pytest.raises(ValueError, match=message):
        from_onnx(with_functions(onnx, bodies))


# Tensors ------------------------------------------------------------------------------------------------------

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
          "float64"]  # fmt: skip


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_are_what_they_were(onnx, dtype, shape, raw):
    array = np.random.default_rng(0).integers(-9 if dtype[0] != "u" else 0, 9, shape).astype(dtype)
    if dtype.startswith("float"):
        array = array / np.dtype(dtype).type(3)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = array.tobytes() if raw else array.ravel().tolist()
    tensor = onnx.helper.make_tensor("t", kind, shape, values, raw)
    read = array_of(tensor, External(None))
    assert read.dtype == dtype
    assert np.array_equal(read, array)
    assert np.array_equal(read, onnx.numpy_helper.to_array(tensor))


def test_texts_and_numbers_out_of_range(onnx):
    texts = np.array(["a", "ß", ""], object)
    assert array_of(onnx.numpy_helper.from_array(texts, "t"), External(None)).tolist() == texts.tolist()
    tensor = onnx.TensorProto(name="t", data_type=onnx.TensorProto.INT8, dims=[1], int32_data=[300])
    with pytest.raises(ValueError, match="tensor 't': it must hold numbers of int8, got 300 to 300"):
        array_of(tensor, External(None))
    tensor = onnx.TensorProto(name="t", data_type=onnx.TensorProto.STRING, dims=[1], string_data=[b"\xff"])
    with pytest.raises(ValueError, match="tensor 't':"):
        array_of(tensor, External(None))
    tensor = onnx.TensorProto(name="t", data_type=onnx.TensorProto.BOOL, dims=[2], raw_data=b"\x07\x00")
    assert array_of(tensor, External(None)).view("uint8").tolist() == [1, 0]


# Weights in other files ---------------------------------------------------------------------------------------


def external(model, folder, location="weights.bin", content=None, **entries):
    """The model in a folder, with W in another file."""
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    if content is not None:
        (folder / "weights.bin").write_bytes(content.replace(b"DATA", data))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        (b"DATA", {}), (b"DATA", {"length": 48}), (b"0123DATA", {"offset": 4}),
        (b"0123DATA567", {"offset": 4, "length": 48, "checksum": "ab"}),
    ],
)  # fmt: skip
def test_weights_can_be_in_another_file(tmp_path, content, entries):
    pytest.importorskip("onnx")
    path = external(simple(), tmp_path, content=content, **entries)
    assert np.allclose(from_onnx(path).run({"x": X})[0], EXPECTED)
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "weights.bin"]
    with pytest.raises(ValueError, match="'W': its numbers are in another file: pass the path of the model"):
        from_onnx(path.read_bytes())


def test_weights_can_be_in_a_folder_below(tmp_path):
    (tmp_path / "below").mkdir()
    path = external(simple(), tmp_path, "below/w.bin")
    (tmp_path / "below" / "w.bin").write_bytes(W.tobytes())
    assert np.allclose(from_onnx(path).run({"x": X})[0], EXPECTED)


@pytest.mark.parametrize(
    ("location", "content", "entries", "message"),
    [
        ("../weights.bin", b"DATA", {}, "location must be inside the model's folder"),
        ("/etc/hostname", b"DATA", {}, "location must be inside the model's folder"),
        ("link", b"DATA", {}, "location must be inside the model's folder"),
        (".", b"DATA", {}, "location must be inside the model's folder"),
        ("", b"DATA", {}, "location must be a path"),
        ("a\0b", b"DATA", {}, "location must be a path"),
        ("weights.bin", b"DATA", {"offset": -1}, "offset must be a number of bytes, got '-1'"),
        ("weights.bin", b"DATA", {"offset": "9" * 30}, "offset must be a number of bytes"),
        ("weights.bin", b"DATA", {"offset": 1}, "needs 48 bytes from 1 on, and its file has 48"),
        ("weights.bin", b"DATA", {"length": 47}, "its shape needs 48 bytes, and external_data has length 47"),
        ("weights.bin", b"short", {}, "needs 48 bytes from 0 on, and its file has 5"),
        ("weights.bin", b"DATA", {"other": 1}, "external_data must have a location, and no keys but"),
    ],
)
def test_other_files_are_read_with_care(tmp_path, location, content, entries, message):
    pytest.importorskip("onnx")
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(W.tobytes())
    os.symlink(tmp_path / "weights.bin", folder / "link")
    path = external(simple(), folder, location, content, **entries)
    with pytest.raises(ValueError, match=rf"model.onnx: tensor 'W': .*{message}"):
        from_onnx(path)


def test_other_files_that_are_not_there(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(FileNotFoundError):
        from_onnx(external(simple(), tmp_path))


def test_a_file_is_not_read_again_and_again(tmp_path):
    pytest.importorskip("onnx")
    model = simple()
    for k in range(5):
        model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
        model.graph.initializer[-1].name = f"W{k}"
    for tensor in model.graph.initializer[1:]:
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        tensor.external_data.add(key="location", value="weights.bin")
    with pytest.raises(ValueError, match="its file must be read at most 2 times in all"):
        from_onnx(external(model, tmp_path, content=b"DATA"))


# Graphs that are used -----------------------------------------------------------------------------------------


def test_threads_share_a_graph():
    graph = from_onnx(recurrent_model())
    inputs = [np.random.default_rng(k).normal(size=(3, 1 + k % 2, 3)).astype("float32") for k in range(6)]
    expected = [graph.run({"x": x}) for x in inputs]
    wrong = []

    def work(k):
        for _ in range(60):
            found = graph.run({"x": inputs[k]})
            if not all(np.array_equal(a, b) for a, b in zip(found, expected[k], strict=True)):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_graphs_can_be_pickled():
    graph = from_onnx(recurrent_model(), **REFERENCE)
    x = np.ones((4, 2, 3), "float32")
    for array, other in zip(pickle.loads(pickle.dumps(graph)).run({"x": x}), graph.run({"x": x}), strict=True):
        assert np.array_equal(array, other)
