"""The network's gradient, with every pooling and loss."""

import numpy as np
import pytest

from numlstm.backends.contract import LossSpec
from numlstm.backends.dispatch import backend_for
from numlstm.layers.stack import Stack
from numlstm.training.network import Model, Network

SOFTMAX = LossSpec("softmax")


@pytest.mark.parametrize(
    ("pooling", "loss"),
    [
        ("last", SOFTMAX),
        ("mean", LossSpec("binary")),
        ("max", LossSpec("squared")),
        ("attention", LossSpec("huber", 0.3)),
        ("attention", SOFTMAX),
        ("none", LossSpec("pinball", 0.2)),
    ],
)
@pytest.mark.parametrize("lengths", [None, np.array([2, 5, 1])])
def test_gradient_is_that_of_the_loss(pooling, loss, lengths):
    network = Network(Stack("lstm", 2, 3, 2, bidirectional=True, dropout=0.4, dtype="float64"), 4, pooling, loss)
    backend = backend_for("cpu")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5, 2))
    rows = 15 if pooling == "none" else 3
    targets = np.array([3, 0, 1]) if loss is SOFTMAX else rng.uniform(size=(rows, 4))
    weights = rng.uniform(size=rows)
    parameters = {name: value + 0.1 for name, value in network.initialise("torch", rng).items()}

    def run(values):
        model = Model(network, backend, network.pack(backend, values), training=True)
        model.gradient[...] = np.nan
        return model.loss_and_gradient(x, lengths, targets, weights, np.random.default_rng(1)), model

    found = network.unpack(backend, run(parameters)[1].gradient)
    assert found.keys() == network.shapes.keys()
    for name, value in parameters.items():
        index = tuple(rng.integers(size) for size in value.shape)
        sides = []
        for step in (1e-6, -1e-6):
            moved = value.copy()
            moved[index] += step
            sides.append(run(parameters | {name: moved})[0])
        assert found[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6, abs=1e-9), name


def test_scores_are_those_that_the_loss_is_taken_of():
    network = Network(Stack("lstm", 2, 3, dtype="float64"), 2, "last", LossSpec("squared"))
    backend, rng = backend_for("cpu"), np.random.default_rng(0)
    model = Model(network, backend, network.pack(backend, network.initialise("keras", rng)), training=True)
    x, targets = rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 2))
    loss = model.loss_and_gradient(x, None, targets, np.full(4, 0.125), rng)
    assert loss == pytest.approx(np.mean((model.scores(x, None) - targets) ** 2), rel=1e-12)
