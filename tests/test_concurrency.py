"""What threads share."""

import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numlstm import LSTM, LSTMRegressor
from numlstm.concurrency import cached_property, new_lock
from numlstm.layers.runner import Runner

RNG = np.random.default_rng(0)
THREADS, ROUNDS = 8, 40


def at_once(function):
    """What a function of its number gives, called from many threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, range(ROUNDS)))


class Counted:
    """Has a value that takes a while to compute."""

    @cached_property
    def value(self):
        """A new object."""
        time.sleep(0.05)
        return object()


def test_all_threads_get_the_value_that_is_kept():
    """Kernels know the addresses of arrays that such values own."""
    counted, together = Counted(), threading.Barrier(4)

    def read(_):
        together.wait()
        return counted.value

    with ThreadPoolExecutor(4) as pool:
        assert {*pool.map(read, range(4))} == {counted.value}
    assert Counted.value.__doc__ == "A new object."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_finds_locks_open():
    lock, counted, held = new_lock(), Counted(), threading.Event()

    def hold():
        with lock:
            held.set()
            counted.value  # noqa: B018
            time.sleep(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    time.sleep(0.01)  # it is computing now
    child = os.fork()
    if not child:
        opened = lock.acquire(timeout=1) and counted.value is not None
        os._exit(0 if opened else 1)
    assert not lock.acquire(blocking=False)  # the parent's is as it was
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_waits_for_the_compiler():
    from numba.core.compiler_lock import global_compiler_lock

    from numlstm.backends.cpu.machine import threads  # noqa: F401

    held, ended = threading.Event(), []

    def compile_something():
        with global_compiler_lock:
            held.set()
            time.sleep(0.3)
            ended.append(True)

    thread = threading.Thread(target=compile_something)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        os._exit(0 if ended and global_compiler_lock._lock.acquire(timeout=1) else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    with global_compiler_lock:
        pass


@pytest.mark.parametrize(
    ("name", "backend"),
    [("default", "cpu"), ("recompute", "cpu"), ("ragged", "cpu"), ("bidirectional", "cpu"), ("default", "reference")],
)
def test_one_pullback_serves_threads_in_turn(name, backend):
    options = {"recompute": name == "recompute", "bidirectional": name == "bidirectional"}
    layer = LSTM(3, 20, backend=backend, random_state=0, **options)
    x = RNG.normal(size=(9, 30, 3)).astype("float32")
    y, _, pullback = layer.vjp(x, lengths=RNG.integers(1, 31, 9) if name == "ragged" else None)
    slopes = [np.roll(np.ones_like(y) * (k + 1), k) for k in range(3)]
    expected = [pullback(slope) for slope in slopes]
    for k, (dx, dstate, dparameters) in enumerate(at_once(lambda k: pullback(slopes[k % 3]))):
        np.testing.assert_array_equal(dx, expected[k % 3][0])
        for found, wanted in zip(dstate, expected[k % 3][1], strict=True):
            np.testing.assert_array_equal(found, wanted)
        for parameter, gradient in dparameters.items():
            np.testing.assert_array_equal(gradient, expected[k % 3][2][parameter])


def test_pullbacks_of_one_layer_work_at_once():
    layer = LSTM(3, 20, random_state=0)
    xs = [RNG.normal(size=(5, 10, 3)).astype("float32") for _ in range(4)]

    def gradients(k):
        y, _, pullback = layer.vjp(xs[k % 4])
        return pullback(np.ones_like(y))

    expected = [gradients(k) for k in range(4)]
    layer.set_parameters(layer.parameters)  # nothing is packed
    for k, (dx, _, dparameters) in enumerate(at_once(gradients)):
        np.testing.assert_array_equal(dx, expected[k % 4][0])
        np.testing.assert_array_equal(dparameters["weight_hh_l0"], expected[k % 4][2]["weight_hh_l0"])


@pytest.mark.parametrize("hidden_size", [8, 700])  # threads share the units of a step of the larger one
def test_steps_of_one_stream_are_taken_one_after_the_other(hidden_size):
    layer = LSTM(2, hidden_size, random_state=0)
    stream, alone = layer.stream(), layer.stream()
    x = np.ones(2, "float32")
    at_once(lambda _: stream.step(x))
    for _ in range(ROUNDS):
        alone.step(x)
    for found, expected in zip(stream.state, alone.state, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention", "concat"])
def test_predictions_of_one_stream_are_made_one_after_the_other(pooling):
    X = RNG.normal(size=(20, 5, 2))
    model = LSTMRegressor(hidden_size=4, max_iter=1, pooling=pooling, random_state=0).fit(X, X[:, 0, 0])
    stream, alone = model.stream(), model.stream()
    found = sorted(at_once(lambda _: stream.step(X[0, 0]).item()))
    assert found == sorted(alone.step(X[0, 0]).item() for _ in range(ROUNDS))


@pytest.mark.parametrize("how", ["reset", "state"])
def test_a_step_that_was_interrupted_is_not_gone_on_from(how, monkeypatch):
    layer = LSTM(2, 4, num_layers=2, random_state=0)
    stream, x = layer.stream(), np.ones(2, "float32")
    stream.step(x)
    before = stream.state
    call = stream._call
    monkeypatch.setattr(stream, "_call", lambda: (call(), (_ for _ in ()).throw(KeyboardInterrupt)))
    with pytest.raises(KeyboardInterrupt):
        stream.step(x)
    monkeypatch.setattr(stream, "_call", call)
    for use in (lambda: stream.step(x), lambda: stream.state):
        with pytest.raises(RuntimeError, match="an earlier step of this stream was interrupted: call reset"):
            use()
    alone = layer.stream()
    if how == "reset":
        stream.reset()
    else:
        stream.state = alone.state = before
    np.testing.assert_array_equal(stream.step(x), alone.step(x))


@pytest.mark.parametrize("how", ["reset", "state"])
def test_what_sets_a_stream_anew_may_be_interrupted_too(how, monkeypatch):
    stream, x = LSTM(2, 4, random_state=0).stream(), np.ones(2, "float32")
    stream.step(x)
    before = stream.state

    def interrupt(*_):
        raise KeyboardInterrupt

    def anew():
        if how == "reset":
            stream.reset()
        else:
            stream.state = before

    with monkeypatch.context() as patched:
        patched.setattr(Runner, "reset", interrupt)
        patched.setattr("numlstm.layers.stream.resident", interrupt)
        with pytest.raises(KeyboardInterrupt):
            anew()
    with pytest.raises(RuntimeError, match="an earlier step of this stream was interrupted"):
        stream.step(x)
    anew()
    stream.step(x)


def test_a_prediction_that_was_interrupted_is_not_gone_on_from(monkeypatch):
    X = RNG.normal(size=(20, 5, 2))
    model = LSTMRegressor(hidden_size=4, max_iter=1, pooling="mean", random_state=0).fit(X, X[:, 0, 0])
    stream = model.stream()
    expected = stream.step(X[0, 0])
    with monkeypatch.context() as patched:
        patched.setattr(stream._stream, "_call", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stream.step(X[0, 1])
    with pytest.raises(RuntimeError, match=r"an earlier step of this stream was interrupted: call reset\(\)"):
        stream.step(X[0, 1])
    stream.reset()
    np.testing.assert_array_equal(stream.step(X[0, 0]), expected)
    with pytest.raises(TypeError, match="a PredictionStream cannot be pickled or copied"):
        pickle.dumps(stream)
