"""The plot of a forecast shows the history, the forecast with its intervals, and the truth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from numlstm.forecasting import plot_forecast

MONTHS = pd.date_range("2015-01-01", periods=90, freq="MS")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_history_fan_and_truth(small, wave):
    y = pd.Series(wave, MONTHS)
    forecaster = small(horizon=6).fit(y[:84])
    ax = plot_forecast(forecaster, y, history=20)
    history, forecast, truth = ax.get_lines()
    np.testing.assert_array_equal(history.get_ydata(), wave[64:84])
    np.testing.assert_allclose(forecast.get_ydata(), forecaster.predict())
    np.testing.assert_array_equal(truth.get_ydata(), wave[84:])
    assert len(ax.collections) == 3
    low, high = forecaster.predict_interval(0.95).to_numpy().T
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(low.min())
    assert edges.max() == pytest.approx(high.max())
    assert {each.get_text() for each in ax.get_legend().get_texts()} >= {"history", "forecast", "truth", "95%", "80%"}


def test_one_of_several_and_no_fan(small, wave):
    y = pd.DataFrame({"a": wave, "b": 2 * wave}, MONTHS)
    forecaster = small(horizon=6, conformal=False).fit(y)
    ax = plot_forecast(forecaster, y, series="b")
    assert len(ax.get_lines()) == 2
    np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), forecaster.predict()["b"])
    assert not ax.collections
    with pytest.raises(ValueError, match=r"series must be one of \['a', 'b'\], got 'c'"):
        plot_forecast(forecaster, y, series="c")
    quantiles = small(horizon=6, quantiles=(0.1, 0.25, 0.5, 0.75, 0.9)).fit(wave)
    assert len(plot_forecast(quantiles, wave).collections) == 2
