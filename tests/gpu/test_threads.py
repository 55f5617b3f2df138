"""One model serves many threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numlstm import LSTM, LSTMClassifier

pytestmark = pytest.mark.gpu

THREADS, TIMES = 8, 20
RNG = np.random.default_rng(0)
BATCHES = [RNG.normal(size=(4 + 3 * k, 10 + k, 6)).astype("float32") for k in range(THREADS)]


def in_threads(function):
    """Results of a function on every batch, many times over, from as many threads at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda x: [function(x) for _ in range(TIMES)], BATCHES))


def assert_same(results, function):
    for x, own in zip(BATCHES, results, strict=True):
        expected = function(x)
        for each in own:
            np.testing.assert_array_equal(each, expected)


@pytest.fixture(scope="module")
def model():
    X, y = RNG.normal(size=(60, 12, 6)), np.arange(60) % 3
    return LSTMClassifier(hidden_size=300, num_layers=2, max_iter=1, random_state=0, backend="cuda").fit(X, y)


def test_predict(model):
    model._prepared.clear()  # the first call of each thread finds no weights packed
    assert_same(in_threads(model.predict_proba), model.predict_proba)


@pytest.mark.parametrize("hidden", [16, 600])
def test_calls(hidden):
    layer = LSTM(6, hidden, backend="cuda", random_state=0)
    results = in_threads(lambda x: layer(x)[0])
    assert_same(results, lambda x: layer(x)[0])


def test_gradients():
    layer = LSTM(6, 300, backend="cuda", random_state=0)

    def compute(x):
        y, _, pullback = layer.vjp(x)
        return pullback(y)[2]["weight_hh_l0"]

    assert_same(in_threads(compute), compute)


def test_small_calls_and_streams():
    layer = LSTM(6, 32, backend="cuda", random_state=0)

    def compute(x):
        stream = layer.stream()
        return np.stack([stream.step(x_t) for x_t in x[0]]) + layer(x[0])[0]

    assert_same(in_threads(compute), compute)


def test_predictions_while_another_model_trains(model):
    X, y = RNG.normal(size=(200, 12, 6)), np.arange(200) % 3

    def fit():
        return LSTMClassifier(hidden_size=256, max_iter=5, random_state=0, backend="cuda").fit(X, y).coef_

    alone = fit()
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(fit)
        results = in_threads(model.predict_proba)
        np.testing.assert_array_equal(training.result(), alone)
    assert_same(results, model.predict_proba)
