"""`compute_dtype` of estimators: predictions in it; training, too, in bfloat16, but not in int8."""

import numpy as np
import pytest
from sklearn.base import clone
from tolerances import assert_close

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
from numlstm.backends.cpu.linear import halves, quantised
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
    for kind in (halves, quantised):
        monkeypatch.setattr(kind, "supported", lambda: True)


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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_training_in_bfloat16_is_close_to_that_in_float32_but_not_the_same(name):
    model, plain = fitted(name, compute_dtype="bfloat16"), fitted(name)
    different = [not np.array_equal(model.parameters[key], value) for key, value in plain.parameters.items()]
    assert np.mean(different) > 0.5
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=0.01)
    assert {value.dtype for value in model.parameters.values()} == {np.dtype("float32")}
    assert model.layers_[0]._stack.cell.compute_dtype is None


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_training_in_bfloat16_is_that_of_the_reference(name):
    steps = {"max_iter": 1, "compute_dtype": "bfloat16"}
    model, reference = fitted(name, **steps), fitted(name, backend="reference", **steps)
    for key, value in reference.parameters.items():
        assert_close("bfloat16", key, model.parameters[key], value)
    assert np.allclose(model.loss_curve_, reference.loss_curve_, rtol=1e-3)


def test_bfloat16_set_after_training_changes_predictions_alone():
    model, plain = fitted("classifier"), fitted("classifier")
    model.set_params(compute_dtype="bfloat16")
    for key, value in plain.parameters.items():
        np.testing.assert_array_equal(model.parameters[key], value)
    assert not np.array_equal(predicted(model, "classifier"), predicted(plain, "classifier"))
    trained = fitted("classifier", compute_dtype="bfloat16").set_params(compute_dtype=None)
    plain.set_parameters(trained.parameters)
    np.testing.assert_array_equal(predicted(trained, "classifier"), predicted(plain, "classifier"))


def test_training_goes_on_in_bfloat16():
    y = X[:, :, 0].sum(1)
    model, plain = (LSTMRegressor(**SMALL, compute_dtype=kind) for kind in ("bfloat16", None))
    for _ in range(2):
        model.partial_fit(X, y)
        plain.partial_fit(X, y)
    name = "weight_hh_l0"
    assert not np.array_equal(model.parameters[name], plain.parameters[name])
    assert np.median(np.abs(model.parameters[name] - plain.parameters[name])) < 1e-3


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


def test_what_the_processor_lacks_is_refused_in_training_and_predictions(monkeypatch):
    monkeypatch.setattr(halves, "supported", lambda: False)
    with pytest.raises(UnsupportedError, match="compute_dtype='bfloat16' is not supported by backend 'cpu'"):
        fitted("regressor", compute_dtype="bfloat16")
    monkeypatch.setattr(quantised, "supported", lambda: False)
    model = fitted("regressor", compute_dtype="int8")
    with pytest.raises(UnsupportedError, match="compute_dtype='int8' is not supported by backend 'cpu'"):
        model.predict(X)
