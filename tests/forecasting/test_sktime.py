"""The adapter keeps to sktime's interface."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime")

from sktime.forecasting.base import ForecastingHorizon
from sktime.utils.estimator_checks import check_estimator

from numlstm.integrations.sktime import LSTMForecasterSktime

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"hidden_size": 4, "max_iter": 1, "n_members": 1, "random_state": 0}


def test_it_passes_checks_of_sktime():
    found = check_estimator(
        LSTMForecasterSktime, raise_exceptions=False, verbose=False, tests_to_run=["test_random_tags", "test_predict"]
    )
    assert found
    assert {name: result for name, result in found.items() if result != "PASSED"} == {}


def test_forecasts_are_those_of_the_forecaster(wave):
    y = pd.Series(wave, pd.period_range("2015-01", periods=90, freq="M"), name="load")
    X = pd.DataFrame({"plan": np.arange(96.0)}, index=pd.period_range("2015-01", periods=96, freq="M"))
    fh = ForecastingHorizon([1, 2, 6])
    model = LSTMForecasterSktime(**SMALL).fit(y, X=X[:90], fh=fh)
    forecast = model.predict(X=X[90:])
    expected = model.forecaster_.predict(X=X[90:])
    pd.testing.assert_series_equal(forecast, expected.iloc[[0, 1, 5]], check_freq=False)
    interval = model.predict_interval(coverage=0.8, X=X[90:])
    np.testing.assert_allclose(interval, model.forecaster_.predict_interval(0.8, X=X[90:]).iloc[[0, 1, 5]])
