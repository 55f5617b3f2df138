"""What every backend must do: checks that take a backend and compare it with the reference.

Whatever a backend is to overwrite is NaN before, and so is whatever it must not look at.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tolerances import assert_close

from numlstm import cells
from numlstm.backends.contract import AffineSpec, LayerSpec
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

    @property
    def spec(self):
        return LayerSpec(self.cell, self.inputs, self.hidden, self.bias, self.dtype)

    @cached_property
    def problem(self):
        return LayerProblem(self)


class LayerProblem:
    """The numbers of a case: random, exact in float32."""

    def __init__(self, case):
        rng = np.random.default_rng(3)
        (steps, rows), states = case.shape, len(cells.get(case.cell).states)

        def draw(*shape, scale=1.0):
            return rng.normal(0.0, scale, shape).astype("float32").astype(case.dtype)

        def draw_each(*shape, given):
            return [draw(*shape) if wanted else None for wanted in given]

        first = [state == 0 for state in range(states)]
        scale = case.hidden**-0.5
        self.parameters = {name: draw(*shape, scale=scale) for name, shape in case.spec.shapes.items()}
        self.lengths = {
            "full": lambda: None,
            "unequal": lambda: rng.permutation([steps, *rng.integers(1, steps + 1, rows)][:rows]),
            "ones": lambda: np.ones(rows, np.int64),
        }[case.lengths]()
        self.x = draw(rows, steps, case.inputs)
        self.initial = draw_each(rows, case.hidden, given=[case.initial] * states)
        self.asked = {"all": [True] * states, "first": first, "none": [False] * states}[case.outputs]
        of_outputs = [case.sources == "every state" or (is_first and case.sources != "finals") for is_first in first]
        self.doutputs = draw_each(rows, steps, case.hidden, given=of_outputs)
        self.dfinal = draw_each(rows, case.hidden, given=[case.sources != "outputs"] * states)
        ends = np.full(rows, steps) if self.lengths is None else self.lengths
        self.past = np.arange(steps) >= ends[:, np.newaxis]
        for array in (self.x, *self.doutputs):
            if array is not None:
                array[self.past] = np.nan


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

    def forward(training):
        outputs = [to_fill(case.hidden) if asked else None for asked in problem.asked]
        final, tape = backend.sequence_forward(
            weights, x, resident(problem.initial), [placed and placed.array for placed in outputs],
            lengths=problem.lengths, reverse=case.reverse, training=training,
        )  # fmt: skip
        named = {f"outputs {k}": placed.read() for k, placed in enumerate(outputs) if placed}
        return named | {f"final {k}": backend.to_numpy(array) for k, array in enumerate(final)}, tape

    inference, tape = forward(training=False)
    assert tape is None
    results, tape = forward(training=True)
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
        assert_close("state" if "outputs" in name or "final" in name else "gradient", name, results[name], wanted)
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


def check_stepper(backend, case):
    """Step by step, on the same arrays, the states are those of the whole sequence."""
    problem, spec = case.problem, case.spec
    expected = run_layer(REFERENCE, case)
    weights = backend.prepare(spec, packed(backend, spec, problem.parameters))
    x = backend.to_device(np.full_like(problem.x[:, :1], np.nan), case.dtype)
    states = [backend.to_device(state.copy(), case.dtype) for state in problem.initial]
    step = backend.stepper(weights, x, states)
    for t in range(case.shape[0]):
        x[...] = backend.to_device(np.ascontiguousarray(problem.x[:, t : t + 1]), case.dtype)
        step()
        for k, state in enumerate(states):
            assert_close("state", f"state {k} at {t}", backend.to_numpy(state), expected[f"outputs {k}"][:, t])


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


def check_loss(backend, rows, classes, dtype, size=1.0):
    """Loss and gradient, for scores of a size."""
    rng = np.random.default_rng(6)
    scores, targets = rng.normal(0.0, size, (rows, classes)).astype(dtype), rng.integers(0, classes, rows)
    loss, gradient = backend.softmax_cross_entropy(backend.to_device(scores, dtype), targets)
    expected_loss, expected = REFERENCE.softmax_cross_entropy(scores, targets)
    assert isinstance(loss, float)
    assert abs(loss - expected_loss) <= 1e-14 * max(1.0, expected_loss)
    assert_close("loss", "gradient of the loss", backend.to_numpy(gradient), expected)


def check_norm(backend, size, dtype, scale=1.0):
    """Euclidean norm, in float64."""
    vector = (scale * np.random.default_rng(7).normal(size=size)).astype(dtype)
    norm = backend.global_norm(backend.to_device(vector, dtype))
    assert isinstance(norm, float)
    assert_close("norm", "norm", norm, REFERENCE.global_norm(vector))


def check_adam(backend, dtype, epsilon=0.1, betas=(0.8, 0.95), steps=5, scale=0.3):
    """Parameters and moments after every one of a few steps."""
    rng = np.random.default_rng(8)
    start = rng.normal(size=133).astype(dtype)
    runs = [(each, [each.to_device(array.copy(), dtype) for array in (start, 0 * start, 0 * start)])
            for each in (backend, REFERENCE)]  # fmt: skip
    for step in range(1, steps + 1):
        gradient = rng.normal(size=start.size).astype(dtype)
        for each, (flat, *moments) in runs:
            each.adam_step(
                flat, each.to_device(gradient, dtype), tuple(moments),
                step=step, learning_rate=0.1, betas=betas, epsilon=epsilon, scale=scale,
            )  # fmt: skip
        (_, got), (_, wanted) = runs
        for kind, name, a, b in zip(
            ("parameter", "moment", "moment"), ("parameters", "mean", "square"), got, wanted, strict=True
        ):
            assert_close(kind, f"{name} after step {step}", backend.to_numpy(a), b)
