"""Tables and matrices of other packages: taken where they are meant, refused with advice where they are not."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler

SMALL = {"hidden_size": 3, "max_iter": 2, "random_state": 0}


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 5)), np.arange(12) % 2


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_table_is_sequences_of_one_channel(table, frame):
    X, y = table
    columns = frame({f"t{i}": X[:, i] for i in range(5)})
    model = LSTMClassifier(**SMALL).fit(columns, y)
    plain = LSTMClassifier(**SMALL).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(columns), plain.predict_proba(X))
    if frame is pd.DataFrame:  # scikit-learn looks for names in pandas only
        assert model.feature_names_in_.tolist() == ["t0", "t1", "t2", "t3", "t4"]
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            model.predict(X)


@pytest.mark.parametrize("module", [pd, pl])
def test_labels_and_targets_may_be_series(table, module):
    X, y = table
    for estimator in (LSTMClassifier, LSTMRegressor):
        model, plain = estimator(**SMALL).fit(X, module.Series(y)), estimator(**SMALL).fit(X, y)
        assert model.loss_curve_ == plain.loss_curve_
    weighted = LSTMRegressor(**SMALL).fit(X, y, module.Series(np.arange(12.0)))
    assert weighted.loss_curve_ == LSTMRegressor(**SMALL).fit(X, y, np.arange(12.0)).loss_curve_


@pytest.mark.parametrize("module", [pd, pl])
@pytest.mark.parametrize("estimator", [LSTMClassifier(**SMALL), LSTMRegressor(**SMALL)])
def test_a_long_table_says_what_to_pass(module, estimator):
    frame = module.DataFrame({"sequence": [0, 0, 0, 1, 1], "value": [1.0, 2.0, 3.0, 4.0, 5.0]})
    with pytest.raises(
        ValueError, match=r"each row of a DataFrame is a sequence of one channel: .* numlstm.sequences_from_frame"
    ):
        estimator.fit(frame, [0, 1])


@pytest.mark.parametrize("estimator", [LSTMClassifier(**SMALL), LSTMRegressor(**SMALL), SequenceScaler()])
def test_a_sparse_matrix_says_what_to_pass(estimator):
    with pytest.raises(TypeError, match=r"X must be dense, got a sparse matrix: pass X.toarray\(\)"):
        estimator.fit(csr_array(np.eye(4)), [0, 1, 0, 1])


@pytest.mark.parametrize(
    "make",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(">f8"),
        lambda x: x.tolist(),
        lambda x: memoryview(x),
    ],
)
def test_layouts_of_arrays_do_not_matter(make):
    X, y = np.random.default_rng(0).normal(size=(12, 5, 2)), np.arange(12) % 2
    expected = LSTMClassifier(**SMALL).fit(X, y)
    found = LSTMClassifier(**SMALL).fit(make(X), y)
    assert found.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(found.predict_proba(make(X)), expected.predict_proba(X))


def test_a_read_only_array_stays_as_it_is():
    X = np.random.default_rng(0).normal(size=(12, 5, 2)).astype("float32")
    before = X.copy()
    X.flags.writeable = False
    LSTMClassifier(**SMALL).fit(X, np.arange(12) % 2).predict(X)
    SequenceScaler().fit_transform(X)
    np.testing.assert_array_equal(X, before)
