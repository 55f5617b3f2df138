"""Training that ends says why, and whether it has learnt anything."""

import re
import signal
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import numlstm
from numlstm import LSTMClassifier, LSTMRegressor
from numlstm.backends.dispatch import backend_for
from numlstm.training.baseline import constant_loss
from numlstm.training.data import Data
from numlstm.training.model import Model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8, 2))
SMALL = {"hidden_size": 6, "random_state": 0, "batch_size": 16}
LABELS = np.array(["a", "b"])[(np.arange(60) % 3 > 0).astype(int)]
NOTHING_LEARNT = {"learning_rate_init": 1e-9, "max_iter": 3}


@pytest.fixture(autouse=True)
def interrupts():
    """Ctrl-C interrupts, also where whoever started the tests had them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fitted(model, y, **options):
    """The model, and its warnings of convergence."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, **options)
    return model, [str(each.message) for each in caught if each.category is ConvergenceWarning]


@pytest.mark.parametrize(
    ("options", "reason", "epochs"),
    [
        ({"max_iter": 3}, "max_iter", 3),
        ({"max_iter": 9, "tol": 9.0, "n_iter_no_change": 2}, "no_improvement", 3),
        ({"max_iter": 9, "callback": lambda progress: progress.epoch == 4}, "callback", 4),
        ({"max_iter": 4, "callback": lambda progress: progress.epoch == 4}, "max_iter", 4),
        ({"max_iter": 9, "callback": lambda _: signal.raise_signal(signal.SIGINT)}, "interrupted", 1),
    ],
)
@pytest.mark.filterwarnings("ignore:Training interrupted")
def test_stop_reason(options, reason, epochs, tmp_path):
    model, _ = fitted(LSTMClassifier(**SMALL, **options), LABELS)
    assert (model.stop_reason_, model.n_iter_) == (reason, epochs)
    model.set_params(callback=None).save(tmp_path / "model.safetensors")
    assert numlstm.load(tmp_path / "model.safetensors").stop_reason_ == reason


def test_best_loss_is_that_of_the_weights_that_are_kept():
    options = SMALL | {"max_iter": 20, "learning_rate_init": 0.1}
    y = X[:, 0, 0] > 0
    model, _ = fitted(LSTMClassifier(**options), y)
    assert model.best_loss_ == model.loss_curve_[-1]
    model, _ = fitted(LSTMClassifier(**options, early_stopping=True), y, X_val=X[:20], y_val=~y[:20])
    assert model.best_loss_ == min(model.validation_loss_curve_) < model.validation_loss_curve_[-1]
    probabilities = model.predict_proba(X[:20])[np.arange(20), (~y[:20]).astype(int)]
    assert -np.log(probabilities).mean() == pytest.approx(model.best_loss_, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "y", "said"),
    [
        (LSTMClassifier, LABELS, "class 'b'"),
        (LSTMClassifier, np.arange(60) % 3 // 2, "class 0"),
        (LSTMClassifier, np.arange(300).reshape(60, 5) % 3 // 2, "labels [0, 0, 0, 0, 0]"),
        (LSTMRegressor, np.arange(60.0), "[29.5]"),
        (LSTMRegressor, np.arange(120.0).reshape(60, 2), "[59. 60.]"),
    ],
)
def test_what_has_learnt_nothing_is_told(model, y, said):
    _, caught = fitted(model(**SMALL, **NOTHING_LEARNT), y)
    assert len(caught) == 1
    assert f"no better than always predicting {said}, which has the loss" in caught[0]


def test_what_could_learn_more_is_told():
    y = X[:, -1, 0] > 0
    model, caught = fitted(LSTMClassifier(**SMALL, max_iter=10, learning_rate="constant", learning_rate_init=0.01), y)
    falls = re.search(r"max_iter=10 epochs while its loss was still falling, from (.*) to (.*) over", caught[0])
    assert float(falls[1]) == pytest.approx(model.loss_curve_[-2], rel=1e-3)
    assert float(falls[2]) == pytest.approx(model.loss_curve_[-1], rel=1e-3)


def test_what_has_learnt_all_that_it_can_says_nothing():
    y = X[:, -1, 0] > 0
    model, caught = fitted(LSTMClassifier(**SMALL, max_iter=150, learning_rate="cosine", learning_rate_init=0.02), y)
    assert model.best_loss_ < 0.1
    assert not caught


@pytest.mark.filterwarnings("ignore")
def test_who_ends_a_fit_need_not_be_told():
    for options in ({"callback": lambda _: True}, {"callback": lambda _: signal.raise_signal(signal.SIGINT)}):
        _, caught = fitted(LSTMClassifier(**SMALL, **NOTHING_LEARNT | options), LABELS)
        assert not caught


# The loss of a constant -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "pinball"])
@pytest.mark.parametrize("form", ["one", "several", "steps", "some"])
def test_no_constant_is_better(loss, form):
    y = {
        "one": RNG.normal(size=60), "several": RNG.normal(size=(60, 2)), "steps": RNG.normal(size=(60, 8, 2)),
        "some": np.where(RNG.random((60, 8, 2)) < 0.3, np.nan, RNG.normal(size=(60, 8, 2))),
    }[form]  # fmt: skip
    model = LSTMRegressor(**SMALL, loss=loss, quantile=0.8, dtype="float64")
    weights = RNG.integers(1, 3, 60)
    fitted = model._without_results()
    _, network, data = model._prepare(fitted, X, y, weights, None, None)
    backend = backend_for("cpu")
    flat = network.pack(backend, {name: np.zeros(shape) for name, shape in network.shapes.items()})
    least, scores = constant_loss(Model(network, backend, flat, training=False), data)
    assert least == pytest.approx(_loss(network, data, scores))
    for step in (-0.01, 0.01):
        for k in range(len(scores)):
            other = scores.copy()
            other[k] += step
            assert _loss(network, data, other) >= least - 1e-12


def _loss(network, data: Data, scores):
    """The same, step by step of the definition."""
    rows = np.arange(len(data))
    wanted, weights = data.targets.take(rows, data.targets.count(rows))
    weights = weights[:, None] if weights.ndim == 1 else weights
    total = 0.0
    for values, own in zip(wanted, np.broadcast_to(weights, wanted.shape), strict=True):
        for k, (value, weight) in enumerate(zip(values, own, strict=True)):
            if weight:
                each, one = np.array([[value]]), np.array([float(weight)])
                total += float(backend_for("reference").loss(network.loss, np.array([[scores[k]]]), each, one)[0])
    return total
