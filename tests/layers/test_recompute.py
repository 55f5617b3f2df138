"""`recompute=True`: the same gradients from a small part of the memory."""

import numpy as np
import pytest
from tolerances import assert_close

import numlstm
from numlstm import LSTM
from numlstm.backends.cpu.recurrent import layer as engine
from numlstm.backends.dispatch import backend_for

MANY = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.2, "zoneout": 0.1}


def everything(recompute, x, lengths, **options):
    layer = LSTM(3, 9, random_state=0, recompute=recompute, **options)
    y, state, pullback = layer.vjp(x, lengths=lengths, training=True, rng=1)
    dx, dstate, dparameters = pullback(np.cos(y), state)
    return [y, *state, dx, *dstate], dparameters


@pytest.mark.parametrize("lengths", [None, np.array([3, 17, 9, 1, 16])])
@pytest.mark.parametrize("options", [{}, MANY, {"layer_norm": True, "proj_size": 2}, {"peepholes": True}])
def test_what_is_computed_again_is_the_same(options, lengths):
    x = np.random.default_rng(0).normal(size=(5, 17, 3)).astype("float32")
    (values, gradients), (others, expected) = (everything(flag, x, lengths, **options) for flag in (True, False))
    for got, want in zip(values, others, strict=True):
        np.testing.assert_array_equal(got, want)
    for name, want in expected.items():  # sums over other chunks of steps
        assert_close("gradient", name, gradients[name], want)


def test_twice():
    x = np.random.default_rng(0).normal(size=(2, 30, 3)).astype("float32")
    y, _, pullback = LSTM(3, 9, random_state=0, recompute=True).vjp(x)
    first, second = pullback(y), pullback(y)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[2]["weight_hh_l0"], second[2]["weight_hh_l0"])


def test_the_state_given_may_change_before_the_way_back():
    x, state = np.ones((2, 30, 3), "float32"), (np.ones((1, 2, 9), "float32"), np.ones((1, 2, 9), "float32"))
    y, _, pullback = LSTM(3, 9, random_state=0, recompute=True).vjp(x, state)
    expected = pullback(y)[0]
    for array in state:
        array[...] = 7
    np.testing.assert_array_equal(pullback(y)[0], expected)


def test_memory_grows_with_the_root_of_the_steps():
    def kept(steps, recompute):
        backend, layer = backend_for("cpu"), LSTM(3, 16, backend="cpu")
        x = np.zeros((1, steps, 3), "float32")
        _, tape = backend.sequence_forward(
            layer._prepared(backend)[0], x, [None] * 2, [None] * 2, training=True, recompute=recompute
        )
        states = [state for checkpoint in tape.checkpoints or () for state in checkpoint if state is not None]
        return sum(group.values.nbytes for group in tape.batch.groups) + sum(state.nbytes for state in states)

    assert kept(10_000, recompute=True) < 0.02 * kept(10_000, recompute=False)


def test_training_memory_serves_segments(monkeypatch):
    """In training the arrays of all calls are the same: a call with segments must not spoil its own."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 33, 2)), rng.integers(0, 2, 20)
    options = {"hidden_size": 8, "max_iter": 3, "random_state": 0, "batch_size": 7, "zoneout": 0.1}
    plain = numlstm.LSTMClassifier(**options).fit(X, y)
    made = []
    kept = engine._forward_in_segments
    monkeypatch.setattr(engine, "_forward_in_segments", lambda *a: made.append(1) or kept(*a))
    again = numlstm.LSTMClassifier(recompute=True, **options).fit(X, y)
    assert len(made) == 3 * 3 * 2  # epochs, batches, directions
    np.testing.assert_allclose(again.loss_curve_, plain.loss_curve_, rtol=1e-5)


def test_it_is_a_flag():
    with pytest.raises(TypeError, match="recompute must be True or False, got 1"):
        LSTM(3, 5, recompute=1)
