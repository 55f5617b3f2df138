"""What ONNX Runtime's `quantize_dynamic` writes, and what it computes of that."""

import logging

import numpy as np
import pytest
from onnx_models import model_of, ort_run

from numlstm import LSTM, LSTMClassifier, load
from numlstm.backends.cpu.linear import quantised
from numlstm.backends.cpu.machine.target import target
from numlstm.io import from_onnx, to_onnx

FAR = 0.03  # of the largest number: both round to 8 bits, ONNX Runtime with one step for all numbers of an array
SATURATES = not target().vnni  # so do sums of two products in ONNX Runtime, where weights have more than 7 bits
KINDS = {
    "int8": {},
    "int8, a step for each row": {"per_channel": True},
    "uint8": {"weight_type": "QUInt8"},
}
RNG = np.random.default_rng(0)


@pytest.fixture
def quantise(tmp_path, monkeypatch):
    """Quantise a model as ONNX Runtime does it."""
    onnx, tool = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime.quantization")
    monkeypatch.setattr(logging.getLogger(), "disabled", True)  # its advice

    def quantised_model(model, weight_type="QInt8", **options):
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        kind = getattr(tool.QuantType, weight_type)
        tool.quantize_dynamic(
            tmp_path / "model.onnx", tmp_path / "quantised.onnx", weight_type=kind, reduce_range=SATURATES, **options
        )
        return onnx.load(tmp_path / "quantised.onnx")

    return quantised_model


@pytest.fixture(params=["with int8", "without"])
def supported(request, monkeypatch):
    """Whether the processor has products in int8."""
    monkeypatch.setattr(quantised, "supported", lambda: request.param == "with int8")
    return request.param == "with int8"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("inputs", "hidden", "directions"), [(2, 16, 1), (16, 40, 2)])
def test_layers_compute_what_onnx_runtime_computes(quantise, supported, inputs, hidden, directions, kind):
    layer = LSTM(inputs, hidden, bidirectional=directions == 2, random_state=0)
    model = quantise(to_onnx(layer, lengths=False), **KINDS[kind])
    x = RNG.normal(size=(5, 9, inputs)).astype("float32")
    graph = from_onnx(model)
    (own,) = graph.layers
    assert own._stack.cell.compute_dtype == ("int8" if supported else None)
    y, theirs, exact = graph.run({"x": x})[0], ort_run(model, {"x": x})[0], layer(x)[0]
    assert np.abs(y - theirs).max() < FAR * np.abs(exact).max()
    assert np.abs(y - exact).max() < FAR / 2 * np.abs(exact).max()


@pytest.mark.parametrize("kind", KINDS)
def test_classifiers_predict_what_onnx_runtime_predicts(quantise, kind):
    X = RNG.normal(size=(60, 9, 2))
    model = LSTMClassifier(hidden_size=8, max_iter=3, random_state=0).fit(X, X[:, :, 0].sum(1) > 0)
    written = quantise(to_onnx(model, lengths=False), **KINDS[kind])
    feeds = {"x": X.astype("float32")}
    graph = from_onnx(written)
    assert {"DynamicQuantizeLSTM", "DynamicQuantizeLinear", "MatMulInteger"} <= {node.op for node in graph.nodes}
    ours, theirs = graph.run(feeds, ["probabilities"])[0], ort_run(written, feeds)[1]
    np.testing.assert_allclose(ours, theirs, atol=FAR)
    np.testing.assert_allclose(ours, model.predict_proba(X), atol=FAR)


def test_int8_weights_lose_nothing(quantise, monkeypatch):
    layer = LSTM(7, 20, random_state=0)
    x = np.eye(7, dtype="float32")[:, None]  # steps of its vectors are exact
    model = quantise(to_onnx(layer, lengths=False))
    monkeypatch.setattr(quantised, "supported", lambda: True)
    narrow = from_onnx(model).run({"x": x})[0]
    monkeypatch.setattr(quantised, "supported", lambda: False)
    np.testing.assert_allclose(narrow, from_onnx(model).run({"x": x})[0], rtol=1e-5, atol=1e-7)


def test_tables_and_lengths(quantise):
    pytest.importorskip("onnx")
    weights = {"table": RNG.normal(size=(30, 6)), "W": RNG.normal(size=(1, 32, 6)), "R": RNG.normal(size=(1, 32, 8)),
               "B": RNG.normal(size=(1, 64))}  # fmt: skip
    nodes = [
        ("Gather", ["table", "tokens"], ["vectors"], {}),
        ("LSTM", ["vectors", "W", "R", "B", "lengths"], ["y", "h"], {"hidden_size": 8}),
    ]
    inputs = {"tokens": ("int64", ["T", "N"]), "lengths": ("int32", ["N"])}
    arrays = {name: array.astype("float32") / 3 for name, array in weights.items()}
    model = model_of(nodes, inputs, [("y", "float32"), ("h", "float32")], arrays)
    written = quantise(model)
    feeds = {"tokens": RNG.integers(0, 30, (11, 4)), "lengths": np.array([11, 3, 7, 1], "int32")}
    graph = from_onnx(written)
    assert "DequantizeLinear" in {node.op for node in graph.nodes}
    for ours, theirs in zip(graph.run(feeds), ort_run(written, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=FAR)


def test_graphs_go_to_files_and_back_to_onnx(quantise, tmp_path):
    graph = from_onnx(quantise(to_onnx(LSTM(3, 5, random_state=0), lengths=False)))
    feeds = {"x": RNG.normal(size=(2, 4, 3)).astype("float32")}
    expected = graph.run(feeds)[0]
    graph.save(tmp_path / "graph.safetensors")
    for other in (load(tmp_path / "graph.safetensors"), from_onnx(to_onnx(graph))):
        np.testing.assert_array_equal(other.run(feeds)[0], expected)
    assert np.abs(ort_run(to_onnx(graph), feeds)[0] - expected).max() < FAR * np.abs(expected).max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W": np.zeros((1, 3, 20), "int16")}, r"W must be of one of \['uint8', 'int8'\] with three axes"),
        ({"R": np.zeros((5, 20), "int8")}, r"R must be of one of \['uint8', 'int8'\] with three axes"),
        ({"W_scale": np.ones(1)}, "and W_scale float32"),
        ({"W_scale": np.ones(2, "float32")}, r"W_scale and W_zero_point must have shape \(1,\) or \(1, 20\)"),
        ({"R_zero": np.zeros(1, "uint8")}, "the latter the type of R, got .* uint8"),
        ({"B": np.zeros((1, 39), "float32")}, r"B must have shape \(1, 40\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message):
    arrays = {
        "W": np.zeros((1, 3, 20), "int8"), "R": np.zeros((1, 5, 20), "int8"), "B": np.zeros((1, 40), "float32"),
        "W_scale": np.ones(1, "float32"), "W_zero": np.zeros(1, "int8"),
        "R_scale": np.ones(1, "float32"), "R_zero": np.zeros(1, "int8"),
    } | change  # fmt: skip
    names = ["x", "W", "R", "B", "", "", "", "", "W_scale", "W_zero", "R_scale", "R_zero"]
    node = ("DynamicQuantizeLSTM", names, ["y"], {"hidden_size": 5}, "com.microsoft")
    inputs, domains = {"x": ("float32", ["T", "N", 3])}, [("com.microsoft", 1)]
    model = model_of([node], inputs, [("y", "float32")], arrays, domains=domains)
    with pytest.raises(ValueError, match=message):
        from_onnx(model)
