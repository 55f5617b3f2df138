"""Optimizer steps of single parameters, in plain Python, next to the reference."""

import math

import pytest

from numlstm.backends.equations import optimizers
from numlstm.backends.reference import optimizers as reference

THETA, G, FIRST, SECOND = 0.7, -0.3, 0.2, 0.05


@pytest.mark.parametrize("step", [1, 2, 1000])
def test_adam(step):
    options = {"step": step, "learning_rate": 0.01, "epsilon": 1e-3}
    numbers = optimizers.adam_numbers(**options, beta1=0.9, beta2=0.99, decoupled=False)
    expected = reference.adam(THETA, G, FIRST, SECOND, **options, betas=(0.9, 0.99))
    assert optimizers.adam(THETA, G, FIRST, SECOND, numbers) == pytest.approx(expected, rel=1e-14)


def test_decay_of_adam_is_coupled_or_decoupled():
    for decoupled, expected in [(False, (THETA, G + 0.5 * THETA)), (True, (THETA - 0.1 * 0.5 * THETA, G))]:
        numbers = optimizers.adam_numbers(3, 0.1, 0.9, 0.99, 1e-8, decoupled)
        assert optimizers.adam_decay(THETA, G, 0.5, numbers) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov):
    expected = reference.sgd(THETA, G, FIRST, learning_rate=0.1, momentum=0.9, nesterov=nesterov)
    numbers = optimizers.sgd_numbers(0.1, 0.9, nesterov)
    assert optimizers.sgd(THETA, G, FIRST, numbers) == pytest.approx(expected, rel=1e-14)


def test_rmsprop():
    expected = reference.rmsprop(THETA, G, SECOND, learning_rate=0.1, rho=0.9, epsilon=1e-3)
    numbers = optimizers.rmsprop_numbers(0.1, 0.9, 1e-3)
    assert optimizers.rmsprop(THETA, G, SECOND, numbers) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("norm", "scale"), [(0.0, 1.0), (2.0, 1.0), (8.0, 0.25), (math.inf, 0.0), (math.nan, 1.0)])
def test_clipping(norm, scale):
    assert optimizers.clip_scale(norm, 2.0) == scale
