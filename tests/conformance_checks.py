"""What every backend must do: checks that take a backend and compare it with the reference.

Whatever a backend is to overwrite is NaN before, and so is whatever it must not look at.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from likelihood_problems import make_likelihood
from tolerances import TOLERANCES, assert_close

from numlstm.backends.contract import LIKELIHOODS, AffineSpec, LayerSpec, Noise, PoolSpec
from numlstm.backends.reference import ReferenceBackend

REFERENCE = ReferenceBackend()

# How an array (N, T, K) lies in memory: the shape of what holds it, and the view of that which it is.
LAYOUTS = {
    "contiguous": (lambda n, t, k: (n, t, k), lambda base: base),
    "strided": (lambda n, t, k: (n, 2 * t, k + 5), lambda base: base[:, ::2, 3:-2]),
    "time first": (lambda n, t, k: (t, n, k), lambda base: base.transpose(1, 0, 2)),
    "rows reversed": (lambda n, t, k: (n, t, k), lambda base: base[::-1]),
    "steps reversed": (lambda n, t, k: (n, 2 * t, k + 1), lambda base: base[:, ::-2, 1:]),
}


class Placed:
    """A resident copy of an array in a layout, with NaN around it."""

    def __init__(self, backend, array, layout="contiguous"):
        shape, self.view = LAYOUTS[layout]
        base = np.full(shape(*array.shape), np.nan, array.dtype)
        self.view(base)[...] = array
        self.to_numpy, self.base = backend.to_numpy, backend.to_device(base, str(array.dtype))

    @property
    def array(self):
        """The resident array."""
        return self.view(self.base)

    def read(self):
        """Its values, after a look at what lies around it."""
        base = np.array(self.to_numpy(self.base))
        values = self.view(base).copy()
        self.view(base)[...] = np.nan
        assert np.isnan(base).all(), "written outside the array"
        return values


# Layers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerCase:
    """A recurrent layer, the shape of what goes into it, and which of the optional arguments are given."""

    cell: str = "lstm"
    dtype: str = "float32"
    hidden: int = 5
    inputs: int = 3
    shape: tuple[int, int] = (9, 7)  # T and N
    lengths: str = "full"  # unequal, ones
    reverse: bool = False
    initial: bool = True
    outputs: str = "all"  # first, none: the states whose outputs are asked for
    sources: str = "every state"  # outputs, finals, both: where gradients come from
    dx: bool = True
    layout: str = "contiguous"
    bias: bool = True
    training: bool = False
    recompute: bool = False
    kind: dict | None = None  # of a variant, as `variants` has them
    noise: bool = False

    @property
    def spec(self):
        kind = self.kind or {"cell": self.cell}
        return LayerSpec(input_size=self.inputs, hidden_size=self.hidden, bias=self.bias, dtype=self.dtype, **kind)

    @cached_property
    def problem(self):
        return LayerProblem(self)


class LayerProblem:
    """The numbers of a case: random, exact in float32."""

    def __init__(self, case):
        rng = np.random.default_rng(3)
        (steps, rows), sizes = case.shape, case.spec.state_sizes

        def draw(*shape, scale=1.0):
            return rng.normal(0.0, scale, shape).astype("float32").astype(case.dtype)

        def draw_each(*shape, given):
            return [draw(*shape, size) if wanted else None for size, wanted in zip(sizes, given, strict=True)]

        states = len(sizes)
        first = [state == 0 for state in range(states)]
        scale = 0.7 * max(case.hidden, case.inputs) ** -0.5  # saturated units would lose the digits of their slopes
        self.parameters = {name: draw(*shape, scale=scale) for name, shape in case.spec.shapes.items()}
        self.lengths = draw_lengths(rng, case.lengths, steps, rows)
        self.x = draw(rows, steps, case.inputs)
        self.initial = draw_each(rows, given=[case.initial] * states)
        self.asked = {"all": [True] * states, "first": first, "none": [False] * states}[case.outputs]
        of_outputs = [case.sources == "every state" or (is_first and case.sources != "finals") for is_first in first]
        self.doutputs = draw_each(rows, steps, given=of_outputs)
        self.dfinal = draw_each(rows, given=[case.sources != "outputs"] * states)
        self.past = past(self.lengths, steps, rows)
        for array in (self.x, *self.doutputs):
            if array is not None:
                array[self.past] = np.nan


def draw_lengths(rng, kind, steps, rows):
    """Lengths of a kind; of unequal ones one is all the steps."""
    return {
        "full": lambda: None,
        "unequal": lambda: rng.permutation([steps, *rng.integers(1, steps + 1, rows)][:rows]),
        "ones": lambda: np.ones(rows, np.int64),
    }[kind]()


def past(lengths, steps, rows):
    """Mask (N, T) of what lies past the lengths."""
    ends = np.full(rows, steps) if lengths is None else lengths
    return np.arange(steps) >= ends[:, np.newaxis]


def packed(backend, spec, parameters):
    """Named parameters as a flat vector of a backend."""
    flat = backend.to_device(np.full(backend.size(spec), np.nan, spec.dtype), spec.dtype)
    backend.pack(spec, parameters, flat)
    return flat


def run_layer(backend, case, x=None):
    """All results of a layer by name; `x` other than the case's own may be given.

    Weights for training have served other parameters, and a pass forward and back, before.
    """
    problem, spec = case.problem, case.spec
    inputs = Placed(backend, problem.x if x is None else x, case.layout).array
    if not case.training:
        return _pass(backend, case, backend.prepare(spec, packed(backend, spec, problem.parameters)), inputs)
    others = {name: np.flip(value) for name, value in problem.parameters.items()}
    flat = packed(backend, spec, others)
    weights = backend.prepare(spec, flat, training=True)
    _pass(backend, case, weights, inputs)
    backend.pack(spec, problem.parameters, flat)
    return _pass(backend, case, backend.refresh(weights), inputs)


def _pass(backend, case, weights, x):
    """Forward and back, and forward again as if there were no way back."""
    problem, spec = case.problem, case.spec
    (steps, rows), dtype = case.shape, case.dtype

    def resident(arrays):
        return [None if array is None else backend.to_device(array, dtype) for array in arrays]

    def to_fill(size):
        return Placed(backend, np.full((rows, steps, size), np.nan, dtype), case.layout)

    noise = Noise(2**63 + 12345, 3) if case.noise else None

    def forward(training, noise, gates=()):
        outputs = [
            to_fill(size) if asked else None for size, asked in zip(spec.state_sizes, problem.asked, strict=True)
        ]
        traces = {gate: to_fill(case.hidden) for gate in gates}
        final, tape = backend.sequence_forward(
            weights, x, resident(problem.initial), [placed and placed.array for placed in outputs],
            lengths=problem.lengths, reverse=case.reverse, training=training, noise=noise,
            recompute=case.recompute and training, traces={gate: placed.array for gate, placed in traces.items()},
        )  # fmt: skip
        named = {f"outputs {k}": placed.read() for k, placed in enumerate(outputs) if placed}
        named |= {f"outputs {gate}": placed.read() for gate, placed in traces.items()}
        return named | {f"final {k}": backend.to_numpy(array) for k, array in enumerate(final)}, tape

    inference, tape = forward(training=False, noise=None, gates=dict(spec.description.traces))
    assert tape is None
    results, tape = forward(training=True, noise=noise)
    results |= {f"inference {name}": array for name, array in inference.items()}

    gradient = backend.to_device(np.full(backend.size(spec), np.nan, dtype), dtype)
    dx = to_fill(case.inputs) if case.dx else None
    doutputs = [None if array is None else Placed(backend, array, case.layout).array for array in problem.doutputs]
    dinitial = backend.sequence_backward(
        weights, tape, doutputs, resident(problem.dfinal), gradient, dx and dx.array
    )  # fmt: skip
    results |= {f"dinitial {k}": backend.to_numpy(array) for k, array in enumerate(dinitial)}
    results |= {f"d{name}": value for name, value in backend.unpack(spec, gradient).items()}
    results["norm of the gradient"] = np.asarray(backend.global_norm(gradient), dtype)
    return results | ({"dx": dx.read()} if dx else {})


def check_layer(backend, case):
    """All results of a layer are those of the reference, zeros past the lengths."""
    results, expected = run_layer(backend, case), run_layer(REFERENCE, case)
    assert results.keys() == expected.keys()
    for name, wanted in expected.items():
        usual = "state" if "outputs" in name or "final" in name else "gradient"
        assert_close(case.spec.compute_dtype or usual, name, results[name], wanted)
        if wanted.ndim == 3:
            assert not results[name][case.problem.past].any(), f"{name} past the lengths"


def check_nan_stays_in_its_row(backend, case, value):
    """A number that is not finite changes nothing of any other row, to the bit."""
    clean, spoilt = case.problem.x, case.problem.x.copy()
    row = len(spoilt) // 2
    spoilt[row, 0] = value
    others = np.arange(len(spoilt)) != row
    results, expected = run_layer(backend, case, spoilt), run_layer(backend, case, clean)
    of_rows = [
        name for name in expected if name == "dx" or any(kind in name for kind in ("outputs", "final", "dinitial"))
    ]
    for name in of_rows:
        np.testing.assert_array_equal(results[name][others], expected[name][others], err_msg=name, strict=True)
    if np.isnan(value):
        assert np.isnan(results["final 0"][row]).all()
        assert np.isnan(results["dx"][row, 0]).all()


def check_packing(backend, spec):
    """`unpack` gives back what `pack` wrote; padding is finite, and no part of any norm."""
    rng = np.random.default_rng(4)
    parameters = {name: rng.normal(size=shape).astype(spec.dtype) for name, shape in spec.shapes.items()}
    flat = packed(backend, spec, parameters)
    unpacked = backend.unpack(spec, flat)
    assert list(unpacked) == list(parameters)
    for name, value in parameters.items():
        np.testing.assert_array_equal(unpacked[name], value, err_msg=name, strict=True)
    values = np.concatenate([value.ravel() for value in parameters.values()]).astype("float64")
    assert_close("norm", "norm", backend.global_norm(flat), np.linalg.norm(values))


def check_runner(backend, case):
    """Called twice on the same arrays, once with other numbers in them, it leaves what a call would."""
    problem, spec = case.problem, case.spec
    expected = run_layer(REFERENCE, case)
    weights = backend.prepare(spec, packed(backend, spec, problem.parameters))
    x = backend.to_device(problem.x[::-1].copy(), case.dtype)
    states = [backend.to_device(np.full_like(state, 0.5), case.dtype) for state in problem.initial]
    y = backend.to_device(np.full((*problem.x.shape[:2], spec.state_sizes[0]), np.nan), case.dtype)
    run = backend.runner(weights, x, states, y, reverse=case.reverse)
    run()
    x[...] = backend.to_device(problem.x, case.dtype)
    for state, start in zip(states, problem.initial, strict=True):
        state[...] = backend.to_device(start, case.dtype)
    run()
    assert_close("state", "y", backend.to_numpy(y), expected["outputs 0"])
    _check_fresh(backend, replace(case, initial=False), weights)
    for k, state in enumerate(states):
        assert_close("state", f"final {k}", backend.to_numpy(state), expected[f"final {k}"])
    if not case.reverse:
        _check_step_by_step(backend, case, expected)


def _check_fresh(backend, case, weights):
    """It begins from zeros, whatever the states hold, if it is not to resume."""
    expected, problem = run_layer(REFERENCE, case), case.problem
    x = backend.to_device(problem.x, case.dtype)
    states = [backend.to_device(np.full((case.shape[1], size), 0.5), case.dtype) for size in case.spec.state_sizes]
    backend.runner(weights, x, states, reverse=case.reverse, resume=False)()
    for k, state in enumerate(states):
        assert_close("state", f"fresh {k}", backend.to_numpy(state), expected[f"final {k}"])


def _check_step_by_step(backend, case, expected):
    """Step by step, on the same arrays, the states are those of the whole sequence."""
    problem, spec = case.problem, case.spec
    weights = backend.prepare(spec, packed(backend, spec, problem.parameters))
    x = backend.to_device(np.full_like(problem.x[:, :1], np.nan), case.dtype)
    states = [backend.to_device(state.copy(), case.dtype) for state in problem.initial]
    step = backend.runner(weights, x, states)
    for t in range(case.shape[0]):
        x[...] = backend.to_device(np.ascontiguousarray(problem.x[:, t : t + 1]), case.dtype)
        step()
        for k, state in enumerate(states):
            assert_close("state", f"state {k} at {t}", backend.to_numpy(state), expected[f"outputs {k}"][:, t])


# Pooling --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolCase:
    """A pooling, and the shape of what goes into it."""

    kind: str = "attention"
    dtype: str = "float32"
    features: int = 5
    shape: tuple[int, int] = (9, 7)  # T and N
    lengths: str = "unequal"  # full, ones
    layout: str = "strided"

    @property
    def spec(self):
        return PoolSpec(self.kind, self.features, self.dtype)

    @cached_property
    def problem(self):
        return PoolProblem(self)


class PoolProblem:
    """The numbers of a case: random, exact in float32, with equals among what a maximum is taken of."""

    def __init__(self, case):
        rng, (steps, rows) = np.random.default_rng(9), case.shape

        def draw(*shape, scale=1.0):
            return rng.normal(0.0, scale, shape).astype("float32").astype(case.dtype)

        self.parameters = {name: draw(*shape, scale=case.features**-0.5) for name, shape in case.spec.shapes.items()}
        self.lengths = draw_lengths(rng, case.lengths, steps, rows)
        self.y, self.dpooled = draw(rows, steps, case.features), draw(rows, 2, case.features)
        if case.kind == "max":
            self.y = np.round(self.y)
        self.past = past(self.lengths, steps, rows)
        self.y[self.past] = np.nan


def run_pool(backend, case, y=None):
    """All results of a pooling by name; `y` other than the case's own may be given.

    The weights have served other parameters before.
    """
    problem, spec = case.problem, case.spec
    placed = Placed(backend, problem.y if y is None else y, case.layout)
    dpooled = Placed(backend, problem.dpooled, case.layout).array[:, 1]
    flat = packed(backend, spec, {name: -value for name, value in problem.parameters.items()})
    weights = backend.prepare(spec, flat, training=True)
    gradient = backend.to_device(np.full(backend.size(spec), np.nan, case.dtype), case.dtype)

    def both_ways():
        pooled, tape = backend.pool_forward(weights, placed.array, problem.lengths)
        return pooled, tape, backend.pool_backward(weights, placed.array, problem.lengths, tape, dpooled, gradient)

    both_ways()
    backend.pack(spec, problem.parameters, flat)
    weights = backend.refresh(weights)
    pooled, tape, dy = map(backend.to_numpy, both_ways())
    np.testing.assert_array_equal(placed.read(), problem.y if y is None else y)
    tape = tape.astype("int64" if case.kind == "max" else case.dtype)
    norm = np.asarray(backend.global_norm(gradient), case.dtype)
    # One vector: either part of it may be a sum that cancels, which is only small beside the other.
    named = np.concatenate([np.zeros(0, case.dtype), *backend.unpack(spec, gradient).values()])
    return {"pooled": pooled, "tape": tape, "dy": dy, "gradient": named, "norm of the gradient": norm}


def check_pool(backend, case):
    """Both ways, after a change of the parameters; zeros past the lengths. Nothing of a maximum is rounded."""
    results, expected = run_pool(backend, case), run_pool(REFERENCE, case)
    assert results.keys() == expected.keys()
    for name, wanted in expected.items():
        if case.kind == "max":
            np.testing.assert_array_equal(results[name], wanted, err_msg=name, strict=True)
        else:
            kind = "gradient of a pooling" if "gradient" in name else "pooling"
            assert_close(kind, name, results[name], wanted)
    assert not results["dy"][case.problem.past].any()
    assert case.kind == "max" or not results["tape"][case.problem.past].any()


def check_nan_in_pool(backend, case):
    """NaN shows in what its row is pooled to, and changes nothing of any other row, to the bit."""
    clean, spoilt = case.problem.y, case.problem.y.copy()
    row = len(spoilt) // 2
    spoilt[row, 0, 0] = np.nan
    others = np.arange(len(spoilt)) != row
    results, expected = run_pool(backend, case, spoilt), run_pool(backend, case, clean)
    for name in ("pooled", "tape", "dy"):
        np.testing.assert_array_equal(results[name][others], expected[name][others], err_msg=name, strict=True)
    wanted = run_pool(REFERENCE, case, spoilt)
    np.testing.assert_array_equal(np.isnan(results["pooled"]), np.isnan(wanted["pooled"]))
    if case.kind == "max":
        np.testing.assert_array_equal(results["tape"], wanted["tape"])
        np.testing.assert_array_equal(results["dy"], wanted["dy"])


# Affine maps, losses, optimizers --------------------------------------------------------------------------


@dataclass(frozen=True)
class AffineCase:
    """An affine map of some rows."""

    rows: int = 7
    inputs: int = 5
    outputs: int = 3
    dtype: str = "float32"
    layout: str = "strided"

    @property
    def spec(self):
        return AffineSpec(self.inputs, self.outputs, self.dtype)


def check_affine(backend, case):
    """Both ways, after a change of the parameters."""
    results, expected = _run_affine(backend, case), _run_affine(REFERENCE, case)
    for name, wanted in expected.items():
        assert_close("affine", name, results[name], wanted)


def _run_affine(backend, case):
    rng, spec = np.random.default_rng(5), case.spec
    parameters = {name: rng.normal(size=shape).astype(case.dtype) for name, shape in spec.shapes.items()}
    sizes = case.inputs, case.outputs
    x, dy = (
        Placed(backend, rng.normal(size=(case.rows, 2, size)).astype(case.dtype), case.layout).array[:, 1]
        for size in sizes
    )
    flat = packed(backend, spec, {name: np.flip(value) for name, value in parameters.items()})
    weights = backend.prepare(spec, flat, training=True)
    gradient = backend.to_device(np.full(backend.size(spec), np.nan, case.dtype), case.dtype)
    backend.affine_backward(weights, x, dy, gradient)
    backend.pack(spec, parameters, flat)
    weights = backend.refresh(weights)
    y = backend.to_numpy(backend.affine_forward(weights, x))
    dx = backend.to_numpy(backend.affine_backward(weights, x, dy, gradient))
    norm = np.asarray(backend.global_norm(gradient), case.dtype)
    return {"y": y, "dx": dx, "norm of the gradient": norm} | backend.unpack(spec, gradient)


def draw_loss(spec, rows, outputs, dtype, size):
    """Scores of a size, targets of that size, and uneven weights; there is a score that is its target."""
    if spec.kind in LIKELIHOODS:
        return make_likelihood(spec, rows, dtype, size)
    rng = np.random.default_rng(6)
    scores, targets = rng.normal(0.0, size, (2, rows, outputs)).astype(dtype)
    if spec.kind == "softmax":
        targets = rng.integers(0, outputs, rows)
    elif spec.kind == "binary":
        targets = rng.choice(np.array([0.0, 0.1, 0.75, 1.0], dtype), (rows, outputs))
    else:
        targets[0, 0] = scores[0, 0]
    return scores, targets, rng.uniform(0.5, 1.5, rows) / rows


def run_loss(backend, spec, scores, targets, weights):
    """Loss, as the float it becomes, and gradient, of scores whose rows do not touch."""
    placed = Placed(backend, np.stack([scores, scores], axis=1), "strided")
    loss, gradient = backend.loss(spec, placed.array[:, 1], targets, weights)
    np.testing.assert_array_equal(placed.read()[:, 1], scores)
    assert 0.5 + 2.0 * loss == 0.5 + 2.0 * float(loss) or np.isnan(float(loss)), "the loss is no number"
    return float(loss), backend.to_numpy(gradient)


def check_loss(backend, spec, rows, outputs, dtype, size=1.0):
    """Loss and gradient, for scores of a size; some rows weigh nothing, whatever they hold."""
    scores, targets, weights = draw_loss(spec, rows, outputs, dtype, size)
    ignored = slice(1, None, 3)
    weights[ignored] = 0.0
    scores[ignored] = np.nan
    targets[ignored] = -1 if spec.kind == "softmax" else np.nan
    loss, gradient = run_loss(backend, spec, scores, targets, weights)
    expected_loss, expected = REFERENCE.loss(spec, scores, targets, weights)
    kind = "likelihood" if spec.kind in LIKELIHOODS else "loss"
    allowed = TOLERANCES[kind].float64 * max(1.0, abs(expected_loss))
    assert abs(loss - expected_loss) <= allowed, f"loss {loss}, not {expected_loss}"
    assert_close(kind, "gradient of the loss", gradient, expected)
    assert not gradient[ignored].any()


def check_nan_in_loss(backend, spec, dtype):
    """NaN shows in the loss and in the gradient of its score, and changes nothing of any other row, to the bit."""
    scores, targets, weights = draw_loss(spec, 5, 4, dtype, 1.0)
    _, clean = run_loss(backend, spec, scores, targets, weights)
    scores[2, -1] = np.nan
    loss, gradient = run_loss(backend, spec, scores, targets, weights)
    assert np.isnan(loss), "NaN is not in the loss"
    assert np.isnan(gradient[2, -1]), "NaN is not in the gradient"
    np.testing.assert_array_equal(np.delete(gradient, 2, 0), np.delete(clean, 2, 0), strict=True)


def check_norm(backend, size, dtype, scale=1.0):
    """Euclidean norm, in float64."""
    vector = (scale * np.random.default_rng(7).normal(size=size)).astype(dtype)
    norm = backend.global_norm(backend.to_device(vector, dtype))
    assert isinstance(norm, float)
    assert_close("norm", "norm", norm, REFERENCE.global_norm(vector))


def check_clip(backend, dtype, limit, spoilt=False):
    """A step with a clipped norm; NaN is not clipped, and stays where it is."""
    gradient = np.random.default_rng(7).normal(size=133).astype(dtype)
    scale = min(1.0, limit / np.linalg.norm(gradient.astype("float64")))
    if spoilt:
        gradient[5], scale = np.nan, 1.0
    flat, velocity = (backend.to_device(np.zeros_like(gradient), dtype) for _ in range(2))
    resident = backend.to_device(gradient, dtype)
    backend.sgd_step(
        flat, resident, velocity, step_and_rate=np.ones(2), momentum=0, nesterov=False,
        scale=backend.clip_scale(resident, limit),
    )  # fmt: skip
    assert_close("parameter", "parameters", backend.to_numpy(flat), (-scale * gradient).astype(dtype))


def check_adam(
    backend, dtype, epsilon=0.1, betas=(0.8, 0.95), steps=5, scale=0.3, decay=None, decoupled=False
):  # fmt: skip
    """Parameters and moments after every one of a few steps."""

    def take(each, flat, gradient, mean, square, **options):
        each.adam_step(
            flat, gradient, (mean, square), betas=betas, epsilon=epsilon, decoupled=decoupled, **options
        )  # fmt: skip

    _check_steps(backend, dtype, take, ("mean", "square"), steps, scale, decay)


def check_sgd(backend, dtype, momentum=0.8, nesterov=False, steps=5, scale=0.3, decay=None):
    """Parameters and velocity after every one of a few steps."""

    def take(each, flat, gradient, velocity, **options):
        each.sgd_step(flat, gradient, velocity, momentum=momentum, nesterov=nesterov, **options)

    _check_steps(backend, dtype, take, ("velocity",), steps, scale, decay)


def check_rmsprop(backend, dtype, epsilon=0.1, rho=0.8, steps=5, scale=0.3, decay=None):
    """Parameters and mean square after every one of a few steps."""

    def take(each, flat, gradient, square, **options):
        each.rmsprop_step(flat, gradient, square, rho=rho, epsilon=epsilon, **options)

    _check_steps(backend, dtype, take, ("square",), steps, scale, decay)


def _check_steps(backend, dtype, take, names, steps, scale, decay):
    """`decay` is the largest there is: others are less, or 0."""
    rng = np.random.default_rng(8)
    start = rng.normal(size=133).astype(dtype)
    if decay is not None:
        decay = (decay * rng.choice([0.0, 0.5, 1.0], start.size)).astype(dtype)
    runs = [(each, [each.to_device(array.copy(), dtype) for array in (start, *(0 * start for _ in names))])
            for each in (backend, REFERENCE)]  # fmt: skip
    for step in range(1, steps + 1):
        gradient = rng.normal(size=start.size).astype(dtype)
        for each, arrays in runs:
            flat, *state = arrays
            take(
                each, flat, each.to_device(gradient, dtype), *state, step_and_rate=np.array([step, 0.1]), scale=scale,
                decay=None if decay is None else each.to_device(decay, dtype),
            )  # fmt: skip
        (_, got), (_, wanted) = runs
        for name, a, b in zip(("parameters", *names), got, wanted, strict=True):
            kind = "parameter" if name == "parameters" else "moment"
            assert_close(kind, f"{name} after step {step}", backend.to_numpy(a), b)


# Dropout, activity -----------------------------------------------------------------------------------------


def check_dropout(backend, shape, probability, dtype, per_step, layout="contiguous"):
    """The mask is that of the reference, to the bit."""
    x = np.random.default_rng(5).normal(size=shape).astype(dtype)
    noise = Noise(2**64 - 2, 5)
    got = backend.to_numpy(backend.dropout(Placed(backend, x, layout).array, probability, noise, per_step=per_step))
    wanted = REFERENCE.dropout(x, probability, noise, per_step=per_step)
    np.testing.assert_array_equal(got == 0, wanted == 0)
    assert_close("affine", "dropout", got, wanted)


def check_activity(backend, shape, lengths, size, change, dtype, layout="contiguous"):
    """Penalty and gradient are those of the reference; what lies past the lengths is not looked at."""
    rng = np.random.default_rng(6)
    rows, steps, _ = shape
    lengths = draw_lengths(rng, lengths, steps, rows)
    y = rng.normal(size=shape).astype(dtype)
    y[past(lengths, steps, rows)] = np.nan
    loss, gradient = backend.activity_loss(Placed(backend, y, layout).array, lengths, size, change)
    wanted, expected = REFERENCE.activity_loss(y, lengths, size, change)
    assert_close("loss", "penalty", np.asarray(float(loss)), np.asarray(wanted))
    gradient = backend.to_numpy(gradient)
    assert_close("affine", "gradient", gradient, expected)
    assert not gradient[past(lengths, steps, rows)].any()
