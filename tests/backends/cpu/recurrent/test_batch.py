"""Groups of rows: memory of their own, and sums over rows that do not follow the number of threads."""

import numpy as np
import pytest
from tolerances import assert_close

import numlstm
from numlstm.backends.contract import LayerSpec
from numlstm.backends.cpu.machine.thread_count import limit_threads
from numlstm.backends.cpu.recurrent import batch, buffers, prepared
from numlstm.backends.cpu.recurrent.packing import layer_packing
from numlstm.backends.cpu.recurrent.prepared import PreparedLayer
from numlstm.backends.cpu.recurrent.weights import LayerWeights

ROWS, STEPS = 11, 9
LAYERS = {
    "lstm": lambda **more: numlstm.LSTM(5, 19, random_state=0, **more),
    "peepholes": lambda **more: numlstm.LSTM(5, 19, peepholes=True, random_state=0, **more),
    "normalised": lambda **more: numlstm.LSTM(5, 19, layer_norm=True, proj_size=3, random_state=0, **more),
    "deep": lambda **more: numlstm.LSTM(5, 17, 2, bidirectional=True, dropout=0.2, random_state=0, **more),
    "noisy": lambda **more: numlstm.LSTM(5, 17, recurrent_dropout=0.2, zoneout=0.1, random_state=0, **more),
    "gru": lambda **more: numlstm.GRU(5, 19, random_state=0, **more),
    "again": lambda **more: numlstm.LSTM(5, 19, recompute=True, random_state=0, **more),
}
LENGTHS = {
    "full": None,
    "unequal": np.array([3, 9, 1, 7, 9, 2, 2, 8, 5, 4, 6]),
    "two long ones": np.array([1, 9, 1, 1, 9, 2, 1, 1, 1, 1, 1]),
}


@pytest.fixture
def groups(monkeypatch):
    """Batches in so many groups, however small they are; chunks of the way back have a few steps."""

    def of(count):
        monkeypatch.setattr(prepared, "groups_of", lambda *shape: count)
        monkeypatch.setattr(buffers, "CHUNK_PAIRS", 4 * ROWS)
        monkeypatch.setattr(buffers, "CHUNK_BYTES", 1)

    return of


def everything(layer, lengths, dtype):
    x = np.random.default_rng(0).normal(size=(ROWS, STEPS, 5)).astype(dtype)
    y, state, pullback = layer.vjp(x, lengths=lengths, training=True, rng=1)
    dx, dstate, dparameters = pullback(np.cos(y), state)
    states = [*state, *dstate] if isinstance(state, tuple) else [state, dstate]
    return [layer(x, lengths=lengths)[0], y, dx, *states], dparameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("name", LAYERS)
def test_groups_change_the_sums_over_rows_alone(groups, name, lengths, dtype):
    groups(1)
    expected, sums = everything(LAYERS[name](dtype=dtype), LENGTHS[lengths], dtype)
    for count in (2, 3):
        groups(count)
        values, gradients = everything(LAYERS[name](dtype=dtype), LENGTHS[lengths], dtype)
        for got, want in zip(values, expected, strict=True):
            np.testing.assert_array_equal(got, want)
        for parameter, want in sums.items():
            assert_close("gradient", parameter, gradients[parameter], want)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("shape", [(32, 20, 8, 64), (4, 40, 16, 64), (9, 12, 20, 128)])
def test_bits_do_not_depend_on_threads(shape, lengths):
    rows, steps, inputs, units = shape
    rng = np.random.default_rng(0)
    x, of_rows = rng.normal(size=(rows, steps, inputs)).astype("float32"), rng.integers(1, steps + 1, rows)

    def gradients(threads):
        with limit_threads(threads):
            layer = numlstm.LSTM(inputs, units, random_state=0)
            memory = layer._prepared(numlstm.backends.dispatch.backend_for("cpu"))[0]
            assert memory.groups_of(rows, steps, True) == batch.GROUPS
            y, state, pullback = layer.vjp(x, lengths=of_rows if lengths else None)
            return pullback(np.cos(y), state)[2]

    expected = gradients(1)
    for threads in (2, 3, 4, 5):
        for name, got in gradients(threads).items():
            np.testing.assert_array_equal(got, expected[name])


@pytest.mark.parametrize("threads", [1, 2])
def test_every_group_sees_new_weights(groups, threads):
    groups(2)
    other = numlstm.LSTM(5, 19, random_state=1)
    with limit_threads(threads):
        layer = LAYERS["lstm"]()
        everything(layer, None, "float32")
        layer.set_parameters(other.parameters)
        for got, want in zip(everything(layer, None, "float32")[0], everything(other, None, "float32")[0], strict=True):
            np.testing.assert_array_equal(got, want)


def groups_of(rows, steps, inputs, units):
    packing = layer_packing(LayerSpec("lstm", inputs, units))
    layer = PreparedLayer(LayerWeights(packing, np.zeros(packing.size, np.float32), training=True))
    return layer.groups_of(rows, steps, training=True)


def test_which_batches_have_groups():
    assert groups_of(32, 8, 8, 64) == batch.GROUPS
    assert groups_of(8, 512, 80, 320) == batch.GROUPS
    assert groups_of(3, 1000, 8, 64) == 1, "two rows for each group"
    assert groups_of(4, 10, 8, 64) == 1, "little work"
    assert groups_of(4, 200, 64, 256) == 1, "few rows for many weights"
    assert groups_of(64, 100, 512, 512) == 1, "a large gradient"
    assert groups_of(32, 1, 256, 256) == 1, "few sums"


@pytest.mark.parametrize("rows", [4, 5, 6, 7, 32, 33])
@pytest.mark.parametrize("count", [1, 2])
def test_each_row_is_in_one_group(rows, count):
    packing = layer_packing(LayerSpec("lstm", 3, 5))
    layer = PreparedLayer(LayerWeights(packing, np.zeros(packing.size, np.float32), training=False))
    memory = layer.acquire(rows, 7, count, True, True)
    lengths = np.random.default_rng(rows).integers(1, 8, rows)
    by_length, even = memory.new_rows(), memory.new_rows()
    memory.sort(lengths, by_length)
    memory.sort(np.sort(lengths), even)
    for of_groups in (memory.all_rows(7), by_length):
        assert [len(order) for order, _ in of_groups] == [group.rows for group in memory.groups]
        assert sorted(np.concatenate([order for order, _ in of_groups])) == list(range(rows))
    for order, of_rows in by_length:
        np.testing.assert_array_equal(of_rows, lengths[order])
        assert (np.diff(of_rows) <= 0).all(), "the longest first"
    steps = [of_rows.sum() for _, of_rows in even]
    assert max(steps) - min(steps) <= 2 * 7, "groups have about the same work"
