"""Targets at every step: steps without a label, and weights of steps."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from numlstm import LSTMRegressor

TINY = {"hidden_size": 2, "dtype": "float64", "random_state": 0}
PLAIN = {"solver": "sgd", "momentum": 0.0, "clip_norm": None, "learning_rate": "constant", "scale_inputs": False}
ONE_STEP = TINY | PLAIN | {"learning_rate_init": 0.1, "max_iter": 1}
LENGTHS = [5, 3, 4, 1, 5, 2]


def sequences():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(steps, 2)) for steps in LENGTHS]


def labels(targets, *, single):
    """Targets of which a third has no label: whole steps, or `single` targets of steps."""
    rng = np.random.default_rng(1)
    y = []
    for x in sequences():
        missing = rng.random((len(x), targets if single else 1)) < 0.35
        y.append(np.where(missing, np.nan, 3.0 * x.cumsum(axis=0)[:, :targets] + 1.0))
    y[2][:] = np.nan  # a sequence without any label
    return y


def padded(arrays, value):
    array = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), value)
    for row, each in zip(array, arrays, strict=True):
        row[: len(each)] = each
    return array


def step_weights():
    rng = np.random.default_rng(2)
    return [rng.integers(0, 3, steps).astype(float) for steps in LENGTHS]


WEIGHTS = {"none": None, "sequences": np.array([1.0, 2.0, 3.0, 0.5, 4.0, 1.0]), "steps": step_weights()}


def by_step(weights):
    """Weights of all steps, (M, 1)."""
    if weights is None:
        return np.ones((sum(LENGTHS), 1))
    return np.concatenate([np.broadcast_to(each, steps) for each, steps in zip(weights, LENGTHS, strict=True)])[:, None]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("targets", "single"), [(1, False), (2, False), (2, True)])
def test_a_step_of_training_goes_down_the_slope_of_the_weighted_mean_of_labelled_errors(targets, single, weights):
    X, y, weights = sequences(), labels(targets, single=single), WEIGHTS[weights]
    model = LSTMRegressor(**ONE_STEP, warm_start=True, batch_size=len(X)).fit(X, y, weights)
    before = {name: array.copy() for name, array in model.parameters.items()}
    truth, mean, scale = np.concatenate(y), model.target_mean_, model.target_scale_
    of_terms = np.where(np.isnan(truth), 0.0, by_step(weights))

    def loss(name, place, change):
        changed = {each: array.copy() for each, array in before.items()}
        changed[name][place] += change
        model.set_parameters(changed)
        errors = np.nan_to_num((np.concatenate(model.predict(X)) - truth) / scale)
        return (of_terms * errors**2).sum() / of_terms.sum()

    slopes = {name: np.zeros_like(array) for name, array in before.items()}
    for name, slope in slopes.items():
        for place in np.ndindex(slope.shape):
            slope[place] = (loss(name, place, 1e-5) - loss(name, place, -1e-5)) / 2e-5
    expected_loss = loss("bias_output", 0, 0.0)
    model.set_parameters(before)
    model.fit(X, y, weights)

    np.testing.assert_allclose(model.target_mean_, mean)
    assert model.loss_curve_[-1] == pytest.approx(expected_loss, rel=1e-9)
    for name, slope in slopes.items():
        np.testing.assert_allclose(model.parameters[name], before[name] - 0.1 * slope, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_targets_are_scaled_by_the_labels(weights):
    y, weights = labels(2, single=True), WEIGHTS[weights]
    model = LSTMRegressor(**ONE_STEP).fit(sequences(), y, weights)
    for k, values in enumerate(np.concatenate(y).T):
        there = ~np.isnan(values)
        own, of_own = values[there], by_step(weights)[there, 0]
        mean = np.average(own, weights=of_own)
        assert model.target_mean_[k] == pytest.approx(mean)
        assert model.target_scale_[k] == pytest.approx(np.average((own - mean) ** 2, weights=of_own) ** 0.5)


@pytest.mark.parametrize("single", [False, True])
def test_every_form_is_the_same(single):
    X, y, weights = sequences(), labels(2, single=single), step_weights()
    model = LSTMRegressor(**TINY, max_iter=3, batch_size=2).fit(X, y, weights)
    other = LSTMRegressor(**TINY, max_iter=3, batch_size=2).fit(
        padded(X, 0.0), padded(y, np.inf), padded(weights, np.nan), lengths=LENGTHS
    )
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(array, other.parameters[name])
    assert model.score(X, y, weights) == other.score(padded(X, 0.0), padded(y, 7.0), padded(weights, -1.0),
                                                     lengths=LENGTHS)  # fmt: skip


def test_a_step_of_weight_0_has_no_label():
    X, weights = sequences(), step_weights()
    y = [x.cumsum(axis=0) for x in X]
    model = LSTMRegressor(**TINY, max_iter=3).fit(X, y, weights)
    for own, weight in zip(y, weights, strict=True):
        own[weight == 0] = np.nan
    other = LSTMRegressor(**TINY, max_iter=3).fit(X, y, weights)
    assert model.loss_curve_ == other.loss_curve_


def test_a_sequence_without_labels_is_as_if_it_were_not_there():
    X, y = sequences(), labels(2, single=True)
    model = LSTMRegressor(**TINY, max_iter=3, batch_size=2).fit(X, y)
    other = LSTMRegressor(**TINY, max_iter=3, batch_size=2).fit(X[:2] + X[3:], y[:2] + y[3:])
    assert model.loss_curve_ == other.loss_curve_
    assert len(model.predict(X)) == len(X)


def test_partial_fit_takes_the_step_of_fit():
    X, y, weights = sequences(), labels(2, single=True), step_weights()
    one = LSTMRegressor(**ONE_STEP).fit(X, y, weights)
    other = LSTMRegressor(**ONE_STEP).partial_fit(X, y, weights)
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(array, other.parameters[name])
    nothing = [np.full_like(each, np.nan) for each in y]
    with pytest.raises(ValueError, match="y must hold a target for at least one step"):
        other.partial_fit(X, nothing)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_scores_are_of_labelled_steps(weights):
    X, y, weights = sequences(), labels(2, single=True), WEIGHTS[weights]
    model = LSTMRegressor(**TINY, max_iter=3).fit(X, y)
    expected = []
    for own, said in zip(np.concatenate(y).T, np.concatenate(model.predict(X)).T, strict=True):
        there = ~np.isnan(own)
        expected.append(r2_score(own[there], said[there], sample_weight=by_step(weights)[there, 0]))
    assert model.score(X, y, weights) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("single", [False, True])
def test_a_validation_set_is_looked_at_where_it_is_labelled(single):
    X, y = sequences(), labels(2, single=single)
    model = LSTMRegressor(**TINY, max_iter=2).fit(X, [x + 0.5 for x in X], X_val=X, y_val=y)
    assert model.validation_scores_[-1] == pytest.approx(model.score(X, y))
    errors = (np.concatenate(model.predict(X)) - np.concatenate(y)) / model.target_scale_
    assert model.validation_loss_curve_[-1] == pytest.approx(np.nanmean(errors**2))


def test_a_split_for_early_stopping_takes_weights_of_steps_with_it(monkeypatch):
    seen = {}

    def split(self, data, codec, rng):
        train, validation = original(self, data, codec, rng)
        seen["train"], seen["aside"] = train.targets, validation.data.targets
        return train, validation

    original = LSTMRegressor._split_validation
    monkeypatch.setattr(LSTMRegressor, "_split_validation", split)
    X, weights = sequences(), [np.full(steps, 1.0 + i) for i, steps in enumerate(LENGTHS)]
    y = [np.full(steps, float(i)) for i, steps in enumerate(LENGTHS)]
    LSTMRegressor(**TINY, max_iter=1, early_stopping=True, validation_fraction=0.34, scale_targets=False).fit(
        X, y, weights
    )
    mean = np.average(np.arange(1.0, 7.0), weights=LENGTHS)
    rows = 0
    for part in seen.values():
        for row in range(len(part.values)):
            values, own = part.take(np.array([row]), 1)
            np.testing.assert_allclose(own, (values[:, 0] + 1.0) / mean)
            rows += 1
    assert rows == len(X)


def test_few_labels_can_be_learnt():
    """A label at one step of each sequence, never the same: the sum so far is learnt for all steps."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6, 1))
    full = X.cumsum(axis=1)
    y = np.where(np.arange(6)[None, :, None] == rng.integers(0, 6, 300)[:, None, None], full, np.nan)
    model = LSTMRegressor(hidden_size=16, random_state=0).fit(X[:200], y[:200])
    assert model.score(X[200:], full[200:]) > 0.9


@pytest.mark.parametrize(
    ("y", "weights", "message"),
    [
        ([np.full(steps, np.nan) for steps in LENGTHS], None, "y must hold a target for at least one step, got NaN"),
        ([np.full((steps, 2), [np.nan, 1.0]) for steps in LENGTHS], None, "at every step for target 0"),
        ([np.full(steps, np.inf) for steps in LENGTHS], None, r"y\[0\] must be finite, or NaN at steps without a"),
        (np.full((6, 5, 1), -np.inf), None, "y must be finite, or NaN at steps without a label, but contains infinity"),
        (np.full(6, np.nan), None, "Input y contains NaN"),
        (np.ones(6), np.ones((6, 5)), r"sample_weight must have shape \(6,\), one for each sequence, got \(6, 5\)"),
        (None, np.ones((6, 4)), r"sample_weight must have shape .* \(6, 5\), one for each step, .* got \(6, 4\)"),
        (None, np.ones(5), r"sample_weight must have shape \(6,\)"),
        (None, [np.ones(2)] * 6, r"sample_weight\[0\] must have shape \(5,\), a weight for each step, got \(2,\)"),
        (None, [np.ones(5)] * 5, "sample_weight must have 6 entries, one for each sequence, got 5"),
        (None, [np.full(steps, -1.0) for steps in LENGTHS], "sample_weight must be finite and not negative, got -1.0"),
        (None, [np.zeros(steps) for steps in LENGTHS], "must have at least one positive weight, got only zeros"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(y, weights, message):
    model = LSTMRegressor(**ONE_STEP)
    with pytest.raises(ValueError, match=message):
        model.fit(sequences(), [x[:, 0] for x in sequences()] if y is None else y, weights)
    assert not hasattr(model, "loss_curve_")


def test_labels_and_weights_must_meet():
    y = [np.where(np.arange(steps) == 0, 1.0, np.nan) for steps in LENGTHS]
    weights = [(np.arange(steps) > 0).astype(float) for steps in LENGTHS]
    with pytest.raises(ValueError, match="a positive weight"):
        LSTMRegressor(**ONE_STEP, scale_targets=False).fit(sequences(), y, weights)
