"""Forecasts beyond the horizon of `fit` take earlier forecasts as observations."""

import numpy as np
import pandas as pd
import pytest


def test_forecasts_are_taken_as_observations(small, wave):
    forecaster = small(horizon=4).fit([wave, 3 * wave[20:]])
    longer = forecaster.predict(10)
    blocks = []
    for _ in range(3):
        blocks.append(forecaster.predict())
        forecaster.update(blocks[-1])
    for k in range(2):
        np.testing.assert_allclose(longer[k], np.concatenate([block[k] for block in blocks])[:10])


@pytest.mark.parametrize("options", [{"differencing": "none"}, {"transform": "log"}, {"linear_skip": False}])
def test_long_forecasts_keep_the_season(small, wave, options):
    """A long forecast of a new series keeps its season; the mean and deviation of the series do not change."""
    forecaster = small(horizon=6, max_iter=20, **options).fit(
        wave[:60] - 0.2 * np.arange(60) * ("none" in options.values())
    )
    clean = 20 + 3 * np.sin(2 * np.pi * np.arange(90) / 12) + 0.2 * np.arange(90) * ("none" not in options.values())
    forecast = forecaster.predict(30, y=clean[:60])
    assert np.abs(forecast - clean[60:]).mean() < 1.0
    np.testing.assert_array_equal(forecast[:6], forecaster.predict(y=clean[:60]))


def test_future_covariates_must_reach_the_horizon(small):
    plan = np.random.default_rng(0).integers(0, 2, 130).astype(float)
    y = pd.Series(5 * plan[:100], pd.date_range("2024-01-01", periods=100, freq="D"))
    X = pd.DataFrame({"plan": plan}, pd.date_range("2024-01-01", periods=130, freq="D"))
    forecaster = small(horizon=4, max_iter=5, future_covariates=["plan"]).fit(y, X[:100])
    forecast = forecaster.predict(30, X=X)
    np.testing.assert_allclose(forecast, 5 * plan[100:], atol=1.0)
    assert forecast.index[-1] == X.index[-1]
    with pytest.raises(ValueError, match=r"future covariates .* for all 30 steps of the forecast, got 29"):
        forecaster.predict(30, X=X[:129])


def test_long_paths_spread(small):
    """The spread of a random walk grows with the root of the steps, also beyond the horizon of `fit`."""
    walk = np.random.default_rng(0).normal(size=400).cumsum()
    options = {"distribution": "gaussian", "horizon": 4, "season_length": 1, "differencing": "first"}
    forecaster = small(**options, context_length=30, hidden_size=8, max_iter=10).fit(walk)
    paths = forecaster.sample(300, 16, random_state=0)
    assert paths.shape == (300, 16)
    assert 1.7 < paths[:, 15].std() / paths[:, 3].std() < 2.6
    np.testing.assert_array_equal(paths, forecaster.sample(300, 16, random_state=0))
    assert forecaster.sample(5, 6, y=[walk, walk]).shape == (5, 6, 2)


def test_errors_beyond_the_horizon(small, wave):
    message = "horizon must be at most that of fit, 3, got 4: "
    forecaster = small(horizon=3).fit(wave)
    for call in (lambda: forecaster.predict_interval(0.8, 4), lambda: forecaster.predict_quantiles([0.5], 4)):
        with pytest.raises(ValueError, match=message + "fit with a longer one; beyond it"):
            call()
    with_past = small(horizon=3).fit(wave, np.arange(90.0)[:, None])
    with pytest.raises(ValueError, match=message + "past covariates are not known there"):
        with_past.predict(4)
