"""Defaults that depend on the data, or on other settings."""

import inspect
import re

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from numlstm import LSTMClassifier, LSTMRegressor
from numlstm.training.optimizers import Adam

pytestmark = pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
RNG = np.random.default_rng(0)
SMALL = {"hidden_size": 2, "random_state": 0}


def data(count):
    return RNG.normal(size=(count, 3, 1)), np.arange(count) % 2


@pytest.fixture
def steps(monkeypatch):
    """How many steps the optimizer has taken."""
    taken, advance = [], Adam.advance

    def counted(self, learning_rate):
        taken.append(learning_rate)
        advance(self, learning_rate)

    monkeypatch.setattr(Adam, "advance", counted)
    return taken


@pytest.mark.parametrize(
    ("count", "size"), [(2, 2), (8, 8), (127, 8), (128, 16), (255, 16), (256, 32), (3000, 32)], ids=str
)
def test_small_sets_have_small_batches(count, size, steps):
    LSTMClassifier(**SMALL, max_iter=1).fit(*data(count))
    assert len(steps) == -(-count // size)


@pytest.mark.parametrize(
    ("count", "batch_size", "epochs"), [(40, 8, 50), (100, 5, 50), (105, 5, 48), (250, 5, 20), (400, 4, 20)]
)
def test_epochs_that_make_a_thousand_steps(count, batch_size, epochs, steps):
    model = LSTMClassifier(**SMALL, batch_size=batch_size).fit(*data(count))
    assert model.n_iter_ == epochs
    assert len(steps) == epochs * count / batch_size
    assert steps[-1] < 1e-3 * max(steps)  # the schedule has come to its end


def test_accumulated_batches_make_one_step(steps):
    model = LSTMClassifier(**SMALL, batch_size=1, gradient_accumulation_steps=5).fit(*data(105))
    assert (model.n_iter_, len(steps)) == (48, 48 * 21)


def test_a_part_set_aside_is_not_counted(steps):
    model = LSTMRegressor(**SMALL, early_stopping=True, validation_fraction=0.5, batch_size=1).fit(*data(80))
    assert (model.n_iter_, len(steps)) == (25, 25 * 40)


@pytest.mark.parametrize(
    ("learning_rate", "n_iter_no_change", "epochs"),
    [
        ("constant", "auto", 11),
        ("reduce_on_plateau", "auto", 11),
        ("cosine", "auto", 15),
        ("one_cycle", "auto", 15),
        ("one_cycle", 3, 4),
        ("constant", None, 15),
    ],
)
def test_what_comes_to_an_end_by_itself_is_not_cut(learning_rate, n_iter_no_change, epochs):
    options = {"learning_rate": learning_rate, "n_iter_no_change": n_iter_no_change, "tol": 1e3, "max_iter": 15}
    model = LSTMClassifier(**SMALL, **options).fit(*data(20))
    assert model.n_iter_ == epochs
    assert model.stop_reason_ == ("max_iter" if epochs == 15 else "no_improvement")


@pytest.mark.parametrize("name", ["max_iter", "batch_size", "n_iter_no_change"])
def test_other_words_are_refused(name):
    expected = "an integer, None or 'auto'" if name == "n_iter_no_change" else "an integer or 'auto'"
    for wrong in ("all", "3", 1.5, [1]):
        with pytest.raises(TypeError, match=rf"{name} must be {expected}, got {re.escape(repr(wrong))}"):
            LSTMClassifier(**{name: wrong}).fit(*data(4))
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        LSTMClassifier(**{name: 0}).fit(*data(4))


def test_both_estimators_have_the_same_defaults_but_for_directions():
    of_classifier, of_regressor = (
        {name: each.default for name, each in inspect.signature(kind).parameters.items()}
        for kind in (LSTMClassifier, LSTMRegressor)
    )
    shared = of_classifier.keys() & of_regressor.keys()
    assert {name for name in shared if of_classifier[name] != of_regressor[name]} == {"bidirectional"}
    assert of_classifier["bidirectional"] is True


def test_a_target_at_a_step_does_not_see_what_comes_later():
    X = RNG.normal(size=(12, 6, 1))
    model = LSTMRegressor(**SMALL, max_iter=2).fit(list(X), list(X[:, :, 0]))
    changed = X.copy()
    changed[:, 3:] += 5.0
    before, after = (np.stack(model.predict(list(each))) for each in (X, changed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).all()
