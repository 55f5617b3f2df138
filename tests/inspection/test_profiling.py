"""Profiles count all of the time, once, and tell what was computed."""

import time

import matplotlib.pyplot as plt
import numpy as np
import pytest

from numlstm import LSTM, LSTMClassifier, LSTMRegressor
from numlstm.backends.cpu.backend import CpuBackend
from numlstm.backends.cpu.recurrent import layer
from numlstm.backends.reference import ReferenceBackend
from numlstm.inspection import Profile, profile
from numlstm.inspection.profiling import Clock

X = np.random.default_rng(0).normal(size=(40, 12, 3))
Y = X[:, 0, 0] > 0
PARTS = ["forward", "backward", "weight gradients", "head and loss", "optimizer", "data", "Python"]


def slow(monkeypatch, backend, name, seconds):
    """Have a function of a backend take longer."""
    real = getattr(backend, name)

    def slower(self, *arguments, **options):
        time.sleep(seconds)
        return real(self, *arguments, **options)

    monkeypatch.setattr(backend, name, slower)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("forward", "sequence_forward"),
        ("backward", "sequence_backward"),
        ("head and loss", "loss"),
        ("optimizer", "adam_step"),
        ("data", "upload"),
    ],
)
def test_where_the_time_goes(monkeypatch, part, name):
    """20 milliseconds more in each of 3 steps are found where they are spent."""
    slow(monkeypatch, CpuBackend, name, 0.02)
    found = profile(LSTMRegressor(hidden_size=4, batch_size=16, backend="cpu"), X, X[:, 0, 0])
    assert [*found.seconds] == PARTS
    assert found.seconds[part] >= 0.06
    assert found.seconds[part] == max(found.seconds.values())


def test_weight_gradients(monkeypatch):
    """They are counted for themselves while the profile is made, and only then."""
    slow(monkeypatch, layer, "add_sums", 0.02)
    slower = layer.add_sums
    found = profile(LSTMRegressor(hidden_size=4, batch_size=16, backend="cpu"), X, X[:, 0, 0])
    assert found.seconds["weight gradients"] >= 0.06
    assert found.seconds["weight gradients"] == max(found.seconds.values())
    assert layer.add_sums is slower


def test_nested_time_is_counted_once():
    clock = Clock()
    inner = clock.timed("forward", lambda: time.sleep(0.02), lambda: None)
    outer = clock.timed("optimizer", lambda: (time.sleep(0.01), inner()), lambda: None)
    start = time.perf_counter()
    clock.since = start
    outer()
    clock.switch()
    whole = time.perf_counter() - start
    assert sum(clock.seconds.values()) == pytest.approx(whole, abs=2e-3)
    assert clock.seconds["forward"] >= 0.02
    assert clock.seconds["optimizer"] >= 0.01


def test_numbers():
    model = LSTMClassifier(hidden_size=8, bidirectional=False, batch_size=20, dtype="float64", backend="cpu")
    found = profile(model, X, Y, epochs=1)
    numbers = 4 * 8 * (3 + 8)  # in both matrices
    assert found.operations == pytest.approx(3 * 2 * numbers * 40 * 12)
    spent = sum(found.seconds[part] for part in PARTS[:3])
    assert found.gflops == pytest.approx(found.operations / spent / 1e9)
    assert found.share_of_peak == pytest.approx(found.gflops / found.peak)
    assert 0.1 < found.peak < 1e4
    records = 13 * 20 * 6 * 8 * 8  # steps and one before, rows, four gates and two states, units, bytes
    assert records <= found.tape_bytes < 1.3 * records + 4096
    assert found.total == pytest.approx(sum(found.seconds.values()))
    assert (found.backend, found.epochs) == ("cpu", 1)


def test_recompute_keeps_less():
    long = np.zeros((4, 400, 2))
    kept = [
        profile(LSTMRegressor(hidden_size=16, recompute=recompute, backend="cpu"), long, np.arange(4.0)).tape_bytes
        for recompute in (False, True)
    ]
    assert kept[1] < kept[0] / 3


def test_estimator_stays_as_it_is():
    model = LSTMClassifier(hidden_size=4, max_iter=2, random_state=0).fit(X, Y)
    before = model.predict_proba(X)
    profile(model, X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    unfitted = LSTMClassifier(hidden_size=4)
    profile(unfitted, [x[: 3 + k % 4] for k, x in enumerate(X)], Y)
    assert not hasattr(unfitted, "n_iter_")


def test_table_and_bars(monkeypatch):
    seconds = dict(zip(PARTS, [0.004, 0.002, 0.001, 0.001, 0.001, 0.0005, 0.0005], strict=True))
    found = Profile(seconds, 1e9, 50.0, 100.0, 3 << 20, "cpu", 2)
    table = str(found).splitlines()
    assert table[0] == "an epoch on backend 'cpu': 10.00 ms"
    assert table[1].split() == ["forward", "4.00", "ms", "40.0%"]
    assert table[-2:] == ["recurrent layers: 50.0 GFLOP/s, 50% of the peak of 100", "tape: 3.00 MiB"]
    display = found.plot()
    np.testing.assert_allclose([bar.get_width() for bar in display.bars_], [4, 2, 1, 1, 1, 0.5, 0.5])
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == PARTS
    assert "50% of the peak" in display.ax_.get_title()
    plt.close("all")
    assert "peak" not in str(Profile(seconds, 1e9, 50.0, None, 0, "reference", 1))


def test_reference_knows_no_peak():
    found = profile(LSTMClassifier(hidden_size=2, backend="reference"), X[:8], Y[:8], epochs=1)
    assert found.peak is None
    assert found.backend == ReferenceBackend.name
    assert [*found.seconds] == [part for part in PARTS if part != "weight gradients"]


def test_errors():
    with pytest.raises(TypeError, match="model must be a classifier or regressor of numlstm, got LSTM"):
        profile(LSTM(3, 2), X, Y)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        profile(LSTMClassifier(), X, Y, epochs=0)
    with pytest.raises(ValueError, match="hidden_size must be at least 1"):
        profile(LSTMClassifier(hidden_size=0), X, Y)
