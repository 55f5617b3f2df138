"""The network's gradient, and the optimizer's norm clipping."""

import numpy as np
import pytest

from numlstm.backends.dispatch import backend_for
from numlstm.layers.stack import Stack
from numlstm.training.batches import Sequences, shuffled
from numlstm.training.network import Network
from numlstm.training.optimizers import Adam


@pytest.mark.parametrize("lengths", [None, np.array([2, 5, 1])])
def test_gradient_is_that_of_the_loss(lengths):
    network = Network(Stack("lstm", 2, 3, 2, bidirectional=True, dropout=0.4, dtype="float64"), 4)
    backend = backend_for("cpu")
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(3, 5, 2)), np.array([3, 0, 1])
    parameters = network.initialise("torch", rng)
    flat = network.pack(backend, parameters)
    gradient = np.full_like(flat, np.nan)

    def loss(values):
        weights = network.prepare(backend, network.pack(backend, values), True)
        return network.loss_and_gradient(backend, weights, gradient, x, lengths, targets, np.random.default_rng(1))

    loss(parameters)
    found = network.unpack(backend, gradient.copy())
    for name, value in parameters.items():
        index = tuple(rng.integers(size) for size in value.shape)
        sides = []
        for step in (1e-6, -1e-6):
            moved = value.copy()
            moved[index] += step
            sides.append(loss(parameters | {name: moved}))
        assert found[name][index] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("clip_norm", [None, 0.5, 50.0])
def test_adam_clips_the_norm(clip_norm):
    backend = backend_for("reference")
    gradient = np.array([3.0, -4.0])
    flat = np.zeros(2)
    # With a large epsilon the step is proportional to the gradient, so that clipping shows.
    adam = Adam(backend, flat, learning_rate=1.0, betas=(0.0, 0.0), epsilon=1e6, clip_norm=clip_norm)
    adam.step(gradient)
    scale = 0.1 if clip_norm == 0.5 else 1.0
    np.testing.assert_allclose(flat, -gradient * scale / 1e6, rtol=1e-4)


def test_batches_hold_every_sample_once_in_random_order():
    batches = list(shuffled(10, 4, np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    order = np.concatenate(batches)
    assert sorted(order) == list(range(10))
    assert order.tolist() != list(range(10))


def test_a_batch_is_padded_to_its_own_longest():
    sequences = Sequences(np.arange(24.0).reshape(3, 4, 2), np.array([4, 2, 1]))
    batch = sequences.take(np.array([2, 1]))
    assert batch.x.shape == (2, 2, 2)
    np.testing.assert_array_equal(batch.lengths, [1, 2])
    assert sequences.take(np.array([1])).lengths is None
