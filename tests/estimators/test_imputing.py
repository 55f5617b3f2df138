"""Missing values of sequences: each method against a plain loop, in every form of X."""

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from numlstm import LSTMClassifier, LSTMRegressor, SequenceImputer, SequenceScaler, pad_sequences

nan = np.nan
METHODS = ["forward", "interpolate", "mean", "median", "constant"]


def with_holes(rng, shape):
    x = rng.normal(3.0, 20.0, shape)
    x[rng.random(shape) < 0.5] = nan
    return x


@pytest.fixture
def ragged():
    """Sequences with holes anywhere: at either end, all of a channel, none."""
    rng = np.random.default_rng(0)
    return [
        *(with_holes(rng, (n, 2)) for n in (1, 2, 3, 5, 8, 8, 13)),
        np.array([[1.0, nan], [2.0, nan]]),
        np.ones((3, 2)),
    ]


def plainly(x, method, statistic):
    """One channel of one sequence, filled."""
    known = [t for t in range(len(x)) if not np.isnan(x[t])]
    if method == "interpolate" and known:
        return np.interp(range(len(x)), known, x[known])
    filled = []
    for value in x:
        last = filled[-1] if method == "forward" and filled else statistic
        filled.append(last if np.isnan(value) else value)
    return np.array(filled)


@pytest.mark.parametrize("first", METHODS)
@pytest.mark.parametrize("second", ["forward", "median", "interpolate"])
def test_each_method_is_what_a_loop_gives(first, second, ragged):
    imputer = SequenceImputer((first, second), fill_value=[-7.5, 0.25]).fit(ragged)
    steps = np.concatenate(ragged)
    for k, method in enumerate((first, second)):
        expected = {"median": np.nanmedian(steps[:, k]), "constant": -7.5}.get(method, np.nanmean(steps[:, k]))
        assert imputer.statistics_[k] == pytest.approx(expected, rel=1e-12)
    assert imputer.methods_ == [first, second]
    assert imputer.n_steps_seen_ == len(steps)
    filled = imputer.transform(ragged)
    assert len(filled) == len(ragged)
    for x, ours in zip(ragged, filled, strict=True):
        for k, method in enumerate((first, second)):
            np.testing.assert_allclose(ours[:, k], plainly(x[:, k], method, imputer.statistics_[k]), rtol=1e-12)


def test_values_in_numbers():
    X = [np.array([nan, 2.0, nan, nan, 8.0, nan]), np.array([nan])]
    assert [each.tolist() for each in SequenceImputer().fit_transform(X)] == [[5.0, 2.0, 2.0, 2.0, 8.0, 8.0], [5.0]]
    filled = SequenceImputer("interpolate").fit_transform(X)
    assert [each.tolist() for each in filled] == [[2.0, 2.0, 4.0, 6.0, 8.0, 8.0], [5.0]]
    assert SequenceImputer("constant", fill_value=-1).fit_transform(X)[0].tolist() == [-1, 2, -1, -1, 8, -1]


def test_one_value_for_all_channels_is_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    X = with_holes(rng, (6, 5, 3))
    for method in ("mean", "median", "constant"):
        ours = SequenceImputer(method, fill_value=4.0).fit_transform(X).reshape(-1, 3)
        fill_value = 4.0 if method == "constant" else None
        np.testing.assert_allclose(
            ours, SimpleImputer(strategy=method, fill_value=fill_value).fit_transform(X.reshape(-1, 3))
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("indicator", [False, True])
def test_padding_takes_no_part(method, indicator, ragged):
    padded, lengths = pad_sequences(ragged, value=1e6)
    padded[0, 1:] = nan  # whatever it is
    from_list = SequenceImputer(method, indicator=indicator).fit(ragged)
    from_array = SequenceImputer(method, indicator=indicator).fit(padded, lengths=lengths)
    np.testing.assert_array_equal(from_list.statistics_, from_array.statistics_)
    filled = from_array.transform(padded, lengths=lengths)
    assert filled.shape == (*padded.shape[:2], 4 if indicator else 2)
    for x, row, length in zip(from_list.transform(ragged), filled, lengths, strict=True):
        np.testing.assert_array_equal(row[:length], x)
        assert not row[length:].any()
    with pytest.raises(ValueError, match="lengths must be given with X, because SequenceImputer was fitted with"):
        from_array.transform(padded)


def test_the_indicator_says_where_a_value_was_missing(ragged):
    imputer = SequenceImputer(indicator=True).fit([np.ones((2, 2))])
    for x, both in zip(ragged, imputer.transform(ragged), strict=True):
        np.testing.assert_array_equal(both[:, 2:], np.isnan(x))
        assert not np.isnan(both).any()
    flat = np.array([[1.0, nan, 3.0]])
    assert SequenceImputer(indicator=True).fit_transform(flat).tolist() == [[[1, 0], [1, 1], [3, 0]]]
    assert SequenceImputer(indicator=True).fit_transform([flat[0], flat[0, :1]])[1].tolist() == [[1, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_forms_and_types(dtype):
    X = with_holes(np.random.default_rng(2), (4, 5, 2)).astype(dtype)
    before = X.copy()
    for given in (X, X[:, :, 0], [*X], [*X[:, :, 1]]):
        filled = SequenceImputer("interpolate").fit_transform(given)
        assert type(filled) is type(given)
        assert np.shape(filled) == np.shape(given)
        assert {each.dtype for each in filled} == {np.dtype("float32" if dtype == np.float32 else "float64")}
        assert np.isfinite(filled).all()
        known = ~np.isnan(np.array(given))
        np.testing.assert_array_equal(np.array(filled)[known], np.array(given)[known])
    np.testing.assert_array_equal(X, before)


def test_names():
    X = np.array([[[1.0, nan], [2.0, 3.0]]])
    assert SequenceImputer().fit(X).get_feature_names_out().tolist() == ["x0", "x1"]
    imputer = SequenceImputer(indicator=True).fit(X)
    assert imputer.get_feature_names_out(["a", "b"]).tolist() == ["a", "b", "missingindicator_a", "missingindicator_b"]
    with pytest.raises(ValueError, match="input_features should have length equal to"):
        imputer.get_feature_names_out(["a"])
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[0], columns=["t0", "t1"])
    imputer = SequenceImputer().fit(frame)
    assert imputer.get_feature_names_out().tolist() == ["t0", "t1"]
    assert imputer.transform(frame).tolist() == [[1, 1], [2, 3]]
    assert SequenceImputer(indicator=True).fit(frame).get_feature_names_out().tolist() == ["x0", "missingindicator_x0"]
    with pytest.raises(NotFittedError):
        SequenceImputer().get_feature_names_out()


def test_pipelines_and_searches(ragged):
    y = np.arange(len(ragged)) % 2
    model = LSTMClassifier(hidden_size=3, max_iter=2, random_state=0, backend="reference")
    pipeline = make_pipeline(SequenceImputer(indicator=True), SequenceScaler(), model).fit(ragged, y)
    imputer = SequenceImputer(indicator=True).fit(ragged)
    scaled = SequenceScaler().fit_transform(imputer.transform(ragged))
    alone = clone(model).fit(scaled, y)
    np.testing.assert_array_equal(pipeline.predict_proba(ragged), alone.predict_proba(scaled))
    X = with_holes(np.random.default_rng(3), (8, 4))
    regressor = LSTMRegressor(hidden_size=3, max_iter=2, random_state=0, backend="reference")
    search = GridSearchCV(
        make_pipeline(SequenceImputer(), regressor), {"sequenceimputer__method": METHODS}, cv=2, error_score="raise"
    ).fit(X, np.arange(8.0))
    assert search.predict(X).shape == (8,)


def test_the_parameters_of_fit_count(ragged):
    imputer = SequenceImputer("mean").fit(ragged)
    before = imputer.transform(ragged)
    imputer.set_params(method="constant", indicator=True, fill_value=99.0)
    for ours, theirs in zip(imputer.transform(ragged), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"method": "backward"}, ValueError, "method must be one of .*'forward', 'interpolate', .* got 'backward'"),
        ({"method": None}, ValueError, "method must be one of"),
        ({"method": ["mean", "odd"]}, ValueError, r"method\[1\] must be one of .* got 'odd'"),
        (
            {"method": ["mean"]},
            ValueError,
            "method must be one value for all channels, or a list with one for each of 2, got 1",
        ),
        ({"indicator": 1}, TypeError, "indicator must be True or False, got 1"),
        ({"fill_value": nan}, ValueError, "fill_value must be in .* got nan"),
        ({"fill_value": -np.inf}, ValueError, "fill_value must be in .* got -inf"),
        ({"fill_value": "0"}, TypeError, "fill_value must be a number, got str"),
        ({"fill_value": [0.0, np.inf]}, ValueError, r"fill_value\[1\] must be in"),
        ({"fill_value": [0.0] * 3}, ValueError, "fill_value must be one value for all channels, .* each of 2, got 3"),
    ],
)
def test_parameters_are_refused_by_name(parameters, error, message, ragged):
    imputer = SequenceImputer().fit(ragged)
    before = copy.copy(vars(imputer)) | parameters
    with pytest.raises(error, match=message):
        imputer.set_params(**parameters).fit(ragged)
    assert vars(imputer) == before


@pytest.mark.parametrize("method", ["forward", "interpolate", "mean", "median"])
def test_a_channel_without_values_is_named(method, ragged):
    empty = [np.c_[x[:, 0], np.full(len(x), nan)] for x in ragged]
    imputer = SequenceImputer().fit(ragged)
    before = dict(vars(imputer))
    with pytest.raises(ValueError, match="X must have a value in channel 1, but all 45 steps are NaN"):
        imputer.set_params(method=method).fit(empty)
    assert vars(imputer) == before | {"method": method}
    filled = SequenceImputer([method, "constant"], fill_value=2.5).fit_transform(empty)
    assert all((x[:, 1] == 2.5).all() for x in filled)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([np.ones((2, 2)), np.array([[1.0, np.inf]])], ValueError,
         r"X\[1\] must be finite or NaN, but contains infinity"),
        (np.full((2, 3, 2), np.inf), ValueError, "X contains infinity"),
        (np.full((2, 3), -np.inf), ValueError, "infinity"),
        ([np.array([["a", "b"]])], TypeError, r"X\[0\] must hold real numbers"),
    ],
)  # fmt: skip
def test_what_is_neither_a_number_nor_missing(X, error, message, ragged):
    imputer = SequenceImputer().fit(ragged)
    before = dict(vars(imputer))
    for method in (imputer.fit, imputer.transform):
        with pytest.raises(error, match=message):
            method(X)
    assert vars(imputer) == before


def test_others_still_refuse_nan(ragged):
    padded, lengths = pad_sequences(ragged)
    for model in (SequenceScaler(), LSTMClassifier(max_iter=1), LSTMRegressor(max_iter=1)):
        with pytest.raises(ValueError, match=r"X\[0\] must be finite, but contains NaN|X\[1\] must be finite, but"):
            model.fit(ragged, np.arange(len(ragged)))
        with pytest.raises(ValueError, match="X must be finite, but contains NaN in step"):
            model.fit(padded, np.arange(len(ragged)), lengths=lengths)


def test_other_channels_are_refused(ragged):
    imputer = SequenceImputer().fit(ragged)
    with pytest.raises(ValueError, match="X has 1 features at each step, but SequenceImputer was fitted with 2"):
        imputer.transform([x[:, :1] for x in ragged])
    with pytest.raises(NotFittedError):
        SequenceImputer().transform(ragged)
