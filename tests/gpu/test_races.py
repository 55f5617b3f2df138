"""The same call gives the same bits, again and again: where blocks do not wait for one another, it does not."""

import numpy as np
import pytest

from numlstm import GRU, LSTM, LSTMClassifier

pytestmark = pytest.mark.gpu

STEPS, INPUTS, TIMES = 50, 24, 100
SIZES = [(hidden, rows) for hidden in (256, 512, 1000) for rows in (32, 100)]
OPTIONS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"layer_norm": True},
    {"proj_size": 96},
]


def flat(values):
    """All arrays in nested results."""
    if isinstance(values, np.ndarray):
        return [values]
    values = values.values() if isinstance(values, dict) else values
    return [array for value in values for array in flat(value)]


def differing(compute, times=TIMES):
    """How many of many runs differ from the first, in any bit."""
    first = [array.tobytes() for array in flat(compute())]
    return sum([array.tobytes() for array in flat(compute())] != first for _ in range(times - 1))


def batch(rows, ragged):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, STEPS, INPUTS)).astype("float32")
    return x, rng.integers(1, STEPS + 1, rows) if ragged else None


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("hidden", "rows"), SIZES)
def test_forward(hidden, rows, ragged):
    layer = LSTM(INPUTS, hidden, backend="cuda", random_state=0)
    x, lengths = batch(rows, ragged)
    assert differing(lambda: layer(x, lengths=lengths)) == 0


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("hidden", "rows"), SIZES)
def test_gradients(hidden, rows, ragged):
    layer = LSTM(INPUTS, hidden, backend="cuda", random_state=0)
    x, lengths = batch(rows, ragged)
    dy = np.random.default_rng(1).normal(size=(rows, STEPS, hidden)).astype("float32")

    def compute():
        y, state, pullback = layer.vjp(x, lengths=lengths)
        return y, state, pullback(dy, state)

    assert differing(compute) == 0


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variants(options, dtype):
    layer = LSTM(INPUTS, 256, backend="cuda", dtype=dtype, random_state=0, **options)
    x, lengths = batch(32, ragged=True)

    def compute():
        y, state, pullback = layer.vjp(x, lengths=lengths)
        return y, state, pullback(np.ones_like(y))

    assert differing(compute) == 0


def test_another_cell_with_masks():
    layer = GRU(INPUTS, 512, num_layers=2, dropout=0.3, recurrent_dropout=0.2, backend="cuda", random_state=0)
    x, lengths = batch(32, ragged=True)

    def compute():
        y, state, pullback = layer.vjp(x, lengths=lengths, training=True, rng=0)
        return y, state, pullback(np.ones_like(y))

    assert differing(compute) == 0


def test_two_layers_by_turns():
    """What one leaves in memory that the other is then given."""
    layers = [LSTM(INPUTS, hidden, backend="cuda", random_state=0) for hidden in (256, 1000)]
    batches = [batch(100, ragged=True), batch(32, ragged=False)]
    assert differing(lambda: [layer(x, lengths=lengths) for layer in layers for x, lengths in batches]) == 0


@pytest.mark.parametrize("pooling", ["last", "attention"])
def test_fit(pooling):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(length, INPUTS)) for length in rng.integers(10, STEPS, 300)]
    y = rng.integers(0, 5, len(X))

    def compute():
        model = LSTMClassifier(
            hidden_size=512, pooling=pooling, dropout=0.2, num_layers=2, batch_size=32, max_iter=2, random_state=0,
            backend="cuda",
        ).fit(X, y)  # fmt: skip
        return [dict(model.layers_[0].parameters), model.coef_, np.array(model.loss_curve_), model.predict_proba(X)]

    assert differing(compute, 10) == 0
