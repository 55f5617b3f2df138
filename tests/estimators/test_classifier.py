"""The first estimator: learns, predicts, repeats, survives errors, and says what is wrong with its input."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score, train_test_split

from numlstm import BackendUnavailableError, LSTMClassifier
from numlstm.backends.cpu.machine import thread_count, threads
from numlstm.training.optimizers import Adam

SMALL = {"hidden_size": 8, "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return train_test_split(pixels.reshape(-1, 8, 8) / 16, labels, test_size=0.25, stratify=labels, random_state=0)


@pytest.fixture
def ragged():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(rng.integers(1, 7), 2)) for _ in range(30)]
    return X, ["long" if len(x) > 3 else "short" for x in X]


def padded(X):
    lengths = np.array([len(x) for x in X])
    whole = np.zeros((len(X), lengths.max(), X[0].shape[1]))
    for row, x in zip(whole, X, strict=True):
        row[: len(x)] = x
    return whole, lengths


def test_reads_handwritten_digits(digits):
    train, test, train_labels, test_labels = digits
    model = LSTMClassifier(max_iter=30, n_iter_no_change=None, random_state=0).fit(train, train_labels)
    assert model.score(test, test_labels) >= 0.97
    assert model.loss_curve_[-1] < 0.1 * model.loss_curve_[0]
    assert model.n_iter_ == len(model.loss_curve_) == model.max_iter
    assert model.best_loss_ == model.loss_curve_[-1]
    assert model.backend_ == "cpu"


def test_probabilities_belong_to_the_labels(ragged):
    X, y = ragged
    model = LSTMClassifier(hidden_size=8, max_iter=60, random_state=0).fit(X, y)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert model.classes_.tolist() == ["long", "short"]
    np.testing.assert_array_equal(model.predict(X), model.classes_[probabilities.argmax(axis=1)])
    assert model.score(X, y) > 0.9


def test_scores_are_the_layers_and_the_affine_map(ragged):
    X, y = ragged
    model = LSTMClassifier(**SMALL, num_layers=2, pooling="last", scale_inputs=False).fit(X, y)
    _, (h, _) = model.layers_[0](X)
    scores = np.concatenate(h[-2:], axis=1) @ model.coef_.T + model.intercept_
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), rtol=1e-5)


def test_every_form_of_x_gives_the_same_model(ragged):
    X, y = ragged
    whole, lengths = padded(X)
    expected = LSTMClassifier(**SMALL).fit(X, y)
    objects = np.empty(len(X), object)
    objects[:] = X
    for form, keywords in ((tuple(X), {}), (objects, {}), (whole, {"lengths": lengths})):
        model = LSTMClassifier(**SMALL).fit(form, y, **keywords)
        assert model.loss_curve_ == expected.loss_curve_
        np.testing.assert_array_equal(model.predict_proba(form, **keywords), expected.predict_proba(X))
    one_channel = LSTMClassifier(**SMALL).fit(whole[:, :, 0], y)
    assert one_channel.loss_curve_ == LSTMClassifier(**SMALL).fit(whole[:, :, :1], y).loss_curve_
    assert one_channel.n_features_in_ == whole.shape[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pooling", ["last", "attention"])
def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads(ragged, dtype, pooling, monkeypatch):
    monkeypatch.setattr(threads, "WORK_PER_THREAD", 1.0)
    X, y = ragged
    found = []
    for count in (1, 2, 4):
        with thread_count.limit_threads(count):
            model = LSTMClassifier(**SMALL, num_layers=2, dropout=0.3, dtype=dtype, pooling=pooling).fit(X, y)
            found.append((model.loss_curve_, model.predict_proba(X).tobytes()))
    assert found[0] == found[1] == found[2]
    assert model.coef_.dtype == dtype


def test_trains_alike_on_the_reference_backend(ragged):
    X, y = ragged
    keywords = SMALL | {"dtype": "float64", "dropout": 0.2, "num_layers": 2}
    cpu, reference = (LSTMClassifier(**keywords, backend=name).fit(X, y) for name in ("cpu", "reference"))
    np.testing.assert_allclose(cpu.loss_curve_, reference.loss_curve_, rtol=1e-9)
    assert reference.backend_ == "reference"


def test_an_unseeded_fit_leaves_global_random_state_alone(ragged):
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    LSTMClassifier(hidden_size=2, max_iter=1).fit(*ragged)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_pickles_clones_and_cross_validates(ragged):
    X, y = ragged
    model = LSTMClassifier(**SMALL).fit(X, y)
    model.predict(X)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert not hasattr(clone(model), "classes_")
    assert cross_val_score(LSTMClassifier(**SMALL), X, y, cv=2).shape == (2,)


def test_a_failed_fit_changes_nothing(ragged):
    X, y = ragged
    model = LSTMClassifier(**SMALL).fit(X, y)
    before = model.predict_proba(X)
    names = set(vars(model))
    for wrong in (([x[:, :1] * np.nan for x in X], y), (X, y[:-1]), (padded(X)[0], ["same"] * len(y))):
        with pytest.raises(ValueError, match=r"X|y"):
            model.fit(*wrong)
    with pytest.raises(FloatingPointError, match="lower learning_rate_init"):
        model.set_params(learning_rate_init=1e39, clip_norm=None, max_iter=20).fit(X, y)
    assert set(vars(model)) == names
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_ctrl_c_keeps_what_was_learnt(ragged, monkeypatch):
    X, y = ragged
    advance = Adam.advance

    def interrupted(self, learning_rate):
        if self.steps == 3:
            raise KeyboardInterrupt
        advance(self, learning_rate)

    monkeypatch.setattr(Adam, "advance", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = LSTMClassifier(**SMALL | {"max_iter": 50, "batch_size": 30}).fit(X, y)
    assert model.n_iter_ == 3
    assert model.predict(X).shape == (len(X),)


def test_verbose_shows_losses_score_and_rate_where_asked(ragged, capsys):
    X, y = ragged
    for verbose, epochs in ((0, []), (False, []), (1, [1, 3]), (True, [1, 3]), (2, [1, 2, 3])):  # no terminal here
        LSTMClassifier(**SMALL, verbose=verbose).fit(X, y, X_val=X, y_val=y)
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0] for line in lines] == [f"epoch {epoch}/3" for epoch in epochs]
        for line in lines:
            assert all(figure in line for figure in (": loss ", ", validation loss ", ", score ", " sequences/s"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"hidden_size": 2.5}, "hidden_size must be an integer, got float"),
        ({"num_layers": -1}, "num_layers must be at least 1, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_iter": True}, "max_iter must be an integer or 'auto', got True"),
        ({"bidirectional": "yes"}, "bidirectional must be True or False, got 'yes'"),
        ({"dropout": 1.0}, r"dropout must be in \[0.0, 1.0\), got 1.0"),
        ({"learning_rate_init": 0.0}, "learning_rate_init must be"),
        ({"learning_rate_init": float("nan")}, "learning_rate_init must be"),
        ({"clip_norm": -1.0}, "clip_norm must be"),
        ({"epsilon": "small"}, "epsilon must be a number, got str"),
        ({"beta_1": 1.0}, "beta_1 must be"),
        ({"init": "zeros"}, "init must be one of"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"backend": "gpu"}, "backend must be"),
    ],
)
def test_wrong_parameters_are_named_at_fit(ragged, parameters, message):
    with pytest.raises((TypeError, ValueError), match=message):
        LSTMClassifier(**parameters).fit(*ragged)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([], [], r"X|sample"),
        (np.zeros((0, 3, 2)), [], r"sample|X"),
        (np.zeros((3, 0, 2)), [0, 1, 0], r"X must have shape|feature|X"),
        (np.zeros(4), [0, 1, 0, 1], r"Expected 2D|X must"),
        (np.zeros((2, 3, 2, 1)), [0, 1], "X must have shape"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], [0, 1], r"X\[1\] must have shape .* at least one step"),
        ([np.zeros((3, 2)), np.zeros((2, 3))], [0, 1], r"X\[1\] has 3 features, but X\[0\] has 2"),
        ([np.zeros((3, 2)), np.full((2, 2), np.inf)], [0, 1], r"X\[1\] must be finite"),
        (np.full((2, 3, 2), np.nan), [0, 1], "NaN"),
        (np.zeros((2, 3, 2)), [0, 1, 1], "y must have 2 entries, one for each sequence of X, got 3"),
        (np.zeros((2, 3, 2)), [0, 0], "at least two classes, got one class"),
        (np.zeros((2, 3, 2)), [["a", "b"], ["c", "d"]], r"y must hold one label for each sequence"),
        (np.zeros((2, 3, 2)), [0.5, 1.7], "Unknown label type|continuous"),
        (np.zeros((2, 3, 2)), None, "the target y is None"),
        (np.zeros((2, 3, 2), complex), [0, 1], "[Cc]omplex"),
        ([["a", "b"], ["c", 1.0]], [0], r"y must have 1|y must have 2 entries"),
        ([[[1, 2], [3]], [[1, 2]]], [0, 1], "ragged"),
    ],
)
def test_wrong_data_are_named_at_fit(X, y, message):
    model = LSTMClassifier(**SMALL)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(X, y)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize(
    ("X", "keywords", "message"),
    [
        (np.zeros((2, 3, 4)), {}, "X has 4 features at each step, but LSTMClassifier was fitted with 2"),
        ([np.zeros((3, 1))], {}, "X has 1 features at each step"),
        (np.full((2, 3, 2), np.inf), {}, "infinity"),
        (np.zeros((2, 3, 2)), {"lengths": [1, 4]}, r"lengths must be in 1..3, the steps of X, got 4"),
        (np.zeros((2, 3, 2)), {"lengths": [1.0, 2.0]}, "lengths must hold integers"),
        ([np.zeros((3, 2))], {"lengths": [3]}, "lengths must be None if X is a list"),
    ],
)
def test_wrong_data_are_named_at_predict(ragged, X, keywords, message):
    model = LSTMClassifier(**SMALL).fit(*ragged)
    with pytest.raises((TypeError, ValueError), match=message):
        model.predict(X, **keywords)


def test_predict_before_fit_and_missing_backend():
    with pytest.raises(NotFittedError):
        LSTMClassifier().predict(np.zeros((1, 2, 3)))
    with pytest.raises(BackendUnavailableError, match="backend 'cuda:99' is not available"):
        LSTMClassifier(backend="cuda:99").fit(np.zeros((2, 3, 2)), [0, 1])


def test_nothing_warns(ragged):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)  # of few epochs
        LSTMClassifier(**SMALL).fit(*ragged).predict(ragged[0])
