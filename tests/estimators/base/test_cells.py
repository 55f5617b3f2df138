"""Estimators of every cell and option: they learn, refuse what makes no sense, and show their gates."""

import pickle
import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from numlstm import LSTMClassifier, LSTMRegressor

RNG = np.random.default_rng(0)
X = [RNG.normal(size=(RNG.integers(3, 9), 2)) for _ in range(200)]
Y = np.array([x[:, 0].sum() > 0 for x in X])
SMALL = {"hidden_size": 12, "max_iter": 30, "learning_rate_init": 0.02, "random_state": 0}
OPTIONS = [
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False, "zoneout": 0.1},
    {"cell": "rnn"},
    {"cell": "rnn", "nonlinearity": "relu", "bidirectional": True, "merge": "sum"},
    {"peepholes": True, "layer_norm": True, "cell_clip": 5.0},
    {"coupled_gates": True, "proj_size": 6, "zoneout": (0.05, 0.1)},
    {"full_gate_recurrence": True, "recurrent_dropout": 0.1},
    {"input_gate": False, "output_activation": "identity", "init": "chrono"},
    {"hidden_size": [12, 8], "dropout": 0.1, "input_dropout": 0.05, "weight_dropout": 0.1},
    {"num_layers": 2, "residual": True, "bidirectional": True, "merge": "mean", "pooling": "attention"},
    {"activity_regularization": 0.1, "temporal_activity_regularization": 0.1, "pooling": "mean"},
    {"recurrent_dropout": 0.1, "recurrent_dropout_mode": "candidate", "forget_bias": 2.0},
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


@every_option
def test_they_learn_and_repeat_to_the_bit(options):
    model = LSTMClassifier(**SMALL | options).fit(X[:160], Y[:160])
    assert model.score(X[160:], Y[160:]) > 0.8
    again = clone(model).fit(X[:160], Y[:160])
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))


@every_option
def test_regressors_take_them_too(options):
    totals = [x.cumsum(axis=0) for x in X]
    options = {name: value for name, value in options.items() if name != "pooling"}
    model = LSTMRegressor(**SMALL | options, batch_size=8).fit(X[:160], totals[:160])
    assert model.score(X[160:], totals[160:]) > 0.3


def test_the_layer_is_of_the_cell():
    for cell in ("lstm", "gru", "rnn"):
        model = LSTMClassifier(cell=cell, hidden_size=4, max_iter=1, bidirectional=False).fit(X, Y)
        assert type(model.layers_[0]).__name__ == cell.upper()
        assert repr(model.layers_[0]) == f"{cell.upper()}(2, 4)"


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_prediction_is_what_the_layer_and_the_affine_map_make(pooling):
    options = {"num_layers": 2, "residual": True, "bidirectional": True, "merge": "mean", "dtype": "float64",
               "scale_inputs": False}  # fmt: skip
    model = LSTMRegressor(**SMALL | options, pooling=pooling, scale_targets=False).fit(X, Y.astype(float))
    layer = model.layers_[0]
    for x, predicted in zip(X[:5], model.predict(X[:5]), strict=True):
        y, (h_n, _) = layer(x)
        # residual: the last layer's output is the sum of both layers' states, each a mean of two directions
        features = y.mean(axis=0) if pooling == "mean" else h_n.sum(axis=0) / 2
        assert predicted == pytest.approx(features @ model.coef_[0] + model.intercept_[0], rel=1e-10)


def test_trace_is_that_of_the_layer():
    model = LSTMClassifier(
        cell="gru", num_layers=2, hidden_size=5, bidirectional=False, scale_inputs=False, max_iter=2, random_state=0
    ).fit(X, Y)
    trace = model.trace(X[:7])
    assert list(trace) == ["reset_gate", "update_gate", "candidate", "hidden_state"]
    assert trace.update_gate.shape == (2, 7, max(map(len, X[:7])), 5)
    assert trace.lengths.tolist() == [len(x) for x in X[:7]]
    one = model.layers_[0].trace(X[3])
    np.testing.assert_allclose(trace.update_gate[:, 3, : len(X[3])], one.update_gate, rtol=1e-5, atol=1e-6)
    with pytest.raises(NotFittedError):
        LSTMClassifier().trace(X)


def test_grid_search_over_cells():
    search = GridSearchCV(LSTMClassifier(hidden_size=6, max_iter=3), {"cell": ["lstm", "gru", "rnn"]}, cv=2).fit(X, Y)
    assert search.best_params_["cell"] in ("lstm", "gru", "rnn")


def test_what_a_gate_that_is_off_does_not_use_is_not_trained():
    model = LSTMClassifier(input_gate=False, peepholes=True, full_gate_recurrence=True, alpha=1.0, **SMALL)
    before = LSTMClassifier(**model.get_params() | {"learning_rate_init": 1e-30, "max_iter": 1}).fit(X, Y)
    after = model.fit(X, Y)
    for name, rows in [("weight_ih_l0", 4), ("weight_hh_l0", 4), ("peephole_l0", 3), ("weight_gates_l0", 3)]:
        old, new = (fit.layers_[0].parameters[name].reshape(rows, 12, -1) for fit in (before, after))
        np.testing.assert_array_equal(new[0], old[0])
        assert (new[1:] != old[1:]).any(axis=-1).all()


IDLE = [  # options that have nothing to act on, and what they amount to
    ({"cell": "gru", "peepholes": True, "cell_clip": 1.0, "forget_bias": 2.0}, {"cell": "gru"}),
    ({"cell": "rnn", "reset_after": False, "recurrent_activation": "relu"}, {"cell": "rnn"}),
    ({"nonlinearity": "relu", "reset_after": False}, {}),
    ({"cell": "gru", "zoneout": (0.1, 0.2)}, {"cell": "gru", "zoneout": 0.1}),
    ({"cell": "rnn", "init": "chrono", "proj_size": 3}, {"cell": "rnn"}),
    ({"forget_gate": False, "init": "chrono", "forget_bias": 1.0}, {"forget_gate": False}),
    ({"recurrent_dropout_mode": "candidate"}, {}),
    ({"dropout": 0.5, "residual": True}, {}),
    ({"merge": "sum", "bidirectional": False}, {"bidirectional": False}),
    ({"input_gate": False, "forget_gate": False, "output_gate": False, "peepholes": True},
     {"input_gate": False, "forget_gate": False, "output_gate": False}),
    ({"learning_rate": "one_cycle", "warm_up": 0.5}, {"learning_rate": "one_cycle"}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "same"), IDLE, ids=[str(options) for options, _ in IDLE])
def test_options_that_have_nothing_to_act_on_are_left_aside(options, same):
    model, expected = (LSTMClassifier(**SMALL | {"max_iter": 2} | each).fit(X, Y) for each in (options, same))
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    assert repr(model.layers_) == repr(expected.layers_)
    assert model.get_params() == LSTMClassifier(**SMALL | {"max_iter": 2} | options).get_params()


def test_a_grid_may_combine_them():
    grid = {"cell": ["lstm", "gru", "rnn"], "num_layers": [1, 2], "dropout": [0.0, 0.2], "reset_after": [True, False]}
    model = LSTMClassifier(**SMALL | {"max_iter": 1})
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, Y)
    assert len(search.cv_results_["params"]) == 24


REFUSED = [
    ({"cell": "LSTM"}, "cell must be one of ['lstm', 'gru', 'rnn'], got 'LSTM'"),
    ({"cell": "gru", "peepholes": 3}, "peepholes must be True or False, got 3"),
    ({"proj_size": 12}, "proj_size=12 and hidden_size=12 do not go together"),
    ({"init": "chrono", "forget_bias": 1.0}, "forget_bias=1.0 and init=('chrono', 8) do not go together"),
    ({"activity_regularization": -1.0}, "activity_regularization must be in [0.0, inf), got -1.0"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_makes_no_sense_is_refused_at_fit_and_changes_nothing(options, message):
    model = LSTMClassifier(**SMALL).fit(X, Y)
    expected = model.predict_proba(X)
    model.set_params(**options)
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
