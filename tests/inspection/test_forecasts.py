"""Attributions of forecasts are gradients of what `predict` says, in the unit of the series, and add up."""

import copy

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from numlstm import LSTMForecaster
from numlstm.inspection import attribute, plot_attribution

STEPS = np.arange(100)
WAVE = 20 + 0.2 * STEPS + 3 * np.sin(2 * np.pi * STEPS / 12) + np.random.default_rng(0).normal(0, 0.3, 100)
FIRST = 50  # the first step that is not in fit
SMALL = {"horizon": 3, "hidden_size": 4, "max_iter": 2, "n_members": 2, "dtype": "float64", "random_state": 0}
LEVELS = (0.1, 0.5, 0.9)
KINDS = {
    "several": {},
    "values": {"differencing": "none"},
    "logarithms": {"transform": "log"},
    "networks": {"linear_skip": False, "differencing": "seasonal"},
    "quantiles": {"quantiles": LEVELS, "conformal": False},
    "gaussian": {"distribution": "gaussian", "conformal": False},
    "student_t": {"distribution": "student_t", "conformal": False},
}


@pytest.fixture(autouse=True)
def closed():
    """Figures do not pile up."""
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fitted():
    """A function that gives forecasters; each is fitted once."""
    known = {}

    def make(kind):
        if kind not in known:
            known[kind] = LSTMForecaster(**SMALL | KINDS[kind]).fit(WAVE[:FIRST])
        return copy.deepcopy(known[kind])

    return make


def forecast(forecaster, y, level):
    """The second step of the forecast after y."""
    forecaster = copy.deepcopy(forecaster).update(y[FIRST:])
    return forecaster.predict()[1] if level is None else forecaster.predict_quantiles([level])[1, 0]


def slopes(forecaster, level, shift=1e-4):
    """Central differences of the forecast by each of the last steps of the wave."""
    found = []
    for step in range(FIRST, len(WAVE)):
        high, low = WAVE.copy(), WAVE.copy()
        high[step] += shift
        low[step] -= shift
        found.append((forecast(forecaster, high, level) - forecast(forecaster, low, level)) / (2 * shift))
    return np.array(found)


@pytest.mark.parametrize(
    ("kind", "level"),
    [(kind, None) for kind in KINDS] + [(kind, 0.9) for kind in ("quantiles", "gaussian", "student_t")],
)
def test_gradient_times_input(fitted, kind, level):
    """Held to central differences of what `predict` and `predict_quantiles` say, whatever the forecaster learns."""
    forecaster = fitted(kind)
    expected = slopes(forecaster, level)
    target = 1 if level is None else (1, level)
    found = attribute(forecaster.update(WAVE[FIRST:]), None, target, method="gradient_x_input", baselines=10.0)
    steps, swing = len(found.values[0]), 0.999  # the baseline keeps a thousandth of the swings
    assert found.first_step == -steps
    np.testing.assert_allclose(found.sequences[0][:, 0], WAVE[-steps:])
    distances = swing * (WAVE[-steps:] - 10.0)
    np.testing.assert_allclose(found.values[0][:, 0], expected[-steps:] * distances, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.scores, forecast(fitted(kind), WAVE, level))


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_are_complete(fitted, kind):
    forecaster = fitted(kind)
    found = attribute(forecaster, [WAVE, 3 * WAVE[20:]], -1)
    np.testing.assert_allclose(found.scores, [values[-1] for values in forecaster.predict(y=[WAVE, 3 * WAVE[20:]])])
    sums = np.array([values.sum() for values in found.values])
    np.testing.assert_allclose(sums, found.scores - found.baseline_scores, rtol=1e-4)
    np.testing.assert_allclose(found.delta, sums - (found.scores - found.baseline_scores))
    if kind == "several":  # a window that stays at its mean is forecast to stay there
        means = [sequence.mean() for sequence in found.sequences]
        np.testing.assert_allclose(found.baseline_scores, means, rtol=1e-3)


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_calibrated_quantiles(fitted, level):
    forecaster = fitted("several")
    found = attribute(forecaster, WAVE, (0, level))
    np.testing.assert_allclose(found.scores, forecaster.predict_quantiles([level], y=WAVE)[0])
    np.testing.assert_allclose(found.delta, 0, atol=0.01 * float(np.abs(found.scores - found.baseline_scores)[0]))


@pytest.mark.parametrize("window", [1, 3])
def test_occlusion(fitted, window):
    forecaster = fitted("several")
    found = attribute(forecaster, WAVE, 1, method="occlusion", baselines=15.0, window=window)
    steps = len(found.values[0])
    for first in range(0, steps, window):
        changed = WAVE.copy()
        part = changed[len(WAVE) - steps + first :][:window]
        part[:] = 15.0 + 0.001 * (part - 15.0)
        fall = (forecaster.predict(y=WAVE) - forecaster.predict(y=changed))[1]
        np.testing.assert_allclose(found.values[0][first : first + window, 0], fall / len(part), atol=1e-9)


def test_covariates(fitted):
    """Past covariates have shares at the steps that are read, future covariates also at the steps ahead."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"plan": rng.normal(size=103), "lead": rng.normal(size=103)})
    y = pd.Series(5 * X["plan"][:100] + 2 * np.append([0, 0], X["lead"][:98]) + rng.normal(0, 0.1, 100))
    forecaster = LSTMForecaster(**SMALL, future_covariates=["plan"], context_length=6).fit(y, X[:100])
    found = attribute(forecaster, y, 1, method="gradient_x_input", covariates=X)
    reach = -found.first_step
    values = found.values[0]
    assert values.shape == (reach + 3, 3)
    np.testing.assert_array_equal(found.sequences[0][-3:, 2], X["plan"][100:])
    np.testing.assert_array_equal(found.sequences[0][reach - 6 : reach, 1], X["lead"][94:100])
    assert np.isnan(found.sequences[0][-3:, :2]).all()
    assert not values[-3:, :2].any()
    means = {
        "lead": forecaster._learnt.combination.scale.past[0, 0],
        "plan": forecaster._learnt.combination.scale.future[0, 0],
    }
    for name, channel, step in (("plan", 2, 101), ("plan", 2, 99), ("lead", 1, 98)):
        high, low = X.copy(), X.copy()
        high.loc[step, name] += 1e-4
        low.loc[step, name] -= 1e-4
        slope = (forecaster.predict(y=y, X=high) - forecaster.predict(y=y, X=low)).iloc[1] / 2e-4
        expected = slope * (X.loc[step, name] - means[name])
        assert values[step - 100 + reach, channel] == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert np.abs(values[:, 2]).argmax() == reach + 1  # the plan of the step that is forecast
    complete = attribute(forecaster, y, 1, covariates=X, n_steps=200)
    np.testing.assert_allclose(complete.delta, 0, atol=1e-4)


def test_missing_values_and_calendars_get_no_share():
    y = pd.Series(WAVE, pd.date_range("2024-01-01", periods=100, freq="D"))
    y.iloc[[90, 95]] = np.nan
    forecaster = LSTMForecaster(**SMALL, calendar=("month",)).fit(y, static=[[1.0]])
    found = attribute(forecaster, None, 0)
    assert found.values[0].shape[1] == 1
    assert (
        np.flatnonzero(np.isnan(found.sequences[0][:, 0])).tolist()
        == (np.array([90, 95]) - 100 - found.first_step).tolist()
    )
    assert not found.values[0][np.isnan(found.sequences[0])].any()
    np.testing.assert_allclose(found.delta, 0, atol=1e-4)
    constant = attribute(forecaster, np.full(60, 7.0), 0, static=[[1.0]])
    np.testing.assert_allclose(constant.values[0], 0, atol=1e-9)


def test_counts():
    counts = np.random.default_rng(0).negative_binomial(3, 0.3, size=200)
    forecaster = LSTMForecaster(**SMALL, distribution="negative_binomial").fit(counts)
    found = attribute(forecaster, None, 0)
    np.testing.assert_allclose(found.scores, forecaster.predict()[0])
    np.testing.assert_allclose(found.delta, 0, atol=1e-3)
    assert attribute(forecaster, None, (0, 0.9), method="occlusion").scores == forecaster.predict_quantiles([0.9])[0, 0]
    with pytest.raises(ValueError, match="method must be 'occlusion' for a quantile of counts"):
        attribute(forecaster, None, (0, 0.9))


def test_plot(fitted):
    forecaster = fitted("several")
    display = plot_attribution(forecaster, [WAVE, WAVE[::-1]], 1, row=1, method="occlusion")
    found = attribute(forecaster, [WAVE, WAVE[::-1]], 1, method="occlusion")
    np.testing.assert_allclose(display.image_.get_array(), found.values[1].T)
    steps = np.arange(found.first_step, 0)
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), steps)
    np.testing.assert_allclose([bar.get_center()[0] for bar in display.bars_], steps)
    assert display.image_.get_extent()[:2] == [steps[0] - 0.5, -0.5]


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "message"),
    [
        ("several", {}, TypeError, r"target must be a tuple \(step, level\), got NoneType"),
        ("several", {"target": 3}, ValueError, "target must be one of the 3 steps of the horizon, got step 3"),
        ("several", {"target": (0.5, 0.5)}, TypeError, "target must have an integer for its step, got 0.5"),
        ("several", {"target": (0, 1.5)}, ValueError, "target must be in"),
        ("quantiles", {"target": (0, 0.7)}, ValueError, "target must be among those that were learnt"),
        ("several", {"target": 0, "baselines": [1.0, 2.0]}, ValueError, r"or 1 numbers.*got shape \(2,\)"),
        ("several", {"target": 0, "baselines": np.inf}, ValueError, "baselines must be finite"),
        ("logarithms", {"target": 0, "baselines": 0.0}, ValueError, "baselines must be positive"),
        ("several", {"target": 0, "lengths": [3]}, ValueError, "lengths must be None for a forecaster"),
        ("several", {"target": 0, "X": [1.0, np.inf]}, ValueError, "y must be finite"),
    ],
)
def test_errors(fitted, kind, arguments, error, message):
    with pytest.raises(error, match=message):
        attribute(fitted(kind), **{"X": None} | arguments)


def test_forecasters_that_do_not_fit():
    with pytest.raises(NotFittedError):
        attribute(LSTMForecaster(), None, 0)
    without = LSTMForecaster(**SMALL, conformal=False).fit(WAVE)
    with pytest.raises(ValueError, match="conformal must be True"):
        attribute(without, None, (0, 0.5))
