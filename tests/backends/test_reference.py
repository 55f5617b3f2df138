"""The reference backend against finite differences, and against sums done by hand."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from variants import ONE_BY_ONE, OTHERS, lstm_variants, name_of

from numlstm import cells
from numlstm.backends.contract import (
    LOSSES,
    POOLINGS,
    STREAMS,
    AffineSpec,
    LayerSpec,
    LossSpec,
    Noise,
    PoolSpec,
    UnsupportedError,
)
from numlstm.backends.reference import ReferenceBackend, Twin, activations, affine, masks, norm, register
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
    noise: Noise | None = None

    @property
    def past(self) -> np.ndarray:
        """Mask (N, T) of what lies past the rows' lengths."""
        n_rows, n_steps, _ = self.x.shape
        lengths = np.full(n_rows, n_steps) if self.lengths is None else self.lengths
        return np.arange(n_steps) >= lengths[:, np.newaxis]

    def forward(self, outputs=None, training=True, traces=None):
        """Outputs, final states and tape; what is to be overwritten is NaN before."""
        if outputs is None:
            outputs = [np.full((*self.x.shape[:2], size), np.nan, self.spec.dtype) for size in self.spec.state_sizes]
        weights = BACKEND.prepare(self.spec, self.flat, training)
        final, tape = BACKEND.sequence_forward(
            weights,
            self.x,
            self.initial,
            outputs,
            lengths=self.lengths,
            reverse=self.reverse,
            training=training,
            noise=self.noise,
            traces=traces,
        )
        return outputs, final, tape

    def gates(self):
        """The gates at every step, by their public names."""
        shape = (*self.x.shape[:2], self.spec.hidden_size)
        traces = {name: np.full(shape, np.nan) for name, _ in self.spec.description.traces}
        self.forward(training=False, traces=traces)
        return traces

    def backward(self, doutputs, dfinal):
        """Gradients by name; entries of `doutputs` past the lengths are NaN for the backend."""
        doutputs = [None if d is None else np.where(self.past[..., np.newaxis], np.nan, d) for d in doutputs]
        _, _, tape = self.forward([None] * len(self.initial))
        weights = BACKEND.prepare(self.spec, self.flat, True)
        gradient, dx = np.full_like(self.flat, np.nan), np.full_like(self.x, np.nan)
        dinitial = BACKEND.sequence_backward(weights, tape, doutputs, dfinal, gradient, dx)
        return {"flat": gradient, "x": dx} | {f"initial {k}": d for k, d in enumerate(dinitial)}


def make_problem(
    n=3, t=5, d=3, h=4, *, bias=True, given=True, lengths=None, reverse=False, noise=None,
    cell="lstm", options=(), **added,
):  # fmt: skip
    """A random problem in float64, whose x is NaN past the lengths."""
    rng = np.random.default_rng(7)
    spec = LayerSpec(cell, d, h, bias, "float64", options, **added)
    x, flat = rng.normal(size=(n, t, d)), rng.normal(0.0, 0.6, BACKEND.size(spec))
    initial = tuple(rng.normal(size=(n, size)) if given else None for size in spec.state_sizes)
    problem = Problem(spec, flat, x, initial, lengths, reverse, noise)
    x[problem.past] = np.nan
    return problem


def make_sources(problem):
    """Where gradients may come from: pairs (doutputs, dfinal), by name."""
    rng = np.random.default_rng(11)
    n, t, _ = problem.x.shape
    sizes = problem.spec.state_sizes
    none = [None] * len(sizes)
    every_step = [rng.normal(size=(n, t, size)) for size in sizes]
    at_end = [rng.normal(size=(n, size)) for size in sizes]
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
    # A state that is None stands for zeros, and has a gradient all the same.
    zeros = (np.zeros((len(problem.x), size)) for size in problem.spec.state_sizes)
    initial = tuple(z if s is None else s for z, s in zip(zeros, problem.initial, strict=True))
    problem = replace(problem, initial=initial)

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


# Options: against finite differences --------------------------------------------------------------------------

NOISE = Noise(2**64 - 3, 5)


def make_kind(kind, k=0, **sizes):
    """A small problem; with noise, in reverse, without biases every so often."""
    sizes = {"n": 2, "t": 2, "d": 2, "h": 3} | sizes
    return make_problem(**sizes, **kind, noise=NOISE if k % 2 else None, reverse=k % 3 == 1, bias=k % 5 != 4)


def slope_along(function, arrays, directions, eps=1e-5):
    """Central difference of a number along a direction in several arrays at once."""
    values = []
    for sign in (1.0, -1.0):
        for array, direction in zip(arrays, directions, strict=True):
            array += sign * eps * direction
        values.append(function())
        for array, direction in zip(arrays, directions, strict=True):
            array -= sign * eps * direction
    return (values[0] - values[1]) / (2 * eps)


@pytest.mark.parametrize(
    ("k", "kind"), list(enumerate([*ONE_BY_ONE, *OTHERS])), ids=map(name_of, [*ONE_BY_ONE, *OTHERS])
)
def test_gradients_of_an_option(k, kind):
    """Every number, with all sources of gradients at once."""
    problem = make_kind(kind, k)
    sources = {"all": make_sources(problem)["all"]}
    expected = expected_gradients(problem, sources)
    actual = problem.backward(*sources["all"])
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert_close(value, expected[name][0])


@pytest.mark.parametrize(("k", "kind"), list(enumerate(lstm_variants())), ids=map(name_of, lstm_variants()))
def test_gradients_of_options_together(k, kind):
    """Each array along a few directions, and zeros for what is not used."""
    problem = make_kind(kind, k, t=3, d=3, lengths=np.array([3, 2]))
    problem.x[problem.past] = 0.0
    doutputs, dfinal = make_sources(problem)["all"]
    doutputs = [np.where(problem.past[..., np.newaxis], 0.0, d) for d in doutputs]
    gradients = problem.backward(doutputs, dfinal)
    arrays = {"flat": problem.flat, "x": problem.x} | {f"initial {k}": s for k, s in enumerate(problem.initial)}
    rng = np.random.default_rng(k)

    def loss():
        outputs, final, _ = problem.forward(training=False)
        return dot(doutputs, outputs) + dot(dfinal, final)

    for name, array in arrays.items():
        for part in problem.spec.shapes if name == "flat" else [None]:
            mask = np.ones_like(array)
            if part is not None:
                shapes = {each: np.full(shape, float(each == part)) for each, shape in problem.spec.shapes.items()}
                BACKEND.pack(problem.spec, shapes, mask)
            direction = mask * rng.normal(size=array.shape)
            expected = slope_along(loss, [array], [direction])
            size = np.sum(np.abs(gradients[name] * direction))
            assert abs(np.vdot(gradients[name], direction) - expected) <= 1e-7 * size + 1e-9, (name, part)
    for name, gradient in BACKEND.unpack(problem.spec, gradients["flat"]).items():
        assert not gradient[~problem.spec.used[name]].any(), name


@pytest.mark.parametrize("place", ["recurrent_activation", "output_activation"])
@pytest.mark.parametrize("name", activations.VALUES)
def test_gradients_of_activations(place, name):
    assert_gradients(make_kind({"cell": "lstm", "options": ((place, (name, *OF_ACTIVATION[name])),)}))


OF_ACTIVATION = dict.fromkeys(activations.VALUES, ()) | {
    "affine": (0.7, 0.2), "scaled_tanh": (1.7, 0.6), "leaky_relu": (0.1,), "thresholded_relu": (0.3,),
    "hard_sigmoid": (0.4, 0.5), "elu": (0.8,),
}  # fmt: skip
AT_TWO_AND_MINUS_ONE = {
    "identity": (2.0, -1.0),
    "affine": (1.6, -0.5),
    "sigmoid": (1 / (1 + math.exp(-2)), 1 / (1 + math.e)),
    "tanh": (math.tanh(2), math.tanh(-1)),
    "scaled_tanh": (1.7 * math.tanh(1.2), 1.7 * math.tanh(-0.6)),
    "relu": (2.0, 0.0),
    "leaky_relu": (2.0, -0.1),
    "thresholded_relu": (2.0, 0.0),
    "hard_sigmoid": (1.0, 0.1),
    "elu": (2.0, 0.8 * (math.exp(-1) - 1)),
    "softsign": (2 / 3, -1 / 2),
    "softplus": (math.log(1 + math.exp(2)), math.log(1 + math.exp(-1))),
}


@pytest.mark.parametrize("name", activations.VALUES)
def test_activations_by_hand(name):
    activation = (name, *OF_ACTIVATION[name])
    x = np.array([2.0, -1.0])
    np.testing.assert_allclose(activations.apply(activation, x), AT_TWO_AND_MINUS_ONE[name], rtol=1e-14)
    expected = np.diag(differences(lambda: activations.apply(activation, x), x))
    np.testing.assert_allclose(activations.slope(activation, x), expected, rtol=1e-9, atol=1e-10)
    with np.errstate(invalid="ignore"):
        assert np.isnan(activations.apply(activation, np.array([np.nan])))


@pytest.mark.parametrize(
    ("activation", "x", "slope"),
    [
        (("relu",), 0.0, 0.0),
        (("leaky_relu", 0.1), 0.0, 1.0),
        (("thresholded_relu", 0.5), 0.5, 1.0),
        (("hard_sigmoid", 0.5, 0.5), 1.0, 0.0),
        (("hard_sigmoid", 0.5, 0.5), -1.0, 0.0),
        (("elu", 0.3), 0.0, 1.0),
        (("softsign",), 0.0, 1.0),
    ],
)
def test_slopes_at_kinks(activation, x, slope):
    assert activations.slope(activation, np.array([x])) == slope


# Options: against others ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("name", "cell", "options", "theirs"),
    [
        ("LSTM", "lstm", (), {}),
        ("LSTM", "lstm", (("proj_size", 2),), {"proj_size": 2}),
        ("GRU", "gru", (), {}),
        ("RNN", "rnn", (), {}),
        ("RNN", "rnn", (("nonlinearity", ("relu",)),), {"nonlinearity": "relu"}),
    ],
    ids=["lstm", "lstm with projection", "gru", "rnn", "rnn of relu"],
)
def test_torch(name, cell, options, theirs, reverse):
    """Outputs, final states, and all gradients."""
    torch = pytest.importorskip("torch")
    problem = make_problem(cell=cell, options=options)
    module = getattr(torch.nn, name)(3, 4, batch_first=True, dtype=torch.float64, **theirs)
    parameters = BACKEND.unpack(problem.spec, problem.flat)
    assert {f"{each}_l0" for each in parameters} == {each for each, _ in module.named_parameters()}
    x, *initial = (torch.tensor(array, requires_grad=True) for array in (problem.x, *problem.initial))
    with torch.no_grad():
        for each, value in parameters.items():
            getattr(module, f"{each}_l0").copy_(torch.tensor(value))
    given = torch.flip(x, [1]) if reverse else x
    y, final = module(given, tuple(s[None] for s in initial) if len(initial) > 1 else initial[0][None])
    y, final = torch.flip(y, [1]) if reverse else y, final if isinstance(final, tuple) else (final,)

    problem.reverse = reverse
    outputs, our_final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], y.detach(), rtol=1e-12)
    for ours, other in zip(our_final, final, strict=True):
        np.testing.assert_allclose(ours, other[0].detach(), rtol=1e-12)

    doutputs, dfinal = make_sources(problem)["all"]
    doutputs = [doutputs[0], *[None] * (len(doutputs) - 1)]
    loss = (y * torch.tensor(doutputs[0])).sum()
    (loss + sum((f[0] * torch.tensor(d)).sum() for f, d in zip(final, dfinal, strict=True))).backward()
    gradients = problem.backward(doutputs, dfinal)
    by_name = BACKEND.unpack(problem.spec, gradients.pop("flat"))
    expected = {each: getattr(module, f"{each}_l0").grad for each in by_name} | {"x": x.grad}
    expected |= {f"initial {k}": s.grad for k, s in enumerate(initial)}
    for each, value in (by_name | gradients).items():
        assert_close(value, expected[each].numpy(), 1e-12)


def run_onnx(problem, operator, order, attributes):
    """What ONNX Runtime makes of a problem, in float32: Y, and the final states.

    Where gates are coupled, its forget gate is 1 - i; with σ(-a) = 1 - σ(a) ours that is 1 - f comes to the same.
    """
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    parameters = BACKEND.unpack(problem.spec, problem.flat)
    if dict(problem.spec.options).get("coupled_gates") is True:
        for value in parameters.values():
            value[:4] = -value[4:8]

    def blocks(name, order=order):
        return np.concatenate([np.split(parameters[name], len(order))[k] for k in order])

    inputs = {"X": problem.x.swapaxes(0, 1), "W": blocks("weight_ih")[None], "R": blocks("weight_hh")[None],
              "B": np.concatenate([blocks("bias_ih"), blocks("bias_hh")])[None]}  # fmt: skip
    inputs |= {f"initial_{s}": value[None] for s, value in zip("hc", problem.initial, strict=False)}
    if "peephole" in parameters:
        inputs["P"] = blocks("peephole", (0, 2, 1))[None]
    names = ["X", "W", "R", "B", "", "initial_h", *["initial_c", "P"][: len(inputs) - 5]]
    finals = [f"Y_{s}" for s, _ in zip("hc", problem.initial, strict=False)]
    node = onnx.helper.make_node(operator, names, ["Y", *finals], hidden_size=problem.spec.hidden_size, **attributes)
    typed = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ["Y", *finals]}
    given = [onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in inputs.items()]
    graph = onnx.helper.make_graph([node], "one", given, list(typed.values()))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    y, *final = session.run(None, {name: np.float32(value) for name, value in inputs.items()})
    return y[:, 0].swapaxes(0, 1), [f[0] for f in final]


ONNX_NAMES = {"identity": "Affine", "scaled_tanh": "ScaledTanh", "leaky_relu": "LeakyRelu",
              "thresholded_relu": "ThresholdedRelu", "hard_sigmoid": "HardSigmoid"}  # fmt: skip
LSTM_DEFAULTS = {"recurrent": ("sigmoid",), "input": ("tanh",), "output": ("tanh",)}


def onnx_activations(chosen, places=(*LSTM_DEFAULTS,)):
    """Attributes for activations of the gates, the input and the output, or some of them, and our options."""
    those = [chosen.get(place, LSTM_DEFAULTS[place]) for place in places]
    parameters = [(1.0, 0.0) if each[0] == "identity" else each[1:] for each in those]
    attributes = {
        "activations": [ONNX_NAMES.get(name, name.capitalize()) for name, *_ in those],
        "activation_alpha": [each[0] for each in parameters if each],
        "activation_beta": [each[1] for each in parameters if each[1:]],
    }
    options = tuple((f"{place}_activation", each) for place, each in chosen.items())
    return options, {name: value for name, value in attributes.items() if value}


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ((("peepholes", True),), {}),
        ((("coupled_gates", True),), {"input_forget": 1}),
        ((("coupled_gates", True), ("peepholes", True)), {"input_forget": 1}),
        *(((("coupled_gates", "input"), *options), {"input_forget": 1} | more) for options, more in [
            ((), {}), ((("peepholes", True),), {}), onnx_activations({"recurrent": ("hard_sigmoid", 0.3, 0.4)}),
            onnx_activations({"recurrent": ("tanh",)}),
        ]),
        ((("preactivation_clip", 0.7),), {"clip": 0.7}),
        ((("peepholes", True), ("preactivation_clip", 0.9)), {"clip": 0.9}),
        *(onnx_activations({place: (name, *OF_ACTIVATION[name])}) for name in activations.VALUES
          for place in ("recurrent", "input", "output")),
        onnx_activations({"recurrent": ("hard_sigmoid", 0.2, 0.5), "input": ("scaled_tanh", 1.7, 0.6),
                          "output": ("affine", 0.3, 0.1)}),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_lstm_of_onnx(options, attributes):
    problem = make_problem(options=tuple(sorted(options)))
    expected, expected_final = run_onnx(problem, "LSTM", (0, 3, 1, 2), attributes)
    outputs, final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(final, expected_final, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("clip", [None, 0.6])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"recurrent": ("hard_sigmoid", 0.3, 0.4)},
        {"input": ("elu", 0.7)},
        {"recurrent": ("affine", 0.3, 0.4), "input": ("scaled_tanh", 1.7, 0.6)},
    ],
)
def test_gru_of_onnx(reset_after, clip, chosen):
    options, attributes = onnx_activations(chosen, ("recurrent", "input"))
    options += () if reset_after else (("reset_after", False),)
    if clip:
        options, attributes = (*options, ("preactivation_clip", clip)), attributes | {"clip": clip}
    problem = make_problem(cell="gru", options=tuple(sorted(options)))
    attributes |= {"linear_before_reset": int(reset_after)}
    expected, expected_final = run_onnx(problem, "GRU", (1, 0, 2), attributes)
    outputs, final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(final, expected_final, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("clip", [None, 0.6])
@pytest.mark.parametrize("name", activations.VALUES)
def test_rnn_of_onnx(name, clip):
    chosen = (name, *OF_ACTIVATION[name])
    _, attributes = onnx_activations({"input": chosen}, ("input",))
    options = (("nonlinearity", chosen),)
    if clip:
        options, attributes = (*options, ("preactivation_clip", clip)), attributes | {"clip": clip}
    problem = make_problem(cell="rnn", options=options)
    expected, expected_final = run_onnx(problem, "RNN", (0,), attributes)
    outputs, final, _ = problem.forward()
    np.testing.assert_allclose(outputs[0], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(final, expected_final, rtol=2e-5, atol=1e-5)


# Options: by hand ----------------------------------------------------------------------------------------------


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


# Options: what is dropped --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "words", "key", "hashes"),
    [
        (0, (0, 0, 0), 0x238275BC38FCBE91, [0x5D3E8297, 0x97F9252E, 0x88F046FA, 0x0ECA9174]),
        (42, (11, 7, 3), 0x1A328F8BE4257A73, [0xF6A2D2CA, 0x7F60AB24, 0x3FE74ED7, 0x539C77F3]),
        (2**64 - 1, (44, 1000, 65), 0xCF69FA05E510C961, [0x3623A6BF, 0xC66C7DED, 0xAC4DA8B9, 0x6EADA2AD]),
    ],
)
def test_hash(seed, words, key, hashes):
    """Numbers from a program in C, of the contract's text."""
    assert masks.row_key(seed, *words) == key
    assert masks.unit_hash(key, np.array([0, 1, 2, 1000], np.uint64)).tolist() == hashes


def test_mixing_function():
    """The first numbers of SplitMix64, as published, from seeds 0 and 1234567: the state is a multiple of G further."""
    golden = 0x9E3779B97F4A7C15
    assert masks._mix(golden) == 0xE220A8397B1DCDAF
    numbers = [masks._mix((1234567 + k * golden) % 2**64) for k in (1, 2, 3)]
    assert numbers == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
def test_share_that_is_dropped(probability):
    """As many as asked for, whatever the row, step, layer, kind or seed; none says anything of another."""
    drawn = {
        place: np.concatenate([masks.dropped(noise, kind, t, n, 500, probability)[0] for noise, kind, t, n in draws])
        for place, draws in {
            "row": [(Noise(1, 0), 1, 3, n) for n in range(100)],
            "step": [(Noise(1, 0), 1, t, 7) for t in range(100)],
            "layer": [(Noise(1, k), 1, 0, 5) for k in range(100)],
            "kind": [(Noise(1, k // 8), k % 8, 1, 5) for k in range(100)],
            "seed": [(Noise(k, 0), 1, 0, 9) for k in range(100)],
        }.items()
    }
    deviation = 50_000**-0.5
    for place, drops in drawn.items():
        centred = drops - probability
        assert abs(centred.mean()) <= 4 * deviation * math.sqrt(probability * (1 - probability)), place
        for shift in (1, 500):
            together = np.mean(centred[shift:] * centred[:-shift])
            assert abs(together) <= 4 * deviation * probability * (1 - probability), (place, shift)


def test_threshold():
    """Dropped is what hashes to less than ``floor(2**32 p)``."""
    key = masks.row_key(0, 0, 0, 0)
    below = float(masks.unit_hash(key, np.array([0], np.uint64))[0])
    for probability, dropped in [(below / 2**32, False), ((below + 0.9) / 2**32, False), ((below + 1) / 2**32, True)]:
        assert masks.dropped(Noise(0, 0), 0, 0, 0, 1, probability)[0, 0] == dropped


def mask_of(kind, t, n, size, probability):
    """Whether units are dropped, from the hash."""
    key = masks.row_key(NOISE.seed, 8 * NOISE.layer + kind, t, n)
    return np.array([int(masks.unit_hash(key, np.array([u], np.uint64))[0]) < 2**32 * probability for u in range(size)])


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout(per_step, dtype):
    x = np.random.default_rng(2).normal(size=(3, 4, 6)).astype(dtype)
    y = BACKEND.dropout(x, 0.3, NOISE, per_step=per_step)
    assert y.dtype == dtype
    drop = np.array([[mask_of(STREAMS["dropout"], t * per_step, n, 6, 0.3) for t in range(4)] for n in range(3)])
    assert drop.any()
    np.testing.assert_array_equal(y, np.where(drop, 0.0, x.astype(float) / (1 - 0.3)).astype(dtype))
    assert (np.diff(drop, axis=1).any()) == per_step


RECURRENT = [
    *({"cell": cell} for cell in ("lstm", "gru", "rnn", "mgu")),
    {"cell": "gru", "options": (("reset_after", False),)},
    {"cell": "gru", "layer_norm": True},
    {"cell": "lstm", "options": (("proj_size", 3),)},
    {"cell": "lstm", "options": (("full_gate_recurrence", True), ("peepholes", True)), "layer_norm": True},
]


@pytest.mark.parametrize("kind", RECURRENT, ids=lambda kind: name_of({"options": ()} | kind))
def test_recurrent_dropout_scales_columns(kind):
    """One mask a sequence on all that ``weight_hh`` multiplies is that mask on its columns."""
    dropped = make_problem(2, **kind, recurrent_dropout=0.4, noise=NOISE)
    outputs, _, _ = dropped.forward()
    doutputs, dfinal = make_sources(dropped)["all"]
    total = 0.0
    for n in range(2):
        plain = make_problem(2, **kind)
        plain.x, plain.initial = plain.x[n : n + 1], tuple(s[n : n + 1] for s in plain.initial)
        parameters = BACKEND.unpack(plain.spec, plain.flat)
        size = parameters["weight_hh"].shape[1]
        factors = np.where(mask_of(STREAMS["recurrent_dropout"], 0, n, size, 0.4), 0.0, 1 / 0.6)
        BACKEND.pack(plain.spec, parameters | {"weight_hh": parameters["weight_hh"] * factors}, plain.flat)
        for output, expected in zip(outputs, plain.forward()[0], strict=True):
            np.testing.assert_allclose(output[n], expected[0], rtol=1e-10)
        of_row = plain.backward([d[n : n + 1] for d in doutputs], [d[n : n + 1] for d in dfinal])["flat"]
        total = total + BACKEND.unpack(plain.spec, of_row)["weight_hh"] * factors
    gradient = BACKEND.unpack(dropped.spec, dropped.backward(doutputs, dfinal)["flat"])["weight_hh"]
    assert_close(gradient, total, 1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mgu"])
def test_without_noise_only_zoneout_is_left(cell):
    plain = make_problem(cell=cell)
    dropped = make_problem(cell=cell, recurrent_dropout=0.4, candidate_dropout=0.3 * (cell in ("lstm", "gru")))
    np.testing.assert_array_equal(dropped.forward()[0], plain.forward()[0])


def steps_before(problem, output, initial):
    """A state before each step (not in reverse)."""
    return np.concatenate([initial[:, np.newaxis], output[:, :-1]], axis=1)


def candidate_factors(problem, probability):
    (n_rows, n_steps, _), h = problem.x.shape, problem.spec.hidden_size
    kind = STREAMS["candidate_dropout"]
    drop = [[mask_of(kind, t, n, h, probability) for t in range(n_steps)] for n in range(n_rows)]
    return np.where(drop, 0.0, 1 / (1 - probability))


def test_candidate_dropout_of_lstm():
    problem = make_problem(candidate_dropout=0.3, noise=NOISE)
    _, c = problem.forward()[0]
    gates, m = problem.gates(), candidate_factors(problem, 0.3)
    before = steps_before(problem, c, problem.initial[1])
    np.testing.assert_allclose(
        c, gates["forget_gate"] * before + gates["input_gate"] * m * gates["cell_input"], rtol=1e-10
    )


def test_candidate_dropout_of_gru():
    problem = make_problem(cell="gru", candidate_dropout=0.3, noise=NOISE)
    ((h,), *_), gates, m = problem.forward(), problem.gates(), candidate_factors(problem, 0.3)
    z, before = gates["update_gate"], steps_before(problem, h, problem.initial[0])
    np.testing.assert_allclose(h, (1 - z) * m * gates["candidate"] + z * before, rtol=1e-10)


def test_zoneout_mixes_without_noise():
    """The output is made of the cell before it is mixed."""
    kind = {"options": (("cell_clip", 0.5),)}
    (h, c), _, _ = make_problem(1, 1, **kind).forward()
    zoned = make_problem(1, 1, **kind, zoneout=(0.25, 0.4))
    h_prev, c_prev = (s[:, np.newaxis] for s in zoned.initial)
    np.testing.assert_allclose(zoned.forward()[0], [0.75 * h + 0.25 * h_prev, 0.6 * c + 0.4 * c_prev], rtol=1e-12)
    short = make_problem(1, 1, **kind, zoneout=(0.25,))
    np.testing.assert_allclose(short.forward()[0], [0.75 * h + 0.25 * h_prev, c], rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", [{"cell": "gru"}, {"options": (("full_gate_recurrence", True), ("proj_size", 3))}])
def test_zoneout_keeps_with_noise(kind, reverse):
    """Each state has a mask of its own, by the step of x."""
    shares = (0.4, 0.5, 0.3, 0.0, 0.6)[: len(make_problem(**kind).initial)]
    problem = make_problem(**kind, zoneout=shares, noise=NOISE, reverse=reverse)
    for k, (output, share) in enumerate(zip(problem.forward()[0], shares, strict=True)):
        order = slice(None, None, -1 if reverse else 1)
        before = steps_before(problem, output[:, order], problem.initial[k])[:, order]
        kept = np.isclose(output, before, rtol=1e-12, atol=0.0)
        n_rows, n_steps, size = output.shape
        drawn = [[mask_of(STREAMS["zoneout"] + k, t, n, size, share) for t in range(n_steps)] for n in range(n_rows)]
        np.testing.assert_array_equal(kept, drawn)


def test_backward_has_the_masks_of_forward():
    problem = make_problem(recurrent_dropout=0.3, candidate_dropout=0.2, zoneout=(0.2, 0.3), noise=NOISE)
    sources = make_sources(problem)["all"]
    first, again = problem.backward(*sources), problem.backward(*sources)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    problem.noise = Noise(NOISE.seed - 1, NOISE.layer)
    assert not np.allclose(problem.backward(*sources)["flat"], first["flat"])


# Options: gates to look at -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "mgu"])
def test_traces(cell, reverse):
    """Zeros past the lengths; what makes the states is what is seen; asking for them changes nothing."""
    problem = make_problem(cell=cell, lengths=UNEQUAL, reverse=reverse)
    outputs, _, _ = problem.forward()
    gates = problem.gates()
    order = slice(None, None, -1 if reverse else 1)
    last, initial = outputs[-1], problem.initial[-1]
    row = next(n for n, length in enumerate(UNEQUAL) if length == last.shape[1])
    before = steps_before(problem, last[row : row + 1, order], initial[row : row + 1])[0, order]
    for gate in gates.values():
        assert np.all(gate[problem.past] == 0)
        assert np.all(gate[~problem.past] != 0)
    seen = {name: gate[row] for name, gate in gates.items()}
    made = {
        "lstm": lambda input_gate, forget_gate, cell_input, output_gate: forget_gate * before + input_gate * cell_input,
        "gru": lambda reset_gate, update_gate, candidate: (1 - update_gate) * candidate + update_gate * before,
        "mgu": lambda forget_gate, cell_input: (1 - forget_gate) * before + forget_gate * cell_input,
    }[cell](**seen)
    np.testing.assert_allclose(last[row], made, rtol=1e-12)
    only = {name: np.full_like(gate, np.nan) for name, gate in list(gates.items())[1:2]}
    _, final, _ = problem.forward(traces=only)
    np.testing.assert_array_equal(final, problem.forward()[1])
    for name, gate in only.items():
        np.testing.assert_array_equal(gate, gates[name])


# Activity ------------------------------------------------------------------------------------------------------


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


# Twins ----------------------------------------------------------------------------------------------------


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
