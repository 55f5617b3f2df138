"""Cells that are registered with a twin."""

from __future__ import annotations

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    UNEQUAL,
    assert_gradients,
    make_problem,
)

from numlstm import cells
from numlstm.backends.contract import (
    LayerSpec,
    UnsupportedError,
)
from numlstm.backends.reference import Twin, affine, register
from numlstm.backends.reference import twin as twins


def toy_step(spec, weights, x, states, masks):
    """One gate and three states: h, the sum of all h, and what that sum was, less itself."""
    h_prev, total, late = states
    h = np.tanh(affine.forward(weights, "ih", 0, x) + affine.forward(weights, "hh", 0, h_prev))
    return (h, total + h, total - late), (x, h_prev, h), {}


def toy_step_backward(spec, weights, saved, dstates, masks, gradient):
    x, h_prev, h = saved
    dh, dtotal, dlate = dstates
    delta = (dh + dtotal) * (1 - h**2)
    dx = affine.backward(weights, "ih", 0, x, delta, gradient)
    return dx, (affine.backward(weights, "hh", 0, h_prev, delta, gradient), dtotal + dlate, -dlate)


def not_called(*_):
    raise AssertionError("the reference computes with twins, not with a cell's equations")


@pytest.fixture
def toy_cell(monkeypatch):
    """A cell of another shape than the LSTM, without a twin; both registries forget it afterwards."""
    monkeypatch.setattr(cells, "_registry", dict(cells._registry))
    monkeypatch.setattr(twins, "_registry", dict(twins._registry))
    phase = cells.Phase(
        gates=("a",),
        products=(
            cells.Product(("a",), "x", "weight_ih", "bias_ih", (0,)),
            cells.Product(("a",), "h_prev", "weight_hh", "bias_hh", (0,)),
        ),
        reads=("total_prev", "late_prev"),
        gives=("h", "total", "late"),
        keeps=(),
        uses=("h",),
        forward=not_called,
        backward=not_called,
    )
    parameters = (
        cells.Parameter("weight_ih", 1, columns="input"),
        cells.Parameter("weight_hh", 1, columns="hidden"),
        cells.Parameter("bias_ih", 1, optional=True),
        cells.Parameter("bias_hh", 1, optional=True),
    )
    cells.register("toy", cells.Cell("toy", ("h", "total", "late"), (phase,), parameters))
    yield "toy"
    cells.describe.cache_clear()


def test_a_registered_twin_runs(toy_cell):
    register(toy_cell, Twin(toy_step, toy_step_backward))
    problem = make_problem(cell=toy_cell, lengths=UNEQUAL)
    (h, total, late), _, _ = problem.forward()
    expected = problem.initial[1][:, np.newaxis] + np.cumsum(h, axis=1)
    np.testing.assert_allclose(total[~problem.past], expected[~problem.past], rtol=1e-12)
    np.testing.assert_array_equal(late[1, 1:], (total - late)[1, :-1])
    assert_gradients(problem)
    assert_gradients(make_problem(cell=toy_cell, bias=False, reverse=True, given=False, n=2, t=3))


def test_a_missing_twin(toy_cell):
    with pytest.raises(ValueError, match=r"\[.*'lstm'.*got 'toy'"):
        twins.get_twin(toy_cell)
    spec = LayerSpec(toy_cell, 3, 4)
    with pytest.raises(UnsupportedError, match=r"reference.*toy"):
        BACKEND.prepare(spec, np.zeros(BACKEND.size(spec), np.float32))


def test_a_name_is_given_once(toy_cell):
    twin = Twin(toy_step, toy_step_backward)
    register(toy_cell, twin)
    register(toy_cell, twin)
    assert twins.get_twin(toy_cell) is twin
    with pytest.raises(ValueError, match="'lstm' has a twin already"):
        register("lstm", twin)
