"""Forecasts have the form of the series, and an index that continues theirs."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

MONTHS = pd.date_range("2015-01-01", periods=90, freq="MS")
NEXT = pd.date_range(MONTHS[-1], periods=4, freq="MS")[1:]


@pytest.fixture
def expected(small, wave):
    """Forecasts of the wave and of its double, without calendar features."""
    return small(horizon=3, calendar=()).fit(np.stack([wave, 2 * wave], axis=1)).predict()


def test_one_array(small, wave):
    forecast = small(horizon=3).fit(wave).predict()
    assert forecast.shape == (3,)
    np.testing.assert_array_equal(forecast, small(horizon=3).fit(wave.tolist()).predict())
    assert small(horizon=3).fit(wave).predict(2).shape == (2,)


def test_arrays_of_several(small, wave, expected):
    listed = small(horizon=3).fit([wave, 2 * wave]).predict()
    np.testing.assert_allclose(np.stack(listed, axis=1), expected)
    unequal = small(horizon=3).fit([wave, wave[:60]])
    assert [len(each) for each in unequal.predict()] == [3, 3]
    assert unequal.predict_quantiles([0.2, 0.8])[1].shape == (3, 2)
    assert small(horizon=3).fit(np.stack([wave] * 2, 1)).predict_interval().shape == (3, 2, 2)


def test_series_of_pandas(small, wave):
    forecaster = small(horizon=3).fit(pd.Series(wave, index=MONTHS, name="load"))
    forecast = forecaster.predict()
    pd.testing.assert_index_equal(forecast.index, NEXT)
    assert forecast.name == "load"
    assert forecast.index.freq == "MS"
    interval = forecaster.predict_interval()
    pd.testing.assert_index_equal(interval.index, NEXT)
    assert [*interval.columns] == ["lower", "upper"]


@pytest.mark.parametrize(
    ("index", "following"),
    [
        (pd.RangeIndex(90), pd.RangeIndex(90, 93)),
        (pd.Index(np.arange(1900, 1990)), pd.Index([1990, 1991, 1992])),
        (pd.period_range("2015-01", periods=90, freq="M"), pd.period_range("2022-07", periods=3, freq="M")),
        (
            pd.date_range("2024-01-01", periods=90, freq="D", tz="Europe/Berlin"),
            pd.date_range("2024-03-31", periods=3, freq="D", tz="Europe/Berlin"),
        ),
        (
            pd.date_range("2024-03-28", periods=90, freq="h", tz="Europe/Berlin"),
            pd.date_range("2024-03-31 19:00", periods=3, freq="h", tz="Europe/Berlin"),
        ),
    ],
)
def test_indices_are_continued(small, wave, index, following):
    forecast = small(horizon=3).fit(pd.Series(wave, index=index)).predict()
    pd.testing.assert_index_equal(forecast.index, following, exact="equiv")


def test_wide_frame(small, wave, expected):
    frame = pd.DataFrame({"a": wave, "b": 2 * wave}, index=MONTHS)
    forecaster = small(horizon=3, calendar=()).fit(frame)
    forecast = forecaster.predict()
    np.testing.assert_allclose(forecast.to_numpy(), expected)
    assert [*forecast.columns] == ["a", "b"]
    pd.testing.assert_index_equal(forecast.index, NEXT)
    quantiles = forecaster.predict_quantiles()
    assert [*quantiles.columns][:2] == [("a", 0.1), ("a", 0.5)]
    np.testing.assert_allclose(quantiles["b"][0.5], forecast["b"])


def long_frame(wave):
    return pd.DataFrame(
        {"id": ["a"] * 90 + ["b"] * 90, "time": [*MONTHS] * 2, "load": np.concatenate([wave, 2 * wave])}
    )


def test_long_frame_in_any_order(small, wave, expected):
    frame = long_frame(wave)
    forecaster = small(horizon=3, calendar=()).fit(frame)
    forecast = forecaster.predict()
    assert [*forecast.columns] == ["id", "time", "load"]
    assert forecast["id"].tolist() == ["a"] * 3 + ["b"] * 3
    assert forecast["time"].tolist() == [*NEXT] * 2
    np.testing.assert_allclose(forecast["load"], expected.T.ravel())
    shuffled = frame.sample(frac=1, random_state=0).sort_values("id", kind="stable")
    pd.testing.assert_frame_equal(small(horizon=3, calendar=()).fit(shuffled).predict(), forecast)
    assert [*forecaster.predict_interval().columns] == ["id", "time", "lower", "upper"]


def test_other_names_of_columns(small, wave):
    frame = long_frame(wave).rename(columns={"id": "shop", "time": "day"})
    forecast = small(horizon=3, id_column="shop", time_column="day").fit(frame).predict()
    assert [*forecast.columns] == ["shop", "day", "load"]


def test_index_of_two_levels(small, wave, expected):
    frame = long_frame(wave).set_index(["id", "time"])
    forecast = small(horizon=3, calendar=()).fit(frame).predict()
    assert forecast.index.names == ["id", "time"]
    np.testing.assert_allclose(forecast["load"], expected.T.ravel())
    forecast = small(horizon=3, calendar=()).fit(frame["load"]).predict()
    assert forecast.name == "load"
    np.testing.assert_allclose(forecast["b"], expected[:, 1])


def test_polars(small, wave, expected):
    wide = pl.DataFrame({"time": MONTHS.to_numpy(), "a": wave, "b": 2 * wave})
    forecast = small(horizon=3, calendar=()).fit(wide).predict()
    assert forecast.columns == ["time", "a", "b"]
    assert forecast["time"].to_list() == [*NEXT]
    np.testing.assert_allclose(forecast[["a", "b"]].to_numpy(), expected)
    long = small(horizon=3, calendar=()).fit(pl.DataFrame(long_frame(wave).to_dict("list"))).predict()
    assert isinstance(long, pl.DataFrame)
    np.testing.assert_allclose(long["load"].to_numpy(), expected.T.ravel())
    assert isinstance(small(horizon=3).fit(pl.Series("load", wave)).predict(), pl.Series)


def test_list_of_series(small, wave):
    forecast = small(horizon=3).fit([pd.Series(wave, MONTHS), pd.Series(wave[:70], MONTHS[:70])]).predict()
    pd.testing.assert_index_equal(forecast[0].index, NEXT)
    assert forecast[1].index[0] == MONTHS[70]


def test_gaps_in_the_index_are_missing_values(small, wave):
    y = pd.Series(wave, MONTHS)
    with_nan = y.copy()
    with_nan.iloc[[30, 31, 50]] = np.nan
    dropped = y.drop(y.index[[30, 31, 50]])
    forecasts = [small(horizon=3).fit(each).predict() for each in (dropped, with_nan)]
    pd.testing.assert_series_equal(*forecasts, check_freq=False)


def test_other_series_than_those_of_fit(small, wave):
    forecaster = small(horizon=3).fit([wave, 2 * wave])
    np.testing.assert_allclose(forecaster.predict(y=[wave[-40:]])[0].shape, (3,))
    assert forecaster.predict(y=wave[:50]).shape == (3,)
    np.testing.assert_array_equal(forecaster.predict(y=[wave, 2 * wave]), forecaster.predict())
