"""Checks of a backend's embeddings: vectors of tokens, and their gradients."""

from __future__ import annotations

import numpy as np
from tolerances import assert_close

from numlstm.backends.contract import EmbeddingSpec
from numlstm.backends.reference import ReferenceBackend

REFERENCE = ReferenceBackend()
SPECS = [
    EmbeddingSpec(((5, 3),), (False,)),
    EmbeddingSpec(((1, 1),), (False,)),
    EmbeddingSpec(((40, 17), (3, 2), (7, 33)), (False, True, False)),
]


def run(backend, spec, parameters, tokens, dy):
    """Vectors and gradients, with tables that have changed since they were prepared."""
    flat = backend.zeros((backend.size(spec),), spec.dtype)
    weights = backend.prepare(spec, flat, training=True)
    backend.pack(spec, parameters, flat)
    weights = backend.refresh(weights)
    vectors = backend.to_numpy(backend.embed(weights, tokens))
    gradient = backend.to_device(np.full(backend.size(spec), np.nan, spec.dtype), spec.dtype)
    backend.embed_backward(weights, tokens, backend.to_device(dy, spec.dtype), gradient)
    return {"vectors": vectors} | backend.unpack(spec, gradient)


def check_embedding(backend, spec, steps):
    """Against the reference; tokens that come often, never, and negative ones."""
    rng = np.random.default_rng(8)
    parameters = {name: rng.normal(size=shape).astype(spec.dtype) for name, shape in spec.shapes.items()}
    tokens = np.stack([rng.integers(-1, max(1, count - 1), steps) for count, _ in spec.tables], axis=1)
    dy = rng.normal(size=(steps, spec.output_size)).astype(spec.dtype)
    results, expected = (run(each, spec, parameters, tokens, dy) for each in (backend, REFERENCE))
    np.testing.assert_array_equal(results["vectors"], expected["vectors"], strict=True)
    for name in spec.shapes:
        assert_close("embedding", name, results[name], expected[name])
