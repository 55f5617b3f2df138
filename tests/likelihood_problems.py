"""Losses of distributions, and scores and targets for them."""

from __future__ import annotations

import numpy as np
import pytest

from numlstm.backends.contract import LossSpec

LIKELIHOOD_SPECS = [
    *(LossSpec("quantiles", levels=levels) for levels in ((0.3,), (0.1, 0.9), (0.05, 0.5, 0.75, 0.8, 0.95))),
    LossSpec("gaussian"),
    LossSpec("student_t"),
    LossSpec("negative_binomial"),
]
every_likelihood = pytest.mark.parametrize("spec", LIKELIHOOD_SPECS, ids=lambda spec: f"{spec.kind}{len(spec.levels)}")


def make_likelihood(spec, rows=6, dtype="float64", size=1.0):
    """Scores of a size, targets, and weights, every fifth of them 0."""
    rng = np.random.default_rng(7)
    scores = rng.normal(0.0, size, (rows, spec.scores)).astype(dtype)
    if spec.kind == "negative_binomial":
        targets = np.stack([rng.poisson(3.0, rows), rng.choice([0.5, 1.0, 20.0], rows)], axis=1).astype(dtype)
    else:
        targets = rng.normal(0.0, size, (rows, 1)).astype(dtype)
    weights = rng.uniform(0.5, 1.5, rows)
    weights[1::5] = 0.0
    return scores, targets, weights
