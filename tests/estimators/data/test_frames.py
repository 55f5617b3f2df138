"""Long tables, lists of tables and tables with an index of sequences: what people have data in."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler, sequences_from_frame

SMALL = {"hidden_size": 3, "max_iter": 2, "random_state": 0}
FRAMES = [pd.DataFrame, pl.DataFrame]
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 6, 12)
SEQUENCES = [RNG.normal(size=(length, 2)) for length in LENGTHS]
LABELS = np.arange(12) % 2
NUMBERS = RNG.normal(size=12)


def long(frame, **more):
    """Rows of three interleaved sequences, not in the order of time."""
    columns = {
        "id": ["b", "a", "b", "c", "a", "b"],
        "time": [2, 5, 1, 7, 3, 9],
        "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "n": [10, 20, 30, 40, 50, 60],
    }
    return frame(columns | more)


# sequences_from_frame ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", FRAMES)
def test_rows_become_sequences(frame):
    sequences, keys, y = sequences_from_frame(long(frame))
    assert keys == ["b", "a", "c"]
    assert y is None
    expected = [[[3, 30], [1, 10], [6, 60]], [[5, 50], [2, 20]], [[4, 40]]]
    for found, own in zip(sequences, expected, strict=True):
        np.testing.assert_array_equal(found, own)
        assert found.dtype == np.float64


@pytest.mark.parametrize("frame", FRAMES)
def test_the_order_of_rows_stays(frame):
    sequences = sequences_from_frame(long(frame), sort_by=None, columns=["n", "x"]).sequences
    np.testing.assert_array_equal(sequences[0], [[10, 1], [30, 3], [60, 6]])
    same_time = sequences_from_frame(long(frame, time=[1, 1, 1, 1, 1, 0]), columns="n").sequences
    np.testing.assert_array_equal(same_time[0], [[60], [10], [30]])


@pytest.mark.parametrize("frame", FRAMES)
def test_several_columns_make_a_key(frame):
    table = long(frame, ward=[1, 1, 2, 1, 1, 2])
    sequences, keys, _ = sequences_from_frame(table, by=["id", "ward"])
    assert keys == [("b", 1), ("a", 1), ("b", 2), ("c", 1)]
    assert [len(each) for each in sequences] == [1, 2, 2, 1]
    assert sequences_from_frame(table, by=np.array(["id", "ward"])).keys == keys
    assert sequences_from_frame(table, by=["id"], columns="x").keys == [("b",), ("a",), ("c",)]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_target_of_sequences(frame):
    for target in (["u", "v", "u", "w", "v", "u"], [1, 0, 1, 5, 0, 1], [0.5, 2.0, 0.5, 3.0, 2.0, 0.5]):
        found = sequences_from_frame(long(frame, label=target), target="label")
        np.testing.assert_array_equal(found.y, [target[0], target[1], target[3]])
        assert found.sequences[0].shape == (3, 2)
    LSTMClassifier(**SMALL).fit(found.sequences, found.y > 1)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_target_of_steps(frame):
    sequences, _, y = sequences_from_frame(long(frame, load=[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]), target="load")
    for found, expected in zip(y, [[3, 1, 6.5], [5, 2], [4]], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [each.shape for each in LSTMRegressor(**SMALL).fit(sequences, y).predict(sequences)] == [(3,), (2,), (1,)]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_missing_target_is_as_good_as_another(frame):
    y = sequences_from_frame(long(frame, load=[None, 2, None, 4, 2, None]), target="load").y
    np.testing.assert_array_equal(y, [np.nan, 2, 4])
    steps = sequences_from_frame(long(frame, load=[None, 2, 1, 4, 2, None]), target="load").y
    np.testing.assert_array_equal(steps[0], [1, np.nan, np.nan])
    assert sequences_from_frame(long(frame, load=[None, "u", None, "v", "u", None]), target="load").y.tolist() == [
        None, "u", "v",
    ]  # fmt: skip


@pytest.mark.parametrize("frame", FRAMES)
def test_missing_numbers_are_nan_and_refused_later(frame):
    found = sequences_from_frame(long(frame, n=[10, None, 30, 40, 50, 60]))
    np.testing.assert_array_equal(found.sequences[1], [[5, 50], [2, np.nan]])
    with pytest.raises(ValueError, match=r"X\[1\] must be finite, .*numlstm.SequenceImputer"):
        LSTMClassifier(**SMALL).fit(found.sequences, [0, 1, 0])


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    "times",
    [
        pd.to_datetime(["2024-01-02", "2024-01-05", "2024-01-01", "2024-01-07", "2024-01-03", "2024-01-09"]),
        ["2", "5", "1", "7", "3", "9"],
        [2.5, 5.5, 1.5, 7.5, 3.5, 9.5],
        [2, 5, -1, 7, 3, 9],
    ],
)
def test_times_of_any_kind(frame, times):
    sequences = sequences_from_frame(long(frame, time=times)).sequences
    np.testing.assert_array_equal(sequences[0][:, 0], [3, 1, 6])
    np.testing.assert_array_equal(sequences[1][:, 0], [5, 2])


def test_types_of_pandas():
    table = long(pd.DataFrame, ok=[True, False] * 3).astype({"n": "Int64", "x": "Float32", "ok": "boolean"})
    table["id"] = table["id"].astype("category")
    table["time"] = pd.Categorical(["mo", "we", "fr", "tu", "fr", "tu"], ["mo", "tu", "we", "fr"], ordered=True)
    table.loc[0, "ok"] = pd.NA
    sequences, keys, _ = sequences_from_frame(table)
    assert keys == ["b", "a", "c"]
    np.testing.assert_array_equal(sequences[0], [[1, 10, np.nan], [6, 60, 0], [3, 30, 1]])
    assert sequences_from_frame(table, columns="x").sequences[0].dtype == np.float32
    assert sequences_from_frame(table, target="n", columns="x").y[0].tolist() == [10, 60, 30]


def test_types_of_polars():
    schema = {"n": pl.UInt8, "x": pl.Float32, "id": pl.Categorical}
    table = long(pl.DataFrame, ok=[True, False, None] * 2).cast(schema)
    sequences, keys, _ = sequences_from_frame(table)
    assert keys == ["b", "a", "c"]
    np.testing.assert_array_equal(sequences[0], [[3, 30, np.nan], [1, 10, 1], [6, 60, np.nan]])
    assert sequences_from_frame(table, columns="x").sequences[0].dtype == np.float32
    decimal = sequences_from_frame(table.cast({"n": pl.Decimal(10, 2)}), columns="n").sequences[0]
    np.testing.assert_array_equal(decimal, [[30], [10], [60]])


def test_labels_that_are_no_text():
    table = pd.DataFrame({0: [7, 7, 8], 1: [2, 1, 1], 2: [0.5, 1.5, 2.5]})
    sequences, keys, _ = sequences_from_frame(table, by=0, sort_by=1)
    assert keys == [7, 8]
    np.testing.assert_array_equal(sequences[0], [[1.5], [0.5]])


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    ("more", "arguments", "error", "message"),
    [
        ({}, {"by": "patient"}, ValueError, r"by must name columns of frame, \['id', .*\], got 'patient'"),
        ({}, {"by": None}, ValueError, "by must name columns of frame, .* got None"),
        ({}, {"by": []}, ValueError, "by must name at least one column"),
        ({}, {"sort_by": "t"}, ValueError, "sort_by must name columns .* got 't'; sort_by=None keeps the order"),
        ({}, {"columns": ["x", "z"]}, ValueError, "columns must name columns of frame, .* got 'z'"),
        ({}, {"target": "label"}, ValueError, "target must name columns of frame, .* got 'label'"),
        ({}, {"columns": []}, ValueError, "frame must have a column for each channel, got none"),
        (
            {"id": ["b", None] * 3},
            {},
            ValueError,
            "by must name columns with a value in every row, got none in row 1 of",
        ),
        ({"time": [1.0, 2.0, float("nan"), 1.0, 2.0, 3.0]}, {}, ValueError, "sort_by must .* none in row 2 of 'time'"),
        (
            {"ward": list("uvwxyz")},
            {},
            TypeError,
            "frame must hold numbers, got column 'ward' of dtype .*: leave it out",
        ),
    ],
)
def test_what_is_wrong_is_named(frame, more, arguments, error, message):
    with pytest.raises(error, match=message):
        sequences_from_frame(long(frame, **more), **arguments)


def test_what_is_no_long_table_is_named():
    with pytest.raises(TypeError, match="frame must be a DataFrame of pandas or polars, got dict"):
        sequences_from_frame({"id": [1], "time": [1]})
    with pytest.raises(ValueError, match="frame must have at least one row"):
        sequences_from_frame(long(pd.DataFrame)[:0])
    with pytest.raises(ValueError, match=r"it is in the index: pass frame.reset_index\(\)"):
        sequences_from_frame(long(pd.DataFrame).set_index("id"))
    twice = long(pd.DataFrame).set_axis(["id", "time", "x", "x"], axis=1)
    with pytest.raises(ValueError, match="frame must have columns with different names, got 'x' twice"):
        sequences_from_frame(twice)
    lists = long(pd.DataFrame, of_lists=[[1]] * 6)
    with pytest.raises(TypeError, match="by must name columns of numbers, text or times, got 'of_lists'"):
        sequences_from_frame(lists, by="of_lists", columns="x")
    with pytest.raises(TypeError, match="target must name a column with one value in each row, got 'of_lists'"):
        sequences_from_frame(lists, target="of_lists")
    mixed = long(pd.DataFrame, time=[1, "a", 2, 3, 4, 5])
    with pytest.raises(TypeError, match="sort_by must name a column whose values can be compared, got 'time'"):
        sequences_from_frame(mixed)


# Lists of tables --------------------------------------------------------------------------------------------


def tables(frame, names=("a", "b")):
    return [frame(dict(zip(names, x.T, strict=True))) for x in SEQUENCES]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("estimator", "y"), [(LSTMClassifier, LABELS), (LSTMRegressor, NUMBERS)])
def test_a_list_of_tables_is_a_list_of_arrays(frame, estimator, y):
    found, expected = estimator(**SMALL).fit(tables(frame), y), estimator(**SMALL).fit(SEQUENCES, y)
    assert found.loss_curve_ == expected.loss_curve_
    assert found.feature_names_in_.tolist() == ["a", "b"]
    assert found.n_features_in_ == 2
    assert not hasattr(expected, "feature_names_in_")
    np.testing.assert_array_equal(found.predict(tables(frame)), expected.predict(SEQUENCES))
    assert found.score(tables(frame), y) == expected.score(SEQUENCES, y)


@pytest.mark.parametrize("frame", FRAMES)
def test_scalers_take_tables_and_give_arrays(frame):
    scaler, expected = SequenceScaler().fit(tables(frame)), SequenceScaler().fit(SEQUENCES)
    assert scaler.feature_names_in_.tolist() == ["a", "b"]
    for found, own in zip(scaler.transform(tables(frame)), expected.transform(SEQUENCES), strict=True):
        np.testing.assert_array_equal(found, own)
    with pytest.raises(ValueError, match=r"in the same order: \['a', 'b'\], got \['b', 'a'\]"):
        scaler.transform(tables(frame, "ba"))
    pipeline = make_pipeline(SequenceScaler(), LSTMClassifier(**SMALL))
    with warnings.catch_warnings(action="error"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_val_score(pipeline, tables(frame), LABELS, cv=3, error_score="raise")
    np.testing.assert_array_equal(scores, cross_val_score(pipeline, SEQUENCES, LABELS, cv=3))


@pytest.mark.parametrize("frame", FRAMES)
def test_names_are_compared(frame):
    model = LSTMClassifier(**SMALL).fit(tables(frame), LABELS)
    for call in (model.predict, model.trace, lambda X: model.partial_fit(X, LABELS)):
        with pytest.raises(ValueError, match=r"in the same order: \['a', 'b'\], got \['b', 'a'\]: pass frame\[list"):
            call(tables(frame, "ba"))
        with pytest.raises(ValueError, match=r"X must have the feature names .* \['a', 'b'\], got \['a', 'c'\]$"):
            call(tables(frame, "ac"))
    with pytest.raises(ValueError, match=r"X_val must have the feature names .* \['a', 'b'\], got \['b', 'a'\]"):
        model.fit(tables(frame), LABELS, X_val=tables(frame, "ba"), y_val=LABELS)
    for X in (SEQUENCES, np.zeros((2, 4, 2))):
        with pytest.warns(UserWarning, match="X does not have valid feature names, but LSTMClassifier was fitted with"):
            model.predict(X)
    with pytest.warns(UserWarning, match="X has feature names, but LSTMClassifier was fitted without"):
        model.fit(SEQUENCES, LABELS).predict(tables(frame))
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("frame", FRAMES)
def test_tables_of_one_list_agree(frame):
    model = LSTMClassifier(**SMALL)
    odd = tables(frame)
    odd[3] = odd[3][["b", "a"]]
    with pytest.raises(
        ValueError, match=r"X\[3\] must have the columns of X\[0\] in the same order, \['a', 'b'\], got"
    ):
        model.fit(odd, LABELS)
    odd[3] = SEQUENCES[3]
    with pytest.raises(TypeError, match=r"X\[3\] must be a DataFrame like others in X, got ndarray"):
        model.fit(odd, LABELS)
    odd[3] = frame({"a": ["u"], "b": [1.0]})
    with pytest.raises(TypeError, match=r"X\[3\] must hold numbers, got column 'a' of dtype"):
        model.fit(odd, LABELS)
    odd[3] = tables(frame)[3][:0]
    with pytest.raises(ValueError, match=r"X\[3\] must have shape .* at least one step .*, got \(0, 2\)"):
        model.fit(odd, LABELS)
    assert vars(model) == vars(LSTMClassifier(**SMALL))


def test_numbers_of_columns_are_no_names():
    plain = [pd.DataFrame(x) for x in SEQUENCES]
    assert not hasattr(LSTMClassifier(**SMALL).fit(plain, LABELS), "feature_names_in_")
    mixed = [each.set_axis(["a", 1], axis=1) for each in plain]
    with pytest.raises(TypeError, match="X must have column names that are all strings, or no string among them"):
        LSTMClassifier(**SMALL).fit(mixed, LABELS)


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
@pytest.mark.parametrize("model", [LSTMClassifier(**SMALL), SequenceScaler()])
def test_files_keep_names(tmp_path, ending, model):
    path = tmp_path / f"model.{ending}"
    numlstm.save(model.fit(tables(pd.DataFrame), LABELS), path)
    loaded = numlstm.load(path)
    assert loaded.feature_names_in_.tolist() == ["a", "b"]
    call = loaded.transform if isinstance(model, SequenceScaler) else loaded.predict
    call(tables(pd.DataFrame))
    with pytest.raises(ValueError, match="in the same order"):
        call(tables(pd.DataFrame, "ba"))


# Tables with an index of sequences --------------------------------------------------------------------------


def indexed(order=None):
    """All steps in one table; the first sequences are the last by name."""
    pairs = [(f"s{99 - i}", t) for i, x in enumerate(SEQUENCES) for t in range(len(x))]
    index = pd.MultiIndex.from_tuples(pairs, names=["sequence", "time"])
    table = pd.DataFrame(np.concatenate(SEQUENCES), index, ["a", "b"])
    return table if order is None else table.iloc[order]


def test_rows_of_an_indexed_table_are_steps():
    model, expected = LSTMClassifier(**SMALL).fit(indexed(), LABELS), LSTMClassifier(**SMALL).fit(SEQUENCES, LABELS)
    assert model.loss_curve_ == expected.loss_curve_
    assert model.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(model.predict_proba(indexed()), expected.predict_proba(SEQUENCES))
    by_time = np.argsort(indexed().index.get_level_values(1), kind="stable")  # sequences side by side
    np.testing.assert_array_equal(model.predict_proba(indexed(by_time)), model.predict_proba(indexed()))
    scaled = SequenceScaler().fit_transform(indexed())
    np.testing.assert_array_equal(scaled[2], SequenceScaler().fit_transform(SEQUENCES)[2])
    with pytest.raises(ValueError, match=r"y must have 12 entries, one for each sequence of X, got 11$"):
        LSTMClassifier(**SMALL).fit(indexed(), LABELS[:-1])


def test_an_indexed_series_is_one_channel():
    model = LSTMClassifier(**SMALL).fit(indexed()["a"], LABELS)
    assert model.loss_curve_ == LSTMClassifier(**SMALL).fit([x[:, 0] for x in SEQUENCES], LABELS).loss_curve_
    assert SequenceScaler().fit_transform(indexed()["a"])[0].shape == SEQUENCES[0].shape[:1]


def test_indexed_targets_are_of_steps():
    table = indexed()
    model = LSTMRegressor(**SMALL).fit(table, table["a"])
    expected = LSTMRegressor(**SMALL).fit(SEQUENCES, [x[:, 0] for x in SEQUENCES])
    assert model.loss_curve_ == expected.loss_curve_
    assert model.score(table, table["a"]) == expected.score(SEQUENCES, [x[:, 0] for x in SEQUENCES])
    assert [each.shape for each in model.predict(table)] == [(length,) for length in LENGTHS]
    with pytest.raises(ValueError, match="y must have the index of X, because both have rows for steps"):
        model.fit(table, table["a"][::-1])


def test_what_is_wrong_with_an_index_is_named():
    model = LSTMClassifier(**SMALL)
    with pytest.raises(ValueError, match=r"X must have its steps in the order of time, .* 's\d+' .*sort_index\(\)"):
        model.fit(indexed(np.arange(LENGTHS.sum())[::-1]), LABELS)
    deep = pd.concat({"hospital": indexed()})
    with pytest.raises(ValueError, match=r"X must have an index of two levels, \(sequence, time\), got 3"):
        model.fit(deep, LABELS)


def test_columns_of_strings_in_an_index_are_categories_in_the_order_of_time():
    model, table = LSTMClassifier(**SMALL), indexed().astype({"b": str})
    assert [*model.fit(table, LABELS).vocabularies_] == ["b"]
    with pytest.raises(ValueError, match=r"X must have its steps in the order of time"):
        model.fit(table[::-1], LABELS)


# Axes with names --------------------------------------------------------------------------------------------


class Array:
    """As little of xarray's DataArray as is needed."""

    def __init__(self, values, *dims):
        self.values, self.dims = values, dims

    def transpose(self, *dims):
        return Array(self.values.transpose([self.dims.index(dim) for dim in dims]), *dims)


BLOCK = RNG.normal(size=(12, 5, 2))
PROBABILITIES = LSTMClassifier(**SMALL).fit(BLOCK, LABELS).predict_proba(BLOCK)


@pytest.mark.parametrize(
    ("order", "dims"),
    [
        ((0, 1, 2), ("case", "time", "channel")),
        ((0, 2, 1), ("Sample", "Variable", "Time")),
        ((2, 1, 0), ("features", "steps", "instances")),
        ((1, 0, 2), ("timestep", "sequence", "channel")),
        ((2, 0, 1), ("station", "case", "time")),  # the third is what the others leave
        ((0, 1, 2), ("x", "y", "z")),
        ((0, 1, 2), ("x", "time", "z")),
    ],
)
def test_axes_are_put_in_order_by_name(order, dims):
    X = Array(BLOCK.transpose(order), *dims)
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    np.testing.assert_array_equal(model.predict_proba(X), PROBABILITIES)
    np.testing.assert_array_equal(SequenceScaler().fit_transform(X), SequenceScaler().fit_transform(BLOCK))
    steps = LSTMRegressor(**SMALL).fit(X, BLOCK[:, :, :1])
    assert steps.predict(X).shape == (12, 5, 1)


@pytest.mark.parametrize(
    "dims",
    [("x", "y", "time"), ("case", "case_", "case"), ("time", "step", "case"), ("channel", "x", "y")],
)
def test_names_that_leave_the_order_open_are_refused(dims):
    with pytest.raises(ValueError, match=r"X must have the dimensions \(sequence, step, channel\), got \('"):
        LSTMClassifier(**SMALL).fit(Array(BLOCK, *dims), LABELS)


def test_axes_of_tables_and_of_lists():
    table = LSTMClassifier(**SMALL).fit(Array(BLOCK[:, :, 0].T, "time", "case"), LABELS)
    assert table.loss_curve_ == LSTMClassifier(**SMALL).fit(BLOCK[:, :, 0], LABELS).loss_curve_
    with pytest.raises(
        ValueError, match=r"X must have the dimensions \(sequence, step\), .* pass a single sequence as \[x\]"
    ):
        table.predict(Array(BLOCK[0], "time", "channel"))
    lists = LSTMClassifier(**SMALL).fit([Array(x.T, "channel", "time") for x in SEQUENCES], LABELS)
    assert lists.loss_curve_ == LSTMClassifier(**SMALL).fit(SEQUENCES, LABELS).loss_curve_


def test_axes_with_names_and_lengths():
    lengths = RNG.integers(1, 6, 12)
    X = Array(BLOCK.transpose(2, 1, 0), "channel", "time", "case")
    model, expected = (LSTMClassifier(**SMALL).fit(each, LABELS, lengths=lengths) for each in (X, BLOCK))
    assert model.loss_curve_ == expected.loss_curve_
    found = LSTMRegressor(**SMALL).fit(X, BLOCK[:, :, :1], lengths=lengths).predict(X, lengths=lengths)
    assert not found[np.arange(5) >= lengths[:, None]].any()


def test_xarray_itself():
    xarray = pytest.importorskip("xarray")
    X = xarray.DataArray(BLOCK.transpose(2, 0, 1), dims=("channel", "case", "time"))
    np.testing.assert_array_equal(LSTMClassifier(**SMALL).fit(X, LABELS).predict_proba(X), PROBABILITIES)


# What PyTorch packs -----------------------------------------------------------------------------------------


def test_packed_sequences():
    torch = pytest.importorskip("torch")
    packed = torch.nn.utils.rnn.pack_sequence([torch.from_numpy(x) for x in SEQUENCES], enforce_sorted=False)
    model = LSTMClassifier(**SMALL).fit(packed, LABELS)
    assert model.loss_curve_ == LSTMClassifier(**SMALL).fit(SEQUENCES, LABELS).loss_curve_
    np.testing.assert_array_equal(model.predict_proba(packed), model.predict_proba(SEQUENCES))
    with pytest.raises(ValueError, match="lengths must be None if X is a list"):
        model.predict(packed, lengths=LENGTHS)
