"""Optimizers over the contract: clipping, decay, state."""

import numpy as np
import pytest

from numlstm.backends.dispatch import backend_for
from numlstm.training.optimizers import SGD, Adam, RMSprop

BACKEND = backend_for("reference")
GRADIENT = np.array([3.0, -4.0])  # of norm 5


@pytest.mark.parametrize(("clip_norm", "scale"), [(None, 1.0), (0.5, 0.1), (50.0, 1.0)])
@pytest.mark.parametrize(
    ("make", "size"),
    [
        # With these options a step is proportional to the gradient, so that clipping shows.
        (lambda *a, **k: Adam(*a, betas=(0.0, 0.0), epsilon=1e6, **k), 1e-6),
        (lambda *a, **k: RMSprop(*a, rho=0.0, epsilon=1e6, **k), 1e-6),
        (lambda *a, **k: SGD(*a, momentum=0.0, **k), 1.0),
    ],
)
def test_the_norm_is_clipped(make, size, clip_norm, scale):
    flat = np.zeros(2)
    make(BACKEND, flat, clip_norm=clip_norm).step(GRADIENT, 1.0)
    np.testing.assert_allclose(flat, -size * scale * GRADIENT, rtol=1e-4)


@pytest.mark.parametrize("kind", [Adam, SGD, RMSprop])
def test_state_and_steps_are_all_there_is_to_go_on_from(kind):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 5))
    start = rng.normal(size=5)
    whole = kind(BACKEND, start.copy(), decay=np.full(5, 0.1))
    for gradient in gradients:
        whole.step(gradient, 0.01)
    first = kind(BACKEND, start.copy(), decay=np.full(5, 0.1))
    for gradient in gradients[:3]:
        first.step(gradient, 0.01)
    second = kind(BACKEND, first.flat, decay=np.full(5, 0.1))
    second.steps = first.steps
    for mine, theirs in zip(second.state, first.state, strict=True):
        mine[...] = theirs
    for gradient in gradients[3:]:
        second.step(gradient, 0.01)
    np.testing.assert_array_equal(second.flat, whole.flat)


def test_adamw_decays_apart_from_the_gradient():
    decay = np.array([0.5, 0.0])
    coupled, apart = np.ones(2), np.ones(2)
    for flat, decoupled in ((coupled, False), (apart, True)):
        Adam(BACKEND, flat, decay=decay, decoupled=decoupled).step(np.zeros(2), 0.1)
    np.testing.assert_allclose(apart, [1 - 0.1 * 0.5, 1.0])
    np.testing.assert_allclose(coupled, [1 - 0.1, 1.0], rtol=1e-6)  # Adam's first step is the learning rate
