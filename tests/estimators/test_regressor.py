"""Numbers from sequences: every form of targets, scaling, errors."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from numlstm import LSTMRegressor

SMALL = {"hidden_size": 8, "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def ragged():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(rng.integers(2, 9), 2)) for _ in range(60)]


def padded(arrays, fill=0.0):
    lengths = np.array([len(x) for x in arrays])
    whole = np.full((len(arrays), lengths.max(), *arrays[0].shape[1:]), fill)
    for row, x in zip(whole, arrays, strict=True):
        row[: len(x)] = x
    return whole, lengths


def test_learns_one_number_and_several(ragged):
    one, several = [x.sum() for x in ragged], [[x[:, 0].sum(), 1000 * x[-1, 1]] for x in ragged]
    options = {"hidden_size": 16, "max_iter": 200, "random_state": 0, "learning_rate_init": 0.01}
    model = LSTMRegressor(**options).fit(ragged, one)
    assert model.predict(ragged).shape == (60,)
    assert model.score(ragged, one) > 0.95
    model = LSTMRegressor(**options).fit(ragged, several)
    assert model.predict(ragged).shape == (60, 2)
    assert model.score(ragged, several) > 0.95
    assert model.score(ragged, several) == pytest.approx(r2_score(several, model.predict(ragged)))


def test_every_form_of_a_target_for_each_step_is_the_same(ragged):
    sums = [x.cumsum(axis=0) for x in ragged]
    X, lengths = padded(ragged)
    y, _ = padded(sums, fill=np.nan)  # past the lengths, anything may stand
    from_list = LSTMRegressor(**SMALL).fit(ragged, sums)
    from_array = LSTMRegressor(**SMALL).fit(X, y, lengths=lengths)
    assert from_list.loss_curve_ == from_array.loss_curve_
    each, whole = from_list.predict(ragged), from_array.predict(X, lengths=lengths)
    for got, row, length in zip(each, whole, lengths, strict=True):
        assert got.shape == (length, 2)
        np.testing.assert_array_equal(got, row[:length])
        assert not row[length:].any()
    expected = r2_score(np.concatenate(sums), np.concatenate(each))
    assert from_list.score(ragged, sums) == pytest.approx(expected)
    assert from_array.score(X, y, lengths=lengths) == pytest.approx(expected)


def test_one_target_for_each_step_has_no_axis_of_its_own(ragged):
    model = LSTMRegressor(**SMALL | {"max_iter": 200, "learning_rate_init": 0.01})
    sums = [x[:, 0].cumsum() for x in ragged]
    model.fit(ragged, sums)
    assert [each.shape for each in model.predict(ragged[:3])] == [(len(x),) for x in ragged[:3]]
    assert model.score(ragged, sums) > 0.9
    same_length = [x[:2] for x in ragged]
    model.fit(same_length, [x[:, 0].cumsum() for x in same_length])  # each array as long as its sequence
    assert model.predict(same_length)[0].shape == (2,)


def test_predictions_of_a_step_do_not_see_the_future(ragged):
    model = LSTMRegressor(**SMALL).fit(ragged, [x.cumsum(axis=0) for x in ragged])
    whole = model.predict([ragged[0]])[0]
    for t in range(1, len(ragged[0])):
        np.testing.assert_allclose(model.predict([ragged[0][:t]])[0], whole[:t], rtol=1e-5)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (1e6, 1e-3), (-5.0, 1e9), (1e100, 1e99)])
def test_targets_are_scaled_and_scaled_back(ragged, mean, scale):
    y = np.array([x.sum() for x in ragged])
    model = LSTMRegressor(**SMALL).fit(ragged, mean + scale * y)
    plain = LSTMRegressor(**SMALL).fit(ragged, y)
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-3)
    expected = mean + scale * plain.predict(ragged)
    np.testing.assert_allclose(model.predict(ragged), expected, rtol=1e-6, atol=1e-3 * scale)
    np.testing.assert_allclose(model.target_mean_, y.mean() * scale + mean)
    np.testing.assert_allclose(model.target_scale_, y.std() * scale, rtol=1e-6)


def test_scaling_uses_the_weights(ragged):
    y = np.array([x.sum() for x in ragged])
    weights = np.linspace(0, 1, 60)
    model = LSTMRegressor(**SMALL).fit(ragged, y, weights)
    np.testing.assert_allclose(model.target_mean_, np.average(y, weights=weights))
    steps = LSTMRegressor(**SMALL).fit(ragged, [x.cumsum(axis=0) for x in ragged], weights)
    each = np.repeat(weights, [len(x) for x in ragged])
    mean = np.average(np.concatenate([x.cumsum(axis=0) for x in ragged]), axis=0, weights=each)
    np.testing.assert_allclose(steps.target_mean_, mean)
    unscaled = LSTMRegressor(**SMALL, scale_targets=False).fit(ragged, y)
    assert (unscaled.target_mean_, unscaled.target_scale_) == (0.0, 1.0)


def test_constant_targets_are_predicted(ragged):
    model = LSTMRegressor(**SMALL | {"max_iter": 100}).fit(ragged, np.full(60, 3.0))
    np.testing.assert_allclose(model.predict(ragged), 3.0, atol=0.1)


def test_float64_from_end_to_end(ragged):
    y = [x.sum() for x in ragged]
    model = LSTMRegressor(**SMALL, dtype="float64").fit(ragged, y)
    reference = LSTMRegressor(**SMALL, dtype="float64", backend="reference").fit(ragged, y)
    np.testing.assert_allclose(model.predict(ragged), reference.predict(ragged), rtol=1e-9)
    assert model.coef_.dtype == model.layers_[0].parameters["weight_ih_l0"].dtype == np.float64


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "the target y is None"),
        ([1.0, 2.0], "y must have 3 entries, one for each sequence of X, got 2"),
        ([1.0, np.nan, 2.0], "NaN"),
        ([[1.0], [np.inf], [2.0]], "infinity"),
        (["a", "b", "c"], "could not convert"),
        (np.zeros((3, 4)) * 1j, "[Cc]omplex"),
        (np.zeros((3, 4, 2)), r"y must have shape .* with T = 5 steps as X, got \(3, 4, 2\)"),
        (np.zeros((3, 5, 2, 1)), "y must have shape"),
        ([1e300, -1e300, 0.0], r"y must .* got numbers of up to 1e\+300"),
        (np.full((3, 5, 2), np.nan), "y must hold a target for at least one step"),
        (np.full((3, 5, 2), np.inf), "y must be finite, or NaN at steps without a label"),
        (
            [np.zeros(5), np.zeros(3), np.zeros(5)],
            r"y\[1\] must have shape \(4,\), with a target for each step, got \(3,\)",
        ),
        ([np.zeros((5, 2)), np.zeros((4, 1)), np.zeros((5, 2))], r"y\[1\] must have shape \(4, 2\)"),
        ([np.zeros(5), np.full(4, np.inf), np.zeros(5)], r"y\[1\] must be finite"),
    ],
)
def test_wrong_targets_are_named(y, message):
    X = [np.zeros((5, 1)), np.zeros((4, 1)), np.zeros((5, 1))]
    model = LSTMRegressor(**SMALL)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "mse"}, "loss must be one of"),
        ({"delta": 0.0}, "delta must be"),
        ({"quantile": 1.0}, r"quantile must be in"),
        ({"scale_targets": 1}, "scale_targets must be True or False"),
        ({"solver": "lbfgs"}, "solver must be one of"),
        ({"pooling": "sum"}, "pooling must be one of"),
        ({"alpha": -1}, "alpha must be"),
        ({"learning_rate": "adaptive"}, "learning_rate must be one of"),
        ({"warm_up": 1.0}, "warm_up must be"),
        ({"tol": "small"}, "tol must be a number"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be at least 1"),
        ({"validation_fraction": 1.0}, "validation_fraction must be"),
        ({"early_stopping": "yes"}, "early_stopping must be True or False"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be at least 1"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"nesterovs_momentum": None}, "nesterovs_momentum must be"),
        ({"rho": -0.1}, "rho must be"),
        ({"callback": 3}, "callback must be callable, got int"),
        ({"verbose": "loud"}, "verbose must be"),
        ({"warm_start": 2}, "warm_start must be"),
    ],
)
def test_wrong_parameters_are_named(ragged, parameters, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LSTMRegressor(**parameters).fit(ragged, np.zeros(60))


def test_pooling_is_only_used_where_a_sequence_has_one_target(ragged):
    totals = [x.cumsum(axis=0) for x in ragged]
    expected = LSTMRegressor(**SMALL).fit(ragged, totals).predict(ragged)
    for pooling in ("mean", "max", "attention", "concat"):
        found = LSTMRegressor(**SMALL, pooling=pooling).fit(ragged, totals).predict(ragged)
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


def test_scores_want_targets_as_in_fit(ragged):
    model = LSTMRegressor(**SMALL).fit(ragged, [x.sum() for x in ragged])
    with pytest.raises(ValueError, match="y must hold 1 targets for each sequence, as in fit, got 2 for each step"):
        model.score(ragged, [x.cumsum(axis=0) for x in ragged])
