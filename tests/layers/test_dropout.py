"""Dropout between layers, in training only."""

import numpy as np
import pytest

from numlstm import LSTM

X = np.random.default_rng(0).normal(size=(3, 5, 2))
each_backend = pytest.mark.parametrize("backend", ["cpu", "reference"])


def make_layer(backend, num_layers=2, dropout=0.5, **options):
    options |= {"dtype": "float64", "init": "torch", "random_state": 0}  # PyTorch's start: no bias is zero
    return LSTM(2, 4, num_layers, dropout=dropout, backend=backend, **options)


def seen_by_the_second_layer(y):
    """What the second layer of `first_mask` read, from what it put out.

    With no weights but those of g, all its gates are 1/2: c = c_prev / 2 + tanh(read) / 2, and y = tanh(c) / 2.
    """
    c = np.arctanh(2 * y)
    c_prev = np.pad(c, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return np.arctanh(2 * c - c_prev)


def first_mask(rate, rows=50, steps=10, units=20):
    """What the outputs of a first layer were multiplied with on their way to a second one."""
    layer = LSTM(1, units, 2, bias=False, dropout=rate, dtype="float64", backend="cpu")
    parameters = {name: np.zeros_like(value) for name, value in layer.parameters.items()}
    parameters["weight_ih_l0"] += 1.0
    parameters["weight_ih_l1"][2 * units : 3 * units] = 0.1 * np.eye(units)
    layer.set_parameters(parameters)
    x = np.ones((rows, steps, 1))
    y, _, _ = layer.vjp(x, training=True, rng=0)
    plain, _ = layer(x)
    return seen_by_the_second_layer(y) / seen_by_the_second_layer(plain)


@each_backend
def test_inference_drops_nothing(backend):
    with_dropout, without = make_layer(backend), make_layer(backend, dropout=0.0)
    expected, _ = without(X)
    np.testing.assert_array_equal(with_dropout(X)[0], expected)
    np.testing.assert_array_equal(with_dropout.vjp(X, rng=0)[0], expected)
    np.testing.assert_array_equal(without.vjp(X, training=True, rng=0)[0], expected)
    assert (with_dropout.vjp(X, training=True, rng=0)[0] != expected).any()


@each_backend
def test_last_layer_is_never_dropped(backend):
    y, (h_n, _), _ = make_layer(backend, 2, dropout=0.9).vjp(X, training=True, rng=0)
    assert y.all()
    np.testing.assert_array_equal(h_n[-1], y[:, -1])


@each_backend
def test_states_of_the_layer_below_are_not_dropped(backend):
    layer = make_layer(backend)
    _, (h_n, c_n), _ = layer.vjp(X, training=True, rng=0)
    _, (h_plain, c_plain) = layer(X)
    np.testing.assert_array_equal(h_n[0], h_plain[0])
    np.testing.assert_array_equal(c_n[0], c_plain[0])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_share_and_scale(rate):
    mask = first_mask(rate)
    kept = mask > 0.5
    np.testing.assert_allclose(mask, np.where(kept, 1 / (1 - rate), 0), atol=1e-9)
    deviation = np.sqrt(rate * (1 - rate) / mask.size)
    assert abs(1 - kept.mean() - rate) < 4 * deviation


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["sequence", "step", "unit"])
def test_each_has_a_mask_of_its_own(axis):
    parts = np.moveaxis(first_mask(0.5) > 0.5, axis, 0)
    assert len({part.tobytes() for part in parts}) == len(parts)


def test_seed_makes_the_masks():
    layer = make_layer("reference")
    y, other = (layer.vjp(X, training=True, rng=seed)[0] for seed in (0, 1))
    assert (y != other).any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_same_seed_gives_the_same_masks_on_every_backend(bidirectional):
    lengths = [2, 5, 3]
    results = []
    for backend in ("cpu", "reference"):
        layer = make_layer(backend, 3, bidirectional=bidirectional)
        y, _, pullback = layer.vjp(X, lengths=lengths, training=True, rng=7)
        results.append((y, pullback(np.ones_like(y))[0]))
        again, *_ = layer.vjp(X, lengths=lengths, training=True, rng=np.random.default_rng(7))
        np.testing.assert_array_equal(again, y)
    for value, other in zip(*results, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-12, atol=1e-14)


@each_backend
def test_generator_goes_on(backend):
    layer, rng = make_layer(backend), np.random.default_rng(0)
    first, second = (layer.vjp(X, training=True, rng=rng)[0] for _ in range(2))
    assert (first != second).any()


@each_backend
@pytest.mark.parametrize("bidirectional", [False, True])
def test_pullback_is_the_gradient_under_the_same_masks(backend, bidirectional):
    layer, lengths = make_layer(backend, 3, bidirectional=bidirectional), [2, 5, 3]
    rng = np.random.default_rng(1)

    def loss(x, parameters):
        layer.set_parameters(parameters)
        y, (h_n, c_n), pullback = layer.vjp(x, lengths=lengths, training=True, rng=3)
        return (dy * y).sum() + (dh * h_n).sum() + (dc * c_n).sum(), pullback

    parameters = dict(layer.parameters)
    y, (h_n, c_n) = layer(X, lengths=lengths)
    dy, dh, dc = (rng.normal(size=array.shape) for array in (y, h_n, c_n))
    _, pullback = loss(X, parameters)
    dx, _, dparameters = pullback(dy, (dh, dc))

    direction = rng.normal(size=X.shape)
    directions = {name: rng.normal(size=value.shape) for name, value in parameters.items()}
    step = 1e-5

    def moved(sign):
        return {name: value + sign * step * directions[name] for name, value in parameters.items()}

    slope_x = (loss(X + step * direction, parameters)[0] - loss(X - step * direction, parameters)[0]) / (2 * step)
    slope = (loss(X, moved(1))[0] - loss(X, moved(-1))[0]) / (2 * step)
    assert slope_x == pytest.approx((dx * direction).sum(), rel=1e-7)
    assert slope == pytest.approx(sum((dparameters[name] * directions[name]).sum() for name in parameters), rel=1e-7)
