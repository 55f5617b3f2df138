"""Predictions while a sequence arrives."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from numlstm import BackendUnavailableError, LSTMClassifier, LSTMRegressor

SMALL = {"hidden_size": 5, "bidirectional": False, "max_iter": 3, "random_state": 0, "num_layers": 2}
POOLINGS = ("last", "mean", "max", "attention", "concat")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 7, 3)), rng.normal(size=20)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_step_is_the_prediction_for_the_sequence_so_far(data, pooling, dtype):
    X, y = data
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    classifier = LSTMClassifier(**SMALL, pooling=pooling, dtype=dtype).fit(X, y > 0)
    regressor = LSTMRegressor(**SMALL, pooling=pooling, dtype=dtype).fit(X, y)
    for model, predict in ((classifier, classifier.predict_proba), (regressor, regressor.predict)):
        stream = model.stream()
        for _ in range(2):
            for t in range(7):
                expected = predict(X[:1, : t + 1])[0]
                np.testing.assert_allclose(stream.step(X[0, t]), expected, rtol=tolerance, atol=tolerance)
            stream.reset()


def test_several_streams_at_once(data):
    X, y = data
    model = LSTMRegressor(**SMALL, pooling="attention").fit(X, np.stack([y, y**2], axis=1))
    stream = model.stream(batch_size=4)
    for t in range(7):
        said = stream.step(X[:4, t])
    np.testing.assert_allclose(said, model.predict(X[:4]), rtol=1e-5)


def test_targets_for_each_step(data):
    X, _ = data
    model = LSTMRegressor(**SMALL).fit(list(X), [x.cumsum(axis=0)[:, 0] for x in X])
    stream = model.stream()
    said = [stream.step(x_t) for x_t in X[3]]
    assert np.shape(said) == (7,)
    np.testing.assert_allclose(said, model.predict([X[3]])[0], rtol=1e-5)


def test_a_stream_is_a_snapshot(data):
    X, y = data
    model = LSTMRegressor(**SMALL).fit(X, y)
    stream, expected = model.stream(), model.predict(X[:1, :1])[0]
    model.fit(X, 100 * y + 7)
    assert stream.step(X[0, 0]) == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_streamed(data):
    X, y = data
    with pytest.raises(NotFittedError):
        LSTMRegressor().stream()
    with pytest.raises(ValueError, match="bidirectional=False"):
        LSTMRegressor(**SMALL | {"bidirectional": True}).fit(X, y).stream()
    model = LSTMRegressor(**SMALL, pooling="mean").fit(X, y)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        model.stream(batch_size=0)
    stream = model.stream()
    for wrong in (np.full(3, np.nan), np.zeros(2), np.array(["a", "b", "c"])):
        with pytest.raises((ValueError, TypeError), match="x_t must"):
            stream.step(wrong)
    np.testing.assert_allclose(stream.step(X[0, 0]), model.predict(X[:1, :1])[0], rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_attention_weights_say_what_the_mean_is_made_of(data, pooling):
    X, y = data
    ragged = [x[: 1 + i % 7] for i, x in enumerate(X)]
    model = LSTMRegressor(**SMALL, pooling=pooling, scale_inputs=False).fit(ragged, y)
    if pooling != "attention":
        assert not hasattr(model, "attention_weights")
        return
    for x, shares in zip(ragged, model.attention_weights(ragged), strict=True):
        assert shares.shape == (len(x),)
        assert (shares > 0).all()
        outputs, _ = model.layers_[0](x)
        score = model.coef_ @ (shares @ outputs) + model.intercept_
        wanted = score * model.target_scale_ + model.target_mean_
        np.testing.assert_allclose(model.predict([x]), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("door", ["predict", "stream", "trace"])
def test_every_door_goes_where_the_estimator_is_told_to(data, door):
    """Models move: one that was trained on another backend computes on the one that is set now."""
    X, y = data
    model = LSTMRegressor(**SMALL, backend="reference").fit(X, y).set_params(backend="cuda:99")
    doors = {"predict": lambda: model.predict(X), "stream": model.stream, "trace": lambda: model.trace(X)}
    with pytest.raises(BackendUnavailableError, match="cuda:99"):
        doors[door]()
    model.set_params(backend="cpu")
    doors[door]()


def test_trained_layers_have_no_backend_of_their_own(data):
    X, y = data
    assert LSTMRegressor(**SMALL, backend="reference").fit(X, y).layers_[0].backend is None
