"""Estimators inside scikit-learn's machinery, and the callbacks of both."""

import io
import pickle
import threading

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler
from numlstm.backends.cpu.machine import thread_count

SMALL = {"hidden_size": 4, "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def ragged():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(rng.integers(2, 7), 2)) for _ in range(40)]
    return X, np.array(["long" if len(x) > 4 else "short" for x in X])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_grid_search_of_a_pipeline_in_two_processes(ragged):
    X, y = ragged
    pipeline = make_pipeline(SequenceScaler(), LSTMClassifier(**SMALL))
    grid = {"lstmclassifier__hidden_size": [2, 4], "lstmclassifier__pooling": ["last", "mean"]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2).fit(X, y)
    alone = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(search.predict(X), alone.predict(X))


def test_workers_of_joblib_share_the_cores():
    counts = joblib.Parallel(n_jobs=2)(joblib.delayed(thread_count.default_threads)() for _ in range(2))
    assert sum(counts) <= max(2, len(thread_count.available_cores()))


def test_cross_validation_and_calibration(ragged):
    X, y = ragged
    assert cross_val_score(LSTMClassifier(**SMALL), X, y, cv=2).shape == (2,)
    assert cross_val_score(LSTMRegressor(**SMALL), X, [x.sum() for x in X], cv=2).shape == (2,)
    whole = np.random.default_rng(0).normal(size=(40, 5, 2))
    calibrated = CalibratedClassifierCV(LSTMClassifier(**SMALL), cv=2).fit(whole, y)
    np.testing.assert_allclose(calibrated.predict_proba(whole).sum(axis=1), 1)


def test_permutation_importance_finds_the_step_that_matters():
    X = np.random.default_rng(0).normal(size=(120, 4))
    model = LSTMRegressor(hidden_size=8, max_iter=60, random_state=0).fit(X, X[:, 2])
    found = permutation_importance(model, X, X[:, 2], n_repeats=2, random_state=0)
    assert found.importances_mean.argmax() == 2


@pytest.mark.usefixtures("routing")
def test_lengths_and_weights_are_routed():
    rng = np.random.default_rng(0)
    X, y, lengths = rng.normal(size=(30, 6, 2)), np.arange(30) % 2, rng.integers(1, 7, 30)
    weights = rng.uniform(size=30)
    model = LSTMClassifier(**SMALL)
    model.set_fit_request(sample_weight=True, lengths=True).set_score_request(sample_weight=True, lengths=True)
    spoilt = np.where(np.arange(6)[:, None] < lengths[:, None, None], X, 100.0)
    found = [
        cross_validate(model, each, y, cv=3, params={"lengths": lengths, "sample_weight": weights})["test_score"]
        for each in (X, spoilt)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("model", [LSTMClassifier(**SMALL), LSTMRegressor(**SMALL)])
def test_a_fitted_model_survives_pickle_and_joblib(ragged, model):
    X, y = ragged
    model = clone(model).fit(X, y == "long")
    expected = model.predict(X)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(buffer)):
        np.testing.assert_array_equal(copy.predict(X), expected)
        assert copy.get_params() == model.get_params()
    assert "LSTM" in model._repr_html_()


def test_several_threads_fit_and_predict_at_once(ragged):
    X, y = ragged
    model = LSTMClassifier(**SMALL).fit(X, y)
    expected, found = model.predict_proba(X), []

    def work():
        found.append(model.predict_proba(X))
        found.append(LSTMClassifier(**SMALL).fit(X, y).predict_proba(X))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 8
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_an_average_of_networks_is_scikit_learns(ragged):
    X, y = ragged
    members = [(f"seed {seed}", LSTMClassifier(**SMALL | {"random_state": seed})) for seed in range(3)]
    model = VotingClassifier(members, voting="soft", n_jobs=2).fit(X, y)
    each = [LSTMClassifier(**SMALL | {"random_state": seed}).fit(X, y).predict_proba(X) for seed in range(3)]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(each, axis=0), rtol=1e-6)


# Callbacks ------------------------------------------------------------------------------------------------


def test_a_callback_sees_each_epoch_and_stops_training(ragged):
    X, y = ragged
    seen = []

    def callback(progress):
        seen.append(progress)
        return progress.epoch == 2

    model = LSTMClassifier(
        **SMALL | {"max_iter": 9}, learning_rate="constant", learning_rate_init=0.005, callback=callback
    ).fit(X, y, X_val=X[:9], y_val=y[:9])
    assert [progress.epoch for progress in seen] == [1, 2]
    assert model.n_iter_ == 2
    assert [progress.loss for progress in seen] == model.loss_curve_
    assert [progress.validation_loss for progress in seen] == model.validation_loss_curve_
    assert [progress.validation_score for progress in seen] == model.validation_scores_
    assert seen[0].epochs == 9
    assert seen[0].learning_rate == 0.005
    assert 0 < seen[0].seconds < seen[1].seconds
    assert seen[1].sequences_per_second == pytest.approx(2 * 40 / seen[1].seconds)


def test_an_error_in_a_callback_leaves_the_model_as_it_was(ragged):
    def callback(progress):
        raise RuntimeError("enough")

    model = LSTMClassifier(**SMALL).fit(*ragged)
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="enough"):
        model.set_params(callback=callback).fit(*ragged)
    assert vars(model) == before | {"callback": callback}


sklearn_callbacks = pytest.mark.skipif(
    not hasattr(LSTMClassifier, "set_callbacks"), reason="this version of scikit-learn has no callbacks"
)


class Recorder:
    """A callback of scikit-learn's kind that stops after two epochs."""

    def __init__(self):
        self.events, self.scores = [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return context.task_id == 1


@sklearn_callbacks
def test_callbacks_of_scikit_learn_see_each_epoch_and_stop_training(ragged):
    recorder = Recorder()
    model = LSTMClassifier(**SMALL | {"max_iter": 9}).set_callbacks(recorder).fit(*ragged)
    assert model.n_iter_ == 2
    epoch = ["begin epoch", "end epoch"]
    assert recorder.events == ["setup", "begin fit", *epoch, *epoch, "end fit", "teardown"]
    assert recorder.scores[-1] == recorder.scores[-2] == model.score(*ragged)
    model.fit(*ragged)
    assert len(recorder.events) == 16


@sklearn_callbacks
def test_callbacks_of_scikit_learn_are_torn_down_after_an_error(ragged):
    recorder = Recorder()
    model = LSTMRegressor(**SMALL | {"learning_rate_init": 1e39, "clip_norm": None}).set_callbacks(recorder)
    with pytest.raises(FloatingPointError):
        model.fit(ragged[0], np.arange(40))
    assert recorder.events[-1] == "teardown"
