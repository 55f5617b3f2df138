"""Of no sequences, nothing is predicted, in the right shape; nothing is learnt, and sequences have steps."""

import numpy as np
import pandas as pd
import pytest

from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(12, 5, 2)), np.arange(12) % 3
LISTS = list(X)
SMALL = {"hidden_size": 3, "max_iter": 1, "random_state": 0}
NOTHING = [[], (), np.empty((0, 5, 2)), np.empty((0, 9, 2), "float32")]


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("labels", [LABELS, LABELS > 0, np.array(["u", "v", "w"])[LABELS]])
def test_of_classifiers(nothing, labels):
    model = LSTMClassifier(**SMALL, pooling="attention").fit(X, labels)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        found, some = getattr(model, method)(nothing), getattr(model, method)(X)
        assert found.shape == (0, *some.shape[1:])
        assert found.dtype == some.dtype
    assert model.attention_weights(nothing) == []
    with pytest.raises(ValueError, match="X must hold at least one sequence, got none"):
        model.trace(nothing)


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("targets", [np.ones(12), np.ones((12, 2)), np.eye(2)[RNG.integers(0, 2, 12)]])
def test_of_regressors(nothing, targets):
    model = LSTMRegressor(**SMALL).fit(X, targets)
    found = model.predict(nothing)
    assert found.shape == (0, *targets.shape[1:])
    assert found.dtype == model.predict(X).dtype


def test_of_regressors_of_steps():
    for targets in (X[:, :, :1], list(X[:, :, 0]), list(X)):
        model = LSTMRegressor(**SMALL).fit(X, targets)
        assert model.predict([]) == []
        found = model.predict(np.empty((0, 7, 2)))
        assert found.shape == (0, 7, np.shape(model.predict(X))[2])
        assert found.dtype == model.predict(X).dtype


def test_of_scalers():
    scaler = SequenceScaler().fit(X)
    for call in (scaler.transform, scaler.inverse_transform):
        assert call([]) == []
        for dtype in ("float32", "float64"):
            found = call(np.empty((0, 5, 2), dtype))
            assert found.shape == (0, 5, 2)
            assert found.dtype == dtype
    assert SequenceScaler().fit(X[:, :, 0]).transform(np.empty((0, 5))).shape == (0, 5)


def test_tables_of_no_rows():
    model = LSTMClassifier(**SMALL).fit(pd.DataFrame(X[:, :, 0], columns=list("abcde")), LABELS)
    assert model.predict(pd.DataFrame(np.empty((0, 5)), columns=list("abcde"))).shape == (0,)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(pd.DataFrame(np.empty((0, 5)), columns=list("abcdf")))


def test_shapes_are_checked_nevertheless():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    with pytest.raises(ValueError, match="X has 3 features at each step, but LSTMClassifier was fitted with 2"):
        model.predict(np.empty((0, 5, 3)))
    with pytest.raises(ValueError, match="X must have shape"):
        model.predict(np.empty((0, 5, 2, 1)))
    with pytest.raises(ValueError, match="X has 4 features, but LSTMClassifier is expecting 5"):
        LSTMClassifier(**SMALL).fit(X[:, :, 0], LABELS).predict(np.empty((0, 4)))


def test_lengths_of_nothing():
    model = LSTMClassifier(**SMALL).fit(X, LABELS, lengths=np.full(12, 4))
    assert model.predict([]).shape == model.predict(np.empty((0, 5, 2))).shape == (0,)
    assert model.predict(np.empty((0, 5, 2)), lengths=[]).shape == (0,)
    with pytest.raises(ValueError, match=r"lengths must have shape \(0,\)"):
        model.predict(np.empty((0, 5, 2)), lengths=[3])


@pytest.mark.parametrize("nothing", NOTHING)
def test_nothing_is_learnt_from_nothing(nothing):
    for estimator in (LSTMClassifier(**SMALL), LSTMRegressor(**SMALL), SequenceScaler()):
        with pytest.raises(ValueError, match=r"X|sample"):
            estimator.fit(nothing, [])
        assert not hasattr(estimator, "n_channels_")
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    with pytest.raises(ValueError, match="X must hold at least one sequence, got none"):
        model.partial_fit(nothing, [])
    with pytest.raises(ValueError, match="X_val must hold at least one sequence, got none"):
        model.fit(X, LABELS, X_val=nothing, y_val=[])


@pytest.mark.parametrize("estimator", [LSTMClassifier(**SMALL), LSTMRegressor(**SMALL), SequenceScaler()])
def test_sequences_have_steps(estimator):
    estimator.fit(X, LABELS)
    call = estimator.transform if isinstance(estimator, SequenceScaler) else estimator.predict
    for method in (call, lambda X, **given: estimator.fit(X, LABELS, **given)):
        with pytest.raises(ValueError, match=r"X\[3\] must have shape .* at least one step .*, got \(0, 2\)"):
            method([*LISTS[:3], X[3, :0], *LISTS[4:]])
        with pytest.raises(ValueError, match=r"lengths must be in 1\.\.5, the steps of X, got 0 for sequence 3"):
            method(X, lengths=[5, 5, 5, 0, *[5] * 8])
        with pytest.raises(ValueError, match=r"X must have shape|minimum of 1"):
            method(np.empty((12, 0, 2)))
