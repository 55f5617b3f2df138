"""Training on scaled channels, by networks that read channels as they come."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler

pytestmark = pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
RNG = np.random.default_rng(0)
X = [RNG.normal([0.0, 1013.0, 5.0], [1.0, 100.0, 0.01], size=(RNG.integers(2, 8), 3)) for _ in range(24)]
LABELS = np.array([x[-1, 1] > 1013 for x in X])
SCALED = SequenceScaler().fit_transform(X)
SMALL = {"hidden_size": 4, "max_iter": 2, "batch_size": 8, "random_state": 0, "dtype": "float64"}
ROUNDING = 1e-10  # of a few steps in float64, from parameters that differ by rounding
OPTIONS = [
    {},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
    {"cell": "rnn"},
    {"layer_norm": True},
    {"cell": "gru", "layer_norm": True},
    {"bidirectional": True, "num_layers": 2},
    {"proj_size": 2, "peepholes": True},
    {"input_gate": False, "preactivation_clip": 1.0},
    {"coupled_gates": True, "full_gate_recurrence": True},
]


def padded(arrays, fill=0.0):
    array = np.full((len(arrays), max(map(len, arrays)), 3), fill)
    for row, each in zip(array, arrays, strict=True):
        row[: len(each)] = each
    return array, np.array([*map(len, arrays)])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_is_learnt_is_what_a_scaler_before_it_gives(options):
    inside = LSTMClassifier(**SMALL, **options).fit(X, LABELS)
    before = LSTMClassifier(**SMALL, **options, scale_inputs=False).fit(SCALED, LABELS)
    for train in ("nothing", "partial_fit", "partial_fit", "fit"):
        if train != "nothing":
            getattr(inside.set_params(warm_start=True), train)(X, LABELS)
            getattr(before.set_params(warm_start=True), train)(SCALED, LABELS)
        np.testing.assert_allclose(inside.predict_proba(X), before.predict_proba(SCALED), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(inside.loss_curve_, before.loss_curve_, rtol=ROUNDING)


def test_a_scaler_before_it_changes_nothing():
    inside = LSTMClassifier(**SMALL).fit(X, LABELS)
    twice = LSTMClassifier(**SMALL).fit(SCALED, LABELS)
    np.testing.assert_allclose(twice.predict_proba(SCALED), inside.predict_proba(X), rtol=0, atol=ROUNDING)


def test_the_layers_read_what_comes():
    model = LSTMRegressor(**SMALL, pooling="last").fit(X, LABELS * 1.0)
    last = np.array([model.layers_[0](x)[0][-1] for x in X])
    by_hand = (last @ model.coef_.T + model.intercept_) * model.target_scale_ + model.target_mean_
    np.testing.assert_allclose(model.predict(X), by_hand[:, 0], rtol=ROUNDING)


def test_mean_and_deviation_are_of_all_steps():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    np.testing.assert_allclose(model.channel_mean_, np.concatenate(X).mean(axis=0))
    np.testing.assert_allclose(model.channel_scale_, np.concatenate(X).std(axis=0))
    with pytest.raises(ValueError, match="read-only"):
        model.channel_mean_[0] = 0
    plain = LSTMClassifier(**SMALL, scale_inputs=False).fit(X, LABELS)
    with pytest.raises(AttributeError, match="fitted without scale_inputs: it has no channel_scale_"):
        plain.channel_scale_  # noqa: B018


def test_padding_and_sequences_without_weight_do_not_count():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    array, lengths = padded(X, fill=1e30)
    other = LSTMClassifier(**SMALL).fit(array, LABELS, lengths=lengths)
    np.testing.assert_array_equal(other.channel_mean_, model.channel_mean_)
    np.testing.assert_array_equal(other.predict_proba(array, lengths=lengths), model.predict_proba(X))
    weights = np.ones(len(X) + 2)
    weights[-2:] = 0
    more = LSTMClassifier(**SMALL).fit([*X, X[0] * 1e3, X[1] * 1e3], [*LABELS, True, False], weights)
    np.testing.assert_array_equal(more.channel_scale_, model.channel_scale_)


def test_channels_that_hardly_change():
    steps = [np.stack([np.full(4, 7.0), RNG.normal(0, 1e-36, 4)], axis=1) for _ in range(8)]
    model = LSTMClassifier(**SMALL | {"dtype": "float32"}).fit(steps, np.arange(8) % 2)
    np.testing.assert_array_equal(model.channel_scale_, [1.0, 1.0])
    assert all(np.isfinite(each).all() for each in model.parameters.values())


@pytest.mark.parametrize("name", ["X", "X_val"])
def test_numbers_that_are_too_large(name):
    model = LSTMClassifier(**SMALL | {"dtype": "float32"}).fit(X, LABELS)
    was = model.predict_proba(X)
    huge = [np.full_like(x, (-1) ** k * 3e38) for k, x in enumerate(X)]
    given = {"X": X, "X_val": X, "y_val": LABELS} | {name: huge}
    if name == "X_val":
        given["X"] = [x * 1e-3 for x in X]
    with (
        pytest.warns(UserWarning, match="must be scaled as X") if name == "X_val" else pytest.MonkeyPatch.context(),
        pytest.raises(ValueError, match=f"{name} must be in the range of float32 when scaled"),
    ):
        model.fit(y=LABELS, **given)
    np.testing.assert_array_equal(model.predict_proba(X), was)


def test_validation_data_are_on_the_same_scale():
    model = LSTMClassifier(**SMALL).fit(X[8:], LABELS[8:], X_val=X[:8], y_val=LABELS[:8])
    assert model.validation_scores_[-1] == model.score(X[:8], LABELS[:8])
    expected = -model.predict_log_proba(X[:8])[np.arange(8), LABELS[:8].astype(int)].mean()
    np.testing.assert_allclose(model.validation_loss_curve_[-1], expected, rtol=ROUNDING)


def test_the_first_call_says_how():
    model = LSTMClassifier(**SMALL).partial_fit(X, LABELS, classes=[False, True])
    mean = model.channel_mean_.copy()
    model.partial_fit([x + 1e3 for x in X], LABELS)
    np.testing.assert_array_equal(model.channel_mean_, mean)
    plain = LSTMClassifier(**SMALL, scale_inputs=False).fit(X, LABELS)
    plain.set_params(scale_inputs=True, warm_start=True).fit(X, LABELS)
    assert not hasattr(plain, "channel_mean_")


@pytest.mark.parametrize("carry", ["file", "pickle"])
def test_files_and_pickles_go_on_alike(carry, tmp_path):
    model = LSTMClassifier(**SMALL).partial_fit(X, LABELS, classes=[False, True])
    if carry == "file":
        model.save(tmp_path / "model.safetensors")
        other = numlstm.load(tmp_path / "model.safetensors")
    else:
        other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.channel_scale_, model.channel_scale_)
    np.testing.assert_array_equal(
        other.partial_fit(X, LABELS).predict_proba(X), model.partial_fit(X, LABELS).predict_proba(X)
    )


def test_what_is_not_a_bool():
    with pytest.raises(TypeError, match="scale_inputs"):
        LSTMClassifier(**SMALL, scale_inputs="auto").fit(X, LABELS)
