"""Layers of the reference: their gradients against finite differences, and what rows do not share."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    UNEQUAL,
    Problem,
    assert_gradients,
    make_problem,
    make_sources,
)

from numlstm.backends.contract import (
    LayerSpec,
)


@pytest.mark.parametrize("given", [True, False], ids=["initial", "zeros"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("lengths", [None, UNEQUAL], ids=["full", "unequal"])
def test_gradients(lengths, reverse, given):
    assert_gradients(make_problem(lengths=lengths, reverse=reverse, given=given))


@pytest.mark.parametrize("given", [True, False])
def test_gradients_of_a_single_step(given):
    assert_gradients(make_problem(n=1, t=1, given=given))


def test_gradients_without_bias():
    problem = make_problem(n=2, t=3, bias=False)
    assert problem.flat.shape == (4 * 4 * (3 + 4),)
    assert_gradients(problem)


def test_lstm_by_hand():
    """Two steps of one unit, in the equations of the papers, with weights that tell the gates apart."""
    parameters = {
        "weight_ih": np.array([[0.5], [-0.3], [0.8], [0.2]]),
        "weight_hh": np.array([[0.1], [0.7], [-0.6], [0.9]]),
        "bias_ih": np.array([0.05, 0.4, -0.15, 0.25]),
        "bias_hh": np.array([-0.35, 0.6, 0.45, -0.55]),
    }
    spec = LayerSpec("lstm", 1, 1, dtype="float64")
    flat = np.empty(BACKEND.size(spec))
    BACKEND.pack(spec, parameters, flat)
    x, y0, c0 = [1.5, -2.0], 0.3, -0.4

    def sigmoid(a):
        return 1 / (1 + math.exp(-a))

    def step(x, y, c):
        i = sigmoid(0.5 * x + 0.1 * y + 0.05 - 0.35)
        f = sigmoid(-0.3 * x + 0.7 * y + 0.4 + 0.6)
        g = math.tanh(0.8 * x - 0.6 * y - 0.15 + 0.45)
        o = sigmoid(0.2 * x + 0.9 * y + 0.25 - 0.55)
        c = f * c + i * g
        return o * math.tanh(c), c

    y1, c1 = step(x[0], y0, c0)
    y2, c2 = step(x[1], y1, c1)
    initial = (np.array([[y0]]), np.array([[c0]]))
    (y, c), final, _ = Problem(spec, flat, np.array(x).reshape(1, 2, 1), initial).forward()
    np.testing.assert_allclose(y.ravel(), [y1, y2], rtol=1e-14)
    np.testing.assert_allclose(c.ravel(), [c1, c2], rtol=1e-14)
    np.testing.assert_array_equal(np.ravel(final), [y[0, 1, 0], c[0, 1, 0]])


@pytest.mark.parametrize("reverse", [False, True])
def test_past_the_lengths(reverse):
    problem = make_problem(lengths=UNEQUAL, reverse=reverse)
    outputs, final, _ = problem.forward()
    last = np.zeros(3, int) if reverse else UNEQUAL - 1
    for output, state in zip(outputs, final, strict=True):
        assert np.all(output[problem.past] == 0)
        assert np.all(output[~problem.past] != 0)
        np.testing.assert_array_equal(state, output[np.arange(3), last])
    dx = problem.backward(*make_sources(problem)["all"])["x"]
    assert np.all(dx[problem.past] == 0)
    assert np.all(dx[~problem.past] != 0)


def test_reverse_is_forward_on_flipped_rows():
    problem = make_problem(lengths=UNEQUAL, reverse=True)
    flip = [np.r_[np.arange(length)[::-1], np.arange(length, 5)] for length in UNEQUAL]

    def flipped(array):
        return np.stack([row[order] for row, order in zip(array, flip, strict=True)])

    twin = Problem(problem.spec, problem.flat, flipped(problem.x), problem.initial, UNEQUAL)
    (outputs, final, _), (expected, expected_final, _) = problem.forward(), twin.forward()
    np.testing.assert_array_equal(outputs, [flipped(e) for e in expected])
    np.testing.assert_array_equal(final, expected_final)

    doutputs, dfinal = make_sources(problem)["all"]
    actual, expected = (
        problem.backward(doutputs, dfinal),
        twin.backward([flipped(d) for d in doutputs], dfinal),
    )
    expected["x"] = flipped(expected["x"])
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_depends_on_itself_alone(reverse):
    problem = make_problem(lengths=UNEQUAL, reverse=reverse)
    doutputs, dfinal = make_sources(problem)["all"]
    (y, c), final, _ = problem.forward()
    gradients, total = problem.backward(doutputs, dfinal), 0.0
    for n, length in enumerate(UNEQUAL):
        row = slice(n, n + 1)
        alone = Problem(
            problem.spec,
            problem.flat,
            problem.x[row, :length],
            tuple(s[row] for s in problem.initial),
            reverse=reverse,
        )
        (y_alone, c_alone), final_alone, _ = alone.forward()
        np.testing.assert_array_equal(y[row, :length], y_alone)
        np.testing.assert_array_equal(c[row, :length], c_alone)
        np.testing.assert_array_equal([f[row] for f in final], final_alone)
        g = alone.backward([d[row, :length] for d in doutputs], [d[row] for d in dfinal])
        np.testing.assert_array_equal(gradients["x"][row, :length], g["x"])
        np.testing.assert_array_equal(gradients["initial 0"][row], g["initial 0"])
        np.testing.assert_array_equal(gradients["initial 1"][row], g["initial 1"])
        total = total + g["flat"]
    np.testing.assert_allclose(gradients["flat"], total, rtol=1e-12)


def test_nan_stays_in_its_row_and_its_future():
    problem = make_problem()
    sources = make_sources(problem)["all"]
    (clean, _), _, _ = problem.forward()
    clean_gradients = problem.backward(*sources)
    problem.x[1, 2, 0] = np.nan
    (y, c), final, _ = problem.forward()
    gradients = problem.backward(*sources)
    assert np.isnan(y[1, 2:]).all()
    assert np.isnan(c[1, 2:]).all()
    assert np.isnan(final)[:, 1].all()
    np.testing.assert_array_equal(y[1, :2], clean[1, :2])
    others = [0, 2]
    np.testing.assert_array_equal(y[others], clean[others])
    for name in ("x", "initial 0", "initial 1"):
        np.testing.assert_array_equal(gradients[name][others], clean_gradients[name][others])
        assert np.isnan(gradients[name][1]).all()
    assert np.isnan(gradients["flat"]).all()


@pytest.mark.parametrize("size", [1e3, 1e300, np.inf])
def test_no_warnings_from_large_inputs(size):
    problem = make_problem()
    problem.x *= size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (y, _), _, _ = problem.forward()
        problem.backward(*make_sources(problem)["all"])
    assert np.isfinite(y).all() == np.isfinite(size)


def test_slopes_of_saturated_gates():
    """Far out a slope is the exponential that 1 - sigmoid(a), or 1 - tanh(c)**2, would round away."""
    spec = LayerSpec("lstm", 1, 1, dtype="float64")
    flat = np.zeros(BACKEND.size(spec))
    BACKEND.pack(spec, BACKEND.unpack(spec, flat) | {"bias_ih": np.array([0.0, 40.0, 0.0, 40.0])}, flat)
    problem = Problem(spec, flat, np.zeros((1, 1, 1)), (np.zeros((1, 1)), np.full((1, 1), 30.0)))
    none, one = [None, None], np.ones((1, 1))
    of_c, of_y = problem.backward(none, (None, one)), problem.backward(none, (one, None))
    slope = math.exp(-40) / (1 + math.exp(-40)) ** 2
    gates = BACKEND.unpack(spec, of_c["flat"])["bias_ih"]  # i, f, g, o
    np.testing.assert_allclose(gates, [0.0, 30.0 * slope, 0.5, 0.0], rtol=1e-14)
    np.testing.assert_allclose(of_y["initial 1"], [[1 / math.cosh(30) ** 2]], rtol=1e-12)
    np.testing.assert_allclose(BACKEND.unpack(spec, of_y["flat"])["bias_ih"][3], slope, rtol=1e-14)


def test_float32_is_float64_rounded_once():
    wide = make_problem(lengths=UNEQUAL)
    wide.flat, wide.x = (a.astype(np.float32).astype(float) for a in (wide.flat, wide.x))
    wide.initial = tuple(s.astype(np.float32).astype(float) for s in wide.initial)
    spec = LayerSpec("lstm", 3, 4)
    narrow = Problem(
        spec,
        wide.flat.astype(np.float32),
        wide.x.astype(np.float32),
        tuple(s.astype(np.float32) for s in wide.initial),
        UNEQUAL,
    )
    sources = make_sources(wide)["all"]
    expected = [*wide.forward()[0], *wide.forward()[1], *wide.backward(*sources).values()]
    actual = [*narrow.forward()[0], *narrow.forward()[1], *narrow.backward(*sources).values()]
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, e.astype(np.float32))


def test_strides_do_not_matter_and_inputs_stay():
    problem = make_problem(lengths=UNEQUAL)
    outputs, final, _ = problem.forward()
    time_major = np.ascontiguousarray(problem.x.swapaxes(0, 1))
    strided = Problem(problem.spec, problem.flat, time_major.swapaxes(0, 1), problem.initial, UNEQUAL)
    before = [a.copy() for a in (problem.flat, time_major, *problem.initial)]
    both = np.full((3, 5, 8), np.nan)
    _, strided_final, _ = strided.forward([both[..., :4], both[..., 4:]])
    np.testing.assert_array_equal(both, np.concatenate(outputs, axis=-1))
    np.testing.assert_array_equal(strided_final, final)
    strided.backward(*make_sources(problem)["all"])
    for array, copy in zip((problem.flat, time_major, *problem.initial), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_what_is_optional():
    problem = make_problem()
    assert problem.forward(training=False)[2] is None
    (y, _), final, tape = problem.forward()
    (only_y, nothing), only_final, _ = problem.forward([np.full_like(y, np.nan), None])
    np.testing.assert_array_equal(only_y, y)
    np.testing.assert_array_equal(only_final, final)
    assert nothing is None

    doutputs, dfinal = make_sources(problem)["all"]
    gradient = np.full_like(problem.flat, np.nan)
    weights = BACKEND.prepare(problem.spec, problem.flat, True)
    dinitial = BACKEND.sequence_backward(weights, tape, doutputs, dfinal, gradient)
    expected = problem.backward(doutputs, dfinal)
    np.testing.assert_array_equal(gradient, expected["flat"])
    np.testing.assert_array_equal(dinitial, [expected["initial 0"], expected["initial 1"]])
