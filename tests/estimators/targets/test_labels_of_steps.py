"""Labels for every step are told apart from several labels of a sequence, or from one."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from numlstm import LSTMClassifier, LSTMRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6, 2))
SMALL = {"hidden_size": 4, "max_iter": 1, "random_state": 0}
OBJECTS = np.empty(24, object)
OBJECTS[:] = [["a"] * (1 + k % 3) for k in range(24)]


def test_as_many_labels_as_steps_have_two_readings():
    Y = RNG.integers(0, 2, (24, 6))
    both = r"read as 6 labels of each whole sequence, but X has 6 steps.*fit LSTMTagger"
    for x in (X, list(X), [x[: 6 - k % 2] for k, x in enumerate(X)]):
        with pytest.warns(UserWarning, match=both):
            model = LSTMClassifier(**SMALL).fit(x, Y)
    assert model.predict(X).shape == (24, 6)
    assert LSTMRegressor(**SMALL).fit(X, Y[:, :, None]).predict(X).shape == (24, 6, 1)


def test_other_numbers_of_labels_have_one():
    Y = RNG.integers(0, 2, (24, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        LSTMClassifier(**SMALL).fit(X, Y, X_val=X[:, :5], y_val=Y).score(X[:, :5], Y)
        LSTMClassifier(**SMALL).fit(X, Y[:, 0])


@pytest.mark.parametrize(
    "y",
    [
        RNG.integers(0, 3, (24, 6)),
        np.full((24, 6), "a"),
        [["a", "b"] * (1 + k % 3) for k in range(24)],
        [[0, 1] * (1 + k % 3) for k in range(24)],
        [np.array([0, 1] * (1 + k % 3)) for k in range(24)],
        [("a",) * 6] * 24,
        OBJECTS,
        RNG.normal(size=(24, 6)),
        np.zeros((24, 6, 2), int),
    ],
)
def test_labels_of_steps_are_for_others(y):
    message = "y must hold one label for each sequence, .* for LSTMTagger, .* for LSTMRegressor"
    with pytest.raises(ValueError, match=message):
        LSTMClassifier(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="y_val must hold one label for each sequence"):
        LSTMClassifier(**SMALL).fit(X, np.arange(24) % 2, X_val=X, y_val=y)


def test_other_ways_to_the_same_readings():
    nested = [["a", "b"] * (1 + k % 3) for k in range(24)]
    objects = np.empty(24, object)
    objects[:] = [np.array(each) for each in nested]
    for y in (nested, objects):
        with pytest.raises(ValueError, match="y must hold one label for each sequence"):
            LSTMClassifier(**SMALL).partial_fit(X, y, classes=["a", "b"])
        with pytest.raises(ValueError, match="y must hold one label for each sequence"):
            LSTMClassifier(**SMALL).fit(X, y)
    with pytest.warns(UserWarning, match="but X has 6 steps"):  # as many as the padded array has
        LSTMClassifier(**SMALL).fit(X, RNG.integers(0, 2, (24, 6)), lengths=[5] * 24)
