"""Padded arrays taken apart, and channels put last."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler, as_channels_last, pad_sequences, split_padded

RNG = np.random.default_rng(0)
LENGTHS = [3, 1, 5, 5]
SEQUENCES = [RNG.normal(size=(length, 2)) for length in LENGTHS]
SMALL = {"hidden_size": 3, "max_iter": 1, "random_state": 0}


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# split_padded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, 0.0, -1, np.float32(np.nan), -np.inf])
def test_it_is_the_way_back_from_padding(value):
    same(split_padded(pad_sequences(SEQUENCES, value=float(value))[0], value), SEQUENCES)
    flat = [x[:, 0] for x in SEQUENCES]
    same(split_padded(pad_sequences(flat, value=float(value))[0], value), flat)


def test_only_whole_steps_at_the_end_are_padding():
    padded = pad_sequences(SEQUENCES, value=np.nan)[0]
    padded[0, 0] = padded[2, 1, 1] = padded[2, 4, 0] = padded[3, 4] = np.nan
    found = split_padded(padded)
    assert [len(x) for x in found] == [3, 1, 5, 4]
    assert np.isnan(found[0][0]).all()
    assert np.isnan(found[2][4]).tolist() == [True, False]


def test_types_stay_and_memory_is_new():
    X = np.array([[1, 2, 0], [3, 0, 0]], "int16")
    found = split_padded(X, value=0)
    same(found, [[1, 2], [3]])
    assert found[0].dtype == np.int16
    found[0][:] = 7
    assert X[0, 0] == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1.0, 2.0], [np.nan, np.nan]],), ValueError, r"X\[1\] must have a step that is not padding, got nan at all"),
        (([[1.0, 2.0], [0.0, 0.0]], 0), ValueError, r"X\[1\] must have a step that is not padding, got 0.0 at all"),
        ((np.zeros(3),), ValueError, r"X must have shape \(n, T, C\) or \(n, T\), got \(3,\)"),
        ((np.zeros((0, 3)),), ValueError, r"X must have shape .*, got \(0, 3\)"),
        (([["a"]],), TypeError, "X must hold real numbers"),
        ((np.zeros((2, 3)), None), TypeError, "value must be a number, got NoneType"),
    ],
)
def test_what_cannot_be_split(arguments, error, message):
    with pytest.raises(error, match=message):
        split_padded(*arguments)


@pytest.mark.parametrize("estimator", [LSTMClassifier(**SMALL), LSTMRegressor(**SMALL), SequenceScaler()])
@pytest.mark.parametrize("channels", [1, 2])
def test_estimators_tell_padding_from_gaps(estimator, channels):
    padded = pad_sequences([x[:, 0] if channels == 1 else x for x in SEQUENCES], value=np.nan)[0]
    with pytest.raises(ValueError, match=r"X must be finite, but contains NaN .* pass numlstm.split_padded\(X\)"):
        estimator.fit(padded, [0, 1, 0, 1])
    estimator.fit(split_padded(padded), [0, 1, 0, 1])
    padded[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN in step 1 of sequence 2: fill missing values.*numlstm.SequenceImputer"):
        estimator.fit(padded, [0, 1, 0, 1])
    whole = np.nan_to_num(padded)
    estimator.fit(whole, [0, 1, 0, 1])
    whole[1, 2:] = np.nan
    call = estimator.transform if isinstance(estimator, SequenceScaler) else estimator.predict
    with pytest.raises(ValueError, match="NaN after the ends of sequences"):
        call(whole)


def test_the_name_of_a_validation_set_is_told():
    padded = pad_sequences(SEQUENCES, value=np.nan)[0]
    with pytest.raises(ValueError, match=r"X_val must be finite, .* pass numlstm.split_padded\(X_val\)"):
        LSTMClassifier(**SMALL).fit(SEQUENCES, [0, 1, 0, 1], X_val=padded, y_val=[0, 1, 0, 1])


# as_channels_last -------------------------------------------------------------------------------------------


def test_arrays_and_lists_are_turned():
    X = RNG.normal(size=(4, 2, 5)).astype("float32")
    found = as_channels_last(X)
    np.testing.assert_array_equal(found, np.moveaxis(X, 1, 2))
    assert found.dtype == np.float32
    found[...] = 0
    assert X.all()
    same(as_channels_last([x.T for x in SEQUENCES]), SEQUENCES)
    objects = np.empty(4, object)
    objects[:] = [x.T for x in SEQUENCES]
    same(as_channels_last(objects), SEQUENCES)


@pytest.mark.parametrize("cell", [pd.Series, np.asarray, list])
def test_nested_tables(cell):
    nested = pd.DataFrame({f"dim_{k}": [cell(x[:, k]) for x in SEQUENCES] for k in range(2)})
    same(as_channels_last(nested), SEQUENCES)


def test_estimators_name_nested_tables():
    nested = pd.DataFrame({"dim_0": [pd.Series(x[:, 0]) for x in SEQUENCES]})
    with pytest.raises(ValueError, match=r"X must hold a number in each cell, got sequences: pass numlstm.as_channels"):
        LSTMClassifier(**SMALL).fit(nested, [0, 1, 0, 1])


def test_sktime_itself():
    converting = pytest.importorskip("sktime.datatypes")
    block = RNG.normal(size=(4, 2, 5))
    nested = converting.convert(block, "numpy3D", "nested_univ")
    same(as_channels_last(nested), as_channels_last(block))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((4, 5)), ValueError, r"X must have shape \(n, C, T\), got \(4, 5\)"),
        ([np.zeros((2, 5)), np.zeros((3, 5))], ValueError, r"X\[1\] must have shape \(C, T_i\), .*, got \(3, 5\)"),
        ([np.zeros(5)], ValueError, r"X\[0\] must have shape \(C, T_i\)"),
        ([], ValueError, "X must hold at least one sequence, got none"),
        (pd.DataFrame({"a": []}), ValueError, "X must hold at least one sequence, got none"),
        ("abc", TypeError, "X must hold real numbers, got str"),
        (pl.DataFrame({"a": [[1.0]]}), TypeError, "X must be a DataFrame of pandas"),
        (pd.DataFrame({"a": [1.0]}), ValueError, r"X\[0\] must have a Series of one length in each cell"),
        (
            pd.DataFrame({"a": [[1.0, 2.0]], "b": [[1.0]]}),
            ValueError,
            r"X\[0\] must have a Series of one length in each cell, got \[\(2,\), \(1,\)\]",
        ),
    ],
)
def test_what_cannot_be_turned(X, error, message):
    with pytest.raises(error, match=message):
        as_channels_last(X)
