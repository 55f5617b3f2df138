"""Scaling of windows can be undone; ridge regressions minimize the leave-one-out error."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from numlstm.forecasting.combination import _weights
from numlstm.forecasting.frequency import Frequency
from numlstm.forecasting.members import Trend
from numlstm.forecasting.ridge import PENALTIES, ridge, ridge_with_gaps
from numlstm.forecasting.series import Names, read_panel
from numlstm.forecasting.windows import KINDS, Lengths, prepared, windows_before

STEPS, LENGTHS = Frequency("step", 1), Lengths(6, 3, 4)
NOBODY = Names("id", "time", None, None)


def windows_of(*series, origins=(12, 20)):
    panel = read_panel([*series], None, None, NOBODY)
    return windows_before(panel.series, [np.array(origins)] * len(series), LENGTHS, 10, (), STEPS)


def test_windows_end_before_their_origins():
    first, second = np.arange(21.0), 100 + np.arange(21.0)
    windows = windows_of(first, second)
    assert windows.owner.tolist() == [0, 0, 1, 1]
    assert windows.origin.tolist() == [12, 20, 12, 20]
    np.testing.assert_array_equal(windows.history[1], first[10:20])
    np.testing.assert_array_equal(
        windows.ahead, [[12, 13, 14], [20, np.nan, np.nan], [112, 113, 114], [120, np.nan, np.nan]]
    )
    early = windows_of(first, origins=(4,))
    np.testing.assert_array_equal(early.history[0], [np.nan] * 6 + [0, 1, 2, 3])
    apart = windows_of(first, second[:15], origins=(12,))
    np.testing.assert_array_equal(apart.ahead, windows_of(first, second, origins=(12,)).ahead)


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_can_be_undone(kind):
    series = np.random.default_rng(0).normal(50, 3, 21)
    windows = windows_of(series)
    own = prepared(windows, kind, LENGTHS)
    np.testing.assert_allclose(own.restored(own.scaled(windows.ahead))[0], windows.ahead[0])
    assert own.channels.shape == (2, 6, 2 if kind == "seasonal" else 1)
    larger = prepared(windows_of(1e5 * series + 7), kind, LENGTHS)
    np.testing.assert_allclose(larger.channels, own.channels, atol=1e-6)
    np.testing.assert_allclose(larger.scaled(1e5 * windows.ahead + 7), own.scaled(windows.ahead), atol=1e-6)


def test_differences():
    series = np.arange(21.0) ** 2
    windows = windows_of(series, origins=(12,))
    first, seasonal = (prepared(windows, kind, LENGTHS) for kind in ("first", "seasonal"))
    assert (first.base == 121).all()
    np.testing.assert_allclose(first.scale, series[6:12].std())
    np.testing.assert_array_equal(seasonal.base[0], series[8:11])
    differences = series[6:12] - series[2:8]
    np.testing.assert_allclose(seasonal.scale, np.sqrt(np.mean(differences**2)))
    np.testing.assert_allclose(seasonal.channels[0, :, 0] * seasonal.scale, differences[None], rtol=1e-12)


def test_missing_values_are_marked_and_the_last_known_value_is_the_base():
    series = np.arange(1.0, 22.0)
    series[[9, 11]] = np.nan
    own = prepared(windows_of(series, origins=(12,)), "first", LENGTHS)
    assert own.missing[0].tolist() == [False, False, False, True, False, True]
    assert (own.base == 11).all()
    assert (own.channels[0, [3, 5]] == 0).all()


def test_ridge_leaves_one_out():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(25, 10)), rng.normal(size=(25, 2))
    targets += features[:, :1]
    coef, intercept = ridge(features, targets)
    total = ((features - features.mean(axis=0)) ** 2).sum()
    errors = []
    for penalty in PENALTIES * total:
        left_out = 0.0
        for row in range(25):
            others = np.delete(np.arange(25), row)
            model = Ridge(penalty).fit(features[others], targets[others])
            left_out += ((targets[row] - model.predict(features[[row]])[0]) ** 2).sum()
        errors.append(left_out)
    best = Ridge(PENALTIES[int(np.argmin(errors))] * total).fit(features, targets)
    np.testing.assert_allclose(coef.T, best.coef_, rtol=1e-8)
    np.testing.assert_allclose(intercept, best.intercept_, rtol=1e-8)


def test_ridge_with_gaps_learns_each_target_from_its_rows():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    targets[:10, 1] = np.nan
    coef, intercept = ridge_with_gaps(features, targets)
    np.testing.assert_allclose(coef[:, 0], ridge(features, targets[:, :1])[0][:, 0])
    np.testing.assert_allclose(coef[:, 1], ridge(features[10:], targets[10:, 1:])[0][:, 0])
    assert np.isfinite(intercept).all()


def test_a_trend_is_damped():
    """The slope is the mean of the last season, or of two steps; each step adds nine tenths of the one before."""
    rng = np.random.default_rng(0)
    series = rng.normal(size=21).cumsum()
    for season, span in ((4, 4), (1, 2), (40, 5)):
        lengths = Lengths(6, 3, season)
        windows = windows_of(series, origins=(12,))
        inputs = prepared(windows, "first", lengths)
        forecast = inputs.restored(Trend.of(lengths).predict(windows, inputs, lengths))[0]
        slope = (series[11] - series[11 - span]) / span
        np.testing.assert_allclose(forecast, series[11] + slope * np.cumsum([0.9, 0.81, 0.729]))


@pytest.mark.parametrize(("windows", "power"), [(10, 1.5), (1000, 1.99)])
def test_weights_favour_accurate_members_more_if_there_are_many_windows(windows, power):
    errors = np.ones((2, windows, 2)) * np.array([1.0, 2.0])[:, None, None]
    errors[:, 0, 0] = np.nan
    weights = _weights(errors)
    assert weights[0] / weights[1] == pytest.approx(4**power, rel=1e-3)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(_weights(np.zeros((2, 3, 1))), 0.5)
