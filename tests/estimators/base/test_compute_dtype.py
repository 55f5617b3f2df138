"""`compute_dtype` of estimators: predictions in it, training without it."""

import numpy as np
import pytest
from sklearn.base import clone

import numlstm
from numlstm import (
    LSTMClassifier,
    LSTMForecaster,
    LSTMLanguageModel,
    LSTMRegressor,
    LSTMTagger,
    LSTMTranscriber,
    UnsupportedError,
)
from numlstm.backends.cpu.linear import quantised
from numlstm.inspection import gradient_flow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 7, 2))
SMALL = {"hidden_size": 8, "max_iter": 2, "random_state": 0}
ONE_WAY = {**SMALL, "bidirectional": False}
TEXTS = ["the cat sat on the mat", "a dog ran", "the mat sat"] * 5
MODELS = {
    "classifier": (lambda: LSTMClassifier(**ONE_WAY), X, X[:, :, 0].sum(1) > 0, "predict_proba"),
    "regressor": (lambda: LSTMRegressor(**SMALL), X, X[:, :, 0].sum(1), "predict"),
    "tagger": (lambda: LSTMTagger(**SMALL), X, (X[:, :, 0] > 0).astype(int), "predict_proba"),
    "transcriber": (lambda: LSTMTranscriber(**ONE_WAY), X, ["ab"] * 40, "predict_proba"),
    "language model": (lambda: LSTMLanguageModel(**SMALL), TEXTS, None, "score_texts"),
    "categories": (lambda: LSTMClassifier(**ONE_WAY), TEXTS, [0, 1, 0] * 5, "predict_proba"),
}


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    monkeypatch.setattr(quantised, "supported", lambda: True)


def fitted(name, **parameters):
    make, inputs, targets, _ = MODELS[name]
    model = make().set_params(**parameters)
    return model.fit(inputs) if targets is None else model.fit(inputs, targets)


def predicted(model, name):
    _, inputs, _, method = MODELS[name]
    return np.concatenate([np.ravel(each) for each in getattr(model, method)(inputs)])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_close_to_those_in_float32_but_not_the_same(name):
    model = fitted(name, compute_dtype="int8")
    plain = fitted(name)
    for parameter, value in plain.parameters.items():
        np.testing.assert_array_equal(model.parameters[parameter], value)  # training is the same
    got, wanted = predicted(model, name), predicted(plain, name)
    assert not np.array_equal(got, wanted)
    np.testing.assert_allclose(got, wanted, atol=0.03 * np.abs(wanted).max())
    np.testing.assert_array_equal(predicted(model.set_params(compute_dtype=None), name), wanted)
    np.testing.assert_array_equal(predicted(plain.set_params(compute_dtype="int8"), name), got)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_copies_and_files_keep_it(name, tmp_path):
    model = fitted(name, compute_dtype="int8")
    assert clone(model).compute_dtype == "int8"
    model.save(tmp_path / "model.safetensors")
    loaded = numlstm.load(tmp_path / "model.safetensors")
    assert loaded.get_params()["compute_dtype"] == "int8"
    np.testing.assert_array_equal(predicted(loaded, name), predicted(model, name))
    assert model.layers_[0]._stack.cell.compute_dtype is None


def test_streams_predict_as_predict_does():
    model = fitted("classifier", compute_dtype="int8")
    stream = model.stream(len(X))
    for t in range(X.shape[1]):
        last = stream.step(X[:, t])
    np.testing.assert_allclose(last, model.predict_proba(X), atol=1e-6)
    assert np.abs(last - fitted("classifier").predict_proba(X)).max() > 1e-5


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["classifier", "transcriber", "language model"])
def test_all_streams_take_it(name):
    model = fitted(name).set_params(compute_dtype="int4")
    with pytest.raises(ValueError, match="compute_dtype must be one of"):
        model.stream()


def test_traces_are_those_of_predictions():
    model = fitted("regressor", compute_dtype="int8")
    h = model.trace(X)["hidden_state"]
    assert not np.array_equal(h, fitted("regressor").trace(X)["hidden_state"])


def test_gradients_of_trained_models_are_in_float32():
    model, plain = fitted("classifier", compute_dtype="int8"), fitted("classifier")
    y = MODELS["classifier"][2]
    np.testing.assert_array_equal(gradient_flow(model, X, y).state, gradient_flow(plain, X, y).state)


def test_new_weights_are_quantised():
    model = fitted("regressor", compute_dtype="int8")
    before = predicted(model, "regressor")
    model.set_parameters({name: 0.5 * value for name, value in model.parameters.items()})
    assert np.abs(predicted(model, "regressor") - before).max() > 1e-3


def test_forecasters_hand_it_to_their_networks():
    series = np.sin(np.arange(120.0)) + 0.1 * RNG.normal(size=120)
    forecasts = []
    for kind in (None, "int8"):
        model = LSTMForecaster(
            horizon=3, n_members=1, max_iter=2, random_state=0, compute_dtype=kind, linear_skip=False
        )
        forecasts.append(np.asarray(model.fit(series).predict()))
    assert not np.array_equal(*forecasts)
    np.testing.assert_allclose(*forecasts, atol=0.2)


@pytest.mark.parametrize("bad", ["int4", 8, ["int8"]])
def test_other_types_are_refused(bad):
    model = fitted("regressor")
    for call in (lambda: clone(model).set_params(compute_dtype=bad).fit(X, X[:, 0, 0]),
                 lambda: model.set_params(compute_dtype=bad).predict(X)):  # fmt: skip
        with pytest.raises(ValueError, match="compute_dtype must be one of"):
            call()


def test_float64_is_refused():
    model = LSTMRegressor(**SMALL, dtype="float64").fit(X, X[:, 0, 0])
    for call in (lambda: clone(model).set_params(compute_dtype="int8").fit(X, X[:, 0, 0]),
                 lambda: model.set_params(compute_dtype="int8").predict(X),
                 lambda: model.stream()):  # fmt: skip
        with pytest.raises(ValueError, match="compute_dtype must be None with dtype='float64', got 'int8'"):
            call()


def test_what_the_processor_lacks_is_refused_at_the_prediction(monkeypatch):
    monkeypatch.setattr(quantised, "supported", lambda: False)
    model = fitted("regressor", compute_dtype="int8")
    with pytest.raises(UnsupportedError, match="compute_dtype='int8' is not supported by backend 'cpu'"):
        model.predict(X)
