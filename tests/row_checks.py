"""Checks of a backend's functions for rows of matrices, and for the weight of an affine map."""

from __future__ import annotations

import numpy as np

from numlstm.backends.contract import AffineSpec


def check_rows(backend, dtype):
    """Rows that are taken, in any order and repeated, and sums at rows, from arrays in any strides."""
    rng = np.random.default_rng(5)
    x, value = rng.normal(size=(9, 14)).astype(dtype), rng.normal(size=(4, 7)).astype(dtype)
    on_device = backend.to_device(x, dtype)
    for rows in ([3, 0, 8, 3], []):
        taken = backend.take_rows(on_device[:, 7:], np.array(rows, np.int64))
        np.testing.assert_array_equal(backend.to_numpy(taken), x[rows, 7:], strict=True)
    rows = np.array([8, 0, 3, 5])
    backend.add_rows(on_device[:, 7:], rows, backend.to_device(value, dtype))
    x[rows, 7:] += value
    np.testing.assert_array_equal(backend.to_numpy(on_device), x, strict=True)


def check_weight(backend, dtype, outputs, inputs):
    """The weight of an affine map is read and written in the flat vector, and the bias stays."""
    rng = np.random.default_rng(6)
    spec = AffineSpec(inputs, outputs, dtype)
    parameters = {name: rng.normal(size=shape).astype(dtype) for name, shape in spec.shapes.items()}
    flat = backend.zeros((backend.size(spec),), dtype)
    backend.pack(spec, parameters, flat)
    weight = backend.to_numpy(backend.weight_of(spec, flat))
    np.testing.assert_array_equal(weight, parameters["weight"], strict=True)
    new = rng.normal(size=(outputs, inputs)).astype(dtype)
    backend.set_weight(spec, flat, backend.to_device(new, dtype))
    results = backend.unpack(spec, flat)
    np.testing.assert_array_equal(results["weight"], new, strict=True)
    np.testing.assert_array_equal(results["bias"], parameters["bias"], strict=True)
