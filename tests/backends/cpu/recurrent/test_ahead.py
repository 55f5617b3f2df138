"""Products with input weights for some steps at once, there and back, give the same bits as those of single steps."""

import numpy as np
import pytest
from shard_counting import counted

from numlstm import GRU, LSTM, RNN
from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.machine.thread_count import limit_threads
from numlstm.backends.cpu.recurrent import batch, buffers, weights
from numlstm.backends.cpu.recurrent.buffers import Buffers, steps_ahead, steps_back
from numlstm.backends.cpu.recurrent.packing import layer_packing
from numlstm.backends.cpu.recurrent.weights import LayerWeights

LAYERS = {
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru, reset before": (GRU, {"reset_after": False}),
    "rnn": (RNN, {}),
    "norms": (LSTM, {"layer_norm": True, "peepholes": True}),
    "all sources": (LSTM, {"full_gate_recurrence": True, "proj_size": 7, "coupled_gates": True}),
    "masks": (LSTM, {"zoneout": (0.2, 0.1), "recurrent_dropout": 0.3}),
    "deep": (LSTM, {"bidirectional": True, "num_layers": 2}),
    "recomputed": (LSTM, {"recompute": True}),
}
SHAPES = (1, 30, 5, 20), (3, 17, 9, 40), (7, 9, 4, 12), (20, 11, 3, 33)


@pytest.fixture
def ahead(monkeypatch):
    """A function that lets products be computed ahead, always or never; and the steps that buffers had together."""
    together, made = [], Buffers._ahead

    def noted(self):
        result = made(self)
        together.append(result.steps)
        return result

    monkeypatch.setattr(Buffers, "_ahead", noted)
    monkeypatch.setattr(buffers, "AHEAD_PAIRS", 23)  # of no multiple of a tile, nor of the steps
    monkeypatch.setattr(buffers, "AHEAD_STEPS", 2)

    def let(always):
        monkeypatch.setattr(buffers, "AHEAD_BYTES", 0 if always else 1 << 40)
        monkeypatch.setattr(buffers, "PAIRS_BACK", 23 if always else 1)
        together.clear()
        return together

    return let


def results(kind, options, shape, unequal, **others):
    """All that a layer computes, on sequences of equal or unequal length."""
    rows, steps, inputs, units = shape
    rng = np.random.default_rng(0)
    layer = kind(inputs, units, backend="cpu", random_state=0, **options | others)
    x = rng.normal(size=(rows, steps, inputs)).astype(layer.dtype)
    lengths = np.append(rng.integers(1, steps + 1, rows - 1), steps) if unequal else None
    y, state = layer(x, lengths=lengths)
    _, state = layer(x, state, lengths=lengths)
    trained, final, pullback = layer.vjp(x, state, lengths=lengths, training=True, rng=0)
    dx, dstate, gradients = pullback(np.cos(trained))
    return [y, *state, trained, *final, dx, *dstate, *gradients.values()]


@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "options"), LAYERS.values(), ids=LAYERS)
def test_bits(ahead, kind, options, shape, unequal):
    assert not any(ahead(always=False))
    truths = results(kind, options, shape, unequal)
    together = ahead(always=True)
    for truth, got in zip(truths, results(kind, options, shape, unequal), strict=True):
        np.testing.assert_array_equal(got, truth)
    assert max(together) == min(shape[1], 23 // shape[0]) or shape[0] > 11


def test_float64(ahead):
    ahead(always=False)
    truths = results(LSTM, {}, SHAPES[1], True, dtype="float64")
    ahead(always=True)
    for truth, got in zip(truths, results(LSTM, {}, SHAPES[1], True, dtype="float64"), strict=True):
        np.testing.assert_array_equal(got, truth)


@pytest.mark.parametrize("shared", ["rows", "groups", "units"])
@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
def test_threads(ahead, monkeypatch, shared, unequal):
    """That share rows, groups of rows, or the units of each step."""
    ahead(always=False)
    shape = 9, 11, 4, 70
    with limit_threads(1):
        truths = results(LSTM, {}, shape, unequal)
    ahead(always=True)
    counts = counted(monkeypatch)
    monkeypatch.setattr(weights, "TEAM_ROWS", 9 if shared == "units" else 0)
    monkeypatch.setattr(weights, "TEAM_FLOP", 1.0)
    monkeypatch.setattr(batch, "GROUPS", 2 if shared == "groups" else 1)
    with limit_threads(3):
        got = results(LSTM, {}, shape, unequal)
    assert max(counts) > 1
    for truth, other in zip(truths[:9], got[:9], strict=True):  # gradients of weights are summed in other orders
        np.testing.assert_array_equal(other, truth)


def weights_of(inputs, units):
    """The weights of a layer, all zero."""
    packing = layer_packing(LayerSpec("lstm", inputs, units))
    return LayerWeights(packing, np.zeros(packing.size, np.float32), training=False)


def test_where_input_weights_are_many_for_each_row():
    half, far = weights_of(256, 128), weights_of(buffers.FAR_BYTES >> 12, 256)  # half a MiB, and FAR_BYTES
    assert steps_ahead(half, 1, 1000) == buffers.AHEAD_PAIRS
    assert steps_ahead(half, 2, 1000) == buffers.AHEAD_PAIRS // 2
    assert steps_ahead(half, 2, 5) == 5
    assert steps_ahead(half, 3, 1000) == 0
    assert steps_ahead(half, 1, 3) == 0
    assert steps_ahead(far, 20, 1000) == buffers.AHEAD_PAIRS // 20
    assert steps_ahead(far, buffers.AHEAD_PAIRS // 3, 1000) == 0


def test_gradients_of_x_are_always_computed_together():
    weights = weights_of(3, 5)
    assert steps_back(weights, 20, 1000) == buffers.PAIRS_BACK // 20
    assert steps_back(weights, 20, 7) == 7
    assert steps_back(weights, 2 * buffers.PAIRS_BACK, 7) == 1
