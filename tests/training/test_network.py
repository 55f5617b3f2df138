"""The network's gradient, with every pooling and loss."""

import numpy as np
import pytest

from numlstm.backends.contract import LossSpec
from numlstm.backends.dispatch import backend_for
from numlstm.layers.options import stack_of
from numlstm.training.model import Model
from numlstm.training.network import Network

SOFTMAX = LossSpec("softmax")


STACKS = [
    {"bidirectional": True, "dropout": 0.4, "num_layers": 2},
    {"bidirectional": True, "merge": "mean", "residual": True, "num_layers": 3, "dropout": 0.2},
    {"bidirectional": True, "merge": "sum", "hidden_size": [3, 2], "weight_dropout": 0.4, "input_dropout": 0.3},
    {"proj_size": 2, "zoneout": (0.2, 0.3), "layer_norm": True, "recurrent_dropout": 0.3, "residual": True,
     "num_layers": 2},
]  # fmt: skip


def small_stack(cell="lstm", **options):
    return stack_of(cell, 2, "float64", {"hidden_size": 3} | options)


@pytest.mark.parametrize("options", STACKS, ids=str)
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
def test_gradient_is_that_of_the_loss(options, pooling, loss, lengths):
    network = Network(small_stack(**options), 4, pooling, loss)
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
        return model.loss_and_gradient(x, lengths, targets, weights, np.random.default_rng(1))[0], model

    found = network.unpack(backend, run(parameters)[1].gradient)
    assert found.keys() == network.shapes.keys()
    for name, value in parameters.items():
        index = tuple(rng.integers(size) for size in value.shape)
        sides = []
        for step in (1e-5, -1e-5):
            moved = value.copy()
            moved[index] += step
            sides.append(run(parameters | {name: moved})[0])
        assert found[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-9), name


def test_scores_are_those_that_the_loss_is_taken_of():
    network = Network(small_stack(), 2, "last", LossSpec("squared"))
    backend, rng = backend_for("cpu"), np.random.default_rng(0)
    model = Model(network, backend, network.pack(backend, network.initialise("keras", rng)), training=True)
    x, targets = rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 2))
    loss = model.loss_and_gradient(x, None, targets, np.full(4, 0.125), rng)[0]
    assert loss == pytest.approx(np.mean((model.scores(x, None) - targets) ** 2), rel=1e-12)


@pytest.mark.parametrize("pooling", ["last", "mean", "none"])
@pytest.mark.parametrize("lengths", [None, np.array([2, 5, 1])])
def test_penalty_on_outputs_is_in_the_gradient_and_not_in_the_loss(pooling, lengths):
    rng, backend = np.random.default_rng(0), backend_for("cpu")
    x, rows = rng.normal(size=(3, 5, 2)), 15 if pooling == "none" else 3
    targets, weights = rng.uniform(size=(rows, 4)), rng.uniform(size=rows)
    stack = small_stack(num_layers=2, bidirectional=True)
    networks = [Network(stack, 4, pooling, LossSpec("squared"), activity) for activity in (None, (0.6, 0.9))]
    parameters = networks[0].initialise("torch", rng)

    def run(network):
        model = Model(network, backend, network.pack(backend, parameters), training=True)
        loss = model.loss_and_gradient(x, lengths, targets, weights, rng)[0]
        return loss, network.unpack(backend, model.gradient)

    def penalty(values):
        model = Model(networks[0], backend, networks[0].pack(backend, values), training=True)
        y, *_ = stack.forward(backend, model.layers, x, None, lengths)
        return weights.sum() * backend.activity_loss(y, lengths, 0.6, 0.9)[0]

    (plain, without), (loss, found) = map(run, networks)
    assert loss == plain
    for name in stack.shapes:
        direction = rng.normal(size=stack.shapes[name])
        sides = [penalty(parameters | {name: parameters[name] + step * direction}) for step in (1e-5, -1e-5)]
        slope = ((found[name] - without[name]) * direction).sum()
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_weights_of_single_numbers_are_those_of_their_rows_where_these_agree(name):
    network = Network(small_stack(), 4, "none", LossSpec("squared"), (0.6, 0.9))
    backend, rng = backend_for(name), np.random.default_rng(0)
    model = Model(network, backend, network.pack(backend, network.initialise("torch", rng)), training=True)
    x, targets, weights = rng.normal(size=(3, 5, 2)), rng.uniform(size=(15, 4)), rng.uniform(size=15)
    loss = float(model.loss_and_gradient(x, None, targets, weights, rng)[0])
    gradient = np.array(model.gradient)
    again = model.loss_and_gradient(x, None, targets, np.repeat(weights[:, None], 4, axis=1), rng)[0]
    assert float(again) == pytest.approx(loss)
    np.testing.assert_allclose(model.gradient, gradient, rtol=1e-12, atol=1e-15)


def test_initial_parameters_of_head_and_pooling_are_those_of_the_framework_that_is_named():
    stack = stack_of("lstm", 3, "float64", {"hidden_size": 16})
    network = Network(stack, 8, "attention", LossSpec("softmax"))
    of_torch, of_keras = (network.initialise(name, np.random.default_rng(0)) for name in ("torch", "keras"))
    for name in ("weight_output", "bias_output", "weight_attention", "bias_attention"):
        assert np.abs(of_torch[name]).max() <= 16**-0.5
        assert (of_torch[name] != 0).all()
    assert np.abs(of_torch["weight_output"]).max() > 0.9 * 16**-0.5
    assert 0.9 * 0.5 < np.abs(of_keras["weight_output"]).max() <= (6 / 24) ** 0.5
    assert not of_keras["bias_output"].any()
    assert not of_keras["bias_attention"].any()
