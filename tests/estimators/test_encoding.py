"""Categories in sequences: as scikit-learn's OneHotEncoder has them, in every form of X."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from numlstm import LSTMClassifier, SequenceEncoder, SequenceImputer, SequenceScaler

nan = np.nan
MIXED = [
    np.array([["rain", 3.5, 2], ["sun", 8, 1]], object), np.array([["fog", nan, 2]], object),
    np.array([["sun", None, 1], ["sun", -1.0, 3], ["rain", 0.0, 1]], object),
]  # fmt: skip


def draws(values, shape=(5, 4, 2), seed=0):
    return np.array(values, object)[np.random.default_rng(seed).integers(len(values), size=shape)]


@pytest.mark.parametrize(
    "X",
    [
        draws(["b", "a", "ü", ""]), draws(["b", "a"]).astype("U"), draws([3, 1, 2]).astype("int8"),
        draws([0.5, -1.5]).astype("float32"), draws([True, False]).astype(bool), draws(["x", None, "y", nan]),
        draws([1.0, nan, 2.0]).astype(float), draws([7, 5, None]), draws([7, 5.5, True]),
    ],
)  # fmt: skip
def test_one_hot_as_scikit_learn_does(X):
    theirs = OneHotEncoder(sparse_output=False)
    flat = X.reshape(-1, 2)
    expected = theirs.fit_transform(flat).reshape(*X.shape[:2], -1)
    encoder = SequenceEncoder()
    np.testing.assert_array_equal(encoder.fit_transform(X), expected)
    for ours, wanted in zip(encoder.categories_, theirs.categories_, strict=True):
        assert repr(ours.tolist()) == repr(wanted.tolist())
    assert encoder.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    ragged = [x[: 1 + k % 4] for k, x in enumerate(X)]
    for x, row in zip(encoder.transform(ragged), expected, strict=True):
        np.testing.assert_array_equal(x, row[: len(x)])


def test_the_dtype_of_results():
    assert SequenceEncoder().fit_transform(np.ones((2, 3, 1), np.float32)).dtype == np.float32
    assert SequenceEncoder().fit_transform(np.ones((2, 3, 1), np.int32)).dtype == np.float64
    assert SequenceEncoder(columns=[0]).fit_transform(MIXED)[0].dtype == np.float64


def test_channels_are_replaced_in_their_place():
    encoder = SequenceEncoder(columns=[2, 0]).fit(MIXED)
    assert encoder.columns_ == [2, 0]
    assert [each.tolist() for each in encoder.categories_] == [[1, 2, 3], ["fog", "rain", "sun"]]
    assert [each.dtype.kind for each in encoder.categories_] == ["i", "O"]
    encoded = encoder.transform(MIXED)
    np.testing.assert_array_equal(encoded[0], [[0, 1, 0, 3.5, 0, 1, 0], [0, 0, 1, 8, 1, 0, 0]])
    np.testing.assert_array_equal(encoded[1], [[1, 0, 0, nan, 0, 1, 0]])  # an imputer may come later
    assert np.isnan(encoded[2][0, 3])
    names = ["weather_fog", "weather_rain", "weather_sun", "wind", "day_1", "day_2", "day_3"]
    assert encoder.get_feature_names_out(["weather", "wind", "day"]).tolist() == names
    assert encoder.n_steps_seen_ == 6


def test_forms():
    flat = np.array([["a", "b"], ["b", "c"]])
    assert SequenceEncoder().fit_transform(flat).tolist() == [[[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]]]
    assert SequenceEncoder().fit_transform([["a", "b"], ["b"]])[1].tolist() == [[0, 1]]
    assert SequenceEncoder().fit_transform([flat[0], flat[1]])[1].tolist() == [[0, 1, 0], [0, 0, 1]]
    assert SequenceEncoder().fit(flat).get_feature_names_out().tolist() == ["x0_a", "x0_b", "x0_c"]
    assert SequenceEncoder().fit_transform(np.full((2, 3), "a")).tolist() == [[1, 1, 1], [1, 1, 1]]  # one channel stays
    rows = [[["a", 1.0]], [["b", 2.0], ["a", 3.0]]]  # plain lists, whose numbers stay numbers
    assert SequenceEncoder(columns=[0]).fit_transform(rows)[1].tolist() == [[0, 1, 2], [1, 0, 3]]
    texts = np.array([["a", "1.5"], ["b", "nan"]])  # an array of strings has its numbers as strings
    np.testing.assert_array_equal(SequenceEncoder(columns=[0]).fit_transform([texts])[0], [[1, 0, 1.5], [0, 1, nan]])
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(flat, columns=["t0", "t1"])
    np.testing.assert_array_equal(SequenceEncoder().fit_transform(frame), SequenceEncoder().fit_transform(flat))


def test_padding_takes_no_part():
    padded = np.empty((3, 3, 3), object)
    padded[...] = "padding"
    lengths = [len(x) for x in MIXED]
    for row, x in zip(padded, MIXED, strict=True):
        row[: len(x)] = x
    encoder = SequenceEncoder(columns=[0, 2]).fit(padded, lengths=lengths)
    expected = SequenceEncoder(columns=[0, 2]).fit_transform(MIXED)
    encoded = encoder.transform(padded, lengths=lengths)
    for row, x in zip(encoded, expected, strict=True):
        np.testing.assert_array_equal(row[: len(x)], x)
        assert not row[len(x) :].any()
    with pytest.raises(ValueError, match="lengths must be given with X"):
        encoder.transform(padded)


def test_categories_that_are_given():
    X = [np.array([["b", 1], ["a", 2]], object)]
    encoder = SequenceEncoder([["c", "b", "a"], np.array([2, 1])]).fit(X)
    assert encoder.transform(X)[0].tolist() == [[0, 1, 0, 0, 1], [0, 0, 1, 1, 0]]
    assert encoder.get_feature_names_out().tolist() == ["x0_c", "x0_b", "x0_a", "x1_2", "x1_1"]
    mixed = SequenceEncoder([["c", 1, None, nan]]).fit([np.array(["c", 1, nan, None], object)])
    assert mixed.transform([np.array([nan, None], object)])[0].tolist() == [[0, 0, 0, 1], [0, 0, 1, 0]]
    with pytest.raises(ValueError, match=r"X\[0\] at step 1 must have a known category in channel 0, got 'a'"):
        SequenceEncoder([["b"], [1, 2]]).fit(X)
    ignoring = SequenceEncoder([["b"], [1, 2]], handle_unknown="ignore")
    assert ignoring.fit_transform(X)[0].tolist() == [[1, 1, 0], [0, 0, 1]]


def test_unknown_categories():
    X = [np.array(["a", "b"]), np.array(["b"])]
    later = [np.array(["a"]), np.array(["b", "z"])]
    encoder = SequenceEncoder().fit(X)
    message = r"X\[1\] at step 1 must have a known category in channel 0, got 'z': handle_unknown='ignore'"
    with pytest.raises(ValueError, match=message):
        encoder.transform(later)
    ignoring = SequenceEncoder(handle_unknown="ignore").fit(X)
    assert [each.tolist() for each in ignoring.transform(later)] == [[[1, 0]], [[0, 1], [0, 0]]]
    for missing in (None, nan):
        assert ignoring.transform([np.array([missing], object)])[0].tolist() == [[0, 0]]
        with pytest.raises(ValueError, match="must have a known category"):
            encoder.transform([np.array([missing], object)])


def test_a_pipeline():
    y = ["p", "q", "p"]
    model = LSTMClassifier(hidden_size=3, max_iter=2, random_state=0, backend="reference")
    steps = SequenceEncoder(columns=[0, 2]), SequenceImputer(indicator=True), SequenceScaler("minmax")
    pipeline = make_pipeline(*steps, model).fit(MIXED, y)
    assert pipeline[-1].n_channels_ == 14
    assert pipeline.predict_proba(MIXED).shape == (3, 2)
    names = pipeline[:-1].get_feature_names_out(["weather", "wind", "day"])
    assert names[3] == "wind"
    assert names[7:9].tolist() == ["missingindicator_weather_fog", "missingindicator_weather_rain"]


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"handle_unknown": "warn"}, ValueError, "handle_unknown must be one of .* got 'warn'"),
        ({"columns": 0}, TypeError, "columns must be a list of integers, or None, got int"),
        ({"columns": [0.0]}, TypeError, r"columns\[0\] must be an integer"),
        ({"columns": [True]}, TypeError, r"columns\[0\] must be an integer"),
        ({"columns": [-1]}, ValueError, r"columns\[0\] must be at least 0"),
        ({"columns": [0, 0]}, ValueError, "columns must hold at least one channel, and none of them twice"),
        ({"columns": []}, ValueError, "columns must hold at least one channel"),
        ({"columns": [0, 3]}, ValueError, r"columns must be in 0\.\.2, the channels of X, got 3"),
        ({"categories": "all"}, ValueError, "categories must be one of .* got 'all'"),
        ({"categories": 3}, TypeError, "categories must be 'auto' or a list of lists, got int"),
        ({"categories": [3]}, TypeError, r"categories\[0\] must be a list of categories, got int"),
        ({"categories": [[]]}, ValueError, r"categories\[0\] must hold at least one category"),
        ({"categories": [["a", "a"]]}, ValueError, r"categories\[0\] must hold .* none of them twice"),
        ({"categories": [[nan, np.float32(nan)]]}, ValueError, r"categories\[0\] must hold .* none of them twice"),
        ({"categories": [[["a"]]]}, TypeError, r"categories\[0\] must hold strings, numbers, .* got list"),
        ({"categories": [["a"], ["b"]], "columns": [0]}, ValueError, "one list for each of 1 channels, got 2"),
    ],
)
def test_parameters_are_refused_by_name(parameters, error, message):
    encoder = SequenceEncoder(columns=[0, 2]).fit(MIXED)
    before = dict(vars(encoder)) | parameters
    with pytest.raises(error, match=message):
        encoder.set_params(**parameters).fit(MIXED)
    assert vars(encoder) == before


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([np.array([[{}, 1.0]], object)], TypeError,
         r"X\[0\] at step 0 must hold a category in channel 0: .* got dict"),
        ([np.array([["a", 1.0]], object), np.array([["a", 2.0], [b"b", 1.0]], object)], TypeError,
         r"X\[1\] at step 1 must hold a category in channel 0: .* got bytes"),
        ([np.array([["a", 1.0], [2, 1.0]], object)], TypeError, "either strings or numbers in channel 0"),
        ([np.array([["a", "b"]], object)], TypeError, r"X\[0\] at step 0 must hold a number in channel 1, .* got 'b'"),
        ([np.array([["a", 1.0]], object), np.array([["a", 1.0], ["a", []]], object)], TypeError,
         r"X\[1\] at step 1 must hold a number in channel 1"),
        ([np.array([["a", 1.0], ["a", np.inf]], object)], ValueError, r"X\[0\] at step 1 must be finite, or NaN, in"),
        ([np.array([["a", 1.0]], object), np.array([["a"]])], ValueError, r"X\[1\] has 1 features"),
        ([np.array([["a", 1.0]], object), np.empty((0, 2), object)], ValueError, r"X\[1\] must have shape"),
        (np.array("a"), TypeError, "X must hold numbers"), (None, TypeError, "X"),
    ],
)  # fmt: skip
def test_what_cannot_be_encoded(X, error, message):
    encoder = SequenceEncoder(columns=[0], handle_unknown="ignore").fit([np.array([["a", 1.0]], object)])
    before = dict(vars(encoder))
    with pytest.raises(error, match=message):
        encoder.fit(X).transform(X)
    if "columns" not in message and "number in" not in message and "finite" not in message:
        assert vars(encoder) == before


def test_other_channels_are_refused():
    encoder = SequenceEncoder(columns=[0, 2]).fit(MIXED)
    with pytest.raises(ValueError, match="X has 2 features at each step, but SequenceEncoder was fitted with 3"):
        encoder.transform([x[:, :2] for x in MIXED])
    with pytest.raises(NotFittedError):
        SequenceEncoder().transform(MIXED)
