"""The reference's affine maps."""

from __future__ import annotations

import warnings

import numpy as np
from reference_problems import (
    BACKEND,
    assert_close,
    differences,
)

from numlstm.backends.contract import (
    AffineSpec,
)


def test_affine():
    rng = np.random.default_rng(3)
    spec = AffineSpec(4, 3, "float64")
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=3)
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    flat, gradient = np.empty(15), np.full(15, np.nan)
    BACKEND.pack(spec, {"weight": weight, "bias": bias}, flat)

    def loss():
        return np.vdot(dy, BACKEND.affine_forward(BACKEND.prepare(spec, flat), x))

    y = BACKEND.affine_forward(BACKEND.prepare(spec, flat), x)
    by_hand = [[sum(weight[k, d] * x[n, d] for d in range(4)) + bias[k] for k in range(3)] for n in range(5)]
    np.testing.assert_allclose(y, by_hand, rtol=1e-13)
    dx = BACKEND.affine_backward(BACKEND.prepare(spec, flat, True), x, dy, gradient)
    assert_close(dx, differences(loss, x))
    assert_close(gradient, differences(loss, flat))


def test_affine_in_float32():
    spec = AffineSpec(2, 1)
    flat = np.array([1.0, -1.0, 2.0], np.float32)
    x, gradient = np.array([[3.0, 1.0], [np.nan, 0.0]], np.float32), np.empty(3, np.float32)
    y = BACKEND.affine_forward(BACKEND.prepare(spec, flat), x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [[4.0], [np.nan]])
    dx = BACKEND.affine_backward(BACKEND.prepare(spec, flat), x[:1], np.array([[0.5]], np.float32), gradient)
    assert dx.dtype == np.float32
    np.testing.assert_array_equal(dx, [[0.5, -0.5]])
    np.testing.assert_array_equal(gradient, [1.5, 0.5, 0.5])


def test_overflow_of_float32_is_infinite_and_silent():
    weights = BACKEND.prepare(AffineSpec(1, 1), np.array([1e30, 0.0], np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = BACKEND.affine_forward(weights, np.array([[1e30], [-1e30]], np.float32))
    np.testing.assert_array_equal(y, [[np.inf], [-np.inf]])
