"""Texts and categories: a token's share is that of its vector."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from numlstm import LSTMClassifier, LSTMRegressor
from numlstm.inspection import (
    attribute,
    gradient_flow,
    permutation_importance,
    plot_attribution,
    plot_gates,
    plot_memory,
)

TEXTS, Y = ["abc", "bca", "cabb", "ab", "bb", "acca"], [0, 1, 0, 1, 0, 1]
FAST = {"hidden_size": 4, "max_iter": 3, "dtype": "float64", "pooling": "mean", "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def model():
    yield LSTMClassifier(**FAST).fit(TEXTS, Y)
    plt.close("all")


@pytest.fixture(scope="module")
def mixed():
    """A number, a category and another number at each step."""
    rng = np.random.default_rng(0)
    X = [np.column_stack([rng.normal(size=n), rng.integers(1, 4, n), rng.normal(size=n)]) for n in (5, 3, 4)]
    return LSTMRegressor(**FAST, categorical_features=[1]).fit(X, [1.0, 2.0, 4.0]), X


def test_texts(model):
    found = attribute(model, TEXTS)
    assert [values.shape for values in found.values] == [(len(text), 1) for text in TEXTS]
    np.testing.assert_allclose(found.scores, model.decision_function(TEXTS))
    np.testing.assert_allclose(found.delta, 0, atol=1e-6)
    np.testing.assert_allclose([values.sum() for values in found.values], found.scores - found.baseline_scores)


def test_occlusion_takes_a_whole_vector(model):
    """As if the table had a vector of zeros for that token."""
    found = attribute(model, ["abc"], method="occlusion")
    table = next(name for name in model.parameters if "embedding" in name)
    token = int(found.sequences[0][1, 0])
    before = model.decision_function(["abc"])[0]
    kept = {name: np.array(value) for name, value in model.parameters.items()}
    without = {name: value.copy() for name, value in kept.items()}
    without[table][token] = 0
    model.set_parameters(without)
    after = model.decision_function(["abc"])[0]
    model.set_parameters(kept)
    assert found.values[0][1, 0] == pytest.approx(before - after)


def test_channels_keep_their_places(mixed):
    model, X = mixed
    found = attribute(model, X)
    np.testing.assert_allclose(found.scores, model.predict(X))
    np.testing.assert_allclose(found.delta, 0, atol=1e-6)
    slopes = attribute(model, X, method="gradient_x_input").values[0]
    for channel in (0, 2):
        shift = np.zeros_like(X[0])
        shift[2, channel] = 1e-5
        slope = (model.predict([X[0] + shift])[0] - model.predict([X[0] - shift])[0]) / 2e-5
        mean = model.channel_mean_[channel]
        assert slopes[2, channel] == pytest.approx(slope * (X[0][2, channel] - mean), rel=1e-5)
    assert plot_attribution(model, X).image_.get_array().shape == (3, 5)


def test_gradients_flow(model):
    flow = gradient_flow(model, TEXTS, Y)
    probabilities = model.predict_proba(TEXTS)
    assert flow.loss == pytest.approx(-np.log(probabilities[np.arange(6), Y]).mean())
    assert (flow.hidden[0, 0, :3] > 0).all()


def test_gates_go_without_input(model):
    display = plot_gates(model, TEXTS, row=2)
    assert "input" not in display.images_
    assert len(display.ax_) == 6
    assert display.images_["forget_gate"].get_array().shape == (4, 4)


def test_what_needs_numbers(model):
    with pytest.raises(TypeError, match="X must hold sequences of numbers"):
        plot_memory(model, TEXTS)
    with pytest.raises(ValueError, match="X must hold numbers: texts and categories are not shuffled"):
        permutation_importance(model, TEXTS, Y)
    with pytest.raises(ValueError, match="baselines must be None where X holds texts or categories"):
        attribute(model, TEXTS, baselines=0.0)
