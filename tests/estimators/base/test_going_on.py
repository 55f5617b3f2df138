"""Training that goes on: `partial_fit`, `warm_start`; and what a failure leaves."""

import copy
import pickle

import numpy as np
import pytest

from numlstm import LSTMClassifier, LSTMRegressor

SMALL = {"hidden_size": 5, "max_iter": 3, "random_state": 0, "n_iter_no_change": None}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(rng.integers(2, 6), 2)) for _ in range(24)]
    return X, np.array(["a", "b", "c"] * 8)


def state(model):
    """Everything that could change, to the bit."""
    return pickle.dumps({name: value for name, value in vars(model).items() if name != "_prepared"})


def test_partial_fit_learns(data):
    X, y = data
    model = LSTMClassifier(hidden_size=8, learning_rate_init=0.02, random_state=0)
    for _ in range(80):
        model.partial_fit(X, y, classes=["a", "b", "c"])
    assert model.n_iter_ == len(model.loss_curve_) == 80
    assert model.score(X, y) > 0.9
    assert model.best_loss_ == model.loss_curve_[-1]


def test_partial_fit_keeps_the_state_of_the_optimizer(data):
    X, y = data
    X, y = np.zeros((1, 3, 2)) + 0.5, np.array([2.0])  # one sequence: nothing to shuffle
    options = SMALL | {"scale_targets": False, "dtype": "float64", "learning_rate": "constant", "max_iter": 6}
    whole = LSTMRegressor(**options).fit(X, y)
    parts = LSTMRegressor(**options)
    for _ in range(6):
        parts.partial_fit(X, y)
        parts = pickle.loads(pickle.dumps(parts))
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-12)


def test_classes_of_partial_fit(data):
    X, y = data
    model = LSTMClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed in the first call"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"classes must hold at least two labels, got \['a'\]"):
        model.partial_fit(X, y, classes=["a"])
    with pytest.raises(ValueError, match=r"y must hold labels among classes \['a', 'b'\], got \['c'\]"):
        model.partial_fit(X, y, classes=["a", "b"])
    assert not hasattr(model, "classes_")
    model.partial_fit(X[:2], y[:2], classes=["c", "b", "a", "d"])
    assert model.classes_.tolist() == ["a", "b", "c", "d"]
    before = state(model)
    with pytest.raises(ValueError, match=r"y must hold labels among classes .*, got \['z'\]"):
        model.partial_fit(X[:1], ["z"])
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, y, classes=["a", "b"])
    assert state(model) == before


@pytest.mark.parametrize("option", [{"early_stopping": True}, {"warm_up": 0.1}], ids=str)
def test_partial_fit_refuses_what_needs_more_than_one_epoch(data, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be .* for partial_fit"):
        LSTMRegressor(**SMALL | option).partial_fit(data[0], np.zeros(24))


def test_partial_fit_leaves_the_step_size_as_it_is(data):
    X, y = data[0], np.arange(24.0)
    expected = LSTMRegressor(**SMALL).partial_fit(X, y).predict(X)
    for schedule in ("cosine", "one_cycle", "reduce_on_plateau"):
        model = LSTMRegressor(**SMALL, learning_rate=schedule).partial_fit(X, y)
        np.testing.assert_array_equal(model.predict(X), expected)


def test_what_partial_fit_cannot_change_or_know(data):
    X, y = data
    model = LSTMRegressor(**SMALL).partial_fit(X, np.zeros(24))
    before = state(model)
    with pytest.raises(ValueError, match="solver must be 'adam', as in the last partial_fit, got 'sgd'"):
        model.set_params(solver="sgd").partial_fit(X, np.zeros(24))
    assert state(model.set_params(solver="adam")) == before
    with pytest.raises(ValueError, match="class_weight must not be 'balanced' for partial_fit"):
        LSTMClassifier(**SMALL, class_weight="balanced").partial_fit(X, y, classes=["a", "b", "c"])


def test_partial_fit_calls_back(data):
    seen = []
    LSTMRegressor(**SMALL, callback=seen.append).partial_fit(data[0], np.zeros(24))
    assert [progress.epoch for progress in seen] == [1]


def test_warm_start_goes_on(data):
    X, y = data
    cold = LSTMClassifier(**SMALL).fit(X, y)
    warm = LSTMClassifier(**SMALL, warm_start=True).fit(X, y)
    assert warm.loss_curve_ == cold.loss_curve_
    warm.fit(X, y)
    assert warm.n_iter_ == 6
    assert warm.loss_curve_[:3] == cold.loss_curve_
    assert warm.loss_curve_[3] < cold.loss_curve_[2]
    assert cold.fit(X, y).n_iter_ == 3


def test_warm_start_refuses_another_network_or_other_classes(data):
    X, y = data
    model = LSTMClassifier(**SMALL, warm_start=True).fit(X, y)
    before = state(model)
    with pytest.raises(ValueError, match=r"y must hold the classes of the last fit, \['a', 'b', 'c'\]"):
        model.fit(X, np.where(y == "c", "d", y))
    with pytest.raises(ValueError, match="X must have 2 features, as in the last fit, got"):
        model.fit([x[:, :1] for x in X], y)
    assert state(model) == before
    for change in ({"hidden_size": 6}, {"pooling": "max"}, {"num_layers": 2}):
        other = copy.deepcopy(model).set_params(**change)
        with pytest.raises(ValueError, match="parameters of the network must be those of the last fit"):
            other.fit(X, y)
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("change", "wrong", "error"),
    [
        ({}, {"X": [np.full((2, 2), np.nan)] * 24}, ValueError),
        ({}, {"y": np.arange(23)}, ValueError),
        ({}, {"sample_weight": -np.ones(24)}, ValueError),
        ({}, {"sample_weight": np.zeros(24)}, ValueError),
        ({}, {"sample_weight": np.ones((24, 1))}, ValueError),
        ({}, {"sample_weight": np.full(24, np.nan)}, ValueError),
        ({"learning_rate_init": 1e39, "clip_norm": None}, {}, FloatingPointError),
        ({"hidden_size": 0}, {}, ValueError),
    ],
    ids=str,
)
def test_a_failure_leaves_the_model_as_it_was(data, method, change, wrong, error):
    X, y = data[0], np.arange(24.0)
    model = LSTMRegressor(**SMALL).fit(X, y).partial_fit(X, y)
    predictions = model.predict(X)
    model.set_params(**change)
    before = state(model)
    arguments = {"X": X, "y": y} | wrong
    with pytest.raises(error):
        getattr(model, method)(**arguments)
    assert state(model) == before
    np.testing.assert_array_equal(model.predict(X), predictions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X_val": [np.zeros((2, 3))], "y_val": ["a"]}, "X_val has 3 features at each step"),
        ({"X_val": [np.zeros((2, 2))], "y_val": ["z"]}, r"y_val must hold labels among classes .*, got \['z'\]"),
        (
            {"X_val": [np.zeros((2, 2))], "y_val": ["a", "b"]},
            "y_val must have 1 entries, one for each sequence of X_val, got 2",
        ),
        ({"X_val": [np.zeros((2, 2))]}, "X_val and y_val must be given together, got only X_val"),
        ({"y_val": ["a"]}, "X_val and y_val must be given together, got only y_val"),
        ({"lengths_val": [1]}, "X_val and y_val must be given together, got only lengths_val"),
        ({"X_val": np.full((1, 2, 2), np.nan), "y_val": ["a"]}, "NaN"),
        (
            {"X_val": np.zeros((1, 2, 2)), "y_val": ["a"], "lengths_val": [3]},
            r"lengths_val must be in 1..2, the steps of X_val, got 3",
        ),
    ],
)
def test_wrong_validation_sets_are_named(data, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LSTMClassifier(**SMALL).fit(*data, **arguments)


@pytest.mark.parametrize("count", [2, 5, 12])
def test_too_few_sequences_to_set_some_aside(data, count):
    X, y = data
    with pytest.raises(ValueError, match=r"early_stopping cannot set aside validation_fraction=0.1 of \d+ sequences"):
        LSTMClassifier(**SMALL, early_stopping=True).fit(X[:count], y[:count])
    with pytest.raises(ValueError, match="early_stopping cannot set aside"):
        LSTMRegressor(**SMALL, early_stopping=True).fit(X[:1], [1.0])
