"""Layers against what PyTorch computed once, for where it is not installed; see make_torch_goldens.py."""

import numpy as np
import pytest
from lstm_cases import CASES, joined, relative_error
from make_torch_goldens import GOLDENS


@pytest.fixture(scope="module")
def goldens():
    with np.load(GOLDENS) as file:
        return dict(file)


def split(vector, like):
    """Undo `joined`."""
    names = sorted(like)
    parts = np.split(vector, np.cumsum([like[name].size for name in names])[:-1])
    return {name: part.reshape(like[name].shape) for name, part in zip(names, parts, strict=True)}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("key", CASES)
def test_results_are_those_that_pytorch_gave(key, backend, dtype, tolerance, goldens):
    case = CASES[key]
    inputs = split(goldens[f"{key}: inputs"].astype("float64"), case.inputs())
    results = case.run(inputs, dtype, backend)
    expected = split(goldens[f"{key}: results"], results)
    errors = {name: relative_error(value, expected[name]) for name, value in results.items()}
    assert max(errors.values()) < tolerance, errors
    assert joined(results).dtype == dtype
