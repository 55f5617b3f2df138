"""One fitted model gives one answer: its weights are in one place, whatever shows, predicts or saves them."""

import copy
import pickle
import threading

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import numlstm
from numlstm import LSTM, LSTMClassifier, LSTMRegressor

SMALL = {"hidden_size": 4, "pooling": "last", "bidirectional": False, "scale_inputs": False, "max_iter": 2,
         "random_state": 0, "batch_size": 8}  # fmt: skip
RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(24, 6, 2)), np.arange(24) % 3


def answers(model, tmp_path):
    """What every way to a prediction gives."""
    stream = model.stream()
    for x in X[0]:
        last = stream.step(x)
    path = tmp_path / "model.safetensors"
    model.save(path)
    others = {"saved": numlstm.load(path), "pickled": pickle.loads(pickle.dumps(model)), "copied": copy.copy(model)}
    found = {"predicted": model.predict_proba(X[:1])[0], "streamed": last}
    found |= {name: other.predict_proba(X[:1])[0] for name, other in others.items()}
    y, _ = model.layers_[0](X[:1].astype("float32"))
    scores = y[0, -1] @ model.coef_.T + model.intercept_
    return found | {"shown": np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()}


def test_set_parameters_holds_for_all(tmp_path):
    model, other = (LSTMClassifier(**SMALL | {"random_state": k}).fit(X, LABELS) for k in (0, 1))
    before, expected = answers(model, tmp_path), other.predict_proba(X[:1])[0]
    assert np.abs(before["predicted"] - expected).max() > 1e-4
    model.set_parameters(other.parameters)
    for name, found in answers(model, tmp_path).items():
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
    np.testing.assert_array_equal(model.trace(X).forget_gate, other.trace(X).forget_gate)


def test_exported_models_have_the_new_weights():
    onnx = pytest.importorskip("onnx")
    from numlstm.io import from_onnx, to_onnx

    model, other = (LSTMClassifier(**SMALL | {"random_state": k}).fit(X, LABELS) for k in (0, 1))
    model.set_parameters(other.parameters)
    proto = to_onnx(model)
    onnx.checker.check_model(proto)
    graph = from_onnx(proto)
    inputs = {value.name: np.full(1, 6) if value.name != graph.inputs[0].name else X[:1] for value in graph.inputs}
    found = {value.name: array for value, array in zip(graph.outputs, graph.run(inputs), strict=True)}
    probabilities = next(array for array in found.values() if array.shape == (1, 3))
    np.testing.assert_allclose(probabilities, other.predict_proba(X[:1]), rtol=1e-5)


@pytest.mark.parametrize("name", ["layers_", "coef_", "intercept_", "parameters"])
def test_weights_are_shown_for_reading(name):
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    with pytest.raises(AttributeError, match=rf"{name} of a fitted model is read-only: model.set_parameters"):
        setattr(model, name, getattr(model, name))
    assert not hasattr(LSTMClassifier(), name)
    with pytest.raises(AttributeError, match=f"LSTMClassifier is not fitted yet, so it has no {name}"):
        getattr(LSTMClassifier(), name)


def test_changing_what_is_shown_is_refused():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    expected, layer = model.predict_proba(X), model.layers_[0]
    assert model.layers_[0] is layer
    with pytest.raises(TypeError, match=r"layers_ of a fitted model is read-only: model.set_parameters"):
        layer.set_parameters(layer.parameters)
    with pytest.raises(TypeError, match=r"layers_ of a fitted model is read-only: model.set_parameters"):
        model.layers_[0] = layer
    again = pickle.loads(pickle.dumps(model))
    shown = [model.coef_, model.intercept_, model.classes_, again.coef_, again.intercept_, again.classes_]
    regressor = LSTMRegressor(**SMALL).fit(X, LABELS)
    shown += [regressor.target_mean_, regressor.target_scale_]
    for array in [*shown, *model.parameters.values(), *layer.parameters.values(), *again.parameters.values()]:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
            array.flags.writeable = True
    with pytest.raises(TypeError):
        model.parameters["weight_ih_l0"] = 0
    for each in (model, again):
        np.testing.assert_array_equal(each.predict_proba(X), expected)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_of_a_layer_is_on_its_own(copied):
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    expected, layer = model.predict_proba(X), copied(model.layers_[0])
    assert isinstance(layer, LSTM)
    layer.set_parameters({name: np.zeros_like(array) for name, array in layer.parameters.items()})
    assert not layer(X)[0].any()
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_wrong_parameters_change_nothing():
    model = LSTMRegressor(**SMALL | {"pooling": "attention"}).fit(X, LABELS)
    assert list(model.parameters)[-4:] == ["weight_output", "bias_output", "weight_attention", "bias_attention"]
    expected, good = model.predict(X), dict(model.parameters)
    wrong = [
        (None, TypeError, "parameters must be a mapping of names to arrays, got NoneType"),
        ({}, ValueError, "parameters must hold .*, which are missing"),
        (good | {"weight": 1.0}, ValueError, r"parameters must be among .*, got \['weight'\]"),
        (good | {"bias_output": np.zeros(2)}, ValueError, r"bias_output must have shape \(1,\), got \(2,\)"),
        (good | {"bias_output": ["a"]}, TypeError, "bias_output must hold real numbers"),
        (good | {"bias_output": [np.nan]}, ValueError, "bias_output must be finite, but contains NaN"),
        (good | {"bias_output": [1e300]}, ValueError, "or a number too large for float32"),
    ]
    for parameters, error, message in wrong:
        with pytest.raises(error, match=message):
            model.set_parameters(parameters)
        np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.raises(NotFittedError):
        LSTMRegressor().set_parameters(good)


def test_training_goes_on_from_set_parameters():
    model, other = (LSTMClassifier(**SMALL | {"random_state": k}).fit(X, LABELS) for k in (0, 1))
    other.set_params(warm_start=True, random_state=0)
    model.set_params(warm_start=True).set_parameters(other.parameters)
    np.testing.assert_array_equal(model.fit(X, LABELS).predict_proba(X), other.fit(X, LABELS).predict_proba(X))


def test_streams_keep_the_weights_that_they_were_made_with():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    stream, expected = model.stream(), model.predict_proba(X[:1, :1])[0]
    model.set_parameters({name: np.zeros_like(array) for name, array in model.parameters.items()})
    np.testing.assert_allclose(stream.step(X[0, 0]), expected, rtol=1e-5)


@pytest.mark.parametrize("change", ["fit", "set_parameters"])
def test_weights_that_another_thread_changes_do_not_come_back(change, monkeypatch):
    """A prediction packs old weights while another thread brings new ones: the new ones stay."""
    from numlstm.training.network import Network

    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    other = LSTMClassifier(**SMALL | {"random_state": 1}).fit(X[:, :4], np.array(["a", "b"])[LABELS % 2])
    old = model.predict_proba(X)
    model = pickle.loads(pickle.dumps(model))  # nothing is packed
    packing, changed, pack = threading.Event(), threading.Event(), Network.pack

    def slow_pack(self, backend, parameters):
        if threading.current_thread() is reader:
            packing.set()
            assert changed.wait(60)
        return pack(self, backend, parameters)

    found = []
    reader = threading.Thread(target=lambda: found.append(model.predict_proba(X)))
    monkeypatch.setattr(Network, "pack", slow_pack)
    reader.start()
    assert packing.wait(60)
    if change == "fit":
        model.set_params(random_state=1).fit(X[:, :4], np.array(["a", "b"])[LABELS % 2])
        expected = other.predict_proba(X)
    else:
        model.set_parameters({name: np.zeros_like(array) for name, array in model.parameters.items()})
        expected = np.full((24, 3), 1 / 3)
    changed.set()
    reader.join()
    np.testing.assert_array_equal(found[0], old)  # it began before
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-6)


def test_predictions_beside_fits_are_of_one_model():
    """Labels, channels and weights of a prediction belong together, whatever fits at the same time."""
    small = SMALL | {"max_iter": 1}
    texts, numbers = np.array(["a", "b"])[LABELS % 2], LABELS
    data = [(X, texts), (X, numbers)]
    expected = [set(LSTMClassifier(**small).fit(*each).predict(X).tolist()) for each in data]
    model = LSTMClassifier(**small).fit(*data[0])
    wrong, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            found = {*model.predict(X).tolist()}
            if found not in expected:
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    for k in range(60):
        model.fit(*data[k % 2])
    stop.set()
    for thread in readers:
        thread.join()
    assert not wrong
