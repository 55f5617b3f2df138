"""The adapter follows sktime's interface."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime")

from sktime.forecasting.base import ForecastingHorizon
from sktime.utils.estimator_checks import check_estimator

from numlstm.integrations.sktime import LSTMForecasterSktime

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"hidden_size": 4, "max_iter": 1, "n_members": 1, "random_state": 0}


def test_it_passes_all_checks_of_sktime():
    found = check_estimator(LSTMForecasterSktime, raise_exceptions=False, verbose=False)
    assert len(found) > 500
    assert {name: result for name, result in found.items() if result != "PASSED"} == {}


def test_forecasts_are_those_of_the_forecaster(wave):
    y = pd.Series(wave, pd.period_range("2015-01", periods=90, freq="M"), name="load")
    X = pd.DataFrame({"plan": np.arange(96.0)}, index=pd.period_range("2015-01", periods=96, freq="M"))
    fh = ForecastingHorizon([1, 2, 6])
    model = LSTMForecasterSktime(**SMALL).fit(y, X=X[:90], fh=fh)
    forecast = model.predict(X=X[90:])
    (expected,) = model.forecaster_.predict(X=[X[90:]])
    pd.testing.assert_series_equal(forecast, expected.iloc[[0, 1, 5]], check_freq=False)
    interval = model.predict_interval(coverage=0.8, X=X[90:])
    (expected,) = model.forecaster_.predict_interval(0.8, X=[X[90:]])
    np.testing.assert_allclose(interval, expected.iloc[[0, 1, 5]])


def test_one_model_learns_from_a_panel(wave):
    """Columns and instances are series of one forecaster; instances may end at different times."""
    months = pd.period_range("2015-01", periods=90, freq="M")
    tables = {"south": pd.DataFrame({"a": wave, "b": 2 * wave}, months)}
    tables["north"] = pd.DataFrame({"a": wave[5:85], "b": wave[5:85] ** 2}, months[5:85])
    y = pd.concat(tables, names=["region", "month"])
    model = LSTMForecasterSktime(**SMALL).fit(y, fh=[1, 3])
    expected = model.forecaster_.fit([table[name] for table in tables.values() for name in "ab"]).predict()
    forecast = model.predict()
    assert [*forecast.columns] == ["a", "b"]
    for region, end in (("south", "2022-06"), ("north", "2022-01")):
        series = expected[:2] if region == "south" else expected[2:]
        for name, own in zip("ab", series, strict=True):
            np.testing.assert_allclose(forecast.loc[region][name], own.iloc[[0, 2]])
        assert forecast.loc[region].index[0] == pd.Period(end, "M") + 1
    intervals = model.predict_interval(coverage=0.8)
    assert intervals.shape == (4, 4)
    assert (intervals["b", 0.8, "lower"] < intervals["b", 0.8, "upper"]).all()


def test_covariates_of_panels_go_to_their_series(wave):
    months = pd.period_range("2015-01", periods=93, freq="M")
    plan = np.random.default_rng(0).integers(0, 2, (2, 93)).astype(float)
    y = pd.concat({k: pd.DataFrame({"load": 5 * plan[k, :90]}, months[:90]) for k in range(2)})
    X = pd.concat({k: pd.DataFrame({"plan": plan[k]}, months) for k in (1, 0)})
    known = X[X.index.get_level_values(1) <= months[89]]
    model = LSTMForecasterSktime(**SMALL | {"max_iter": 5}).fit(y, X=known, fh=[1, 2, 3])
    forecast = model.predict(X=X[X.index.get_level_values(1) > months[89]])
    for k in range(2):
        np.testing.assert_allclose(forecast.loc[k]["load"], 5 * plan[k, 90:], atol=1.0)
