"""What was trained on a GPU works on a CPU, and the other way round."""

import pickle

import numpy as np
import pytest
from tolerances import assert_close

from numlstm import GRU, LSTM, LSTMClassifier, LSTMRegressor, use_backend

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(length, 4)).astype("float32") for length in RNG.integers(5, 30, 200)]
Y = np.array([x[:, 0].sum() > 0 for x in X]).astype(int)
PAIRS = [("cuda", "cpu"), ("cpu", "cuda")]


def classifier(backend, **options):
    options = {"hidden_size": 64, "batch_size": 32, "max_iter": 5, "random_state": 0} | options
    return LSTMClassifier(backend=backend, **options)


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"pooling": "attention"}], ids=str)
def test_pickled_estimator_predicts_elsewhere(first, second, options):
    model = classifier(first, **options).fit(X, Y)
    assert model.backend_ == first
    other = pickle.loads(pickle.dumps(model)).set_params(backend=second)
    assert_close("state", "probabilities", other.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_pickled_layer_computes_elsewhere(first, second):
    layer = GRU(4, 64, num_layers=2, random_state=0)
    with use_backend(first):
        y, state = layer(X)
    other = pickle.loads(pickle.dumps(layer))
    with use_backend(second):
        other_y, other_state = other(X)
    assert_close("state", "y", other_y, y)
    assert_close("state", "state", other_state, state)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_training_goes_on_elsewhere(first, second):
    """The optimizer's memory moves too."""
    models = [classifier(first), classifier(first)]
    for model in models:
        for _ in range(3):
            model.partial_fit(X, Y, classes=[0, 1])
    models[1].set_params(backend=second)
    for model in models:
        for _ in range(2):
            model.partial_fit(X, Y)
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_stream_of_what_was_trained_elsewhere(backend):
    model = classifier({"cpu": "cuda", "cuda": "cpu"}[backend], bidirectional=False).fit(X, Y)
    expected = model.predict_proba(X[:1])
    stream = pickle.loads(pickle.dumps(model)).set_params(backend=backend).stream()
    *_, said = (stream.step(x_t) for x_t in X[0])
    np.testing.assert_allclose(said, expected[0], rtol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_training_curves_agree(solver):
    curves = {}
    for backend in ("cpu", "cuda"):
        model = classifier(backend, max_iter=8, solver=solver, dropout=0.1, num_layers=2, validation_fraction=0.2,
                           early_stopping=True, n_iter_no_change=50).fit(X, Y)  # fmt: skip
        curves[backend] = model.loss_curve_, model.validation_loss_curve_
    for cpu, cuda in zip(curves["cpu"], curves["cuda"], strict=True):
        np.testing.assert_allclose(cuda[0], cpu[0], rtol=1e-4)
        np.testing.assert_allclose(cuda, cpu, rtol=2e-2)


def test_regression_learns_the_same():
    y = np.array([x[:, 1].mean() for x in X])
    scores = [
        LSTMRegressor(hidden_size=64, max_iter=20, batch_size=32, random_state=0, backend=name).fit(X, y).score(X, y)
        for name in ("cpu", "cuda")
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.02)


def test_auto_takes_the_gpu_for_large_work_alone():
    layer = LSTM(64, 512, random_state=0)
    x = RNG.normal(size=(64, 50, 64)).astype("float32")
    layer(x)
    layer(x[:1, :2])
    assert set(layer._weights[1]) == {"cuda", "cpu"}
