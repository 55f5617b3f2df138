"""The reference's pooling: by hand, and against finite differences."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    UNEQUAL,
    assert_close,
    differences,
)

from numlstm.backends.contract import (
    POOLINGS,
    PoolSpec,
)

PARAMETERS = {"weight": np.array([0.9, -0.4, 0.3]), "bias": np.array([0.2])}
every_pooling = pytest.mark.parametrize("kind", POOLINGS)
any_lengths = pytest.mark.parametrize("lengths", [None, UNEQUAL, np.ones(3, int)], ids=["full", "unequal", "ones"])


def make_pool(kind, lengths=None):
    """Flat parameters, vectors y (3, 5, 3) that are NaN past the lengths, and a gradient of what is pooled."""
    rng = np.random.default_rng(6)
    spec = PoolSpec(kind, 3, "float64")
    flat, y, dpooled = np.empty(BACKEND.size(spec)), rng.normal(size=(3, 5, 3)), rng.normal(size=(3, 3))
    BACKEND.pack(spec, PARAMETERS, flat)
    if lengths is not None:
        y[np.arange(5) >= lengths[:, np.newaxis]] = np.nan
    return spec, flat, y, dpooled


@every_pooling
@any_lengths
def test_pooling_by_hand(kind, lengths):
    spec, flat, y, _ = make_pool(kind, lengths)
    pooled, tape = BACKEND.pool_forward(BACKEND.prepare(spec, flat), y, lengths)
    for n, length in enumerate([5, 5, 5] if lengths is None else lengths):
        own = y[n, :length].tolist()
        if kind == "max":
            np.testing.assert_array_equal(pooled[n], [max(row[f] for row in own) for f in range(3)])
            np.testing.assert_array_equal([own[t][f] for f, t in enumerate(tape[n])], pooled[n])
            continue
        shares = [1.0] * length
        if kind == "attention":
            shares = [math.exp(math.tanh(0.9 * a - 0.4 * b + 0.3 * c + 0.2)) for a, b, c in own]
        weights = [share / sum(shares) for share in shares]
        np.testing.assert_allclose(tape[n], weights + [0.0] * (5 - length), rtol=1e-14)
        expected = [sum(w * row[f] for w, row in zip(weights, own, strict=True)) for f in range(3)]
        np.testing.assert_allclose(pooled[n], expected, rtol=1e-13, atol=1e-15)


@every_pooling
@any_lengths
def test_gradients_of_pooling(kind, lengths):
    spec, flat, y, dpooled = make_pool(kind, lengths)
    gradient = np.full_like(flat, np.nan)
    weights = BACKEND.prepare(spec, flat, True)
    _, tape = BACKEND.pool_forward(weights, y, lengths)
    dy = BACKEND.pool_backward(weights, y, lengths, tape, dpooled, gradient)

    def loss():
        pooled, _ = BACKEND.pool_forward(BACKEND.prepare(spec, flat), y, lengths)
        return np.vdot(dpooled, pooled)

    assert_close(dy, differences(loss, y))  # past the lengths both are 0
    if kind == "attention":
        by_name, expected = (BACKEND.unpack(spec, vector) for vector in (gradient, differences(loss, flat)))
        if lengths is not None and lengths.max() == 1:  # the one step has all the weight, whatever the parameters
            np.testing.assert_array_equal(gradient, 0.0)
        else:
            assert_close(by_name["weight"], expected["weight"])
            assert_close(by_name["bias"], expected["bias"])


def test_only_attention_has_parameters():
    assert [BACKEND.size(PoolSpec(kind, 3)) for kind in POOLINGS] == [0, 0, 4]


def test_maximum_of_equals_is_the_first():
    y = np.array([[[1.0, 3.0], [2.0, 3.0], [2.0, 0.0], [9.0, 9.0]]])
    spec, flat, lengths = PoolSpec("max", 2, "float64"), np.empty(0), np.array([3])
    weights = BACKEND.prepare(spec, flat)
    pooled, tape = BACKEND.pool_forward(weights, y, lengths)
    np.testing.assert_array_equal(pooled, [[2.0, 3.0]])
    np.testing.assert_array_equal(tape, [[1, 0]])
    dy = BACKEND.pool_backward(weights, y, lengths, tape, np.array([[5.0, 7.0]]), flat)
    np.testing.assert_array_equal(dy, [[[0.0, 7.0], [5.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])


def test_nan_is_a_maximum():
    y = np.array([[[1.0, np.inf], [np.nan, np.nan], [np.nan, 2.0]]])
    spec, flat = PoolSpec("max", 2, "float64"), np.empty(0)
    weights = BACKEND.prepare(spec, flat)
    pooled, tape = BACKEND.pool_forward(weights, y, None)
    assert np.isnan(pooled).all()
    np.testing.assert_array_equal(tape, [[1, 1]])
    dy = BACKEND.pool_backward(weights, y, None, tape, np.ones((1, 2)), flat)
    np.testing.assert_array_equal(dy, [[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])


@every_pooling
def test_nan_in_one_row_of_a_pooling(kind):
    spec, flat, y, dpooled = make_pool(kind)
    weights, others = BACKEND.prepare(spec, flat), [0, 2]

    def run():
        pooled, tape = BACKEND.pool_forward(weights, y, None)
        return pooled, BACKEND.pool_backward(weights, y, None, tape, dpooled, np.empty_like(flat))

    clean = run()
    y[1, 3] = np.nan
    spoilt = run()
    for a, b in zip(spoilt, clean, strict=True):
        np.testing.assert_array_equal(a[others], b[others])
    assert np.isnan(spoilt[0][1]).all()


@pytest.mark.parametrize("size", [1e4, 1e300])
@every_pooling
def test_pooling_of_far_vectors(kind, size):
    spec, flat, y, dpooled = make_pool(kind)
    weights = BACKEND.prepare(spec, flat)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pooled, tape = BACKEND.pool_forward(weights, size * y, None)
        dy = BACKEND.pool_backward(weights, size * y, None, tape, dpooled, np.empty_like(flat))
    assert np.isfinite(pooled).all()
    assert np.isfinite(dy).all()


@every_pooling
def test_pooling_in_float32_is_float64_rounded_once(kind):
    spec, flat, y, dpooled = make_pool(kind, UNEQUAL)
    narrow = [array.astype(np.float32) for array in (flat, y, dpooled)]

    def run(dtype):
        vector, vectors, gradient = (array.astype(dtype) for array in narrow)
        weights = BACKEND.prepare(replace(spec, dtype=dtype), vector)
        pooled, tape = BACKEND.pool_forward(weights, vectors, UNEQUAL)
        dparameters = np.full_like(vector, np.nan)
        return pooled, BACKEND.pool_backward(weights, vectors, UNEQUAL, tape, gradient, dparameters), dparameters

    for a, e in zip(run("float32"), run("float64"), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, e.astype(np.float32))
