"""A forecaster that is loaded from a file is equal to the one that was saved."""

import numpy as np
import pandas as pd
import pytest

import numlstm

LEVELS = (0.1, 0.5, 0.9)
MONTHS = pd.date_range("2015-01-01", periods=90, freq="MS")


@pytest.mark.parametrize(
    "options", [{}, {"quantiles": LEVELS}, {"distribution": "student_t"}, {"conformal": False}, {"linear_skip": False}]
)
def test_loaded_forecasters_forecast_the_same(small, wave, tmp_path, options):
    forecaster = small(horizon=3, **options).fit(pd.DataFrame({"a": wave, "b": 1e3 + wave**2}, index=MONTHS))
    forecaster.save(tmp_path / "model.safetensors")
    loaded = numlstm.load(tmp_path / "model.safetensors")
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())
    assert loaded.get_params() == forecaster.get_params()
    assert loaded.weights_ == forecaster.weights_
    if options.get("conformal", True):
        pd.testing.assert_frame_equal(loaded.predict_interval(), forecaster.predict_interval())
    if "distribution" in options:
        np.testing.assert_array_equal(loaded.sample(5, random_state=0), forecaster.sample(5, random_state=0))
    more = pd.DataFrame({"a": [20.0], "b": [1e3]}, index=[pd.Timestamp("2022-07-01")])
    pd.testing.assert_frame_equal(loaded.update(more).predict(), forecaster.update(more).predict())


def test_unfitted_and_with_covariates(small, wave, tmp_path):
    path = tmp_path / "model.safetensors"
    small(calendar=("month",)).save(path)
    assert numlstm.load(path).calendar == ("month",)
    X = pd.DataFrame({"plan": np.arange(95.0), "past": 1.0}, index=pd.date_range("2015-01-01", periods=95, freq="MS"))
    y = pd.Series(wave, MONTHS)
    y.iloc[[-3, 40]] = np.nan
    forecaster = small(horizon=3, future_covariates=["plan"]).fit(y, X, static=[[1.0]])
    forecaster.save(path)
    pd.testing.assert_series_equal(numlstm.load(path).predict(), forecaster.predict())


def test_counts_in_long_tables(small, tmp_path):
    counts = np.random.default_rng(0).poisson(4, 60)
    long = pd.DataFrame({"id": [1] * 30 + [2] * 30, "time": [*range(30)] * 2, "sold": counts})
    forecaster = small(horizon=2, distribution="negative_binomial").fit(long)
    forecaster.save(tmp_path / "model.safetensors")
    pd.testing.assert_frame_equal(numlstm.load(tmp_path / "model.safetensors").predict(), forecaster.predict())


def test_damaged_files_are_refused(small, wave, tmp_path):
    path = tmp_path / "model.safetensors"
    small(horizon=3).fit(wave).save(path)
    data = path.read_bytes()
    for old, new, message in (
        (b'\\"horizon\\":3,\\"season\\"', b'\\"horizon\\":4,\\"season\\"', "model: fitted"),
        (b'\\"kind\\":\\"point\\"', b'\\"kind\\":\\"pount\\"', "kind must be one of"),
        (b'\\"type\\":\\"widths\\"', b'\\"type\\":\\"shifts\\"', "type must be one of"),
        (b'\\"numpy\\"', b'\\"nimpy\\"', "library must be one of"),
    ):
        assert data.count(old) == 1
        path.write_bytes(data.replace(old, new))
        with pytest.raises(ValueError, match=message):
            numlstm.load(path)


def test_random_states_that_a_file_cannot_hold(small, tmp_path):
    with pytest.raises(ValueError, match="random_state must be an int or None to be written to a file"):
        small(random_state=np.random.RandomState(0)).save(tmp_path / "model.safetensors")
