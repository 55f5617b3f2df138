"""The reference's penalties on activity."""

from __future__ import annotations

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    UNEQUAL,
    assert_close,
    differences,
)


@pytest.mark.parametrize("lengths", [None, UNEQUAL, np.array([1, 1, 1])], ids=["full", "unequal", "ones"])
def test_activity(lengths):
    y = np.random.default_rng(1).normal(size=(3, 5, 2))
    own = [row if lengths is None else row[: lengths[n]] for n, row in enumerate(y)]
    if lengths is not None:
        y[np.arange(5) >= lengths[:, np.newaxis]] = np.nan
    sizes = [value**2 for row in own for step in row for value in step]
    changes = [(row[t, f] - row[t - 1, f]) ** 2 for row in own for t in range(1, len(row)) for f in range(2)]
    expected = 0.7 * sum(sizes) / len(sizes) + 0.3 * sum(changes) / max(len(changes), 1)
    loss, gradient = BACKEND.activity_loss(y, lengths, 0.7, 0.3)
    assert isinstance(loss, float)
    assert loss == pytest.approx(expected, rel=1e-13)
    slopes = differences(lambda: BACKEND.activity_loss(y, lengths, 0.7, 0.3)[0], np.asarray(y))
    past = np.isnan(y)
    assert not gradient[past].any()
    assert_close(gradient[~past], slopes[~past])


def test_activity_in_float32():
    y = np.random.default_rng(1).normal(size=(2, 3, 2)).astype(np.float32)
    loss, gradient = BACKEND.activity_loss(y, None, 0.5, 2.0)
    expected, wide = BACKEND.activity_loss(y.astype(float), None, 0.5, 2.0)
    assert loss == expected
    np.testing.assert_array_equal(gradient, wide.astype(np.float32), strict=True)
