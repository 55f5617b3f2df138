"""A cell that the package does not know, as CONTRIBUTING.md adds it: in layers, estimators, files and streams."""

import pickle

import mgu  # registers the cell, and its twin
import numpy as np
import pytest

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor
from numlstm.layers import LAYERS, Layer, register

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(RNG.integers(3, 9), 2)) for _ in range(60)]
Y = np.array([x[:, 0].sum() > 0 for x in X])


class MGU(Layer):
    """Minimal gated units."""

    cell = "mgu"


@pytest.fixture(autouse=True)
def registered():
    register(MGU)
    yield
    del LAYERS["mgu"]


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "residual": True}, {"bidirectional": True, "layer_norm": True}, {"bias": False},
                {"zoneout": 0.1, "recurrent_dropout": 0.2}, {"init": "torch"}], ids=str,
)  # fmt: skip
def test_a_layer_computes_what_its_twin_does(options):
    layer, twin = (MGU(2, 5, dtype="float64", random_state=0, backend=name, **options) for name in ("cpu", "reference"))
    batch, lengths = numlstm.pad_sequences(X[:7])
    results = [each.vjp(batch, lengths=lengths) for each in (layer, twin)]
    for ours, theirs in zip(*(each[:2] for each in results), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)
    ours, theirs = (pullback(np.ones_like(y))[-1] for y, _, pullback in results)
    assert ours.keys() == layer.parameters.keys()
    for name, gradient in theirs.items():
        np.testing.assert_allclose(ours[name], gradient, rtol=1e-10, atol=1e-12, err_msg=name)


def test_it_is_shown_traced_streamed_and_pickled():
    layer = MGU(2, 5, num_layers=2, random_state=0)
    assert repr(layer) == "MGU(2, 5, num_layers=2)"
    assert list(layer.trace(X[0])) == ["forget_gate", "cell_input", "hidden_state"]
    y, _ = layer(X[0])
    stream = layer.stream()
    streamed = [stream.step(x_t).copy() for x_t in X[0]]
    np.testing.assert_allclose(streamed, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer))(X[0])[0], y)


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_estimators_learn_with_it_and_keep_it_in_files(kind, tmp_path):
    model = kind(cell="mgu", hidden_size=8, random_state=0).fit(X[:50], Y[:50])
    assert model.score(X[:50], Y[:50]) > 0.8
    assert type(model.layers_[0]) is MGU
    model.save(tmp_path / "model.safetensors")
    loaded = numlstm.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    loaded.set_params(warm_start=True, peepholes=True, init="chrono").fit(
        X[:50], Y[:50]
    )  # what cannot act is left aside
    assert type(loaded.layers_[0]) is MGU


def test_layers_in_files(tmp_path):
    path = tmp_path / "layer.safetensors"
    layer = MGU(2, 3, bidirectional=True, zoneout=0.1, random_state=0)
    layer.save(path)
    loaded = numlstm.load(path)
    assert repr(loaded) == repr(layer)
    np.testing.assert_array_equal(loaded(X[0])[0], layer(X[0])[0])
    del LAYERS["mgu"]
    with pytest.raises(
        ValueError, match=r"class must be one of .* got 'MGU'; register a class of your own layers first"
    ):
        numlstm.load(path)
    with pytest.raises(TypeError, match="got MGU; register a class of your own layers first"):
        layer.save(path)
    register(MGU)


@pytest.mark.parametrize("export", ["to_torch", "to_keras_weights", "to_onnx"])
def test_other_formats_say_what_they_take(export):
    with pytest.raises((ValueError, TypeError), match="must be an LSTM, a GRU or an RNN"):
        getattr(numlstm.io, export)(MGU(2, 3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"peepholes": True}, TypeError, r"MGU has no options \['peepholes'\]"),
        ({"zoneout": (0.1, 0.2)}, ValueError, "zoneout must be a number with cell='mgu', which has one state"),
        ({"init": ("chrono", 9)}, ValueError, "init=.* and cell='mgu' do not go together: there is no gate to bias"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1"),
    ],
)
def test_what_a_layer_refuses(options, error, message):
    with pytest.raises(error, match=message):
        MGU(**{"input_size": 2, "hidden_size": 3} | options)


def test_what_cannot_be_registered():
    Unknown = type("Unknown", (Layer,), {"cell": "unknown"})
    Another = type("Another", (Layer,), {"cell": "mgu"})
    Namesake = type("LSTM", (Layer,), {"cell": "mgu"})
    with pytest.raises(TypeError, match=r"must be a subclass of numlstm.layers.Layer, got <class 'int'>"):
        register(int)
    with pytest.raises(ValueError, match="cell must be one of"):
        register(Unknown)
    with pytest.raises(ValueError, match="there is MGU of 'mgu'"):
        register(Another)
    with pytest.raises(ValueError, match="there is LSTM of 'lstm'"):
        register(Namesake)
    assert LAYERS["mgu"] is register(MGU) is MGU
    assert mgu.MGU.name == MGU.cell
