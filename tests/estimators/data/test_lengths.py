"""Lengths that an estimator was fitted with are asked for ever after: padding is never read as data."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(2, 9, 60)
LISTS = [RNG.normal(size=(length, 1)) for length in LENGTHS]
PADDED = RNG.normal(size=(60, 8, 1))  # what lies past a length matters to whoever reads it
for row, own in zip(PADDED, LISTS, strict=True):
    row[: len(own)] = own
LABELS = np.array([int(own[-1, 0] > 0) for own in LISTS])
SMALL = {"hidden_size": 6, "max_iter": 10, "random_state": 0}
ASKED = "lengths must be given with X, because LSTMClassifier was fitted with a padded array and its lengths"


@pytest.mark.parametrize("name", ["predict", "predict_proba", "decision_function", "trace"])
def test_a_padded_array_without_its_lengths_is_refused(name):
    model = LSTMClassifier(**SMALL).fit(PADDED, LABELS, lengths=LENGTHS)
    for X in (PADDED, PADDED[:, :, 0], PADDED[:1]):
        with pytest.raises(ValueError, match=ASKED):
            getattr(model, name)(X)
    if name != "trace":
        expected = getattr(model, name)(LISTS)
        np.testing.assert_array_equal(getattr(model, name)(PADDED, lengths=LENGTHS), expected)


def test_scores_and_validation_sets_are_no_exception():
    model = LSTMClassifier(**SMALL).fit(PADDED, LABELS, lengths=LENGTHS)
    with pytest.raises(ValueError, match=ASKED):
        model.score(PADDED, LABELS)
    with pytest.raises(
        ValueError, match=r"lengths_val must be given with X_val, .*: pass lengths_val=, or pass X_val as a"
    ):
        model.fit(PADDED, LABELS, lengths=LENGTHS, X_val=PADDED, y_val=LABELS)
    assert model.score(PADDED, LABELS, lengths=LENGTHS) == model.score(LISTS, LABELS)


def test_the_last_fit_decides():
    model = LSTMClassifier(**SMALL).fit(PADDED, LABELS, lengths=LENGTHS)
    with pytest.raises(ValueError, match=ASKED):
        clone(model).fit(PADDED, LABELS, lengths=LENGTHS).predict(PADDED)
    assert model.fit(PADDED, LABELS).predict(PADDED).shape == (60,)
    assert model.fit(LISTS, LABELS).predict(PADDED).shape == (60,)


def test_partial_fit_remembers_them_too():
    model = LSTMClassifier(**SMALL).partial_fit(LISTS, LABELS, classes=[0, 1])
    model.predict(PADDED)
    model.partial_fit(PADDED, LABELS, lengths=LENGTHS)
    for call in (model.predict, lambda X: model.partial_fit(X, LABELS)):
        with pytest.raises(ValueError, match=ASKED):
            call(PADDED)
    assert model.partial_fit(LISTS, LABELS).predict(LISTS).shape == (60,)


def test_files_keep_that(tmp_path):
    for model in (LSTMClassifier(**SMALL), SequenceScaler()):
        method = "predict" if isinstance(model, LSTMClassifier) else "transform"
        for X, lengths in ((PADDED, LENGTHS), (LISTS, None), (PADDED, None)):
            model.fit(X, LABELS, lengths=lengths).save(tmp_path / "model.safetensors")
            loaded = numlstm.load(tmp_path / "model.safetensors")
            if lengths is None:
                getattr(loaded, method)(PADDED)
            else:
                with pytest.raises(ValueError, match="lengths must be given with X"):
                    getattr(loaded, method)(PADDED)


def test_scalers_ask_for_them():
    scaler = SequenceScaler().fit(PADDED, lengths=LENGTHS)
    for method in (scaler.transform, scaler.inverse_transform):
        with pytest.raises(ValueError, match="lengths must be given with X, because SequenceScaler was fitted with"):
            method(PADDED)
    assert scaler.fit(PADDED).transform(PADDED).shape == PADDED.shape


def test_regressors_ask_for_them():
    model = LSTMRegressor(**SMALL).fit(PADDED, PADDED, lengths=LENGTHS)
    with pytest.raises(ValueError, match="because LSTMRegressor was fitted with a padded array"):
        model.predict(PADDED)
    with pytest.raises(ValueError, match="because LSTMRegressor was fitted with a padded array"):
        model.score(PADDED, PADDED)


def test_a_grid_search_never_scores_padding():
    grid = {"hidden_size": [6]}
    expected = GridSearchCV(LSTMClassifier(**SMALL), grid, cv=3).fit(LISTS, LABELS)
    with pytest.raises(ValueError, match=ASKED):
        GridSearchCV(LSTMClassifier(**SMALL), grid, cv=3, error_score="raise").fit(PADDED, LABELS, lengths=LENGTHS)
    with pytest.warns(UserWarning, match=ASKED):  # scikit-learn's default: a warning, and no score
        search = GridSearchCV(LSTMClassifier(**SMALL), grid, cv=3).fit(PADDED, LABELS, lengths=LENGTHS)
    assert np.isnan(search.cv_results_["mean_test_score"]).all()
    with sklearn.config_context(enable_metadata_routing=True):
        model = LSTMClassifier(**SMALL).set_fit_request(lengths=True).set_score_request(lengths=True)
        routed = GridSearchCV(model, grid, cv=3).fit(PADDED, LABELS, lengths=LENGTHS)
        scores = cross_val_score(model, PADDED, LABELS, cv=3, params={"lengths": LENGTHS})
    names = [f"split{k}_test_score" for k in range(3)]
    found = [routed.cv_results_[name][0] for name in names]
    assert found == scores.tolist() == [expected.cv_results_[name][0] for name in names]


def test_a_pipeline_asks_for_them():
    pipeline = make_pipeline(SequenceScaler(), LSTMClassifier(**SMALL))
    pipeline.fit(PADDED, LABELS, sequencescaler__lengths=LENGTHS, lstmclassifier__lengths=LENGTHS)
    with pytest.raises(ValueError, match="lengths must be given with X"):
        pipeline.predict(PADDED)
    assert pipeline.predict(LISTS).shape == (60,)


def test_a_warm_start_asks_for_them():
    model = LSTMClassifier(**SMALL, warm_start=True).fit(PADDED, LABELS, lengths=LENGTHS)
    expected = model.predict_proba(LISTS)
    with pytest.raises(ValueError, match=ASKED):
        model.fit(PADDED, LABELS)
    np.testing.assert_array_equal(model.predict_proba(LISTS), expected)
    model.fit(LISTS, LABELS)
    with pytest.raises(ValueError, match=ASKED):
        model.predict(PADDED)
