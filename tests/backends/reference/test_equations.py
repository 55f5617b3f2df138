"""Options of the reference's layers, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reference_problems import (
    BACKEND,
    make_problem,
    make_sources,
)

from numlstm.backends.reference import norm


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def sums_of(problem, x, h):
    """``W x + R h + b`` of one row, a block for each gate."""
    p = BACKEND.unpack(problem.spec, problem.flat)
    a = p["weight_ih"] @ x + p["weight_hh"] @ h + p["bias_ih"] + p["bias_hh"]
    return a.reshape(-1, problem.spec.hidden_size)


def one_step(**kind):
    """A problem of one step of one row, its parameters, x, and initial states."""
    problem = make_problem(1, 1, **kind)
    return problem, BACKEND.unpack(problem.spec, problem.flat), problem.x[0, 0], [s[0] for s in problem.initial]


def assert_step(problem, *states):
    for output, state in zip(problem.forward()[0], states, strict=True):
        np.testing.assert_allclose(output[0, 0], state, rtol=1e-12)


@pytest.mark.parametrize("gate", ["input_gate", "forget_gate", "output_gate"])
def test_a_missing_gate_is_one(gate):
    problem, _, x, (h, c) = one_step(options=((gate, False),))
    i, f, g, o = (np.tanh(a) if k == 2 else sigmoid(a) for k, a in enumerate(sums_of(problem, x, h)))
    gates = {"input_gate": i, "forget_gate": f, "cell_input": g, "output_gate": o} | {gate: np.ones(4)}
    i, f, g, o = gates.values()
    new = f * c + i * g
    assert_step(problem, o * np.tanh(new), new)
    for name, value in problem.gates().items():
        np.testing.assert_allclose(value[0, 0], gates[name], rtol=1e-12)


def test_coupled_gates_by_hand():
    problem, _, x, (h, c) = one_step(options=(("coupled_gates", True),))
    _, f, g, o = (np.tanh(a) if k == 2 else sigmoid(a) for k, a in enumerate(sums_of(problem, x, h)))
    new = f * c + (1 - f) * g
    assert_step(problem, o * np.tanh(new), new)
    np.testing.assert_allclose(problem.gates()["input_gate"][0, 0], 1 - f, rtol=1e-12)


def test_full_gate_recurrence_by_hand():
    """Row blocks are to i, f, o, column blocks from them; the cell input has none."""
    problem, p, x, (h, c, i, f, o) = one_step(options=(("full_gate_recurrence", True),))
    (a_i, a_f, a_g, a_o), w = sums_of(problem, x, h), p["weight_gates"]
    to_i, to_f, to_o = w[:4], w[4:8], w[8:]
    before = np.concatenate([i, f, o])
    i, f, o, g = sigmoid(a_i + to_i @ before), sigmoid(a_f + to_f @ before), sigmoid(a_o + to_o @ before), np.tanh(a_g)
    new = f * c + i * g
    assert_step(problem, o * np.tanh(new), new, i, f, o)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"coupled_gates": True}, "fo"),
        ({"forget_gate": False}, "io"),
        ({"input_gate": False, "output_gate": False}, "f"),
    ],
)
def test_full_gate_recurrence_of_the_gates_in_use(options, kept):
    """The others' rows and columns have no part in it, and they are no states."""
    options = tuple(sorted((options | {"full_gate_recurrence": True}).items()))
    problem, p, x, (h, _, *gates) = one_step(options=options)
    assert problem.spec.description.states == ("h", "c", *kept)
    sums = dict(zip("ifgo", sums_of(problem, x, h), strict=True))
    row = {g: slice(4 * k, 4 * k + 4) for k, g in enumerate("ifo")}
    for k, to in enumerate(kept):
        a = sums[to] + sum(p["weight_gates"][row[to], row[each]] @ gates[j] for j, each in enumerate(kept))
        np.testing.assert_allclose(problem.forward()[0][2 + k][0, 0], sigmoid(a), rtol=1e-12)


def test_clips_by_hand():
    """The output gate looks at the cell after its clip."""
    options = (("cell_clip", 0.3), ("peepholes", True), ("preactivation_clip", 0.5))
    problem, p, x, (h, c) = one_step(options=options)
    (a_i, a_f, a_g, a_o), (p_i, p_f, p_o) = sums_of(problem, x, h), p["peephole"].reshape(3, 4)
    i, f, g = sigmoid(clip(a_i + p_i * c, 0.5)), sigmoid(clip(a_f + p_f * c, 0.5)), np.tanh(clip(a_g, 0.5))
    raw = f * c + i * g
    new = clip(raw, 0.3)
    assert 0 < np.sum(new != raw) < 4
    assert_step(problem, sigmoid(clip(a_o + p_o * new, 0.5)) * np.tanh(new), new)


def clip(a, bound):
    return np.maximum(np.minimum(a, bound), -bound)


def test_no_slope_at_a_clip():
    """All that goes into a cell or a pre-activation at its bound has no gradient."""
    problem = make_problem(1, 1, h=1, options=(("cell_clip", 1.0),))
    problem.initial = (np.zeros((1, 1)), np.full((1, 1), 50.0))
    gradients = problem.backward(*make_sources(problem)["final"])
    assert problem.forward()[1][1] == 1.0
    assert gradients["initial 1"] == 0.0
    gates = BACKEND.unpack(problem.spec, gradients["flat"])["bias_ih"]
    np.testing.assert_array_equal(gates[:3], 0.0)
    assert gates[3] != 0.0
    exact = make_problem(1, 1, h=1, options=(("preactivation_clip", 2.0),))
    exact.flat[:] = 0.0
    exact.x[:] = 0.0
    bias = {"bias_ih": np.array([2.0, -2.0, np.nextafter(2.0, 0.0), 2.5])}
    BACKEND.pack(exact.spec, BACKEND.unpack(exact.spec, exact.flat) | bias, exact.flat)
    gates = BACKEND.unpack(exact.spec, exact.backward(*make_sources(exact)["final"])["flat"])["bias_ih"]
    np.testing.assert_array_equal(gates == 0.0, [True, True, False, True])


def layer_norm(problem, block, a):
    """Of one row, with the block's γ and β."""
    p, h = BACKEND.unpack(problem.spec, problem.flat), problem.spec.hidden_size
    mean = sum(a) / h
    variance = sum((each - mean) ** 2 for each in a) / h
    gamma, beta = (p[f"layer_norm_{each}"][block * h : (block + 1) * h] for each in ("weight", "bias"))
    return gamma * (a - mean) / math.sqrt(variance + 1e-5) + beta


def test_layer_norm_of_lstm():
    """Before the peepholes, after the products between gates; the cell is only normalised on its way out."""
    problem, p, x, (h, c, *gates) = one_step(
        layer_norm=True, options=(("full_gate_recurrence", True), ("peepholes", True), ("proj_size", 3))
    )
    p_i, p_f, p_o = p["peephole"].reshape(3, 4)
    a = sums_of(problem, x, h)
    a[[0, 1, 3]] += (p["weight_gates"] @ np.concatenate(gates)).reshape(3, 4)
    n_i, n_f, n_g, n_o = (layer_norm(problem, k, each) for k, each in enumerate(a))
    i, f, g = sigmoid(n_i + p_i * c), sigmoid(n_f + p_f * c), np.tanh(n_g)
    new = f * c + i * g
    o = sigmoid(n_o + p_o * new)
    assert_step(problem, p["weight_hr"] @ (o * np.tanh(layer_norm(problem, 4, new))), new, i, f, o)


def test_layer_norm_of_gru():
    problem, p, x, (h,) = one_step(cell="gru", layer_norm=True)
    a_r, a_z, _ = sums_of(problem, x, h)
    r, z = sigmoid(layer_norm(problem, 0, a_r)), sigmoid(layer_norm(problem, 1, a_z))
    u, v = p["weight_ih"][8:] @ x + p["bias_ih"][8:], p["weight_hh"][8:] @ h + p["bias_hh"][8:]
    n = np.tanh(layer_norm(problem, 2, u) + r * layer_norm(problem, 3, v))
    assert_step(problem, (1 - z) * n + z * h)


def test_layer_norm_of_gru_with_its_reset_before():
    problem, _, x, (h,) = one_step(cell="gru", layer_norm=True, options=(("reset_after", False),))
    a_r, a_z, _ = sums_of(problem, x, h)
    r, z = sigmoid(layer_norm(problem, 0, a_r)), sigmoid(layer_norm(problem, 1, a_z))
    n = np.tanh(layer_norm(problem, 2, sums_of(problem, x, r * h)[2]))
    assert_step(problem, (1 - z) * n + z * h)


def test_layer_norm_of_others():
    problem, _, x, (h,) = one_step(cell="rnn", layer_norm=True)
    assert_step(problem, np.tanh(layer_norm(problem, 0, sums_of(problem, x, h)[0])))
    problem, _, x, (h,) = one_step(cell="mgu", layer_norm=True)
    f = sigmoid(layer_norm(problem, 0, sums_of(problem, x, h)[0]))
    assert_step(problem, (1 - f) * h + f * np.tanh(layer_norm(problem, 1, sums_of(problem, x, f * h)[1])))


def test_layer_norm_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    a, gamma, beta, delta = rng.normal(size=(4, 2, 5))
    weights = {"layer_norm_weight": gamma, "layer_norm_bias": beta}
    gradient = {name: np.zeros((2, 5)) for name in weights}
    theirs, weight, bias = (torch.tensor(array, requires_grad=True) for array in (a, gamma[1], beta[1]))
    y = torch.nn.functional.layer_norm(theirs, (5,), weight, bias, norm.EPSILON)
    (y * torch.tensor(delta)).sum().backward()
    np.testing.assert_allclose(norm.forward(weights, 1, a), y.detach(), rtol=1e-12)
    np.testing.assert_allclose(norm.backward(weights, 1, a, delta, gradient), theirs.grad, rtol=1e-12)
    np.testing.assert_allclose(gradient["layer_norm_weight"], [np.zeros(5), weight.grad.numpy()], rtol=1e-12)
    np.testing.assert_allclose(gradient["layer_norm_bias"], [np.zeros(5), bias.grad.numpy()], rtol=1e-12)
