"""The reference backend against finite differences, and against sums done by hand."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest

from numlstm import cells
from numlstm.backends.contract import LOSSES, POOLINGS, AffineSpec, LayerSpec, LossSpec, PoolSpec, UnsupportedError
from numlstm.backends.reference import ReferenceBackend, Twin, register
from numlstm.backends.reference import twin as twins

BACKEND = ReferenceBackend()
UNEQUAL = np.array([2, 5, 3])


@dataclass
class Problem:
    """A layer, and everything that `sequence_forward` takes."""

    spec: LayerSpec
    flat: np.ndarray
    x: np.ndarray
    initial: tuple[np.ndarray | None, ...]
    lengths: np.ndarray | None = None
    reverse: bool = False

    @property
    def past(self) -> np.ndarray:
        """Mask (N, T) of what lies past the rows' lengths."""
        n_rows, n_steps, _ = self.x.shape
        lengths = np.full(n_rows, n_steps) if self.lengths is None else self.lengths
        return np.arange(n_steps) >= lengths[:, np.newaxis]

    def forward(self, outputs=None, training=True):
        """Outputs, final states and tape; what is to be overwritten is NaN before."""
        if outputs is None:
            shape = (*self.x.shape[:2], self.spec.hidden_size)
            outputs = [np.full(shape, np.nan, self.spec.dtype) for _ in self.initial]
        weights = BACKEND.prepare(self.spec, self.flat, training)
        final, tape = BACKEND.sequence_forward(
            weights,
            self.x,
            self.initial,
            outputs,
            lengths=self.lengths,
            reverse=self.reverse,
            training=training,
        )
        return outputs, final, tape

    def backward(self, doutputs, dfinal):
        """Gradients by name; entries of `doutputs` past the lengths are NaN for the backend."""
        doutputs = [None if d is None else np.where(self.past[..., np.newaxis], np.nan, d) for d in doutputs]
        _, _, tape = self.forward([None] * len(self.initial))
        weights = BACKEND.prepare(self.spec, self.flat, True)
        gradient, dx = np.full_like(self.flat, np.nan), np.full_like(self.x, np.nan)
        dinitial = BACKEND.sequence_backward(weights, tape, doutputs, dfinal, gradient, dx)
        return {"flat": gradient, "x": dx} | {f"initial {k}": d for k, d in enumerate(dinitial)}


def make_problem(n=3, t=5, d=3, h=4, *, cell="lstm", bias=True, given=True, lengths=None, reverse=False):
    """A random problem in float64, whose x is NaN past the lengths."""
    rng = np.random.default_rng(7)
    spec = LayerSpec(cell, d, h, bias, "float64")
    x, flat = rng.normal(size=(n, t, d)), rng.normal(0.0, 0.6, BACKEND.size(spec))
    initial = tuple(rng.normal(size=(n, h)) if given else None for _ in cells.get(cell).states)
    problem = Problem(spec, flat, x, initial, lengths, reverse)
    x[problem.past] = np.nan
    return problem


def make_sources(problem):
    """Where gradients may come from: pairs (doutputs, dfinal), by name."""
    rng = np.random.default_rng(11)
    n, t, _ = problem.x.shape
    h = problem.spec.hidden_size
    states = problem.initial
    none = [None] * len(states)
    every_step = [rng.normal(size=(n, t, h)) for _ in states]
    at_end = [rng.normal(size=(n, h)) for _ in states]
    return {
        "output": ([every_step[0], *none[1:]], none),
        "last state": ([*none[1:], every_step[-1]], none),
        "final": (none, at_end),
        "all": (every_step, at_end),
    }


def dot(gradients, values):
    return sum(np.vdot(g, v) for g, v in zip(gradients, values, strict=True) if g is not None)


def differences(function, array, eps=1e-5):
    """Central differences with respect to `array`, changed in place; a vector's axis comes first."""
    columns = []
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + eps
        above = np.array(function())
        array[index] = value - eps
        columns.append((above - function()) / (2 * eps))
        array[index] = value
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *array.shape)


def assert_close(actual, expected, tolerance=1e-6):
    """Within `tolerance` of the largest entry; zeros where all is zero."""
    assert actual.shape == expected.shape
    assert np.max(np.abs(actual - expected)) <= tolerance * np.max(np.abs(expected))


def expected_gradients(problem, sources):
    """What `backward` should give, by finite differences, with an axis for the sources in front."""
    zeros = np.zeros((len(problem.x), problem.spec.hidden_size))
    # A state that is None stands for zeros, and has a gradient all the same.
    problem = replace(problem, initial=tuple(zeros.copy() if s is None else s for s in problem.initial))

    def losses():
        outputs, final, _ = problem.forward(training=False)
        return [dot(doutputs, outputs) + dot(dfinal, final) for doutputs, dfinal in sources.values()]

    arrays = {"flat": problem.flat, "x": problem.x}
    arrays |= {f"initial {k}": array for k, array in enumerate(problem.initial)}
    return {name: differences(losses, array) for name, array in arrays.items()}


def assert_gradients(problem):
    sources = make_sources(problem)
    expected = expected_gradients(problem, sources)
    for k, (doutputs, dfinal) in enumerate(sources.values()):
        actual = problem.backward(doutputs, dfinal)
        assert actual.keys() == expected.keys()
        by_name = BACKEND.unpack(problem.spec, actual.pop("flat"))
        for name, value in BACKEND.unpack(problem.spec, expected["flat"][k]).items():
            assert_close(by_name[name], value)
        for name in actual:
            assert_close(actual[name], expected[name][k])


# Layers ---------------------------------------------------------------------------------------------------


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


# Twins ----------------------------------------------------------------------------------------------------


def toy_step(weights, x, states):
    """One gate and three states: h, the sum of all h, and what that sum was, less itself."""
    h_prev, total, late = states
    h = np.tanh(x @ weights["weight_ih"].T + h_prev @ weights["weight_hh"].T + weights["bias_ih"] + weights["bias_hh"])
    return (h, total + h, total - late), (x, h_prev, h)


def toy_step_backward(weights, saved, dstates):
    x, h_prev, h = saved
    dh, dtotal, dlate = dstates
    delta = (dh + dtotal) * (1 - h**2)
    bias = delta.sum(axis=0)
    dweights = {"weight_ih": delta.T @ x, "weight_hh": delta.T @ h_prev, "bias_ih": bias, "bias_hh": bias}
    return (
        delta @ weights["weight_ih"],
        (delta @ weights["weight_hh"], dtotal + dlate, -dlate),
        dweights,
    )


def not_called(*_):
    raise AssertionError("the reference computes with twins, not with a cell's equations")


@pytest.fixture
def toy_cell(monkeypatch):
    """A cell of another shape than the LSTM, without a twin; both registries forget it afterwards."""
    monkeypatch.setattr(cells, "_registry", dict(cells._registry))
    monkeypatch.setattr(twins, "_registry", dict(twins._registry))
    phase = cells.Phase(
        gates=("a",),
        source="h_prev",
        reads=("total_prev", "late_prev"),
        gives=("h", "total", "late"),
        keeps=(),
        uses=("h",),
        forward=not_called,
        backward=not_called,
    )
    return cells.register(cells.Cell("toy", ("h", "total", "late"), (phase,))).name


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
    with pytest.raises(ValueError, match=r"\['lstm'.*got 'toy'"):
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


# Affine maps ----------------------------------------------------------------------------------------------


def test_affine():
    rng = np.random.default_rng(3)
    spec = AffineSpec(4, 3, "float64")
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=3)
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    flat, gradient = np.empty(15), np.full(15, np.nan)
    BACKEND.pack(spec, {"weight": weight, "bias": bias}, flat)

    def loss():
        return np.vdot(dy, BACKEND.affine_forward(BACKEND.prepare(spec, flat), x))

    y = BACKEND.affine_forward(BACKEND.prepare(spec, flat), x)
    by_hand = [[sum(weight[k, d] * x[n, d] for d in range(4)) + bias[k] for k in range(3)] for n in range(5)]
    np.testing.assert_allclose(y, by_hand, rtol=1e-13)
    dx = BACKEND.affine_backward(BACKEND.prepare(spec, flat, True), x, dy, gradient)
    assert_close(dx, differences(loss, x))
    assert_close(gradient, differences(loss, flat))


def test_affine_in_float32():
    spec = AffineSpec(2, 1)
    flat = np.array([1.0, -1.0, 2.0], np.float32)
    x, gradient = np.array([[3.0, 1.0], [np.nan, 0.0]], np.float32), np.empty(3, np.float32)
    y = BACKEND.affine_forward(BACKEND.prepare(spec, flat), x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [[4.0], [np.nan]])
    dx = BACKEND.affine_backward(BACKEND.prepare(spec, flat), x[:1], np.array([[0.5]], np.float32), gradient)
    assert dx.dtype == np.float32
    np.testing.assert_array_equal(dx, [[0.5, -0.5]])
    np.testing.assert_array_equal(gradient, [1.5, 0.5, 0.5])


def test_overflow_of_float32_is_infinite_and_silent():
    weights = BACKEND.prepare(AffineSpec(1, 1), np.array([1e30, 0.0], np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = BACKEND.affine_forward(weights, np.array([[1e30], [-1e30]], np.float32))
    np.testing.assert_array_equal(y, [[np.inf], [-np.inf]])


# Losses ---------------------------------------------------------------------------------------------------


LOSS_SPECS = [LossSpec(kind, {"huber": 0.7, "pinball": 0.2}.get(kind, 0.0)) for kind in LOSSES]
every_loss = pytest.mark.parametrize("spec", LOSS_SPECS, ids=LOSSES)


# Loss of one score s where t is wanted; of softmax that of a row, where the class k is.
BY_HAND = {
    "softmax": lambda row, k: math.log(sum(math.exp(s) for s in row)) - row[k],
    "binary": lambda s, t: -t * math.log(1 / (1 + math.exp(-s))) - (1 - t) * math.log(1 / (1 + math.exp(s))),
    "squared": lambda s, t: (s - t) * (s - t),
    "absolute": lambda s, t: s - t if s > t else t - s,
    "huber": lambda s, t: (s - t) ** 2 / 2 if -0.7 < s - t < 0.7 else 0.7 * (abs(s - t) - 0.35),
    "pinball": lambda s, t: 0.2 * (t - s) if t > s else 0.8 * (s - t),
}


def make_loss(spec, rows=6, outputs=4):
    """Scores, targets on either side of them, and weights, one of them 0."""
    rng = np.random.default_rng(5)
    scores, targets = rng.normal(0.0, 3.0, (rows, outputs)), rng.normal(0.0, 3.0, (rows, outputs))
    if spec.kind == "huber":
        targets = scores + rng.uniform(-1.4, 1.4, scores.shape)
    if spec.kind == "binary":
        targets = rng.uniform(size=scores.shape).round(1)
    if spec.kind == "softmax":
        targets = rng.integers(0, outputs, rows)
    return scores, targets, np.array([0.5, 0.0, 2.0, 1.5, 0.1, 3.0])[:rows]


@every_loss
def test_loss_by_hand(spec):
    scores, targets, weights = make_loss(spec)
    loss, _ = BACKEND.loss(spec, scores, targets, weights)
    by_hand = BY_HAND[spec.kind]
    rows = [
        by_hand(row, wanted) if spec.kind == "softmax" else sum(map(by_hand, row, wanted))
        for row, wanted in zip(scores.tolist(), targets.tolist(), strict=True)
    ]
    assert isinstance(loss, float)
    assert loss == pytest.approx(sum(w * row for w, row in zip(weights, rows, strict=True)), rel=1e-13)


@every_loss
def test_gradient_of_a_loss(spec):
    scores, targets, weights = make_loss(spec)
    _, gradient = BACKEND.loss(spec, scores, targets, weights)
    assert_close(gradient, differences(lambda: BACKEND.loss(spec, scores, targets, weights)[0], scores))
    assert not gradient[1].any()


@pytest.mark.parametrize("kind", ["softmax", "binary", "squared", "absolute", "huber"])
def test_loss_of_torch(kind):
    torch = pytest.importorskip("torch")
    criterion = {
        "softmax": torch.nn.CrossEntropyLoss,
        "binary": torch.nn.BCEWithLogitsLoss,
        "squared": torch.nn.MSELoss,
        "absolute": torch.nn.L1Loss,
        "huber": lambda reduction: torch.nn.HuberLoss(reduction=reduction, delta=0.7),
    }[kind](reduction="none")
    scores, targets, weights = make_loss(LossSpec(kind))
    their_scores = torch.tensor(scores, requires_grad=True)
    rows = criterion(their_scores, torch.tensor(targets)).reshape(len(scores), -1).sum(dim=1)
    expected = (torch.tensor(weights) * rows).sum()
    expected.backward()
    loss, gradient = BACKEND.loss(LossSpec(kind, 0.7), scores, targets, weights)
    assert loss == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient, their_scores.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_softmax_of_far_scores(shift):
    scores = np.array([[shift, shift], [shift, shift + 1000.0]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, gradient = BACKEND.loss(LossSpec("softmax"), scores, np.array([1, 0]), np.full(2, 0.5))
    assert loss == pytest.approx((math.log(2) + 1000) / 2, rel=1e-15)
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, [[0.25, -0.25], [-0.5, 0.5]])


@pytest.mark.parametrize(
    ("spec", "expected", "slopes"),
    [
        (LossSpec("binary"), [0.0, 1e4, 1e4, 0.0], [0.0, 1.0, -1.0, 0.0]),
        (LossSpec("squared"), [9999.0**2, 1e8, 10001.0**2, 1e8], [2 * 9999.0, 2e4, -2 * 10001.0, -2e4]),
        (LossSpec("absolute"), [9999.0, 1e4, 10001.0, 1e4], [1.0, 1.0, -1.0, -1.0]),
        (LossSpec("huber", 2.0), [2 * 9998.0, 2 * 9999.0, 2 * 10000.0, 2 * 9999.0], [2.0, 2.0, -2.0, -2.0]),
        (LossSpec("pinball", 0.25), [0.75 * 9999.0, 7500.0, 0.25 * 10001.0, 2500.0], [0.75, 0.75, -0.25, -0.25]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_loss_of_far_scores(spec, expected, slopes):
    scores, targets = np.array([[1e4], [1e4], [-1e4], [-1e4]]), np.array([[1.0], [0.0], [1.0], [0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row, wanted in enumerate(expected):
            loss, _ = BACKEND.loss(spec, scores, targets, np.eye(4)[row])
            assert loss == wanted
        _, gradient = BACKEND.loss(spec, scores, targets, np.ones(4))
    np.testing.assert_array_equal(gradient[:, 0], slopes)


def test_a_small_cross_entropy_is_not_rounded_away():
    """Far on the right side both the loss and its slope are exp(-|s|), to first order."""
    scores, targets = np.array([[30.0, -30.0]]), np.array([[1.0, 0.0]])
    loss, gradient = BACKEND.loss(LossSpec("binary"), scores, targets, np.ones(1))
    assert loss == pytest.approx(2 * math.exp(-30), rel=1e-12)
    np.testing.assert_allclose(gradient, [[-math.exp(-30), math.exp(-30)]], rtol=1e-12)


@pytest.mark.parametrize(
    ("spec", "slope"),
    [
        (LossSpec("squared"), 0.0),
        (LossSpec("absolute"), 0.0),
        (LossSpec("huber", 1.0), 0.0),
        (LossSpec("pinball", 0.3), 0.0),
        (LossSpec("binary"), 0.5 - 0.25),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_slope_at_the_target(spec, slope):
    at = 0.0 if spec.kind == "binary" else 0.25
    _, gradient = BACKEND.loss(spec, np.array([[at]]), np.array([[0.25]]), np.ones(1))
    np.testing.assert_array_equal(gradient, [[slope]])


def test_huber_where_its_pieces_meet():
    scores = np.array([[2.0], [-2.0], [2.5]])
    loss, gradient = BACKEND.loss(LossSpec("huber", 2.0), scores, np.zeros((3, 1)), np.ones(3))
    assert loss == 2.0 + 2.0 + 3.0
    np.testing.assert_array_equal(gradient, [[2.0], [-2.0], [2.0]])


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_pinball_is_least_at_the_quantile(level):
    sample = np.random.default_rng(2).normal(size=(101, 1))

    def loss(score):
        return BACKEND.loss(LossSpec("pinball", level), np.full((101, 1), score), sample, np.ones(101))[0]

    assert min(sample[:, 0], key=loss) == np.quantile(sample, level, method="inverted_cdf")


@every_loss
def test_rows_of_weight_zero_are_ignored(spec):
    scores, targets, weights = make_loss(spec)
    spoilt, other_targets = scores.copy(), targets.copy()
    spoilt[1] = np.nan
    other_targets[1] = -1 if spec.kind == "softmax" else np.nan
    loss, gradient = BACKEND.loss(spec, spoilt, other_targets, weights)
    expected_loss, expected = BACKEND.loss(
        spec, np.delete(scores, 1, 0), np.delete(targets, 1, 0), np.delete(weights, 1)
    )
    assert loss == expected_loss
    np.testing.assert_array_equal(np.delete(gradient, 1, 0), expected)
    np.testing.assert_array_equal(gradient[1], 0.0)
    loss, gradient = BACKEND.loss(spec, spoilt, other_targets, 0 * weights)
    assert loss == 0.0
    assert not gradient.any()


@every_loss
def test_nan_scores_show_in_the_loss(spec):
    scores, targets, weights = make_loss(spec)
    _, clean = BACKEND.loss(spec, scores, targets, weights)
    scores[2, 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, gradient = BACKEND.loss(spec, scores, targets, weights)
    assert math.isnan(loss)
    np.testing.assert_array_equal(np.delete(gradient, 2, 0), np.delete(clean, 2, 0))
    assert np.isnan(gradient[2, 3])
    assert np.isnan(gradient[2, :3]).all() == (spec.kind == "softmax")


@every_loss
def test_loss_in_float32_is_float64_rounded_once(spec):
    scores, targets, weights = make_loss(spec)
    scores = scores.astype(np.float32)
    if spec.kind != "softmax":
        targets = targets.astype(np.float32)
    loss, gradient = BACKEND.loss(spec, scores, targets, weights)
    wide = targets if spec.kind == "softmax" else targets.astype(float)
    expected_loss, expected = BACKEND.loss(spec, scores.astype(float), wide, weights)
    assert loss == expected_loss
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, expected.astype(np.float32))


# Pooling --------------------------------------------------------------------------------------------------


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


# Norm and optimizers --------------------------------------------------------------------------------------


def test_global_norm():
    assert BACKEND.global_norm(np.array([3.0, 0.0, -4.0], np.float32)) == 5.0
    assert BACKEND.global_norm(np.full(4, 1e30, np.float32)) == pytest.approx(2e30, rel=1e-7)
    assert math.isnan(BACKEND.global_norm(np.array([1.0, np.nan])))


DECAY = [0.3, 0.0, 0.1, 0.0, 0.7]
with_decay = pytest.mark.parametrize("decay", [None, DECAY], ids=["", "decay"])
any_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def run_steps(dtype, decay, states, step_of, by_hand):
    """Six steps of an optimizer, number by number, where ``by_hand(t, p, g, d, *state)`` gives p and the state anew.

    `g` is the gradient times `scale`, 0.5, and `d` the parameter's decay.
    """
    rng = np.random.default_rng(9)
    flat, arrays = rng.normal(size=5).astype(dtype), [np.zeros(5, dtype) for _ in range(states)]
    decay = None if decay is None else np.array(decay, dtype)
    expected = [(float(p), *[0.0] * states) for p in flat]
    for t in range(1, 7):
        gradient = rng.normal(0.0, 0.3, 5).astype(dtype)
        gradient[4] = 0.0
        before = gradient.copy()
        step_of(flat, gradient, arrays, t, scale=0.5, decay=decay)
        np.testing.assert_array_equal(gradient, before)
        for k, (p, *state) in enumerate(expected):
            d = 0.0 if decay is None else float(decay[k])
            expected[k] = by_hand(t, p, 0.5 * float(gradient[k]), d, *state)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for array, numbers in zip([flat, *arrays], zip(*expected, strict=True), strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, numbers, rtol=tolerance)


@any_dtype
@with_decay
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(dtype, decay, decoupled):
    """Against the algorithm's loop, every hyper-parameter away from its usual value."""

    def step_of(flat, gradient, arrays, t, **options):
        BACKEND.adam_step(
            flat, gradient, tuple(arrays),
            step=t, learning_rate=0.05, betas=(0.8, 0.95), epsilon=0.01, decoupled=decoupled, **options,
        )  # fmt: skip

    def by_hand(t, p, g, d, m, v):
        g = g if decoupled else g + d * p
        m, v = 0.8 * m + (1 - 0.8) * g, 0.95 * v + (1 - 0.95) * g * g
        m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.95**t)
        shrunk = p - 0.05 * d * p if decoupled else p
        return shrunk - 0.05 * m_hat / (math.sqrt(v_hat) + 0.01), m, v

    run_steps(dtype, decay, 2, step_of, by_hand)


@any_dtype
@with_decay
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd(dtype, decay, momentum, nesterov):
    def step_of(flat, gradient, arrays, t, **options):
        BACKEND.sgd_step(flat, gradient, *arrays, learning_rate=0.05, momentum=momentum, nesterov=nesterov, **options)

    def by_hand(t, p, g, d, v):
        g += d * p
        v = momentum * v + g
        return p - 0.05 * (g + momentum * v if nesterov else v), v

    run_steps(dtype, decay, 1, step_of, by_hand)


@any_dtype
@with_decay
def test_rmsprop(dtype, decay):
    def step_of(flat, gradient, arrays, t, **options):
        BACKEND.rmsprop_step(flat, gradient, *arrays, learning_rate=0.05, rho=0.8, epsilon=0.01, **options)

    def by_hand(t, p, g, d, q):
        g += d * p
        q = 0.8 * q + (1 - 0.8) * g * g
        return p - 0.05 * g / (math.sqrt(q) + 0.01), q

    run_steps(dtype, decay, 1, step_of, by_hand)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "momentum", "Nesterov", "RMSprop"])
def test_optimizer_of_torch(name):
    optim = pytest.importorskip("torch.optim")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(10)
    flat, states = rng.normal(size=7), [np.zeros(7), np.zeros(7)]
    adam = {"betas": (0.8, 0.95), "epsilon": 0.01}
    theirs = torch.tensor(flat, requires_grad=True)
    common = {"lr": 0.05, "weight_decay": 0.3}
    optimizer = {
        "Adam": lambda: optim.Adam([theirs], betas=(0.8, 0.95), eps=0.01, **common),
        "AdamW": lambda: optim.AdamW([theirs], betas=(0.8, 0.95), eps=0.01, **common),
        "SGD": lambda: optim.SGD([theirs], **common),
        "momentum": lambda: optim.SGD([theirs], momentum=0.9, **common),
        "Nesterov": lambda: optim.SGD([theirs], momentum=0.9, nesterov=True, **common),
        "RMSprop": lambda: optim.RMSprop([theirs], alpha=0.8, eps=0.01, **common),
    }[name]()
    for step in range(1, 6):
        gradient = rng.normal(size=7)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        options = {"learning_rate": 0.05, "decay": np.full(7, 0.3), "scale": 1.0}
        if name.startswith("Adam"):
            BACKEND.adam_step(flat, gradient, tuple(states), step=step, decoupled=name == "AdamW", **adam, **options)
        elif name == "RMSprop":
            BACKEND.rmsprop_step(flat, gradient, states[0], rho=0.8, epsilon=0.01, **options)
        else:
            momentum = 0.0 if name == "SGD" else 0.9
            BACKEND.sgd_step(flat, gradient, states[0], momentum=momentum, nesterov=name == "Nesterov", **options)
        np.testing.assert_allclose(flat, theirs.detach().numpy(), rtol=1e-12)
