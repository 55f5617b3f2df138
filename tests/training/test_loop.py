"""A step does not wait for its loss: it is looked at when the next step has begun."""

import numpy as np
import pytest

from numlstm import LSTMClassifier
from numlstm.backends import dispatch
from numlstm.backends.reference import ReferenceBackend
from numlstm.training.loop import StepLoss, delay_by_one

X = np.random.default_rng(0).normal(size=(10, 3, 2))
Y = [0, 1] * 5


class Lazy:
    """A loss that is written down when somebody looks at it."""

    def __init__(self, value, number, log):
        self.value, self.number, self.log = value, number, log

    def __float__(self):
        self.log.append(f"look at {self.number}")
        return self.value


class LazyBackend(ReferenceBackend):
    """Writes down when batches are uploaded, and losses computed and looked at."""

    name = "lazy"

    def __init__(self, wrong=None):
        self.log, self.batches, self.wrong = [], 0, wrong

    def upload(self, array, dtype):
        self.log.append("upload")
        return super().upload(array, dtype)

    def loss(self, *arguments):
        value, gradient = super().loss(*arguments)
        self.batches += 1
        self.log.append(f"compute {self.batches}")
        return Lazy(np.nan if self.batches == self.wrong else value, self.batches, self.log), gradient


def fit(monkeypatch, backend, **options):
    monkeypatch.setitem(dispatch._backends, "reference", backend)
    options = {"hidden_size": 3, "batch_size": 4, "max_iter": 2, "random_state": 0, "tol": 0.0} | options
    return LSTMClassifier(backend="reference", **options).fit(X, Y)


def test_losses_are_looked_at_one_step_late(monkeypatch):
    backend = LazyBackend()
    fit(monkeypatch, backend, max_iter=1)
    assert backend.log[:9] == [  # after training come the loss of a constant, and a look at the gates
        "upload", "compute 1", "upload", "compute 2", "look at 1", "upload", "compute 3", "look at 2", "look at 3"
    ]  # fmt: skip


def test_a_late_look_changes_nothing(monkeypatch):
    lazy, plain = fit(monkeypatch, LazyBackend()), fit(monkeypatch, ReferenceBackend())
    assert lazy.loss_curve_ == plain.loss_curve_
    np.testing.assert_array_equal(lazy.predict_proba(X), plain.predict_proba(X))


def test_accumulated_batches_are_looked_at_together(monkeypatch):
    backend = LazyBackend()
    fit(monkeypatch, backend, max_iter=1, gradient_accumulation_steps=2)
    assert [entry for entry in backend.log if entry != "upload"][:6] == [
        "compute 1", "compute 2", "compute 3", "look at 1", "look at 2", "look at 3"
    ]  # fmt: skip


@pytest.mark.parametrize(("wrong", "computed"), [(1, 2), (2, 3), (3, 3)])
def test_a_loss_that_is_not_finite_ends_training_within_a_step(monkeypatch, wrong, computed):
    backend = LazyBackend(wrong)
    with pytest.raises(FloatingPointError, match="the loss must stay finite in training, but became nan: lower"):
        fit(monkeypatch, backend)
    assert backend.batches == computed


def test_validation_looks_at_lazy_losses(monkeypatch):
    model = fit(monkeypatch, LazyBackend(), early_stopping=True, validation_fraction=0.4)
    assert all(isinstance(loss, float) for loss in model.loss_curve_ + model.validation_loss_curve_)


def test_learning_rate_range_test_looks_at_once(monkeypatch):
    backend = LazyBackend()
    monkeypatch.setitem(dispatch._backends, "reference", backend)
    model = LSTMClassifier(backend="reference", batch_size=10, random_state=0)
    model.learning_rate_range_test(X, Y, steps=2)
    assert backend.log == ["upload", "compute 1", "look at 1", "upload", "compute 2", "look at 2"]


def test_loss_of_a_step():
    assert float(StepLoss([0.1])) == 0.1
    assert float(StepLoss([0.1, 0.2, 0.3])) == 0.1 + 0.2 + 0.3
    with pytest.raises(FloatingPointError):
        float(StepLoss([0.1, np.inf]))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_delay_by_one(count):
    computed = []

    def items():
        for k in range(count):
            computed.append(k)
            yield k

    seen = [(item, len(computed)) for item in delay_by_one(items())]
    assert seen == [(k, min(k + 2, count)) for k in range(count)]
