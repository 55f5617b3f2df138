"""Several labels at once, and the probabilities of all kinds of classes."""

import numpy as np
import pytest

from numlstm import LSTMClassifier


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(rng.integers(3, 8), 2)) for _ in range(120)]
    return X, np.array([[x[:, 0].sum() > 0, x[:, 1].sum() > 0, x[0, 0] > 1] for x in X], int)


def test_learns_labels_that_are_there_at_once(data):
    X, Y = data
    model = LSTMClassifier(hidden_size=16, random_state=0, learning_rate_init=0.01).fit(X, Y)
    labels, probabilities = model.predict(X), model.predict_proba(X)
    assert model.classes_.tolist() == [0, 1, 2]
    assert labels.shape == probabilities.shape == (120, 3)
    np.testing.assert_array_equal(labels, probabilities > 0.5)
    assert model.score(X, Y) == np.mean((labels == Y).all(axis=1)) > 0.9
    scores = model.decision_function(X)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-scores)), rtol=1e-5)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), probabilities, rtol=1e-5)


def test_a_classifier_of_labels_wants_labels(data):
    X, Y = data
    model = LSTMClassifier(hidden_size=4, max_iter=1, random_state=0)
    with pytest.raises(ValueError, match="y_val must hold 3 labels of 0 and 1 for each sequence"):
        model.fit(X, Y, X_val=X, y_val=Y[:, 0])
    with pytest.raises(ValueError, match="y_val must hold one label for each sequence"):
        model.fit(X, Y[:, 0], X_val=X, y_val=Y)


def test_two_classes_have_one_score(data):
    X, Y = data
    y = np.where(Y[:, 0], "up", "down")
    model = LSTMClassifier(hidden_size=8, max_iter=20, random_state=0).fit(X, y)
    scores, probabilities = model.decision_function(X), model.predict_proba(X)
    assert scores.shape == (120,)
    np.testing.assert_array_equal(model.predict(X), np.where(scores > 0, "up", "down"))
    np.testing.assert_allclose(np.log(probabilities[:, 1] / probabilities[:, 0]), scores, atol=1e-4)


def test_log_probabilities_stay_finite():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3, 1))
    model = LSTMClassifier(hidden_size=2, max_iter=1, random_state=0).fit(X, np.arange(20) % 3)
    model.set_parameters({**model.parameters, "weight_output": model.coef_ * 1e4})
    log_probabilities = model.predict_log_proba(X)
    assert np.isfinite(log_probabilities).all()
    assert (model.predict_proba(X) == 0).any()
    assert log_probabilities.min() < -200
