"""Forecasts, covariates, updates, intervals and backtests of a forecaster."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from numlstm import LSTMForecaster
from numlstm.metrics import coverage, pinball_loss


def test_seasons_trends_and_steps_are_forecast(small, wave):
    forecaster = small(max_iter=5).fit(wave[:78])
    assert (forecaster.horizon_, forecaster.context_length_, forecaster.season_length_) == (12, 24, 12)
    assert np.abs(forecaster.predict() - wave[78:]).mean() < 0.3


def test_accurate_members_get_the_weight(small):
    steps = np.arange(300)
    forecaster = small(horizon=4).fit(np.sin(steps / 3) + 1e-3 * np.random.default_rng(0).normal(size=300))
    weights = forecaster.weights_
    assert sum(weights.values()) == pytest.approx(1)
    assert sum(weight for (_, kind), weight in weights.items() if kind == "linear") > 0.9
    slopes = np.random.default_rng(0).normal(0, 0.3, (40, 8)).cumsum(axis=0)
    assert small(horizon=4, season_length=1).fit(slopes.cumsum(axis=0)).weights_["first", "trend"] > 0.1
    assert ("first", "trend") not in weights
    only = small(horizon=4, linear_skip=False, differencing="first").fit(np.sin(steps / 3))
    assert only.weights_ == {("first", "network"): 1.0}


def test_the_forecast_of_a_constant_is_the_constant(small):
    forecaster = small(horizon=3).fit(np.full(40, 7.0))
    np.testing.assert_array_equal(forecaster.predict(), 7.0)
    np.testing.assert_array_equal(forecaster.predict_interval(), 7.0)
    both = small(horizon=3).fit([np.full(60, 7.0), np.random.default_rng(0).normal(size=60)])
    np.testing.assert_allclose(both.predict()[0], 7.0)


def test_scales_of_series_do_not_matter(small, wave):
    options = {"horizon": 6, "transform": "none"}
    forecast = small(**options).fit(wave).predict()
    np.testing.assert_allclose(small(**options).fit(1e6 * wave - 3e6).predict(), 1e6 * forecast - 3e6, rtol=1e-4)


def test_growing_swings_are_learnt_from_logarithms(small):
    steps = np.arange(120)
    y = np.exp(0.03 * steps) * (10 + np.sin(2 * np.pi * steps / 12))
    assert small().fit(y).transform_ == "log"
    assert small().fit(y + 1e4).transform_ == "none"
    assert small().fit(y - y.min()).transform_ == "none"
    forecaster = small().fit(y)
    assert (forecaster.predict_interval()[:, 0] > 0).all()


def test_missing_values_are_left_out(small, wave):
    with_gaps = wave.copy()
    with_gaps[[10, 20, 21, 50, 77]] = np.nan
    forecast = small(max_iter=5).fit(with_gaps[:78]).predict()
    assert np.abs(forecast - wave[78:]).mean() < 0.5
    with_gaps[40:55] = np.nan
    assert np.isfinite(small().fit(with_gaps).predict()).all()


def test_missing_targets_are_left_out_of_the_loss(small, wave):
    from numlstm.forecasting.network import WindowRegressor

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 5, 1)), rng.normal(size=(64, 2))
    y[::2, 0] = np.nan
    options = {"hidden_size": 4, "max_iter": 3, "random_state": 0, "scale_targets": False, "batch_size": 64}
    left_out = WindowRegressor(**options).fit(X, y)
    assert np.isfinite(left_out.predict(X)).all()
    grown = np.where(np.isnan(y), np.nan, y)
    grown[1::2, 0] += 5
    assert not np.allclose(left_out.predict(X), WindowRegressor(**options).fit(X, grown).predict(X))
    alone = WindowRegressor(**options).fit(X[1::2], y[1::2])
    assert left_out.loss_curve_[0] > 0
    assert alone.loss_curve_[0] > 0


# Covariates ----------------------------------------------------------------------------------------------


def driven(rng, count=200):
    """A series that depends on a future covariate, and the covariate."""
    plan = rng.integers(0, 2, count + 4).astype(float)
    return 5 * plan[:count] + rng.normal(0, 0.1, count), plan


def test_future_covariates_are_used(small):
    y, plan = driven(np.random.default_rng(0))
    X = pd.DataFrame({"plan": plan, "noise": np.random.default_rng(1).normal(size=204)})
    options = {"horizon": 4, "max_iter": 5, "future_covariates": ["plan"]}
    forecaster = small(**options).fit(pd.Series(y), X[["plan"]][:200])
    truth = 5 * plan[200:]
    np.testing.assert_allclose(forecaster.predict(X=X[["plan"]][200:].reset_index(drop=True)), truth, atol=0.7)
    known = small(**options).fit(pd.Series(y), X[["plan"]])
    np.testing.assert_allclose(known.predict(), truth, atol=0.7)
    small(**options).fit(pd.Series(y), X)  # the noise is a past covariate


def test_past_covariates_are_used(small):
    rng = np.random.default_rng(0)
    lead = rng.normal(size=300)
    y = np.concatenate([[0, 0], lead[:-2]])  # follows two steps behind
    forecaster = small(horizon=2, max_iter=5, context_length=4).fit(y, lead[:, None])
    np.testing.assert_allclose(forecaster.predict(), lead[-2:], atol=0.25)


def test_static_covariates_tell_series_apart(small):
    steps = np.arange(60)
    y = [np.where(steps < 58, 1.0, 0) + np.random.default_rng(k).normal(0, 0.01, 60) for k in range(4)]
    forecaster = small(horizon=2).fit(y, static=[[0.0], [1.0], [0.0], [1.0]])
    assert len(forecaster.predict()) == 4
    frame = pd.DataFrame({"big": [1.0, 0.0]}, index=["b", "a"])
    wide = pd.DataFrame({"a": y[0], "b": y[1]})
    assert small(horizon=2).fit(wide, static=frame).predict().shape == (2, 2)


# Updates -------------------------------------------------------------------------------------------------


def test_update_forecasts_as_if_all_had_been_known(small, wave):
    forecaster = small(horizon=3, transform="none", differencing="seasonal").fit(wave[:80])
    whole = forecaster.predict(y=wave)
    forecaster.update(wave[80:85]).update(wave[85:])
    np.testing.assert_allclose(forecaster.predict(), whole)
    stamped = pd.Series(wave, pd.date_range("2015-01-01", periods=90, freq="MS"))
    forecaster = small(horizon=3).fit(stamped[:80]).update(stamped[82:])  # two months are missing
    assert forecaster.predict().index[0] == pd.Timestamp("2022-07-01")
    with pytest.raises(ValueError, match="y must begin after the last step of the series, got 3 steps before"):
        forecaster.update(stamped[87:])
    with pytest.raises(ValueError, match="y must have the series of fit"):
        forecaster.update(pd.DataFrame({"a": stamped, "b": stamped}))


def test_conventions_of_scikit_learn(small, wave):
    forecaster = small(horizon=3).fit(wave)
    assert clone(forecaster).get_params() == forecaster.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(forecaster)).predict(), forecaster.predict())
    np.testing.assert_array_equal(small(horizon=3).fit(wave).predict(), forecaster.predict())
    with pytest.raises(NotFittedError):
        LSTMForecaster().predict()
    with pytest.raises(AttributeError, match="not fitted yet"):
        LSTMForecaster().horizon_  # noqa: B018
    assert forecaster.set_params(horizon=5).fit(wave).predict().shape == (5,)


def test_grid_search(small, wave):
    search = GridSearchCV(
        small(horizon=6, linear_skip=False), {"differencing": ["none", "seasonal"]}, cv=TimeSeriesSplit(2, test_size=12)
    ).fit(wave)
    assert search.best_params_ == {"differencing": "seasonal"}
    assert search.best_estimator_.predict().shape == (6,)


def test_score_is_minus_the_error_of_the_next_steps(small, wave):
    forecaster = small(horizon=3).fit(wave[:78])
    scale = np.mean(np.abs(wave[12:78] - wave[:66]))
    before = forecaster.predict()
    error = np.abs(before - wave[78:81]).mean()
    assert forecaster.score(wave[78:81]) == pytest.approx(-error / scale)
    assert forecaster.score(wave[78:87]) < 0
    np.testing.assert_array_equal(forecaster.predict(), before)  # it has not taken in what it was scored with


# Intervals -----------------------------------------------------------------------------------------------


def test_intervals_have_their_coverage(small):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=5000)
    y = np.zeros(5000)
    for step in range(1, 5000):
        y[step] = 0.8 * y[step - 1] + noise[step]
    forecaster = small(horizon=4, season_length=1).fit(y[:1000])
    origins = range(1000, 4990, 4)
    bounds = np.array(forecaster.predict_interval(y=[y[:origin] for origin in origins]))
    truth = np.array([y[origin : origin + 4] for origin in origins])
    assert 0.75 <= coverage(truth, bounds[:, :, 0], bounds[:, :, 1]) <= 0.85
    wide = forecaster.predict_interval(0.95)
    narrow = forecaster.predict_interval(0.5)
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (wide[:, 1] > narrow[:, 1]).all()
    quantiles = forecaster.predict_quantiles([0.1, 0.25, 0.5, 0.75, 0.9])
    assert (np.diff(quantiles, axis=1) > 0).all()
    np.testing.assert_allclose(quantiles[:, [0, 4]], forecaster.predict_interval(0.8))


@pytest.mark.parametrize("options", [{}, {"quantiles": (0.1, 0.9)}, {"distribution": "gaussian"}])
def test_intervals_widen_with_errors_that_are_observed(small, options):
    noise = np.random.default_rng(0).normal(size=400)
    forecaster = small(horizon=2, season_length=1, context_length=100, **options).fit(noise[:300])
    before = np.diff(forecaster.predict_interval()).mean()
    forecaster.update(4 * noise[300:])
    own = np.diff(forecaster.predict_interval()).mean()
    unaware = small(horizon=2, season_length=1, context_length=100, **options).fit(noise[:300])
    assert own > 1.3 * np.diff(unaware.predict_interval(y=np.append(noise[:300], 4 * noise[300:]))).mean() * 0.9
    assert own > 2 * before


def test_intervals_without_held_out_windows_warn(small):
    forecaster = small(horizon=3).fit(np.random.default_rng(0).normal(size=16))
    with pytest.warns(UserWarning, match="y in fit was too short to hold out windows"):
        forecaster.predict_interval()
    with pytest.raises(ValueError, match="conformal must be True"):
        small(conformal=False).fit(np.arange(50.0)).predict_interval()


# Backtests -----------------------------------------------------------------------------------------------


def test_backtest(small, wave):
    table = small(horizon=6).backtest(pd.DataFrame({"a": wave, "b": wave[::-1]}), n_windows=3)
    assert {"LSTMForecaster", "seasonal naive", "drift"} <= set(table["model"])
    assert len(table[table["model"] == "drift"]) == 2 * 6
    means = table.groupby(["model", "series"])["mase"].mean()
    assert means["LSTMForecaster", "a"] < means["seasonal naive", "a"] < means["drift", "a"]
    ours = table[table["model"] == "LSTMForecaster"]
    assert np.isfinite(ours[["pinball", "coverage", "smape", "rmse", "seconds"]]).all(axis=None)
    naive = table[(table["model"] == "seasonal naive") & (table["series"] == "a")]
    origins = np.array([72, 78, 84])
    errors = np.array([np.abs(wave[o : o + 6] - wave[o - 12 : o - 6]) for o in origins])
    scales = np.array([np.abs(wave[12:o] - wave[: o - 12]).mean() for o in origins])
    np.testing.assert_allclose(naive["mase"], (errors / scales[:, None]).mean(axis=0))
    np.testing.assert_allclose(naive["rmse"], np.sqrt((errors**2).mean(axis=0)))


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.9, 0.95)])
def test_backtest_scores_the_levels_of_the_forecaster(small, wave, levels):
    """The levels of `quantiles` are scored, also if there are nine of them, as there are by default."""
    forecaster = small(horizon=6, quantiles=levels)
    table = forecaster.backtest(wave, n_windows=1)
    expected = forecaster.fit(wave[:-6]).predict_quantiles()
    loss = 2 * pinball_loss(wave[-6:], expected, quantiles=levels)
    ours = table[table["model"] == "LSTMForecaster"]["pinball"].mean()
    assert ours == pytest.approx(loss, rel=1e-3)


def test_backtest_does_not_look_ahead(small, wave):
    """Values after the start of a window do not change its forecast."""
    changed = wave.copy()
    changed[-6:] += 100
    for refit in (False, True):
        before, after = (small(horizon=6).backtest(y, n_windows=2, refit=refit) for y in (wave, changed))
        own = [table[table["model"] == "LSTMForecaster"]["rmse"].to_numpy() for table in (before, after)]
        ahead = small(horizon=6).backtest(wave[:-6], n_windows=1, refit=refit)
        first = ahead[ahead["model"] == "LSTMForecaster"]["rmse"].to_numpy()
        last = np.sqrt(2 * own[0] ** 2 - first**2)
        moved = np.sqrt(2 * own[1] ** 2 - first**2)
        assert np.isfinite(last).all()
        assert (np.abs(moved - 100) < 10).all()


def test_backtest_with_covariates(small):
    y, plan = driven(np.random.default_rng(0), 120)
    options = {"horizon": 4, "max_iter": 5, "future_covariates": [0]}
    table = small(**options).backtest(y, plan[:120, None], n_windows=3)
    means = table.groupby("model")["mase"].mean()
    assert means["LSTMForecaster"] < 0.3 * means["seasonal naive"]
