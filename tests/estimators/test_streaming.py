"""Streams of Pipelines: at every step what the Pipeline says of the sequence so far."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import numlstm
from numlstm import LSTM, LSTMClassifier, LSTMRegressor, SequenceScaler
from numlstm.estimators.streaming import ColumnScaler

SMALL = {"hidden_size": 5, "bidirectional": False, "max_iter": 3, "random_state": 0}
T = 6
RNG = np.random.default_rng(0)
FLAT = RNG.normal(size=(30, T)) * np.arange(1, T + 1) + 100 * np.arange(T)  # every column has its own scale
CUBE = RNG.normal(size=(30, T, 2)) * [1.0, 20.0] + [5.0, -300.0]
NEW = FLAT + RNG.normal(scale=20.0, size=FLAT.shape)  # partly beyond what fit has seen, so that clip matters
Y = RNG.normal(size=30)
OF_COLUMNS = [
    StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), MinMaxScaler(),
    MinMaxScaler((-2, 3), clip=True), MaxAbsScaler(), RobustScaler(), RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False),
    *([MaxAbsScaler(clip=True)] if "clip" in MaxAbsScaler().get_params() else []),  # since scikit-learn 1.9
]  # fmt: skip


def assert_as_pipeline(pipeline, X, batch_size, rtol):
    """At every step of whole sequences, what the Pipeline's transformers and then its estimator give."""
    model = pipeline[-1]
    predict = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    scaled = pipeline[:-1].transform(X)
    scaled = scaled if scaled.ndim == 3 else scaled[:, :, None]
    x = X if X.ndim == 3 else X[:, :, None]
    stream = numlstm.stream(pipeline, batch_size)
    for start in (0, batch_size):  # the second time after a reset
        rows = slice(start, start + batch_size)
        for t in range(T):
            said = stream.step(x[start, t] if batch_size == 1 else x[rows, t])
            expected = predict(scaled[rows, : t + 1])
            np.testing.assert_allclose(said, expected[0] if batch_size == 1 else expected, rtol=rtol, atol=rtol)
        stream.reset()


@pytest.mark.parametrize("scaler", [*OF_COLUMNS, SequenceScaler()], ids=repr)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_step_is_what_the_pipeline_says(scaler, batch_size):
    pipeline = make_pipeline(clone(scaler), LSTMRegressor(**SMALL, dtype="float64")).fit(FLAT, Y)
    assert_as_pipeline(pipeline, NEW, batch_size, 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(clip=True), SequenceScaler()], ids=repr)
def test_numbers_of_other_types(scaler, dtype):
    pipeline = make_pipeline(clone(scaler), LSTMClassifier(**SMALL)).fit(FLAT, Y > 0)
    assert_as_pipeline(pipeline, NEW.astype(dtype), 3, 2e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int32", "bool"])
@pytest.mark.parametrize("scaler", OF_COLUMNS, ids=repr)
def test_a_column_is_scaled_as_scikit_learn_does(scaler, dtype):
    scaler = clone(scaler).fit(FLAT)
    X = (NEW > 100) if dtype == "bool" else NEW.astype(dtype)
    expected = scaler.transform(X)
    at = ColumnScaler(scaler)
    for t in range(T):
        before = X[:, t].copy()
        ours = at(X[:, t], t)
        assert ours.dtype == expected.dtype
        exact = expected.dtype == np.float64
        np.testing.assert_allclose(ours, expected[:, t], rtol=0 if exact else 2 * np.finfo(ours.dtype).eps, atol=0)
        assert (X[:, t] == before).all()


@pytest.mark.parametrize(
    ("scaler", "later"),
    [
        (StandardScaler(), {"with_mean": False}), (StandardScaler(), {"with_std": False}),
        (RobustScaler(), {"with_centering": False}), (RobustScaler(), {"with_scaling": False}),
        (MinMaxScaler(), {"clip": True}),
    ],
)  # fmt: skip
def test_parameters_count_as_they_are_now(scaler, later):
    pipeline = make_pipeline(clone(scaler), LSTMRegressor(**SMALL, dtype="float64")).fit(FLAT, Y)
    pipeline[0].set_params(**later)
    assert_as_pipeline(pipeline, NEW, 2, 1e-9)


def test_several_channels_and_targets():
    pipeline = make_pipeline(SequenceScaler(), LSTMRegressor(**SMALL, dtype="float64")).fit(CUBE, np.c_[Y, Y**2])
    assert_as_pipeline(pipeline, CUBE, 1, 1e-9)
    assert_as_pipeline(pipeline, CUBE, 3, 1e-9)
    stream = numlstm.stream(pipeline)
    for _ in range(3 * T):  # channels are scaled alike at every step: there is no last one
        stream.step(CUBE[0, 0])


@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler(), SequenceScaler(), "passthrough"], [None, MinMaxScaler((1, 2)), RobustScaler()],
        [make_pipeline(StandardScaler(), make_pipeline(MaxAbsScaler())), None], ["passthrough"],
    ],
)  # fmt: skip
def test_several_transformers(steps):
    pipeline = make_pipeline(*map(_fresh, steps), LSTMRegressor(**SMALL, dtype="float64")).fit(FLAT, Y)
    assert_as_pipeline(pipeline, FLAT, 2, 1e-9)


def _fresh(step):
    return clone(step) if hasattr(step, "fit") else step


def test_tables_and_their_output():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(FLAT, columns=list("uvwxyz"))
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, LSTMRegressor(**SMALL, dtype="float64")).fit(frame, Y)
    stream = numlstm.stream(pipeline)
    for t in range(T):
        said = stream.step(FLAT[:1, t])
    assert said == pytest.approx(pipeline.predict(frame)[0], rel=1e-9)


def test_a_search_streams_what_it_has_found():
    pipeline = make_pipeline(SequenceScaler(), LSTMClassifier(**SMALL))
    search = GridSearchCV(pipeline, {"lstmclassifier__hidden_size": [3, 4]}, cv=2)
    with pytest.raises(NotFittedError, match="GridSearchCV has no best_estimator_"):
        numlstm.stream(search)
    search.fit(CUBE, Y > 0)
    stream = numlstm.stream(search, batch_size=30)
    for t in range(T):
        said = stream.step(CUBE[:, t])
    np.testing.assert_allclose(said, search.predict_proba(CUBE), rtol=2e-5)
    assert (said.argmax(axis=1) == search.predict(CUBE)).all()


def test_estimators_and_layers():
    model = LSTMRegressor(**SMALL).fit(CUBE, Y)
    np.testing.assert_array_equal(numlstm.stream(model, 2).step(CUBE[:2, 0]), model.stream(2).step(CUBE[:2, 0]))
    layer = LSTM(2, 5, random_state=0)
    np.testing.assert_array_equal(numlstm.stream(layer).step(CUBE[0, 0]), layer.stream().step(CUBE[0, 0]))


def test_a_stream_is_a_snapshot():
    for X in (FLAT, CUBE):
        pipeline = make_pipeline(SequenceScaler() if X is CUBE else StandardScaler(), LSTMRegressor(**SMALL)).fit(X, Y)
        stream, expected = numlstm.stream(pipeline), numlstm.stream(pipeline).step(np.atleast_1d(X[0, 0]))
        pipeline[0].mean_ += 3.0
        pipeline.fit(7 * X, 100 * Y + 7)
        assert stream.step(np.atleast_1d(X[0, 0])) == expected


# What is refused ------------------------------------------------------------------------------------------


def test_a_sequence_ends_where_the_columns_do():
    pipeline = make_pipeline(StandardScaler(), LSTMRegressor(**SMALL)).fit(FLAT, Y)
    stream = numlstm.stream(pipeline)
    first = [stream.step(x_t) for x_t in FLAT[0][:, None]]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"x_t is step 7 of .* fitted with 6 steps: call reset\(\)"):
            stream.step([0.0])
    stream.reset()
    assert [stream.step(x_t) for x_t in FLAT[0][:, None]] == first


WRONG = [
    (np.zeros(3), r"x_t must have shape \(1, 2\), got \(3,\)"), (np.zeros((2, 2)), "x_t must have shape"),
    (0.0, "x_t must have shape"), ([0.0, np.nan], "x_t must be finite"), ([np.inf, 0.0], "x_t must be finite"),
    ([0.0, 1e60], "x_t must be finite, but contains .* too large for float32"), (["a", "b"], "x_t must hold real"),
    (None, "x_t must hold real"),
]  # fmt: skip


@pytest.mark.parametrize(("x_t", "message"), WRONG)
def test_a_step_that_is_refused_changes_nothing(x_t, message):
    pipeline = make_pipeline(SequenceScaler(), LSTMRegressor(**SMALL, pooling="mean")).fit(CUBE, Y)
    stream, undisturbed = numlstm.stream(pipeline), numlstm.stream(pipeline)
    for given in CUBE[0]:
        with pytest.raises((ValueError, TypeError), match=message):
            stream.step(x_t)
        assert stream.step(given) == undisturbed.step(given)


def test_a_step_that_is_refused_does_not_count():
    pipeline = make_pipeline(MinMaxScaler(clip=True), StandardScaler(), LSTMRegressor(**SMALL)).fit(FLAT, Y)
    stream, undisturbed = numlstm.stream(pipeline), numlstm.stream(pipeline)
    for x_t in FLAT[0]:
        for wrong in (np.nan, np.inf):  # as the Pipeline refuses them: infinity is not clipped
            with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
                pipeline.predict(np.full((1, T), wrong))
            with pytest.raises(ValueError, match="x_t must be finite"):
                stream.step([wrong])
        assert stream.step([x_t]) == undisturbed.step([x_t])


class Own(StandardScaler):
    """May do anything."""


class OwnSequences(SequenceScaler):
    """May do anything, too."""


@pytest.mark.parametrize(
    ("scaler", "name"), [(PCA(), "PCA"), (Own(), "Own"), (OwnSequences(), "OwnSequences"), (PCA(2), "PCA")]
)
def test_other_transformers_are_named(scaler, name):
    pipeline = Pipeline([("odd one", scaler), ("lstm", LSTMRegressor(**SMALL))]).fit(FLAT, Y)
    message = (
        f"step 'odd one' of .* must be one of .*'StandardScaler'.*, got {name}: transform .*stream of the estimator"
    )
    with pytest.raises(ValueError, match=message):
        numlstm.stream(pipeline)


def test_what_must_come_last():
    with pytest.raises(ValueError, match="must end with an LSTMClassifier or LSTMRegressor, got step 'standardscaler'"):
        numlstm.stream(make_pipeline(StandardScaler()).fit(FLAT))
    with pytest.raises(ValueError, match="got step 'passthrough', 'passthrough'"):
        numlstm.stream(make_pipeline(StandardScaler(), "passthrough").fit(FLAT))
    targets = TransformedTargetRegressor(LSTMRegressor(**SMALL)).fit(FLAT, Y)
    with pytest.raises(ValueError, match="got step 'last', TransformedTargetRegressor"):
        numlstm.stream(Pipeline([("last", targets)]))
    for other in (targets, PCA(), None, [LSTMRegressor()]):
        with pytest.raises(TypeError, match=f"model must be a layer .*, got {type(other).__name__}$"):
            numlstm.stream(other)


def test_what_is_not_fitted():
    with pytest.raises(NotFittedError, match="StandardScaler"):
        numlstm.stream(make_pipeline(StandardScaler(), LSTMRegressor()))
    with pytest.raises(NotFittedError, match="SequenceScaler"):
        numlstm.stream(make_pipeline(SequenceScaler(), LSTMRegressor(**SMALL).fit(CUBE, Y)))
    with pytest.raises(NotFittedError, match="LSTMRegressor"):
        numlstm.stream(make_pipeline(SequenceScaler().fit(CUBE), LSTMRegressor()))


def test_what_no_stream_can_do():
    pipeline = make_pipeline(SequenceScaler(), LSTMRegressor(**SMALL | {"bidirectional": True})).fit(CUBE, Y)
    with pytest.raises(ValueError, match="bidirectional=False"):
        numlstm.stream(pipeline)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        numlstm.stream(make_pipeline(SequenceScaler(), LSTMRegressor(**SMALL)).fit(CUBE, Y), batch_size=0)


def test_threads_take_turns():
    """Each call is one whole step, whoever makes it: together they get what one caller would."""
    steps = 80
    X = RNG.normal(size=(8, steps)) + np.arange(steps)
    pipeline = make_pipeline(StandardScaler(), LSTMRegressor(**SMALL)).fit(X, Y[:8])
    alone, shared = numlstm.stream(pipeline), numlstm.stream(pipeline)
    expected = [float(alone.step([1.0])) for _ in range(steps)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            said = list(threads.map(lambda _: float(shared.step([1.0])), range(steps)))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(said) == sorted(expected)
