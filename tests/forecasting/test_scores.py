"""Metrics of forecasts agree with their definitions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_pinball_loss

from numlstm.metrics import coverage, crps, mase, pinball_loss, smape

RNG = np.random.default_rng(0)
TRUE, PREDICTED, TRAIN = RNG.normal(size=20), RNG.normal(size=20), RNG.normal(size=50)


def test_mase():
    scale = np.abs(TRAIN[7:] - TRAIN[:-7]).mean()
    assert mase(TRUE, PREDICTED, y_train=TRAIN, season_length=7) == pytest.approx(
        np.abs(TRUE - PREDICTED).mean() / scale
    )
    assert mase(pd.Series(TRUE), PREDICTED, y_train=TRAIN) > 0
    assert mase([1.0], [1.0], y_train=[2.0, 2.0]) == 0
    assert mase([1.0], [2.0], y_train=[2.0, 2.0]) == np.inf
    gaps = np.append(TRUE, np.nan)
    assert mase(gaps, np.append(PREDICTED, 0), y_train=TRAIN) == mase(TRUE, PREDICTED, y_train=TRAIN)
    with pytest.raises(ValueError, match="y_train must have shape"):
        mase([1.0], [1.0], y_train=[2.0])
    with pytest.raises(ValueError, match="y_pred must have the shape of y_true"):
        mase([1.0], [1.0, 2.0], y_train=TRAIN)
    with pytest.raises(ValueError, match="y_pred must be without NaN"):
        mase([1.0], [np.nan], y_train=TRAIN)


def test_smape():
    assert smape([1.0, -1.0], [3.0, 1.0]) == pytest.approx((100 + 200) / 2)
    assert smape([0.0, 1.0], [0.0, 1.0]) == 0


def test_pinball_loss_is_that_of_scikit_learn():
    said = np.stack([PREDICTED - 1, PREDICTED + 1], axis=1)
    expected = np.mean([mean_pinball_loss(TRUE, said[:, k], alpha=a) for k, a in enumerate((0.2, 0.9))])
    assert pinball_loss(TRUE, said, quantiles=(0.2, 0.9)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="y_pred must have shape"):
        pinball_loss(TRUE, said, quantiles=(0.2,))


def test_crps_is_the_integral_of_the_squared_difference_of_distributions():
    samples, truth = RNG.normal(size=15), 0.3
    grid = np.linspace(-6, 6, 200001)
    below = (samples[:, None] <= grid).mean(axis=0)
    integral = np.trapezoid((below - (grid >= truth)) ** 2, grid)
    assert crps([truth], samples[:, None]) == pytest.approx(integral, abs=1e-3)
    assert crps(TRUE, PREDICTED[None]) == pytest.approx(np.abs(TRUE - PREDICTED).mean())


def test_coverage():
    assert coverage([0.0, 1.0, np.nan], [0.0, 2.0, 0.0], [0.5, 3.0, 1.0]) == 0.5
