"""Affine weights that are not for training serve many callers: no call touches what another was given."""

import numpy as np
import pytest

from numlstm.backends.contract import AffineSpec
from numlstm.backends.cpu.backend import CpuBackend

SPEC = AffineSpec(5, 5, "float64")


@pytest.mark.parametrize("training", [False, True])
def test_results_of_one_way_are_not_those_of_the_other(training):
    backend, rng = CpuBackend(), np.random.default_rng(0)
    flat = backend.zeros((backend.size(SPEC),), "float64")
    backend.pack(SPEC, {name: rng.normal(size=shape) for name, shape in SPEC.shapes.items()}, flat)
    weights = backend.prepare(SPEC, flat, training)
    x, dy, gradient = rng.normal(size=(7, 5)), rng.normal(size=(7, 5)), np.empty_like(flat)
    y = backend.affine_forward(weights, x)
    kept = y.copy()
    backend.affine_backward(weights, x, dy, gradient)
    np.testing.assert_array_equal(y, kept)


def test_calls_share_nothing_without_training():
    backend, rng = CpuBackend(), np.random.default_rng(0)
    flat = backend.zeros((backend.size(SPEC),), "float64")
    weights = backend.prepare(SPEC, flat)
    x = rng.normal(size=(7, 5))
    assert not np.shares_memory(backend.affine_forward(weights, x), backend.affine_forward(weights, x))
    first, second = (weights.buffers_for(7) for _ in range(2))
    assert not np.shares_memory(first.dy, second.dy)
