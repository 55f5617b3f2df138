"""The reference's norm and optimizers: by hand, and against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
)


def test_global_norm():
    assert BACKEND.global_norm(np.array([3.0, 0.0, -4.0], np.float32)) == 5.0
    assert BACKEND.global_norm(np.full(4, 1e30, np.float32)) == pytest.approx(2e30, rel=1e-7)
    assert math.isnan(BACKEND.global_norm(np.array([1.0, np.nan])))


DECAY = [0.3, 0.0, 0.1, 0.0, 0.7]
with_decay = pytest.mark.parametrize("decay", [None, DECAY], ids=["", "decay"])
any_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def run_steps(dtype, decay, states, step_of, by_hand):
    """Six steps of an optimizer, number by number, where ``by_hand(t, p, g, d, *state)`` gives p and the state anew.

    `g` is the gradient times `scale`, 0.5, and `d` the parameter's decay.
    """
    rng = np.random.default_rng(9)
    flat, arrays = rng.normal(size=5).astype(dtype), [np.zeros(5, dtype) for _ in range(states)]
    decay = None if decay is None else np.array(decay, dtype)
    expected = [(float(p), *[0.0] * states) for p in flat]
    for t in range(1, 7):
        gradient = rng.normal(0.0, 0.3, 5).astype(dtype)
        gradient[4] = 0.0
        before = gradient.copy()
        step_of(flat, gradient, arrays, t, scale=0.5, decay=decay)
        np.testing.assert_array_equal(gradient, before)
        for k, (p, *state) in enumerate(expected):
            d = 0.0 if decay is None else float(decay[k])
            expected[k] = by_hand(t, p, 0.5 * float(gradient[k]), d, *state)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for array, numbers in zip([flat, *arrays], zip(*expected, strict=True), strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, numbers, rtol=tolerance)


@any_dtype
@with_decay
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(dtype, decay, decoupled):
    """Against the algorithm's loop, every hyper-parameter away from its usual value."""

    def step_of(flat, gradient, arrays, t, **options):
        BACKEND.adam_step(
            flat, gradient, tuple(arrays),
            step_and_rate=np.array([t, 0.05]), betas=(0.8, 0.95), epsilon=0.01, decoupled=decoupled, **options,
        )  # fmt: skip

    def by_hand(t, p, g, d, m, v):
        g = g if decoupled else g + d * p
        m, v = 0.8 * m + (1 - 0.8) * g, 0.95 * v + (1 - 0.95) * g * g
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.95**t)
        shrunk = p - 0.05 * d * p if decoupled else p
        return shrunk - 0.05 * m_hat / (math.sqrt(v_hat) + 0.01), m, v

    run_steps(dtype, decay, 2, step_of, by_hand)


@any_dtype
@with_decay
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(dtype, decay, momentum, nesterov):
    def step_of(flat, gradient, arrays, t, **options):
        BACKEND.sgd_step(
            flat, gradient, *arrays, step_and_rate=np.array([t, 0.05]), momentum=momentum, nesterov=nesterov, **options
        )

    def by_hand(t, p, g, d, v):
        g += d * p
        v = momentum * v + g
        return p - 0.05 * (g + momentum * v if nesterov else v), v

    run_steps(dtype, decay, 1, step_of, by_hand)


@any_dtype
@with_decay
def test_rmsprop(dtype, decay):
    def step_of(flat, gradient, arrays, t, **options):
        BACKEND.rmsprop_step(
            flat, gradient, *arrays, step_and_rate=np.array([t, 0.05]), rho=0.8, epsilon=0.01, **options
        )

    def by_hand(t, p, g, d, q):
        g += d * p
        q = 0.8 * q + (1 - 0.8) * g * g
        return p - 0.05 * g / (math.sqrt(q) + 0.01), q

    run_steps(dtype, decay, 1, step_of, by_hand)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "momentum", "Nesterov", "RMSprop"])
def test_optimizer_of_torch(name):
    optim = pytest.importorskip("torch.optim")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(10)
    flat, states = rng.normal(size=7), [np.zeros(7), np.zeros(7)]
    adam = {"betas": (0.8, 0.95), "epsilon": 0.01}
    theirs = torch.tensor(flat, requires_grad=True)
    common = {"lr": 0.05, "weight_decay": 0.3}
    optimizer = {
        "Adam": lambda: optim.Adam([theirs], betas=(0.8, 0.95), eps=0.01, **common),
        "AdamW": lambda: optim.AdamW([theirs], betas=(0.8, 0.95), eps=0.01, **common),
        "SGD": lambda: optim.SGD([theirs], **common),
        "momentum": lambda: optim.SGD([theirs], momentum=0.9, **common),
        "Nesterov": lambda: optim.SGD([theirs], momentum=0.9, nesterov=True, **common),
        "RMSprop": lambda: optim.RMSprop([theirs], alpha=0.8, eps=0.01, **common),
    }[name]()
    for step in range(1, 6):
        gradient = rng.normal(size=7)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        options = {"step_and_rate": np.array([step, 0.05]), "decay": np.full(7, 0.3), "scale": 1.0}
        if name.startswith("Adam"):
            BACKEND.adam_step(flat, gradient, tuple(states), decoupled=name == "AdamW", **adam, **options)
        elif name == "RMSprop":
            BACKEND.rmsprop_step(flat, gradient, states[0], rho=0.8, epsilon=0.01, **options)
        else:
            momentum = 0.0 if name == "SGD" else 0.9
            BACKEND.sgd_step(flat, gradient, states[0], momentum=momentum, nesterov=name == "Nesterov", **options)
        np.testing.assert_allclose(flat, theirs.detach().numpy(), rtol=1e-12)
