"""Frequencies are found in time stamps, continue them, and suggest seasons."""

import numpy as np
import pandas as pd
import pytest

from numlstm.forecasting.frequency import calendar_features, frequency_of, season_of


@pytest.mark.parametrize(
    ("alias", "season", "calendar"),
    [
        ("MS", 12, {}), ("ME", 12, {}), ("QS", 4, {}), ("QE", 4, {}), ("YS", None, {}), ("YE", None, {}), 
        ("W", 52, {}),
        ("D", 7, {"month": 365}), ("B", 5, {"month": 260}), ("h", 24, {"weekday": 168}),
        ("15min", 96, {"weekday": 672}),
        ("min", 60, {"weekday": 10080}),
    ],
)  # fmt: skip
def test_frequencies_of_pandas(alias, season, calendar):
    times = pd.date_range("2019-12-31", periods=50, freq=alias).to_numpy().astype("M8[us]")
    found = frequency_of([times[:40]], "y")
    assert (found.season, found.calendar) == (season, calendar)
    numbers = found.numbers(times[:1])[0] + found.count * np.arange(50)
    np.testing.assert_array_equal(found.times(numbers), times)


def test_gaps_do_not_hide_the_frequency():
    times = pd.date_range("2020-01-01", periods=30, freq="D").to_numpy().astype("M8[us]")
    found = frequency_of([np.delete(times, [4, 5, 11])], "y")
    assert (found.kind, found.count) == ("fixed", 86_400_000_000)


def test_integers_are_a_grid():
    found = frequency_of([np.array([1700, 1702, 1704, 1710])], "y")
    assert (found.kind, found.count, found.season) == ("step", 2, None)


def test_irregular_times_are_refused():
    times = np.array(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-03T05"], "M8[us]")
    with pytest.raises(ValueError, match=r"y must have an index with a frequency, but its steps are .*: resample"):
        frequency_of([times], "y")
    with pytest.raises(ValueError, match="at least two time stamps"):
        frequency_of([times[:1]], "y")


def test_features_go_round():
    times = pd.date_range("2024-01-01", periods=24 * 7 * 2, freq="h").to_numpy()
    features = calendar_features(times, ("hour", "weekday", "minute", "day", "month"))
    assert features.shape == (336, 10)
    np.testing.assert_allclose(features[:24, :2], features[24:48, :2], atol=1e-12)
    np.testing.assert_allclose(features[:168, 2:4], features[168:, 2:4], atol=1e-12)
    np.testing.assert_allclose((features[:, ::2] ** 2 + features[:, 1::2] ** 2), 1)
    np.testing.assert_allclose(features[0, :2], [0, 1], atol=1e-12)  # midnight; 2024 began on a Monday
    np.testing.assert_allclose(features[0, 2:4], [0, 1], atol=1e-12)


def test_seasons_are_found():
    rng, steps = np.random.default_rng(0), np.arange(200)
    wave = np.sin(2 * np.pi * steps / 7) + 0.05 * steps + rng.normal(0, 0.3, 200)
    assert season_of([wave]) == 7
    wave[20:25] = np.nan
    assert season_of([wave]) == 7
    assert season_of([rng.normal(size=200)]) == 1
    assert season_of([np.ones(100)]) == 1
    assert season_of([steps * 2.0]) == 1
    assert season_of([wave, wave, rng.normal(size=200)]) == 7
