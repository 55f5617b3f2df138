"""Scaling, padding and windows."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from numlstm import LSTMRegressor, SequenceScaler, pad_sequences, sliding_windows


@pytest.fixture
def ragged():
    rng = np.random.default_rng(0)
    return [rng.normal([5.0, -3.0], [2.0, 100.0], size=(rng.integers(1, 6), 2)) for _ in range(12)]


def test_scales_each_channel_over_all_steps(ragged):
    scaler = SequenceScaler()
    scaled = scaler.fit_transform(ragged)
    steps = np.concatenate(scaled)
    np.testing.assert_allclose(steps, StandardScaler().fit_transform(np.concatenate(ragged)), rtol=1e-12)
    assert scaler.n_steps_seen_ == len(steps)
    for x, back in zip(ragged, scaler.inverse_transform(scaled), strict=True):
        np.testing.assert_allclose(back, x, rtol=1e-12)


def test_padding_takes_no_part(ragged):
    padded, lengths = pad_sequences(ragged, value=1e6)
    from_list, from_array = SequenceScaler().fit(ragged), SequenceScaler().fit(padded, lengths=lengths)
    np.testing.assert_array_equal(from_list.mean_, from_array.mean_)
    scaled = from_array.transform(padded, lengths=lengths)
    for x, row, length in zip(from_list.transform(ragged), scaled, lengths, strict=True):
        np.testing.assert_array_equal(row[:length], x)
        assert not row[length:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_forms_and_types_of_arrays(dtype):
    X = np.random.default_rng(0).integers(-50, 50, (6, 5, 3)).astype(dtype)
    before = X.copy()
    expected = np.float32 if dtype == np.float32 else np.float64
    scaled = SequenceScaler().fit_transform(X)
    assert scaled.shape == X.shape
    assert scaled.dtype == expected
    np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=(0, 1)), 1, rtol=1e-6)
    one = SequenceScaler().fit(X[:, :, 0])
    assert one.transform(X[:, :, 0]).shape == (6, 5)
    assert one.mean_.shape == (1,)
    np.testing.assert_array_equal(X, before)
    short = SequenceScaler().fit_transform([X[0, :, 0], X[1, :3, 0]])
    assert [each.shape for each in short] == [(5,), (3,)]


def test_a_constant_channel_is_only_centred():
    X = np.stack([np.full((4, 3), 7.0), np.arange(12.0).reshape(4, 3)], axis=2)
    assert not SequenceScaler().fit_transform(X)[:, :, 0].any()


@pytest.mark.parametrize(
    ("method", "theirs"), [("standard", StandardScaler()), ("robust", RobustScaler()), ("minmax", MinMaxScaler())]
)
def test_each_method_as_scikit_learn_does(method, theirs, ragged):
    ragged[0][0] = [1e3, -1e4]  # far from the others
    scaler = SequenceScaler(method).fit(ragged)
    steps = np.concatenate(ragged)
    scaled = scaler.transform(ragged)
    np.testing.assert_allclose(np.concatenate(scaled), theirs.fit_transform(steps), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.concatenate(scaler.inverse_transform(scaled)), steps, rtol=1e-9)
    assert hasattr(scaler, "mean_") == (method == "standard")
    assert scaler.get_feature_names_out().tolist() == ["x0", "x1"]


def test_what_each_method_takes_and_divides_by():
    X = np.array([[0.0, 1.0, 2.0, 3.0, 100.0]])
    for method, center, scale in [("standard", X.mean(), X.std()), ("robust", 2.0, 2.0), ("minmax", 0.0, 100.0)]:
        scaler = SequenceScaler(method).fit(X)
        assert (scaler.center_.item(), scaler.scale_.item()) == pytest.approx((center, scale))
    scaler = SequenceScaler().fit(X)
    assert scaler.mean_ is scaler.center_
    assert not hasattr(scaler.set_params(method="minmax").fit(X), "mean_")
    assert (scaler.transform(X).min(), scaler.transform(X).max()) == (0.0, 1.0)


@pytest.mark.parametrize("method", ["standard", "robust", "minmax"])
def test_a_constant_channel_has_the_scale_one(method):
    X = np.stack([np.full((4, 3), 0.1), np.arange(12.0).reshape(4, 3)], axis=2)
    scaler = SequenceScaler(method).fit(X)
    assert scaler.scale_[0] == 1.0
    np.testing.assert_allclose(scaler.transform(X + np.array([1.0, 0.0]))[:, :, 0], 1.0)


def test_an_unknown_method_is_refused(ragged):
    scaler = SequenceScaler().fit(ragged)
    before = dict(vars(scaler)) | {"method": "max"}
    with pytest.raises(ValueError, match=r"method must be one of .*'standard', 'robust', 'minmax'.*, got 'max'"):
        scaler.set_params(method="max").fit(ragged)
    assert vars(scaler) == before


class Refitted(SequenceScaler):
    """Another thread fits it while it transforms."""

    def _transform_sequences(self, sequences):
        model.fit([np.array([[-100.0], [100.0]])])
        return super()._transform_sequences(sequences)


model = Refitted()


def test_what_transforms_is_one_fit():
    model.fit([np.array([[0.0], [2.0]])])
    assert model.transform([np.array([[3.0]])])[0].item() == 2.0
    assert model.scale_.item() == 100.0


def test_a_scaler_says_what_is_wrong(ragged):
    with pytest.raises(NotFittedError):
        SequenceScaler().transform(ragged)
    scaler = SequenceScaler().fit(ragged)
    before = dict(vars(scaler))
    with pytest.raises(ValueError, match="X has 1 features at each step, but SequenceScaler was fitted with 2"):
        scaler.transform([x[:, :1] for x in ragged])
    with pytest.raises(ValueError, match=r"X\[1\] must be finite"):
        scaler.fit([np.zeros((2, 3)), np.full((2, 3), np.nan)])
    assert vars(scaler) == before


def test_padded_sequences(ragged):
    padded, lengths = pad_sequences(ragged, value=-1.0)
    assert padded.shape == (12, max(map(len, ragged)), 2)
    for x, row, length in zip(ragged, padded, lengths, strict=True):
        np.testing.assert_array_equal(row[:length], x)
        assert (row[length:] == -1).all()
    assert pad_sequences([np.zeros(2, np.float32), np.zeros(1, np.float32)])[0].dtype == np.float32


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([], "sequences must hold at least one"),
        ("text", "sequences must be a list of arrays, got str"),
        ([[1.0], []], r"sequences\[1\] must have shape"),
        ([np.zeros((2, 1)), np.zeros((2, 3))], r"sequences\[1\] has 3 features, but sequences\[0\] has 1"),
        ([["a"]], r"sequences\[0\] must hold real numbers"),
    ],
)
def test_what_cannot_be_padded(sequences, message):
    with pytest.raises((TypeError, ValueError), match=message):
        pad_sequences(sequences)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("channels", [None, 2])
def test_windows(stride, horizon, channels):
    series = np.arange(20.0) if channels is None else np.arange(40.0).reshape(20, 2)
    X, y = sliding_windows(series, 5, horizon, stride)
    columns = series.reshape(20, -1)
    starts = range(0, 20 - 5 - horizon + 1, stride)
    assert X.shape == (len(starts), 5, columns.shape[1])
    assert y.shape == (len(starts), horizon * columns.shape[1])
    for window, ahead, start in zip(X, y, starts, strict=True):
        np.testing.assert_array_equal(window, columns[start : start + 5])
        np.testing.assert_array_equal(ahead, columns[start + 5 : start + 5 + horizon].ravel())
    X[...] = y[...] = 0
    assert series[1:].any(axis=None)
    model = LSTMRegressor(hidden_size=2, max_iter=1).fit(X, y)
    assert model.predict(X).shape == y.shape


SERIES = np.arange(80).reshape(20, 4)  # column k is k more than four times the step
NAMES = ["load", "wind", "day", "price"]


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_of_columns(stride):
    X, y = sliding_windows(SERIES, 5, 3, stride, target=[1, 0], past=3, future=[2])
    starts = range(0, 20 - 5 - 3 + 1, stride)
    assert X.shape == (len(starts), 5, 5)
    for window, ahead, start in zip(X, y, starts, strict=True):
        np.testing.assert_array_equal(window[:, :4], SERIES[start : start + 5, [1, 0, 3, 2]])
        np.testing.assert_array_equal(window[:, 4], SERIES[start + 3 : start + 8, 2])
        np.testing.assert_array_equal(window[-3:, 4], SERIES[start + 5 : start + 8, 2])  # of the forecast's steps
        np.testing.assert_array_equal(ahead.reshape(3, 2), SERIES[start + 5 : start + 8, [1, 0]])
    assert X.dtype == y.dtype == SERIES.dtype
    X[...] = y[...] = 0
    assert SERIES[1:].all()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_of_tables_have_names(frame):
    table = frame(dict(zip(NAMES, SERIES.T, strict=True)))
    for named, numbered in [
        ({}, {}),
        ({"target": "load"}, {"target": 0}),
        ({"past": np.array(["wind", "day"])}, {"past": np.array([1, 2])}),
        ({"target": ["wind", "load"], "past": "price", "future": "day"}, {"target": [1, 0], "past": 3, "future": 2}),
    ]:
        for found, expected in zip(
            sliding_windows(table, 4, 2, **named), sliding_windows(SERIES, 4, 2, **numbered), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("given", "channels", "targets"),
    [
        ({}, [0, 1, 2, 3], [0, 1, 2, 3]),
        ({"target": 2}, [2, 0, 1, 3], [2]),
        ({"target": 2, "past": []}, [2], [2]),
        ({"target": 2, "past": 1}, [2, 1], [2]),
        ({"past": 1}, [0, 2, 3, 1], [0, 2, 3]),
        ({"future": 1}, [0, 2, 3, 1, 1], [0, 2, 3]),
        ({"target": 2, "future": 1}, [2, 0, 3, 1, 1], [2]),
    ],
)
def test_what_is_not_said_of_columns(given, channels, targets):
    X, y = sliding_windows(SERIES, 4, 2, **given)
    np.testing.assert_array_equal(X[0, 0] % 4, channels)
    np.testing.assert_array_equal(y[0] % 4, targets * 2)


def test_a_regressor_reads_what_is_known_of_the_future():
    rng = np.random.default_rng(0)
    plan = rng.integers(0, 2, 400).astype(float)
    series = np.stack([plan * 2 - 1, plan], axis=1)  # the load of a step is what was planned for it
    options = {"hidden_size": 8, "max_iter": 60, "random_state": 0, "learning_rate_init": 0.02}
    X, y = sliding_windows(series, 4, 2, target=0, future=1)
    assert LSTMRegressor(**options).fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.95
    X, y = sliding_windows(series, 4, 2, target=0, past=1)
    assert LSTMRegressor(**options).fit(X[:300], y[:300]).score(X[300:], y[300:]) < 0.2


def test_the_last_window_needs_no_targets():
    series = np.array([[1.0, 5.0], [2.0, 6.0], [np.nan, 7.0], [np.nan, 8.0]])
    X, _ = sliding_windows(series, 2, 2, target=0, future=1)
    np.testing.assert_array_equal(X[-1], [[1, 5, 7], [2, 6, 8]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": 4}, r"target must name columns of series, among \[0, 1, 2, 3\], got 4"),
        ({"target": -1}, "target must name columns of series, .* got -1"),
        ({"past": "load"}, "past must name columns of series, .* got 'load'"),
        ({"future": [True]}, "future must name columns of series, .* got True"),
        ({"target": 1, "past": [0, 1]}, "target, past and future must name a column once, got 1 twice"),
        ({"target": [2, 2]}, "target, past and future must name a column once, got 2 twice"),
        ({"target": []}, "target must name at least one column, got none"),
        ({"past": [0, 1, 2, 3]}, "target must name at least one column, got none"),
        ({"steps": 2, "horizon": 3, "future": 1}, "steps must be at least horizon = 3 with future, .*, got 2"),
    ],
)
def test_what_no_columns_are(given, message):
    with pytest.raises(ValueError, match=message):
        sliding_windows(SERIES, **{"steps": 4} | given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(5), 5), "series must have at least steps \\+ horizon = 6 steps, got 5"),
        ((np.zeros((2, 3, 4)), 1), "series must have shape"),
        ((np.zeros(5), 0), "steps must be at least 1"),
        ((np.zeros(5), 1, 0), "horizon must be at least 1"),
        ((np.zeros(5), 1, 1, 0), "stride must be at least 1"),
        ((["a", "b"], 1), "series must hold real numbers"),
    ],
)
def test_what_has_no_windows(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sliding_windows(*arguments)
