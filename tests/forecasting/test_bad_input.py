"""Errors for input that cannot be forecast name the parameter and what was wrong."""

import re

import numpy as np
import pandas as pd
import pytest

from numlstm import LSTMForecaster

RNG = np.random.default_rng(0)
Y = RNG.normal(size=60)
DAYS = pd.date_range("2024-01-01", periods=60, freq="D")


def refused(kind, message, call):
    with pytest.raises(kind, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"horizon": 0}, ValueError, "horizon must be at least 1, got 0"),
        ({"horizon": 2.5}, TypeError, "horizon must be an integer, got float"),
        ({"context_length": 0}, ValueError, "context_length must be at least 1, got 0"),
        ({"season_length": "year"}, TypeError, "season_length must be an integer, got str"),
        ({"differencing": "twice"}, ValueError, "differencing must be one of"),
        ({"transform": "sqrt"}, ValueError, "transform must be one of"),
        ({"calendar": "month"}, ValueError, "calendar must be 'auto' or a tuple of"),
        ({"calendar": ("fortnight",)}, ValueError, "calendar must be one of"),
        ({"calendar": ("month",)}, ValueError, "calendar must be 'auto' or () for series without dates"),
        ({"quantiles": (0.9, 0.1)}, ValueError, "quantiles must be at least one level in (0, 1), in rising order"),
        ({"quantiles": (0.0,)}, ValueError, "quantiles must be in"),
        ({"distribution": "cauchy"}, ValueError, "distribution must be one of"),
        ({"n_members": 0}, ValueError, "n_members must be at least 1, got 0"),
        ({"linear_skip": 1}, TypeError, "linear_skip must be True or False, got 1"),
        ({"hidden_size": 0}, ValueError, "hidden_size"),
        ({"past_covariates": "price"}, TypeError, "past_covariates must be a list of columns of X, or None"),
        ({"past_covariates": [0], "future_covariates": [0]}, ValueError, "must name a column once, got 0 twice"),
        ({"context_length": 58, "horizon": 4}, ValueError, "y must have at least 62 steps in each series"),
    ],
)
def test_parameters(small, options, kind, message):
    refused(kind, message, lambda: small(**options).fit(Y))


def test_series(small):
    model = small(horizon=3)
    refused(ValueError, "y must be finite or NaN", lambda: model.fit(np.append(Y, np.inf)))
    refused(ValueError, "y must hold a number at some step, got NaN at every step", lambda: model.fit([np.nan] * 30))
    refused(ValueError, "got NaN at every step in series 1", lambda: model.fit([Y, np.full(40, np.nan)]))
    refused(ValueError, "too short: 1 has 4, 2 has 3", lambda: model.fit([Y, Y[:4], Y[:3]]))
    refused(ValueError, "y must be an array (T,)", lambda: model.fit(np.ones((3, 4, 5))))
    refused(TypeError, "y must hold numbers", lambda: model.fit(pd.DataFrame({"a": ["x"] * 60})))
    refused(ValueError, "y must be positive for transform='log'", lambda: small(transform="log").fit(Y))
    refused(
        ValueError,
        "differencing must not be 'seasonal'",
        lambda: small(differencing="seasonal", season_length=1).fit(Y),
    )


def test_time_stamps(small):
    model = small(horizon=3)
    y = pd.Series(Y, DAYS)
    twice = y.copy()
    twice.index = DAYS[[*range(59), 58]]
    refused(ValueError, "y must have each time stamp once, got 2024-02-28", lambda: model.fit(twice))
    refused(ValueError, "y must be in the order of time: pass y.sort_index()", lambda: model.fit(y[::-1]))
    odd = y.copy()
    odd.index = DAYS[:59].append(pd.DatetimeIndex(["2024-03-01 07:00"]))
    refused(ValueError, "y must have an index with a frequency", lambda: model.fit(odd))
    refused(
        TypeError,
        "y must have an index of dates, periods or integers",
        lambda: model.fit(y.set_axis([*map(str, DAYS)])),
    )
    far = y.copy()
    far.index = DAYS[:59].append(pd.DatetimeIndex(["2060-01-01"]))
    refused(ValueError, "y must have at least one step in 100", lambda: model.fit(far))
    refused(ValueError, "so it must have 'time'", lambda: model.fit(pd.DataFrame({"id": ["a"] * 60, "v": Y})))
    long = pd.DataFrame({"id": "a", "time": DAYS, "v": Y, "w": Y})
    refused(ValueError, "got ['v', 'w']: pass covariates in X", lambda: model.fit(long))
    refused(TypeError, "in column 'time'", lambda: model.fit(long.assign(time="today")))


def test_covariates(small):
    X = pd.DataFrame({"plan": RNG.normal(size=63)}, index=pd.date_range("2024-01-01", periods=63, freq="D"))
    y = pd.Series(Y, DAYS)
    options = {"horizon": 3, "future_covariates": ["plan"]}
    refused(ValueError, "X must end no earlier than y, got 2 steps fewer", lambda: small(**options).fit(y, X[:58]))
    refused(ValueError, "X must begin no later than y, got 1 steps later", lambda: small(**options).fit(y, X[1:]))
    refused(
        ValueError, "X must have the columns of future_covariates, got no 'plan' among ['price']",
        lambda: small(**options).fit(y, X.rename(columns={"plan": "price"})),
    )  # fmt: skip
    model = small(**options).fit(y, X[:60])
    message = "X must have the future covariates ['plan'] for all 3 steps of the forecast, got "
    refused(ValueError, message + "0", model.predict)
    refused(ValueError, message + "2", lambda: model.predict(X=X[:62]))
    assert len(model.predict(2, X=X[:62])) == 2
    refused(ValueError, "got no 'plan' among ['price']", lambda: model.predict(X=X.rename(columns={"plan": "price"})))
    refused(ValueError, "X must have 1 future covariates, as in fit, got 0", lambda: model.predict(y=y))
    past = small(horizon=3).fit(y, X[:60])
    refused(
        ValueError,
        "X must have 1 past covariates, as in fit, got 0",
        lambda: past.update(pd.Series([1.0], X.index[60:61])),
    )
    refused(ValueError, "X must have 2 entries, one for each series of y, got 1", lambda: small().fit([Y, Y], [Y]))
    refused(ValueError, "static must have 2 rows", lambda: small().fit([Y, Y], static=[[1.0]]))
    refused(ValueError, "static must be finite", lambda: small().fit([Y, Y], static=[1.0, np.nan]))


def test_forecasts(small):
    model = small(horizon=3).fit(Y)
    refused(ValueError, "horizon must be at least 1, got 0", lambda: model.predict(0))
    refused(ValueError, "coverage must be in", lambda: model.predict_interval(1.0))
    refused(ValueError, "quantiles must be at least one level", lambda: model.predict_quantiles([0.5, 0.5]))
    refused(ValueError, "n_windows must be at least 1", lambda: model.backtest(Y, n_windows=0))
    refused(ValueError, "y must have at least 64 steps", lambda: model.backtest(Y, n_windows=20))


def test_nothing_changes_after_an_error(small):
    model = small(horizon=3).fit(Y)
    before = model.predict()
    with pytest.raises(ValueError, match="NaN at every step"):
        model.fit(np.full(60, np.nan))
    np.testing.assert_array_equal(model.predict(), before)
    assert isinstance(model, LSTMForecaster)
