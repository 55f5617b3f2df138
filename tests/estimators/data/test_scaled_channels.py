"""Channels that are scaled in training, and alike wherever a model predicts."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor, SequenceScaler
from numlstm.io import to_onnx

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


def test_the_layers_read_scaled_channels():
    model = LSTMRegressor(**SMALL, pooling="last").fit(X, LABELS * 1.0)
    last = np.array([model.layers_[0]((x - model.channel_mean_) / model.channel_scale_)[0][-1] for x in X])
    by_hand = (last @ model.coef_.T + model.intercept_) * model.target_scale_ + model.target_mean_
    np.testing.assert_allclose(model.predict(X), by_hand[:, 0], rtol=ROUNDING)


def test_mean_and_deviation_are_of_all_steps():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    np.testing.assert_allclose(model.channel_mean_, np.concatenate(X).mean(axis=0))
    np.testing.assert_allclose(model.channel_scale_, np.concatenate(X).std(axis=0))
    with pytest.raises(ValueError, match="read-only"):
        model.channel_mean_[0] = 0
    plain = LSTMClassifier(**SMALL, scale_inputs=False).fit(X, LABELS)
    with pytest.raises(AttributeError, match="fitted without scale_inputs, so it has no channel_scale_"):
        plain.channel_scale_  # noqa: B018


def test_padding_and_sequences_without_weight_do_not_count():
    model = LSTMClassifier(**SMALL).fit(X, LABELS)
    array, lengths = padded(X, fill=np.finfo("float64").max)
    other = LSTMClassifier(**SMALL).fit(array, LABELS, lengths=lengths, X_val=array, y_val=LABELS, lengths_val=lengths)
    np.testing.assert_array_equal(other.channel_mean_, model.channel_mean_)
    np.testing.assert_array_equal(other.predict_proba(array, lengths=lengths), model.predict_proba(X))
    weights = np.ones(len(X) + 2)
    weights[-2:] = 0
    more = LSTMClassifier(**SMALL).fit([*X, X[0] * 1e3, X[1] * 1e3], [*LABELS, True, False], weights)
    np.testing.assert_array_equal(more.channel_scale_, model.channel_scale_)


@pytest.mark.parametrize("offset", [1e5, 1.7e9, 1e11])
@pytest.mark.parametrize("constant", [False, True])
def test_small_deviations_from_large_means(offset, constant):
    """Identifiers that are all the same, and seconds since 1970, are no worse than without their means."""
    rng = np.random.default_rng(1)
    small = rng.normal(0, 20, size=(60, 10, 1)).round()
    y = small[:, :, 0].mean(axis=1) > 0
    far = np.concatenate([small, np.full_like(small, offset)], axis=2) if constant else small + offset
    near = np.concatenate([small, np.zeros_like(small)], axis=2) if constant else small
    options = {"hidden_size": 8, "bidirectional": False, "random_state": 0}
    there, here = (LSTMClassifier(**options).fit(X, y) for X in (far, near))
    np.testing.assert_allclose(there.predict_proba(far), here.predict_proba(near), atol=1e-4)
    np.testing.assert_allclose(there.channel_scale_, here.channel_scale_, rtol=1e-6)
    stream = there.stream()
    for x_t in far[0]:
        streamed = stream.step(x_t)
    np.testing.assert_allclose(streamed, there.predict_proba(far[:1])[0], rtol=1e-5, atol=1e-7)
    for _ in range(3):
        there.set_params(learning_rate_init=1e-30).partial_fit(far, y)
    np.testing.assert_allclose(there.predict_proba(far), here.predict_proba(near), atol=1e-4)


def test_float32_and_float64_are_read_alike():
    far = np.float32(RNG.normal(1e6, 10.0, size=(24, 5, 2)))
    model = LSTMClassifier(**SMALL | {"dtype": "float32"}).fit(far, LABELS)
    expected = model.predict_proba(far)
    for other in (far.astype("float64"), [*far], [*far.astype("float64")]):
        np.testing.assert_array_equal(model.predict_proba(other), expected)


def test_onnx_models_scale_too():
    runtime = pytest.importorskip("onnxruntime")
    far = np.float32(RNG.normal(1e4, 10.0, size=(24, 5, 2)))
    model = LSTMClassifier(**SMALL | {"dtype": "float32"}).fit(far, LABELS)
    proto = to_onnx(model, lengths=False)
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(float)"
    probabilities = session.run(["probabilities"], {"x": far})[0]
    np.testing.assert_allclose(probabilities, model.predict_proba(far), rtol=1e-5)


def test_channels_of_any_size():
    small = RNG.normal(size=(24, 5, 2))
    expected = LSTMClassifier(**SMALL | {"dtype": "float32"}).fit(small, LABELS).predict_proba(small)
    for size in (1e-36, 1e36, 1e100):
        found = LSTMClassifier(**SMALL | {"dtype": "float32"}).fit(small * size, LABELS).predict_proba(small * size)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_numbers_that_are_too_large():
    model = LSTMClassifier(**SMALL | {"dtype": "float32", "bidirectional": False}).fit(X, LABELS)
    was = model.predict_proba(X)
    huge = [np.full_like(x, 1e39) for x in X]
    with pytest.raises(ValueError, match=r"X\[0\] must be in the range of float32 when scaled"):
        model.predict(huge)
    with (
        pytest.warns(UserWarning, match="must be scaled like X"),
        pytest.raises(ValueError, match=r"X_val\[0\] must be in the range of float32 when scaled"),
    ):
        model.fit(X, LABELS, X_val=huge, y_val=LABELS)
    stream = model.stream()
    with pytest.raises(ValueError, match=r"x_t must be finite, but contains .* a number too large for float32"):
        stream.step(huge[0][0])
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
