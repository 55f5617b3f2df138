"""Every option does something, and what it says."""

import numpy as np
import pytest

from numlstm import LSTMClassifier, LSTMRegressor

BASE = {"hidden_size": 6, "max_iter": 4, "batch_size": 8, "learning_rate": "constant", "n_iter_no_change": None,
        "random_state": 0}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(rng.integers(2, 8), 2)) for _ in range(48)]
    return X, np.array([x[:, 0].sum() for x in X])


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 7},
        {"num_layers": 2},
        {"bidirectional": True},
        {"pooling": "mean"},
        {"pooling": "max"},
        {"pooling": "attention"},
        {"init": "torch"},
        {"solver": "adamw", "alpha": 0.1},
        {"solver": "sgd"},
        {"solver": "rmsprop"},
        {"alpha": 1.0},
        {"batch_size": 9},
        {"gradient_accumulation_steps": 2},
        {"learning_rate": "cosine"},
        {"learning_rate": "one_cycle"},
        {"learning_rate": "reduce_on_plateau", "tol": 10.0, "n_iter_no_change": 8, "max_iter": 8},
        {"learning_rate_init": 0.004},
        {"learning_rate": "cosine", "warm_up": 0.5},
        {"max_iter": 5},
        {"tol": 10.0, "n_iter_no_change": 2},
        {"early_stopping": True},
        {"clip_norm": 0.01},
        {"beta_1": 0.5},
        {"beta_2": 0.5},
        {"epsilon": 0.1},
        {"random_state": 1},
        {"dtype": "float64"},
        {"loss": "absolute_error"},
        {"loss": "huber", "delta": 0.1},
        {"loss": "pinball", "quantile": 0.9},
        {"scale_targets": False},
        {"scale_inputs": False},
    ],
    ids=str,
)
def test_a_changed_option_changes_what_is_learnt(data, change):
    X, y = data
    plain = LSTMRegressor(**BASE).fit(X, y).loss_curve_
    assert LSTMRegressor(**BASE | change).fit(X, y).loss_curve_ != plain


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"solver": "sgd"}, {"momentum": 0.5}),
        ({"solver": "sgd"}, {"nesterovs_momentum": False}),
        ({"solver": "rmsprop"}, {"rho": 0.5}),
        ({"solver": "rmsprop"}, {"epsilon": 0.1}),
        ({"solver": "adamw", "alpha": 0.1}, {"alpha": 0.2}),
        ({"num_layers": 2}, {"dropout": 0.5}),
        ({"early_stopping": True}, {"validation_fraction": 0.4}),
        ({"loss": "huber"}, {"delta": 0.1}),
        ({"loss": "pinball"}, {"quantile": 0.1}),
    ],
    ids=str,
)
def test_an_option_of_an_option_changes_what_is_learnt(data, first, second):
    X, y = data
    plain = LSTMRegressor(**BASE | first).fit(X, y).loss_curve_
    assert LSTMRegressor(**BASE | first | second).fit(X, y).loss_curve_ != plain


def test_accumulated_gradients_are_those_of_a_larger_batch(data):
    X, y = np.random.default_rng(0).normal(size=(48, 5, 2)), data[1]
    options = BASE | {"solver": "sgd", "dtype": "float64"}
    small = LSTMRegressor(**options | {"batch_size": 4, "gradient_accumulation_steps": 3}).fit(X, y)
    large = LSTMRegressor(**options | {"batch_size": 12}).fit(X, y)
    np.testing.assert_allclose(small.loss_curve_, large.loss_curve_, rtol=1e-10)


def test_training_ends_where_the_loss_no_longer_falls(data):
    model = LSTMRegressor(**BASE | {"max_iter": 50, "tol": 100.0, "n_iter_no_change": 3}).fit(*data)
    assert model.n_iter_ == 4  # the first epoch always counts as an improvement


def test_early_stopping_keeps_the_weights_of_the_least_validation_loss(data):
    X, y = data
    options = BASE | {"max_iter": 60, "learning_rate_init": 0.05, "early_stopping": True, "n_iter_no_change": 15}
    model = LSTMRegressor(**options).fit(X[:20], y[:20], X_val=X[20:], y_val=y[20:])
    assert model.best_loss_ == min(model.validation_loss_curve_) < model.validation_loss_curve_[-1]
    errors = (model.predict(X[20:]) - y[20:]) / model.target_scale_
    assert np.mean(errors**2) == pytest.approx(model.best_loss_, rel=1e-5)
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_
    best = int(np.argmin(model.validation_loss_curve_))
    assert model.score(X[20:], y[20:]) == pytest.approx(model.validation_scores_[best], rel=1e-5)


def test_a_validation_set_alone_stops_nothing_early_and_restores_nothing(data):
    X, y = data
    given = LSTMRegressor(**BASE).fit(X, y, X_val=X[:5], y_val=y[:5])
    plain = LSTMRegressor(**BASE).fit(X, y)
    assert given.loss_curve_ == plain.loss_curve_
    assert plain.validation_loss_curve_ is plain.validation_scores_ is None
    assert given.validation_scores_[-1] == pytest.approx(given.score(X[:5], y[:5]), rel=1e-5)


def test_a_validation_split_keeps_the_proportions_of_the_classes(data):
    X, y = data[0], np.arange(48) % 3
    model = LSTMClassifier(**BASE | {"early_stopping": True, "validation_fraction": 0.25}).fit(X, y)
    for score in model.validation_scores_:
        assert score * 12 == pytest.approx(round(score * 12))


@pytest.mark.parametrize("solver", ["adam", "adamw"])
def test_alpha_shrinks_weights_and_no_biases(data, solver):
    X, y = data
    options = BASE | {"solver": solver, "max_iter": 40, "learning_rate_init": 0.02}
    strong = LSTMRegressor(**options | {"alpha": {"adam": 400.0, "adamw": 5.0}[solver]}).fit(X, y + 100)
    weights = strong.layers_[0].parameters["weight_ih_l0"]
    plain = LSTMRegressor(**options).fit(X, y + 100).layers_[0].parameters["weight_ih_l0"]
    assert np.abs(weights).mean() < 0.2 * np.abs(plain).mean()
    assert np.abs(strong.layers_[0].parameters["bias_ih_l0"]).max() > 0.1


def test_an_l2_penalty_is_divided_by_the_sequences_of_a_step(data):
    X, y = np.random.default_rng(0).normal(size=(48, 5, 2)), data[1]
    options = BASE | {"solver": "sgd", "dtype": "float64", "max_iter": 1, "clip_norm": None, "momentum": 0.0}

    def moved(alpha):
        model = LSTMRegressor(**options | {"alpha": alpha, "batch_size": 48, "learning_rate_init": 1.0}).fit(X, y)
        return model.layers_[0].parameters["weight_hh_l0"], model.layers_[0].parameters["bias_hh_l0"]

    start = LSTMRegressor(**options | {"learning_rate_init": 1e-300}).fit(X, y).layers_[0].parameters["weight_hh_l0"]
    (plain, bias), (penalised, same_bias) = moved(0.0), moved(4.8)
    np.testing.assert_allclose(plain - penalised, 0.1 * start, atol=1e-12)
    np.testing.assert_array_equal(bias, same_bias)


def test_class_weights_are_sample_weights(data):
    X, y = data[0], np.array(["a"] * 36 + ["b"] * 12)
    by_class = LSTMClassifier(**BASE, class_weight={"a": 1, "b": 3}).fit(X, y)
    balanced = LSTMClassifier(**BASE, class_weight="balanced").fit(X, y)
    by_sample = LSTMClassifier(**BASE).fit(X, y, np.where(y == "b", 3.0, 1.0))
    np.testing.assert_allclose(by_class.loss_curve_, by_sample.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(balanced.loss_curve_, by_sample.loss_curve_, rtol=1e-6)
    assert LSTMClassifier(**BASE).fit(X, y).loss_curve_ != by_class.loss_curve_


def test_weights_of_zero_remove_and_only_ratios_matter(data):
    X, y = data
    weights = np.random.default_rng(1).uniform(0.5, 2.0, 48)
    weights[5:9] = 0
    kept = weights > 0
    options = BASE | {"batch_size": 100, "dtype": "float64"}
    whole = LSTMRegressor(**options).fit(X, y, weights)
    part = LSTMRegressor(**options).fit([x for x, keep in zip(X, kept, strict=True) if keep], y[kept], weights[kept])
    scaled = LSTMRegressor(**options).fit(X, y, 7 * weights)
    np.testing.assert_allclose(whole.loss_curve_, part.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(whole.loss_curve_, scaled.loss_curve_, rtol=1e-12)


def test_quantiles_are_what_they_say():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3, 1)), rng.normal(size=400)
    options = {"hidden_size": 4, "loss": "pinball", "max_iter": 60, "random_state": 0}
    shares = [np.mean(y < LSTMRegressor(**options, quantile=q).fit(X, y).predict(X)) for q in (0.1, 0.5, 0.9)]
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.06)


def test_learning_rate_range_test(data):
    X, y = data
    options = BASE | {"batch_size": 48}
    model = LSTMRegressor(**options)
    before = dict(vars(model))
    found = model.learning_rate_range_test(X, y, lowest=1e-4, highest=10.0, steps=60)
    assert vars(model) == before
    ratios = found.learning_rates[1:] / found.learning_rates[:-1]
    np.testing.assert_allclose(ratios, (10.0 / 1e-4) ** (1 / 59))
    assert found.losses.shape == found.learning_rates.shape
    assert found.suggestion == found.learning_rates[found.losses.argmin()] / 10
    better = LSTMRegressor(**options | {"learning_rate_init": found.suggestion}).fit(X, y).loss_curve_[-1]
    assert better < LSTMRegressor(**options | {"learning_rate_init": 1e-4}).fit(X, y).loss_curve_[-1]
