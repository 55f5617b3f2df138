"""Quantiles are in order and calibrated; samples follow the distributions."""

import numpy as np
import pytest

from numlstm.metrics import coverage, crps

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def noise():
    """Noise whose standard deviation has a season of 10 steps."""
    steps = np.arange(700)
    return (1 + 0.8 * np.sin(2 * np.pi * steps / 10)) * np.random.default_rng(0).normal(size=700)


def test_quantiles_are_learnt(small, noise):
    forecaster = small(quantiles=LEVELS, horizon=5, max_iter=10, hidden_size=8).fit(noise[:600])
    quantiles = forecaster.predict_quantiles()
    assert (np.diff(quantiles, axis=1) > 0).all()
    np.testing.assert_array_equal(quantiles[:, [0, 2]], forecaster.predict_interval(0.8))
    origins = range(600, 695)
    bounds = np.array(forecaster.predict_interval(y=[noise[:origin] for origin in origins]))
    truth = np.array([noise[origin : origin + 5] for origin in origins])
    assert 0.7 <= coverage(truth, *np.moveaxis(bounds, 2, 0)) <= 0.9
    with pytest.raises(ValueError, match="quantiles must be among those that were learnt"):
        forecaster.predict_interval(0.5)
    assert forecaster.predict().shape == (5,)


@pytest.mark.parametrize("distribution", ["gaussian", "student_t"])
def test_distributions_are_learnt(small, noise, distribution):
    forecaster = small(distribution=distribution, horizon=5, max_iter=10, hidden_size=8).fit(noise[:600])
    origins = range(600, 695)
    y = [noise[:origin] for origin in origins]
    truth = np.array([noise[origin : origin + 5] for origin in origins])
    for share in (0.5, 0.8):
        bounds = np.array(forecaster.predict_interval(share, y=y))
        assert abs(coverage(truth, *np.moveaxis(bounds, 2, 0)) - share) < 0.1
    paths = forecaster.sample(400, y=y, random_state=0)
    assert paths.shape == (400, 5, 95)
    assert crps(truth.T, paths) < 0.8 * crps(truth.T, np.array(forecaster.predict(y=y)).T[None])
    drawn = np.quantile(paths[:, :, 0], LEVELS, axis=0).T
    said = forecaster.predict_quantiles(LEVELS, y=y)[0]
    np.testing.assert_allclose(drawn, said, atol=0.5)
    np.testing.assert_array_equal(paths, forecaster.sample(400, y=y, random_state=0))
    assert forecaster.fit(noise).sample(7).shape == (7, 5)


def test_steps_of_paths_are_correlated(small):
    """Errors of a random walk at neighbouring steps are correlated, and so are steps of a path."""
    walk = np.random.default_rng(0).normal(size=400).cumsum()
    paths = small(distribution="gaussian", horizon=6, season_length=1).fit(walk).sample(500, random_state=0)
    assert np.corrcoef(paths[:, 4], paths[:, 5])[0, 1] > 0.6
    assert paths[:, 5].std() > 1.3 * paths[:, 0].std()


def test_counts(small):
    counts = np.random.default_rng(0).negative_binomial(3, 0.3, size=(300, 2)) * [1, 4]
    forecaster = small(distribution="negative_binomial", horizon=4, max_iter=5).fit(counts)
    paths = forecaster.sample(200, random_state=0)
    assert paths.shape == (200, 4, 2)
    assert (paths >= 0).all()
    assert (paths == np.round(paths)).all()
    np.testing.assert_allclose(paths.mean(axis=(0, 1)), forecaster.predict().mean(axis=0), rtol=0.1)
    before = [counts[:origin] for origin in range(100, 300, 10)]
    said = np.mean([forecaster.predict(y=y) for y in before], axis=(0, 1))
    np.testing.assert_allclose(said, counts.mean(axis=0), rtol=0.1)
    for wrong, message in ((-1.0, "got -1.0"), (0.5, "got 0.5")):
        with pytest.raises(ValueError, match=f"y must hold counts for distribution='negative_binomial', {message}"):
            small(distribution="negative_binomial").fit(np.append(counts[:, 0], wrong))
    with pytest.raises(ValueError, match="transform must be one of"):
        small(distribution="negative_binomial", transform="log").fit(counts)


def test_sample_needs_a_distribution(small, noise):
    with pytest.raises(ValueError, match="distribution must be given to sample from it"):
        small().fit(noise).sample()


def test_missing_values_and_constants(small, noise):
    with_gaps = noise.copy()
    with_gaps[100:130] = np.nan
    for options in ({"quantiles": LEVELS}, {"distribution": "gaussian"}):
        forecaster = small(horizon=3, **options).fit([with_gaps, np.full(700, 2.0)])
        low, high = np.moveaxis(np.array(forecaster.predict_interval()), 2, 0)
        assert (low[0] < high[0]).all()
        np.testing.assert_allclose(low[1], 2.0)
        np.testing.assert_allclose(high[1], 2.0)
    assert np.isfinite(small(horizon=3, conformal=False, quantiles=LEVELS).fit(noise).predict_interval()).all()
