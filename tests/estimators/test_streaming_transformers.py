"""Streams of Pipelines with imputers and encoders: at every step what the Pipeline says of the sequence so far."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor, SequenceEncoder, SequenceImputer, SequenceScaler

SMALL = {"hidden_size": 4, "max_iter": 2, "random_state": 0, "dtype": "float64", "backend": "reference"}
T = 6
RNG = np.random.default_rng(0)
HOLES = RNG.normal(50.0, 9.0, (20, T, 2))
HOLES[RNG.random(HOLES.shape) < 0.4] = np.nan
FLAT = HOLES[:, :, 0]
MIXED = np.empty((20, T, 3), object)
MIXED[:, :, 0] = np.array(["a", "b", "c"])[RNG.integers(3, size=(20, T))]
MIXED[:, :, 1:] = HOLES
Y = RNG.normal(size=20)


def assert_as_pipeline(pipeline, X, batch_size):
    """At every step of two batches of sequences, with a reset between them."""
    stream = numlstm.stream(pipeline, batch_size)
    for start in (0, batch_size):
        rows = slice(start, start + batch_size)
        for t in range(T):
            x_t = np.reshape(X[rows, t], (batch_size, -1))
            said = stream.step(x_t[0] if batch_size == 1 else x_t)
            expected = pipeline[-1].predict(pipeline[:-1].transform([*X[rows, : t + 1]]))
            np.testing.assert_allclose(said, expected[0] if batch_size == 1 else expected, rtol=1e-9)
        stream.reset()


@pytest.mark.parametrize("method", ["forward", "mean", "median", "constant", ["forward", "median"]])
@pytest.mark.parametrize("indicator", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_imputer(method, indicator, batch_size):
    imputer = SequenceImputer(method, indicator=indicator, fill_value=-2.0)
    pipeline = make_pipeline(imputer, SequenceScaler("robust"), LSTMRegressor(**SMALL)).fit([*HOLES], Y)
    assert_as_pipeline(pipeline, HOLES, batch_size)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_encoder_and_an_imputer(batch_size):
    steps = SequenceEncoder(columns=[0]), SequenceImputer(indicator=True), SequenceScaler("minmax")
    pipeline = make_pipeline(*steps, LSTMRegressor(**SMALL)).fit([*MIXED], Y)
    assert_as_pipeline(pipeline, MIXED, batch_size)
    stream = numlstm.stream(pipeline)
    by_list = numlstm.stream(pipeline)
    assert by_list.step(["a", 3.0, None]) == stream.step(np.array(["a", 3.0, np.nan], object))


def test_an_encoder_of_numbers_after_an_imputer():
    X = HOLES.round(-1)
    encoder = SequenceEncoder(columns=[1], handle_unknown="ignore")
    pipeline = make_pipeline(SequenceImputer(), encoder, LSTMRegressor(**SMALL)).fit([*X], Y)
    assert_as_pipeline(pipeline, X, 2)


def test_scalers_of_scikit_learn_before_an_imputer():
    pipeline = make_pipeline(StandardScaler(), MinMaxScaler(clip=True), SequenceImputer(), LSTMRegressor(**SMALL))
    pipeline.fit(FLAT, Y)
    stream = numlstm.stream(pipeline, batch_size=20)
    for t in range(T):
        said = stream.step(FLAT[:, t : t + 1])
    np.testing.assert_allclose(said, pipeline.predict(FLAT), rtol=1e-9)


def test_float32():
    X = HOLES.astype("float32")
    model = LSTMClassifier(hidden_size=4, bidirectional=False, max_iter=2, random_state=0)
    pipeline = make_pipeline(SequenceImputer(), SequenceScaler(), model).fit(X, Y > 0)
    stream = numlstm.stream(pipeline, batch_size=20)
    for t in range(T):
        said = stream.step(X[:, t])
    np.testing.assert_allclose(said, pipeline.predict_proba(X), rtol=2e-5)


def test_a_stream_is_a_snapshot():
    pipeline = make_pipeline(SequenceImputer(), LSTMRegressor(**SMALL)).fit(HOLES, Y)
    nothing = [np.nan, np.nan]
    stream, expected = numlstm.stream(pipeline), numlstm.stream(pipeline).step(nothing)
    pipeline[0].statistics_ += 5.0
    pipeline.fit(HOLES * 2, Y)
    assert stream.step(nothing) == expected


# What is refused ------------------------------------------------------------------------------------------


def test_interpolation_is_refused_by_name():
    imputer = SequenceImputer(["forward", "interpolate"])
    pipeline = Pipeline([("holes", imputer), ("lstm", LSTMRegressor(**SMALL))]).fit(HOLES, Y)
    message = "step 'holes' of .* must not have the method 'interpolate', .* for channel 1: fit it with 'forward'"
    with pytest.raises(ValueError, match=message):
        numlstm.stream(pipeline)


@pytest.mark.parametrize("transformer", [SequenceImputer(), SequenceEncoder()])
def test_what_is_not_fitted(transformer):
    model = LSTMRegressor(**SMALL).fit(np.ones((20, T, 2)), Y)
    with pytest.raises(NotFittedError, match=type(transformer).__name__):
        numlstm.stream(make_pipeline(transformer, model))


def test_nan_is_refused_where_the_pipeline_refuses_it():
    whole = np.nan_to_num(HOLES)
    steps = SequenceScaler(), SequenceImputer()
    for before in (steps, steps[:1], [StandardScaler()], [SequenceEncoder(columns=[0], handle_unknown="ignore")]):
        X = whole[:, :, 0] if isinstance(before[0], StandardScaler) else whole
        stream = numlstm.stream(make_pipeline(*before, LSTMRegressor(**SMALL)).fit(X, Y))
        with pytest.raises(ValueError, match="x_t must be finite, but contains NaN"):
            stream.step([np.nan] if X.ndim == 2 else [0.0, np.nan])


@pytest.mark.parametrize(
    ("x_t", "message"),
    [
        ([np.inf, 0.0], "x_t must be finite, but contains infinity"), (["a", 0.0], "x_t must hold real numbers"),
        ([0.0] * 3, r"x_t must have shape \(1, 2\)"), ([1e60, 0.0], "too large for float32"),
    ],
)  # fmt: skip
def test_a_step_that_is_refused_changes_nothing(x_t, message):
    model = LSTMRegressor(hidden_size=4, max_iter=2, random_state=0)
    pipeline = make_pipeline(SequenceImputer(), model).fit(HOLES, Y)
    stream, undisturbed = numlstm.stream(pipeline), numlstm.stream(pipeline)
    for given in HOLES[0]:
        for _ in range(2):  # what it would have remembered of it is not there later
            with pytest.raises((ValueError, TypeError), match=message):
                stream.step(x_t)
        assert stream.step(given) == undisturbed.step(given)


@pytest.mark.parametrize(
    ("x_t", "message"),
    [
        (["z", 0.0, 0.0], "x_t must have a known category in channel 0, got 'z'"),
        (["a", "b", 0.0], "x_t must hold a number in channel 1"),
        (["a", np.inf, 0.0], "x_t must be finite, or NaN, in"),
        ([[], 0.0, 0.0], "x_t must hold a category in channel 0"), (["a", 0.0], r"x_t must have shape \(1, 3\)"),
    ],
)  # fmt: skip
def test_categories_that_are_refused(x_t, message):
    pipeline = make_pipeline(SequenceEncoder(columns=[0]), SequenceImputer(), LSTMRegressor(**SMALL)).fit(MIXED, Y)
    stream, undisturbed = numlstm.stream(pipeline), numlstm.stream(pipeline)
    for given in MIXED[0]:
        with pytest.raises((ValueError, TypeError), match=message):
            stream.step(x_t)
        assert stream.step(given) == undisturbed.step(given)
    with pytest.raises(ValueError, match=r"x_t\[1\] must have a known category"):
        numlstm.stream(pipeline, 2).step([["a", 0.0, 0.0], ["z", 0.0, 0.0]])
